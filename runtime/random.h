/* Random numbers: counter-based (Philox 4x32-10, Salmon et al. 2011, through Random123).
 *
 * A stream is named by a step's key and an index, never by a thread or by what was drawn before. Block b of stream i under
 * key k (32 bytes, read as little-endian 64-bit words k0..k3) is
 *
 *     philox( key     = k0,
 *             counter = { b: low 64 bits,  i xor k1 xor k2 xor k3: high 64 bits } )
 *
 * so two streams of one step never share a block before 2^64 of them, and two steps share one only if their SHA-256 keys
 * agree in k0 and their streams meet in the other word.
 *
 * lm_random_uniform, _normal and _below (declared in operator.h) use integers and the four correctly rounded operations
 * and sqrt alone, no libm, so that a stream has the same bits on every machine with IEEE doubles (compiled without
 * contraction to fused multiply-adds: -ffp-contract=off where the target has them).
 */
#ifndef LM_RUNTIME_RANDOM_H
#define LM_RUNTIME_RANDOM_H

#include "runtime/digest.h"
#include "runtime/operator.h"

/* The start of stream `stream` under a key. */
lm_random lm_random_stream(const lm_digest *key, uint64_t stream);

/* The next 32 and the next 64 random bits (two words, the first one low). */
uint32_t lm_random_word(lm_random *random);
uint64_t lm_random_bits(lm_random *random);

#endif

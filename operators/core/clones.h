/* LM_CLONES: compile a function twice, for any x86-64 and for one with AVX2, and pick the right one when the program loads.
 * LM_CLONES_WIDE: a third copy for AVX-512, for loops of much arithmetic on little memory.
 *
 * Without FMA: all copies then round every operation alike and give the same bits. Sanitizers instrument the picking
 * before they are ready, so their builds keep the plain copy.
 */
#ifndef LM_CORE_CLONES_H
#define LM_CORE_CLONES_H

#if defined(__x86_64__) && defined(__linux__) && !defined(LM_SANITIZED)
#    define LM_CLONES __attribute__((target_clones("avx2", "default")))
#    define LM_CLONES_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#    define LM_CLONES
#    define LM_CLONES_WIDE
#endif

#endif

/* LM_CLONES: compile a function twice, for any x86-64 and for one with AVX2, and pick the right one when the program loads.
 *
 * AVX2 without FMA: both copies then round every operation alike and give the same bits. Sanitizers instrument the picking
 * before they are ready, so their builds keep the plain copy.
 */
#ifndef LM_CORE_CLONES_H
#define LM_CORE_CLONES_H

#if defined(__x86_64__) && defined(__linux__) && !defined(LM_SANITIZED)
#    define LM_CLONES __attribute__((target_clones("avx2", "default")))
#else
#    define LM_CLONES
#endif

#endif

/* The processor: what OpenBLAS makes of it. */
#ifndef LM_RUNTIME_CPU_H
#define LM_RUNTIME_CPU_H

/* OpenBLAS 0.3.21 does not know recent processors and falls back to kernels of 2004, five times slower. If the processor
 * can do more than what was chosen, starts the program again, once, with OPENBLAS_CORETYPE set; a type that the user has
 * set is left alone. Call before anything is opened; returns when nothing is to be done. */
void lm_cpu_choose_blas(void);

#endif

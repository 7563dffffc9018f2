#if defined __x86_64__
#if defined __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define LANES 8
#define AVX2
#define ROWS_RUN rows_run_avx2
#define ROWS_TURN rows_turn_avx2
#include "rows_kernel.h"
#if defined __clang__
#pragma clang attribute pop
#endif
#endif

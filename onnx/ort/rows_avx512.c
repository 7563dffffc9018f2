#if defined __x86_64__
#if defined __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx2,fma")
#endif
#define LANES 16
#define ROWS_RUN rows_run_avx512
#include "rows_kernel.h"
#if defined __clang__
#pragma clang attribute pop
#endif
#endif

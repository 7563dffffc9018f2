// Inner products in vectors, which Go lacks, compiled once for any
// processor and once for AVX2 with FMA.

#include "products.h"
#include <stddef.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(32)));

enum { ROWS = 4 }; // that share the loads of a vector

// few computes the inner products of v with n rows.
INLINE void few(const float *rows, int n, const float *v, int width, float *out) {
	lanes sums[ROWS] = {{0}};
	int k = 0;
	for (; k + 8 <= width; k += 8) {
		lanes a, b;
		memcpy(&a, v + k, sizeof a);
		for (int r = 0; r < n; r++) {
			memcpy(&b, rows + (ptrdiff_t)r*width + k, sizeof b);
			sums[r] += a * b;
		}
	}
	for (int r = 0; r < n; r++) {
		float sum = 0;
		for (int i = 0; i < 8; i++)
			sum += sums[r][i];
		for (int i = k; i < width; i++)
			sum += v[i] * rows[(ptrdiff_t)r*width + i];
		out[r] = sum;
	}
}

INLINE void products(const float *others, int count, const float *vectors, int m, int width, float *out) {
	for (int i = 0; i < m; i++, vectors += width, out += count) {
		int j = 0;
		for (; j + ROWS <= count; j += ROWS)
			few(others + (ptrdiff_t)j*width, ROWS, vectors, width, out + j);
		for (; j < count; j++)
			few(others + (ptrdiff_t)j*width, 1, vectors, width, out + j);
	}
}

#if defined __x86_64__
__attribute__((target("avx2,fma"))) static void products_avx2(const float *others, int count, const float *vectors, int m, int width, float *out) {
	products(others, count, vectors, m, width, out);
}
#endif

void relevit_products(const float *others, int count, const float *vectors, int m, int width, float *out) {
#if defined __x86_64__
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
		products_avx2(others, count, vectors, m, width, out);
		return;
	}
#endif
	products(others, count, vectors, m, width, out);
}

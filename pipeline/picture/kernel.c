// The sums of resampling, several samples at a time: Go has no vectors. All is
// inlined into the functions at the end, once for any processor and once for AVX2.

#include "kernel.h"
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { PRECISION = 22, SIDE = 32 }; // SIDE sums are made at once

typedef int32_t lanes __attribute__((vector_size(16)));

INLINE uint8_t clip(int32_t v) {
	v >>= PRECISION;
	return v < 0 ? 0 : v > 255 ? 255 : v;
}

// row resamples one. A pixel is read together with the sample behind it, of the
// last row without.
INLINE void row(uint8_t *out, int width, const uint8_t *in, const int32_t *first, const int32_t *taps, const int32_t *w,
	int size, int bytes) {
	for (int x = 0; x < width; x++) {
		const uint8_t *p = in + 3 * (ptrdiff_t)(first[x] - first[0]);
		const int32_t *weight = w + (ptrdiff_t)x * size;
		lanes sum = (lanes){} + (1 << (PRECISION - 1));
		for (int i = 0; i < taps[x]; i++, p += 3) {
			uint8_t s[4] = {0};
			memcpy(s, p, bytes);
			sum += (lanes){s[0], s[1], s[2], s[3]} * weight[i];
		}
		for (int c = 0; c < 3; c++)
			out[3 * x + c] = clip(sum[c]);
	}
}

INLINE void horizontal_body(uint8_t *out, int width, const uint8_t *in, ptrdiff_t stride, int rows, const int32_t *first,
	const int32_t *taps, const int32_t *w, int size) {
	for (int y = 0; y < rows - 1; y++)
		row(out + 3 * (ptrdiff_t)width * y, width, in + y * stride, first, taps, w, size, 4);
	row(out + 3 * (ptrdiff_t)width * (rows - 1), width, in + (rows - 1) * stride, first, taps, w, size, 3);
}

INLINE void vertical_body(uint8_t *out, int n, const uint8_t *in, ptrdiff_t stride, int height, const int32_t *first,
	const int32_t *taps, const int32_t *w, int size) {
	for (int y = 0; y < height; y++, out += n) {
		const uint8_t *top = in + (first[y] - first[0]) * stride;
		const int32_t *weight = w + (ptrdiff_t)y * size;
		int i = 0;
		for (; i + SIDE <= n; i += SIDE) {
			int32_t sum[SIDE];
			for (int k = 0; k < SIDE; k++)
				sum[k] = 1 << (PRECISION - 1);
			for (int j = 0; j < taps[y]; j++)
				for (int k = 0; k < SIDE; k++)
					sum[k] += top[j * stride + i + k] * weight[j];
			for (int k = 0; k < SIDE; k++)
				out[i + k] = clip(sum[k]);
		}
		for (; i < n; i++) {
			int32_t sum = 1 << (PRECISION - 1);
			for (int j = 0; j < taps[y]; j++)
				sum += top[j * stride + i] * weight[j];
			out[i] = clip(sum);
		}
	}
}

#if defined __x86_64__ && defined __GNUC__
#define VARIANTS(name, params, args) \
	__attribute__((target("avx2"))) static void name##_avx2 params { name##_body args; } \
	void relevit_##name params { \
		if (__builtin_cpu_supports("avx2")) \
			name##_avx2 args; \
		else \
			name##_body args; \
	}
#else
#define VARIANTS(name, params, args) \
	void relevit_##name params { name##_body args; }
#endif

VARIANTS(horizontal, (uint8_t *out, int width, const uint8_t *in, ptrdiff_t stride, int rows, const int32_t *first,
	const int32_t *taps, const int32_t *w, int size),
	(out, width, in, stride, rows, first, taps, w, size))
VARIANTS(vertical, (uint8_t *out, int n, const uint8_t *in, ptrdiff_t stride, int height, const int32_t *first,
	const int32_t *taps, const int32_t *w, int size),
	(out, n, in, stride, height, first, taps, w, size))

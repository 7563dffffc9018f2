// The arithmetic on samples, eight at a time: Go has no vectors. Compilers make
// good ones of these loops. All is inlined into the functions at the end, once
// for any processor and once for AVX2.

#include "kernel.h"
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "samples are packed into words of little-endian machines"
#endif

#define INLINE static inline __attribute__((always_inline))

typedef int32_t lanes __attribute__((vector_size(32)));
typedef uint32_t words __attribute__((vector_size(32))); // lanes that may overflow
typedef int16_t shorts __attribute__((vector_size(16)));
typedef uint8_t bytes __attribute__((vector_size(16)));

#if defined __clang__ || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (__typeof__(a)){__VA_ARGS__})
#endif

// Constants of the Loeffler, Ligtenberg and Moschytz inverse DCT in 13-bit
// fixed point, as libjpeg's accurate integer method (jidctint) defines it.
enum {
	CONST_BITS = 13,
	PASS1_BITS = 2,

	FIX_0_298631336 = 2446,
	FIX_0_390180644 = 3196,
	FIX_0_541196100 = 4433,
	FIX_0_765366865 = 6270,
	FIX_0_899976223 = 7373,
	FIX_1_175875602 = 9633,
	FIX_1_501321110 = 12299,
	FIX_1_847759065 = 15137,
	FIX_1_961570560 = 16069,
	FIX_2_053119869 = 16819,
	FIX_2_562915447 = 20995,
	FIX_3_072711026 = 25172,
};

// butterfly is the one-dimensional transform of eight columns at once, scaled
// by 2^CONST_BITS and shifted right, rounding, by shift.
#define DESCALE(v) (words)((lanes)(v) >> shift)

INLINE void butterfly(words c[8], int shift) {
	words z1 = (c[2] + c[6]) * FIX_0_541196100;
	words e2 = z1 - c[6] * FIX_1_847759065, e3 = z1 + c[2] * FIX_0_765366865;
	words e0 = ((c[0] + c[4]) << CONST_BITS) + (1 << (shift - 1));
	words e1 = ((c[0] - c[4]) << CONST_BITS) + (1 << (shift - 1));
	words t10 = e0 + e3, t13 = e0 - e3, t11 = e1 + e2, t12 = e1 - e2;

	words z5 = (c[7] + c[3] + c[5] + c[1]) * FIX_1_175875602;
	words z3 = z5 - (c[7] + c[3]) * FIX_1_961570560;
	words z4 = z5 - (c[5] + c[1]) * FIX_0_390180644;
	words y1 = (c[7] + c[1]) * FIX_0_899976223;
	words y2 = (c[5] + c[3]) * FIX_2_562915447;
	words o0 = c[7] * FIX_0_298631336 - y1 + z3;
	words o1 = c[5] * FIX_2_053119869 - y2 + z4;
	words o2 = c[3] * FIX_3_072711026 - y2 + z3;
	words o3 = c[1] * FIX_1_501321110 - y1 + z4;
	c[0] = DESCALE(t10 + o3);
	c[1] = DESCALE(t11 + o2);
	c[2] = DESCALE(t12 + o1);
	c[3] = DESCALE(t13 + o0);
	c[4] = DESCALE(t13 - o0);
	c[5] = DESCALE(t12 - o1);
	c[6] = DESCALE(t11 - o2);
	c[7] = DESCALE(t10 - o3);
}

INLINE void transpose(words c[8]) {
	words a[8];
	for (int i = 0; i < 4; i++) {
		a[2*i] = SHUFFLE(c[2*i], c[2*i+1], 0, 8, 2, 10, 4, 12, 6, 14);
		a[2*i+1] = SHUFFLE(c[2*i], c[2*i+1], 1, 9, 3, 11, 5, 13, 7, 15);
	}
	for (int i = 0; i < 8; i += 4)
		for (int k = 0; k < 2; k++) {
			c[i+k] = SHUFFLE(a[i+k], a[i+k+2], 0, 1, 8, 9, 4, 5, 12, 13);
			c[i+k+2] = SHUFFLE(a[i+k], a[i+k+2], 2, 3, 10, 11, 6, 7, 14, 15);
		}
	for (int i = 0; i < 4; i++) {
		a[i] = SHUFFLE(c[i], c[i+4], 0, 1, 2, 3, 8, 9, 10, 11);
		a[i+4] = SHUFFLE(c[i], c[i+4], 4, 5, 6, 7, 12, 13, 14, 15);
	}
	memcpy(c, a, sizeof a);
}

// Levels outside 0 to 255 become the nearer end.
INLINE int32_t level(int32_t v) { return v < 0 ? 0 : v > 255 ? 255 : v; }

INLINE void levels(lanes *v) {
	for (int i = 0; i < 8; i++)
		(*v)[i] = level((*v)[i]);
}

INLINE void idct(const int16_t *b, const words quant[8], uint8_t *dst, ptrdiff_t stride) {
	shorts in[8];
	memcpy(in, b, sizeof in);
	words c[8];
	for (int y = 0; y < 8; y++)
		c[y] = (words)__builtin_convertvector(in[y], lanes) * quant[y];
	butterfly(c, CONST_BITS - PASS1_BITS);
	transpose(c);
	butterfly(c, CONST_BITS + PASS1_BITS + 3);
	for (int x = 0; x < 8; x++) {
		lanes v = (lanes)c[x] + 128;
		levels(&v);
		c[x] = (words)v;
	}
	// Column x of all rows is in c[x]: four of them make a word of each row.
	words left = c[0] | c[1] << 8 | c[2] << 16 | c[3] << 24;
	words right = c[4] | c[5] << 8 | c[6] << 16 | c[7] << 24;
	words halves[2] = {
		SHUFFLE(left, right, 0, 8, 1, 9, 2, 10, 3, 11),
		SHUFFLE(left, right, 4, 12, 5, 13, 6, 14, 7, 15),
	};
	for (int y = 0; y < 8; y++)
		memcpy(dst + y*stride, (const char *)halves + 8*y, 8);
}

INLINE void idct_body(const int16_t *coefs, int n, const int32_t *quant, uint8_t *dst, ptrdiff_t stride) {
	words q[8];
	memcpy(q, quant, sizeof q);
	for (int i = 0; i < n; i++)
		idct(coefs + 64*i, q, dst + 8*i, stride);
}

INLINE void load(lanes *v, const uint8_t *p) {
	for (int i = 0; i < 8; i++)
		(*v)[i] = p[i];
}

// RGB is colour conversion in 16-bit fixed point, as in libjpeg's jdcolor: the
// shares for red and blue are rounded alone, those for green together. It is a
// macro because both numbers and lanes are converted.
#define RGB(luma, cb, cr, r, g, b) \
	r = luma + ((91881*cr + 32768) >> 16);            /* 1.40200 */ \
	g = luma + ((32768 - 22554*cb - 46802*cr) >> 16); /* 0.34414, 0.71414 */ \
	b = luma + ((116130*cb + 32768) >> 16)            /* 1.77200 */

INLINE void ycc_row(uint8_t *out, const uint8_t *luma, const uint8_t *cb, const uint8_t *cr, int width) {
	int x = 0;
	for (; x + 10 <= width; x += 8) { // the last store goes 4 bytes too far
		lanes v, u, w, r, g, b;
		load(&v, luma + x);
		load(&u, cb + x);
		load(&w, cr + x);
		u -= 128;
		w -= 128;
		RGB(v, u, w, r, g, b);
		levels(&r);
		levels(&g);
		levels(&b);
		lanes pixels = r | g << 8 | b << 16;
		for (int i = 0; i < 2; i++) {
			bytes four;
			memcpy(&four, (char *)&pixels + 16*i, 16);
			four = SHUFFLE(four, four, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 15, 15, 15);
			memcpy(out + 3*x + 12*i, &four, 16);
		}
	}
	for (; x < width; x++) {
		int v = luma[x], u = cb[x] - 128, w = cr[x] - 128, r, g, b;
		RGB(v, u, w, r, g, b);
		out[3*x] = level(r);
		out[3*x+1] = level(g);
		out[3*x+2] = level(b);
	}
}

INLINE void ycc_to_rgb_body(uint8_t *dst, const uint8_t *luma, ptrdiff_t luma_stride, const uint8_t *cb, ptrdiff_t cb_stride,
	const uint8_t *cr, ptrdiff_t cr_stride, int width, int rows) {
	for (int y = 0; y < rows; y++)
		ycc_row(dst + (ptrdiff_t)3*width*y, luma + luma_stride*y, cb + cb_stride*y, cr + cr_stride*y, width);
}

// double_width and double_both are the triangle filter along rows, and along
// both directions: each output sample lies between two input samples, nearer to
// one. The bias alternates so as not to drift.
INLINE void double_width(uint8_t *restrict out, const uint8_t *in, int n) {
	out[0] = in[0];
	for (int x = 0; x < n - 1; x++) {
		out[2*x+1] = (3*in[x] + in[x+1] + 2) >> 2;
		out[2*x+2] = (3*in[x+1] + in[x] + 1) >> 2;
	}
	out[2*n-1] = in[n-1];
}

INLINE void double_both(uint8_t *restrict out, const uint8_t *near, const uint8_t *far, int n) {
#define SUM(x) (3*near[x] + far[x])
	out[0] = (4*SUM(0) + 8) >> 4;
	for (int x = 0; x < n - 1; x++) {
		out[2*x+1] = (3*SUM(x) + SUM(x+1) + 7) >> 4;
		out[2*x+2] = (3*SUM(x+1) + SUM(x) + 8) >> 4;
	}
	out[2*n-1] = (4*SUM(n-1) + 7) >> 4;
}

INLINE void upsample_body(uint8_t *out, ptrdiff_t out_stride, const uint8_t *plane, ptrdiff_t stride, int width, int height,
	int hx, int vx, int from, int to) {
	for (int y = from; y < to; y++, out += out_stride) {
		const uint8_t *near = plane + stride*(y/vx);
		int second = y % 2 ? y/2 + 1 : y/2 - 1; // nearest, at half height
		second = second < 0 ? 0 : second >= height ? height - 1 : second;
		const uint8_t *far = plane + stride*second;
		if (hx == 2 && vx == 1 && width > 2)
			double_width(out, near, width);
		else if (hx == 2 && vx == 2 && width > 2)
			double_both(out, near, far, width);
		else if (hx == 1 && vx == 2)
			for (int x = 0; x < width; x++)
				out[x] = (3*near[x] + far[x] + 1 + y%2) >> 2;
		else
			for (int x = 0; x < width; x++)
				memset(out + (ptrdiff_t)hx*x, near[x], hx);
	}
}

// VARIANTS defines a function that takes AVX2 where the processor has it.
#if defined __x86_64__
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

VARIANTS(idct, (const int16_t *coefs, int n, const int32_t *quant, uint8_t *dst, ptrdiff_t stride),
	(coefs, n, quant, dst, stride))
VARIANTS(upsample, (uint8_t *out, ptrdiff_t out_stride, const uint8_t *plane, ptrdiff_t stride, int width, int height,
	int hx, int vx, int from, int to),
	(out, out_stride, plane, stride, width, height, hx, vx, from, to))
VARIANTS(ycc_to_rgb, (uint8_t *dst, const uint8_t *luma, ptrdiff_t luma_stride, const uint8_t *cb, ptrdiff_t cb_stride,
	const uint8_t *cr, ptrdiff_t cr_stride, int width, int rows),
	(dst, luma, luma_stride, cb, cb_stride, cr, cr_stride, width, rows))

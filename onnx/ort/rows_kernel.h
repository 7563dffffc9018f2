// How a program is run, LANES elements at a time: included by one file for each kind
// of processor, since compilers take vectors apart where a file's processor has none,
// before they look at the function that a loop ends up in. ROWS_RUN and ROWS_TURN name
// the functions. Sums add up in eighths on all of them, so that they round alike.
#include "rows.h"

#include <string.h>

#if defined __x86_64__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float eight __attribute__((vector_size(32)));
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
enum { EIGHT = 8 };

INLINE lanes splat(float x) { return x - (lanes){0}; }
INLINE lanes load(const float *p) {
	lanes v;
	memcpy(&v, p, sizeof v);
	return v;
}

// where_above is a where x > y, and b elsewhere. Of a NaN in a, least and largest are
// that.
#if LANES == 16 // compilers take several instructions for what is one
INLINE lanes where_above(lanes x, lanes y, lanes a, lanes b) { return (lanes)_mm512_mask_blend_ps(_mm512_cmp_ps_mask((__m512)x, (__m512)y, _CMP_GT_OQ), (__m512)b, (__m512)a); }
INLINE lanes least(lanes a, lanes b) { return (lanes)_mm512_min_ps((__m512)b, (__m512)a); }
INLINE lanes largest(lanes a, lanes b) { return (lanes)_mm512_max_ps((__m512)b, (__m512)a); }
INLINE lanes root(lanes x) { return (lanes)_mm512_sqrt_ps((__m512)x); }
#elif defined AVX2
INLINE lanes where_above(lanes x, lanes y, lanes a, lanes b) { return (lanes)_mm256_blendv_ps((__m256)b, (__m256)a, _mm256_cmp_ps((__m256)x, (__m256)y, _CMP_GT_OQ)); }
INLINE lanes least(lanes a, lanes b) { return (lanes)_mm256_min_ps((__m256)b, (__m256)a); }
INLINE lanes largest(lanes a, lanes b) { return (lanes)_mm256_max_ps((__m256)b, (__m256)a); }
INLINE lanes root(lanes x) { return (lanes)_mm256_sqrt_ps((__m256)x); }
#else
INLINE lanes where_above(lanes x, lanes y, lanes a, lanes b) {
	ints mask = x > y;
	return (lanes)((mask & (ints)a) | (~mask & (ints)b));
}
INLINE lanes least(lanes a, lanes b) { return where_above(a, b, b, a); }
INLINE lanes largest(lanes a, lanes b) { return where_above(b, a, b, a); }
INLINE lanes root(lanes x) {
#if defined __x86_64__ // compilers call a function for it, which may set errno
	__m128 half[2];
	memcpy(half, &x, sizeof half);
	half[0] = _mm_sqrt_ps(half[0]);
	half[1] = _mm_sqrt_ps(half[1]);
	memcpy(&x, half, sizeof half);
#else
	for (int i = 0; i < LANES; i++) x[i] = __builtin_sqrtf(x[i]);
#endif
	return x;
}
#endif

// exponential is e^x: 2^n e^r with r within half of ln 2, and e^r by its Taylor
// series, which is 5e-9 off there.
INLINE lanes exponential(lanes x) {
	const float over = 88.72283f, under = -87.33654f;
	lanes y = largest(least(x, splat(over)), splat(under));
	lanes shifted = y * splat(1.44269504f) + splat(12582912.0f); // 1.5 * 2^23: the sum's last bits are the rounded number
	lanes whole = shifted - splat(12582912.0f);
	lanes r = y - whole * splat(0.693359375f); // ln 2 in two parts
	r = r + whole * splat(2.12194440e-4f);
	// In pairs, so that less waits for what is before it.
	lanes r2 = r * r, r4 = r2 * r2;
	lanes e = (splat(1.0f) + r) + r2 * (splat(0.5f) + r * splat(1.0f / 6));
	e = e + r4 * ((splat(1.0f / 24) + r * splat(1.0f / 120)) + r2 * (splat(1.0f / 720) + r * splat(1.0f / 5040)));
#if LANES == 16
	e = (lanes)_mm512_scalef_ps((__m512)e, (__m512)whole);
#else
	ints n = (ints)shifted - (ints)splat(12582912.0f), half = n >> 1; // 2^128 is no float32
	e = e * (lanes)((half + 127) << 23) * (lanes)((n - half + 127) << 23);
#endif
	return where_above(x, splat(over), splat(__builtin_inff()), e);
}

// error is erf(x): x P(x^2) up to 1, and 1 - exp(-Q(|x|)) above, with polynomials
// that interpolate at Chebyshev's points, 2e-9 and 5e-10 off.
INLINE lanes error(lanes x) {
	lanes s = x * x;
	lanes s2 = s * s, s4 = s2 * s2;
	lanes near = (splat(1.128379166f) + s * splat(-3.761262667e-1f)) + s2 * (splat(1.128359472e-1f) + s * splat(-2.685421201e-2f));
	near = x * (near + s4 * ((splat(5.189087423e-3f) + s * splat(-8.016864287e-4f)) + s2 * splat(7.875875063e-5f)));
	ints sign = (ints)x & (ints)splat(-0.0f);
	lanes t = least((lanes)((ints)x ^ sign), splat(4.1f));
	lanes t2 = t * t, t4 = t2 * t2;
	lanes q = (splat(-2.979374622e-4f) + t * splat(1.13014146f)) + t2 * (splat(6.319870659e-1f) + t * splat(1.09924481e-1f));
	q = q + t4 * ((splat(-2.63302746e-2f) + t * splat(4.726724977e-3f)) + t2 * (splat(-5.895989285e-4f) + t * splat(4.518101704e-5f)) + t4 * splat(-1.591706218e-6f));
	lanes far = splat(1.0f) - exponential(-q);
	return where_above(t, splat(1.0f), (lanes)((ints)far | sign), near);
}

INLINE eight load_eight(const float *p) {
	eight v;
	memcpy(&v, p, sizeof v);
	return v;
}

INLINE float total(eight v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

INLINE float sum(const float *a, size_t n) {
	eight s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
	size_t i = 0;
	for (; i + 4 * EIGHT <= n; i += 4 * EIGHT) {
		s0 += load_eight(a + i);
		s1 += load_eight(a + i + EIGHT);
		s2 += load_eight(a + i + 2 * EIGHT);
		s3 += load_eight(a + i + 3 * EIGHT);
	}
	for (; i + EIGHT <= n; i += EIGHT) s0 += load_eight(a + i);
	float rest = 0;
	for (; i < n; i++) rest += a[i];
	return total((s0 + s1) + (s2 + s3)) + rest;
}

// EACH applies an expression of x and y to n elements; an operand of one element is
// given to all.
#define EACH(expression) \
	do { \
		size_t i = 0; \
		lanes x = splat(*a), y = splat(*b); \
		for (; i + LANES <= n; i += LANES) { \
			if (wide_a) x = load(a + i); \
			if (wide_b) y = load(b + i); \
			lanes z = (expression); \
			memcpy(to + i, &z, sizeof z); \
		} \
		if (i < n) { \
			if (wide_a) memcpy(&x, a + i, (n - i) * sizeof(float)); \
			if (wide_b) memcpy(&y, b + i, (n - i) * sizeof(float)); \
			lanes z = (expression); \
			memcpy(to + i, &z, (n - i) * sizeof(float)); \
		} \
	} while (0)

INLINE void step(const row_step *c, float *to, size_t n, const float *a, int wide_a, const float *b, int wide_b, size_t length) {
	switch (c->op) {
	case ROW_ADD: EACH(x + y); break;
	case ROW_SUB: EACH(x - y); break;
	case ROW_MUL: EACH(x * y); break;
	case ROW_DIV: EACH(x / y); break;
	case ROW_NEG: EACH(-x); break;
	case ROW_SQRT: EACH(root(x)); break;
	case ROW_EXP: EACH(exponential(x)); break;
	case ROW_ERF: EACH(error(x)); break;
	case ROW_HARD_SIGMOID: EACH(largest(least(x * splat(c->p) + splat(c->q), splat(1)), splat(0))); break;
	case ROW_CLIP: EACH(least(largest(x, splat(c->p)), splat(c->q))); break;
	case ROW_INVERSE_ROOT: EACH(splat(1) / root(x + splat(c->p))); break;
	case ROW_AT_LEAST: EACH((lanes)((x >= splat(c->p)) & (ints)splat(1))); break;
	case ROW_ABOVE: EACH((lanes)((x > splat(c->p)) & (ints)splat(1))); break;
	case ROW_SUM: *to = sum(a, length); break;
	case ROW_MEAN: *to = sum(a, length) / (float)length; break;
	}
}

#if defined __clang__ || __GNUC__ >= 12
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIX(a, b, ...) __builtin_shuffle(a, b, (int32_t __attribute__((vector_size(32)))){__VA_ARGS__})
#endif

// turn writes a tile of rows, which lie stride apart, as columns into an array whose
// rows are that far apart.
INLINE void turn(const float *tile, size_t stride, size_t rows, size_t length, float *to, size_t apart) {
	size_t j = 0;
	if (rows == EIGHT) {
		for (; j + EIGHT <= length; j += EIGHT) {
			eight r[EIGHT], s[EIGHT];
			for (int i = 0; i < EIGHT; i++) r[i] = load_eight(tile + (size_t)i * stride + j);
			for (int i = 0; i < EIGHT; i += 2) {
				s[i] = MIX(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
				s[i + 1] = MIX(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
			}
			for (int i = 0; i < EIGHT; i += 4) {
				r[i] = MIX(s[i], s[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
				r[i + 1] = MIX(s[i], s[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
				r[i + 2] = MIX(s[i + 1], s[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
				r[i + 3] = MIX(s[i + 1], s[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
			}
			for (int i = 0; i < EIGHT / 2; i++) {
				s[i] = MIX(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
				s[i + 4] = MIX(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
			}
			for (int i = 0; i < EIGHT; i++) memcpy(to + (j + (size_t)i) * apart, &s[i], sizeof s[i]);
		}
	}
	for (; j < length; j++)
		for (size_t i = 0; i < rows; i++) to[j * apart + i] = tile[i * stride + j];
}

#if defined ROWS_TURN
void ROWS_TURN(const float *tile, size_t stride, size_t rows, size_t length, float *to, size_t apart) {
	turn(tile, stride, rows, length, to, apart);
}
#endif

void ROWS_RUN(const row_program *p, const float *const *inputs, float *const *outputs, size_t block) {
	size_t widest = p->flat ? ROW_CHUNK : p->length;
	size_t stride = (widest + 15) / 16 * 16;
	float full[p->temporaries * stride + 1] __attribute__((aligned(64)));
	float single[p->singles + 1];
	size_t wait = stride + 16; // apart, so that a tile's rows don't meet in the processor's cache
	float tiles[(size_t)p->turned * ROW_TILE * wait + 1] __attribute__((aligned(64)));
	size_t waiting = 0;
	const float *slot[ROW_MOST_SLOTS];
	char wide[ROW_MOST_SLOTS];
	for (int i = 0; i < p->inputs; i++) {
		slot[i] = inputs[i];
		wide[i] = p->kind[i] != ROW_SCALAR && p->kind[i] != ROW_EACH;
	}
	for (int i = 0; i < p->temporaries; i++) {
		slot[p->inputs + i] = full + i * stride;
		wide[p->inputs + i] = 1;
	}
	for (int i = 0; i < p->singles; i++) {
		slot[p->inputs + p->temporaries + i] = single + i;
		wide[p->inputs + p->temporaries + i] = 0;
	}
	size_t at, end;
	rows_part(p, block, &at, &end);
	while (at < end) {
		size_t n = p->length, offset = at * n;
		if (p->flat) {
			n = end - at < ROW_CHUNK ? end - at : ROW_CHUNK;
			offset = at;
		}
		for (int i = 0; i < p->inputs; i++) {
			if (p->kind[i] == ROW_FULL) slot[i] = inputs[i] + offset;
			if (p->kind[i] == ROW_EACH) slot[i] = inputs[i] + at;
			if (p->kind[i] == ROW_AGAIN) slot[i] = inputs[i] + (at / (p->group * p->times) * p->group + at % p->group) * n;
		}
		for (int i = 0; i < p->steps; i++) {
			const row_step *c = p->code + i;
			step(c, (float *)slot[c->to], wide[c->to] ? n : 1, slot[c->a], wide[c->a], slot[c->b], wide[c->b], n);
		}
		int straight = p->outputs - p->turned;
		for (int i = 0; i < p->turned; i++)
			memcpy(tiles + ((size_t)i * ROW_TILE + waiting) * wait, slot[p->result[straight + i]], n * sizeof(float));
		for (int i = 0; i < straight; i++) { // last, since an output may lie where an input does
			const float *from = slot[p->result[i]];
			if (wide[p->result[i]])
				memcpy(outputs[i] + offset, from, n * sizeof(float));
			else
				outputs[i][at] = *from;
		}
		at += p->flat ? n : 1;
		if (p->turned && (++waiting == ROW_TILE || at == end)) {
			for (int i = 0; i < p->turned; i++)
				turn(tiles + (size_t)i * ROW_TILE * wait, wait, waiting, n, outputs[straight + i] + at - waiting, p->rows);
			waiting = 0;
		}
	}
}

#include "product.h"

#include <string.h>

#include "rows.h"

#if defined __x86_64__
#include <immintrin.h>

#if defined __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
#endif

#define INLINE static inline __attribute__((always_inline))
enum {
	LANES = 16,
	VECTORS = PRODUCT_WIDE / LANES,
	NEAR = 320, // lines that stay in the first cache, one for each term
};

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

// Lines are rows of the left factor or columns of the right one. pack copies them into
// panels of so many lines, in which the same term of all of them lies side by side;
// panels lie apart.
INLINE void pack(const float *from, size_t across, size_t along, size_t lines, size_t depth, size_t width, float *to) {
	size_t apart = width * depth;
	if (across != 1) {
		for (size_t i = 0; i < lines; i += ROW_TILE)
			rows_turn_avx2(from + i * across, across, least(lines - i, ROW_TILE), depth, to + i / width * apart + i % width, width);
		return;
	}
	enum { TOGETHER = 8 }; // terms, so that what is read and what is written are whole lines of the cache
	for (size_t k = 0; k < depth; k += TOGETHER)
		for (size_t i = 0, end = least(depth, k + TOGETHER); i < lines; i += width)
			for (size_t t = k; t < end; t++) {
				const float *f = from + t * along + i;
				float *p = to + i / width * apart + t * width;
				if (i + width <= lines) // as many bytes each time as the compiler knows
					memcpy(p, f, width * sizeof(float));
				else
					memcpy(p, f, (lines - i) * sizeof(float));
			}
}

static void pack_rows(const product_factor *a, size_t rows, size_t depth, float *to) {
	pack(a->at, a->row, a->column, rows, depth, PRODUCT_TALL, to);
}

static void pack_columns(const product_factor *b, size_t columns, size_t depth, size_t vectors, float *to) {
	switch (vectors) {
	case 1: pack(b->at, b->column, b->row, columns, depth, LANES, to); break;
	case 2: pack(b->at, b->column, b->row, columns, depth, 2 * LANES, to); break;
	case 3: pack(b->at, b->column, b->row, columns, depth, 3 * LANES, to); break;
	}
}

typedef struct {
	float *c;
	size_t stride;
	const float *bias, *times, *plus;
	int adds;       // to what is there
	__mmask16 last; // of the last vector's columns
} target;

// tile sums up so many rows and vectors of columns. Term k of row i is at
// a[i * row + k * term], those of columns are in a panel of that width.
INLINE void tile(int rows, int vectors, const float *a, size_t row, size_t term, const float *b, size_t width, size_t depth, const target *t) {
	__m512 sum[PRODUCT_TALL][VECTORS];
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < vectors; j++) {
			sum[i][j] = _mm512_setzero_ps();
			if (t->times) _mm_prefetch((const char *)(t->times + (size_t)i * t->stride + j * LANES), _MM_HINT_T0);
			if (t->plus) _mm_prefetch((const char *)(t->plus + (size_t)i * t->stride + j * LANES), _MM_HINT_T0);
		}
	for (size_t k = 0; k < depth; k++, a += term, b += width) {
		__m512 y[VECTORS];
		for (int j = 0; j < vectors; j++) y[j] = _mm512_loadu_ps(b + j * LANES);
		for (int i = 0; i < rows; i++) {
			__m512 x = _mm512_set1_ps(a[(size_t)i * row]);
			for (int j = 0; j < vectors; j++) sum[i][j] = _mm512_fmadd_ps(x, y[j], sum[i][j]);
		}
	}
	for (int j = 0; j < vectors; j++) {
		__mmask16 mask = j == vectors - 1 ? t->last : 0xffff;
		__m512 bias = t->bias ? _mm512_maskz_loadu_ps(mask, t->bias + j * LANES) : _mm512_setzero_ps();
		for (int i = 0; i < rows; i++) {
			float *c = t->c + (size_t)i * t->stride + j * LANES;
			__m512 v = sum[i][j];
			if (t->adds) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, c));
			if (t->bias) v = _mm512_add_ps(v, bias);
			if (t->times) v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, t->times + (size_t)i * t->stride + j * LANES));
			if (t->plus) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, t->plus + (size_t)i * t->stride + j * LANES));
			if (mask == 0xffff)
				_mm512_storeu_ps(c, v);
			else
				_mm512_mask_storeu_ps(c, mask, v);
		}
	}
}

static void tiles(size_t rows, size_t vectors, const float *a, size_t row, size_t term, const float *b, size_t width, size_t depth, const target *t) {
#define CASE(rows, vectors) \
	case rows * 4 + vectors: \
		if (row != 1) \
			tile(rows, vectors, a, row, 1, b, width, depth, t); \
		else if (term == PRODUCT_TALL) /* a number that the compiler knows */ \
			tile(rows, vectors, a, 1, PRODUCT_TALL, b, width, depth, t); \
		else \
			tile(rows, vectors, a, 1, term, b, width, depth, t); \
		break;
#define CASES(rows) CASE(rows, 1) CASE(rows, 2) CASE(rows, 3)
	switch (rows * 4 + vectors) {
		CASES(1) CASES(2) CASES(3) CASES(4) CASES(5) CASES(6) CASES(7) CASES(8)
	}
}

// fetch has the cache read what the next tile will of the left factor.
INLINE void fetch(const float *a, size_t row, size_t term, size_t depth) {
	if (row == 1) // the next line of it, which serves two tiles
		for (size_t k = 0; k < depth; k++) _mm_prefetch((const char *)(a + LANES + k * term), _MM_HINT_T0);
	else
		for (size_t i = PRODUCT_TALL; i < 2 * PRODUCT_TALL; i++)
			for (size_t k = 0; k < depth; k += LANES) _mm_prefetch((const char *)(a + i * row + k), _MM_HINT_T0);
}

// packs tells whether rows of the left factor are worth copying: those that lie as
// columns are, unless so few terms make a sum that what a tile reads of them stays in
// the first cache for the next one, and those that meet each other there.
static int packs(const product *p) {
	size_t apart = p->a.row == 1 ? p->a.column : p->a.row;
	return apart % 1024 == 0 || (p->a.row == 1 && p->k > NEAR);
}

void product_run(const product *p, float *memory) {
	float *left = memory, *right = memory + PRODUCT_ROWS * PRODUCT_DEPTH;
	size_t parts = (p->k + PRODUCT_DEPTH - 1) / PRODUCT_DEPTH, each = (p->k + parts - 1) / parts;
	int packed = packs(p), fetches = !packed && p->k <= NEAR && p->n <= 2 * PRODUCT_WIDE;
	for (size_t from = 0; from < p->n; from += PRODUCT_COLUMNS) {
		size_t columns = least(p->n - from, PRODUCT_COLUMNS);
		size_t all = (columns + LANES - 1) / LANES, panels = (all + VECTORS - 1) / VECTORS, vectors = (all + panels - 1) / panels, width = vectors * LANES;
		for (size_t k = 0; k < p->k; k += each) {
			size_t depth = least(p->k - k, each);
			int last = k + depth == p->k;
			product_factor b = p->b;
			b.at += k * b.row + from * b.column;
			pack_columns(&b, columns, depth, vectors, right);
			for (size_t i = 0; i < p->m; i += PRODUCT_ROWS) {
				size_t rows = least(p->m - i, PRODUCT_ROWS);
				product_factor a = p->a;
				a.at += i * a.row + k * a.column;
				if (packed) pack_rows(&a, rows, depth, left);
				for (size_t j = 0; j < columns; j += width) {
					size_t some = least(columns - j, width), of = (some + LANES - 1) / LANES;
					target t = {.stride = p->stride, .adds = k > 0, .bias = k || !p->bias ? NULL : p->bias + from + j};
					t.last = (__mmask16)((1u << (some - (of - 1) * LANES)) - 1);
					for (size_t r = 0; r < rows; r += PRODUCT_TALL) {
						size_t at = (i + r) * p->stride + from + j;
						t.c = p->c + at;
						if (last && p->times) t.times = p->times + at;
						if (last && p->plus) t.plus = p->plus + at;
						const float *lines = packed ? left + r * depth : a.at + r * a.row;
						size_t row = packed ? 1 : a.row, term = packed ? PRODUCT_TALL : a.column;
						if (fetches && j == 0 && r + 2 * PRODUCT_TALL <= rows) fetch(lines, a.row, a.column, depth);
						tiles(least(rows - r, PRODUCT_TALL), of, lines, row, term, right + j * depth, width, depth, &t);
					}
				}
			}
		}
	}
}

#if defined __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
void product_run(const product *p, float *memory) {}
#endif

int product_here(void) {
#if defined __x86_64__
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
	return 0;
#endif
}

size_t product_memory(const product *p) {
	size_t columns = p->n < PRODUCT_COLUMNS ? (p->n + PRODUCT_WIDE - 1) / PRODUCT_WIDE * PRODUCT_WIDE : PRODUCT_COLUMNS;
	size_t depth = p->k < PRODUCT_DEPTH ? p->k : PRODUCT_DEPTH;
	return (PRODUCT_ROWS + columns) * depth + PRODUCT_ROWS * (PRODUCT_DEPTH - depth);
}

#include "rows.h"

#include <stdlib.h>

// rows_part is where a block begins and ends, in rows, or in elements of a flat program.
void rows_part(const row_program *p, size_t block, size_t *from, size_t *to) {
	size_t all = p->flat ? p->rows * p->length : p->rows, blocks = rows_blocks(p);
	size_t each = (all + blocks - 1) / blocks;
	if (p->turned) each = (each + ROW_TILE - 1) / ROW_TILE * ROW_TILE;
	*from = block * each < all ? block * each : all;
	*to = *from + each < all ? *from + each : all;
}

#if defined __x86_64__
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void) { return has_avx2() && __builtin_cpu_supports("avx512f"); }
#endif

void rows_run(const row_program *p, const float *const *inputs, float *const *outputs, size_t block) {
#if defined __x86_64__
	if (has_avx512()) {
		rows_run_avx512(p, inputs, outputs, block);
		return;
	}
	if (has_avx2()) {
		rows_run_avx2(p, inputs, outputs, block);
		return;
	}
#endif
	rows_run_any(p, inputs, outputs, block);
}

void rows_turn(const float *rows, size_t stride, size_t count, size_t length, float *to, size_t apart) {
#if defined __x86_64__
	if (has_avx2()) {
		rows_turn_avx2(rows, stride, count, length, to, apart);
		return;
	}
#endif
	rows_turn_any(rows, stride, count, length, to, apart);
}

size_t rows_blocks(const row_program *p) {
	enum { WORTH = 16384 }; // elements, below which handing them over costs more
	size_t blocks = p->rows * p->length / WORTH, most = p->flat ? p->rows * p->length / ROW_CHUNK : p->rows;
	if (blocks > 64) blocks = 64;
	if (blocks > most) blocks = most;
	return blocks ? blocks : 1;
}

// take takes the next number if it is within bounds.
static int take(const int64_t **code, const int64_t *end, int64_t low, int64_t high, int64_t *out) {
	if (*code >= end || **code < low || **code > high) return 0;
	*out = *(*code)++;
	return 1;
}

row_program *rows_read(const int64_t *code, size_t n, const float *constants, size_t m, const char **why) {
	const int64_t *end = code + n;
	int64_t rows, length, inputs, temporaries, singles, steps, outputs, turned, flat;
	*why = "the head of a program of rows is damaged";
	if (!take(&code, end, 1, INT32_MAX, &rows) || !take(&code, end, 1, INT32_MAX, &length) || !take(&code, end, 0, 1, &flat) ||
	    !take(&code, end, 1, ROW_MOST_SLOTS / 2, &inputs) || !take(&code, end, 0, ROW_MOST_SLOTS / 4, &temporaries) ||
	    !take(&code, end, 0, ROW_MOST_SLOTS / 4, &singles) || !take(&code, end, 0, 1024, &steps) || !take(&code, end, 1, 64, &outputs) ||
	    !take(&code, end, 0, flat ? 0 : outputs, &turned))
		return NULL;
	*why = "a program of rows takes too much memory";
	if (!flat && (temporaries + ROW_TILE * turned) * length > 1 << 16) return NULL;
	*why = "the body of a program of rows is damaged";
	int again = 0;
	for (int64_t i = 0; i < inputs && i < end - code; i++) again |= code[i] == ROW_AGAIN;
	if ((size_t)(end - code) != (size_t)(inputs + 4 * steps + outputs + 2 * again) || m != (size_t)(2 * steps)) return NULL;
	size_t kinds = sizeof(int32_t) * (size_t)inputs, results = sizeof(int32_t) * (size_t)outputs, body = sizeof(row_step) * (size_t)steps;
	row_program *p = malloc(sizeof *p + body + kinds + results);
	if (!p) {
		*why = "there is no memory for a program of rows";
		return NULL;
	}
	row_step *s = (row_step *)(p + 1);
	int32_t *kind = (int32_t *)(s + steps), *result = kind + inputs;
	*p = (row_program){(size_t)rows, (size_t)length, (int)inputs, (int)temporaries, (int)singles, (int)steps, (int)outputs, kind, s, result, (int)turned, (int)flat, 1, 1};
	int64_t slots = inputs + temporaries + singles, v;
	for (int i = 0; i < inputs; i++) {
		if (!take(&code, end, ROW_SCALAR, ROW_FULL, &v) || (flat && v != ROW_SCALAR && v != ROW_FULL)) goto damaged;
		kind[i] = (int32_t)v;
	}
#define WIDE(slot) ((slot) < inputs ? kind[slot] != ROW_SCALAR && kind[slot] != ROW_EACH : (slot) < inputs + temporaries)
	for (int i = 0; i < steps; i++) {
		int64_t op, to, a, b;
		if (!take(&code, end, 0, ROW_OPS - 1, &op) || !take(&code, end, inputs, slots - 1, &to) || !take(&code, end, 0, slots - 1, &a) ||
		    !take(&code, end, 0, slots - 1, &b))
			goto damaged;
		int reduces = op == ROW_SUM || op == ROW_MEAN, single = to >= inputs + temporaries;
		if (reduces ? !single || !WIDE(a) || flat : single && (WIDE(a) || WIDE(b))) goto damaged;
		s[i] = (row_step){(int32_t)op, (int32_t)to, (int32_t)a, (int32_t)b, constants[2 * i], constants[2 * i + 1]};
	}
	for (int i = 0; i < outputs; i++) {
		int turns = i >= outputs - turned; // these may be inputs too
		if (!take(&code, end, turns ? 0 : inputs, slots - 1, &v) || (flat && v >= inputs + temporaries) || (turns && !WIDE(v))) goto damaged;
		result[i] = (int32_t)v;
	}
	if (again) {
		int64_t group, times;
		if (!take(&code, end, 1, rows, &group) || !take(&code, end, 1, rows, &times) || rows % (group * times)) goto damaged;
		p->group = (size_t)group;
		p->times = (size_t)times;
	}
	return p;
damaged:
	free(p);
	return NULL;
}

void rows_free(row_program *p) { free(p); }

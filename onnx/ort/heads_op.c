// Heads joins what each attention head has of a token to the token's row, or splits
// rows among heads: a transposition which ONNX Runtime makes on one thread, and
// behind a Concat of its own where q, k and v are joined.
//
// A part (q, k, or v) is (pictures, heads, tokens, width); a row has the heads of the
// first part side by side, then those of the next.
#include <string.h>

#include "custom_op.h"
#include "rows.h"

enum { MOST_PARTS = 4, MOST_AXES = 8 };

// The numbers of passes.headsNode, in its order.
typedef struct {
	int64_t pictures, heads, tokens, width, parts;
	int64_t splits;  // rows to parts, and not parts to rows
	int64_t columns; // of joined rows the columns are written too
} layout;

typedef struct {
	const void *api;
	layout l;
	size_t rank;
	int64_t dims[MOST_AXES]; // of an output
} kernel;

static status_t create(const custom_op *op, const void *api, const void *info, void **out) {
	enum { NUMBERS = sizeof(layout) / sizeof(int64_t) };
	int64_t numbers[NUMBERS], dims[MOST_AXES], all = 1, shaped;
	size_t rank = MOST_AXES;
	TRY(op_layout(api, info, numbers, NUMBERS, dims, &rank, &shaped));
	layout l;
	memcpy(&l, numbers, sizeof l);
	for (size_t i = 0; i < 5; i++)
		if (numbers[i] < 1 || __builtin_mul_overflow(all, numbers[i], &all)) return op_failed(api, "a layout of heads is damaged");
	if (l.parts > MOST_PARTS || shaped != (l.splits ? all / l.parts : all) || l.splits < 0 || l.splits > 1 || l.columns < 0 || l.columns > !l.splits)
		return op_failed(api, "a layout of heads doesn't fit its shape");
	kernel *k = calloc(1, sizeof *k);
	if (!k) return op_failed(api, "there is no memory for a layout of heads");
	*k = (kernel){.api = api, .l = l, .rank = rank};
	memcpy(k->dims, dims, rank * sizeof *dims);
	*out = k;
	return NULL;
}

static void destroy(void *k) { free(k); }

typedef struct {
	const layout *l;
	const float *in[MOST_PARTS];
	float *out[MOST_PARTS], *columns;
	size_t blocks;
} job;

static void work(void *p, size_t block) {
	const job *j = p;
	const layout *l = j->l;
	size_t heads = (size_t)l->heads, tokens = (size_t)l->tokens, width = (size_t)l->width, parts = (size_t)l->parts;
	size_t rows = (size_t)l->pictures * tokens, length = parts * heads * width;
	size_t each = (rows + j->blocks - 1) / j->blocks;
	each = (each + ROW_TILE - 1) / ROW_TILE * ROW_TILE;
	size_t at = block * each, end = at + each < rows ? at + each : rows, turned = at;
	for (; at < end; at++) {
		size_t picture = at / tokens, token = at % tokens, run = at * length;
		for (size_t part = 0; part < parts; part++)
			for (size_t head = 0; head < heads; head++, run += width) {
				size_t place = ((picture * heads + head) * tokens + token) * width;
				if (l->splits)
					memcpy(j->out[part] + place, j->in[0] + run, width * sizeof(float));
				else
					memcpy(j->out[0] + run, j->in[part] + place, width * sizeof(float));
			}
		if (j->columns && (at + 1 - turned == ROW_TILE || at + 1 == end)) {
			rows_turn(j->out[0] + turned * length, length, at + 1 - turned, length, j->columns + turned, rows);
			turned = at + 1;
		}
	}
}

static status_t compute(void *kernel_, void *context) {
	kernel *k = kernel_;
	const layout *l = &k->l;
	job j = {.l = l};
	size_t parts = (size_t)l->parts, rows = (size_t)(l->pictures * l->tokens), length = parts * (size_t)(l->heads * l->width);
	for (size_t i = 0; i < (l->splits ? 1 : parts); i++) TRY(op_input(k->api, context, i, &j.in[i]));
	for (size_t i = 0; i < (l->splits ? parts : 1); i++) TRY(op_output(k->api, context, i, k->dims, k->rank, &j.out[i]));
	if (l->columns) TRY(op_output(k->api, context, 1, (int64_t[]){(int64_t)length, (int64_t)rows}, 2, &j.columns));
	enum { WORTH = 16384, MOST = 64 }; // as in rows_blocks
	j.blocks = rows * length / WORTH;
	if (j.blocks > MOST) j.blocks = MOST;
	if (j.blocks > rows / ROW_TILE) j.blocks = rows / ROW_TILE;
	if (!j.blocks) j.blocks = 1;
	return op_parallel(k->api, context, work, j.blocks, &j);
}

static const char *name(const custom_op *op) { return "Heads"; }

const custom_op heads_op = {
	OP_VARIADIC,
	.GetMayInplace = op_none,
};

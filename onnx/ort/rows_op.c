// Rows as an operator of ONNX Runtime's.
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "custom_op.h"

typedef struct {
	const void *api;
	row_program *program;
	int32_t rank; // of outputs, the last dimension being the length of a row
	int64_t dims[8];
} kernel;

static status_t create(const custom_op *op, const void *api, const void *info, void **out) {
	int64_t code[8192], dims[8];
	float constants[2048];
	size_t n = sizeof code / sizeof *code, m = sizeof constants / sizeof *constants, rank = sizeof dims / sizeof *dims;
	TRY(op_ints(api, info, "code", code, &n));
	TRY(FN(KernelInfoGetAttributeArray_float, status_t, const void *, const char *, float *, size_t *)(info, "constants", constants, &m));
	TRY(op_ints(api, info, "shape", dims, &rank));
	kernel *k = calloc(1, sizeof *k);
	if (!k) return op_failed(api, "there is no memory for a program of rows");
	const char *why;
	k->api = api;
	k->program = rows_read(code, n, constants, m, &why);
	if (!k->program) {
		free(k);
		return op_failed(api, why);
	}
	k->rank = (int32_t)rank;
	memcpy(k->dims, dims, sizeof dims);
	*out = k;
	return NULL;
}

static void destroy(void *p) {
	kernel *k = p;
	rows_free(k->program);
	free(k);
}

typedef struct {
	const row_program *program;
	const float *inputs[ROW_MOST_SLOTS];
	float *outputs[ROW_MOST_SLOTS];
} job;

static void work(void *p, size_t block) {
	job *j = p;
	rows_run(j->program, j->inputs, j->outputs, block);
}

static status_t compute(void *kernel_, void *context) {
	kernel *k = kernel_;
	const void *api = k->api;
	row_program *p = k->program;
	job j = {.program = p};
	for (int i = 0; i < p->inputs; i++) TRY(op_input(api, context, (size_t)i, &j.inputs[i]));
	int64_t each[8];
	memcpy(each, k->dims, sizeof each);
	if (k->rank) each[k->rank - 1] = 1;
	int64_t turned[2] = {(int64_t)p->length, (int64_t)p->rows};
	for (int i = 0; i < p->outputs; i++) {
		int turns = i >= p->outputs - p->turned, full = p->result[i] < p->inputs + p->temporaries;
		const int64_t *dims = turns ? turned : full ? k->dims : each;
		TRY(op_output(api, context, (size_t)i, dims, turns ? 2 : (size_t)k->rank, &j.outputs[i]));
	}
	return op_parallel(api, context, work, rows_blocks(p), &j);
}

static const char *name(const custom_op *op) { return "Rows"; }

// Any of the first inputs may give its memory to any of the first outputs: each row
// is read before it is written. The runtime does so where shapes are the same, which
// FuseRows never lets those of turned outputs be, nor are those of rows that serve again.
static size_t in_place(int **inputs, int **outputs) {
	enum { IN = 8, OUT = 4 };
	*inputs = malloc(IN * OUT * sizeof(int));
	*outputs = malloc(IN * OUT * sizeof(int));
	if (!*inputs || !*outputs) return 0;
	for (int i = 0; i < IN * OUT; i++) (*inputs)[i] = i % IN, (*outputs)[i] = i / IN;
	return IN * OUT;
}

const custom_op rows_op = {
	OP_VARIADIC,
	.GetMayInplace = in_place,
};

status_t rows_domain(const void *api, void **domain) {
	TRY(FN(CreateCustomOpDomain, status_t, const char *, void **)("relevit", domain));
	TRY(FN(CustomOpDomain_Add, status_t, void *, const custom_op *)(*domain, &rows_op));
	TRY(FN(CustomOpDomain_Add, status_t, void *, const custom_op *)(*domain, &heads_op));
	return FN(CustomOpDomain_Add, status_t, void *, const custom_op *)(*domain, &product_op);
}

status_t rows_add(const void *api, void *options, void *domain) {
	return FN(AddCustomOpDomain, status_t, void *, void *)(options, domain);
}

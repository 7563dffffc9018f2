// Rows as an operator of ONNX Runtime's.
#include "rows.h"

#include <stdlib.h>
#include <string.h>

// custom_op is OrtCustomOp as API level 18 has it; TestCustomOpIsLaidOutAsTheHeaderHasIt
// compares it with the header that comes with the Go binding.
typedef struct custom_op {
	uint32_t version;
	void *(*CreateKernel)(const struct custom_op *, const void *api, const void *info);
	const char *(*GetName)(const struct custom_op *);
	const char *(*GetExecutionProviderType)(const struct custom_op *);
	int (*GetInputType)(const struct custom_op *, size_t);
	size_t (*GetInputTypeCount)(const struct custom_op *);
	int (*GetOutputType)(const struct custom_op *, size_t);
	size_t (*GetOutputTypeCount)(const struct custom_op *);
	void (*KernelCompute)(void *, void *);
	void (*KernelDestroy)(void *);
	int (*GetInputCharacteristic)(const struct custom_op *, size_t);
	int (*GetOutputCharacteristic)(const struct custom_op *, size_t);
	int (*GetInputMemoryType)(const struct custom_op *, size_t);
	int (*GetVariadicInputMinArity)(const struct custom_op *);
	int (*GetVariadicInputHomogeneity)(const struct custom_op *);
	int (*GetVariadicOutputMinArity)(const struct custom_op *);
	int (*GetVariadicOutputHomogeneity)(const struct custom_op *);
	status_t (*CreateKernelV2)(const struct custom_op *, const void *api, const void *info, void **kernel);
	status_t (*KernelComputeV2)(void *kernel, void *context);
	status_t (*InferOutputShapeFn)(const struct custom_op *, void *);
	int (*GetStartVersion)(const struct custom_op *);
	int (*GetEndVersion)(const struct custom_op *);
	size_t (*GetMayInplace)(int **inputs, int **outputs);
	void (*ReleaseMayInplace)(int *inputs, int *outputs);
	size_t (*GetAliasMap)(int **inputs, int **outputs);
	void (*ReleaseAliasMap)(int *inputs, int *outputs);
} custom_op;

enum position {
	CreateStatus = 0,
	CreateCustomOpDomain = 26,
	CustomOpDomain_Add = 27,
	AddCustomOpDomain = 28,
	GetTensorMutableData = 51,
	KernelContext_GetInput = 90,
	KernelContext_GetOutput = 91,
	KernelInfoGetAttributeArray_float = 162,
	KernelInfoGetAttributeArray_int64 = 163,
	KernelContext_ParallelFor = 274,
};

typedef struct {
	const void *api;
	row_program *program;
	int32_t rank; // of outputs, the last dimension being the length of a row
	int64_t dims[8];
} kernel;

static status_t failed(const void *api, const char *why) {
	enum { invalid_graph = 10 };
	return FN(CreateStatus, status_t, int, const char *)(invalid_graph, why);
}

static status_t create(const custom_op *op, const void *api, const void *info, void **out) {
	int64_t code[8192], dims[8];
	float constants[2048];
	size_t n = sizeof code / sizeof *code, m = sizeof constants / sizeof *constants, rank = sizeof dims / sizeof *dims;
	TRY(FN(KernelInfoGetAttributeArray_int64, status_t, const void *, const char *, int64_t *, size_t *)(info, "code", code, &n));
	TRY(FN(KernelInfoGetAttributeArray_float, status_t, const void *, const char *, float *, size_t *)(info, "constants", constants, &m));
	TRY(FN(KernelInfoGetAttributeArray_int64, status_t, const void *, const char *, int64_t *, size_t *)(info, "shape", dims, &rank));
	kernel *k = calloc(1, sizeof *k);
	if (!k) return failed(api, "there is no memory for a program of rows");
	const char *why;
	k->api = api;
	k->program = rows_read(code, n, constants, m, &why);
	if (!k->program) {
		free(k);
		return failed(api, why);
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
	for (int i = 0; i < p->inputs; i++) {
		const void *value;
		TRY(FN(KernelContext_GetInput, status_t, const void *, size_t, const void **)(context, (size_t)i, &value));
		TRY(FN(GetTensorMutableData, status_t, const void *, void **)(value, (void **)&j.inputs[i]));
	}
	int64_t each[8];
	memcpy(each, k->dims, sizeof each);
	if (k->rank) each[k->rank - 1] = 1;
	int64_t turned[2] = {(int64_t)p->length, (int64_t)p->rows};
	for (int i = 0; i < p->outputs; i++) {
		void *value;
		int turns = i >= p->outputs - p->turned, full = p->result[i] < p->inputs + p->temporaries;
		const int64_t *dims = turns ? turned : full ? k->dims : each;
		TRY(FN(KernelContext_GetOutput, status_t, void *, size_t, const int64_t *, size_t, void **)(context, (size_t)i, dims, turns ? 2 : (size_t)k->rank, &value));
		TRY(FN(GetTensorMutableData, status_t, void *, void **)(value, (void **)&j.outputs[i]));
	}
	size_t blocks = rows_blocks(p);
	if (blocks == 1) {
		work(&j, 0);
		return NULL;
	}
	return FN(KernelContext_ParallelFor, status_t, const void *, void (*)(void *, size_t), size_t, size_t, void *)(context, work, blocks, 0, &j);
}

static const char *name(const custom_op *op) { return "Rows"; }
static const char *provider(const custom_op *op) { return NULL; } // the CPU's
static int float32(const custom_op *op, size_t i) { return 1; }
static size_t one(const custom_op *op) { return 1; }
static int variadic(const custom_op *op, size_t i) { return 2; }
static int anywhere(const custom_op *op, size_t i) { return 0; }
static int at_least_one(const custom_op *op) { return 1; }
static int homogeneous(const custom_op *op) { return 1; }
static int from_version_1(const custom_op *op) { return 1; }
static int to_any_version(const custom_op *op) { return INT32_MAX; }

// Any of the first inputs may give its memory to any of the first outputs: each row
// is read before it is written. The runtime does so where shapes are the same, which
// FuseRows never lets those of turned outputs be.
static size_t in_place(int **inputs, int **outputs) {
	enum { IN = 8, OUT = 4 };
	*inputs = malloc(IN * OUT * sizeof(int));
	*outputs = malloc(IN * OUT * sizeof(int));
	if (!*inputs || !*outputs) return 0;
	for (int i = 0; i < IN * OUT; i++) (*inputs)[i] = i % IN, (*outputs)[i] = i / IN;
	return IN * OUT;
}

static void release(int *inputs, int *outputs) {
	free(inputs);
	free(outputs);
}

static size_t none(int **inputs, int **outputs) {
	*inputs = *outputs = NULL;
	return 0;
}

static const custom_op rows = {
	.version = 18,
	.GetName = name,
	.GetExecutionProviderType = provider,
	.GetInputType = float32,
	.GetInputTypeCount = one,
	.GetOutputType = float32,
	.GetOutputTypeCount = one,
	.KernelDestroy = destroy,
	.GetInputCharacteristic = variadic,
	.GetOutputCharacteristic = variadic,
	.GetInputMemoryType = anywhere,
	.GetVariadicInputMinArity = at_least_one,
	.GetVariadicInputHomogeneity = homogeneous,
	.GetVariadicOutputMinArity = at_least_one,
	.GetVariadicOutputHomogeneity = homogeneous,
	.CreateKernelV2 = create,
	.KernelComputeV2 = compute,
	.GetStartVersion = from_version_1,
	.GetEndVersion = to_any_version,
	.GetMayInplace = in_place,
	.ReleaseMayInplace = release,
	.GetAliasMap = none,
	.ReleaseAliasMap = release,
};

status_t rows_domain(const void *api, void **domain) {
	TRY(FN(CreateCustomOpDomain, status_t, const char *, void **)("relevit", domain));
	return FN(CustomOpDomain_Add, status_t, void *, const custom_op *)(*domain, &rows);
}

status_t rows_add(const void *api, void *options, void *domain) {
	return FN(AddCustomOpDomain, status_t, void *, void *)(options, domain);
}

// What operators of our own are made of.
#ifndef RELEVIT_ORT_CUSTOM_OP_H
#define RELEVIT_ORT_CUSTOM_OP_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "api.h"

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

static inline status_t op_failed(const void *api, const char *why) {
	enum { invalid_graph = 10 };
	return FN(CreateStatus, status_t, int, const char *)(invalid_graph, why);
}

// op_ints reads an attribute of at most *n numbers, and how many it has.
static inline status_t op_ints(const void *api, const void *info, const char *name, int64_t *to, size_t *n) {
	return FN(KernelInfoGetAttributeArray_int64, status_t, const void *, const char *, int64_t *, size_t *)(info, name, to, n);
}

// op_layout reads the attributes of an operator that moves or multiplies arrays: so
// many numbers, and the shape of its outputs with how many elements that has.
static inline status_t op_layout(const void *api, const void *info, int64_t *numbers, size_t want, int64_t *dims, size_t *rank, int64_t *elements) {
	size_t n = want;
	TRY(op_ints(api, info, "layout", numbers, &n));
	TRY(op_ints(api, info, "shape", dims, rank));
	if (n != want) return op_failed(api, "a layout has too few numbers");
	*elements = 1;
	for (size_t i = 0; i < *rank; i++)
		if (dims[i] < 1 || __builtin_mul_overflow(*elements, dims[i], elements)) return op_failed(api, "a shape of outputs is damaged");
	return NULL;
}

static inline status_t op_input(const void *api, void *context, size_t i, const float **to) {
	const void *value;
	TRY(FN(KernelContext_GetInput, status_t, const void *, size_t, const void **)(context, i, &value));
	return FN(GetTensorMutableData, status_t, const void *, void **)(value, (void **)to);
}

static inline status_t op_output(const void *api, void *context, size_t i, const int64_t *dims, size_t rank, float **to) {
	void *value;
	TRY(FN(KernelContext_GetOutput, status_t, void *, size_t, const int64_t *, size_t, void **)(context, i, dims, rank, &value));
	return FN(GetTensorMutableData, status_t, const void *, void **)(value, (void **)to);
}

// op_parallel calls work for each block, on the session's threads.
static inline status_t op_parallel(const void *api, void *context, void (*work)(void *, size_t), size_t blocks, void *job) {
	if (blocks == 1) {
		work(job, 0);
		return NULL;
	}
	return FN(KernelContext_ParallelFor, status_t, const void *, void (*)(void *, size_t), size_t, size_t, void *)(context, work, blocks, 0, job);
}

// What operators of any number of float32 inputs and outputs, on the CPU, answer.
static inline const char *op_provider(const custom_op *op) { return NULL; }
static inline int op_float32(const custom_op *op, size_t i) { return 1; }
static inline size_t op_one(const custom_op *op) { return 1; }
static inline int op_variadic(const custom_op *op, size_t i) { return 2; }
static inline int op_anywhere(const custom_op *op, size_t i) { return 0; }
static inline int op_at_least_one(const custom_op *op) { return 1; }
static inline int op_homogeneous(const custom_op *op) { return 1; }
static inline int op_from_version_1(const custom_op *op) { return 1; }
static inline int op_to_any_version(const custom_op *op) { return INT32_MAX; }
static inline size_t op_none(int **inputs, int **outputs) {
	*inputs = *outputs = NULL;
	return 0;
}
static inline void op_release(int *inputs, int *outputs) {
	free(inputs);
	free(outputs);
}

// OP_VARIADIC begins such an operator, with the name and the functions of its file.
#define OP_VARIADIC \
	.version = 18, .GetName = name, .CreateKernelV2 = create, .KernelComputeV2 = compute, .KernelDestroy = destroy, \
	.GetExecutionProviderType = op_provider, .GetInputType = op_float32, .GetInputTypeCount = op_one, \
	.GetOutputType = op_float32, .GetOutputTypeCount = op_one, .GetInputCharacteristic = op_variadic, \
	.GetOutputCharacteristic = op_variadic, .GetInputMemoryType = op_anywhere, .GetVariadicInputMinArity = op_at_least_one, \
	.GetVariadicInputHomogeneity = op_homogeneous, .GetVariadicOutputMinArity = op_at_least_one, \
	.GetVariadicOutputHomogeneity = op_homogeneous, .GetStartVersion = op_from_version_1, .GetEndVersion = op_to_any_version, \
	.ReleaseMayInplace = op_release, .GetAliasMap = op_none, .ReleaseAliasMap = op_release

extern const custom_op rows_op, heads_op, product_op;

#endif

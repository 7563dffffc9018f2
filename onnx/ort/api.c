#include "api.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

// OrtApi is a struct of function pointers to which new versions only ever
// append, so a function's position identifies it. TestAPIPositions checks these
// against the header that comes with the Go binding.
enum position {
	GetErrorMessage = 2,
	CreateEnv = 3,
	SessionGetInputCount = 30,
	SessionGetOutputCount = 31,
	SessionGetOverridableInitializerCount = 32,
	SessionGetInputTypeInfo = 33,
	SessionGetOutputTypeInfo = 34,
	SessionGetOverridableInitializerTypeInfo = 35,
	SessionGetInputName = 36,
	SessionGetOutputName = 37,
	SessionGetOverridableInitializerName = 38,
	CreateTensorWithDataAsOrtValue = 49,
	GetTensorMutableData = 51,
	CastTypeInfoToTensorInfo = 55,
	GetTensorElementType = 60,
	GetDimensionsCount = 61,
	GetDimensions = 62,
	GetSymbolicDimensions = 63,
	GetTensorTypeAndShape = 65,
	CreateMemoryInfo = 68,
	CreateCpuMemoryInfo = 69,
	AllocatorFree = 76,
	GetAllocatorWithDefaultOptions = 78,
	ReleaseEnv = 92,
	ReleaseStatus = 93,
	ReleaseValue = 96,
	ReleaseTypeInfo = 98,
	ReleaseTensorTypeAndShapeInfo = 99,
	SessionEndProfiling = 110,
	GetAvailableProviders = 125,
	ReleaseAvailableProviders = 126,
	RunWithBinding = 133,
	CreateIoBinding = 134,
	ReleaseIoBinding = 135,
	BindInput = 136,
	BindOutput = 137,
	BindOutputToDevice = 138,
	GetBoundOutputValues = 140,
	CreateAndRegisterAllocator = 144,
	TensorTypeAndShape_HasShape = 390,
};

typedef struct {
	const void *(*get_api)(uint32_t);
	const char *(*version)(void);
} api_base;

static const api_base *base_of(void *lib) {
	const api_base *(*get)(void);
	*(void **)&get = dlsym(lib, "OrtGetApiBase");
	return get ? get() : NULL;
}

void *lib_open(const char *path, const char **version, const char **why) {
	void *lib = dlopen(path, RTLD_LAZY);
	if (!lib) {
		*why = dlerror();
		return NULL;
	}
	const api_base *base = base_of(lib);
	if (!base) {
		dlclose(lib);
		*why = "it exports no OrtGetApiBase, so it is not ONNX Runtime";
		return NULL;
	}
	*version = base->version();
	return lib;
}

const void *lib_api(void *lib, uint32_t level) { return base_of(lib)->get_api(level); }

char *status_text(const void *api, status_t s) {
	char *text = strdup(FN(GetErrorMessage, const char *, status_t)(s));
	FN(ReleaseStatus, void, status_t)(s);
	return text;
}

status_t providers(const void *api, char ***names, int *n) {
	return FN(GetAvailableProviders, status_t, char ***, int *)(names, n);
}

void free_providers(const void *api, char **names, int n) {
	FN(ReleaseAvailableProviders, status_t, char **, int)(names, n);
}

status_t cpu_memory_info(const void *api, void **out) {
	enum { arena_allocator = 1, default_memory = 0 };
	return FN(CreateCpuMemoryInfo, status_t, int, int, void **)(arena_allocator, default_memory, out);
}

status_t memory_info(const void *api, const char *device, int ordinal, void **out) {
	enum { device_allocator = 0, default_memory = 0 };
	return FN(CreateMemoryInfo, status_t, const char *, int, int, int, void **)(device, device_allocator, ordinal, default_memory, out);
}

status_t share_arena(const void *api, void *mem_info) {
	void *env = NULL; // the process has one, which is counted
	TRY(FN(CreateEnv, status_t, int, const char *, void **)(2, "relevit", &env));
	status_t s = FN(CreateAndRegisterAllocator, status_t, void *, void *, void *)(env, mem_info, NULL);
	FN(ReleaseEnv, void, void *)(env);
	return s;
}

status_t new_tensor(const void *api, void *mem_info, void *data, size_t bytes, const int64_t *dims, size_t rank,
                    int32_t type, void **out) {
	return FN(CreateTensorWithDataAsOrtValue, status_t, void *, void *, size_t, const int64_t *, size_t, int32_t,
	          void **)(mem_info, data, bytes, dims, rank, type, out);
}

static status_t read_shape(const void *api, void *info, int32_t *type, int64_t **dims, size_t *rank) {
	*dims = NULL;
	TRY(FN(GetTensorElementType, status_t, void *, int32_t *)(info, type));
	TRY(FN(GetDimensionsCount, status_t, void *, size_t *)(info, rank));
	*dims = calloc(*rank + 1, sizeof **dims);
	return FN(GetDimensions, status_t, void *, int64_t *, size_t)(info, *dims, *rank);
}

status_t tensor_content(const void *api, void *value, void **data, int32_t *type, int64_t **dims, size_t *rank) {
	void *info = NULL;
	*dims = NULL;
	TRY(FN(GetTensorTypeAndShape, status_t, void *, void **)(value, &info));
	status_t s = read_shape(api, info, type, dims, rank);
	FN(ReleaseTensorTypeAndShapeInfo, void, void *)(info);
	if (s) return s;
	return FN(GetTensorMutableData, status_t, void *, void **)(value, data);
}

void release_value(const void *api, void *value) { FN(ReleaseValue, void, void *)(value); }

status_t new_binding(const void *api, void *session, void **out) {
	return FN(CreateIoBinding, status_t, void *, void **)(session, out);
}

status_t bind_input(const void *api, void *binding, const char *name, void *value) {
	return FN(BindInput, status_t, void *, const char *, void *)(binding, name, value);
}

status_t bind_output(const void *api, void *binding, const char *name, void *value) {
	return FN(BindOutput, status_t, void *, const char *, void *)(binding, name, value);
}

status_t bind_output_anywhere(const void *api, void *binding, const char *name, void *mem_info) {
	return FN(BindOutputToDevice, status_t, void *, const char *, void *)(binding, name, mem_info);
}

status_t run_binding(const void *api, void *session, void *binding) {
	return FN(RunWithBinding, status_t, void *, void *, void *)(session, NULL, binding);
}

static status_t allocator(const void *api, void **out) {
	return FN(GetAllocatorWithDefaultOptions, status_t, void **)(out);
}

status_t bound_outputs(const void *api, void *binding, void ***values, size_t *n) {
	void *a;
	TRY(allocator(api, &a));
	return FN(GetBoundOutputValues, status_t, void *, void *, void ***, size_t *)(binding, a, values, n);
}

void free_allocated(const void *api, void *p) {
	void *a;
	if (p && !allocator(api, &a)) FN(AllocatorFree, status_t, void *, void *)(a, p);
}

void release_binding(const void *api, void *binding) { FN(ReleaseIoBinding, void, void *)(binding); }

static const struct { enum position count, name, type; } ports[] = {
	[PORT_INPUT] = {SessionGetInputCount, SessionGetInputName, SessionGetInputTypeInfo},
	[PORT_OUTPUT] = {SessionGetOutputCount, SessionGetOutputName, SessionGetOutputTypeInfo},
	[PORT_OPTIONAL] = {SessionGetOverridableInitializerCount, SessionGetOverridableInitializerName, SessionGetOverridableInitializerTypeInfo},
};

status_t session_count(const void *api, void *session, int kind, size_t *n) {
	return FN(ports[kind].count, status_t, void *, size_t *)(session, n);
}

status_t session_port(const void *api, void *session, int kind, size_t i, port_t *p) {
	memset(p, 0, sizeof *p);
	void *a;
	TRY(allocator(api, &a));
	TRY(FN(ports[kind].name, status_t, void *, size_t, void *, char **)(session, i, a, &p->name));
	TRY(FN(ports[kind].type, status_t, void *, size_t, void **)(session, i, &p->info));
	void *tensor = NULL; // belongs to p->info
	TRY(FN(CastTypeInfoToTensorInfo, status_t, void *, void **)(p->info, &tensor));
	if (!tensor) return NULL;
	p->is_tensor = true;
	p->has_shape = FN(TensorTypeAndShape_HasShape, bool, void *)(tensor);
	TRY(read_shape(api, tensor, &p->type, &p->dims, &p->rank));
	p->syms = calloc(p->rank + 1, sizeof *p->syms);
	return FN(GetSymbolicDimensions, status_t, void *, const char **, size_t)(tensor, p->syms, p->rank);
}

void free_port(const void *api, port_t *p) {
	free_allocated(api, p->name);
	free(p->dims);
	free(p->syms);
	if (p->info) FN(ReleaseTypeInfo, void, void *)(p->info);
}

status_t end_profile(const void *api, void *session, char **path) {
	void *a;
	TRY(allocator(api, &a));
	return FN(SessionEndProfiling, status_t, void *, void *, char **)(session, a, path);
}

void *aligned_zeros(size_t bytes) {
	void *p = NULL;
	if (posix_memalign(&p, 64, bytes)) return NULL;
	return memset(p, 0, bytes);
}

#include "cuda.h"

#include <dlfcn.h>
#include <string.h>

void *lib_load(const char *path, const char **why) {
	void *lib = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	if (!lib) *why = dlerror();
	return lib;
}

#define FIND(lib, at, name) (*(void **)&(at) = dlsym(lib, name))

const char *driver_probe(void *lib, int ordinal, int *version, int *count, char *name) {
	int (*init)(unsigned), (*get_version)(int *), (*get_count)(int *), (*get)(int *, int), (*get_name)(char *, int, int);
	int (*error)(int, const char **);
	if (!FIND(lib, init, "cuInit") || !FIND(lib, get_version, "cuDriverGetVersion") || !FIND(lib, get_count, "cuDeviceGetCount") ||
	    !FIND(lib, get, "cuDeviceGet") || !FIND(lib, get_name, "cuDeviceGetName") || !FIND(lib, error, "cuGetErrorString"))
		return "it lacks functions of the CUDA driver";
	int device, failed = get_version(version);
	if (!failed) failed = init(0);
	if (!failed) failed = get_count(count);
	if (!failed && ordinal < *count && !get(&device, ordinal)) get_name(name, 128, device);
	const char *text = NULL;
	if (failed && (error(failed, &text) || !text)) text = "unknown error";
	return text;
}

const char *cuda_open(cuda_t *c, void *lib, int ordinal) {
	memset(c, 0, sizeof *c);
	c->ordinal = ordinal;
	if (!FIND(lib, c->set_device, "cudaSetDevice") || !FIND(lib, c->alloc, "cudaMalloc") || !FIND(lib, c->free, "cudaFree") ||
	    !FIND(lib, c->alloc_host, "cudaMallocHost") || !FIND(lib, c->free_host, "cudaFreeHost") ||
	    !FIND(lib, c->zero, "cudaMemsetAsync") || !FIND(lib, c->copy, "cudaMemcpyAsync") || !FIND(lib, c->wait, "cudaStreamSynchronize") ||
	    !FIND(lib, c->memory, "cudaMemGetInfo") || !FIND(lib, c->error, "cudaGetErrorString"))
		return "it lacks functions of the CUDA runtime";
	return NULL;
}

// this_thread is the stream of the calling thread alone, so that copies of one
// goroutine don't wait for those of another.
static void *const this_thread = (void *)2; // cudaStreamPerThread

#define TRY(call) \
	do { \
		int failed_ = (call); \
		if (failed_) return c->error(failed_); \
	} while (0)

// Each function chooses the device, which CUDA keeps for every thread by itself.

const char *cuda_alloc(cuda_t *c, size_t bytes, void **out) {
	TRY(c->set_device(c->ordinal));
	TRY(c->alloc(out, bytes));
	TRY(c->zero(*out, 0, bytes, this_thread));
	TRY(c->wait(this_thread));
	return NULL;
}

const char *cuda_alloc_host(cuda_t *c, size_t bytes, void **out) {
	TRY(c->set_device(c->ordinal));
	TRY(c->alloc_host(out, bytes));
	memset(*out, 0, bytes);
	return NULL;
}

const char *cuda_memory(cuda_t *c, size_t *free, size_t *total) {
	TRY(c->set_device(c->ordinal));
	TRY(c->memory(free, total));
	return NULL;
}

void cuda_free(cuda_t *c, void *p) {
	if (!c->set_device(c->ordinal)) c->free(p);
}

void cuda_free_host(cuda_t *c, void *p) {
	if (!c->set_device(c->ordinal)) c->free_host(p);
}

const char *cuda_copy(cuda_t *c, void *to, const void *from, size_t bytes, int kind) {
	TRY(c->set_device(c->ordinal));
	TRY(c->copy(to, from, bytes, kind, this_thread));
	TRY(c->wait(this_thread));
	return NULL;
}

// What we need of CUDA besides ONNX Runtime: whether the machine has a driver and
// a GPU, memory there, and copies. The functions are those of the libraries that
// ONNX Runtime's provider itself uses, found at run time, so that nothing of
// CUDA is needed to build.
#ifndef RELEVIT_ORT_CUDA_H
#define RELEVIT_ORT_CUDA_H

#include <stddef.h>

// lib_load opens a shared library for good; NULL, and why, where it can't.
void *lib_load(const char *path, const char **why);

// driver_probe asks libcuda what it drives. It returns NULL, or what is wrong.
// name has room for 128 bytes and describes the GPU of that ordinal, if there is one.
const char *driver_probe(void *libcuda, int ordinal, int *version, int *count, char *name);

// The functions of libcudart.
typedef struct {
	int ordinal;
	int (*set_device)(int);
	int (*alloc)(void **, size_t);
	int (*free)(void *);
	int (*alloc_host)(void **, size_t);
	int (*free_host)(void *);
	int (*zero)(void *, int, size_t, void *);
	int (*copy)(void *, const void *, size_t, int, void *);
	int (*wait)(void *);
	int (*memory)(size_t *, size_t *);
	const char *(*error)(int);
} cuda_t;

// Each returns NULL, or what is wrong.
const char *cuda_open(cuda_t *c, void *libcudart, int ordinal);
const char *cuda_alloc(cuda_t *c, size_t bytes, void **out);      // zeros on the GPU
const char *cuda_alloc_host(cuda_t *c, size_t bytes, void **out); // pinned zeros
const char *cuda_memory(cuda_t *c, size_t *free, size_t *total);
void cuda_free(cuda_t *c, void *p);
void cuda_free_host(cuda_t *c, void *p);

// cuda_copy returns once the bytes are there. ONNX Runtime computes in a stream of
// its own, for which nothing else waits.
enum { COPY_UP = 1, COPY_DOWN = 2, COPY_WITHIN = 3 };
const char *cuda_copy(cuda_t *c, void *to, const void *from, size_t bytes, int kind);

#endif

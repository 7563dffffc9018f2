// The part of the ONNX Runtime C API which the Go binding does not reach:
// scalars and half-precision tensors over memory of our own, outputs whose
// shape only the run knows, what a session's inputs and outputs are, and the
// list of execution providers. Handles are opaque, so no header of the runtime
// is needed.
#ifndef RELEVIT_ORT_API_H
#define RELEVIT_ORT_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A failed call returns a status, which status_text reads and releases.
typedef void *status_t;

// FN is the function at a position of the table api, and TRY passes a failure on.
#define FN(name, result, ...) ((result(*)(__VA_ARGS__))((void *const *)api)[name])
#define TRY(call) \
	do { \
		status_t s_ = (call); \
		if (s_) return s_; \
	} while (0)

typedef struct {
	char *name;
	bool is_tensor, has_shape;
	int32_t type;
	size_t rank;
	int64_t *dims;     // -1 where the size is not fixed
	const char **syms; // names of dimensions, "" where they have none
	void *info;        // owns syms
} port_t;

// lib_open loads a library; on failure it returns NULL and *why says why.
// *version is then the runtime's own version string.
void *lib_open(const char *path, const char **version, const char **why);
const void *lib_api(void *lib, uint32_t level);

char *status_text(const void *api, status_t s);

status_t providers(const void *api, char ***names, int *n);
void free_providers(const void *api, char **names, int n);

status_t cpu_memory_info(const void *api, void **out);
status_t memory_info(const void *api, const char *device, int ordinal, void **out);
// share_arena gives the environment an arena for every session that asks for it.
status_t share_arena(const void *api, void *mem_info);
status_t new_tensor(const void *api, void *mem_info, void *data, size_t bytes, const int64_t *dims, size_t rank,
                    int32_t type, void **out);
status_t tensor_content(const void *api, void *value, void **data, int32_t *type, int64_t **dims, size_t *rank);
void release_value(const void *api, void *value);

status_t new_binding(const void *api, void *session, void **out);
status_t bind_input(const void *api, void *binding, const char *name, void *value);
status_t bind_output(const void *api, void *binding, const char *name, void *value);
status_t bind_output_anywhere(const void *api, void *binding, const char *name, void *mem_info);
status_t run_binding(const void *api, void *session, void *binding);
status_t bound_outputs(const void *api, void *binding, void ***values, size_t *n);
void free_allocated(const void *api, void *p);
void release_binding(const void *api, void *binding);

// Kinds of ports. Optional ones are inputs with a default value.
enum { PORT_INPUT, PORT_OUTPUT, PORT_OPTIONAL };

status_t session_count(const void *api, void *session, int kind, size_t *n);
status_t session_port(const void *api, void *session, int kind, size_t i, port_t *out);
void free_port(const void *api, port_t *p);
status_t end_profile(const void *api, void *session, char **path);

// aligned_zeros returns zeroed memory on a 64-byte boundary, or NULL.
void *aligned_zeros(size_t bytes);

#endif

// Programs that passes.FuseRows makes of nodes which compute element by element, along
// rows: each row is read once, passes through all of them in the processor's
// nearest cache, and is written once.
#ifndef RELEVIT_ORT_ROWS_H
#define RELEVIT_ORT_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "api.h"

// Operators, in the order of rowOps in package passes.
enum {
	ROW_ADD, ROW_SUB, ROW_MUL, ROW_DIV, ROW_NEG, ROW_SQRT, ROW_EXP, ROW_ERF,
	ROW_HARD_SIGMOID, // min(max(x * p + q, 0), 1)
	ROW_CLIP,         // to [p, q]
	ROW_SUM,          // of a row
	ROW_MEAN,
	ROW_INVERSE_ROOT, // 1 / sqrt(x + p)
	ROW_AT_LEAST,     // 1 where x >= p, else 0
	ROW_ABOVE,        // 1 where x > p, else 0
	ROW_OPS
};

// How a value lies.
enum {
	ROW_SCALAR, // one for all rows
	ROW_SHARED, // one row for all rows
	ROW_EACH,   // one element for each row
	ROW_AGAIN,  // groups of rows, each of which serves several groups of the program's
	ROW_FULL,
};

typedef struct {
	int32_t op, to, a, b; // slots; b is unused by operators of one operand
	float p, q;
} row_step;

// A program computes a row of every output. Its slots are the inputs, then full
// temporaries, then those of one element.
typedef struct {
	size_t rows, length;
	int inputs, temporaries, singles, steps, outputs;
	const int32_t *kind; // of inputs
	const row_step *code;
	const int32_t *result; // slots of outputs
	int turned;            // so many of the last outputs have the rows as columns
	int flat;              // nothing belongs to a row, so that rows may be cut elsewhere
	size_t group, times;   // of ROW_AGAIN: rows of a group, and how many groups it serves
} row_program;

enum {
	ROW_MOST_SLOTS = 96,
	ROW_CHUNK = 1024, // elements of a row where rows may be cut anywhere
	ROW_TILE = 8,     // rows that wait until they are written as columns
};

// rows_read makes a program of numbers as passes.FuseRows writes them; NULL, and what
// is wrong, where it is none.
row_program *rows_read(const int64_t *code, size_t n, const float *constants, size_t m, const char **why);
void rows_free(row_program *p);

// rows_blocks is into how many parts the work may be cut, and rows_run makes one.
size_t rows_blocks(const row_program *p);
void rows_part(const row_program *p, size_t block, size_t *from, size_t *to); // in rows, or elements of a flat program
void rows_run_any(const row_program *p, const float *const *inputs, float *const *outputs, size_t block);
void rows_run_avx2(const row_program *p, const float *const *inputs, float *const *outputs, size_t block);
void rows_run_avx512(const row_program *p, const float *const *inputs, float *const *outputs, size_t block);
void rows_run(const row_program *p, const float *const *inputs, float *const *outputs, size_t block);

// rows_turn writes so many rows, which lie stride apart, as columns of an array whose
// own rows are that far apart.
void rows_turn_any(const float *rows, size_t stride, size_t count, size_t length, float *to, size_t apart);
void rows_turn_avx2(const float *rows, size_t stride, size_t count, size_t length, float *to, size_t apart);
void rows_turn(const float *rows, size_t stride, size_t count, size_t length, float *to, size_t apart);

// rows_add lets a session have nodes that are programs.
status_t rows_domain(const void *api, void **domain);
status_t rows_add(const void *api, void *options, void *domain);

#endif

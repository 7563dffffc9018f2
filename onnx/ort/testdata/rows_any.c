// Runs a program of rows on the path that any processor can go: standard input is how
// many numbers the program has, they, how many constants, they, and the elements of
// the one input; standard output are those of the one output.
#include "../rows.h"

#include <stdio.h>
#include <stdlib.h>

static void *take(size_t size, size_t n) {
	void *p = calloc(n ? n : 1, size);
	if (!p || fread(p, size, n, stdin) != n) exit(2);
	return p;
}

int main(void) {
	int64_t n = *(int64_t *)take(8, 1);
	int64_t *code = take(8, (size_t)n);
	int64_t m = *(int64_t *)take(8, 1);
	float *constants = take(4, (size_t)m);
	const char *why;
	row_program *p = rows_read(code, (size_t)n, constants, (size_t)m, &why);
	if (!p) {
		fputs(why, stderr);
		return 1;
	}
	size_t elements = p->rows * p->length;
	const float *in = take(4, elements);
	float *out = calloc(elements, 4);
	for (size_t block = 0; block < rows_blocks(p); block++) rows_run_any(p, &in, &out, block);
	return fwrite(out, 4, elements, stdout) != elements;
}

// Runs a program of rows on the path that its argument names: any, avx2 or avx512.
// Standard input is how many numbers the program has, they, how many constants, they,
// and the elements of the one input; standard output are those of the one output. Of a
// path that this processor hasn't, the status is 3.
#include "../rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *take(size_t size, size_t n) {
	void *p = calloc(n ? n : 1, size);
	if (!p || fread(p, size, n, stdin) != n) exit(2);
	return p;
}

typedef void run(const row_program *p, const float *const *inputs, float *const *outputs, size_t block);

static run *path(const char *name) {
	if (!strcmp(name, "any")) return rows_run_any;
#if defined __x86_64__
	if (!strcmp(name, "avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return rows_run_avx2;
	if (!strcmp(name, "avx512") && __builtin_cpu_supports("avx512f")) return rows_run_avx512;
#endif
	exit(3);
}

int main(int argc, char **argv) {
	if (argc != 2) return 2;
	run *run = path(argv[1]);
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
	for (size_t block = 0; block < rows_blocks(p); block++) run(p, &in, &out, block);
	return fwrite(out, 4, elements, stdout) != elements;
}

// Products of matrices that passes.FuseProducts gives to us. The right factor is copied
// into panels, whichever way it lies, and so are rows of the left one that meet each
// other in the processor's first cache, or lie as columns that are too long for it; a
// kernel of AVX-512 runs over them.
#ifndef RELEVIT_ORT_PRODUCT_H
#define RELEVIT_ORT_PRODUCT_H

#include <stddef.h>

enum {
	PRODUCT_TALL = 8,      // rows of a tile
	PRODUCT_WIDE = 48,     // columns of it: 24 vectors of AVX-512's 32 registers
	PRODUCT_DEPTH = 800,   // terms that are summed up before a tile is written
	PRODUCT_ROWS = 96,     // rows whose panels stay in a core's second cache
	PRODUCT_COLUMNS = 768, // columns whose panels are made at once
};

// A factor's element (i, j) is at i * row + j * column, one of which is 1.
typedef struct {
	const float *at;
	size_t row, column;
} product_factor;

// c = (a b + bias) * times + plus, where rows of c, times and plus (m,n) lie stride apart.
typedef struct {
	size_t m, n, k;
	product_factor a, b;
	float *c;
	size_t stride;
	const float *bias;  // (n), or NULL
	const float *times; // or NULL
	const float *plus;  // or NULL
} product;

// product_here tells whether this processor has the kernel's instructions.
int product_here(void);

// product_run computes a product with panels in memory of as many elements as
// product_memory says.
size_t product_memory(const product *p);
void product_run(const product *p, float *memory);

#endif

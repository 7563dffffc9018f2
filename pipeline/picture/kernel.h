#include <stddef.h>
#include <stdint.h>

// relevit_horizontal resamples rows of 3 interleaved samples to width pixels:
// of the taps weights at w + x*size, the first is that of the input pixel
// first[x] - first[0]. in ends with its last pixel.
void relevit_horizontal(uint8_t *out, int width, const uint8_t *in, ptrdiff_t stride, int rows, const int32_t *first,
	const int32_t *taps, const int32_t *w, int size);

// relevit_vertical combines rows of n samples to height rows, likewise.
void relevit_vertical(uint8_t *out, int n, const uint8_t *in, ptrdiff_t stride, int height, const int32_t *first,
	const int32_t *taps, const int32_t *w, int size);

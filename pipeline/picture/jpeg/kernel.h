#include <stddef.h>
#include <stdint.h>

// relevit_idct dequantizes n blocks that lie side by side (n,64), transforms
// them, and stores 8 rows of 8*n samples.
void relevit_idct(const int16_t *coefs, int n, const int32_t *quant, uint8_t *dst, ptrdiff_t stride);

// relevit_upsample brings a component's rows from..to of the picture to full
// size: hx times as wide and vx times as high as its plane (height,width).
void relevit_upsample(uint8_t *out, ptrdiff_t out_stride, const uint8_t *plane, ptrdiff_t stride, int width, int height,
	int hx, int vx, int from, int to);

// relevit_ycc_to_rgb converts planes (rows,width) to dst (rows,width,3).
void relevit_ycc_to_rgb(uint8_t *dst, const uint8_t *luma, ptrdiff_t luma_stride, const uint8_t *cb, ptrdiff_t cb_stride,
	const uint8_t *cr, ptrdiff_t cr_stride, int width, int rows);

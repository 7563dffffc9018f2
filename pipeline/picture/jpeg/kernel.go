package jpeg

// #cgo CFLAGS: -O3
// #cgo noescape relevit_idct
// #cgo nocallback relevit_idct
// #cgo noescape relevit_upsample
// #cgo nocallback relevit_upsample
// #cgo noescape relevit_ycc_to_rgb
// #cgo nocallback relevit_ycc_to_rgb
// #include "kernel.h"
import "C"

// The functions here check what they hand to C: it doesn't.

// idct dequantizes blocks that lie side by side, transforms them, and stores 8
// rows of samples at dst.
func idct(blocks []block, q *[64]int32, dst []byte, stride int) {
	if len(blocks) == 0 {
		return
	}
	_ = dst[7*stride+8*len(blocks)-1]
	C.relevit_idct((*C.int16_t)(&blocks[0][0]), C.int(len(blocks)), (*C.int32_t)(&q[0]), (*C.uint8_t)(&dst[0]), C.ptrdiff_t(stride))
}

// strip is some rows of samples.
type strip struct {
	pix    []byte
	stride int
}

func (s strip) row(y, width int) []byte { return s.pix[y*s.stride:][:width] }

// upsample brings rows of the picture of a component to full size, into out.
// Where a component has half the width, half the height or both, libjpeg's
// default is the triangle filter: each output sample is 3/4 of the nearer input
// sample and 1/4 of the farther one in each halved direction. Other ratios, and
// very narrow pictures, repeat samples.
func (c *component) upsample(out strip, hx, vx, from, to int) {
	_ = c.plane[(c.height-1)*c.stride+c.width-1]
	_, _ = out.row(to-from-1, c.width*hx), c.plane[(to-1)/vx*c.stride+c.width-1]
	C.relevit_upsample((*C.uint8_t)(&out.pix[0]), C.ptrdiff_t(out.stride), (*C.uint8_t)(&c.plane[0]), C.ptrdiff_t(c.stride),
		C.int(c.width), C.int(c.height), C.int(hx), C.int(vx), C.int(from), C.int(to))
}

// yccToRGB converts and interleaves, with the 16-bit fixed point of libjpeg's
// jdcolor, to dst (rows,width,3).
func yccToRGB(dst []byte, luma, cb, cr strip, width, rows int) {
	_ = dst[3*width*rows-1]
	for _, s := range [...]strip{luma, cb, cr} {
		_ = s.row(rows-1, width)
	}
	C.relevit_ycc_to_rgb((*C.uint8_t)(&dst[0]), (*C.uint8_t)(&luma.pix[0]), C.ptrdiff_t(luma.stride), (*C.uint8_t)(&cb.pix[0]), C.ptrdiff_t(cb.stride),
		(*C.uint8_t)(&cr.pix[0]), C.ptrdiff_t(cr.stride), C.int(width), C.int(rows))
}

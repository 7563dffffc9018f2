package picture

// #cgo CFLAGS: -O3
// #cgo noescape relevit_horizontal
// #cgo nocallback relevit_horizontal
// #cgo noescape relevit_vertical
// #cgo nocallback relevit_vertical
// #include "kernel.h"
import "C"

// The functions here check what they hand to C: it doesn't.

// horizontal resamples rows of in, whose first sample is at the columns' span,
// to out (rows,width,3).
func (k *weights) horizontal(out []uint8, in []uint8, stride, rows int) {
	from, to := k.span()
	width := len(k.first)
	_, _ = out[3*width*rows-1], in[(rows-1)*stride+3*(to-from)-1]
	C.relevit_horizontal((*C.uint8_t)(&out[0]), C.int(width), (*C.uint8_t)(&in[0]), C.ptrdiff_t(stride), C.int(rows),
		(*C.int32_t)(&k.first[0]), (*C.int32_t)(&k.count[0]), (*C.int32_t)(&k.w[0]), C.int(k.size))
}

// vertical combines rows of n samples of in, whose first row is at the rows'
// span, to out (height,n).
func (k *weights) vertical(out []uint8, n int, in []uint8, stride int) {
	from, to := k.span()
	height := len(k.first)
	_, _ = out[n*height-1], in[(to-from-1)*stride+n-1]
	C.relevit_vertical((*C.uint8_t)(&out[0]), C.int(n), (*C.uint8_t)(&in[0]), C.ptrdiff_t(stride), C.int(height),
		(*C.int32_t)(&k.first[0]), (*C.int32_t)(&k.count[0]), (*C.int32_t)(&k.w[0]), C.int(k.size))
}

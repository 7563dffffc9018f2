package tokencut

// #cgo CFLAGS: -O3
// #cgo noescape relevit_products
// #cgo nocallback relevit_products
// #include "products.h"
import "C"

// products stores the inner products of vectors (m,width) with others
// (count,width) as out (m,count), summed in any order.
func products(others, vectors []float32, width int, out []float32) {
	count, m := len(others)/width, len(vectors)/width
	_, _, _ = others[width-1], vectors[width-1], out[:m*count]
	C.relevit_products((*C.float)(&others[0]), C.int(count), (*C.float)(&vectors[0]), C.int(m), C.int(width), (*C.float)(&out[0]))
}

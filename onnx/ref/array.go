// Package ref evaluates graphs of the working dialect in float64, by the ONNX
// specification and nothing else. It is the yardstick for rules, passes and
// ONNX Runtime: each operator is the few lines that its definition takes, and
// none is tuned.
//
// Element types are nominal: every float type is computed and kept in float64,
// every integer type in int64 (wrapped around to its width). A Cast between
// float types therefore changes no value, also not to float16 or bfloat16.
package ref

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Array is a value in row-major order. F holds the elements of every float
// type, I those of every integer type, B booleans; the other two stay nil.
// Arrays share elements: nothing may write into one that it didn't make.
type Array struct {
	Type  onnx.DType
	Shape []int
	F     []float64
	I     []int64
	B     []bool
}

// Floats makes a float64 array; without sizes a scalar. len(v) must be the
// product of shape: evaluation reports one that isn't.
func Floats(v []float64, shape ...int) *Array {
	return &Array{Type: onnx.Double, Shape: shape, F: v}
}

// Ints makes an int64 array, shaped as by Floats.
func Ints(v []int64, shape ...int) *Array { return &Array{Type: onnx.Int64, Shape: shape, I: v} }

// Bools makes a boolean array, shaped as by Floats.
func Bools(v []bool, shape ...int) *Array { return &Array{Type: onnx.Bool, Shape: shape, B: v} }

// As returns the array with another element type of the same kind, such as
// float32 for float64. The elements are shared and stay as they are.
func (a *Array) As(t onnx.DType) *Array {
	return &Array{Type: t, Shape: a.Shape, F: a.F, I: a.I, B: a.B}
}

// Count is the number of elements.
func (a *Array) Count() int {
	n := 1
	for _, d := range a.Shape {
		n *= d
	}
	return n
}

// String prints type and shape, as float32(2,3).
func (a *Array) String() string {
	if a == nil {
		return "-"
	}
	dims := make([]int64, len(a.Shape))
	for i, d := range a.Shape {
		dims[i] = int64(d)
	}
	return fmt.Sprintf("%v%v", a.Type, onnx.ShapeOf(dims...))
}

// A kind is what elements are computed in.
type kind int

const (
	other kind = iota // strings, complex numbers, packed types: not evaluated
	floating
	integer
	boolean
)

func kindOf(t onnx.DType) kind {
	switch t {
	case onnx.Float, onnx.Double, onnx.Float16, onnx.BFloat16:
		return floating
	case onnx.Int8, onnx.Int16, onnx.Int32, onnx.Int64, onnx.Uint8, onnx.Uint16, onnx.Uint32, onnx.Uint64:
		return integer
	case onnx.Bool:
		return boolean
	}
	return other
}

// maxElements bounds what a malformed node can make us allocate.
const maxElements = 1 << 28

func count(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative size", shape)
		}
		if d == 0 {
			n = 0
		}
	}
	for _, d := range shape {
		if n > 0 && d > maxElements/n {
			return 0, fmt.Errorf("shape %v has more than %d elements", shape, maxElements)
		}
		n *= d
	}
	return n, nil
}

// alloc makes an array of zeros.
func alloc(t onnx.DType, shape []int) (*Array, error) {
	n, err := count(shape)
	if err != nil {
		return nil, err
	}
	a := &Array{Type: t, Shape: append([]int{}, shape...)}
	switch kindOf(t) {
	case floating:
		a.F = make([]float64, n)
	case integer:
		a.I = make([]int64, n)
	case boolean:
		a.B = make([]bool, n)
	default:
		return nil, fmt.Errorf("elements of type %v can't be evaluated", t)
	}
	return a, nil
}

// check reports an array whose elements don't fit its type and shape.
func (a *Array) check() error {
	n, err := count(a.Shape)
	if err != nil {
		return err
	}
	have := -1
	switch kindOf(a.Type) {
	case floating:
		have = len(a.F)
	case integer:
		have = len(a.I)
	case boolean:
		have = len(a.B)
	}
	if have != n {
		return fmt.Errorf("%v needs %d elements of its kind, has %d", a, n, max(have, 0))
	}
	return nil
}

// reshaped is the same elements under another shape of the same count.
func (a *Array) reshaped(shape ...int) *Array {
	return &Array{Type: a.Type, Shape: shape, F: a.F, I: a.I, B: a.B}
}

// clone copies the elements.
func (a *Array) clone() *Array {
	return &Array{Type: a.Type, Shape: a.Shape, F: slices.Clone(a.F), I: slices.Clone(a.I), B: slices.Clone(a.B)}
}

// copyRun copies n elements from src, at s, to dst, at d; both of one kind.
func copyRun(dst *Array, d int, src *Array, s, n int) {
	switch kindOf(dst.Type) {
	case floating:
		copy(dst.F[d:d+n], src.F[s:s+n])
	case integer:
		copy(dst.I[d:d+n], src.I[s:s+n])
	case boolean:
		copy(dst.B[d:d+n], src.B[s:s+n])
	}
}

// product of sizes.
func product(sizes []int) int {
	n := 1
	for _, d := range sizes {
		n *= d
	}
	return n
}

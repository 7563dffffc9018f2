package onnx

import (
	"fmt"
	"math"
)

// bits returns the width of an element, 0 for strings and unknown types.
func (t DType) bits() int64 {
	switch t {
	case 21, 22, 23:
		return 4
	case 25, 26:
		return 2
	}
	return 8 * int64(t.Size())
}

// byteSize is the number of bytes that dims of type t take, an error if that
// is no sensible number.
func byteSize(t DType, dims []int64) (int64, error) {
	bits := t.bits()
	if bits == 0 {
		return 0, fmt.Errorf("elements of type %v can't be read", t)
	}
	n, err := elements(dims)
	if err != nil {
		return 0, err
	}
	if n > (math.MaxInt64-7)/bits {
		return 0, fmt.Errorf("dims %v are too big", dims)
	}
	return (n*bits + 7) / 8, nil
}

// elements is the product of dims, which must not be negative nor overflow.
func elements(dims []int64) (int64, error) {
	n, empty := int64(1), false
	for _, d := range dims {
		if d < 0 {
			return 0, fmt.Errorf("dims %v: a size is negative", dims)
		}
		empty = empty || d == 0
	}
	if empty {
		return 0, nil
	}
	for _, d := range dims {
		if n > math.MaxInt64/d {
			return 0, fmt.Errorf("dims %v are too big", dims)
		}
		n *= d
	}
	return n, nil
}

// Check reports whether the tensor's data fit its type and dimensions.
func (t *Tensor) Check() error {
	if t.Type == String {
		n, err := elements(t.Dims)
		if err == nil && int64(len(t.Strings)) != n {
			err = fmt.Errorf("the tensor has %d strings, dims %v need %d", len(t.Strings), t.Dims, n)
		}
		return err
	}
	size, err := byteSize(t.Type, t.Dims)
	if err == nil && int64(len(t.Raw)) != size {
		err = fmt.Errorf("the tensor has %d bytes, %v%v needs %d", len(t.Raw), t.Type, t.Shape(), size)
	}
	return err
}

package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
)

// As converts a floating-point tensor to another floating-point type, rounding
// to nearest, ties to even. A number too big for the type is an error.
func (t *Tensor) As(to DType) (*Tensor, error) {
	if t.Type == to {
		return t, nil
	}
	if !t.Type.IsFloat() || !to.IsFloat() {
		return nil, fmt.Errorf("can't convert %v to %v: both must be floating-point types", t.Type, to)
	}
	at, err := t.reader()
	if err != nil {
		return nil, err
	}
	n, size := int(t.Count()), to.Size()
	out := &Tensor{Type: to, Dims: t.Dims, Raw: make([]byte, n*size)}
	for i := range n {
		x, b := at(i), out.Raw[i*size:]
		infinite := false
		switch to {
		case Float:
			f := float32(x)
			infinite = math.IsInf(float64(f), 0)
			binary.LittleEndian.PutUint32(b, math.Float32bits(f))
		case Double:
			infinite = math.IsInf(x, 0)
			binary.LittleEndian.PutUint64(b, math.Float64bits(x))
		case Float16:
			h := roundTo(x, 10, -14, 15)
			infinite = h&0x7fff == 0x7c00
			binary.LittleEndian.PutUint16(b, h)
		case BFloat16:
			h := roundTo(x, 7, -126, 127)
			infinite = h&0x7fff == 0x7f80
			binary.LittleEndian.PutUint16(b, h)
		}
		if infinite && !math.IsInf(x, 0) {
			return nil, fmt.Errorf("element %d, %g, is too big for %v", i, x, to)
		}
	}
	return out, nil
}

// roundTo rounds x to a 16-bit IEEE 754 number with the given bits of fraction
// and smallest and biggest exponents of normal numbers.
func roundTo(x float64, fraction, least, most int) uint16 {
	sign := uint16(math.Float64bits(x) >> 48 & 0x8000)
	all := uint16(most-least+2) << fraction // exponent bits all one: infinity
	switch x = math.Abs(x); {
	case math.IsNaN(x):
		return sign | all | 1<<(fraction-1)
	case x == 0:
		return sign
	case math.IsInf(x, 0):
		return sign | all
	}
	_, e := math.Frexp(x) // x = f * 2^e, f in [1/2, 1)
	e = max(e-1, least)
	// Counting in units of the last place, a carry moves on to the next exponent
	// by itself.
	units := uint64(math.RoundToEven(math.Ldexp(x, fraction-e)))
	bits := uint64(e-least)<<fraction + units
	return sign | uint16(min(bits, uint64(all)))
}

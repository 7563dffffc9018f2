package ref

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/relevit/relevit/onnx"
)

// FromTensor reads constant data. Strings, complex numbers and packed types
// are errors.
func FromTensor(t *onnx.Tensor) (*Array, error) {
	shape := make([]int, len(t.Dims))
	for i, d := range t.Dims {
		shape[i] = int(d)
	}
	if _, err := count(shape); err != nil {
		return nil, err
	}
	a := &Array{Type: t.Type, Shape: shape}
	var err error
	switch kindOf(t.Type) {
	case floating:
		a.F, err = t.Float64s()
	case integer:
		a.I, err = t.Int64s()
	case boolean:
		var bits []int64
		bits, err = t.Int64s()
		a.B = make([]bool, len(bits))
		for i, b := range bits {
			a.B[i] = b != 0
		}
	default:
		err = fmt.Errorf("elements of type %v can't be evaluated", t.Type)
	}
	return a, err
}

// Tensor writes the elements as constant data of type t, rounding floats to
// the nearest value of t (ties to even) and converting as Cast does.
func (a *Array) Tensor(t onnx.DType) (*onnx.Tensor, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	c := a
	if t != a.Type {
		var err error
		if c, err = cast(a, t); err != nil {
			return nil, err
		}
	}
	out := &onnx.Tensor{Type: t, Dims: make([]int64, len(a.Shape)), Raw: make([]byte, 0, a.Count()*t.Size())}
	for i, d := range a.Shape {
		out.Dims[i] = int64(d)
	}
	for _, x := range c.F {
		out.Raw = appendFloat(out.Raw, t, x)
	}
	for _, x := range c.I {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(x))
		out.Raw = append(out.Raw, b[:t.Size()]...)
	}
	for _, x := range c.B {
		b := byte(0)
		if x {
			b = 1
		}
		out.Raw = append(out.Raw, b)
	}
	return out, nil
}

func appendFloat(raw []byte, t onnx.DType, x float64) []byte {
	switch t {
	case onnx.Double:
		return binary.LittleEndian.AppendUint64(raw, math.Float64bits(x))
	case onnx.Float:
		return binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(x)))
	case onnx.Float16:
		return binary.LittleEndian.AppendUint16(raw, uint16(shortFloat(x, 5, 10)))
	}
	return binary.LittleEndian.AppendUint16(raw, uint16(shortFloat(x, 8, 7)))
}

// shortFloat rounds x to an IEEE 754 format with that many exponent and
// fraction bits and returns its bits.
func shortFloat(x float64, exponent, fraction int) uint64 {
	bias := 1<<(exponent-1) - 1
	top := uint64(1<<exponent-1) << fraction // infinity
	sign := uint64(0)
	if math.Signbit(x) {
		sign = 1 << (exponent + fraction)
	}
	x = math.Abs(x)
	switch {
	case math.IsNaN(x):
		return sign | top | 1<<(fraction-1)
	case x == 0 || math.IsInf(x, 0):
		if x == 0 {
			top = 0
		}
		return sign | top
	}
	_, e := math.Frexp(x) // x in [2^(e-1), 2^e)
	e = max(e-1, 1-bias)  // the exponent of a normal, or that of all subnormals
	unit := math.Ldexp(1, e-fraction)
	m := uint64(math.RoundToEven(x / unit)) // 2^fraction and up where normal
	// A carry out of the fraction runs into the exponent, as it should.
	bits := m
	if m >= 1<<fraction {
		bits = uint64(e+bias-1)<<fraction + m
	}
	return sign | min(bits, top)
}

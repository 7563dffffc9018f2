package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Tensor holds constant data: little-endian elements in row-major order, as in
// TensorProto.raw_data, whatever field the file kept them in.
type Tensor struct {
	Type    DType
	Dims    []int64
	Raw     []byte
	Strings [][]byte // elements of a String tensor, which has no Raw
}

// Count is the number of elements.
func (t *Tensor) Count() int64 {
	n := int64(1)
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

// Shape returns the dimensions as a Shape.
func (t *Tensor) Shape() Shape { return ShapeOf(t.Dims...) }

// FloatTensor makes a float32 tensor; len(v) must be the product of dims.
func FloatTensor(v []float32, dims ...int64) *Tensor {
	raw := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(x))
	}
	return &Tensor{Type: Float, Dims: dims, Raw: raw}
}

// DoubleTensor makes a float64 tensor; len(v) must be the product of dims.
func DoubleTensor(v []float64, dims ...int64) *Tensor {
	raw := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(raw[8*i:], math.Float64bits(x))
	}
	return &Tensor{Type: Double, Dims: dims, Raw: raw}
}

// Int64Tensor makes an int64 tensor; len(v) must be the product of dims.
func Int64Tensor(v []int64, dims ...int64) *Tensor {
	raw := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(raw[8*i:], uint64(x))
	}
	return &Tensor{Type: Int64, Dims: dims, Raw: raw}
}

// BoolTensor makes a boolean tensor; len(v) must be the product of dims.
func BoolTensor(v []bool, dims ...int64) *Tensor {
	raw := make([]byte, len(v))
	for i, x := range v {
		if x {
			raw[i] = 1
		}
	}
	return &Tensor{Type: Bool, Dims: dims, Raw: raw}
}

// Float64s returns the elements of a numeric tensor as float64, converting
// from any float, integer or boolean type.
func (t *Tensor) Float64s() ([]float64, error) {
	at, err := t.reader()
	if err != nil {
		return nil, err
	}
	out := make([]float64, t.Count())
	for i := range out {
		out[i] = at(i)
	}
	return out, nil
}

// Float32s returns the elements of a numeric tensor as float32.
func (t *Tensor) Float32s() ([]float32, error) {
	at, err := t.reader()
	if err != nil {
		return nil, err
	}
	out := make([]float32, t.Count())
	for i := range out {
		out[i] = float32(at(i))
	}
	return out, nil
}

// Int64s returns the elements of an integer or boolean tensor.
func (t *Tensor) Int64s() ([]int64, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	out := make([]int64, t.Count())
	for i := range out {
		switch t.Type {
		case Int64, Uint64:
			out[i] = int64(binary.LittleEndian.Uint64(t.Raw[8*i:]))
		case Int32:
			out[i] = int64(int32(binary.LittleEndian.Uint32(t.Raw[4*i:])))
		case Uint32:
			out[i] = int64(binary.LittleEndian.Uint32(t.Raw[4*i:]))
		case Int16:
			out[i] = int64(int16(binary.LittleEndian.Uint16(t.Raw[2*i:])))
		case Uint16:
			out[i] = int64(binary.LittleEndian.Uint16(t.Raw[2*i:]))
		case Int8:
			out[i] = int64(int8(t.Raw[i]))
		case Uint8, Bool:
			out[i] = int64(t.Raw[i])
		default:
			return nil, fmt.Errorf("a %v tensor holds no integers", t.Type)
		}
	}
	return out, nil
}

func (t *Tensor) check() error {
	size := t.Type.Size()
	if size == 0 {
		return fmt.Errorf("elements of type %v can't be read as numbers", t.Type)
	}
	if want := t.Count() * int64(size); int64(len(t.Raw)) != want {
		return fmt.Errorf("tensor %v%v has %d bytes, expected %d", t.Type, t.Shape(), len(t.Raw), want)
	}
	return nil
}

func (t *Tensor) reader() (func(int) float64, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	raw := t.Raw
	switch t.Type {
	case Float:
		return func(i int) float64 {
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		}, nil
	case Double:
		return func(i int) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])) }, nil
	case Float16:
		return func(i int) float64 { return halfToFloat(binary.LittleEndian.Uint16(raw[2*i:])) }, nil
	case BFloat16:
		return func(i int) float64 {
			return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16))
		}, nil
	}
	ints, err := t.Int64s()
	if err != nil {
		return nil, err
	}
	return func(i int) float64 { return float64(ints[i]) }, nil
}

// halfToFloat converts IEEE 754 binary16 to float64.
func halfToFloat(h uint16) float64 {
	sign, exp, frac := h>>15, int(h>>10&31), float64(h&1023)
	var v float64
	switch exp {
	case 0:
		v = math.Ldexp(frac, -24)
	case 31:
		v = math.Inf(1)
		if frac != 0 {
			v = math.NaN()
		}
	default:
		v = math.Ldexp(1024+frac, exp-25)
	}
	if sign == 1 {
		v = -v
	}
	return v
}

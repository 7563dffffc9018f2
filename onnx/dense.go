package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"

	"gorgonia.org/tensor"
)

// denseTypes pairs ONNX's element types with gorgonia's.
var denseTypes = map[DType]tensor.Dtype{
	Float: tensor.Float32, Double: tensor.Float64, Bool: tensor.Bool,
	Int8: tensor.Int8, Int16: tensor.Int16, Int32: tensor.Int32, Int64: tensor.Int64,
	Uint8: tensor.Uint8, Uint16: tensor.Uint16, Uint32: tensor.Uint32, Uint64: tensor.Uint64,
}

// Dense copies the tensor into a gorgonia array of the same shape and type;
// float16 and bfloat16 become float32. Gorgonia has no empty arrays, strings
// or complex numbers of ours: those are errors.
func (t *Tensor) Dense() (*tensor.Dense, error) {
	if t.Type == Float16 || t.Type == BFloat16 {
		wide, err := t.As(Float)
		if err != nil {
			return nil, err
		}
		t = wide
	}
	dtype, ok := denseTypes[t.Type]
	if !ok {
		return nil, fmt.Errorf("a %v tensor has no gorgonia counterpart", t.Type)
	}
	if err := t.Check(); err != nil {
		return nil, err
	}
	n := int(t.Count())
	if n == 0 {
		return nil, fmt.Errorf("the tensor %v is empty, which gorgonia can't hold", t.Shape())
	}
	backing := reflect.MakeSlice(reflect.SliceOf(dtype.Type), n, n)
	if _, err := binary.Decode(t.Raw, binary.LittleEndian, backing.Interface()); err != nil {
		return nil, fmt.Errorf("copy %v%v: %w", t.Type, t.Shape(), err)
	}
	if len(t.Dims) == 0 {
		return tensor.New(tensor.FromScalar(backing.Index(0).Interface())), nil
	}
	shape := make([]int, len(t.Dims))
	for i, d := range t.Dims {
		shape[i] = int(d)
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(backing.Interface())), nil
}

// FromDense copies a gorgonia array, in row-major order whatever its own is;
// views and transposed arrays come out as they print. int and uint become
// int64 and uint64.
func FromDense(d *tensor.Dense) (*Tensor, error) {
	if d == nil {
		return nil, errors.New("copy gorgonia array: it is nil")
	}
	out := &Tensor{Type: dtypeOf(d.Dtype()), Dims: []int64{}}
	if out.Type == Undefined {
		return nil, fmt.Errorf("a gorgonia array of %v has no ONNX counterpart", d.Dtype())
	}
	if d.IsMasked() {
		return nil, errors.New("copy gorgonia array: it is masked, which ONNX has no form for")
	}
	shape, strides := d.Shape(), d.Strides()
	for _, n := range shape {
		out.Dims = append(out.Dims, int64(n))
	}
	data := reflect.ValueOf(d.Data())
	if d.IsScalar() && data.Kind() != reflect.Slice {
		one := reflect.MakeSlice(reflect.SliceOf(data.Type()), 1, 1)
		one.Index(0).Set(data)
		data, strides = one, make([]int, len(shape))
	}
	flat, err := rowMajor(data, shape, strides)
	if err != nil {
		return nil, err
	}
	out.Raw, err = binary.Append(nil, binary.LittleEndian, flat.Interface())
	if err != nil {
		return nil, fmt.Errorf("copy gorgonia array: %w", err)
	}
	return out, out.Check()
}

func dtypeOf(t tensor.Dtype) DType {
	switch t {
	case tensor.Int:
		return Int64
	case tensor.Uint:
		return Uint64
	}
	for ours, theirs := range denseTypes {
		if theirs == t {
			return ours
		}
	}
	return Undefined
}

// rowMajor collects the elements of a strided array in row-major order, as a
// slice of an element type with a fixed size.
func rowMajor(data reflect.Value, shape, strides []int) (reflect.Value, error) {
	count, last := 1, 0
	if len(strides) != len(shape) {
		return data, fmt.Errorf("copy gorgonia array: shape %v has strides %v", shape, strides)
	}
	contiguous := true
	for i := len(shape) - 1; i >= 0; i-- {
		contiguous = contiguous && (shape[i] == 1 || strides[i] == count)
		count *= shape[i]
		last += (shape[i] - 1) * strides[i]
	}
	if count == 0 || last < 0 || last >= data.Len() {
		return data, fmt.Errorf("copy gorgonia array: shape %v with strides %v doesn't fit its %d elements", shape, strides, data.Len())
	}
	elem := data.Type().Elem()
	switch elem.Kind() {
	case reflect.Int:
		elem = reflect.TypeFor[int64]()
	case reflect.Uint:
		elem = reflect.TypeFor[uint64]()
	}
	if contiguous && elem == data.Type().Elem() {
		return data.Slice(0, count), nil
	}
	out := reflect.MakeSlice(reflect.SliceOf(elem), count, count)
	index := make([]int, len(shape))
	for i := range count {
		at := 0
		for j, x := range index {
			at += x * strides[j]
		}
		out.Index(i).Set(data.Index(at).Convert(elem))
		for j := len(index) - 1; j >= 0; j-- {
			if index[j]++; index[j] < shape[j] {
				break
			}
			index[j] = 0
		}
	}
	return out, nil
}

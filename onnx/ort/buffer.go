package ort

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"gorgonia.org/tensor"

	"github.com/relevit/relevit/onnx"
)

// Buffer is a tensor whose memory Go and ONNX Runtime share: what one writes
// the other reads, without a copy. The memory is C's, so the garbage collector
// neither moves nor counts it, and it lives until Close. Slices and tensors
// taken from a Buffer are views of it and must not be used after Close.
//
// A buffer of a device (see Place) has no views: Read, Write and Copy reach it,
// and work wherever a buffer lives.
type Buffer struct {
	dtype onnx.DType
	shape []int64
	mem   []byte         // what Go sees of it, nil on a device
	there unsafe.Pointer // on a device, else nil
	place Place
	value handle // nil once closed
	api   capi
	free  func() // frees memory that isn't the value's; nil where it is
}

// Element lists the Go types that buffers hold. Other ONNX types, such as
// float16, are there as bytes.
type Element interface {
	float32 | float64 | int64 | int32 | int16 | int8 | uint64 | uint32 | uint16 | uint8 | bool
}

// NewBuffer returns a tensor of zeros; a scalar has no dimensions. The runtime
// must be loaded.
func NewBuffer(t onnx.DType, shape ...int64) (*Buffer, error) {
	_, memory, err := current()
	if err != nil {
		return nil, err
	}
	n, err := byteSize(t, shape)
	if err != nil {
		return nil, fmt.Errorf("making buffer %s: %w", describe(t, shape), err)
	}
	mem := allocate(n)
	if mem == nil {
		return nil, &MemoryError{Doing: "making buffer " + describe(t, shape), Bytes: fmt.Sprint(n)}
	}
	b := &Buffer{dtype: t, shape: slices.Clone(shape), mem: mem, free: func() { release(mem) }}
	return b, b.open(memory, unsafe.Pointer(unsafe.SliceData(mem)), n)
}

// open makes ONNX Runtime's value of the buffer's memory, or frees it.
func (b *Buffer) open(info handle, at unsafe.Pointer, bytes int64) error {
	api, _, err := current()
	if err == nil {
		b.api = api
		b.value, err = api.newTensor(info, at, bytes, b.dtype, b.shape)
	}
	if err != nil {
		b.free()
		return fmt.Errorf("making buffer %s: %w", describe(b.dtype, b.shape), err)
	}
	b.count(1)
	return nil
}

// BufferOf returns a tensor holding a copy of data, whose length must be the
// product of shape.
func BufferOf[T Element](data []T, shape ...int64) (*Buffer, error) {
	b, err := NewBuffer(typeOf[T](), shape...)
	if err != nil {
		return nil, err
	}
	if err := Set(b, data); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Set copies data into b. Type and length must be the buffer's.
func Set[T Element](b *Buffer, data []T) error {
	if t := typeOf[T](); t != b.dtype || len(data) != b.Len() || b.value == nil {
		return fmt.Errorf("filling buffer %s with %d elements of %v", b, len(data), t)
	}
	return b.Write(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data))*unsafe.Sizeof(*new(T))))
}

// Write replaces the contents, little-endian and in row-major order.
func (b *Buffer) Write(raw []byte) error {
	if n, err := byteSize(b.dtype, b.shape); err != nil || int64(len(raw)) != n || b.value == nil {
		return fmt.Errorf("filling buffer %s with %d bytes", b, len(raw))
	}
	if b.there == nil {
		copy(b.mem, raw)
		return nil
	}
	return b.place.copy(b.there, unsafe.Pointer(unsafe.SliceData(raw)), len(raw), up)
}

// Read returns the contents: Bytes where Go sees them, else a copy.
func (b *Buffer) Read() ([]byte, error) {
	if b.value == nil {
		return nil, fmt.Errorf("reading buffer %s", b)
	}
	if b.there == nil {
		return b.mem, nil
	}
	n, err := byteSize(b.dtype, b.shape)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, n)
	return raw, b.place.copy(unsafe.Pointer(unsafe.SliceData(raw)), b.there, len(raw), down)
}

// Values returns the elements wherever the buffer lives: a view where Go sees
// them, else a copy.
func Values[T Element](b *Buffer) ([]T, error) {
	raw, err := b.Read()
	if err != nil {
		return nil, err
	}
	if t := typeOf[T](); t != b.dtype {
		return nil, fmt.Errorf("reading buffer %s as elements of %v", b, t)
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), b.Len()), nil
}

// Copy replaces the contents by another buffer's of the same type and shape,
// wherever the two live.
func (b *Buffer) Copy(from *Buffer) error {
	if b.dtype != from.dtype || !slices.Equal(b.shape, from.shape) || b.value == nil || from.value == nil {
		return fmt.Errorf("filling buffer %s from %s", b, from)
	}
	switch {
	case from.there == nil:
		return b.Write(from.mem)
	case b.there == nil:
		return from.place.copy(unsafe.Pointer(unsafe.SliceData(b.mem)), from.there, len(b.mem), down)
	}
	n, err := byteSize(b.dtype, b.shape)
	if err != nil {
		return err
	}
	return b.place.copy(b.there, from.there, int(n), within)
}

// BufferFrom returns a buffer holding a copy of a numeric constant.
func BufferFrom(t *onnx.Tensor) (*Buffer, error) {
	b, err := NewBuffer(t.Type, t.Dims...)
	if err != nil {
		return nil, err
	}
	if len(t.Raw) != len(b.mem) {
		b.Close()
		return nil, fmt.Errorf("making buffer %s: the tensor has %d bytes, expected %d", describe(t.Type, t.Dims), len(t.Raw), len(b.mem))
	}
	copy(b.mem, t.Raw)
	return b, nil
}

// Tensor returns a copy as a constant, of a buffer that Go sees.
func (b *Buffer) Tensor() *onnx.Tensor {
	return &onnx.Tensor{Type: b.dtype, Dims: slices.Clone(b.shape), Raw: slices.Clone(b.mem)}
}

func byteSize(t onnx.DType, shape []int64) (int64, error) {
	n := int64(t.Size())
	if n == 0 {
		return 0, errors.New("elements of this type have no fixed size in bytes")
	}
	for _, d := range shape {
		if d < 0 {
			return 0, errors.New("a dimension is negative")
		}
		if d > 0 && n > math.MaxInt64/d {
			return 0, errors.New("its size overflows")
		}
		n *= d
	}
	return n, nil
}

// wrap makes a Buffer of a tensor that ONNX Runtime allocated, and owns it.
func wrap(api capi, value handle) (*Buffer, error) {
	data, t, shape, err := api.content(value)
	var n int64
	if err == nil {
		n, err = byteSize(t, shape)
	}
	if err != nil {
		api.releaseValue(value)
		return nil, err
	}
	b := &Buffer{dtype: t, shape: shape, value: value, api: api}
	if n > 0 {
		b.mem = unsafe.Slice((*byte)(data), n)
	}
	b.count(1)
	return b, nil
}

// Close frees the memory. A session refuses to run while a closed buffer is
// bound to it.
func (b *Buffer) Close() {
	if b == nil || b.value == nil {
		return
	}
	b.count(-1)
	b.api.releaseValue(b.value)
	if b.free != nil {
		b.free()
	}
	b.value, b.mem, b.there = nil, nil, nil
}

// String describes the buffer as float32(8,1000).
func (b *Buffer) String() string {
	if b.value == nil {
		return describe(b.dtype, b.shape) + " (closed)"
	}
	return describe(b.dtype, b.shape)
}

// Type is the type of the elements.
func (b *Buffer) Type() onnx.DType { return b.dtype }

// Shape returns the dimensions; the caller must not change them.
func (b *Buffer) Shape() []int64 { return b.shape }

// Len is the number of elements.
func (b *Buffer) Len() int {
	n := 1
	for _, d := range b.shape {
		n *= int(d)
	}
	return n
}

// Bytes returns the memory itself, little-endian and in row-major order; nil on
// a device, as all views are.
func (b *Buffer) Bytes() []byte { return b.mem }

// Float32s returns the elements, nil if they aren't float32.
func (b *Buffer) Float32s() []float32 { return view[float32](b) }

// Float64s returns the elements, nil if they aren't float64.
func (b *Buffer) Float64s() []float64 { return view[float64](b) }

// Int64s returns the elements, nil if they aren't int64.
func (b *Buffer) Int64s() []int64 { return view[int64](b) }

// Int32s returns the elements, nil if they aren't int32.
func (b *Buffer) Int32s() []int32 { return view[int32](b) }

// Uint8s returns the elements, nil if they aren't uint8.
func (b *Buffer) Uint8s() []uint8 { return view[uint8](b) }

// Bools returns the elements, nil if they aren't bool.
func (b *Buffer) Bools() []bool { return view[bool](b) }

// Dense returns a gorgonia tensor over the same memory. Types without a Go
// counterpart (float16, ...) are an error.
func (b *Buffer) Dense() (*tensor.Dense, error) {
	var backing any
	switch b.dtype {
	case onnx.Float:
		backing = view[float32](b)
	case onnx.Double:
		backing = view[float64](b)
	case onnx.Int64:
		backing = view[int64](b)
	case onnx.Int32:
		backing = view[int32](b)
	case onnx.Int16:
		backing = view[int16](b)
	case onnx.Int8:
		backing = view[int8](b)
	case onnx.Uint64:
		backing = view[uint64](b)
	case onnx.Uint32:
		backing = view[uint32](b)
	case onnx.Uint16:
		backing = view[uint16](b)
	case onnx.Uint8:
		backing = view[uint8](b)
	case onnx.Bool:
		backing = view[bool](b)
	}
	if backing == nil || b.Len() == 0 || b.value == nil {
		return nil, fmt.Errorf("viewing buffer %s as a dense tensor: no elements of a Go type", b)
	}
	shape := make([]int, len(b.shape))
	for i, d := range b.shape {
		shape[i] = int(d)
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(backing)), nil
}

func view[T Element](b *Buffer) []T {
	if typeOf[T]() != b.dtype || b.value == nil || b.there != nil {
		return nil
	}
	if len(b.mem) == 0 {
		return []T{}
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b.mem))), b.Len())
}

func typeOf[T Element]() onnx.DType {
	var x T
	switch any(x).(type) {
	case float32:
		return onnx.Float
	case float64:
		return onnx.Double
	case int64:
		return onnx.Int64
	case int32:
		return onnx.Int32
	case int16:
		return onnx.Int16
	case int8:
		return onnx.Int8
	case uint64:
		return onnx.Uint64
	case uint32:
		return onnx.Uint32
	case uint16:
		return onnx.Uint16
	case uint8:
		return onnx.Uint8
	case bool:
		return onnx.Bool
	}
	return onnx.Undefined
}

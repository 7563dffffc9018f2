package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// tensor decodes a TensorProto. Raw refers to the file's bytes where they are
// in the right form already.
func (d *Document) tensor(t *message) (*Tensor, error) {
	if t.sub(tensorSegment) != nil || t.last(tensorSegment, protowire.BytesType) != nil {
		return nil, errors.New("segmented tensors aren't supported")
	}
	out := &Tensor{Type: DType(t.number(tensorType)), Dims: t.integers(tensorDims)}
	if out.Type == String {
		n, err := elements(out.Dims)
		if err != nil {
			return nil, err
		}
		out.Strings = t.texts(tensorStrings)
		if int64(len(out.Strings)) != n {
			return nil, fmt.Errorf("string_data has %d strings, dims %v need %d", len(out.Strings), out.Dims, n)
		}
		return out, nil
	}
	size, err := byteSize(out.Type, out.Dims)
	if err != nil {
		return nil, err
	}
	if d.sketch {
		return out, d.weigh(t, out, size)
	}
	source := "raw_data"
	if isExternal(t) {
		source = "external data"
		out.Raw, err = d.external(t, size)
	} else if raw := t.last(tensorRaw, protowire.BytesType); raw != nil {
		out.Raw = raw.body
	} else {
		source, out.Raw, err = t.typedData(out.Type)
	}
	if err != nil {
		return nil, err
	}
	return out, out.holds(source, int64(len(out.Raw)), size)
}

func (t *Tensor) holds(source string, found, size int64) error {
	if found != size {
		return fmt.Errorf("%s has %d bytes, %v%v needs %d", source, found, t.Type, t.Shape(), size)
	}
	return nil
}

// weigh checks that a tensor's data, which need not be read yet, are of its size.
func (d *Document) weigh(t *message, out *Tensor, size int64) error {
	if isExternal(t) {
		_, err := d.locate(t, size)
		return err
	}
	if raw := t.last(tensorRaw, protowire.BytesType); raw != nil {
		return out.holds("raw_data", int64(d.length(raw)), size)
	}
	num, fixed, width := typedField(out.Type)
	source := schema["TensorProto"][num].name
	count, ok := d.scalars(t, num, fixed)
	if !ok {
		return damaged(source)
	}
	return out.holds(source, int64(count*width), size)
}

func damaged(source string) error {
	return fmt.Errorf("%s is damaged: its bytes are no list of numbers", source)
}

// length is that of a field's body, which need not be there.
func (d *Document) length(f *field) int {
	if h, ok := d.absent[f.pos]; ok {
		return h.end - h.start
	}
	return len(f.body)
}

// scalars counts the numbers of a repeated field, each of fixed bytes or a
// varint. It returns false if the field is no list of them.
func (d *Document) scalars(m *message, num protowire.Number, fixed int) (count int, ok bool) {
	for i := range m.fields {
		f := &m.fields[i]
		if f.num != num {
			continue
		}
		packed := f.wire == protowire.BytesType
		h, absent := d.absent[f.pos]
		n, length := h.count, d.length(f)
		switch {
		case fixed > 0 && packed && length%fixed == 0:
			n = length / fixed
		case fixed > 0 && f.wire == wireOf(fixed):
			n = (length + len(f.head)) / (fixed + len(f.head))
		case fixed == 0 && absent && n >= 0 && (packed || f.wire == protowire.VarintType):
		case fixed == 0 && !absent && (packed || f.wire == protowire.VarintType):
			if !f.varints(func(uint64) { n++ }) {
				return 0, false
			}
		default:
			return 0, false
		}
		count += n
	}
	return count, true
}

// integers returns the elements of a repeated integer field, never nil.
func (m *message) integers(num protowire.Number) []int64 {
	out := []int64{}
	for i := range m.fields {
		if f := &m.fields[i]; f.num == num && (f.wire == protowire.VarintType || f.wire == protowire.BytesType) {
			f.varints(func(v uint64) { out = append(out, int64(v)) })
		}
	}
	return out
}

// typedField returns the field of TensorProto that holds elements of type t,
// the size of its elements there (0 for varints) and that in memory.
func typedField(t DType) (num protowire.Number, fixed, size int) {
	switch t {
	case Float, Complex64:
		return tensorFloats, 4, 4
	case Double, Complex128:
		return tensorDoubles, 8, 8
	case Int64:
		return tensorInt64s, 0, 8
	case Uint64:
		return tensorUint64s, 0, 8
	case Uint32:
		return tensorUint64s, 0, 4
	}
	return tensorInt32s, 0, max(t.Size(), 1)
}

// typedData collects the elements of float_data and its like as little-endian
// bytes, and says which field they are from.
func (m *message) typedData(t DType) (source string, raw []byte, err error) {
	num, fixed, size := typedField(t)
	source = schema["TensorProto"][num].name
	own := false // whether raw is ours to append to
	for i := range m.fields {
		f := &m.fields[i]
		if f.num != num {
			continue
		}
		part, ok := f.elements(fixed, size)
		if !ok {
			return source, nil, damaged(source)
		}
		switch {
		case raw == nil:
			raw = part
		case own:
			raw = append(raw, part...)
		default:
			raw, own = slices.Concat(raw, part), true
		}
	}
	return source, raw, nil
}

// elements returns the numbers of a packed field or run as little-endian
// integers of size bytes (fixed 0), or as they are.
func (f *field) elements(fixed, size int) (raw []byte, ok bool) {
	if fixed > 0 {
		if f.wire != protowire.BytesType && f.wire != wireOf(fixed) {
			return nil, false
		}
		return f.fixed(fixed)
	}
	if f.wire != protowire.VarintType && f.wire != protowire.BytesType {
		return nil, false
	}
	ok = f.varints(func(v uint64) {
		switch size {
		case 1:
			raw = append(raw, byte(v))
		case 2:
			raw = binary.LittleEndian.AppendUint16(raw, uint16(v))
		case 4:
			raw = binary.LittleEndian.AppendUint32(raw, uint32(v))
		default:
			raw = binary.LittleEndian.AppendUint64(raw, v)
		}
	})
	return raw, ok
}

func wireOf(size int) protowire.Type {
	if size == 4 {
		return protowire.Fixed32Type
	}
	return protowire.Fixed64Type
}

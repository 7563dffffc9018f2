package onnx

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// last returns the last field with that number and wire type, nil if none.
func (m *message) last(num protowire.Number, wire protowire.Type) *field {
	for i := len(m.fields) - 1; i >= 0; i-- {
		if f := &m.fields[i]; f.num == num && f.wire == wire {
			return f
		}
	}
	return nil
}

// text returns a string field, "" where it isn't set.
func (m *message) text(num protowire.Number) string {
	if f := m.last(num, protowire.BytesType); f != nil {
		return string(f.body)
	}
	return ""
}

// texts returns the elements of a repeated string or bytes field.
func (m *message) texts(num protowire.Number) [][]byte {
	var out [][]byte
	for i := range m.fields {
		if f := &m.fields[i]; f.num == num && f.wire == protowire.BytesType {
			out = append(out, f.body)
		}
	}
	return out
}

// number returns an integer field, 0 where it isn't set.
func (m *message) number(num protowire.Number) int64 {
	var v uint64
	if f := m.last(num, protowire.VarintType); f != nil {
		f.varints(func(x uint64) { v = x })
	}
	return int64(v)
}

// subs returns the messages of a repeated field.
func (m *message) subs(num protowire.Number) []*message {
	var out []*message
	for i := range m.fields {
		if f := &m.fields[i]; f.num == num && f.sub != nil {
			out = append(out, f.sub)
		}
	}
	return out
}

// sub returns a singular message field, nil where it isn't set. Several
// occurrences count as one with all their fields, as everywhere in protobuf.
func (m *message) sub(num protowire.Number) *message {
	all := m.subs(num)
	if len(all) == 0 {
		return nil
	}
	if len(all) == 1 {
		return all[0]
	}
	merged := &message{kind: all[0].kind, pos: all[0].pos}
	for _, s := range all {
		merged.fields = append(merged.fields, s.fields...)
	}
	return merged
}

// varints calls fn for every integer of a packed field or of a run. It returns
// false if a packed field isn't a list of varints.
func (f *field) varints(fn func(uint64)) bool {
	for b := f.body; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return false
		}
		fn(v)
		if b = b[n:]; f.wire != protowire.BytesType && len(b) > 0 {
			b = b[len(f.head):]
		}
	}
	return true
}

// fixed returns the elements of a packed field or run of fixed-size numbers,
// back to back; a packed field's own bytes are not copied. It returns false if
// they don't come out even.
func (f *field) fixed(size int) ([]byte, bool) {
	if f.wire == protowire.BytesType {
		return f.body, len(f.body)%size == 0
	}
	if len(f.body) == size {
		return f.body, true
	}
	var out []byte
	for b := f.body; len(b) >= size; {
		out = append(out, b[:size]...)
		if b = b[size:]; len(b) > 0 {
			b = b[len(f.head):]
		}
	}
	return out, true
}

// float returns a float field, 0 where it isn't set.
func (m *message) float(num protowire.Number) float32 {
	f := m.last(num, protowire.Fixed32Type)
	if f == nil {
		return 0
	}
	all, _ := f.fixed(4)
	return math.Float32frombits(binary.LittleEndian.Uint32(all[len(all)-4:]))
}

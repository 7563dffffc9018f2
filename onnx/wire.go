package onnx

import (
	"bytes"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// A field is one field of a message as it lies in the file: head is its tag
// (with the length, if it has one), body the rest. Scalar fields that follow
// each other under one tag, an unpacked repeated field, are one field, whose
// body holds the tags in between.
type field struct {
	num  protowire.Number
	wire protowire.Type
	pos  int64 // of head in the file
	head []byte
	body []byte
	sub  *message // the body's fields if it holds a message of the schema
}

// A message is the list of its fields in the file's order.
type message struct {
	kind   string
	pos    int64 // of its first field in the file
	fields []field
}

// limits bound what a file may make us do.
type limits struct {
	depth  int    // messages inside each other
	fields int    // fields in all, runs of scalars counting once
	name   uint64 // bytes of a name
	bytes  int64  // size of a file
}

// Protobuf itself ends at 2 GiB; its own readers stop at a depth of 100. A ViT
// has some thousand nodes of ten to fifty fields.
var fileLimits = limits{depth: 100, fields: 1 << 19, name: 1 << 16, bytes: math.MaxInt32}

// identifiers are the fields that name something in a graph.
var identifiers = map[string]bool{"name": true, "input": true, "output": true, "op_type": true, "domain": true,
	"overload": true, "ref_attr_name": true, "attribute": true, "tensor_name": true, "dim_param": true}

type parser struct {
	data   []byte
	size   int // of the file
	limits limits
	fields int
	sparse *skeleton      // stands for data where that isn't there
	absent map[int64]hole // the fields whose body has a hole, by their pos
}

func newParser(data []byte, l limits) *parser {
	return &parser{data: data, size: len(data), limits: l}
}

// from is what there is of the file from pos on, up to stop or the next hole.
func (p *parser) from(pos, stop int) []byte {
	if p.sparse != nil {
		return p.sparse.from(pos, stop)
	}
	return p.data[pos:stop]
}

// hole is the one that begins at pos, if there is one.
func (p *parser) hole(pos int) (h hole, ok bool) {
	if p.sparse != nil {
		h, ok = p.sparse.at[pos]
	}
	return h, ok
}

// message parses data[start:end]. Where end lies beyond stop, what there is is
// parsed, to find the innermost field that is cut off; the caller knows that
// something is missing.
func (p *parser) message(kind string, start int, end uint64, stop, depth int) (*message, *FormatError) {
	m := &message{kind: kind, pos: int64(start)}
	if depth > p.limits.depth {
		return nil, &FormatError{Offset: m.pos, Problem: fmt.Sprintf("messages are nested deeper than %d", p.limits.depth)}
	}
	if end < uint64(stop) {
		stop = int(end)
	}
	count := p.count(start, stop)
	if p.fields += count; p.fields > p.limits.fields {
		return nil, &FormatError{Offset: m.pos, Problem: fmt.Sprintf("more than %d fields", p.limits.fields),
			Hint: "a Vision Transformer has far fewer"}
	}
	m.fields = make([]field, 0, count)
	for pos := start; pos < stop; {
		f, next, err := p.field(m, pos, stop, depth)
		if err != nil {
			m.locate(f.num, err)
			return nil, err
		}
		m.fields = append(m.fields, f)
		pos = next
	}
	return m, nil
}

// count is the number of fields that lie in data[start:stop], up to a fault or
// more than the limit.
func (p *parser) count(start, stop int) int {
	count := 0
	for pos := start; pos < stop && count <= p.limits.fields; count++ {
		num, wire, n := protowire.ConsumeTag(p.from(pos, stop))
		if n < 0 {
			break
		}
		at := pos + n
		if n = p.value(num, wire, at, stop); n < 0 {
			break
		}
		pos = p.run(p.from(pos, at), wire, at+n, stop)
	}
	return count
}

// run is the end of the scalar fields that follow, at next, under the same tag.
func (p *parser) run(tag []byte, wire protowire.Type, next, stop int) int {
	if wire == protowire.BytesType || wire == protowire.StartGroupType {
		return next
	}
	if h, ok := p.hole(next); ok {
		return h.end
	}
	for bytes.HasPrefix(p.from(next, stop), tag) {
		n := protowire.ConsumeFieldValue(0, wire, p.from(next+len(tag), stop))
		if n < 0 {
			break
		}
		next += len(tag) + n
	}
	return next
}

// field parses the field of m at pos.
func (p *parser) field(m *message, pos, stop, depth int) (f field, next int, err *FormatError) {
	f.pos = int64(pos)
	num, wire, n := protowire.ConsumeTag(p.from(pos, stop))
	if n < 0 {
		return f, 0, p.broken(pos, stop, "field tag", n)
	}
	f.num, f.wire = num, wire
	at := pos + n
	if wire != protowire.BytesType {
		n := protowire.ConsumeFieldValue(num, wire, p.from(at, stop))
		if n < 0 {
			return f, 0, p.broken(at, stop, "value", n)
		}
		f.head = p.slice(pos, at)
		next = p.run(f.head, wire, at+n, stop)
		if h, ok := p.hole(at + n); ok {
			h.start, h.count = at, h.count+1
			p.absent[f.pos] = h
		} else {
			f.body = p.slice(at, next)
		}
		return f, next, nil
	}
	length, n := protowire.ConsumeVarint(p.from(at, stop))
	if n < 0 {
		return f, 0, p.broken(at, stop, "length", n)
	}
	at += n
	info := schema[m.kind][num]
	if kind := info.msg; kind != "" {
		end := uint64(at) + length
		if end < length {
			end = math.MaxUint64
		}
		if f.sub, err = p.message(kind, at, end, stop, depth+1); err != nil {
			return f, 0, err
		}
	}
	if left := stop - at; length > uint64(left) {
		return f, 0, p.short(at, stop, length, left)
	}
	if info.msg == "" && length > p.limits.name && identifiers[info.name] {
		return f, 0, &FormatError{Offset: int64(at), Problem: fmt.Sprintf("a name of %d bytes, at most %d are read", length, p.limits.name)}
	}
	next = at + int(length)
	f.head = p.slice(pos, at)
	if h, ok := p.hole(at); ok {
		p.absent[f.pos] = h
	} else if f.sub == nil || p.sparse == nil {
		f.body = p.slice(at, next)
	}
	return f, next, nil
}

// slice is the part of the file from start to end, which has no hole.
func (p *parser) slice(start, end int) []byte {
	b := p.from(start, end)
	return b[:len(b):len(b)]
}

// value is the length of a value at pos, a negative code if it is broken.
func (p *parser) value(num protowire.Number, wire protowire.Type, pos, stop int) int {
	if wire != protowire.BytesType {
		return protowire.ConsumeFieldValue(num, wire, p.from(pos, stop))
	}
	length, n := protowire.ConsumeVarint(p.from(pos, stop))
	if n >= 0 && length > uint64(stop-pos-n) {
		return -1
	}
	return n + int(length)
}

func (p *parser) short(at, stop int, length uint64, left int) *FormatError {
	if stop < p.size {
		return &FormatError{Offset: int64(at), Problem: fmt.Sprintf(
			"the field says %d bytes, the message around it has only %d left", length, left), Hint: "the file is damaged"}
	}
	return &FormatError{Offset: int64(at), Problem: fmt.Sprintf(
		"the file is truncated: the field says %d bytes, %d are left", length, left), Hint: "is the download incomplete?"}
}

func (p *parser) broken(at, stop int, what string, code int) *FormatError {
	err := protowire.ParseError(code)
	if err == io.ErrUnexpectedEOF && stop == p.size {
		return &FormatError{Offset: int64(at), Problem: "the file is truncated: it ends inside a " + what,
			Hint: "is the download incomplete?"}
	}
	return &FormatError{Offset: int64(at), Problem: fmt.Sprintf("%s is not protobuf: %v", what, err),
		Hint: "is this an ONNX file?"}
}

// locate puts the field with that number, which comes next in m, before the
// place of an error inside it.
func (m *message) locate(num protowire.Number, err *FormatError) {
	if num == 0 {
		return
	}
	info, ok := schema[m.kind][num]
	name := info.name
	if !ok {
		name = fmt.Sprintf("field %d", num)
	}
	if info.many {
		index := 0
		for _, f := range m.fields {
			if f.num == num {
				index++
			}
		}
		name = fmt.Sprintf("%s[%d]", name, index)
	}
	if err.Where != "" {
		name += "."
	}
	err.Where = name + err.Where
}

// size is the length of the encoded message.
func (m *message) size() int64 {
	n := int64(0)
	for i := range m.fields {
		head, body := m.fields[i].encoding()
		n += int64(len(head)) + body
	}
	return n
}

// encoding returns the field's tag (and length), and the size of its body.
// The length is the file's own spelling unless the body has another size now.
func (f *field) encoding() (head []byte, body int64) {
	if f.sub == nil {
		return f.head, int64(len(f.body))
	}
	body = f.sub.size()
	if body == int64(len(f.body)) {
		return f.head, body
	}
	_, tag := protowire.ConsumeVarint(f.head)
	return protowire.AppendVarint(bytes.Clone(f.head[:tag]), uint64(body)), body
}

// write appends the message to w.
func (m *message) write(w *parts) {
	for i := range m.fields {
		f := &m.fields[i]
		head, _ := f.encoding()
		w.add(head)
		if f.sub != nil {
			f.sub.write(w)
		} else {
			w.add(f.body)
		}
	}
}

package onnx

import (
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// parts is an encoded message in pieces: big arrays are referred to, not copied.
type parts struct {
	done [][]byte
	tail []byte // what follows done
	size int64
}

const copyBelow = 4096

// add appends bytes that nobody changes until the parts are written.
func (p *parts) add(b []byte) {
	p.size += int64(len(b))
	if len(b) < copyBelow {
		p.tail = append(p.tail, b...)
		return
	}
	p.flush()
	p.done = append(p.done, b)
}

func (p *parts) flush() {
	if len(p.tail) > 0 {
		p.done = append(p.done, p.tail)
		p.tail = nil
	}
}

func (p *parts) varint(v uint64) {
	before := len(p.tail)
	p.tail = protowire.AppendVarint(p.tail, v)
	p.size += int64(len(p.tail) - before)
}

func (p *parts) tag(num protowire.Number, t protowire.Type) { p.varint(protowire.EncodeTag(num, t)) }

// integer appends an integer field.
func (p *parts) integer(num protowire.Number, v int64) {
	p.tag(num, protowire.VarintType)
	p.varint(uint64(v))
}

// bytes appends a string or bytes field.
func (p *parts) bytes(num protowire.Number, b []byte) {
	p.tag(num, protowire.BytesType)
	p.varint(uint64(len(b)))
	p.add(b)
}

// text appends a string field unless it is empty.
func (p *parts) text(num protowire.Number, s string) {
	if s != "" {
		p.bytes(num, []byte(s))
	}
}

// message appends a message field with what fill puts into it.
func (p *parts) message(num protowire.Number, fill func(*parts)) {
	var sub parts
	fill(&sub)
	p.tag(num, protowire.BytesType)
	p.varint(uint64(sub.size))
	for _, b := range sub.done {
		p.add(b)
	}
	p.add(sub.tail)
}

// join copies everything into one slice.
func (p *parts) join() []byte {
	out := make([]byte, 0, p.size)
	for _, b := range p.done {
		out = append(out, b...)
	}
	return append(out, p.tail...)
}

// writeTo writes everything to w.
func (p *parts) writeTo(w io.Writer) error {
	p.flush()
	for _, b := range p.done {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

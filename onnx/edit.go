package onnx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// SetInitializer gives new data to the initializer of that name, or to the
// tensor of the Constant node whose output has it, in the outermost graph or
// else in a subgraph. The data stays in the form
// the file keeps it in: raw, typed or external. Type and dims must be those of
// the file, except that float32 is rounded to a stored float16 or bfloat16.
// The document keeps t's bytes: don't change them before it is written.
func (d *Document) SetInitializer(name string, t *Tensor) error {
	if err := d.setInitializer(name, t); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}

func (d *Document) setInitializer(name string, t *Tensor) error {
	proto, err := d.findTensor(name)
	if err != nil {
		return err
	}
	stored := DType(proto.number(tensorType))
	dims := proto.integers(tensorDims)
	if !slices.Equal(dims, t.Dims) {
		return fmt.Errorf("the new data has shape %v, the file's has %v", t.Shape(), ShapeOf(dims...))
	}
	if t.Type == Float && (stored == Float16 || stored == BFloat16) {
		if t, err = t.As(stored); err != nil {
			return err
		}
	}
	if t.Type != stored {
		return fmt.Errorf("the new data is %v, the file's is %v", t.Type, stored)
	}
	if stored == String {
		return errors.New("strings can't be replaced")
	}
	if err := t.Check(); err != nil {
		return err
	}
	if _, err := d.tensor(proto); err != nil {
		return fmt.Errorf("the file's own data: %w", err)
	}
	if isExternal(proto) {
		e, err := extentOf(proto)
		if err != nil {
			return err
		}
		if e.checksum {
			return fmt.Errorf("the file has a checksum of %s, which new data would break", e.location)
		}
		d.patches[proto] = &patch{extent: e, data: t.Raw}
		return nil
	}
	if raw := proto.last(tensorRaw, protowire.BytesType); raw != nil {
		raw.body = t.Raw
		return nil
	}
	proto.refill(t)
	return nil
}

// findTensor finds the TensorProto behind a name in the outermost graph, or the
// only one in the graphs within it.
func (d *Document) findTensor(name string) (*message, error) {
	graphs := d.root.subs(modelGraph)
	found, err := tensorsIn(graphs, name)
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return found[0], nil
	}
	for graphs = inner(graphs); len(graphs) > 0; graphs = inner(graphs) {
		more, err := tensorsIn(graphs, name)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	switch len(found) {
	case 0:
		return nil, errors.New("the file has no initializer and no Constant of that name")
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("the file's subgraphs have %d tensors of that name", len(found))
}

// tensorsIn lists the tensors of a name in graphs, but not in those within them.
func tensorsIn(graphs []*message, name string) ([]*message, error) {
	var found []*message
	for _, g := range graphs {
		for _, t := range g.subs(graphInit) {
			if t.text(tensorName) == name {
				found = append(found, t)
			}
		}
	}
	for _, g := range graphs {
		for _, n := range g.subs(graphNode) {
			out := n.texts(nodeOutput)
			if n.text(nodeOp) != "Constant" || len(out) == 0 || string(out[0]) != name {
				continue
			}
			at := slices.IndexFunc(n.subs(nodeAttr), func(a *message) bool { return a.text(attrName) == "value" && len(a.subs(attrT)) == 1 })
			if at < 0 {
				return nil, errors.New("its Constant node holds no tensor")
			}
			found = append(found, n.subs(nodeAttr)[at].subs(attrT)[0])
		}
	}
	return found, nil
}

// inner lists the graphs that the nodes of graphs hold.
func inner(graphs []*message) []*message {
	var out []*message
	for _, g := range graphs {
		for _, n := range g.subs(graphNode) {
			for _, a := range n.subs(nodeAttr) {
				out = append(out, a.graphs()...)
			}
		}
	}
	return out
}

// refill puts t's elements into the typed fields of a TensorProto, as many into
// each as it has now.
func (m *message) refill(t *Tensor) {
	num, fixed, size := typedField(t.Type)
	raw := t.Raw
	for i := range m.fields {
		f := &m.fields[i]
		if f.num != num {
			continue
		}
		old, _ := f.elements(fixed, size)
		f.setNumbers(raw[:len(old)], t.Type, fixed, size)
		raw = raw[len(old):]
	}
}

// setNumbers encodes little-endian elements as the field's packed body or run.
func (f *field) setNumbers(raw []byte, t DType, fixed, size int) {
	if fixed > 0 && f.wire == protowire.BytesType {
		f.body = raw
		return
	}
	step := max(fixed, size)
	var body []byte
	for ; len(raw) > 0; raw = raw[step:] {
		if f.wire != protowire.BytesType && len(body) > 0 {
			body = append(body, f.head...)
		}
		if fixed > 0 {
			body = append(body, raw[:step]...)
		} else {
			body = protowire.AppendVarint(body, varintOf(raw, t, step))
		}
	}
	f.setBody(body)
}

// varintOf is the varint of the first element: sign-extended to 64 bits where
// the type is signed.
func varintOf(raw []byte, t DType, size int) uint64 {
	signed := t == Int8 || t == Int16 || t == Int32
	switch {
	case size == 1 && signed:
		return uint64(int8(raw[0]))
	case size == 1:
		return uint64(raw[0])
	case size == 2 && signed:
		return uint64(int16(binary.LittleEndian.Uint16(raw)))
	case size == 2:
		return uint64(binary.LittleEndian.Uint16(raw))
	case size == 4 && signed:
		return uint64(int32(binary.LittleEndian.Uint32(raw)))
	case size == 4:
		return uint64(binary.LittleEndian.Uint32(raw))
	}
	return binary.LittleEndian.Uint64(raw)
}

// setBody replaces the body, and the length in the head if it is another.
func (f *field) setBody(body []byte) {
	if f.wire == protowire.BytesType && len(body) != len(f.body) {
		_, tag := protowire.ConsumeVarint(f.head)
		f.head = protowire.AppendVarint(bytes.Clone(f.head[:tag]), uint64(len(body)))
	}
	f.body = body
}

// SetMetadata sets an entry of metadata_props, or adds it behind the others.
func (d *Document) SetMetadata(key, value string) {
	end, found := len(d.root.fields), false
	for i := range d.root.fields {
		f := &d.root.fields[i]
		if f.num != modelMetadata || f.sub == nil {
			continue
		}
		end = i + 1
		if f.sub.text(entryKey) == key {
			f.sub.setText(entryValue, value)
			found = true
		}
	}
	if found {
		return
	}
	entry := &message{kind: "StringStringEntryProto"}
	entry.setText(entryKey, key)
	entry.setText(entryValue, value)
	f := field{num: modelMetadata, wire: protowire.BytesType, sub: entry,
		head: protowire.AppendTag(nil, modelMetadata, protowire.BytesType)}
	f.head = protowire.AppendVarint(f.head, uint64(entry.size()))
	var w parts
	entry.write(&w)
	f.body = w.join()
	d.root.fields = slices.Insert(d.root.fields, end, f)
}

// setText replaces a string field, or adds it at the end.
func (m *message) setText(num protowire.Number, s string) {
	if f := m.last(num, protowire.BytesType); f != nil {
		f.setBody([]byte(s))
		return
	}
	head := protowire.AppendTag(nil, num, protowire.BytesType)
	m.fields = append(m.fields, field{num: num, wire: protowire.BytesType,
		head: protowire.AppendVarint(head, uint64(len(s))), body: []byte(s)})
}

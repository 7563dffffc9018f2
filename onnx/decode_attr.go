package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

var errNoFloats = errors.New("its numbers are no floats")

// attr decodes an AttributeProto. Kinds that the IR has no type for become Opaque.
func (d *Document) attr(a *message) (Attr, error) {
	out := Attr{Name: a.text(attrName)}
	if kind := a.attrKind(); d.sketch && (kind != attrIsTensor || a.text(attrRef) != "") {
		if kind == attrIsFloats {
			_, ok := d.scalars(a, attrFloats, 4)
			if !ok {
				return out, errNoFloats
			}
		}
		return out, nil
	}
	if a.text(attrRef) != "" {
		out.Value = a.opaque()
		return out, nil
	}
	switch a.attrKind() {
	case attrIsFloat:
		out.Value = a.float(attrF)
	case attrIsInt:
		out.Value = a.number(attrI)
	case attrIsString:
		out.Value = a.text(attrS)
	case attrIsFloats:
		v, err := a.floats(attrFloats)
		if err != nil {
			return out, err
		}
		out.Value = v
	case attrIsInts:
		out.Value = a.integers(attrInts)
	case attrIsStrings:
		v := []string{}
		for _, s := range a.texts(attrStrings) {
			v = append(v, string(s))
		}
		out.Value = v
	case attrIsTensor:
		t := a.sub(attrT)
		if t == nil {
			return out, fmt.Errorf("it says that it holds a tensor, but there is none")
		}
		v, err := d.tensor(t)
		if err != nil {
			return out, err
		}
		out.Value = v
	default:
		out.Value = a.opaque()
	}
	return out, nil
}

// attrKind is the attribute's type, which files of IR version 1 leave to be
// seen from the field that is set.
func (m *message) attrKind() int64 {
	if kind := m.number(attrType); kind != 0 {
		return kind
	}
	kinds := map[protowire.Number]int64{attrF: attrIsFloat, attrI: attrIsInt, attrS: attrIsString, attrT: attrIsTensor,
		attrG: attrIsGraph, attrFloats: attrIsFloats, attrInts: attrIsInts, attrStrings: attrIsStrings}
	for i := range m.fields {
		if kind, ok := kinds[m.fields[i].num]; ok {
			return kind
		}
	}
	return 0
}

func (m *message) opaque() Opaque {
	var w parts
	m.write(&w)
	return Opaque(w.join())
}

// floats returns the elements of a repeated float field, never nil.
func (m *message) floats(num protowire.Number) ([]float32, error) {
	out := []float32{}
	for i := range m.fields {
		f := &m.fields[i]
		if f.num != num {
			continue
		}
		raw, ok := f.elements(4, 4)
		if !ok {
			return nil, errNoFloats
		}
		for ; len(raw) >= 4; raw = raw[4:] {
			out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
		}
	}
	return out, nil
}

// graphs returns the subgraphs of an AttributeProto.
func (m *message) graphs() []*message {
	all := m.subs(attrGraphs)
	if g := m.sub(attrG); g != nil {
		all = append(all, g)
	}
	return all
}

// names lists the values that a GraphProto and the graphs in it define.
func (m *message) names() []string {
	var out []string
	for _, v := range m.subs(graphInput) {
		out = append(out, v.text(infoName))
	}
	for _, t := range m.subs(graphInit) {
		out = append(out, t.text(tensorName))
	}
	for _, n := range m.subs(graphNode) {
		for _, name := range n.texts(nodeOutput) {
			out = append(out, string(name))
		}
		for _, a := range n.subs(nodeAttr) {
			for _, g := range a.graphs() {
				out = append(out, g.names()...)
			}
		}
	}
	return out
}

// captured lists the names that a GraphProto reads without defining them
// itself or finding them in the graphs around it, each once, in order.
func (m *message) captured(outer []map[string]bool) []string {
	own := map[string]bool{"": true}
	for _, v := range m.subs(graphInput) {
		own[v.text(infoName)] = true
	}
	for _, t := range m.subs(graphInit) {
		own[t.text(tensorName)] = true
	}
	for _, n := range m.subs(graphNode) {
		for _, name := range n.texts(nodeOutput) {
			own[string(name)] = true
		}
	}
	scopes := append(slices.Clip(outer), own)
	var out []string
	seen := map[string]bool{}
	read := func(name string) {
		known := slices.ContainsFunc(scopes, func(s map[string]bool) bool { return s[name] })
		if !known && !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	for _, n := range m.subs(graphNode) {
		for _, name := range n.texts(nodeInput) {
			read(string(name))
		}
		for _, a := range n.subs(nodeAttr) {
			for _, g := range a.graphs() {
				for _, name := range g.captured(scopes) {
					read(name)
				}
			}
		}
	}
	for _, v := range m.subs(graphOutput) {
		read(v.text(infoName))
	}
	return out
}

// capture notes that a subgraph of n reads v.
func (n *Node) capture(v *Value) {
	if !slices.Contains(n.Captures, v) {
		n.Captures = append(n.Captures, v)
	}
}

package onnx

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Encode serialises the model as protobuf's own serialisers do: fields in the
// order of their numbers, defaults left out. Types and shapes that are known
// of inner values go along as value_info. The IR version is raised to the one
// that came with the opset.
func (m *Model) Encode() ([]byte, error) {
	w, err := m.encode(nil)
	if err != nil {
		return nil, err
	}
	if w.size > fileLimits.bytes {
		return nil, fmt.Errorf("the model takes %d bytes, protobuf ends at %d: use WriteModel, which moves weights into a data file",
			w.size, fileLimits.bytes)
	}
	return w.join(), nil
}

// irVersions lists the IR version that each opset of ai.onnx came with.
var irVersions = []struct{ opset, ir int64 }{{25, 13}, {24, 12}, {23, 11}, {21, 10}, {19, 9}, {15, 8}, {12, 7}, {11, 6}, {10, 5}}

// irVersion is the model's own, but not below that of its opset, nor below 4,
// from where on initializers need not be inputs.
func (m *Model) irVersion() int64 {
	for _, v := range irVersions {
		if m.OpsetVersion("") >= v.opset {
			return max(m.IRVersion, v.ir)
		}
	}
	return max(m.IRVersion, 4)
}

// placed says where an initializer's data goes in an external file.
type placed struct {
	location string
	offset   int64
}

// encode serialises the model with the data of the values in external left out.
func (m *Model) encode(external map[*Value]placed) (*parts, error) {
	if m.Graph == nil {
		return nil, errors.New("the model has no graph")
	}
	if err := m.encodable(); err != nil {
		return nil, err
	}
	var w parts
	w.integer(modelIR, m.irVersion())
	w.text(modelProducer, m.Producer)
	w.text(modelProducerVersion, m.ProducerVersion)
	w.text(modelDomain, m.Domain)
	if m.ModelVersion != 0 {
		w.integer(modelVersion, m.ModelVersion)
	}
	w.text(modelDoc, m.Doc)
	var err error
	w.message(modelGraph, func(w *parts) { err = m.Graph.encode(w, external) })
	if err != nil {
		return nil, err
	}
	for _, o := range m.Opsets {
		w.message(modelOpsets, func(w *parts) {
			w.bytes(opsetDomain, []byte(o.Domain))
			w.integer(opsetVersion, o.Version)
		})
	}
	for _, kv := range m.Metadata {
		w.message(modelMetadata, func(w *parts) {
			w.bytes(entryKey, []byte(kv.Key))
			w.bytes(entryValue, []byte(kv.Value))
		})
	}
	return &w, nil
}

// encodable checks what encoding would lose or get wrong.
func (m *Model) encodable() error {
	for _, n := range m.Graph.Nodes {
		if slices.Contains(m.Functions, qualified(n.Domain, n.Op)) {
			return fmt.Errorf("node %s calls the model-local function %s, which can't be written", n.Label(), n.Op)
		}
		if err := n.checkCaptures(); err != nil {
			return err
		}
	}
	return nil
}

// checkCaptures makes sure that subgraphs still find the values they read,
// which they know by name.
func (n *Node) checkCaptures() error {
	for _, a := range n.Attrs {
		o, ok := a.Value.(Opaque)
		if !ok {
			continue
		}
		p := newParser(o, fileLimits)
		proto, err := p.message("AttributeProto", 0, uint64(len(o)), len(o), 1)
		if err != nil {
			return fmt.Errorf("node %s, attribute %s: %w", n.Label(), a.Name, err)
		}
		if len(proto.externals()) > 0 {
			return fmt.Errorf("node %s, attribute %s: its subgraph has external data, which can't be written", n.Label(), a.Name)
		}
		for _, g := range proto.graphs() {
			for _, name := range g.captured(nil) {
				if !slices.ContainsFunc(n.Captures, func(v *Value) bool { return v.Name == name }) {
					return fmt.Errorf("node %s: its subgraph reads %q, which has been renamed or replaced", n.Label(), name)
				}
			}
		}
	}
	return nil
}

func (g *Graph) encode(w *parts, external map[*Value]placed) error {
	for _, n := range g.Nodes {
		var err error
		w.message(graphNode, func(w *parts) { err = n.encode(w) })
		if err != nil {
			return fmt.Errorf("node %s (%s): %w", n.Label(), n.Op, err)
		}
	}
	w.text(graphName, cmp.Or(g.Name, "main"))
	for _, v := range g.Inits {
		if v.Data == nil {
			return fmt.Errorf("initializer %s has no data", v.Name)
		}
		if err := v.Data.Check(); err != nil {
			return fmt.Errorf("initializer %s: %w", v.Name, err)
		}
		w.message(graphInit, func(w *parts) {
			if at, ok := external[v]; ok {
				v.Data.encodeExternal(w, v.Name, at)
			} else {
				v.Data.encode(w, v.Name)
			}
		})
	}
	w.text(graphDoc, g.Doc)
	for _, v := range g.Inputs {
		w.message(graphInput, v.encodeInfo)
	}
	for _, v := range g.Outputs {
		w.message(graphOutput, v.encodeInfo)
	}
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v != nil && v.Type != Undefined && !slices.Contains(g.Outputs, v) {
				w.message(graphValueInfo, v.encodeInfo)
			}
		}
	}
	return nil
}

func (n *Node) encode(w *parts) error {
	for _, list := range []struct {
		num    protowire.Number
		values []*Value
	}{{nodeInput, n.Inputs}, {nodeOutput, n.Outputs}} {
		for _, v := range list.values {
			name := ""
			if v != nil {
				name = v.Name
			}
			w.bytes(list.num, []byte(name))
		}
	}
	w.text(nodeName, n.Name)
	w.text(nodeOp, n.Op)
	for _, a := range n.Attrs {
		var err error
		w.message(nodeAttr, func(w *parts) { err = a.encode(w) })
		if err != nil {
			return fmt.Errorf("attribute %s: %w", a.Name, err)
		}
	}
	w.text(nodeDoc, n.Doc)
	w.text(nodeDomain, n.Domain)
	return nil
}

func (a Attr) encode(w *parts) error {
	if o, ok := a.Value.(Opaque); ok {
		w.add(o)
		return nil
	}
	w.text(attrName, a.Name)
	kind := int64(0)
	switch v := a.Value.(type) {
	case float32:
		kind = attrIsFloat
		w.float(attrF, v)
	case int64:
		kind = attrIsInt
		w.integer(attrI, v)
	case string:
		kind = attrIsString
		w.bytes(attrS, []byte(v))
	case *Tensor:
		if err := v.Check(); err != nil {
			return err
		}
		kind = attrIsTensor
		w.message(attrT, func(w *parts) { v.encode(w, "") })
	case []float32:
		kind = attrIsFloats
		for _, x := range v {
			w.float(attrFloats, x)
		}
	case []int64:
		kind = attrIsInts
		for _, x := range v {
			w.integer(attrInts, x)
		}
	case []string:
		kind = attrIsStrings
		for _, x := range v {
			w.bytes(attrStrings, []byte(x))
		}
	default:
		return fmt.Errorf("a value of Go type %T can't be an attribute", v)
	}
	w.integer(attrType, kind)
	return nil
}

func (p *parts) float(num protowire.Number, x float32) {
	p.tag(num, protowire.Fixed32Type)
	p.add(binary.LittleEndian.AppendUint32(nil, math.Float32bits(x)))
}

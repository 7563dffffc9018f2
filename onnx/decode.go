package onnx

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Model decodes the document, with its external data. Tensors refer to the
// document's bytes where they can. Every failure is a *FormatError.
func (d *Document) Model() (*Model, error) {
	if len(d.root.externals()) > 0 {
		if err := d.structure(); err != nil {
			return nil, err
		}
	}
	m, err := d.model()
	if err != nil {
		return nil, d.fail(err)
	}
	return m, nil
}

// structure looks for what is wrong with the model without large and external
// data, of which it checks the sizes.
func (d *Document) structure() error {
	d.sketch = true
	defer func() { d.sketch = false }()
	if _, err := d.model(); err != nil {
		return d.fail(err)
	}
	return nil
}

func (d *Document) model() (*Model, error) {
	r := d.root
	graph := r.sub(modelGraph)
	switch {
	case r.number(modelIR) <= 0 || graph == nil:
		e := &FormatError{Offset: 0, Problem: "it has no ir_version and graph, which every ONNX model has",
			Hint: "is it an ONNX file, and complete?"}
		if len(r.fields) > 0 {
			hintFor(e, append(r.fields[0].head[:len(r.fields[0].head):len(r.fields[0].head)], r.fields[0].body...))
		}
		return nil, e
	case len(r.subs(modelOpsets)) == 0 && r.number(modelIR) >= 3:
		return nil, &FormatError{Offset: 0, Problem: "it imports no operator set (opset_import)",
			Hint: "is the download incomplete?"}
	}
	m := &Model{
		IRVersion: r.number(modelIR), Producer: d.text(r, modelProducer), ProducerVersion: d.text(r, modelProducerVersion),
		Domain: r.text(modelDomain), ModelVersion: r.number(modelVersion), Doc: d.text(r, modelDoc),
	}
	for _, o := range r.subs(modelOpsets) {
		m.Opsets = append(m.Opsets, Opset{o.text(opsetDomain), o.number(opsetVersion)})
	}
	if m.Opsets == nil {
		m.Opsets = []Opset{{"", 1}}
	}
	for _, kv := range r.subs(modelMetadata) {
		m.Metadata = append(m.Metadata, KV{d.text(kv, entryKey), d.text(kv, entryValue)})
	}
	for _, f := range r.subs(modelFunctions) {
		m.Functions = append(m.Functions, qualified(f.text(functionDomain), f.text(functionName)))
		body, err := d.function(f)
		if err != nil {
			return nil, err
		}
		m.Bodies = append(m.Bodies, body)
	}
	g, err := d.decode(graph, nil)
	if err != nil {
		return nil, err
	}
	m.Graph = g
	return m, nil
}

// text returns a text that may be large and is of no use to a sketch.
func (d *Document) text(m *message, num protowire.Number) string {
	if d.sketch {
		return ""
	}
	return m.text(num)
}

// qualified is the name of an operator or function with its domain, if that
// isn't the default one.
func qualified(domain, name string) string {
	if domain == "" || domain == "ai.onnx" {
		return name
	}
	return domain + "." + name
}

// maxNodes is how many nodes a graph, or a function, may have.
const maxNodes = 1 << 16

// A graphDecoder turns a GraphProto into a Graph.
type graphDecoder struct {
	doc    *Document
	proto  *message
	g      *Graph
	values map[string]*Value
}

// decode reads a graph; outer are the values around it that it reads, which
// become its inputs.
func (d *Document) decode(proto *message, outer []string) (*Graph, error) {
	dec := &graphDecoder{doc: d, proto: proto, g: NewGraph(proto.text(graphName)), values: map[string]*Value{}}
	dec.g.Doc = d.text(proto, graphDoc)
	if s := proto.subs(graphSparse); len(s) > 0 {
		return nil, faultAt(s[0], "sparse_initializer", "sparse initializers aren't supported: store them as dense tensors")
	}
	for _, name := range outer {
		v := &Value{Name: name}
		if err := dec.declare(v, proto, "graph"); err != nil {
			return nil, err
		}
		dec.g.Inputs = append(dec.g.Inputs, v)
	}
	for _, step := range []func() error{dec.inputs, dec.inits, dec.nodes, dec.outputs, dec.edges} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	dec.valueInfo()
	if err := dec.g.Sort(); err != nil {
		return nil, err
	}
	return dec.g, nil
}

// faultAt is an error at a message of the file.
func faultAt(m *message, where, format string, args ...any) error {
	return &FormatError{Offset: m.pos, Where: where, Problem: fmt.Sprintf(format, args...)}
}

// declare adds a value under its name, which no other may have.
func (d *graphDecoder) declare(v *Value, m *message, where string) error {
	if other := d.values[v.Name]; other != nil {
		return faultAt(m, where, "the name %q is already that of another value", v.Name)
	}
	d.values[v.Name] = v
	d.g.claim(v.Name)
	return nil
}

func (d *graphDecoder) inputs() error {
	for _, info := range d.proto.subs(graphInput) {
		v := &Value{Name: info.text(infoName)}
		v.Type, v.Shape = typeOf(info.sub(infoType))
		if err := d.declare(v, info, "graph.input"); err != nil {
			return err
		}
		d.g.Inputs = append(d.g.Inputs, v)
	}
	return nil
}

func (d *graphDecoder) inits() error {
	seen := map[string]bool{}
	for _, t := range d.proto.subs(graphInit) {
		name := t.text(tensorName)
		where := "initializer " + name
		if seen[name] {
			return faultAt(t, where, "there are two initializers of that name")
		}
		seen[name] = true
		data, err := d.doc.tensor(t)
		if err != nil {
			return faultAt(t, where, "%v", err)
		}
		v := d.values[name]
		if v == nil {
			v = &Value{Name: name, Type: data.Type, Shape: data.Shape()}
			if !d.doc.sketch {
				v.Elems = elemsOf(data)
			}
			if err := d.declare(v, t, where); err != nil {
				return err
			}
		} else if err := suits(v, data); err != nil {
			return faultAt(t, where, "%v", err)
		}
		v.Data = data
		d.g.Inits = append(d.g.Inits, v)
	}
	return nil
}

// suits checks an input's default value against the input's declaration.
func suits(v *Value, data *Tensor) error {
	bad := v.Type != Undefined && v.Type != data.Type || v.Shape != nil && len(v.Shape) != len(data.Dims)
	for i := 0; !bad && i < len(v.Shape); i++ {
		bad = v.Shape[i].Known() && v.Shape[i].N != data.Dims[i]
	}
	if bad {
		return fmt.Errorf("it is %v%v, but the input of that name is %v%v", data.Type, data.Shape(), v.Type, v.Shape)
	}
	if v.Type == Undefined {
		v.Type, v.Shape = data.Type, data.Shape()
	}
	return nil
}

// nodes decodes the nodes and what they give; edges connects their inputs.
func (d *graphDecoder) nodes() error {
	if len(d.proto.subs(graphNode)) > maxNodes {
		return faultAt(d.proto, "graph", "more than %d nodes; a Vision Transformer has far fewer", maxNodes)
	}
	for _, p := range d.proto.subs(graphNode) {
		n := &Node{Name: p.text(nodeName), Op: p.text(nodeOp), Domain: p.text(nodeDomain), Doc: d.doc.text(p, nodeDoc)}
		if n.Domain == "ai.onnx" {
			n.Domain = ""
		}
		for _, name := range p.texts(nodeOutput) {
			if len(name) == 0 {
				n.Outputs = append(n.Outputs, nil)
				continue
			}
			v := &Value{Name: string(name), Node: n}
			n.Outputs = append(n.Outputs, v)
			if err := d.declare(v, p, "node "+n.Label()); err != nil {
				return err
			}
		}
		where := "node " + n.Label()
		if n.Op == "" {
			return faultAt(p, where, "the node has no operator (op_type)")
		}
		seen := map[string]bool{}
		for _, a := range p.subs(nodeAttr) {
			attr, err := d.doc.attr(a)
			if err != nil {
				return faultAt(a, where+", attribute "+attr.Name, "%v", err)
			}
			if seen[attr.Name] {
				return faultAt(a, where, "there are two attributes %q", attr.Name)
			}
			seen[attr.Name] = true
			n.Attrs = append(n.Attrs, attr)
		}
		d.g.Nodes = append(d.g.Nodes, n)
	}
	return nil
}

func (d *graphDecoder) edges() error {
	for i, p := range d.proto.subs(graphNode) {
		n := d.g.Nodes[i]
		for _, name := range p.texts(nodeInput) {
			v := d.values[string(name)]
			if v == nil && len(name) > 0 {
				return faultAt(p, "node "+n.Label(), "it reads %q, which nothing in the graph gives", name)
			}
			n.Inputs = append(n.Inputs, v)
		}
		for _, a := range p.subs(nodeAttr) {
			for _, sub := range a.graphs() {
				for _, name := range sub.names() {
					d.g.claim(name)
				}
				n.enclose(d.doc, a.text(attrName), sub)
				for _, name := range sub.captured(nil) {
					v := d.values[name]
					if v == nil {
						return faultAt(sub, "node "+n.Label(), "its subgraph reads %q, which nothing gives", name)
					}
					n.capture(v)
				}
			}
		}
	}
	return nil
}

func (d *graphDecoder) outputs() error {
	for _, info := range d.proto.subs(graphOutput) {
		v := d.values[info.text(infoName)]
		if v == nil {
			return faultAt(info, "graph.output", "nothing in the graph gives the output %q", info.text(infoName))
		}
		v.describe(info)
		d.g.Outputs = append(d.g.Outputs, v)
	}
	return nil
}

func (d *graphDecoder) valueInfo() {
	for _, info := range d.proto.subs(graphValueInfo) {
		if v := d.values[info.text(infoName)]; v != nil {
			v.describe(info)
		}
	}
}

// describe takes over type and shape from a ValueInfoProto where v has none.
func (v *Value) describe(info *message) {
	t, s := typeOf(info.sub(infoType))
	if v.Type == Undefined {
		v.Type = t
	}
	if v.Shape == nil {
		v.Shape = s
	}
}

// typeOf decodes a TypeProto. Sequences, maps and optionals are Undefined.
func typeOf(t *message) (DType, Shape) {
	if t == nil || t.sub(typeTensor) == nil {
		return Undefined, nil
	}
	tensor := t.sub(typeTensor)
	kind, proto := DType(tensor.number(tensorTypeElem)), tensor.sub(tensorTypeShape)
	if kind == Undefined || proto == nil {
		return kind, nil
	}
	shape := Shape{}
	for _, dim := range proto.subs(shapeDim) {
		shape = append(shape, dimOf(dim))
	}
	return kind, shape
}

// dimOf decodes a dimension: a number, a name, or a multiple of a name as
// Dim.String spells it. Of two settings the last counts, as in any oneof.
func dimOf(m *message) Dim {
	d := Unknown
	for i := range m.fields {
		switch f := &m.fields[i]; f.num {
		case dimValue:
			if f.varints(func(v uint64) { d = D(int64(v)) }); d.N < 0 {
				d = Unknown
			}
		case dimParam:
			d = dimNamed(string(f.body))
		}
	}
	return d
}

func dimNamed(s string) Dim {
	if s == "" {
		return Unknown
	}
	if number, name, ok := strings.Cut(s, "*"); ok {
		n, err := strconv.ParseInt(number, 10, 64)
		if d := (Dim{N: n, Sym: name}); err == nil && n > 1 && d.String() == s {
			return d
		}
	}
	return Dim{N: 1, Sym: s}
}

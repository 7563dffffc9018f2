package onnx

// Function is a model-local operator: a body that a node calls by domain and
// name. Its attributes may be AttrRefs to those of the calling node.
type Function struct {
	Domain, Name string
	Opsets       []Opset
	Attrs        []Attr // attributes with their defaults
	Body         *Graph // inputs without types, no initializers
}

// AttrRef is the value of an attribute in a function's body: the calling
// node's attribute of that name.
type AttrRef string

func (d *Document) function(proto *message) (*Function, error) {
	f := &Function{Domain: proto.text(functionDomain), Name: proto.text(functionName)}
	where := "function " + qualified(f.Domain, f.Name)
	for _, o := range proto.subs(functionOpsets) {
		f.Opsets = append(f.Opsets, Opset{o.text(opsetDomain), o.number(opsetVersion)})
	}
	for _, a := range proto.subs(functionDefaults) {
		attr, err := d.attr(a)
		if err != nil {
			return nil, faultAt(a, where+", attribute "+attr.Name, "%v", err)
		}
		f.Attrs = append(f.Attrs, attr)
	}
	// A function's nodes have another field number than a graph's.
	body := &message{kind: "GraphProto", pos: proto.pos}
	for _, field := range proto.fields {
		if field.num == functionNode && field.sub != nil {
			field.num = graphNode
			body.fields = append(body.fields, field)
		}
	}
	dec := &graphDecoder{doc: d, proto: body, g: NewGraph(f.Name), values: map[string]*Value{}}
	for _, name := range proto.texts(functionInput) {
		v := &Value{Name: string(name)}
		if err := dec.declare(v, proto, where); err != nil {
			return nil, err
		}
		dec.g.Inputs = append(dec.g.Inputs, v)
	}
	for _, step := range []func() error{dec.nodes, dec.edges} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	dec.references()
	for _, name := range proto.texts(functionOutput) {
		v := dec.values[string(name)]
		if v == nil {
			return nil, faultAt(proto, where, "nothing in it gives its output %q", name)
		}
		dec.g.Outputs = append(dec.g.Outputs, v)
	}
	f.Body = dec.g
	if err := f.Body.Sort(); err != nil {
		return nil, faultAt(proto, where, "%v", err)
	}
	return f, nil
}

// references turns the attributes that refer to a caller's into AttrRefs.
func (d *graphDecoder) references() {
	for i, p := range d.proto.subs(graphNode) {
		for k, a := range p.subs(nodeAttr) {
			if ref := a.text(attrRef); ref != "" {
				d.g.Nodes[i].Attrs[k].Value = AttrRef(ref)
			}
		}
	}
}

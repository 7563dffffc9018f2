package onnx

import "slices"

// Check applies the rules of ONNX's checker that the decoded Model, whose nodes
// are sorted and whose subgraphs are carried only, no longer shows: the file's
// nodes stand in topological order, no subgraph gives a value the name of an
// outer one, and operators within subgraphs exist and get what they declare.
func (d *Document) Check() []Problem {
	c := &checker{functions: map[[2]string]*Function{}, bodies: true}
	graph := d.root.sub(modelGraph)
	if graph == nil {
		return nil
	}
	var m Model
	for _, o := range d.root.subs(modelOpsets) {
		m.Opsets = append(m.Opsets, Opset{o.text(opsetDomain), o.number(opsetVersion)})
	}
	for _, f := range d.root.subs(modelFunctions) {
		if body, err := d.function(f); err == nil {
			c.functions[body.key()] = body
		}
	}
	s := &fileScope{d: d, c: c, opsets: m.OpsetVersion}
	s.graph(graph, "graph")
	return c.problems
}

// fileScope walks a GraphProto and the graphs in it.
type fileScope struct {
	d      *Document
	c      *checker
	opsets func(domain string) int64
	known  []map[string]bool // names given so far, in the graphs from the outermost to this one
}

func (s *fileScope) knows(name string) bool {
	return slices.ContainsFunc(s.known, func(names map[string]bool) bool { return names[name] })
}

func (s *fileScope) graph(g *message, where string) {
	own := map[string]bool{"": true}
	inner := len(s.known) > 0
	give := func(name, what string) {
		if inner && name != "" && s.knows(name) {
			s.c.add(where, "%s %s has the name of a value that the graph around it gives already", what, name)
		}
		own[name] = true
	}
	for _, v := range g.subs(graphInput) {
		give(v.text(infoName), "input")
	}
	for _, t := range g.subs(graphInit) {
		if name := t.text(tensorName); !own[name] {
			give(name, "initializer")
		}
	}
	s.known = append(s.known, own)
	defer func() { s.known = s.known[:len(s.known)-1] }()
	later := map[string]bool{}
	for _, n := range g.subs(graphNode) {
		for _, name := range n.texts(nodeOutput) {
			later[string(name)] = true
		}
	}
	for _, p := range g.subs(graphNode) {
		s.node(p, inner, later)
		for _, name := range p.texts(nodeOutput) {
			if inner && len(name) > 0 && s.knows(string(name)) {
				s.c.add(where, "value %s is given twice, here and in the graph or in one around it", name)
			}
			own[string(name)] = true
		}
	}
}

// node checks one NodeProto; later holds what its graph's nodes give.
func (s *fileScope) node(p *message, inner bool, later map[string]bool) {
	n := &Node{Name: p.text(nodeName), Op: p.text(nodeOp), Domain: plainDomain(p.text(nodeDomain))}
	place := func(names [][]byte) (out []*Value) {
		for _, name := range names {
			var v *Value
			if len(name) > 0 {
				v = &Value{Name: string(name)}
			}
			out = append(out, v)
		}
		return out
	}
	n.Inputs, n.Outputs = place(p.texts(nodeInput)), place(p.texts(nodeOutput))
	where := "node " + n.Label()
	for _, v := range n.Inputs {
		if v != nil && !s.knows(v.Name) {
			how := "nothing gives"
			if later[v.Name] {
				how = "only a later node gives: the file's nodes are out of order"
			}
			s.c.add(where, "it reads %s, which %s", v.Name, how)
		}
	}
	for _, a := range p.subs(nodeAttr) {
		attr, err := s.d.attr(a)
		if err != nil {
			s.c.add(where, "attribute %s: %v", attr.Name, err)
		}
		n.Attrs = append(n.Attrs, attr)
		for _, g := range a.graphs() {
			s.graph(g, where+", "+attr.Name)
		}
	}
	if inner {
		s.c.operator(n, s.opsets)
	}
}

// Endless refuses a file with a loop in its graph, in subgraphs or functions: it
// may run without end, and no Vision Transformer has one.
func (d *Document) Endless() error {
	if n := d.root.endless(); n != nil {
		return d.fail(faultAt(n, "node "+n.text(nodeName), "the operator Loop may have no end: the model isn't run"))
	}
	return nil
}

func (m *message) endless() *message {
	if m.kind == "NodeProto" && m.text(nodeOp) == "Loop" {
		return m
	}
	for i := range m.fields {
		if sub := m.fields[i].sub; sub != nil {
			if n := sub.endless(); n != nil {
				return n
			}
		}
	}
	return nil
}

// Package onnx is relevit's graph: reading and writing ONNX files, a small
// intermediate representation with one authority for names, shape inference,
// and a builder that emits nodes.
//
// A Document is a file as it lies on disk, kept to the bit. A Model is what it
// means: a Graph of Nodes that take and give Values. Passes, differentiation
// and the runtime work on Graphs; export edits the Document.
package onnx

import (
	"fmt"
	"slices"
)

// Dialect is the ai.onnx opset of every graph that relevit works on: files of
// other opsets are raised to it, on a copy.
const Dialect = 21

// Model is a graph with what an ONNX file says about it.
type Model struct {
	IRVersion       int64
	Producer        string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	Opsets          []Opset // imported operator sets, in the file's order
	Metadata        []KV    // metadata_props, in the file's order
	Graph           *Graph
	Functions       []string    // names of model-local functions, which the Graph doesn't contain
	Bodies          []*Function // what they compute, in the same order
}

// Opset is an imported operator set; Domain "" is ai.onnx.
type Opset struct {
	Domain  string
	Version int64
}

// KV is one entry of metadata_props.
type KV struct{ Key, Value string }

// OpsetVersion returns the version imported for a domain, 0 if none is.
func (m *Model) OpsetVersion(domain string) int64 {
	if domain == "ai.onnx" {
		domain = ""
	}
	for _, o := range m.Opsets {
		if o.Domain == domain || (domain == "" && o.Domain == "ai.onnx") {
			return o.Version
		}
	}
	return 0
}

// Meta returns the metadata value of a key.
func (m *Model) Meta(key string) (string, bool) {
	for _, kv := range m.Metadata {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return "", false
}

// Graph is a list of nodes in topological order with its inputs, outputs and
// initializers. Values are compared by pointer; their names are unique.
type Graph struct {
	Name    string
	Doc     string
	Inputs  []*Value
	Outputs []*Value
	Inits   []*Value // values with Data; one that is also in Inputs has a default
	Nodes   []*Node

	names map[string]bool
	taken map[string]int // by name, how far the numbers behind it are taken
}

// Value is a tensor in a graph: an input, an initializer or an output of a node.
type Value struct {
	Name  string
	Type  DType
	Shape Shape
	Node  *Node   // the node that gives it; nil for inputs and initializers
	Data  *Tensor // its value where it is constant, nil otherwise

	// Elems are the elements of an integer scalar or vector as far as shape
	// inference knows them: the shape arithmetic of exporters runs on them.
	Elems []Dim
}

// Node applies an operator. An optional input or output left out is nil.
type Node struct {
	Name     string
	Op       string
	Domain   string
	Inputs   []*Value
	Outputs  []*Value
	Attrs    []Attr
	Captures []*Value // outer values that subgraphs of this node read by name
	Doc      string

	inner *subgraphs // nil without
}

// NewGraph returns an empty graph.
func NewGraph(name string) *Graph { return &Graph{Name: name, names: map[string]bool{}} }

// String prints the value as name float32(batch,197,192).
func (v *Value) String() string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%s %v%v", v.Name, v.Type, v.Shape)
}

// Is reports whether v is given by a node of operator op of the default domain.
func (v *Value) Is(op string) bool {
	return v != nil && v.Node != nil && v.Node.Op == op && v.Node.Domain == ""
}

// In returns input i, nil where it is left out.
func (n *Node) In(i int) *Value {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return nil
}

// Out returns output i, nil where it is left out.
func (n *Node) Out(i int) *Value {
	if i < len(n.Outputs) {
		return n.Outputs[i]
	}
	return nil
}

// Label names the node in messages: its own name, or that of its first output.
func (n *Node) Label() string {
	if n.Name != "" {
		return n.Name
	}
	for _, o := range n.Outputs {
		if o != nil {
			return o.Name
		}
	}
	return n.Op
}

// AddInput adds a graph input. The name must be free; Fresh makes it so.
func (g *Graph) AddInput(name string, t DType, s Shape) *Value {
	v := &Value{Name: g.Fresh(name), Type: t, Shape: s}
	g.Inputs = append(g.Inputs, v)
	return v
}

// AddInit adds an initializer.
func (g *Graph) AddInit(name string, t *Tensor) *Value {
	v := &Value{Name: g.Fresh(name), Type: t.Type, Shape: t.Shape(), Data: t, Elems: elemsOf(t)}
	g.Inits = append(g.Inits, v)
	return v
}

// Find returns the value of that name, nil if there is none. It walks the
// whole graph: look names up once.
func (g *Graph) Find(name string) *Value {
	var found *Value
	g.Each(func(v *Value) {
		if v.Name == name {
			found = v
		}
	})
	return found
}

// Each calls f for every value: inputs, initializers, then nodes' outputs.
func (g *Graph) Each(f func(*Value)) {
	for _, v := range g.Inputs {
		f(v)
	}
	for _, v := range g.Inits {
		if !slices.Contains(g.Inputs, v) {
			f(v)
		}
	}
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v != nil {
				f(v)
			}
		}
	}
}

// Uses maps every value to the nodes that read it, once for each reading.
func (g *Graph) Uses() map[*Value][]*Node {
	uses := map[*Value][]*Node{}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			if v != nil {
				uses[v] = append(uses[v], n)
			}
		}
		for _, v := range n.Captures {
			uses[v] = append(uses[v], n)
		}
	}
	return uses
}

// Replace makes every reader of old, graph outputs included, read new instead.
// A graph output keeps its name: new takes old's, and old gets another.
func (g *Graph) Replace(old, new *Value) {
	for _, n := range g.Nodes {
		for i, v := range n.Inputs {
			if v == old {
				n.Inputs[i] = new
			}
		}
	}
	for i, v := range g.Outputs {
		if v == old {
			g.Outputs[i] = new
			if new.Node != nil {
				old.Name, new.Name = new.Name, old.Name
			}
		}
	}
}

// Prune removes nodes and initializers that no output needs. Inputs stay.
func (g *Graph) Prune() {
	need := map[*Value]bool{}
	for _, v := range g.Outputs {
		need[v] = true
	}
	kept := make([]*Node, 0, len(g.Nodes))
	for _, n := range slices.Backward(g.Nodes) {
		if !slices.ContainsFunc(n.Outputs, func(v *Value) bool { return v != nil && need[v] }) {
			continue
		}
		for _, v := range slices.Concat(n.Inputs, n.Captures) {
			need[v] = true
		}
		kept = append(kept, n)
	}
	slices.Reverse(kept)
	g.Nodes = kept
	g.Inits = slices.DeleteFunc(g.Inits, func(v *Value) bool { return !need[v] && !slices.Contains(g.Inputs, v) })
}

// Clone copies the graph and returns the copy with the map from old values to
// new. Tensors are shared: nothing writes into them.
func (g *Graph) Clone() (*Graph, map[*Value]*Value) {
	c := NewGraph(g.Name)
	c.Doc = g.Doc
	seen := map[*Value]*Value{nil: nil}
	copyOf := func(v *Value) *Value {
		if w, ok := seen[v]; ok {
			return w
		}
		w := &Value{Name: v.Name, Type: v.Type, Shape: v.Shape.Clone(), Data: v.Data, Elems: slices.Clone(v.Elems)}
		seen[v] = w
		c.claim(v.Name)
		return w
	}
	all := func(vs []*Value) []*Value {
		out := make([]*Value, len(vs))
		for i, v := range vs {
			out[i] = copyOf(v)
		}
		return out
	}
	c.Inputs, c.Inits = all(g.Inputs), all(g.Inits)
	for _, n := range g.Nodes {
		m := &Node{Name: n.Name, Op: n.Op, Domain: n.Domain, Doc: n.Doc, Attrs: slices.Clone(n.Attrs),
			Inputs: all(n.Inputs), Captures: all(n.Captures), inner: n.inner}
		if n.inner != nil {
			for _, name := range n.inner.names {
				c.claim(name)
			}
		}
		m.Outputs = all(n.Outputs)
		for _, v := range m.Outputs {
			if v != nil {
				v.Node = m
			}
		}
		c.Nodes = append(c.Nodes, m)
	}
	c.Outputs = all(g.Outputs)
	return c, seen
}

// Sort puts the nodes into topological order, keeping the present order where
// it can. It fails on a cycle, naming a node on it.
func (g *Graph) Sort() error {
	pos := map[*Node]int{}
	for i, n := range g.Nodes {
		pos[n] = i
	}
	const visiting, done = 1, 2
	state := make([]byte, len(g.Nodes))
	order := make([]*Node, 0, len(g.Nodes))
	type frame struct{ node, next int }
	for root := range g.Nodes {
		if state[root] != 0 {
			continue
		}
		stack := []frame{{node: root}}
		state[root] = visiting
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			n := g.Nodes[top.node]
			if top.next == len(n.Inputs)+len(n.Captures) {
				state[top.node] = done
				order = append(order, n)
				stack = stack[:len(stack)-1]
				continue
			}
			var v *Value
			if top.next < len(n.Inputs) {
				v = n.Inputs[top.next]
			} else {
				v = n.Captures[top.next-len(n.Inputs)]
			}
			top.next++
			if v == nil || v.Node == nil {
				continue
			}
			p, ok := pos[v.Node]
			switch {
			case !ok || state[p] == done:
			case state[p] == visiting:
				return fmt.Errorf("the graph has a cycle through node %s (%s)", v.Node.Label(), v.Node.Op)
			default:
				state[p] = visiting
				stack = append(stack, frame{node: p})
			}
		}
	}
	g.Nodes = order
	return nil
}

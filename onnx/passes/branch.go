package passes

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// HasBranches reports whether a node of the graph holds graphs of its own.
func HasBranches(g *onnx.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *onnx.Node) bool { return subgraphOf(n) != "" })
}

// subgraphOf names the first attribute of a node that the IR only carries, as
// it does subgraphs; "" if there is none.
func subgraphOf(n *onnx.Node) string {
	for _, a := range n.Attrs {
		if _, ok := a.Value.(onnx.Opaque); ok {
			return a.Name
		}
	}
	return ""
}

// BranchTensors lists the initializers, and the outputs of Constant nodes, in
// the branches of a graph's If nodes and in those within them.
func BranchTensors(g *onnx.Graph) ([]*onnx.Value, error) {
	var out []*onnx.Value
	open := []*onnx.Graph{g}
	for len(open) > 0 {
		at := open[0]
		open = open[1:]
		for _, n := range at.Nodes {
			if n.Op == "Constant" && n.Domain == "" && at != g && n.Out(0) != nil && onnx.ConstantTensor(n) != nil {
				out = append(out, n.Outputs[0])
			}
			if n.Op != "If" {
				continue
			}
			for _, attr := range []string{"then_branch", "else_branch"} {
				b, err := n.Branch(attr)
				if err != nil {
					return nil, err
				}
				if b != nil {
					out, open = append(out, b.Inits...), append(open, b)
				}
			}
		}
	}
	return out, nil
}

// onlyOnce are the names that just one tensor in branches has: new values find
// their way back to it.
func onlyOnce(g *onnx.Graph) (map[string]bool, error) {
	tensors, err := BranchTensors(g)
	if err != nil {
		return nil, err
	}
	once := map[string]bool{}
	for _, v := range tensors {
		_, again := once[v.Name]
		once[v.Name] = !again
	}
	return once, nil
}

// branching puts the branch that an If node takes in the node's place, where
// its condition hangs on nothing but constants and known sizes.
type branching struct {
	g      *onnx.Graph
	opset  int64
	raise  rule // of the nodes in a branch
	fold   folding
	known  map[*onnx.Value]*ref.Array            // what conditions are made of; nil for what isn't constant
	scopes map[*onnx.Node]map[string]*onnx.Value // by If node of a branch: what its own branches read
	used   map[string]bool                       // names of values so far
	once   map[string]bool                       // see onlyOnce
	depth  int
	nodes  int // inlined so far
}

func newBranching(g *onnx.Graph, opset int64) (*branching, error) {
	b := &branching{g: g, opset: opset, known: map[*onnx.Value]*ref.Array{}, scopes: map[*onnx.Node]map[string]*onnx.Value{},
		used: map[string]bool{}, fold: folding{inputs: map[*onnx.Value]bool{}}}
	for _, v := range g.Inputs {
		b.fold.inputs[v] = true
	}
	g.Each(func(v *onnx.Value) { b.used[v.Name] = true })
	var err error
	b.once, err = onlyOnce(g)
	return b, err
}

// node is the rule for nodes that hold subgraphs.
func (b *branching) node(e *editor, n *onnx.Node, attr string) ([]*onnx.Value, error) {
	if n.Op != "If" {
		return b.refuse(n, attr, "into which relevit doesn't look: export without control flow")
	}
	cond := b.value(n.In(0))
	if cond == nil || len(cond.B) != 1 {
		return b.refuse(n, attr, "and its condition is no constant, but hangs on sizes left open or on the picture: "+
			"export without control flow, by static shapes, or simplify the model with onnxsim")
	}
	attr = "else_branch"
	if cond.B[0] {
		attr = "then_branch"
	}
	body, err := n.Branch(attr)
	switch {
	case err != nil:
		return nil, err
	case body == nil || len(body.Outputs) != len(n.Outputs):
		return b.refuse(n, attr, fmt.Sprintf("but not one of %d outputs; the file is damaged", len(n.Outputs)))
	case b.nodes+len(body.Nodes) > inlineNodes:
		return nil, beyondMeasure("node "+n.Label(), fmt.Sprintf("the branches have more than %d nodes", inlineNodes))
	}
	b.depth++
	defer func() { b.depth-- }()
	b.nodes += len(body.Nodes)
	return b.inline(e, n, body)
}

// refuse refuses a node, but for one of the outermost graph in the working
// dialect, which can stay if no ViT needs it.
func (b *branching) refuse(n *onnx.Node, attr, why string) ([]*onnx.Value, error) {
	if b.opset == onnx.Dialect && b.depth == 0 {
		return nil, nil
	}
	return nil, refusal(n, b.opset, "it holds a subgraph ("+attr+"), "+why)
}

// inline emits the nodes of a branch and returns what they give.
func (b *branching) inline(e *editor, n *onnx.Node, body *onnx.Graph) ([]*onnx.Value, error) {
	now := map[*onnx.Value]*onnx.Value{}
	for _, v := range body.Inputs {
		if now[v] = b.outer(n, v.Name); now[v] == nil {
			return nil, refusal(n, b.opset, fmt.Sprintf("its branch reads %q, which nothing gives; the file is damaged", v.Name))
		}
	}
	for _, n := range body.Nodes {
		scope := map[string]*onnx.Value{}
		for _, v := range n.Captures {
			scope[v.Name] = cmp.Or(now[v], v)
		}
		b.scopes[n] = scope
	}
	for _, v := range body.Inits {
		b.init(e, v)
	}
	for _, c := range body.Nodes {
		c.Name = inlinedName(n.Label(), c.Label())
		for _, vs := range [][]*onnx.Value{c.Inputs, c.Captures} {
			for i, v := range vs {
				vs[i] = cmp.Or(now[v], v)
			}
		}
		for _, v := range c.Outputs {
			if v != nil {
				v.Name = b.name(v.Name)
			}
		}
		if err := e.visit(c, b.raise); err != nil {
			return nil, err
		}
	}
	out := make([]*onnx.Value, len(body.Outputs))
	for i, v := range body.Outputs {
		out[i] = e.now(cmp.Or(now[v], v))
	}
	return out, nil
}

// outer is the value that n's branch reads by name.
func (b *branching) outer(n *onnx.Node, name string) *onnx.Value {
	if scope := b.scopes[n]; scope != nil {
		return scope[name]
	}
	if i := slices.IndexFunc(n.Captures, func(v *onnx.Value) bool { return v.Name == name }); i >= 0 {
		return n.Captures[i]
	}
	return nil
}

// init adds an initializer of a branch. One of several floats is a parameter
// under the name by which the file knows it; where that doesn't do, it is a
// constant.
func (b *branching) init(e *editor, v *onnx.Value) {
	if IsParameter(v) && (b.used[v.Name] || !b.once[v.Name]) {
		n := &onnx.Node{Op: "Constant", Attrs: []onnx.Attr{{Name: "value", Value: v.Data}}, Outputs: []*onnx.Value{v}}
		v.Name, v.Node, v.Data = b.g.Fresh(v.Name), n, nil
		n.Name = v.Name
		e.g.Nodes = append(e.g.Nodes, n)
		return
	}
	v.Name = b.name(v.Name)
	b.g.Inits = append(b.g.Inits, v)
}

// name is the name that a value of a branch gets: its own, if that is free.
func (b *branching) name(name string) string {
	if b.used[name] {
		return b.g.Fresh(name)
	}
	b.used[name] = true
	return name
}

// value is a value that conditions are made of, nil where it isn't constant.
func (b *branching) value(v *onnx.Value) *ref.Array {
	if v == nil {
		return nil
	}
	if a, ok := b.known[v]; ok {
		return a
	}
	b.known[v] = nil
	if t := constantOf(v); t != nil {
		if !b.fold.inputs[v] && !several(t) {
			b.known[v], _ = ref.FromTensor(t)
		}
		return b.known[v]
	}
	n := v.Node
	if n == nil || n.Domain != "" {
		return nil
	}
	if t := elementsTensor(n); t != nil {
		b.known[v], _ = ref.FromTensor(t)
		return b.known[v]
	}
	if x := same(n); x != nil && v == n.Outputs[0] {
		b.known[v] = b.value(x)
		return b.known[v]
	}
	if !foldable(n) {
		return nil
	}
	in := make([]*ref.Array, len(n.Inputs))
	for i, x := range n.Inputs {
		if in[i] = b.value(x); x != nil && in[i] == nil {
			return nil
		}
	}
	for i, a := range b.fold.compute(n, in) {
		if n.Outputs[i] != nil {
			b.known[n.Outputs[i]] = a
		}
	}
	return b.known[v]
}

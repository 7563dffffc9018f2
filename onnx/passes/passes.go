// Package passes rewrites graphs, one pass a file. Every pass works in place,
// on a graph that its caller has cloned, keeps the graph sorted and inferred,
// and keeps the values that it computes in another way: a *onnx.Value that is
// still in the graph means what it meant, under the name that it had.
package passes

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// An editor rebuilds a graph's list of nodes. Nodes that its Builder emits
// come before the node at hand.
type editor struct {
	*onnx.Builder
	g        *onnx.Graph
	swapped  map[*onnx.Value]*onnx.Value // replaced values and what they became
	captured map[*onnx.Value]bool        // values that subgraphs read by name
	adopted  map[*onnx.Value]bool        // values that another node gives now
}

// A rule decides about one node, whose inputs are already rewritten. It
// returns what replaces the node's outputs, nil for those that nobody reads,
// or no outputs to keep the node, which it may have changed.
type rule func(e *editor, n *onnx.Node) ([]*onnx.Value, error)

// rewrite applies a rule to the nodes of a graph of the working dialect in
// order. Nodes are inferred before the rule sees them and after it.
func rewrite(g *onnx.Graph, f rule) error {
	return rebuild(g, func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		if err := onnx.Infer(n); err != nil {
			return nil, err
		}
		return f(e, n)
	})
}

// rebuild is rewrite for graphs that can't be inferred before the rule has
// seen them.
func rebuild(g *onnx.Graph, f rule) error {
	e := &editor{g: g, swapped: map[*onnx.Value]*onnx.Value{}, captured: map[*onnx.Value]bool{},
		adopted: map[*onnx.Value]bool{}}
	nodes := g.Nodes
	names := make([]string, len(g.Outputs))
	for i, v := range g.Outputs {
		names[i] = v.Name
	}
	for _, n := range nodes {
		for _, v := range n.Captures {
			e.captured[v] = true
		}
	}
	g.Nodes = make([]*onnx.Node, 0, len(nodes))
	e.Builder = onnx.NewBuilder(g)
	for i, n := range nodes {
		if err := e.visit(n, f); err != nil {
			g.Nodes = append(g.Nodes, nodes[i:]...)
			return err
		}
	}
	e.outputs(names)
	return nil
}

func (e *editor) visit(n *onnx.Node, f rule) error {
	for _, vs := range [][]*onnx.Value{n.Inputs, n.Captures} {
		for i, v := range vs {
			vs[i] = e.now(v)
		}
	}
	mark := len(e.g.Nodes)
	news, err := f(e, n)
	if err == nil {
		err = e.Err()
	}
	if err != nil {
		return err
	}
	if news == nil {
		e.g.Nodes = append(e.g.Nodes, n)
		return onnx.Infer(n)
	}
	if len(news) != len(n.Outputs) {
		return fmt.Errorf("node %s (%s): %d values replace %d outputs", n.Label(), n.Op, len(news), len(n.Outputs))
	}
	fresh := slices.Clone(e.g.Nodes[mark:])
	for i, old := range n.Outputs {
		if old != nil && news[i] != nil {
			e.replace(old, news[i], fresh)
		}
	}
	return nil
}

// now is the value that v has become.
func (e *editor) now(v *onnx.Value) *onnx.Value {
	for e.swapped[v] != nil {
		v = e.swapped[v]
	}
	return v
}

// replace makes the readers of old read v. Where v was emitted for the purpose,
// old itself stays, given by v's node; a value that existed takes old's place.
func (e *editor) replace(old, v *onnx.Value, fresh []*onnx.Node) {
	v = e.now(v)
	switch {
	case v == old:
	case v.Node != nil && slices.Contains(fresh, v.Node) && !e.adopted[v]:
		e.adopt(old, v, fresh)
	case e.captured[old]:
		e.alias(old, v)
	default:
		e.swapped[old] = v
	}
}

// adopt makes old the output of v's node in place of v, which only nodes
// emitted together with it can read.
func (e *editor) adopt(old, v *onnx.Value, fresh []*onnx.Node) {
	for _, n := range fresh {
		for i, in := range n.Inputs {
			if in == v {
				n.Inputs[i] = old
			}
		}
	}
	n := v.Node
	n.Outputs[slices.Index(n.Outputs, v)] = old
	n.Name = old.Name
	if old == old.Node.Outputs[0] {
		n.Name = old.Node.Name
	}
	e.swapped[v], e.adopted[old] = old, true
	old.Node, old.Elems, old.Data = n, v.Elems, v.Data
	if v.Shape != nil {
		old.Shape = v.Shape
	}
	if v.Type != onnx.Undefined {
		old.Type = v.Type
	}
}

// alias makes old a copy of v by a node.
func (e *editor) alias(old, v *onnx.Value) {
	n := &onnx.Node{Name: old.Name, Op: "Identity", Inputs: []*onnx.Value{v}, Outputs: []*onnx.Value{old}}
	old.Node = n
	e.g.Nodes = append(e.g.Nodes, n)
}

// outputs rewrites the graph's outputs, which keep their names: a value that
// can't take one more name is copied.
func (e *editor) outputs(names []string) {
	for i, old := range e.g.Outputs {
		v := e.now(old)
		if v.Name == names[i] {
			e.g.Outputs[i] = v
			continue
		}
		if v.Node != nil && !e.captured[v] && !slices.Contains(names, v.Name) {
			old.Name, v.Name = v.Name, old.Name
			e.g.Outputs[i] = v
			continue
		}
		e.alias(old, v)
	}
}

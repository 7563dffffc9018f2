package pipeline

import (
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// extension adds to a model's own graph what a graph derived from it computes
// beyond it. The derived graph is a copy that was prepared, so it has fewer and
// other nodes; but passes keep names, and take none that they dropped for
// something else: a value that both graphs name alike is the same value.
type extension struct {
	own, derived *onnx.Graph

	values map[string]*onnx.Value // of own, by name
}

// add computes a value of the derived graph in the own one, in the given
// opset, from the own values and a new input, and makes it the last output.
func (x *extension) add(input, output *onnx.Value, opset int64) error {
	x.values = map[string]*onnx.Value{}
	x.own.Each(func(v *onnx.Value) { x.values[v.Name] = v })
	x.shareMoments()
	x.reduce(output)
	if err := passes.Lower(x.derived, opset); err != nil {
		return err
	}
	in := x.own.AddInput(input.Name, input.Type, input.Shape)
	x.values[in.Name] = in
	x.own.Outputs = append(x.own.Outputs, x.emit(x.derived.Outputs[0].Name))
	return nil
}

// shareMoments makes the own LayerNormalization nodes give the mean and the
// deviation that their derived twins give, so that nothing is computed twice.
func (x *extension) shareMoments() {
	for _, n := range x.derived.Nodes {
		if n.Op != "LayerNormalization" || n.Domain != "" || len(n.Outputs) < 2 {
			continue
		}
		own := x.values[n.Outputs[0].Name]
		if own == nil || !own.Is("LayerNormalization") || own.Node.Out(0) != own {
			continue
		}
		for i := 1; i < len(n.Outputs); i++ {
			v := n.Outputs[i]
			if v == nil || own.Node.Out(i) != nil {
				continue
			}
			for len(own.Node.Outputs) <= i {
				own.Node.Outputs = append(own.Node.Outputs, nil)
			}
			twin := &onnx.Value{Name: v.Name, Type: v.Type, Shape: v.Shape.Clone(), Node: own.Node}
			own.Node.Outputs[i] = twin
			x.values[v.Name] = twin
		}
	}
}

// reduce leaves of the derived graph the nodes that the own graph lacks and the
// output needs. Own values become its inputs.
func (x *extension) reduce(output *onnx.Value) {
	g := x.derived
	g.Outputs = []*onnx.Value{output}
	need := map[*onnx.Value]bool{output: true}
	var kept []*onnx.Node
	for _, n := range slices.Backward(g.Nodes) {
		if !slices.ContainsFunc(n.Outputs, func(v *onnx.Value) bool { return v != nil && need[v] && x.values[v.Name] == nil }) {
			continue
		}
		for i, v := range n.Outputs {
			if v != nil && x.values[v.Name] != nil { // beside one that is needed
				n.Outputs[i] = &onnx.Value{Name: g.Fresh(v.Name + "/again"), Type: v.Type, Shape: v.Shape, Node: n}
				v.Node = nil
			}
		}
		for _, v := range n.Inputs {
			need[v] = true
		}
		kept = append(kept, n)
	}
	slices.Reverse(kept)
	g.Nodes = kept
	for _, n := range kept {
		for _, v := range n.Inputs {
			if v != nil && x.values[v.Name] != nil && !slices.Contains(g.Inputs, v) {
				v.Node = nil
				g.Inputs = append(g.Inputs, v)
			}
		}
	}
	g.Prune()
}

// emit adds the derived graph's nodes and constants, and returns the value of
// the given name.
func (x *extension) emit(name string) *onnx.Value {
	at := func(v *onnx.Value) *onnx.Value {
		if v == nil {
			return nil
		}
		if w := x.values[v.Name]; w != nil {
			return w
		}
		w := &onnx.Value{Name: x.own.Fresh(v.Name), Type: v.Type, Shape: v.Shape, Data: v.Data}
		x.values[v.Name] = w
		return w
	}
	for _, v := range x.derived.Inits {
		if x.values[v.Name] == nil {
			x.own.Inits = append(x.own.Inits, at(v))
		}
	}
	taken := map[string]bool{}
	for _, n := range x.own.Nodes {
		taken[n.Name] = true
	}
	for _, n := range x.derived.Nodes {
		c := &onnx.Node{Name: n.Name, Op: n.Op, Domain: n.Domain, Attrs: n.Attrs}
		if c.Name != "" && taken[c.Name] { // a node of this name gives another value now
			c.Name += "/relevance"
		}
		for _, v := range n.Inputs {
			c.Inputs = append(c.Inputs, at(v))
		}
		for _, v := range n.Outputs {
			w := at(v)
			if w != nil {
				w.Node = c
			}
			c.Outputs = append(c.Outputs, w)
		}
		x.own.Nodes = append(x.own.Nodes, c)
	}
	return x.values[name]
}

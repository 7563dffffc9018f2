package ref

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
)

// Run evaluates the graph's outputs. Inputs are given by name and need only be
// of the declared kind of type: a float64 array for a float32 input counts as
// float32. An input of the name of an initializer replaces it. What the
// outputs don't depend on need not be given.
//
// Every array must agree with the type and shape that the graph declares for
// its value; one named dimension has one size throughout.
func Run(g *onnx.Graph, inputs map[string]*Array) (map[string]*Array, error) {
	got, err := Eval(g, inputs, g.Outputs)
	if err != nil {
		return nil, err
	}
	out := map[string]*Array{}
	for i, v := range g.Outputs {
		out[v.Name] = got[i]
	}
	return out, nil
}

// Eval evaluates any values of the graph, as Run does its outputs.
func Eval(g *onnx.Graph, inputs map[string]*Array, values []*onnx.Value) ([]*Array, error) {
	e := &evaluation{held: map[*onnx.Value]*Array{}, uses: map[*onnx.Value]int{}, sizes: map[string]int64{}}
	if err := e.feed(g, inputs); err != nil {
		return nil, err
	}
	for _, n := range e.plan(g, values) {
		if err := e.node(n); err != nil {
			return nil, err
		}
	}
	out := make([]*Array, len(values))
	for i, v := range values {
		var err error
		if out[i], err = e.get(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// evaluation is the state of one run over a graph.
type evaluation struct {
	held  map[*onnx.Value]*Array
	uses  map[*onnx.Value]int // readings that are still to come
	sizes map[string]int64    // of named dimensions
}

// feed takes the inputs that are given.
func (e *evaluation) feed(g *onnx.Graph, inputs map[string]*Array) error {
	taken := 0
	for _, list := range [][]*onnx.Value{g.Inputs, g.Inits} {
		for _, v := range list {
			x, ok := inputs[v.Name]
			if _, again := e.held[v]; !ok || again {
				continue
			}
			if x == nil {
				return fmt.Errorf("input %s is nil", v.Name)
			}
			if err := x.check(); err != nil {
				return fmt.Errorf("input %s: %w", v.Name, err)
			}
			if kindOf(v.Type) == kindOf(x.Type) {
				x = x.As(v.Type)
			}
			if err := e.agree(v, x); err != nil {
				return fmt.Errorf("input %s: %w", v.Name, err)
			}
			e.held[v] = x
			taken++
		}
	}
	if taken == len(inputs) {
		return nil
	}
	for name := range inputs {
		if v := g.Find(name); v == nil || e.held[v] == nil {
			return fmt.Errorf("graph %s has no input or initializer %q; its inputs are %v", g.Name, name, g.Inputs)
		}
	}
	return nil
}

// plan returns the nodes on which values depend, in the graph's order, and
// counts the readings of every value.
func (e *evaluation) plan(g *onnx.Graph, values []*onnx.Value) []*onnx.Node {
	need := map[*onnx.Node]bool{}
	want := func(v *onnx.Value) {
		if v == nil {
			return
		}
		e.uses[v]++
		if v.Node != nil {
			need[v.Node] = true
		}
	}
	for _, v := range values {
		want(v)
	}
	reversed := []*onnx.Node{}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		if !need[n] {
			continue
		}
		reversed = append(reversed, n)
		for _, v := range n.Inputs {
			want(v)
		}
	}
	plan := make([]*onnx.Node, len(reversed))
	for i, n := range reversed {
		plan[len(plan)-1-i] = n
	}
	return plan
}

// get reads a value; after its last reading it is let go.
func (e *evaluation) get(v *onnx.Value) (*Array, error) {
	x, ok := e.held[v]
	if !ok {
		switch {
		case v.Node != nil:
			return nil, fmt.Errorf("value %s is read before node %s gives it: sort the graph", v, v.Node.Label())
		case v.Data == nil:
			return nil, fmt.Errorf("input %s is missing", v)
		}
		var err error
		if x, err = FromTensor(v.Data); err != nil {
			return nil, fmt.Errorf("initializer %s: %w", v.Name, err)
		}
		e.held[v] = x
	}
	if e.uses[v]--; e.uses[v] == 0 {
		delete(e.held, v)
	}
	return x, nil
}

func (e *evaluation) node(n *onnx.Node) error {
	in := make([]*Array, len(n.Inputs))
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		var err error
		if in[i], err = e.get(v); err != nil {
			return fmt.Errorf("node %s (%s): %w", n.Label(), n.Op, err)
		}
	}
	out, err := Node(n, in)
	if err != nil {
		return err
	}
	for i, v := range n.Outputs {
		if v == nil {
			continue
		}
		if err := e.agree(v, out[i]); err != nil {
			return fmt.Errorf("node %s (%s) on %v: output %s: %w", n.Label(), n.Op, in, v.Name, err)
		}
		if e.uses[v] > 0 {
			e.held[v] = out[i]
		}
	}
	return nil
}

// agree checks an array against what the graph says about its value.
func (e *evaluation) agree(v *onnx.Value, x *Array) error {
	if v.Type != onnx.Undefined && v.Type != x.Type {
		return fmt.Errorf("is %v, the graph says %v", x.Type, v.Type)
	}
	if v.Shape == nil {
		return nil
	}
	if len(v.Shape) != len(x.Shape) {
		return fmt.Errorf("is %v, the graph says %v", x, v.Shape)
	}
	for i, d := range v.Shape {
		if err := e.size(d, int64(x.Shape[i])); err != nil {
			return fmt.Errorf("is %v, the graph says %v: %w", x, v.Shape, err)
		}
	}
	if len(v.Elems) > 0 && len(v.Elems) == len(x.I) {
		for i, d := range v.Elems {
			if err := e.size(d, x.I[i]); err != nil {
				return fmt.Errorf("element %d is %d, the graph says %v: %w", i, x.I[i], d, err)
			}
		}
	}
	return nil
}

// size checks a size against a dimension and learns the size of its name.
func (e *evaluation) size(d onnx.Dim, n int64) error {
	switch {
	case d == onnx.Unknown:
		return nil
	case d.Sym == "" && d.N < 0: // an element that is no size
		return nil
	case d.Sym == "":
		if d.N != n {
			return fmt.Errorf("%d instead of %d", n, d.N)
		}
		return nil
	}
	if known, ok := e.sizes[d.Sym]; ok {
		if known*d.N != n {
			return fmt.Errorf("%d instead of %v with %s=%d", n, d, d.Sym, known)
		}
		return nil
	}
	if d.N > 0 && n%d.N == 0 {
		e.sizes[d.Sym] = n / d.N
	}
	return nil
}

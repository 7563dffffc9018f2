package passes

import (
	"errors"
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Prepare returns a copy of a model's graph that everything else works on:
// functions inlined, and branches that are certain to be taken, raised to the
// working dialect, sorted, inferred, with constants and shape arithmetic folded,
// decomposed operators fused and vectors made columns. The model stays as it is, and initializers
// keep their names and data.
func Prepare(m *onnx.Model) (*onnx.Graph, error) { return prepare(m, false) }

// PrepareFloat32 is Prepare for training: what the model computes in float16 or
// bfloat16 the copy computes in float32, from the same numbers.
func PrepareFloat32(m *onnx.Model) (*onnx.Graph, error) { return prepare(m, true) }

func prepare(m *onnx.Model, wide bool) (*onnx.Graph, error) {
	if m.Graph == nil {
		return nil, errors.New("the model has no graph")
	}
	g, _ := m.Graph.Clone()
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *onnx.Value) bool { return v.Data != nil })
	nameSizes(g)
	opset := m.OpsetVersion("")
	steps := []func() error{
		func() error { return Inline(g, m.Bodies, opset) },
		g.Sort,
		func() error { return Raise(g, opset) },
		func() error {
			if !wide || !HasHalf(g) {
				return nil
			}
			return ToFloat32(g)
		},
		func() error {
			if err := adoptWeights(g, m.Graph); err != nil {
				return err
			}
			return Fold(g)
		},
		func() error { return Measure(g) },
		func() error { return Fuse(g) },
		func() error { return Columns(g) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, fmt.Errorf("preparing graph %q: %w", g.Name, err)
		}
	}
	g.Prune()
	return g, nil
}

// HasHalf reports whether a value of the graph is float16 or bfloat16.
func HasHalf(g *onnx.Graph) bool {
	found := false
	g.Each(func(v *onnx.Value) { found = found || v.Type == onnx.Float16 || v.Type == onnx.BFloat16 })
	return found
}

// nameSizes gives a name to every size of an input that has neither name nor
// number, so that inference can follow it.
func nameSizes(g *onnx.Graph) {
	taken := map[string]bool{}
	for _, v := range g.Inputs {
		for _, d := range v.Shape {
			taken[d.Sym] = true
		}
	}
	for _, v := range g.Inputs {
		for i, d := range v.Shape {
			if d.Sym != "" || d.N >= 0 {
				continue
			}
			name := fmt.Sprintf("%s.%d", v.Name, i)
			if i == 0 && !taken["batch"] {
				name = "batch"
				taken[name] = true
			}
			v.Shape[i] = onnx.Dim{N: 1, Sym: name}
		}
	}
}

// adoptWeights makes initializers of the Constant nodes of several floats in a
// graph without any parameter: its exporter kept the weights in such nodes.
// Those in functions have no name in the source, to which new values go back.
func adoptWeights(g, source *onnx.Graph) error {
	if slices.ContainsFunc(g.Inits, IsParameter) {
		return nil
	}
	own, err := onlyOnce(source)
	if err != nil {
		return err
	}
	for _, n := range source.Nodes {
		if v := n.Out(0); v != nil {
			own[v.Name] = true
		}
	}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *onnx.Node) bool {
		t := onnx.ConstantTensor(n)
		if n.Op != "Constant" || n.Domain != "" || t == nil || !several(t) || n.Out(0) == nil || !own[n.Outputs[0].Name] {
			return false
		}
		v := n.Outputs[0]
		v.Node, v.Data = nil, t
		g.Inits = append(g.Inits, v)
		return true
	})
	return nil
}

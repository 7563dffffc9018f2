package passes

import (
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Fuse replaces the decomposed forms of two operators by the operators:
//
//	LayerNormalization   (x - mean) / sqrt(mean((x - mean)^2) + eps) * scale + bias
//	Gelu                 0.5 * x * (1 + erf(x / sqrt(2)))
//
// with factors in any order and grouping. A form of which something else reads
// an intermediate value stays as it is.
func Fuse(g *onnx.Graph) error {
	f := &fusing{uses: g.Uses(), outputs: g.Outputs}
	err := rewrite(g, func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		if n.Domain != "" || n.Out(0) == nil {
			return nil, nil
		}
		if m := f.layerNorm(n); m != nil {
			attrs := []onnx.Attr{{Name: "axis", Value: m.axis}, {Name: "epsilon", Value: m.epsilon}}
			return []*onnx.Value{e.Op("LayerNormalization", attrs, m.x, m.scale, m.bias)}, nil
		}
		if x := f.gelu(n); x != nil {
			return []*onnx.Value{e.Op("Gelu", nil, x)}, nil
		}
		return nil, nil
	})
	if err != nil {
		return err
	}
	g.Prune()
	return nil
}

type fusing struct {
	uses    map[*onnx.Value][]*onnx.Node
	outputs []*onnx.Value
}

// inside reports whether a form's intermediate values are read by its own
// nodes alone: those that give one of them, and the last.
func (f *fusing) inside(last *onnx.Node, values ...*onnx.Value) bool {
	for _, v := range values {
		if slices.Contains(f.outputs, v) {
			return false
		}
		for _, user := range f.uses[v] {
			own := user == last
			for _, w := range values {
				own = own || w.Node == user
			}
			if !own {
				return false
			}
		}
	}
	return true
}

// scalar reads a constant of one element.
func scalar(v *onnx.Value) (float64, bool) {
	if v == nil || v.Data == nil || v.Data.Count() != 1 {
		return 0, false
	}
	x, err := v.Data.Float64s()
	if err != nil {
		return 0, false
	}
	return x[0], true
}

// near compares constants of an exporter's form with what they should be.
func near(x, want float64) bool { return math.Abs(x-want) <= 1e-6*math.Abs(want) }

// either calls f with a node's two inputs in both orders until it succeeds.
func either(n *onnx.Node, f func(a, b *onnx.Value) bool) bool {
	return len(n.Inputs) == 2 && (f(n.Inputs[0], n.Inputs[1]) || f(n.Inputs[1], n.Inputs[0]))
}

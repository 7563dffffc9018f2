package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Broadcast drops an Expand where its reader broadcasts by itself:
//
//	Mul(Expand(x), y)   where Mul(x, y) has the same shape
//
// Gradients of sums and means begin with one.
func Broadcast(g *onnx.Graph) error {
	err := rewrite(g, func(_ *editor, n *onnx.Node) ([]*onnx.Value, error) {
		if n.Domain != "" || !slices.Contains([]string{"Add", "Sub", "Mul", "Div"}, n.Op) {
			return nil, nil
		}
		for i, v := range n.Inputs {
			for ; v.Is("Expand") && spans(n.Inputs[1-i].Shape, n.Outputs[0].Shape); v = n.Inputs[i] {
				n.Inputs[i] = v.Node.Inputs[0]
			}
		}
		return nil, nil
	})
	if err != nil {
		return err
	}
	g.Prune()
	return nil
}

// spans reports whether a shape is that of a result by numbers alone.
func spans(s, result onnx.Shape) bool { return s.Known() && result.Known() && s.Same(result) }

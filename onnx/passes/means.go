package passes

import "github.com/relevit/relevit/onnx"

// Means spells a mean over the second axis, such as that over heads, as a product
// with a row of 1/H:
//
//	ReduceMean(x (B,H,...), axis 1) = (1/H ... 1/H) Reshape(x, (B,H,R))
//
// ONNX Runtime's ReduceMean strides through memory there, and takes twice as long.
func Means(g *onnx.Graph) error {
	err := rewrite(g, func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		if n.Domain != "" || n.Op != "ReduceMean" {
			return nil, nil
		}
		x, out := n.Inputs[0], n.Outputs[0]
		axes, ok := constInts(n.In(1))
		if !ok || len(axes) != 1 || axes[0] != 1 || x.Type != onnx.Float || len(x.Shape) < 3 || !x.Shape.Known() || !out.Shape.Known() {
			return nil, nil
		}
		count := x.Shape[1].N
		rest := x.Shape[2:].Count().N
		const least = 64 // elements of a row of the product
		if count < 2 || rest < least {
			return nil, nil
		}
		shares := make([]float32, count)
		for i := range shares {
			shares[i] = 1 / float32(count)
		}
		rows := e.Reshape(x, onnx.Shape{x.Shape[0], x.Shape[1], onnx.D(rest)})
		mean := e.MatMul(e.Const(onnx.FloatTensor(shares, 1, count)), rows) // (B,1,R)
		return []*onnx.Value{e.Reshape(mean, out.Shape)}, nil
	})
	if err != nil {
		return err
	}
	g.Prune()
	return nil
}

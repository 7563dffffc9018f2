package passes

import "github.com/relevit/relevit/onnx"

// Columns spells the product of a transposed matrix with a vector as one with a
// column:
//
//	MatMul(Transpose(x), v (K)) = Squeeze(MatMul(Transpose(x), Unsqueeze(v, 1)), -1)
//
// ONNX Runtime 1.32 fuses the first into a product that gives other numbers.
func Columns(g *onnx.Graph) error {
	return rewrite(g, func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		if n.Domain != "" || n.Op != "MatMul" || !n.Inputs[0].Is("Transpose") || len(n.Inputs[1].Shape) != 1 {
			return nil, nil
		}
		former := e.In(n.Label())
		defer e.In(former)
		column := e.Unsqueeze(n.Inputs[1], 1) // (K,1)
		return []*onnx.Value{e.Squeeze(e.MatMul(n.Inputs[0], column), -1)}, nil
	})
}

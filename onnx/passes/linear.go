package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Linear turns matrix products with a weight into Gemm, with a bias that is
// added to them as its third input:
//
//	MatMul(x, w) [+ bias]   x (..., K), w (K, N) or the transpose of (N, K)
//	Reshape(Gemm(Reshape(x, (M, K)), w, bias), (..., N))
//
// The last value keeps its name. Products whose leading sizes a Reshape can't
// restore, because more than one of them isn't a number, stay as they are.
func Linear(g *onnx.Graph) error {
	l := &linear{uses: g.Uses(), outputs: g.Outputs}
	if err := rewrite(g, l.node); err != nil {
		return err
	}
	g.Prune()
	return nil
}

type linear struct {
	uses    map[*onnx.Value][]*onnx.Node
	outputs []*onnx.Value
}

func (l *linear) node(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	former := e.In(n.Label())
	defer e.In(former)
	switch {
	case n.Domain != "":
	case n.Op == "MatMul" && l.biased(n.Outputs[0]) == nil:
		// A product of matrices alone is already what it should be.
		if !transposed(n.Inputs[1]) && len(n.Inputs[0].Shape) == 2 {
			return nil, nil
		}
		return l.gemm(e, n, nil, n.Outputs[0].Shape), nil
	case n.Op == "Add":
		for i, product := range n.Inputs {
			if product.Is("MatMul") && l.biased(product) == n {
				return l.gemm(e, product.Node, n.Inputs[1-i], n.Outputs[0].Shape), nil
			}
		}
	}
	return nil, nil
}

// biased is the only reader of a product, where it adds a bias to it.
func (l *linear) biased(product *onnx.Value) *onnx.Node {
	if len(l.uses[product]) != 1 || slices.Contains(l.outputs, product) || !fits(product.Node) {
		return nil
	}
	add := l.uses[product][0]
	if add.Op != "Add" || add.Domain != "" || add.In(0) == nil || add.In(1) == nil {
		return nil
	}
	width := product.Shape[len(product.Shape)-1]
	for i, v := range add.Inputs {
		if v == product && len(add.Inputs[1-i].Shape) == 1 && add.Inputs[1-i].Shape[0].Same(width) {
			return add
		}
	}
	return nil
}

// fits reports whether a MatMul is one of floats with a matrix on its right.
func fits(n *onnx.Node) bool {
	x, w := n.Inputs[0], n.Inputs[1]
	return len(x.Shape) >= 2 && len(w.Shape) == 2 && w.Shape.Known() && x.Type.IsFloat() &&
		reshapeTarget(nil, n.Outputs[0].Shape) != nil
}

func transposed(w *onnx.Value) bool {
	return w.Is("Transpose") && len(w.Shape) == 2
}

func (l *linear) gemm(e *editor, product *onnx.Node, bias *onnx.Value, s onnx.Shape) []*onnx.Value {
	if !fits(product) {
		return nil
	}
	x, w := product.Inputs[0], product.Inputs[1]
	flat := x
	if len(x.Shape) > 2 {
		flat = e.Op("Reshape", nil, x, e.Ints(-1, w.Shape[0].N)) // (M,K)
	}
	var attrs []onnx.Attr
	if transposed(w) {
		w = w.Node.Inputs[0]
		attrs = []onnx.Attr{{Name: "transB", Value: int64(1)}}
	}
	y := e.Op("Gemm", attrs, flat, w, bias)
	if len(x.Shape) > 2 {
		y = e.Op("Reshape", nil, y, e.Ints(reshapeTarget(nil, s)...))
	}
	return []*onnx.Value{y}
}

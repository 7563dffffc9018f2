package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// From how many summands on an explicit transposition pays: for weights'
// gradients (ViT-Ti has 1576 rows), and for products of attention maps (197).
const (
	longSum    = 512
	longMapSum = 128
)

// LeftOperands transposes the left operand of long products once, outside of
// them, since ONNX Runtime's product transposes it anew for every 128 columns
// of the result:
//
//	Gemm(x, y, transA=1)               x (K,M), y (K,N)
//	Gemm(Reshape(Transpose(x')), y)    x' as x was before it lost dimensions
//
//	MatMul(Transpose(x), y)            x (B,H,K,M), y (B,H,K,N)
//	Reshape(MatMul(Reshape(Transpose(x)), Reshape(y)))   over B*H matrices
//
// The Reshape between keeps the runtime from putting the transposition back
// into the product. Of several products of one transposed map only the last is
// rewritten: the transposition would wait in memory from one to the next.
func LeftOperands(g *onnx.Graph) error {
	last := map[*onnx.Value]*onnx.Node{}
	for _, n := range g.Nodes {
		if n.Op == "MatMul" {
			last[n.Inputs[0]] = n
		}
	}
	err := rewrite(g, func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		former := e.In(n.Label())
		defer e.In(former)
		switch {
		case n.Domain != "":
		case n.Op == "Gemm":
			return leftOfGemm(e, n), nil
		case n.Op == "MatMul" && last[n.Inputs[0]] == n:
			return leftOfMatMul(e, n), nil
		}
		return nil, nil
	})
	if err != nil {
		return err
	}
	g.Prune()
	return nil
}

func leftOfGemm(e *editor, n *onnx.Node) []*onnx.Value {
	x := n.Inputs[0]
	if n.Int("transA", 0) == 0 || !x.Shape.Known() || x.Shape[0].N < longSum || x.Shape[1].Is(1) {
		return nil
	}
	source := x
	if x.Is("Reshape") {
		source = x.Node.Inputs[0]
	}
	last := int64(len(source.Shape)) - 1
	if last < 2 || !source.Shape[last].Same(x.Shape[1]) {
		source, last = e.Unsqueeze(x, 0), 2
	}
	perm := []int64{last}
	for i := range last {
		perm = append(perm, i)
	}
	t := e.Reshape(e.Transpose(source, perm...), onnx.Shape{x.Shape[1], x.Shape[0]})
	attrs := slices.DeleteFunc(slices.Clone(n.Attrs), func(a onnx.Attr) bool { return a.Name == "transA" })
	return []*onnx.Value{e.Op("Gemm", attrs, t, n.Inputs[1], n.In(2))}
}

func leftOfMatMul(e *editor, n *onnx.Node) []*onnx.Value {
	x, y := n.Inputs[0], n.Inputs[1]
	lead := len(x.Shape) - 2
	if lead < 2 || !x.Is("Transpose") || !slices.Equal(permOf(x.Node), swapped(lead)) ||
		!x.Shape.Known() || !y.Shape.Known() || len(y.Shape) != lead+2 || !x.Shape[:lead].Same(y.Shape[:lead]) ||
		x.Shape[lead+1].N < longMapSum || x.Shape[lead].Is(1) {
		return nil
	}
	flat := func(v *onnx.Value) *onnx.Value {
		return e.Reshape(v, onnx.Shape{v.Shape[:lead].Count(), v.Shape[lead], v.Shape[lead+1]})
	}
	return []*onnx.Value{e.Reshape(e.MatMul(flat(x), flat(y)), n.Outputs[0].Shape)}
}

// swapped is the permutation of the last two dimensions behind lead others.
func swapped(lead int) []int64 {
	var perm []int64
	for i := range lead {
		perm = append(perm, int64(i))
	}
	return append(perm, int64(lead)+1, int64(lead))
}

package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// ProductOp is the operator, of RowsDomain, that FuseProducts makes nodes of. Its
// attributes are a layout (see onnx/ort/product_op.c) and the shape of its output.
const ProductOp = "Product"

// FuseProducts has large products of matrices made by a kernel of our own
// (onnx/ort/product.c), on so many threads: a Gemm with or without a bias, and a
// MatMul of one pair of matrices or of as many pairs, whose Transposes it takes in,
// as it does a Mul that alone reads the product, by as many elements.
// The graph is then for our own sessions alone (ort.Options.Rows), where
// ort.Products says so.
func FuseProducts(g *onnx.Graph, threads int) error {
	uses := g.Uses()
	for _, n := range g.Nodes {
		if n.Domain != "" || len(n.Outputs) != 1 || n.Outputs[0].Type != onnx.Float {
			continue
		}
		var l productLayout
		var in []*onnx.Value
		var ok bool
		switch n.Op {
		case "Gemm":
			l, in, ok = gemmLayout(n)
		case "MatMul":
			l, in, ok = matMulLayout(n)
		}
		if ok && l.worth() {
			if mul, factor := multiplied(uses, g.Outputs, n.Outputs[0]); mul != nil {
				l.times, in, n = true, append(in, factor), mul
			}
			shape := n.Outputs[0].Shape.Ints()
			n.Domain, n.Op, n.Inputs = RowsDomain, ProductOp, in
			n.Attrs = []onnx.Attr{{Name: "layout", Value: l.numbers(threads)}, {Name: "shape", Value: shape}}
		}
	}
	g.Prune()
	return nil
}

// productLayout is a batch of products of (m,k) and (k,n).
type productLayout struct {
	batch, m, n, k          int64
	leftTurned, rightTurned bool // a factor lies as its transpose
	bias                    bool // (n), the third input
	times                   bool // by as many elements, the last input
}

// worth reports whether our kernel is quicker than the runtime's: where sums are
// short, that which writes what is summed up decides, and the runtime's does as well.
func (l productLayout) worth() bool {
	const (
		leastSide  = 32
		leastTerms = 256 // of one product
		leastOfAll = 96  // of each of a batch, whose panels are small
		leastWork  = 1 << 22
	)
	terms := int64(leastTerms)
	if l.batch > 1 {
		terms = leastOfAll
	}
	return l.m >= leastSide && l.n >= leastSide && l.k >= terms && l.batch*l.m*l.n*l.k >= leastWork
}

func (l productLayout) numbers(threads int) []int64 {
	one := func(is bool) int64 {
		if is {
			return 1
		}
		return 0
	}
	return []int64{l.batch, l.m, l.n, l.k, one(l.leftTurned), one(l.rightTurned), one(l.bias), one(l.times), int64(threads)}
}

func gemmLayout(n *onnx.Node) (l productLayout, in []*onnx.Value, ok bool) {
	a, b, bias := n.Inputs[0], n.Inputs[1], n.In(2)
	if !a.Shape.Known() || !b.Shape.Known() || n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1 {
		return l, nil, false
	}
	l = productLayout{batch: 1, m: a.Shape[0].N, k: a.Shape[1].N, n: b.Shape[1].N, leftTurned: n.Int("transA", 0) != 0, rightTurned: n.Int("transB", 0) != 0}
	if l.leftTurned {
		l.m, l.k = l.k, l.m
	}
	if l.rightTurned {
		l.n = b.Shape[0].N
	}
	in = []*onnx.Value{a, b}
	if bias != nil {
		if len(bias.Shape) != 1 || bias.Shape[0].N != l.n {
			return l, nil, false
		}
		l.bias, in = true, append(in, bias)
	}
	return l, in, true
}

func matMulLayout(n *onnx.Node) (l productLayout, in []*onnx.Value, ok bool) {
	a, b, y := n.Inputs[0], n.Inputs[1], n.Outputs[0].Shape
	rank := len(a.Shape)
	if !a.Shape.Known() || !b.Shape.Known() || !y.Known() || rank < 2 || len(b.Shape) != rank {
		return l, nil, false
	}
	for i := range rank - 2 {
		if a.Shape[i] != b.Shape[i] {
			return l, nil, false
		}
	}
	l = productLayout{m: a.Shape[rank-2].N, k: a.Shape[rank-1].N, n: b.Shape[rank-1].N}
	l.batch = y.Count().N / max(l.m*l.n, 1)
	a, l.leftTurned = untransposed(a)
	b, l.rightTurned = untransposed(b)
	return l, []*onnx.Value{a, b}, true
}

// multiplied finds the Mul that alone reads a product, past Reshapes, and its other
// factor, where that has the product's elements.
func multiplied(uses map[*onnx.Value][]*onnx.Node, outputs []*onnx.Value, v *onnx.Value) (*onnx.Node, *onnx.Value) {
	for len(uses[v]) == 1 && !slices.Contains(outputs, v) {
		n := uses[v][0]
		switch {
		case n.Domain != "":
			return nil, nil
		case n.Op == "Reshape" && n.Inputs[0] == v:
			v = n.Outputs[0]
			continue
		case n.Op != "Mul" || len(n.Inputs) != 2 || n.Inputs[0] == n.Inputs[1]:
			return nil, nil
		}
		factor := n.Inputs[0]
		if factor == v {
			factor = n.Inputs[1]
		}
		if !factor.Shape.Same(v.Shape) || !factor.Shape.Known() {
			return nil, nil
		}
		return n, factor
	}
	return nil, nil
}

// untransposed goes behind a Transpose of a value's last two axes.
func untransposed(v *onnx.Value) (*onnx.Value, bool) {
	if !v.Is("Transpose") {
		return v, false
	}
	perm := v.Node.Ints("perm")
	want := make([]int64, len(v.Shape))
	for i := range want {
		want[i] = int64(i)
	}
	want[len(want)-2], want[len(want)-1] = want[len(want)-1], want[len(want)-2]
	if !slices.Equal(perm, want) {
		return v, false
	}
	return v.Node.Inputs[0], true
}

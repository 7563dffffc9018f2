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
// as it does a Mul, and behind it an Add, that alone read the product and have as many
// elements to read besides.
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
		if !ok {
			continue
		}
		if turn := onlyReader(uses, g.Outputs, n.Outputs[0]); n.Op == "MatMul" && swapsLast(turn) {
			l, in, n = l.turned(), []*onnx.Value{in[1], in[0]}, turn
		}
		if mul, factor := reads(uses, g.Outputs, n.Outputs[0], "Mul"); mul != nil {
			l.times, in, n = true, append(in, factor), mul
		}
		if add, term := reads(uses, g.Outputs, n.Outputs[0], "Add"); add != nil {
			l.plus, in, n = true, append(in, term), add
		}
		if l.worth() {
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
	times                   bool // by as many elements, the next input
	plus                    bool // as many elements, the last input
}

// worth reports whether our kernel is quicker than the runtime's: where sums are
// short, that which writes what is summed up decides, and the runtime's does as well.
func (l productLayout) worth() bool {
	const (
		leastSide  = 32
		leastTerms = 256 // of one product
		leastMore  = 192 // of one with which more is done: the runtime passes over it again
		leastOfAll = 96  // of each of a batch, whose panels are small
		leastWork  = 1 << 22
	)
	terms := int64(leastTerms)
	switch {
	case l.batch > 1:
		terms = leastOfAll
	case l.bias || l.times || l.plus:
		terms = leastMore
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
	return []int64{l.batch, l.m, l.n, l.k, one(l.leftTurned), one(l.rightTurned), one(l.bias), one(l.times), one(l.plus), int64(threads)}
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

// turned is the layout of the product's transpose, which is that of the factors'
// transposes, the second one first.
func (l productLayout) turned() productLayout {
	l.m, l.n, l.leftTurned, l.rightTurned = l.n, l.m, !l.rightTurned, !l.leftTurned
	return l
}

// onlyReader is the node of ai.onnx that alone reads a value, or nil.
func onlyReader(uses map[*onnx.Value][]*onnx.Node, outputs []*onnx.Value, v *onnx.Value) *onnx.Node {
	if len(uses[v]) != 1 || slices.Contains(outputs, v) || uses[v][0].Domain != "" {
		return nil
	}
	return uses[v][0]
}

// reads finds the node of an operator of two operands that alone reads a product, past
// Reshapes, and its other operand, where that has the product's elements.
func reads(uses map[*onnx.Value][]*onnx.Node, outputs []*onnx.Value, v *onnx.Value, op string) (*onnx.Node, *onnx.Value) {
	n := onlyReader(uses, outputs, v)
	for n != nil && n.Op == "Reshape" && n.Inputs[0] == v {
		v = n.Outputs[0]
		n = onlyReader(uses, outputs, v)
	}
	if n == nil || n.Op != op || len(n.Inputs) != 2 || n.Inputs[0] == n.Inputs[1] {
		return nil, nil
	}
	other := n.Inputs[0]
	if other == v {
		other = n.Inputs[1]
	}
	if !other.Shape.Same(v.Shape) || !other.Shape.Known() {
		return nil, nil
	}
	return n, other
}

// untransposed goes behind a Transpose of a value's last two axes.
func untransposed(v *onnx.Value) (*onnx.Value, bool) {
	if swapsLast(v.Node) {
		return v.Node.Inputs[0], true
	}
	return v, false
}

// swapsLast reports whether a node is a Transpose of the last two axes.
func swapsLast(n *onnx.Node) bool {
	if n == nil || n.Op != "Transpose" || n.Domain != "" {
		return false
	}
	want := make([]int64, len(n.Inputs[0].Shape))
	for i := range want {
		want[i] = int64(i)
	}
	if len(want) < 2 {
		return false
	}
	want[len(want)-2], want[len(want)-1] = want[len(want)-1], want[len(want)-2]
	return slices.Equal(n.Ints("perm"), want)
}

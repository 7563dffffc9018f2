package gradients

import (
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// matMul is y = a b over the last two dimensions; the others broadcast.
func matMul(c *call) {
	b, x, w, dy := c.b, c.x(0), c.x(1), c.dy[0]
	if x.Shape == nil || w.Shape == nil {
		c.unsupported("operands of unknown rank")
		return
	}
	// A vector is a matrix with one row (a) or one column (b).
	if len(w.Shape) == 1 {
		w, dy = b.Unsqueeze(w, 1), b.Unsqueeze(dy, -1)
	}
	if len(x.Shape) == 1 {
		x, dy = b.Unsqueeze(x, 0), b.Unsqueeze(dy, -2)
	}
	switch {
	case !c.needs(0):
	case x == c.x(0) && x.Is("Transpose") && b.SwapLast(x) == x.Node.Inputs[0]:
		// whose own gradient then undoes this transposition
		c.give(0, b.SwapLast(b.MatMul(w, b.SwapLast(dy))))
	default:
		c.give(0, likeVector(b, b.MatMul(dy, b.SwapLast(w)), c.x(0), -2))
	}
	if !c.needs(1) {
		return
	}
	if len(w.Shape) == 2 && len(x.Shape) > 2 && hasRows(x) && hasRows(dy) {
		// one product over all rows instead of a batch of them and a sum
		x, dy = rows(b, x), rows(b, dy)
	}
	if w.Is("Transpose") {
		// whose own gradient then undoes this transposition
		c.give(1, b.SwapLast(b.MatMul(b.SwapLast(dy), x)))
		return
	}
	c.give(1, likeVector(b, b.MatMul(b.SwapLast(x), dy), c.x(1), -1))
}

// likeVector takes the axis that made a vector a matrix off its gradient.
func likeVector(b *onnx.Builder, g, x *onnx.Value, axis int64) *onnx.Value {
	if len(x.Shape) == 1 {
		return b.Squeeze(sumTo(b, g, g.Shape[len(g.Shape)-2:]), axis)
	}
	return g
}

// hasRows reports whether rows can join dimensions: of two sizes one may be named.
func hasRows(x *onnx.Value) bool {
	last := len(x.Shape) - 1
	return x.Shape[last].Known() || x.Shape[:last].Count().Known()
}

// rows joins all dimensions but the last.
func rows(b *onnx.Builder, x *onnx.Value) *onnx.Value {
	last := x.Shape[len(x.Shape)-1]
	return b.Reshape(x, onnx.Shape{x.Shape[:len(x.Shape)-1].Count(), last})
}

// gemm is y = alpha A' B' + beta C, where A' and B' are transposed on demand.
func gemm(c *call) {
	b, x, w, dy := c.b, c.x(0), c.x(1), c.dy[0]
	ta, tb := c.n.Int("transA", 0), c.n.Int("transB", 0)
	product := func(p, q *onnx.Value, tp, tq int64) *onnx.Value {
		attrs := []onnx.Attr{{Name: "transA", Value: tp}, {Name: "transB", Value: tq}}
		if alpha := c.n.Float("alpha", 1); alpha != 1 {
			attrs = append(attrs, onnx.Attr{Name: "alpha", Value: alpha})
		}
		return b.Op("Gemm", attrs, p, q)
	}
	if c.needs(0) {
		if ta == 0 {
			c.give(0, product(dy, w, 0, 1-tb))
		} else {
			c.give(0, product(w, dy, tb, 1))
		}
	}
	if c.needs(1) {
		if tb == 0 {
			c.give(1, product(x, dy, 1-ta, 0))
		} else {
			c.give(1, product(dy, x, 1, ta))
		}
	}
	if c.needs(2) {
		c.give(2, b.Scale(sumTo(b, dy, c.x(2).Shape), c.n.Decimal("beta", 1)))
	}
}

// einsum: each operand's gradient is an einsum of dy with the other operands.
func einsum(c *call) {
	equation := strings.ReplaceAll(c.n.Str("equation", ""), " ", "")
	left, out, explicit := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if !explicit || len(terms) != len(c.n.Inputs) {
		c.unsupported("the implicit equation %q", equation)
		return
	}
	for i, term := range terms {
		if !c.needs(i) {
			continue
		}
		others, inputs := []string{out}, []*onnx.Value{c.dy[0]}
		for j, t := range terms {
			if j != i {
				others, inputs = append(others, t), append(inputs, c.x(j))
			}
		}
		for k, letter := range term {
			seen := letter == '.' || slices.ContainsFunc(others, func(s string) bool { return strings.ContainsRune(s, letter) })
			if !seen || (letter != '.' && strings.ContainsRune(term[k+1:], letter)) {
				c.unsupported("the equation %q: index %c of operand %d", equation, letter, i+1)
				return
			}
		}
		eq := strings.Join(others, ",") + "->" + term
		c.give(i, c.b.Op("Einsum", []onnx.Attr{{Name: "equation", Value: eq}}, inputs...))
	}
}

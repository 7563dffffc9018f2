package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// Factor is what an attention is computed from, as its product reads it:
// queries, keys or values of every token.
type Factor struct {
	Value *onnx.Value
	Axes  FactorAxes
	Scale float64 // of attention that is in Value already, 1 if none is
}

// FactorAxes are the places of a factor's axes. Without heads, these lie within
// the batch, (B*H,...), as in Attention.
type FactorAxes struct{ Batch, Heads, Tokens, Channels int } // Heads below zero: within Batch

// Factors are those of one attention: its map is the softmax over the keys'
// tokens of the product of Queries and Keys, scaled and masked, and multiplies
// Values.
type Factors struct{ Queries, Keys, Values Factor }

// FindFactors finds the factors of the attention maps that Find has found in a
// graph, in their order.
func FindFactors(g *onnx.Graph, s *Structure) ([]Factors, error) {
	f := newFinder(g, FindOptions{})
	f.spread(s.Image)
	var out []Factors
	for _, a := range s.Attention {
		x, why := f.factors(a)
		if why != "" {
			return nil, &Error{Problem: fmt.Sprintf("queries, keys and values of attention %s weren't found: %s", a.Value.Name, why)}
		}
		out = append(out, *x)
	}
	return out, nil
}

// factors goes from a map back to its scores and on to what it multiplies.
func (f *finder) factors(a Attention) (*Factors, string) {
	soft := a.Value
	for soft != nil && soft.Node != nil {
		if _, _, ok := softmax(soft.Node); ok {
			break
		}
		soft = f.dependent(soft.Node)
	}
	if soft == nil || soft.Node == nil {
		return nil, "no Softmax lies before it"
	}
	in, axis, _ := softmax(soft.Node)
	product, keys, why := f.scores(in, axis, map[*onnx.Value]bool{})
	if product == nil {
		return nil, why
	}
	left, right := operands(product)
	switch {
	case left == nil:
		return nil, fmt.Sprintf("node %s (%s) is no product of two values", product.Label(), product.Op)
	case keys < 0:
		return nil, fmt.Sprintf("the keys' axis is lost between its Softmax and node %s", product.Label())
	}
	x := &Factors{}
	switch keys {
	case right.kept:
		x.Queries, x.Keys = f.factor(left, left.free), f.factor(right, right.free)
	case left.kept:
		x.Queries, x.Keys = f.factor(right, right.free), f.factor(left, left.free)
	default:
		return nil, fmt.Sprintf("its Softmax goes along what both operands of node %s have", product.Label())
	}
	axis = len(a.Value.Shape) - 1
	if a.Transposed {
		axis--
	}
	for _, n := range f.uses[a.Value] {
		if r := f.product(n, a.Value); r == nil || r.summed != axis {
			continue
		}
		left, right := operands(n)
		if left == nil {
			return nil, fmt.Sprintf("node %s (%s) is no product of two values", n.Label(), n.Op)
		}
		if left.value == a.Value {
			left = right
		}
		x.Values = f.factor(left, left.summed)
		x.Values.Axes.Channels = left.free
		return x, ""
	}
	return nil, "no product with values reads it"
}

// operand is one side of a product.
type operand struct {
	value        *onnx.Value
	summed, free int   // its axes over which the product sums, and that the other lacks
	kept         int   // free's place in the product
	shared       []int // the other axes, in the order of the product's
}

// operands reads a product of two values, MatMul or Einsum; nil if it is of
// another kind.
func operands(n *onnx.Node) (left, right *operand) {
	if len(n.Inputs) != 2 || n.Inputs[0] == nil || n.Inputs[1] == nil {
		return nil, nil
	}
	x, y := n.Inputs[0], n.Inputs[1]
	out := len(n.Outputs[0].Shape)
	if n.Op == "MatMul" {
		if len(x.Shape) < 3 || len(y.Shape) < 3 {
			return nil, nil
		}
		return &operand{x, len(x.Shape) - 1, len(x.Shape) - 2, out - 2, upTo(len(x.Shape) - 2)},
			&operand{y, len(y.Shape) - 2, len(y.Shape) - 1, out - 1, upTo(len(y.Shape) - 2)}
	}
	terms, result, ok := strings.Cut(strings.ReplaceAll(n.Str("equation", ""), " ", ""), "->")
	sides := strings.Split(terms, ",")
	if n.Op != "Einsum" || !ok || len(sides) != 2 {
		return nil, nil
	}
	result = letters(result, out)
	own := [2]string{letters(sides[0], len(x.Shape)), letters(sides[1], len(y.Shape))}
	var both [2]*operand
	for i, v := range n.Inputs {
		o := &operand{value: v, summed: -1, free: -1, kept: -1}
		for axis, c := range own[i] {
			switch shared, kept := strings.ContainsRune(own[1-i], c), strings.ContainsRune(result, c); {
			case shared && !kept && o.summed < 0:
				o.summed = axis
			case kept && !shared && o.free < 0:
				o.free, o.kept = axis, strings.IndexRune(result, c)
			case !shared || !kept:
				return nil, nil
			}
		}
		for _, c := range result {
			if axis := strings.IndexRune(own[i], c); axis >= 0 && axis != o.free {
				o.shared = append(o.shared, axis)
			}
		}
		if o.summed < 0 || o.free < 0 {
			return nil, nil
		}
		both[i] = o
	}
	return both[0], both[1]
}

// letters writes out the dots of an Einsum term, as digits that count from the
// last of the axes for which they stand, so that the term has as many letters
// as its value has axes.
func letters(term string, rank int) string {
	before, after, dots := strings.Cut(term, "...")
	for i := rank - len(before) - len(after) - 1; dots && i >= 0; i-- {
		before += string(rune('0' + i))
	}
	return before + after
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// factor is an operand as queries or keys, whose tokens lie along an axis.
func (f *finder) factor(o *operand, tokens int) Factor {
	x := Factor{Value: o.value, Axes: FactorAxes{Batch: -1, Heads: -1, Tokens: tokens, Channels: o.summed}, Scale: f.scaleOf(o.value)}
	if len(o.shared) > 0 {
		x.Axes.Batch = o.shared[0]
	}
	if len(o.shared) > 1 {
		x.Axes.Heads = o.shared[1]
	}
	return x
}

// scaleOf is the number by which v was multiplied on its way from the linear
// layer: exporters scale queries, keys, or both.
func (f *finder) scaleOf(v *onnx.Value) float64 {
	scale := 1.0
	for v != nil && v.Node != nil && v.Node.Domain == "" {
		n := v.Node
		switch {
		case slices.Contains([]string{"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast"}, n.Op):
			v = n.In(0)
			continue
		case n.Op != "Mul" && n.Op != "Div":
			return scale
		}
		x, c := n.In(0), n.In(1)
		if n.Op == "Mul" && !f.data[x] {
			x, c = c, x
		}
		number, ok := single(c)
		if !f.data[x] || !ok || number == 0 {
			return scale
		}
		if n.Op == "Div" {
			number = 1 / number
		}
		v, scale = x, scale*number
	}
	return scale
}

// single is the content of a constant of one element.
func single(v *onnx.Value) (float64, bool) {
	if v == nil || v.Data == nil || v.Data.Count() != 1 {
		return 0, false
	}
	x, err := v.Data.Float64s()
	if err != nil {
		return 0, false
	}
	return x[0], true
}

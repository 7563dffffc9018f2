package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// mapReading is how a product reads an attention map.
type mapReading struct {
	value  *onnx.Value // the operand
	summed int         // its axis over which the product sums: the keys
	free   int         // its axis that the other operand lacks: the queries
}

// values walks from a softmax's output to the product with the values, keeping
// track of the softmax's axis.
func (f *finder) values(v *onnx.Value, axis int) (*mapReading, string) {
	why := "nothing reads it"
	for _, n := range f.uses[v] {
		if r := f.product(n, v); r != nil {
			if r.summed == axis {
				return r, ""
			}
			why = fmt.Sprintf("softmax goes along axis %d of %v, the product (node %s) sums along %d", axis, v, n.Label(), r.summed)
			continue
		}
		next, moved := f.carried(n, v, axis)
		if moved < 0 {
			if why == "nothing reads it" {
				why = fmt.Sprintf("its result goes into node %s (%s), not into a product with values", n.Label(), n.Op)
			}
			continue
		}
		r, reason := f.values(next, moved)
		if r != nil {
			return r, ""
		}
		why = reason
	}
	return nil, why
}

// carried follows a map through a node that leaves its entries in their places:
// it may move axes, guard against NaN, or scale and mix the heads by constants.
// It returns the output and where the axis is there, -1 if the node does more.
func (f *finder) carried(n *onnx.Node, v *onnx.Value, axis int) (*onnx.Value, int) {
	out := n.Out(0)
	if out == nil || out.Shape == nil || n.Domain != "" {
		return nil, -1
	}
	if heads, ok := f.mixed(n); ok && n.In(0) == v && heads != axis {
		return out, axis
	}
	switch n.Op {
	case "Identity", "Cast", "Dropout":
		if n.In(0) == v {
			return out, axis
		}
	case "Where":
		other := n.In(1)
		if other == v {
			other = n.In(2)
		}
		if n.In(0) != v && !f.data[other] && len(out.Shape) == len(v.Shape) {
			return out, axis
		}
	case "Add", "Sub", "Mul", "Div", "Max", "Min":
		others := slices.DeleteFunc(slices.Clone(n.Inputs), func(in *onnx.Value) bool { return in == v })
		if len(others) == 1 && !f.data[others[0]] && out.Shape.Same(v.Shape) && !(n.Op == "Div" && n.In(0) != v) {
			return out, axis
		}
	case "Transpose":
		perm := n.Ints("perm")
		if perm == nil {
			return out, len(v.Shape) - 1 - axis
		}
		return out, slices.Index(perm, int64(axis))
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze":
		if n.In(0) == v {
			return out, sameAxis(v.Shape, out.Shape, axis)
		}
	}
	return nil, -1
}

// sameAxis finds the axis of to that a reshape makes of the given axis of from,
// -1 if it merges or cuts it: as much lies behind both, and they are as long.
func sameAxis(from, to onnx.Shape, axis int) int {
	behind := onnx.Shape(from[axis+1:]).Count()
	for i := len(to) - 1; i >= 0; i-- {
		if onnx.Shape(to[i+1:]).Count().Same(behind) && to[i].Same(from[axis]) {
			return i
		}
	}
	return -1
}

// product tells how node n, a product of two things that depend on the
// picture, reads v; nil if it is no such product.
func (f *finder) product(n *onnx.Node, v *onnx.Value) *mapReading {
	if len(n.Inputs) != 2 || !f.data[n.Inputs[0]] || !f.data[n.Inputs[1]] || n.Inputs[0] == n.Inputs[1] {
		return nil
	}
	rank := len(v.Shape)
	switch {
	case n.Op == "MatMul" && rank >= 2 && n.Inputs[0] == v:
		return &mapReading{v, rank - 1, rank - 2}
	case n.Op == "MatMul" && rank >= 2:
		return &mapReading{v, rank - 2, rank - 1}
	case n.Op == "Einsum":
		return einsum(n, v)
	}
	return nil
}

// einsum reads the equation of a product of two operands, such as
// bhij,bhjd->bhid or ...hqk,...khd->...qhd.
func einsum(n *onnx.Node, v *onnx.Value) *mapReading {
	left, out, ok := strings.Cut(strings.ReplaceAll(n.Str("equation", ""), " ", ""), "->")
	terms := strings.Split(left, ",")
	if !ok || len(terms) != 2 {
		return nil
	}
	own, other := terms[0], terms[1]
	if n.Inputs[1] == v {
		own, other = other, own
	}
	before, after, dots := strings.Cut(own, "...")
	hidden := 0 // axes that the dots stand for
	if dots {
		hidden = len(v.Shape) - len(before) - len(after)
	}
	r := &mapReading{v, -1, -1}
	for i, c := range before + after {
		axis := i
		if dots && i >= len(before) {
			axis += hidden
		}
		switch shared, kept := strings.ContainsRune(other, c), strings.ContainsRune(out, c); {
		case shared && !kept && r.summed < 0:
			r.summed = axis
		case kept && !shared && r.free < 0:
			r.free = axis
		case !shared || !kept:
			return nil
		}
	}
	if r.summed < 0 || r.free < 0 {
		return nil
	}
	return r
}

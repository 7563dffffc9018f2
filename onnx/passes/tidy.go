package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Tidy merges operators that only move elements: a reshape of a reshape, a
// transposition of a transposition, and transpositions around a reshape that
// merges dimensions which lie side by side before both.
func Tidy(g *onnx.Graph) error {
	err := rewrite(g, func(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		if n.Domain != "" || n.Out(0) == nil {
			return nil, nil
		}
		former := e.In(n.Label())
		defer e.In(former)
		switch {
		case reshapes(n):
			return tidyReshape(e, n), nil
		case n.Op == "Transpose":
			return tidyTranspose(e, n), nil
		}
		return nil, nil
	})
	if err != nil {
		return err
	}
	g.Prune()
	return nil
}

// reshapes reports whether a node keeps the order of elements and changes the
// shape only.
func reshapes(n *onnx.Node) bool {
	return n.Domain == "" && slices.Contains([]string{"Reshape", "Flatten", "Squeeze", "Unsqueeze"}, n.Op)
}

func tidyReshape(e *editor, n *onnx.Node) []*onnx.Value {
	x, s := n.Inputs[0], n.Outputs[0].Shape
	if !x.Shape.Same(s) && (x.Node == nil || !reshapes(x.Node)) {
		return nil
	}
	if y := viewed(e, x, s); y != nil {
		return []*onnx.Value{y}
	}
	return nil
}

// viewed gives x another shape, past the reshapes that x already went through;
// nil where no constant says that shape.
func viewed(e *editor, x *onnx.Value, s onnx.Shape) *onnx.Value {
	for x.Node != nil && reshapes(x.Node) {
		x = x.Node.Inputs[0]
	}
	if x.Shape.Same(s) {
		return x
	}
	target := reshapeTarget(x.Shape, s)
	if target == nil {
		return nil
	}
	return e.Op("Reshape", nil, x, e.Ints(target...))
}

func tidyTranspose(e *editor, n *onnx.Node) []*onnx.Value {
	x := n.Inputs[0]
	perm := permOf(n)
	if perm == nil {
		return nil
	}
	if x.Is("Transpose") {
		first := permOf(x.Node)
		if first == nil {
			return nil
		}
		return []*onnx.Value{e.Transpose(x.Node.Inputs[0], through(first, perm)...)}
	}
	if x.Node == nil || !reshapes(x.Node) || !x.Node.Inputs[0].Is("Transpose") {
		return nil
	}
	inner := x.Node.Inputs[0].Node
	source, first := inner.Inputs[0], permOf(inner)
	groups := merged(inner.Outputs[0].Shape, x.Shape)
	if first == nil || groups == nil {
		return nil
	}
	// The dimensions of source that make up each dimension of x; they must
	// lie side by side in source too.
	type group struct{ start, index int64 }
	order := make([]group, len(groups))
	for i, axes := range groups {
		if len(axes) == 0 {
			return nil
		}
		order[i] = group{first[axes[0]], int64(i)}
		for j, axis := range axes {
			if first[axis] != first[axes[0]]+int64(j) {
				return nil
			}
		}
	}
	slices.SortFunc(order, func(a, b group) int { return int(a.start - b.start) })
	s := make(onnx.Shape, len(order))
	swap := make([]int64, len(order)) // from the merged source to x
	for place, o := range order {
		s[place] = x.Shape[o.index]
		swap[o.index] = int64(place)
	}
	flat := viewed(e, source, s)
	if flat == nil {
		return nil
	}
	return []*onnx.Value{e.Transpose(flat, through(swap, perm)...)}
}

// permOf is a Transpose's permutation, nil where even the rank isn't known.
func permOf(n *onnx.Node) []int64 {
	if perm := n.Ints("perm"); perm != nil || n.Inputs[0].Shape == nil {
		return perm
	}
	rank := len(n.Inputs[0].Shape)
	perm := make([]int64, rank)
	for i := range perm {
		perm[i] = int64(rank - 1 - i)
	}
	return perm
}

// through is the permutation that does first, then second.
func through(first, second []int64) []int64 {
	out := make([]int64, len(second))
	for i, p := range second {
		out[i] = first[p]
	}
	return out
}

// merged lists, for each dimension of to, the neighbouring dimensions of from
// whose product it is; nil where to splits a dimension or leaves one out.
func merged(from, to onnx.Shape) [][]int {
	var groups [][]int
	next := 0
	for _, d := range to {
		var axes []int
		size := onnx.D(1)
		for next < len(from) && (len(axes) == 0 || !size.Same(d)) {
			size = size.Times(from[next])
			axes = append(axes, next)
			next++
		}
		if !size.Same(d) {
			return nil
		}
		groups = append(groups, axes)
	}
	if next != len(from) {
		return nil
	}
	return groups
}

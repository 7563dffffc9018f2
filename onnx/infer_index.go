package onnx

import (
	"fmt"
	"math"
	"slices"
)

// indexRules: operators that pick and place elements by index.
var indexRules = map[string]inferRule{
	"Slice":           need(3, inferSlice),
	"Gather":          need(2, inferGather),
	"GatherElements":  need(2, inferGatherElements),
	"GatherND":        need(2, inferGatherND),
	"ScatterElements": need(3, inferSame),
	"ScatterND":       need(3, inferSame),
	"OneHot":          need(3, inferOneHot),
	"NonZero":         need(1, inferNonZero),
}

// sliceLimits are the arguments of a Slice for one axis.
type sliceLimits struct{ start, end, step Dim }

func inferSlice(n *Node) error {
	x := n.Inputs[0]
	if x.Shape == nil {
		return give(n, 0, x.Type, nil)
	}
	limits, err := sliceArguments(n, len(x.Shape))
	if err != nil {
		return fmt.Errorf("slicing %v: %w", x, err)
	}
	if limits == nil {
		return give(n, 0, x.Type, unknown(len(x.Shape)))
	}
	s := x.Shape.Clone()
	for axis, l := range limits {
		if l.step.Is(0) {
			return fmt.Errorf("slicing %v: the step along axis %d is 0", x, axis)
		}
		s[axis] = sliced(s[axis], l)
	}
	var e []Dim
	if l, ok := limits[0]; ok && len(x.Shape) == 1 {
		e = sliceElems(elems(x), l)
	} else if len(x.Shape) == 1 {
		e = elems(x)
	}
	return giveElems(n, x.Type, s, e)
}

// sliceArguments reads starts, ends, axes and steps; nil where even the axes
// aren't known.
func sliceArguments(n *Node, rank int) (map[int]sliceLimits, error) {
	starts, ends := elems(n.Inputs[1]), elems(n.Inputs[2])
	axes, known := numbers(n.In(3))
	if n.In(3) == nil {
		known = starts != nil || ends != nil
		for i := range max(len(starts), len(ends)) {
			axes = append(axes, int64(i))
		}
	}
	if !known {
		return nil, nil
	}
	steps := elems(n.In(4))
	if n.In(4) == nil {
		steps = slices.Repeat([]Dim{D(1)}, len(axes))
	}
	limits := map[int]sliceLimits{}
	for i, a := range axes {
		axis, err := axisIn(a, rank)
		if err != nil {
			return nil, err
		}
		l := sliceLimits{Unknown, Unknown, Unknown}
		for _, arg := range []struct {
			to   *Dim
			from []Dim
		}{{&l.start, starts}, {&l.end, ends}, {&l.step, steps}} {
			if arg.from != nil && len(arg.from) != len(axes) {
				return nil, fmt.Errorf("%d axes but %d starts, ends or steps", len(axes), len(arg.from))
			}
			if arg.from != nil {
				*arg.to = arg.from[i]
			}
		}
		limits[axis] = l
	}
	return limits, nil
}

// clampSlice brings start and end of a slice into a dimension of known size.
func clampSlice(d int64, l sliceLimits) (start, end int64) {
	start, end = l.start.N, l.end.N
	if start < 0 {
		start += d
	}
	if end < 0 {
		end += d
	}
	if l.step.N > 0 {
		return min(max(start, 0), d), min(max(end, 0), d)
	}
	return min(max(start, 0), d-1), min(max(end, -1), d-1)
}

// sliced is the size that remains of a dimension.
func sliced(d Dim, l sliceLimits) Dim {
	const beyond = math.MaxInt32 // exporters write this, or more, for the end
	if l.start.number() && l.end.number() && l.step.number() && d.Known() {
		start, end := clampSlice(d.N, l)
		if l.step.N > 0 {
			return D(max(0, (end-start+l.step.N-1)/l.step.N))
		}
		return D(max(0, (start-end-l.step.N-1)/-l.step.N))
	}
	toEnd := l.end.Same(d) || (l.end.number() && l.end.N >= beyond)
	switch {
	case l.step.Is(1) && l.start.Is(0) && toEnd:
		return d
	case l.step.Is(1) && l.start.Is(0) && l.end.Sym != "" && l.end.N > 0 && l.end.Sym == d.Sym && l.end.N <= d.N:
		return l.end
	case l.step == D(-1) && (l.start == D(-1) || l.start.Known() && l.start.N >= beyond) && l.end.number() && l.end.N <= -beyond:
		return d
	}
	return Unknown
}

func sliceElems(e []Dim, l sliceLimits) []Dim {
	if e == nil || !l.start.number() || !l.end.number() || !l.step.number() {
		return nil
	}
	out := []Dim{}
	start, end := clampSlice(int64(len(e)), l)
	for i := start; (l.step.N > 0 && i < end) || (l.step.N < 0 && i > end); i += l.step.N {
		out = append(out, e[i])
	}
	return out
}

func inferGather(n *Node) error {
	x, index := n.Inputs[0], n.Inputs[1]
	if x.Shape == nil || index.Shape == nil {
		return give(n, 0, x.Type, nil)
	}
	axis, err := axisIn(n.Int("axis", 0), len(x.Shape))
	if err != nil {
		return fmt.Errorf("gathering from %v: %w", x, err)
	}
	picks, known := numbers(index)
	for _, i := range picks {
		if d := x.Shape[axis]; d.Known() && (i < -d.N || i >= d.N) {
			return fmt.Errorf("index %d is out of range for axis %d of %v", i, axis, x)
		}
	}
	s := slices.Concat(x.Shape[:axis], index.Shape, x.Shape[axis+1:])
	if s == nil {
		s = Shape{}
	}
	from := elems(x)
	if !known || from == nil || len(x.Shape) != 1 {
		return give(n, 0, x.Type, s)
	}
	e := make([]Dim, len(picks))
	for i, p := range picks {
		if p < 0 {
			p += int64(len(from))
		}
		e[i] = from[p]
	}
	return giveElems(n, x.Type, s, e)
}

func inferGatherElements(n *Node) error {
	x, index := n.Inputs[0], n.Inputs[1]
	if x.Shape != nil && index.Shape != nil && len(x.Shape) != len(index.Shape) {
		return fmt.Errorf("indices %v and data %v differ in rank", index, x)
	}
	return give(n, 0, x.Type, index.Shape)
}

func inferGatherND(n *Node) error {
	x, index := n.Inputs[0], n.Inputs[1]
	r := len(index.Shape)
	if x.Shape == nil || r == 0 || !index.Shape[r-1].Known() {
		return give(n, 0, x.Type, nil)
	}
	skip := int(n.Int("batch_dims", 0)) + int(index.Shape[r-1].N)
	if skip > len(x.Shape) {
		return fmt.Errorf("indices %v address %d dimensions of %v", index, skip, x)
	}
	s := append(index.Shape[:r-1].Clone(), x.Shape[skip:]...)
	return give(n, 0, x.Type, s)
}

func inferOneHot(n *Node) error {
	index, depth, values := n.Inputs[0], elems(n.Inputs[1]), n.Inputs[2]
	if index.Shape == nil {
		return give(n, 0, values.Type, nil)
	}
	axis, err := axisIn(n.Int("axis", -1), len(index.Shape)+1)
	if err != nil {
		return fmt.Errorf("indices %v: %w", index, err)
	}
	d := Unknown
	if len(depth) == 1 {
		d = depth[0]
	} else if k, ok := scalarOf(n.Inputs[1]); ok {
		d = D(int64(k))
	}
	return give(n, 0, values.Type, slices.Insert(index.Shape.Clone(), axis, d))
}

func inferNonZero(n *Node) error {
	rank := Unknown
	if s := n.Inputs[0].Shape; s != nil {
		rank = D(max(1, int64(len(s))))
	}
	return give(n, 0, Int64, Shape{rank, Unknown})
}

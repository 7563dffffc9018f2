package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// A factor is a number of steps of equal width through the rows or the columns
// of a matrix.
type factor struct {
	row          bool
	stride, size int64
}

// A layout says where the elements of a value lie in the matrix of which it is
// a rearrangement: at (row, col), plus the steps of every axis, whose factors
// stand with the slowest first.
type layout struct {
	axes     [][]factor
	row, col int64
}

// layoutOf is that of a matrix itself.
func layoutOf(s onnx.Shape) layout {
	return layout{axes: [][]factor{{{true, 1, s[0].N}}, {{false, 1, s[1].N}}}}
}

// after gives the layouts of a node's outputs where its first input has this
// one, nil where the node does more than move elements.
func (l layout) after(n *onnx.Node) []layout {
	if n.Domain != "" || n.Out(0) == nil || !n.Out(0).Shape.Known() {
		return nil
	}
	switch {
	case n.Op == "Identity":
		return []layout{l}
	case reshapes(n):
		return l.reshaped(n.Outputs[0].Shape)
	case n.Op == "Transpose":
		out := layout{row: l.row, col: l.col}
		for _, axis := range permOf(n) {
			out.axes = append(out.axes, l.axes[axis])
		}
		return []layout{out}
	case n.Op == "Split":
		return l.split(n)
	case n.Op == "Gather" && n.Inputs[1].Data != nil && n.Inputs[1].Data.Count() == 1 && len(n.Inputs[1].Data.Dims) == 0:
		at, err := n.Inputs[1].Data.Int64s()
		axis := axisOf(n, 0)
		size := n.Inputs[0].Shape[axis].N
		if err != nil || at[0] < -size || at[0] >= size {
			return nil
		}
		out, ok := l.cut(axis, (at[0]+size)%size, 1)
		out.axes = slices.Delete(out.axes, int(axis), int(axis)+1)
		return whole(out, ok)
	case n.Op == "Slice":
		axis, from, size, ok := sliced(n)
		if !ok {
			return nil
		}
		return whole(l.cut(axis, from, size))
	}
	return nil
}

// whole is one layout, unless it couldn't be told.
func whole(l layout, ok bool) []layout {
	if !ok {
		return nil
	}
	return []layout{l}
}

// axisOf is a node's attribute axis, counted from the front.
func axisOf(n *onnx.Node, or int64) int64 {
	rank := int64(len(n.Inputs[0].Shape))
	return (n.Int("axis", or) + rank) % rank
}

// sliced reads a Slice by constants, of one axis in steps of one.
func sliced(n *onnx.Node) (axis, from, size int64, ok bool) {
	before, after := n.Inputs[0].Shape, n.Outputs[0].Shape
	var at [4]int64 // starts, ends, axes, steps
	at[3] = 1
	for i := range at {
		v := n.In(i + 1)
		if v == nil {
			if i == 2 {
				return 0, 0, 0, false
			}
			continue
		}
		if v.Data == nil || v.Data.Count() != 1 {
			return 0, 0, 0, false
		}
		list, err := v.Data.Int64s()
		if err != nil {
			return 0, 0, 0, false
		}
		at[i] = list[0]
	}
	if at[3] != 1 {
		return 0, 0, 0, false
	}
	axis = (at[2] + int64(len(before))) % int64(len(before))
	from = at[0]
	if from < 0 {
		from += before[axis].N
	}
	return axis, max(from, 0), after[axis].N, true
}

// cut takes size places of an axis; only a single factor can be cut.
func (l layout) cut(axis, from, size int64) (layout, bool) {
	out := layout{axes: slices.Clone(l.axes), row: l.row, col: l.col}
	factors := l.axes[axis]
	switch {
	case size < 1:
		return out, false
	case len(factors) == 0:
		return out, from == 0 && size == 1
	case len(factors) > 1:
		return out, false
	}
	f := factors[0]
	if f.row {
		out.row += from * f.stride
	} else {
		out.col += from * f.stride
	}
	f.size = size
	out.axes[axis] = nil
	if size > 1 {
		out.axes[axis] = []factor{f}
	}
	return out, true
}

func (l layout) split(n *onnx.Node) []layout {
	var out []layout
	axis, from := axisOf(n, 0), int64(0)
	for _, v := range n.Outputs {
		if v == nil || !v.Shape.Known() {
			return nil
		}
		size := v.Shape[axis].N
		part, ok := l.cut(axis, from, size)
		if !ok {
			return nil
		}
		out, from = append(out, part), from+size
	}
	return out
}

// reshaped deals the factors out to other axes and splits them where an axis
// ends within one.
func (l layout) reshaped(s onnx.Shape) []layout {
	rest := slices.Concat(l.axes...)
	out := layout{row: l.row, col: l.col, axes: make([][]factor, len(s))}
	for i, d := range s {
		for size := d.N; size > 1; {
			if len(rest) == 0 {
				return nil
			}
			f := rest[0]
			switch {
			case size%f.size == 0:
				rest = rest[1:]
			case f.size%size == 0: // the slower part of f
				rest = slices.Concat([]factor{{f.row, f.stride, f.size / size}}, rest[1:])
				f = factor{f.row, f.stride * (f.size / size), size}
			default:
				return nil
			}
			size /= f.size
			out.axes[i] = append(out.axes[i], f)
		}
		out.axes[i] = fused(out.axes[i])
	}
	return []layout{out}
}

// fused joins neighbours that are one way through the matrix.
func fused(factors []factor) []factor {
	var out []factor
	for _, f := range factors {
		if k := len(out) - 1; k >= 0 && out[k].row == f.row && out[k].stride == f.stride*f.size {
			out[k] = factor{f.row, f.stride, out[k].size * f.size}
			continue
		}
		out = append(out, f)
	}
	return out
}

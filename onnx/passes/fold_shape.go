package passes

import "github.com/relevit/relevit/onnx"

// shapeInput replaces the shape that an operator takes as input by a constant
// where there is one, otherwise by the shortest computation of it.
func (f *folding) shapeInput(e *editor, n *onnx.Node) {
	i := map[string]int{"Reshape": 1, "Expand": 1, "Tile": 1, "ConstantOfShape": 0}
	at, ok := i[n.Op]
	if !ok || n.In(at) == nil || n.In(at).Data != nil || n.Out(0) == nil {
		return
	}
	elems := n.Inputs[at].Elems
	switch n.Op {
	case "Reshape":
		if target := reshapeTarget(n.Inputs[0].Shape, n.Outputs[0].Shape); target != nil {
			n.Inputs[at] = e.Ints(target...)
			n.DropAttr("allowzero")
			return
		}
		elems = n.Outputs[0].Shape
	case "Expand":
		elems = expandTarget(n.Inputs[0].Shape, elems)
	}
	if v := f.vector(e, elems); v != nil {
		n.Inputs[at] = v
		n.DropAttr("allowzero")
	}
}

// reshapeTarget is a constant second input of Reshape from x to y: -1 for a
// size that isn't a number, 0 for others that x has in the same place. Nil
// where that doesn't do.
func reshapeTarget(x, y onnx.Shape) []int64 {
	if y == nil {
		return nil
	}
	out := make([]int64, len(y))
	open := []int{}
	for i, d := range y {
		out[i] = d.N
		switch {
		case d.Is(0):
			return nil
		case !d.Known():
			open = append(open, i)
		}
	}
	free := false // whether -1 is taken
	for k, i := range open {
		copies := i < len(x) && x[i].Same(y[i])
		switch {
		case copies && (free || k < len(open)-1):
			out[i] = 0
		case !free:
			out[i], free = -1, true
		default:
			return nil
		}
	}
	return out
}

// expandTarget is an equal shape input of Expand that leaves alone what x has.
func expandTarget(x onnx.Shape, target []onnx.Dim) []onnx.Dim {
	out := make([]onnx.Dim, len(target))
	for i, d := range target {
		out[i] = d
		if j := len(x) - len(target) + i; j >= 0 && (x[j].Same(d) || x[j].Known() && x[j].N > 1) {
			out[i] = onnx.D(1)
		}
	}
	if target == nil || x == nil {
		return nil
	}
	return out
}

// vector computes a vector of numbers and named sizes; nil where a size can't
// be read off an input.
func (f *folding) vector(e *editor, elems []onnx.Dim) *onnx.Value {
	if len(elems) == 0 {
		return nil
	}
	var parts []*onnx.Value
	var run []int64
	flush := func() {
		if len(run) > 0 {
			parts = append(parts, e.Ints(run...))
			run = nil
		}
	}
	for _, d := range elems {
		at, ok := f.sizes[d.Sym]
		switch {
		case d == onnx.Unknown || (d.Sym != "" && !ok):
			return nil
		case d.Sym == "":
			run = append(run, d.N)
			continue
		}
		flush()
		size := e.Op("Shape", []onnx.Attr{{Name: "end", Value: at.axis + 1}, {Name: "start", Value: at.axis}}, at.value)
		if d.N != 1 {
			size = e.Mul(size, e.Ints(d.N))
		}
		parts = append(parts, size)
	}
	flush()
	return e.Concat(0, parts...)
}

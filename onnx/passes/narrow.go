package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// Narrow computes only the rows that somebody reads. A Gather of one token, the
// class token before a classifier, needs one row of all that comes after the
// last mixing of tokens:
//
//	Gather(f(x), row)   f row by row: elementwise, LayerNormalization, MatMul, ...
//	Gather(f(Slice(x, row)), 0)
//
// In a ViT that ends in the last attention, of whose map one row is read. Values
// to keep stay whole. It returns what now has rows of others.
func Narrow(g *onnx.Graph, keep ...*onnx.Value) (map[*onnx.Value]Rows, error) {
	f := &narrowing{keep: keep, read: map[*onnx.Value]rows{}, whole: map[*onnx.Value]bool{}, narrow: map[*onnx.Value]*onnx.Value{}}
	if err := g.InferAll(); err != nil {
		return nil, err
	}
	for _, v := range g.Outputs {
		f.whole[v] = true
	}
	for _, n := range slices.Backward(g.Nodes) {
		f.mark(n)
	}
	if err := rewrite(g, f.node); err != nil {
		return nil, err
	}
	g.Prune()
	out := map[*onnx.Value]Rows{}
	for v, narrow := range f.narrow {
		out[v] = Rows{narrow, f.read[v].axis, f.read[v].from}
	}
	return out, nil
}

// Rows are a value's places along an axis, from one on.
type Rows struct {
	Value      *onnx.Value
	Axis, From int64
}

// rows are the places from to (exclusive) along an axis.
type rows struct{ axis, from, to int64 }

type narrowing struct {
	keep   []*onnx.Value
	read   map[*onnx.Value]rows        // what is read of a value, by all readers together
	whole  map[*onnx.Value]bool        // values that are read in other ways, too
	narrow map[*onnx.Value]*onnx.Value // the rows of read alone
}

// mark notes what a node reads; its readers have been marked.
func (f *narrowing) mark(n *onnx.Node) {
	inputs := f.inputs(n)
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		if inputs == nil || inputs[i] == nil {
			f.whole[v] = true
			continue
		}
		r := *inputs[i]
		if old, ok := f.read[v]; ok {
			if old.axis != r.axis {
				f.whole[v] = true
			}
			r.from, r.to = min(r.from, old.from), max(r.to, old.to)
		}
		f.read[v] = r
	}
	for _, v := range n.Captures {
		f.whole[v] = true
	}
}

// inputs lists which rows of each input a node needs, nil for an input that it
// needs whole, and nothing where it needs all of them whole.
func (f *narrowing) inputs(n *onnx.Node) []*rows {
	if axis, at, ok := picks(n); ok {
		return []*rows{{axis, at, at + 1}, nil}
	}
	if n.Domain != "" || len(n.Outputs) != 1 || f.whole[n.Outputs[0]] || slices.Contains(f.keep, n.Outputs[0]) {
		return nil
	}
	r, ok := f.read[n.Outputs[0]]
	rank := int64(len(n.Outputs[0].Shape))
	if !ok || r.axis >= rank || !n.Outputs[0].Shape[r.axis].Known() {
		return nil
	}
	switch {
	case n.Op == "Transpose":
		return []*rows{{permOf(n)[r.axis], r.from, r.to}}
	case n.Op == "Reshape":
		if axis := sameAxis(n.Inputs[0].Shape, n.Outputs[0].Shape, r.axis); axis >= 0 && open(n.Outputs[0].Shape) < 2 {
			return []*rows{{axis, r.from, r.to}, nil}
		}
		return nil
	case n.Op == "LayerNormalization" && r.axis < (n.Int("axis", -1)+rank)%rank:
	case n.Op == "Softmax" && r.axis != (n.Int("axis", -1)+rank)%rank:
	case n.Op == "MatMul" && r.axis < rank-1 && len(n.Inputs[0].Shape) > 1 && len(n.Inputs[1].Shape) > 1:
	case rowwise[n.Op]:
	default:
		return nil
	}
	out := make([]*rows, len(n.Inputs))
	for i, v := range n.Inputs {
		if v == nil || (n.Op == "MatMul" && r.axis == rank-2 && i == 1) {
			continue
		}
		// the axis counts from the last, and a single row serves for all
		axis := r.axis - rank + int64(len(v.Shape))
		if v.Shape == nil || axis >= 0 && !v.Shape[axis].Known() {
			return nil
		}
		if axis >= 0 && !v.Shape[axis].Is(1) {
			out[i] = &rows{axis, r.from, r.to}
		}
	}
	return out
}

// open counts the sizes that aren't numbers, such as that of the batch.
func open(s onnx.Shape) int {
	n := 0
	for _, d := range s {
		if !d.Known() {
			n++
		}
	}
	return n
}

// rowwise lists operators of which every row of the result needs that row of
// the operands alone.
var rowwise = map[string]bool{
	"Add": true, "Sub": true, "Mul": true, "Div": true, "Pow": true, "Neg": true, "Sqrt": true, "Exp": true,
	"Erf": true, "Tanh": true, "Sigmoid": true, "Relu": true, "Gelu": true, "Identity": true, "Dropout": true,
	"Cast": true, "IsNaN": true, "Not": true, "Where": true,
}

// picks reports where a node takes a single known place along an axis.
func picks(n *onnx.Node) (axis, at int64, ok bool) {
	if n.Op != "Gather" || n.Domain != "" || n.Inputs[1].Data == nil || n.Inputs[1].Data.Count() != 1 {
		return 0, 0, false
	}
	x := n.Inputs[0]
	list, err := n.Inputs[1].Data.Int64s()
	rank := int64(len(x.Shape))
	if err != nil || rank == 0 || !x.Type.IsFloat() {
		return 0, 0, false
	}
	axis = (n.Int("axis", 0) + rank) % rank
	size := x.Shape[axis]
	return axis, (list[0] + size.N) % max(size.N, 1), size.Known() && size.N > 1
}

// sameAxis finds the axis of from that a reshape leaves as the given axis of
// to, -1 if it doesn't.
func sameAxis(from, to onnx.Shape, axis int64) int64 {
	before := to[:axis].Count()
	for i := range from {
		if from[:i].Count().Same(before) && from[i].Same(to[axis]) {
			return int64(i)
		}
	}
	return -1
}

// node emits a node for the rows that are read before the node for all of them,
// which nobody reads then.
func (f *narrowing) node(e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	inputs := f.inputs(n)
	if inputs == nil {
		return nil, nil
	}
	former := e.In(n.Label() + "/rows")
	defer e.In(former)
	if _, at, ok := picks(n); ok {
		x := f.narrow[n.Inputs[0]]
		if x == nil {
			return nil, nil
		}
		place := onnx.Int64Tensor([]int64{at - f.read[n.Inputs[0]].from}, n.Inputs[1].Data.Dims...)
		return []*onnx.Value{e.Op("Gather", n.Attrs, x, e.Const(place))}, nil
	}
	news := slices.Clone(n.Inputs)
	for i, r := range inputs {
		if r != nil {
			news[i] = f.cut(e, n.Inputs[i], *r)
		}
	}
	y := n.Outputs[0]
	if n.Op == "Reshape" {
		r, s := f.read[y], y.Shape.Clone()
		s[r.axis] = onnx.D(r.to - r.from)
		f.narrow[y] = e.Reshape(news[0], s)
	} else {
		f.narrow[y] = e.Op(n.Op, n.Attrs, news...)
	}
	return nil, nil
}

// cut gives the rows r of v.
func (f *narrowing) cut(e *editor, v *onnx.Value, r rows) *onnx.Value {
	if x := f.narrow[v]; x != nil {
		whole := f.read[v]
		if whole == r {
			return x
		}
		return e.Slice(x, r.axis, r.from-whole.from, r.to-whole.from)
	}
	return e.Slice(v, r.axis, r.from, r.to)
}

package passes

import (
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// A definition says in operators of the working dialect that every older opset
// has, or that have definitions themselves, what came with opset since. It
// returns replacements, or nothing to keep the node.
type definition struct {
	since  int64
	define func(l *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error)
}

var definitions = map[string][]definition{
	"LayerNormalization": {{17, defineLayerNorm}},
	"Gelu":               {{20, defineGelu}},
	"Mish":               {{18, defineMish}},
	"HardSwish":          {{14, defineHardSwish}},
	"GreaterOrEqual":     {{12, defineOrEqual("Greater")}},
	"LessOrEqual":        {{12, defineOrEqual("Less")}},
	"CastLike":           {{15, defineCastLike}},
	"Trilu":              {{14, defineTrilu}},
	"Shape":              {{15, defineShape}},
	"Softmax":            {{13, defineSoftmax}},
	"LogSoftmax":         {{13, defineSoftmax}},
	"Hardmax":            {{13, defineSoftmax}},
	"Pow":                {{12, definePow}},
	"Max":                {{12, defineExtreme("Greater")}},
	"Min":                {{12, defineExtreme("Less")}},
	"Pad":                {{18, definePad}},
	"ReduceL1":           {{18, defineReduce}},
	"ReduceL2":           {{18, defineReduce}},
	"ReduceLogSum":       {{18, defineReduce}},
	"ReduceLogSumExp":    {{18, defineReduce}},
	"ReduceMax":          {{18, defineReduce}},
	"ReduceMean":         {{18, defineReduce}},
	"ReduceMin":          {{18, defineReduce}},
	"ReduceProd":         {{18, defineReduce}},
	"ReduceSum":          {{13, defineReduce}},
	"ReduceSumSquare":    {{18, defineReduce}},
}

// scalar is a constant of like's own type without dimensions.
func (e *editor) scalar(x float64, like *onnx.Value) *onnx.Value {
	if like.Type == onnx.Float16 || like.Type == onnx.BFloat16 {
		if t, err := onnx.DoubleTensor([]float64{x}).As(like.Type); err == nil {
			return e.Const(t)
		}
	}
	return e.Scalar(x, like)
}

// defineLayerNorm spells the normalisation as exporters did before there was
// an operator, in the precision that the operator computes in.
func defineLayerNorm(l *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x := n.Inputs[0]
	axis, rank := n.Int("axis", -1), int64(len(x.Shape))
	if axis >= 0 && x.Shape == nil {
		return nil, l.needs(n, 17, "an axis counted from the front in a tensor of unknown rank")
	}
	var axes []int64
	for a := (axis + rank) % max(rank, 1); axis >= 0 && a < rank; a++ {
		axes = append(axes, a-rank)
	}
	for a := axis; axis < 0 && a < 0; a++ {
		axes = append(axes, a)
	}
	stash := onnx.DType(n.Int("stash_type", int64(onnx.Float)))
	if x.Type == onnx.Double {
		stash = onnx.Double
	}
	y := e.Cast(x, stash)
	mean := e.Reduce("ReduceMean", y, true, axes...)
	centred := e.Sub(y, mean)
	variance := e.Reduce("ReduceMean", e.Op("Pow", nil, centred, e.scalar(2, y)), true, axes...)
	root := e.Op("Sqrt", nil, e.Add(variance, e.scalar(float64(n.Float("epsilon", 1e-5)), y)))
	out := e.Mul(e.Cast(e.Div(centred, root), x.Type), n.Inputs[1])
	if bias := n.In(2); bias != nil {
		out = e.Add(out, bias)
	}
	all := []*onnx.Value{out, nil, nil}[:len(n.Outputs)]
	if n.Out(1) != nil {
		all[1] = mean
	}
	if n.Out(2) != nil {
		all[2] = e.Op("Reciprocal", nil, root)
	}
	return all, nil
}

func defineGelu(_ *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x := n.Inputs[0]
	one, half := e.scalar(1, x), e.scalar(0.5, x)
	if n.Str("approximate", "none") == "tanh" {
		cube := e.Mul(e.Op("Pow", nil, x, e.scalar(3, x)), e.scalar(0.044715, x))
		inner := e.Mul(e.Add(x, cube), e.scalar(math.Sqrt(2/math.Pi), x))
		return []*onnx.Value{e.Mul(e.Mul(x, half), e.Add(e.Op("Tanh", nil, inner), one))}, nil
	}
	erf := e.Op("Erf", nil, e.Div(x, e.scalar(math.Sqrt2, x)))
	return []*onnx.Value{e.Mul(e.Mul(x, e.Add(erf, one)), half)}, nil
}

func defineMish(_ *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x := n.Inputs[0]
	return []*onnx.Value{e.Mul(x, e.Op("Tanh", nil, e.Op("Softplus", nil, x)))}, nil
}

func defineHardSwish(_ *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	gate := []onnx.Attr{{Name: "alpha", Value: float32(1.0 / 6)}, {Name: "beta", Value: float32(0.5)}}
	return []*onnx.Value{e.Mul(n.Inputs[0], e.Op("HardSigmoid", gate, n.Inputs[0]))}, nil
}

func defineOrEqual(op string) func(*lowering, *editor, *onnx.Node) ([]*onnx.Value, error) {
	return func(_ *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		a, b := n.Inputs[0], n.Inputs[1]
		return []*onnx.Value{e.Op("Or", nil, e.Op(op, nil, a, b), e.Op("Equal", nil, a, b))}, nil
	}
}

func defineCastLike(l *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	to := n.Inputs[1].Type
	if to == onnx.Undefined {
		return nil, l.needs(n, 15, "CastLike to a type that isn't known")
	}
	if n.Inputs[0].Type == to {
		return []*onnx.Value{e.Op("Identity", nil, n.Inputs[0])}, nil
	}
	return []*onnx.Value{e.Cast(n.Inputs[0], to)}, nil
}

// defineTrilu masks with a constant triangle.
func defineTrilu(l *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x := n.Inputs[0]
	rank := len(x.Shape)
	k, known := []int64{0}, true
	if n.In(1) != nil {
		k, known = constInts(n.In(1))
	}
	if !known || len(k) != 1 || rank < 2 || !x.Shape[rank-2:].Known() || x.Shape[rank-2:].Count().N > foldLimit {
		return nil, l.needs(n, 14, "a triangle of a size that isn't known")
	}
	rows, columns := x.Shape[rank-2].N, x.Shape[rank-1].N
	kept := make([]bool, rows*columns)
	for i := range rows {
		for j := range columns {
			above := j-i >= k[0]
			if n.Int("upper", 1) == 0 {
				above = j-i <= k[0]
			}
			kept[i*columns+j] = above
		}
	}
	zero, err := onnx.DoubleTensor([]float64{0}).As(typeOr(x.Type, onnx.Float))
	if err != nil {
		return nil, l.needs(n, 14, "a triangle of "+x.Type.String())
	}
	return []*onnx.Value{e.Where(e.Const(onnx.BoolTensor(kept, rows, columns)), x, e.Const(zero))}, nil
}

// defineShape cuts the shape where start and end did.
func defineShape(_ *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	start, end := n.Int("start", 0), n.Int("end", onnx.End)
	if start == 0 && end == onnx.End {
		n.DropAttr("start")
		return nil, nil
	}
	return []*onnx.Value{e.Slice(e.Op("Shape", nil, n.Inputs[0]), 0, start, end)}, nil
}

// defineSoftmax: an older softmax went over everything from its axis on, so the
// axis is brought to the end.
func defineSoftmax(l *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	x := n.Inputs[0]
	axis, rank := n.Int("axis", -1), int64(len(x.Shape))
	if axis == -1 || x.Shape != nil && axis == rank-1 {
		n.SetAttr("axis", int64(-1))
		return nil, nil
	}
	if x.Shape == nil {
		return nil, l.needs(n, 13, n.Op+" along an axis of a tensor of unknown rank")
	}
	axis = (axis + rank) % rank
	perm := make([]int64, rank)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[axis], perm[rank-1] = perm[rank-1], perm[axis]
	last := e.Op(n.Op, []onnx.Attr{{Name: "axis", Value: int64(-1)}}, e.Transpose(x, perm...))
	return []*onnx.Value{e.Op("Transpose", []onnx.Attr{{Name: "perm", Value: perm}}, last)}, nil
}

// definePow gives the exponent the type of the base.
func definePow(l *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	base := n.Inputs[0].Type
	if !base.IsFloat() {
		return nil, l.needs(n, 12, "Pow of "+base.String())
	}
	n.Inputs[1] = e.Cast(n.Inputs[1], base)
	return nil, nil
}

// defineExtreme picks integers one by one.
func defineExtreme(op string) func(*lowering, *editor, *onnx.Node) ([]*onnx.Value, error) {
	return func(_ *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
		best := n.Inputs[0]
		if !integral(best.Type) || len(n.Inputs) < 2 {
			return nil, nil
		}
		for _, v := range n.Inputs[1:] {
			best = e.Where(e.Op(op, nil, best, v), best, v)
		}
		return []*onnx.Value{best}, nil
	}
}

// definePad states the padding of all axes.
func definePad(l *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	if n.In(3) == nil {
		return nil, nil
	}
	axes, ok := constInts(n.In(3))
	pads, known := constInts(n.In(1))
	rank := int64(len(n.Inputs[0].Shape))
	if !ok || !known || rank == 0 || len(pads) != 2*len(axes) {
		return nil, l.needs(n, 18, "padding of axes that aren't constant")
	}
	all := make([]int64, 2*rank)
	for i, a := range axes {
		if a < -rank || a >= rank {
			return nil, l.refuse(n, "its axis %d is out of range for %v; the file is damaged", a, n.Inputs[0])
		}
		a = (a + rank) % rank
		all[a], all[rank+a] = pads[i], pads[len(axes)+i]
	}
	n.Inputs[1] = e.Ints(all...)
	n.Inputs = slices.Clone(n.Inputs[:3])
	return nil, nil
}

// defineReduce: without axes older reductions always took all.
func defineReduce(_ *lowering, e *editor, n *onnx.Node) ([]*onnx.Value, error) {
	axes, known := constInts(n.In(1))
	if n.Int("noop_with_empty_axes", 0) != 0 && (n.In(1) == nil || known && len(axes) == 0) {
		return []*onnx.Value{e.Op("Identity", nil, n.Inputs[0])}, nil
	}
	return nil, nil
}

package gradients

import "github.com/relevit/relevit/onnx"

// reduction describes a node that reduces its first input.
type reduction struct {
	axes []int64     // reduced dimensions, not negative
	dy   *onnx.Value // cotangent with the reduced dimensions kept as 1
	y    *onnx.Value // result, likewise
}

// reduced reads the reduction's axes and brings dy and y to x's rank. ok is
// false, and the call ended, where the axes aren't known.
func reduced(c *call) (r reduction, ok bool) {
	x := c.x(0)
	if x.Shape == nil {
		c.unsupported("an input of unknown rank")
		return r, false
	}
	switch axes := c.x(1); {
	case axes == nil && c.n.Int("noop_with_empty_axes", 0) != 0:
		r.axes = []int64{}
	case axes == nil:
		for i := range x.Shape {
			r.axes = append(r.axes, int64(i))
		}
	case axes.Data == nil:
		c.unsupported("axes computed at run time")
		return r, false
	default:
		list, err := axes.Data.Int64s()
		if err != nil {
			c.b.Fail("axes %s: %w", axes.Name, err)
			return r, false
		}
		for _, a := range list {
			if a < 0 {
				a += int64(len(x.Shape))
			}
			r.axes = append(r.axes, a)
		}
	}
	kept := x.Shape.Clone()
	for _, a := range r.axes {
		kept[a] = onnx.D(1)
	}
	r.dy, r.y = reshapeLike(c.b, c.dy[0], kept, nil), reshapeLike(c.b, c.y(0), kept, nil)
	if c.n.Int("keepdims", 1) != 0 {
		r.dy, r.y = c.dy[0], c.y(0)
	}
	return r, true
}

func reduceSum(c *call) {
	if r, ok := reduced(c); ok {
		c.give(0, expandLike(c.b, r.dy, c.x(0)))
	}
}

func reduceMean(c *call) {
	r, ok := reduced(c)
	if !ok {
		return
	}
	b, x := c.b, c.x(0)
	n := onnx.D(1)
	for _, a := range r.axes {
		n = n.Times(x.Shape[a])
	}
	if n.Known() {
		c.give(0, expandLike(b, b.Scale(r.dy, 1/float64(n.N)), x))
		return
	}
	count := b.Op("Div", nil, b.Op("Size", nil, x), b.Op("Size", nil, c.y(0)))
	c.give(0, expandLike(b, b.Div(r.dy, b.Cast(count, x.Type)), x))
}

func reduceSumSquare(c *call) {
	if r, ok := reduced(c); ok {
		c.give(0, c.b.Mul(r.dy, c.b.Scale(c.x(0), 2)))
	}
}

func reduceL1(c *call) {
	if r, ok := reduced(c); ok {
		c.give(0, c.b.Mul(r.dy, c.b.Op("Sign", nil, c.x(0))))
	}
}

// reduceL2 gives no gradient at the origin, as torch.norm.
func reduceL2(c *call) {
	r, ok := reduced(c)
	if !ok {
		return
	}
	b := c.b
	zero := b.Op("Equal", nil, r.y, b.Scalar(0, r.y))
	slope := b.Div(c.x(0), b.Where(zero, b.Scalar(1, r.y), r.y))
	c.give(0, b.Mul(r.dy, slope))
}

func reduceLogSumExp(c *call) {
	if r, ok := reduced(c); ok {
		c.give(0, c.b.Mul(r.dy, c.b.Op("Exp", nil, c.b.Sub(c.x(0), r.y))))
	}
}

// reduceExtremum follows torch: along one axis the first of tied elements takes
// the whole gradient (max(dim)), over several axes they share it (amax).
func reduceExtremum(c *call) {
	r, ok := reduced(c)
	if !ok {
		return
	}
	b, x := c.b, c.x(0)
	if len(r.axes) == 1 && x.Shape[r.axes[0]].Known() {
		axis := r.axes[0]
		op := map[string]string{"ReduceMax": "ArgMax", "ReduceMin": "ArgMin"}[c.n.Op]
		at := b.Op(op, []onnx.Attr{{Name: "axis", Value: axis}, {Name: "keepdims", Value: int64(1)}}, x)
		c.give(0, keep(b, b.Op("Equal", nil, at, positions(b, x, axis)), r.dy))
		return
	}
	hit := b.Cast(b.Op("Equal", nil, x, r.y), x.Type)
	ties := b.Reduce("ReduceSum", hit, true, r.axes...)
	c.give(0, b.Mul(hit, b.Div(r.dy, ties)))
}

// positions is 0, 1, 2, ... along an axis of x, of size 1 along the others.
func positions(b *onnx.Builder, x *onnx.Value, axis int64) *onnx.Value {
	dims := make([]int64, len(x.Shape))
	for i := range dims {
		dims[i] = 1
	}
	dims[axis] = x.Shape[axis].N
	at := make([]int64, dims[axis])
	for i := range at {
		at[i] = int64(i)
	}
	return b.Const(onnx.Int64Tensor(at, dims...))
}

func globalAveragePool(c *call) {
	x := c.x(0)
	if len(x.Shape) < 3 || !x.Shape[2:].Known() {
		c.unsupported("an input of unknown size")
		return
	}
	c.give(0, expandLike(c.b, c.b.Scale(c.dy[0], 1/float64(x.Shape[2:].Count().N)), x))
}

func cumSum(c *call) {
	attrs := []onnx.Attr{{Name: "reverse", Value: 1 - c.n.Int("reverse", 0)}, {Name: "exclusive", Value: c.n.Int("exclusive", 0)}}
	c.give(0, c.b.Op("CumSum", attrs, c.dy[0], c.x(1)))
}

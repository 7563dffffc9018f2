package gradients

import (
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// reshapeLike gives v the shape s. Where two or more sizes of s aren't numbers,
// they are read off like at run time, which must have that shape.
func reshapeLike(b *onnx.Builder, v *onnx.Value, s onnx.Shape, like *onnx.Value) *onnx.Value {
	open := 0
	for _, d := range s {
		if !d.Known() {
			open++
		}
	}
	if open < 2 || like == nil {
		return b.Reshape(v, s)
	}
	y := b.Op("Reshape", nil, v, b.Op("Shape", nil, like))
	y.Shape = s.Clone()
	return y
}

// expandLike broadcasts v to x's shape.
func expandLike(b *onnx.Builder, v, x *onnx.Value) *onnx.Value {
	if v.Shape.Same(x.Shape) {
		return v
	}
	if x.Shape.Known() {
		return b.Expand(v, x.Shape)
	}
	for i, d := range x.Shape {
		j := i - len(x.Shape) + len(v.Shape)
		if !d.Known() && (j < 0 || !v.Shape[j].Same(d)) {
			y := b.Op("Expand", nil, v, b.Op("Shape", nil, x))
			y.Shape = x.Shape.Clone()
			return y
		}
	}
	y := b.Expand(v, x.Shape)
	y.Shape = x.Shape.Clone()
	return y
}

// zerosLike is a zero tensor of v's shape.
func zerosLike(b *onnx.Builder, v *onnx.Value) *onnx.Value {
	zero := onnx.FloatTensor([]float32{0}, 1)
	if v.Type == onnx.Double {
		zero = onnx.DoubleTensor([]float64{0}, 1)
	}
	shape := b.Op("Shape", nil, v)
	if v.Shape.Known() {
		shape = b.Ints(v.Shape.Ints()...)
	}
	y := b.Op("ConstantOfShape", []onnx.Attr{{Name: "value", Value: zero}}, shape)
	y.Shape = v.Shape.Clone()
	return y
}

func reshaped(c *call) { c.give(0, reshapeLike(c.b, c.dy[0], c.x(0).Shape, c.x(0))) }

func transpose(c *call) {
	perm := c.n.Ints("perm")
	if perm == nil {
		for i := len(c.x(0).Shape) - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
	}
	inverse := make([]int64, len(perm))
	for i, p := range perm {
		inverse[p] = int64(i)
	}
	c.give(0, c.b.Transpose(c.dy[0], inverse...))
}

func expand(c *call) { c.give(0, c.dy[0]) }

// tile sums over the copies: (r d) is reshaped to (r, d) for every dimension.
func tile(c *call) {
	x, repeats := c.x(0), c.x(1)
	if repeats.Data == nil || x.Shape == nil {
		c.unsupported("repeats computed at run time")
		return
	}
	times, err := repeats.Data.Int64s()
	if err != nil {
		c.b.Fail("repeats %s: %w", repeats.Name, err)
		return
	}
	var apart onnx.Shape
	var axes []int64
	for i, d := range x.Shape {
		if times[i] != 1 {
			axes = append(axes, int64(len(apart)))
			apart = append(apart, onnx.D(times[i]))
		}
		apart = append(apart, d)
	}
	if len(axes) == 0 {
		c.give(0, c.dy[0])
		return
	}
	c.give(0, c.b.Sum(c.b.Reshape(c.dy[0], apart), axes...))
}

// axisOf reads an axis attribute of a node whose rank is that of v.
func axisOf(n *onnx.Node, name string, def int64, v *onnx.Value) int64 {
	a := n.Int(name, def)
	if a < 0 {
		a += int64(len(v.Shape))
	}
	return a
}

// concat splits the cotangent, or cuts out of it what is needed.
func concat(c *call) {
	axis := axisOf(c.n, "axis", 0, c.y(0))
	var sizes []int64
	all := true
	for i, x := range c.n.Inputs {
		if x.Shape == nil || !x.Shape[axis].Known() {
			c.unsupported("an input of unknown size along axis %d", axis)
			return
		}
		sizes = append(sizes, x.Shape[axis].N)
		all = all && c.needs(i) && sizes[i] > 0
	}
	if all {
		for i, part := range c.b.Ops("Split", len(sizes), []onnx.Attr{{Name: "axis", Value: axis}}, c.dy[0], c.b.Ints(sizes...)) {
			c.give(i, part)
		}
		return
	}
	at := int64(0)
	for i, size := range sizes {
		if c.needs(i) && size > 0 {
			c.give(i, c.b.Slice(c.dy[0], axis, at, at+size))
		}
		at += size
	}
}

func split(c *call) {
	parts := make([]*onnx.Value, len(c.dy))
	for i, d := range c.dy {
		if parts[i] = d; d == nil {
			parts[i] = zerosLike(c.b, c.y(i))
		}
	}
	c.give(0, c.b.Concat(axisOf(c.n, "axis", 0, c.x(0)), parts...))
}

// constants reads integer inputs that must be known; a left-out one is nil.
func constants(c *call, inputs ...int) (lists [][]int64, ok bool) {
	for _, i := range inputs {
		v := c.x(i)
		if v == nil {
			lists = append(lists, nil)
			continue
		}
		if v.Data == nil {
			c.unsupported("input %d computed at run time", i+1)
			return nil, false
		}
		list, err := v.Data.Int64s()
		if err != nil {
			c.b.Fail("input %s: %w", v.Name, err)
			return nil, false
		}
		lists = append(lists, list)
	}
	return lists, true
}

// slice pads the gradient with zeros where elements were left out.
func slice(c *call) {
	in, ok := constants(c, 1, 2, 3, 4)
	if !ok {
		return
	}
	b, x := c.b, c.x(0)
	starts, ends, axes, steps := in[0], in[1], in[2], in[3]
	var before, after, along []int64
	d := c.dy[0]
	for i := range starts {
		axis, step := int64(i), int64(1)
		if axes != nil {
			axis = (axes[i] + int64(len(x.Shape))) % int64(len(x.Shape))
		}
		if steps != nil {
			step = steps[i]
		}
		if starts[i] == 0 && step == 1 && ends[i] >= math.MaxInt32 {
			continue
		}
		if !x.Shape[axis].Known() {
			c.unsupported("axis %d of unknown size", axis)
			return
		}
		first, size := taken(starts[i], ends[i], step, x.Shape[axis].N)
		if size == 0 {
			c.give(0, zerosLike(b, x))
			return
		}
		if step != 1 {
			d = scatterAlong(b, d, axis, first, step, size, x.Shape[axis].N)
			continue
		}
		before, after, along = append(before, first), append(after, x.Shape[axis].N-first-size), append(along, axis)
	}
	c.give(0, padded(b, d, along, before, after))
}

// taken says which elements of n a slice takes: the first, and how many.
func taken(start, end, step, n int64) (first, size int64) {
	clamp := func(v, low, high int64) int64 { return max(low, min(high, v)) }
	if start < 0 {
		start += n
	}
	if end < 0 {
		end = max(end+n, -1)
	}
	if step > 0 {
		first, end = clamp(start, 0, n), clamp(end, 0, n)
		return first, max(0, (end-first+step-1)/step)
	}
	first, end = clamp(start, 0, n-1), clamp(end, -1, n-1)
	return first, max(0, (first-end-step-1)/-step)
}

// scatterAlong puts d's size elements along an axis at first, first+step, ...
// of n elements, the others zero: a product with a constant 0-1 matrix.
func scatterAlong(b *onnx.Builder, d *onnx.Value, axis, first, step, size, n int64) *onnx.Value {
	put := make([]float32, size*n)
	for i := range size {
		put[i*n+first+i*step] = 1
	}
	return along(b, d, axis, onnx.FloatTensor(put, size, n))
}

// along multiplies d's elements along an axis by a constant matrix: (from) by
// (from, to).
func along(b *onnx.Builder, d *onnx.Value, axis int64, m *onnx.Tensor) *onnx.Value {
	last := int64(len(d.Shape)) - 1
	perm := make([]int64, last+1)
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[axis], perm[last] = last, axis
	return b.Transpose(b.MatMul(b.Transpose(d, perm...), b.Cast(b.Const(m), d.Type)), perm...)
}

// resize is linear in its input: y = M x along every axis that it changes.
func resize(c *call) {
	if c.x(0).Shape == nil {
		c.unsupported("an input %v of unknown rank", c.x(0))
		return
	}
	matrices, err := ref.Interpolation(c.n)
	if err != nil {
		c.unsupported("what is resized so: %v", err)
		return
	}
	d := c.dy[0]
	for axis := range c.x(0).Shape {
		if m := matrices[axis]; m != nil {
			d = along(c.b, d, int64(axis), m)
		}
	}
	c.give(0, d)
}

// padded surrounds d with zeros along the given axes. The padding of all axes
// is stated: ONNX Runtime's transpose optimizer, which moves transpositions past
// a Pad, doesn't look at its input axes.
func padded(b *onnx.Builder, d *onnx.Value, axes, before, after []int64) *onnx.Value {
	rank := int64(len(d.Shape))
	pads := make([]int64, 2*rank)
	for i, a := range axes {
		pads[a], pads[rank+a] = before[i], after[i]
	}
	if !slices.ContainsFunc(pads, func(n int64) bool { return n != 0 }) {
		return d
	}
	return b.Op("Pad", nil, d, b.Ints(pads...))
}

func pad(c *call) {
	if mode := c.n.Str("mode", "constant"); mode != "constant" {
		c.unsupported("mode %s", mode)
		return
	}
	in, ok := constants(c, 1, 3)
	if !ok {
		return
	}
	pads, axes := in[0], in[1]
	if axes == nil {
		for i := range c.x(0).Shape {
			axes = append(axes, int64(i))
		}
	}
	b, d := c.b, c.dy[0]
	for i, a := range axes {
		before, after := pads[i], pads[len(axes)+i]
		if before < 0 || after < 0 {
			c.unsupported("negative padding")
			return
		}
		if before == 0 && after == 0 {
			continue
		}
		end := int64(onnx.End)
		if after > 0 {
			end = -after
		}
		d = b.Slice(d, (a+int64(len(c.x(0).Shape)))%int64(len(c.x(0).Shape)), before, end)
	}
	c.give(0, d)
}

func trilu(c *call) { c.give(0, c.b.Op("Trilu", c.n.Attrs, c.dy[0], c.x(1))) }

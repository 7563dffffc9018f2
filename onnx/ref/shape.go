package ref

import (
	"errors"
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// reshape fits the shape given by input 1: -1 is what remains, 0 the size that
// was there (with allowzero, zero).
func reshape(c *call) ([]*Array, error) {
	x := c.in[0]
	to, err := c.vector(1)
	if err != nil {
		return nil, err
	}
	shape, open, n := make([]int, len(to)), -1, 1
	for i, d := range to {
		switch {
		case d == -1 && open < 0:
			open = i
			continue
		case d < 0 || d > maxElements:
			return nil, fmt.Errorf("%v is no shape", to)
		case d == 0 && c.node.Int("allowzero", 0) == 0:
			if i >= len(x.Shape) {
				return nil, fmt.Errorf("shape %v copies dimension %d, which %v doesn't have", to, i, x)
			}
			d = int64(x.Shape[i])
		}
		shape[i] = int(d)
		if n > 0 && int(d) > maxElements/n {
			return nil, fmt.Errorf("shape %v is too large", to)
		}
		n *= int(d)
	}
	if open >= 0 {
		if n == 0 || x.Count()%n != 0 {
			return nil, fmt.Errorf("%d elements don't fit shape %v", x.Count(), to)
		}
		shape[open] = x.Count() / n
		n = x.Count()
	}
	if n != x.Count() {
		return nil, fmt.Errorf("%d elements don't fit shape %v", x.Count(), to)
	}
	return one(x.reshaped(shape...), nil)
}

func transpose(c *call) ([]*Array, error) {
	rank := len(c.in[0].Shape)
	perm := make([]int, rank)
	for i := range perm {
		perm[i] = rank - 1 - i
	}
	if list := c.node.Ints("perm"); c.node.Attr("perm") != nil {
		var err error
		if perm, err = axesOf(list, rank); err != nil {
			return nil, err
		}
		if len(perm) != rank {
			return nil, fmt.Errorf("perm %v doesn't permute %d dimensions", list, rank)
		}
	}
	return one(permute(c.in[0], perm))
}

func flatten(c *call) ([]*Array, error) {
	s := c.in[0].Shape
	axis := c.node.Int("axis", 1)
	if axis < 0 {
		axis += int64(len(s))
	}
	if axis < 0 || axis > int64(len(s)) {
		return nil, fmt.Errorf("axis %d is outside of %d dimensions", c.node.Int("axis", 1), len(s))
	}
	return one(c.in[0].reshaped(product(s[:axis]), product(s[axis:])), nil)
}

// squeeze removes the given dimensions, or all, of size 1.
func squeeze(c *call) ([]*Array, error) {
	x := c.in[0]
	list, err := c.vector(1)
	if err != nil {
		return nil, err
	}
	axes, err := axesOf(list, len(x.Shape))
	if err != nil {
		return nil, err
	}
	if c.in[1] == nil {
		for i, d := range x.Shape {
			if d == 1 {
				axes = append(axes, i)
			}
		}
	}
	for _, a := range axes {
		if x.Shape[a] != 1 {
			return nil, fmt.Errorf("dimension %d of %v isn't 1", a, x)
		}
	}
	return one(x.reshaped(reducedShape(x.Shape, axes, false)...), nil)
}

// unsqueeze inserts dimensions of size 1, at axes of the result.
func unsqueeze(c *call) ([]*Array, error) {
	x := c.in[0]
	list, err := c.vector(1)
	if err != nil {
		return nil, err
	}
	rank := len(x.Shape) + len(list)
	axes, err := axesOf(list, rank)
	if err != nil {
		return nil, err
	}
	shape, rest := make([]int, rank), x.Shape
	for i := range shape {
		if slices.Contains(axes, i) {
			shape[i] = 1
		} else {
			shape[i], rest = rest[0], rest[1:]
		}
	}
	return one(x.reshaped(shape...), nil)
}

func concat(c *call) ([]*Array, error) {
	axis, err := c.axis(0, len(c.in[0].Shape))
	if err != nil {
		return nil, err
	}
	return one(join(axis, c.in...))
}

// join concatenates along an axis.
func join(axis int, xs ...*Array) (*Array, error) {
	shape := slices.Clone(xs[0].Shape)
	if axis >= len(shape) {
		return nil, fmt.Errorf("%v has no axis %d to concatenate along", xs[0], axis)
	}
	shape[axis] = 0
	for _, x := range xs {
		if len(x.Shape) != len(shape) {
			return nil, fmt.Errorf("can't concatenate %v along axis %d: they differ in rank", xs, axis)
		}
		for i, d := range x.Shape {
			if i != axis && d != xs[0].Shape[i] {
				return nil, fmt.Errorf("can't concatenate %v along axis %d: they differ in dimension %d", xs, axis, i)
			}
		}
		shape[axis] += x.Shape[axis]
	}
	y, err := alloc(xs[0].Type, shape)
	if err != nil {
		return nil, err
	}
	width, at := product(shape[axis:]), 0
	for _, x := range xs {
		n := product(x.Shape[axis:])
		for i := range product(shape[:axis]) {
			copyRun(y, i*width+at, x, i*n, n)
		}
		at += n
	}
	return y, nil
}

// split cuts along an axis: into the given lengths, or into equal ones of
// which the last may be shorter.
func split(c *call) ([]*Array, error) {
	x := c.in[0]
	axis, err := c.axis(0, len(x.Shape))
	if err != nil {
		return nil, err
	}
	lengths, err := c.vector(1)
	if err != nil {
		return nil, err
	}
	size := int64(x.Shape[axis])
	if lengths == nil {
		parts := c.node.Int("num_outputs", int64(len(c.node.Outputs)))
		if parts < 1 || parts > max(size, 1) || int(parts) != len(c.node.Outputs) {
			return nil, fmt.Errorf("dimension %d of %v can't be cut into %d parts for %d outputs", axis, x, parts, len(c.node.Outputs))
		}
		each := (size + parts - 1) / parts
		for left := size; parts > 0; parts-- {
			lengths = append(lengths, min(each, left))
			left -= min(each, left)
		}
	}
	out, at := make([]*Array, len(lengths)), int64(0)
	for i, n := range lengths {
		if n < 0 || n > size-at {
			return nil, fmt.Errorf("lengths %v don't fit dimension %d of %v", lengths, axis, x)
		}
		shape := slices.Clone(x.Shape)
		shape[axis] = int(n)
		steps := strides(x.Shape)
		if out[i], err = view(x, shape, steps, int(at)*steps[axis]); err != nil {
			return nil, err
		}
		at += n
	}
	if at != size {
		return nil, fmt.Errorf("lengths %v don't fit dimension %d of %v", lengths, axis, x)
	}
	return out, nil
}

// slice takes every step-th element of [start, end), both clamped to the
// dimension; a negative step walks backwards.
func slice(c *call) ([]*Array, error) {
	x := c.in[0]
	rank := len(x.Shape)
	var lists [5][]int64
	for i := 1; i < 5; i++ {
		var err error
		if lists[i], err = c.vector(i); err != nil {
			return nil, err
		}
	}
	starts, ends, axes, by := lists[1], lists[2], lists[3], lists[4]
	if c.in[3] == nil {
		for i := range starts {
			axes = append(axes, int64(i))
		}
	}
	if c.in[4] == nil {
		by = slices.Repeat([]int64{1}, len(starts))
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || len(by) != len(starts) {
		return nil, fmt.Errorf("starts %v, ends %v, axes %v and steps %v differ in length", starts, ends, axes, by)
	}
	which, err := axesOf(axes, rank)
	if err != nil {
		return nil, err
	}
	shape, steps, offset := slices.Clone(x.Shape), strides(x.Shape), 0
	for i, a := range which {
		n := int64(x.Shape[a])
		if by[i] == 0 {
			return nil, errors.New("a step is zero")
		}
		start, count := sliceRange(starts[i], ends[i], by[i], n)
		shape[a] = int(count)
		if count > 0 {
			offset += int(start) * steps[a]
		}
		if count > 1 {
			steps[a] *= int(by[i])
		}
	}
	return one(view(x, shape, steps, offset))
}

// sliceRange clamps a range over n elements and counts what it holds.
func sliceRange(start, end, step, n int64) (first, count int64) {
	if start < 0 {
		start += n
	}
	if end < 0 {
		end += n
	}
	if step > 0 {
		start, end = min(max(start, 0), n), min(max(end, 0), n)
		if start >= end {
			return 0, 0
		}
		return start, (end-start-1)/step + 1
	}
	start, end = min(max(start, 0), n-1), min(max(end, -1), n-1)
	if start <= end {
		return 0, 0
	}
	return start, (end-start+1)/step + 1
}

// expandOp broadcasts in both directions.
func expandOp(c *call) ([]*Array, error) {
	list, err := c.vector(1)
	if err != nil {
		return nil, err
	}
	to, err := sizes(list)
	if err != nil {
		return nil, err
	}
	if to, err = broadcast(c.in[0].Shape, to); err != nil {
		return nil, err
	}
	return one(expand(c.in[0], to))
}

// sizes reads a list as a shape.
func sizes(list []int64) ([]int, error) {
	out := make([]int, len(list))
	for i, d := range list {
		if d > maxElements {
			return nil, fmt.Errorf("shape %v has more than %d elements", list, maxElements)
		}
		out[i] = int(d)
	}
	_, err := count(out)
	return out, err
}

func tile(c *call) ([]*Array, error) {
	x := c.in[0]
	list, err := c.vector(1)
	if err != nil {
		return nil, err
	}
	repeats, err := sizes(list)
	if err != nil {
		return nil, err
	}
	if len(repeats) != len(x.Shape) {
		return nil, fmt.Errorf("%d repeats for %v", len(repeats), x)
	}
	var shape, steps, merged []int
	for i, step := range strides(x.Shape) {
		shape = append(shape, repeats[i], x.Shape[i])
		steps = append(steps, 0, step)
		merged = append(merged, repeats[i]*x.Shape[i])
	}
	y, err := view(x, shape, steps, 0)
	if err != nil {
		return nil, err
	}
	return one(y.reshaped(merged...), nil)
}

// shapeOp gives the sizes of dimensions [start, end).
func shapeOp(c *call) ([]*Array, error) {
	s := c.in[0].Shape
	n := int64(len(s))
	start, end := c.node.Int("start", 0), c.node.Int("end", n)
	from, k := sliceRange(start, end, 1, n)
	out := make([]int64, 0, k)
	for _, d := range s[from : from+k] {
		out = append(out, int64(d))
	}
	return one(Ints(out, int(k)), nil)
}

func size(c *call) ([]*Array, error) {
	return one(Ints([]int64{int64(c.in[0].Count())}), nil)
}

func identity(c *call) ([]*Array, error) { return one(c.in[0], nil) }

// depthToSpace and spaceToDepth reshape, permute and reshape.
func depthToSpace(c *call) ([]*Array, error) {
	x, b := c.in[0], int(c.node.Int("blocksize", 0))
	if len(x.Shape) != 4 || b < 1 || b > maxElements || x.Shape[1]%(b*b) != 0 {
		return nil, fmt.Errorf("blocksize %d doesn't fit %v", b, x)
	}
	n, d, h, w := x.Shape[0], x.Shape[1]/(b*b), x.Shape[2], x.Shape[3]
	var y *Array
	var err error
	if c.node.Str("mode", "DCR") == "CRD" {
		y, err = permute(x.reshaped(n, d, b, b, h, w), []int{0, 1, 4, 2, 5, 3})
	} else {
		y, err = permute(x.reshaped(n, b, b, d, h, w), []int{0, 3, 4, 1, 5, 2})
	}
	if err != nil {
		return nil, err
	}
	return one(y.reshaped(n, d, h*b, w*b), nil)
}

func spaceToDepth(c *call) ([]*Array, error) {
	x, b := c.in[0], int(c.node.Int("blocksize", 0))
	if len(x.Shape) != 4 || b < 1 || x.Shape[2]%b != 0 || x.Shape[3]%b != 0 {
		return nil, fmt.Errorf("blocksize %d doesn't fit %v", b, x)
	}
	n, d, h, w := x.Shape[0], x.Shape[1], x.Shape[2]/b, x.Shape[3]/b
	y, err := permute(x.reshaped(n, d, h, b, w, b), []int{0, 3, 5, 1, 2, 4})
	if err != nil {
		return nil, err
	}
	return one(y.reshaped(n, d*b*b, h, w), nil)
}

// trilu keeps the triangle above, or with upper=0 below, diagonal k.
func trilu(c *call) ([]*Array, error) {
	x, k := c.in[0], int64(0)
	if len(x.Shape) < 2 {
		return nil, fmt.Errorf("%v is no matrix", x)
	}
	if c.in[1] != nil {
		var err error
		if k, err = c.scalar(1); err != nil {
			return nil, err
		}
	}
	y, err := alloc(x.Type, x.Shape)
	if err != nil {
		return nil, err
	}
	rows, cols := int64(x.Shape[len(x.Shape)-2]), int64(x.Shape[len(x.Shape)-1])
	k = min(max(k, -rows), cols)
	upper := c.node.Int("upper", 1) != 0
	for r := range int64(product(x.Shape[:len(x.Shape)-1])) {
		diagonal := min(max(r%rows+k, 0), cols) // the first column on or right of it
		from, to := int64(0), min(max(r%rows+k+1, 0), cols)
		if upper {
			from, to = diagonal, cols
		}
		copyRun(y, int(r*cols+from), x, int(r*cols+from), int(to-from))
	}
	return one(y, nil)
}

// eyeLike has ones on diagonal k of a matrix of the input's shape.
func eyeLike(c *call) ([]*Array, error) {
	x := c.in[0]
	if len(x.Shape) != 2 {
		return nil, fmt.Errorf("%v is no matrix", x)
	}
	y, err := alloc(onnx.Double, x.Shape)
	if err != nil {
		return nil, err
	}
	k := c.node.Int("k", 0)
	for r := range x.Shape[0] {
		if col := int64(r) + k; col >= 0 && col < int64(x.Shape[1]) {
			y.F[r*x.Shape[1]+int(col)] = 1
		}
	}
	return one(cast(y, onnx.DType(c.node.Int("dtype", int64(x.Type)))))
}

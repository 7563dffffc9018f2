package ref

import (
	"errors"
	"fmt"
	"slices"
)

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

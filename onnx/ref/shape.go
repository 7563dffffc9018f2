package ref

import (
	"fmt"
	"slices"
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

package ref

import (
	"fmt"
	"slices"
)

// combineRun puts n elements of src into dst by the node's reduction.
func (c *call) combineRun(dst *Array, d int, src *Array, s, n int) {
	how := c.node.Str("reduction", "none")
	if how == "none" {
		copyRun(dst, d, src, s, n)
		return
	}
	for i := range n {
		if kindOf(dst.Type) == floating {
			dst.F[d+i] = accumulate(how, dst.F[d+i], src.F[s+i])
		} else {
			dst.I[d+i] = wrap(dst.Type, accumulate(how, dst.I[d+i], src.I[s+i]))
		}
	}
}

func accumulate[T float64 | int64](how string, x, y T) T {
	switch how {
	case "add":
		return x + y
	case "mul":
		return x * y
	case "max":
		return max(x, y)
	}
	return min(x, y)
}

// scatterReduction checks the attribute of the scatter operators.
func (c *call) scatterReduction() error {
	how := c.node.Str("reduction", "none")
	if !slices.Contains([]string{"none", "add", "mul", "max", "min"}, how) {
		return fmt.Errorf("reduction %q is unknown", how)
	}
	if how != "none" && kindOf(c.in[0].Type) == boolean {
		return fmt.Errorf("reduction %q of booleans", how)
	}
	return nil
}

func scatterElements(c *call) ([]*Array, error) {
	x, index, updates := c.in[0], c.in[1], c.in[2]
	axis, err := c.axis(0, len(x.Shape))
	if err != nil {
		return nil, err
	}
	if err := c.scatterReduction(); err != nil {
		return nil, err
	}
	if !slices.Equal(index.Shape, updates.Shape) {
		return nil, fmt.Errorf("indices %v and updates %v differ in shape", index, updates)
	}
	y := x.clone()
	return one(y, elementwise(x, index, axis, func(at, to int) { c.combineRun(y, to, updates, at, 1) }))
}

func scatterND(c *call) ([]*Array, error) {
	x, index, updates := c.in[0], c.in[1], c.in[2]
	if err := c.scatterReduction(); err != nil {
		return nil, err
	}
	offsets, block, err := tuples(x, index, 0)
	if err != nil {
		return nil, err
	}
	want := slices.Concat(index.Shape[:len(index.Shape)-1], x.Shape[last(index.Shape):])
	if !slices.Equal(updates.Shape, want) {
		return nil, fmt.Errorf("updates are %v, expected shape %v", updates, want)
	}
	y := x.clone()
	for i, at := range offsets {
		c.combineRun(y, at, updates, i*block, block)
	}
	return one(y, nil)
}

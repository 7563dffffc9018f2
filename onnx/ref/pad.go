package ref

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// pad lengthens (or with negative pads cuts) both ends of dimensions.
func pad(c *call) ([]*Array, error) {
	x := c.in[0]
	pads, err := c.vector(1)
	if err != nil {
		return nil, err
	}
	list, err := c.vector(3)
	if err != nil {
		return nil, err
	}
	axes, err := axesOf(list, len(x.Shape))
	if err != nil {
		return nil, err
	}
	if c.in[3] == nil {
		for i := range x.Shape {
			axes = append(axes, i)
		}
	}
	if len(pads) != 2*len(axes) {
		return nil, fmt.Errorf("%d pads for %d dimensions", len(pads), len(axes))
	}
	mode := c.node.Str("mode", "constant")
	y := x
	inside := &Array{Type: onnx.Bool, Shape: x.Shape, B: slices.Repeat([]bool{true}, x.Count())}
	for i, a := range axes {
		index, err := padIndex(mode, pads[i], pads[i+len(axes)], x.Shape[a])
		if err != nil {
			return nil, err
		}
		if y, err = pick(y, a, index); err != nil {
			return nil, err
		}
		if inside, err = pick(inside, a, index); err != nil {
			return nil, err
		}
	}
	if value := c.in[2]; mode == "constant" && value != nil {
		if value.Count() != 1 {
			return nil, fmt.Errorf("value %v is no scalar", value)
		}
		return where(&call{c.node, []*Array{inside, y, value.reshaped()}})
	}
	return one(y, nil)
}

// padIndex lists where the elements of a padded dimension of n come from, -1
// for the constant.
func padIndex(mode string, before, after int64, n int) ([]int, error) {
	total := int64(n) + before + after
	if before < -maxElements || before > maxElements || total < 0 || total > maxElements {
		return nil, fmt.Errorf("pads %d and %d don't fit a dimension of %d", before, after, n)
	}
	if n == 0 && mode != "constant" && total > 0 {
		return nil, fmt.Errorf("mode %s has nothing to copy from an empty dimension", mode)
	}
	index := make([]int, total)
	for j := range index {
		i := j - int(before)
		switch {
		case i >= 0 && i < n:
		case mode == "constant":
			i = -1
		case mode == "edge":
			i = min(max(i, 0), n-1)
		case mode == "wrap":
			i = (i%n + n) % n
		case mode == "reflect":
			period := max(2*(n-1), 1)
			i = (i%period + period) % period
			i = min(i, period-i)
			if n == 1 {
				i = 0
			}
		default:
			return nil, fmt.Errorf("mode %q is unknown", mode)
		}
		index[j] = i
	}
	return index, nil
}

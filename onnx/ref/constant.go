package ref

import (
	"errors"
	"fmt"
	"math"

	"github.com/relevit/relevit/onnx"
)

func constant(c *call) ([]*Array, error) {
	for _, a := range c.node.Attrs {
		switch v := a.Value.(type) {
		case *onnx.Tensor:
			return one(FromTensor(v))
		case float32:
			return one(Floats([]float64{float64(v)}).As(onnx.Float), nil)
		case []float32:
			f := make([]float64, len(v))
			for i, x := range v {
				f[i] = float64(x)
			}
			return one(Floats(f, len(f)).As(onnx.Float), nil)
		case int64:
			return one(Ints([]int64{v}), nil)
		case []int64:
			return one(Ints(v, len(v)), nil)
		}
	}
	return nil, errors.New("there is no value that can be evaluated")
}

// constantOfShape fills a shape with one value, float32 zero unless given.
func constantOfShape(c *call) ([]*Array, error) {
	list, err := c.vector(0)
	if err != nil {
		return nil, err
	}
	shape, err := sizes(list)
	if err != nil {
		return nil, err
	}
	value := Floats([]float64{0}).As(onnx.Float)
	if t, ok := c.node.Attr("value").(*onnx.Tensor); ok {
		if value, err = FromTensor(t); err != nil {
			return nil, err
		}
	}
	if value.Count() != 1 {
		return nil, fmt.Errorf("value %v has other than one element", value)
	}
	return one(expand(value.reshaped(), shape))
}

// rangeOp counts from start towards limit, which it doesn't reach.
func rangeOp(c *call) ([]*Array, error) {
	for i, x := range c.in {
		if x.Count() != 1 {
			return nil, fmt.Errorf("input %d is %v, expected a scalar", i, x)
		}
	}
	t := c.in[0].Type
	if kindOf(t) == integer {
		start, limit, delta := c.in[0].I[0], c.in[1].I[0], c.in[2].I[0]
		if delta == 0 {
			return nil, errors.New("delta is zero")
		}
		n := math.Ceil((float64(limit) - float64(start)) / float64(delta))
		y, err := alloc(t, []int{int(min(max(n, 0), 2*maxElements))})
		if err != nil {
			return nil, err
		}
		for i := range y.I {
			y.I[i] = start + int64(i)*delta
		}
		return one(y, nil)
	}
	start, limit, delta := c.in[0].F[0], c.in[1].F[0], c.in[2].F[0]
	n := math.Ceil((limit - start) / delta)
	if math.IsNaN(n) {
		return nil, fmt.Errorf("from %v to %v by %v there is no range", start, limit, delta)
	}
	y, err := alloc(t, []int{int(min(max(n, 0), 2*maxElements))})
	if err != nil {
		return nil, err
	}
	for i := range y.F {
		y.F[i] = start + float64(i)*delta
	}
	return one(y, nil)
}

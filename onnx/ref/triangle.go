package ref

import (
	"fmt"

	"github.com/relevit/relevit/onnx"
)

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

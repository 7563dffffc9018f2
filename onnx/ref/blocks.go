package ref

import (
	"fmt"
)

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

package ref

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// topK takes the k largest or smallest along an axis in order, the earlier of
// equal ones first.
func topK(c *call) ([]*Array, error) {
	rank := len(c.in[0].Shape)
	axis, err := c.axis(-1, rank)
	if err != nil {
		return nil, err
	}
	k, err := c.scalar(1)
	if err != nil {
		return nil, err
	}
	x, n, err := grouped(c.in[0], []int{axis})
	if err != nil {
		return nil, err
	}
	if k < 0 || k > int64(n) {
		return nil, fmt.Errorf("dimension %d of %v doesn't have %d elements", axis, c.in[0], k)
	}
	shape := slices.Clone(x.Shape)
	shape[rank-1] = int(k)
	values, err := alloc(x.Type, shape)
	if err != nil {
		return nil, err
	}
	index, err := alloc(onnx.Int64, shape)
	if err != nil {
		return nil, err
	}
	direction := -1
	if c.node.Int("largest", 1) == 0 {
		direction = 1
	}
	for row := range product(shape[:rank-1]) {
		order := make([]int, n)
		for i := range order {
			order[i] = row*n + i
		}
		slices.SortStableFunc(order, func(i, j int) int {
			if kindOf(x.Type) == floating {
				return direction * compare(x.F[i], x.F[j])
			}
			return direction * compare(x.I[i], x.I[j])
		})
		for j, i := range order[:k] {
			copyRun(values, row*int(k)+j, x, i, 1)
			index.I[row*int(k)+j] = int64(i - row*n)
		}
	}
	_, back := toEnd(rank, []int{axis})
	if values, err = permute(values, back); err != nil {
		return nil, err
	}
	index, err = permute(index, back)
	return []*Array{values, index}, err
}

// compare orders numbers, NaN above all.
func compare[T float64 | int64](x, y T) int {
	switch {
	case x < y || x == x && y != y:
		return -1
	case x > y || x != x && y == y:
		return 1
	}
	return 0
}

// cumSum sums up along an axis.
func cumSum(c *call) ([]*Array, error) {
	a, err := c.scalar(1)
	if err != nil {
		return nil, err
	}
	axis, err := axisOf(a, len(c.in[0].Shape))
	if err != nil {
		return nil, err
	}
	x, n, err := grouped(c.in[0], []int{axis})
	if err != nil {
		return nil, err
	}
	y, err := alloc(x.Type, x.Shape)
	if err != nil {
		return nil, err
	}
	reverse, exclusive := c.node.Int("reverse", 0) != 0, c.node.Int("exclusive", 0) != 0
	for i := 0; i < x.Count(); i += n {
		if kindOf(x.Type) == floating {
			accumulateRow(y.F[i:i+n], x.F[i:i+n], reverse, exclusive)
		} else {
			accumulateRow(y.I[i:i+n], x.I[i:i+n], reverse, exclusive)
		}
	}
	for i, v := range y.I {
		y.I[i] = wrap(y.Type, v)
	}
	_, back := toEnd(len(x.Shape), []int{axis})
	return one(permute(y, back))
}

func accumulateRow[T float64 | int64](dst, src []T, reverse, exclusive bool) {
	var s T
	for i := range src {
		if reverse {
			i = len(src) - 1 - i
		}
		if !exclusive {
			s += src[i]
		}
		dst[i] = s
		if exclusive {
			s += src[i]
		}
	}
}

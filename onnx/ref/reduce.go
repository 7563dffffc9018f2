package ref

import (
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// reduction reads a Reduce node's axes. Without axes these are all, or with
// noop_with_empty_axes none.
func (c *call) reduction() (axes []int, keep bool, err error) {
	list, err := c.vector(1)
	if err != nil {
		return nil, false, err
	}
	rank := len(c.in[0].Shape)
	if axes, err = axesOf(list, rank); err != nil {
		return nil, false, err
	}
	if len(list) == 0 && c.node.Int("noop_with_empty_axes", 0) == 0 {
		for i := range rank {
			axes = append(axes, i)
		}
	}
	slices.Sort(axes)
	return axes, c.node.Int("keepdims", 1) != 0, nil
}

// reducedShape is shape with the axes at size 1, or without them.
func reducedShape(shape, axes []int, keep bool) []int {
	out := []int{}
	for i, d := range shape {
		switch {
		case !slices.Contains(axes, i):
			out = append(out, d)
		case keep:
			out = append(out, 1)
		}
	}
	return out
}

// grouped lays x out so that the elements along the axes are contiguous, and
// returns how many they are.
func grouped(x *Array, axes []int) (*Array, int, error) {
	perm, _ := toEnd(len(x.Shape), axes)
	y, err := permute(x, perm)
	if err != nil {
		return nil, 0, err
	}
	return y, product(y.Shape[len(x.Shape)-len(axes):]), nil
}

// reduce is an operator that makes one number of the elements along axes. A
// nil function says that the operator has no such type.
func reduce(f func([]float64) float64, g func([]int64) int64) kernel {
	return func(c *call) ([]*Array, error) {
		axes, keep, err := c.reduction()
		if err != nil {
			return nil, err
		}
		x, n, err := grouped(c.in[0], axes)
		if err != nil {
			return nil, err
		}
		y, err := alloc(x.Type, reducedShape(c.in[0].Shape, axes, keep))
		if err != nil {
			return nil, err
		}
		switch {
		case kindOf(x.Type) == floating:
			for i := range y.F {
				y.F[i] = f(x.F[i*n : i*n+n])
			}
		case g != nil:
			for i := range y.I {
				y.I[i] = wrap(y.Type, g(x.I[i*n:i*n+n]))
			}
		default:
			return nil, fmt.Errorf("%v, expected floats", x)
		}
		return one(y, nil)
	}
}

func sum[T float64 | int64](row []T) T {
	var s T
	for _, x := range row {
		s += x
	}
	return s
}

func average(row []float64) float64 { return sum(row) / float64(len(row)) }

func intAverage(row []int64) int64 {
	if len(row) == 0 {
		return 0
	}
	return sum(row) / int64(len(row))
}

func prod[T float64 | int64](row []T) T {
	p := T(1)
	for _, x := range row {
		p *= x
	}
	return p
}

func sumSquare[T float64 | int64](row []T) T {
	var s T
	for _, x := range row {
		s += x * x
	}
	return s
}

func sumAbs[T float64 | int64](row []T) T {
	var s T
	for _, x := range row {
		s += max(x, -x)
	}
	return s
}

func norm(row []float64) float64 { return math.Sqrt(sumSquare(row)) }

func maxOf(row []float64) float64 {
	m := math.Inf(-1)
	for _, x := range row {
		m = max(m, x)
	}
	return m
}

func minOf(row []float64) float64 {
	m := math.Inf(1)
	for _, x := range row {
		m = min(m, x)
	}
	return m
}

func intMaxOf(row []int64) int64 {
	m := int64(math.MinInt64)
	for _, x := range row {
		m = max(m, x)
	}
	return m
}

func intMinOf(row []int64) int64 {
	m := int64(math.MaxInt64)
	for _, x := range row {
		m = min(m, x)
	}
	return m
}

func logSum(row []float64) float64 { return math.Log(sum(row)) }

func logSumExp(row []float64) float64 {
	m := maxOf(row)
	if math.IsInf(m, 0) {
		return m
	}
	s := 0.0
	for _, x := range row {
		s += math.Exp(x - m)
	}
	return m + math.Log(s)
}

// argument is ArgMax, or with smaller ArgMin: the first index of the extreme
// element, with select_last_index the last.
func argument(smaller bool) kernel {
	return func(c *call) ([]*Array, error) {
		axis, err := c.axis(0, len(c.in[0].Shape))
		if err != nil {
			return nil, err
		}
		x, n, err := grouped(c.in[0], []int{axis})
		if err != nil {
			return nil, err
		}
		y, err := alloc(onnx.Int64, reducedShape(c.in[0].Shape, []int{axis}, c.node.Int("keepdims", 1) != 0))
		if err != nil {
			return nil, err
		}
		if n == 0 && len(y.I) > 0 {
			return nil, fmt.Errorf("axis %d of %v is empty", axis, c.in[0])
		}
		later := c.node.Int("select_last_index", 0) != 0
		for i := range y.I {
			if kindOf(x.Type) == floating {
				y.I[i] = extreme(x.F[i*n:i*n+n], smaller, later)
			} else {
				y.I[i] = extreme(x.I[i*n:i*n+n], smaller, later)
			}
		}
		return one(y, nil)
	}
}

func extreme[T float64 | int64](row []T, smaller, later bool) int64 {
	best := 0
	for i, x := range row {
		if smaller && x < row[best] || !smaller && x > row[best] || later && x == row[best] {
			best = i
		}
	}
	return int64(best)
}

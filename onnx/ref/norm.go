package ref

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// alongAxis is an operator that maps every line of floats along an axis.
func alongAxis(f func(dst, src []float64)) kernel {
	return func(c *call) ([]*Array, error) {
		rank := len(c.in[0].Shape)
		axis, err := c.axis(-1, rank)
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
		for i := 0; i < len(x.F); i += n {
			f(y.F[i:i+n], x.F[i:i+n])
		}
		_, back := toEnd(rank, []int{axis})
		return one(permute(y, back))
	}
}

func softmax(dst, src []float64) {
	m, s := maxOf(src), 0.0
	for i, x := range src {
		dst[i] = math.Exp(x - m)
		s += dst[i]
	}
	for i := range dst {
		dst[i] /= s
	}
}

func logSoftmax(dst, src []float64) {
	m, s := maxOf(src), 0.0
	for _, x := range src {
		s += math.Exp(x - m)
	}
	for i, x := range src {
		dst[i] = x - m - math.Log(s)
	}
}

// moments returns the mean and variance of a row.
func moments(row []float64) (mean, variance float64) {
	mean = average(row)
	for _, x := range row {
		variance += (x - mean) * (x - mean)
	}
	return mean, variance / float64(len(row))
}

// standardize maps every row of n elements to mean 0 and variance 1, and
// returns what it subtracted and multiplied by.
func standardize(x *Array, n int, epsilon float64) (y *Array, means, scales []float64, err error) {
	if y, err = alloc(x.Type, x.Shape); err != nil || n == 0 {
		return y, nil, nil, err
	}
	for i := 0; i < len(x.F); i += n {
		mean, variance := moments(x.F[i : i+n])
		scale := 1 / math.Sqrt(variance+epsilon)
		for j, v := range x.F[i : i+n] {
			y.F[i+j] = (v - mean) * scale
		}
		means, scales = append(means, mean), append(scales, scale)
	}
	return y, means, scales, nil
}

// affine is x*scale + bias, both broadcast to x; bias may be nil.
func affine(x, scale, bias *Array) (*Array, error) {
	y, err := combine(x, scale, mul)
	if err == nil && bias != nil {
		y, err = combine(y, bias, add)
	}
	if err == nil && !slices.Equal(x.Shape, y.Shape) {
		err = fmt.Errorf("scale %v or bias %v doesn't broadcast to %v", scale, bias, x)
	}
	return y, err
}

func (c *call) epsilon() float64 { return c.node.Decimal("epsilon", 1e-5) }

// layerNorm normalizes over the dimensions from axis on.
func layerNorm(c *call) ([]*Array, error) {
	x := c.in[0]
	axis, err := c.axis(-1, len(x.Shape))
	if err != nil {
		return nil, err
	}
	y, means, scales, err := standardize(x, product(x.Shape[axis:]), c.epsilon())
	if err != nil {
		return nil, err
	}
	if y, err = affine(y, c.in[1], c.in[2]); err != nil {
		return nil, err
	}
	stats := slices.Clone(x.Shape)
	for i := axis; i < len(stats); i++ {
		stats[i] = 1
	}
	if len(means) != product(stats) {
		return nil, fmt.Errorf("%v has nothing to normalize over", x)
	}
	t := onnx.DType(c.node.Int("stash_type", int64(onnx.Float)))
	if x.Type == onnx.Double {
		t = onnx.Double // as ONNX Runtime has it
	}
	return []*Array{y, {Type: t, Shape: stats, F: means}, {Type: t, Shape: stats, F: scales}}, nil
}

// rmsNorm divides by the root of the mean square over the dimensions from axis on.
func rmsNorm(c *call) ([]*Array, error) {
	x := c.in[0]
	axis, err := c.axis(-1, len(x.Shape))
	if err != nil {
		return nil, err
	}
	y, err := alloc(x.Type, x.Shape)
	if err != nil {
		return nil, err
	}
	n := product(x.Shape[axis:])
	for i := 0; i < len(x.F); i += n {
		row := x.F[i : i+n]
		rms := math.Sqrt(sumSquare(row)/float64(n) + c.epsilon())
		for j, v := range row {
			y.F[i+j] = v / rms
		}
	}
	return one(affine(y, c.in[1], nil))
}

// channels reshapes a vector over dimension 1 so that it broadcasts to x.
func channels(v, x *Array) (*Array, error) {
	if len(x.Shape) < 2 || len(v.Shape) != 1 || v.Shape[0] != x.Shape[1] {
		return nil, fmt.Errorf("%v doesn't have one element for each channel of %v", v, x)
	}
	return v.reshaped(append([]int{v.Shape[0]}, slices.Repeat([]int{1}, len(x.Shape)-2)...)...), nil
}

// channelAffine is x*scale + bias with vectors over the channels.
func channelAffine(x, scale, bias *Array) (*Array, error) {
	s, err := channels(scale, x)
	if err != nil {
		return nil, err
	}
	b, err := channels(bias, x)
	if err != nil {
		return nil, err
	}
	return affine(x, s, b)
}

// groupNorm normalizes each group of channels of each instance.
func groupNorm(c *call) ([]*Array, error) {
	x := c.in[0]
	if len(x.Shape) < 2 {
		return nil, fmt.Errorf("%v has no channels", x)
	}
	groups := x.Shape[1] // InstanceNormalization
	if c.node.Op == "GroupNormalization" {
		groups = int(c.node.Int("num_groups", 0))
	}
	if groups <= 0 || x.Shape[1]%groups != 0 {
		return nil, fmt.Errorf("%d channels don't make %d groups", x.Shape[1], groups)
	}
	y, _, _, err := standardize(x, product(x.Shape[1:])/groups, c.epsilon())
	if err != nil {
		return nil, err
	}
	return one(channelAffine(y, c.in[1], c.in[2]))
}

// batchNorm is the inference form: statistics are given.
func batchNorm(c *call) ([]*Array, error) {
	if c.node.Int("training_mode", 0) != 0 {
		return nil, errors.New("training_mode=1 isn't evaluated")
	}
	x := c.in[0]
	mean, err := channels(c.in[3], x)
	if err != nil {
		return nil, err
	}
	variance, err := channels(c.in[4], x)
	if err != nil {
		return nil, err
	}
	epsilon := c.epsilon()
	y, err := combine(x, mean, sub)
	if err != nil {
		return nil, err
	}
	y, err = combine(y, variance, func(v, s float64) float64 { return v / math.Sqrt(s+epsilon) })
	if err != nil {
		return nil, err
	}
	return one(channelAffine(y, c.in[1], c.in[2]))
}

// dropout is the inference form: the data, and a mask that keeps everything.
func dropout(c *call) ([]*Array, error) {
	if t := c.in[2]; t != nil && slices.Contains(t.B, true) {
		if r := c.in[1]; r == nil || len(r.F) != 1 || r.F[0] != 0 {
			return nil, errors.New("training mode draws random numbers and isn't evaluated")
		}
	}
	mask, err := alloc(onnx.Bool, c.in[0].Shape)
	if err != nil {
		return nil, err
	}
	for i := range mask.B {
		mask.B[i] = true
	}
	return []*Array{c.in[0], mask}, nil
}

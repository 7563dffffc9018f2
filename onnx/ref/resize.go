package ref

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// resizing is how Resize maps one dimension.
type resizing struct {
	in, out    int
	scale      float64 // out/in before rounding
	start, end float64 // region of interest, for tf_crop_and_resize
}

// same reports whether the dimension stays as it is.
func (r resizing) same() bool { return r.in == r.out && r.scale == 1 && r.start == 0 && r.end == 1 }

// resize interpolates along one dimension after the other.
func resize(c *call) ([]*Array, error) {
	y, outside := c.in[0], c.node.Decimal("extrapolation_value", 0)
	axes, plan, err := c.resizePlan()
	if err != nil {
		return nil, err
	}
	for i, r := range plan {
		if r.same() {
			continue
		}
		taps, err := c.taps(r)
		if err != nil {
			return nil, err
		}
		if y, err = interpolate(y, axes[i], taps, outside); err != nil {
			return nil, err
		}
	}
	return one(y, nil)
}

// Interpolation returns what a Resize by constant sizes or scales does: for each
// axis that it changes, the matrix (out, in) that multiplies the elements along
// that axis.
func Interpolation(n *onnx.Node) (map[int]*onnx.Tensor, error) {
	c := &call{node: n, in: make([]*Array, 4)}
	x := &Array{}
	for _, d := range n.Inputs[0].Shape {
		size := 1 // of an axis that stays as it is
		if d.Known() {
			size = int(d.N)
		}
		x.Shape = append(x.Shape, size)
	}
	c.in[0] = x
	for i, v := range n.Inputs[1:] {
		switch {
		case v == nil:
		case v.Data == nil:
			return nil, fmt.Errorf("%v isn't constant", v)
		default:
			var err error
			if c.in[1+i], err = FromTensor(v.Data); err != nil {
				return nil, err
			}
		}
	}
	axes, plan, err := c.resizePlan()
	if err != nil {
		return nil, err
	}
	out := map[int]*onnx.Tensor{}
	for i, r := range plan {
		if r.same() {
			continue
		}
		if !n.Inputs[0].Shape[axes[i]].Known() {
			return nil, fmt.Errorf("axis %d of %v isn't known", axes[i], n.Inputs[0])
		}
		along, err := c.taps(r)
		if err != nil {
			return nil, err
		}
		m := make([]float64, r.out*r.in)
		for j, t := range along {
			for _, k := range t {
				m[j*r.in+k.at] += k.weight
			}
		}
		out[axes[i]] = onnx.DoubleTensor(m, int64(r.out), int64(r.in))
	}
	return out, nil
}

// resizePlan reads scales or sizes for the axes.
func (c *call) resizePlan() (axes []int, plan []resizing, err error) {
	x, list := c.in[0], c.node.Ints("axes")
	if axes, err = axesOf(list, len(x.Shape)); err != nil {
		return nil, nil, err
	}
	if list == nil {
		for i := range x.Shape {
			axes = append(axes, i)
		}
	}
	scales, sizes, roi := c.in[2], c.in[3], c.in[1]
	if scales != nil && len(scales.F) == 0 {
		scales = nil
	}
	if (scales == nil) == (sizes == nil) {
		return nil, nil, errors.New("either scales or sizes must be given")
	}
	if scales != nil && len(scales.F) != len(axes) || sizes != nil && len(sizes.I) != len(axes) {
		return nil, nil, fmt.Errorf("scales %v or sizes %v don't fit %d axes", scales, sizes, len(axes))
	}
	if slices.Contains(x.Shape, 0) {
		return nil, nil, fmt.Errorf("%v is empty", x)
	}
	plan = make([]resizing, len(axes))
	for i, a := range axes {
		r := resizing{in: x.Shape[a], end: 1}
		if scales != nil {
			r.scale = scales.F[i]
			r.out = int(min(math.Floor(r.scale*float64(r.in)), 2*maxElements))
		} else {
			r.out = int(min(sizes.I[i], 2*maxElements))
			r.scale = float64(r.out) / float64(r.in)
		}
		if !(r.scale > 0) || r.out < 1 {
			return nil, nil, fmt.Errorf("dimension %d of %v can't be resized to %d", a, x, r.out)
		}
		if c.node.Str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize" {
			if roi == nil || len(roi.F) != 2*len(axes) {
				return nil, nil, fmt.Errorf("roi %v doesn't fit %d axes", roi, len(axes))
			}
			r.start, r.end = roi.F[i], roi.F[len(axes)+i]
		}
		plan[i] = r
	}
	return axes, plan, keepAspect(c.node.Str("keep_aspect_ratio_policy", "stretch"), plan, scales != nil)
}

// keepAspect makes the scales one where sizes are given and the policy says so.
func keepAspect(policy string, plan []resizing, scaled bool) error {
	if policy == "stretch" || scaled || len(plan) == 0 {
		return nil
	}
	scale := plan[0].scale
	for _, r := range plan {
		switch policy {
		case "not_larger":
			scale = min(scale, r.scale)
		case "not_smaller":
			scale = max(scale, r.scale)
		default:
			return fmt.Errorf("keep_aspect_ratio_policy=%q is unknown", policy)
		}
	}
	for i := range plan {
		plan[i].scale = scale
		plan[i].out = int(math.Floor(scale*float64(plan[i].in) + 0.5))
	}
	return nil
}

// taps are the elements, with their weights, from which one element of the
// output is made; none where it lies outside of the region of interest.
type taps []tap

type tap struct {
	at     int
	weight float64
}

func (c *call) taps(r resizing) ([]taps, error) {
	if _, err := count([]int{r.out}); err != nil {
		return nil, err
	}
	out := make([]taps, r.out)
	for i := range out {
		x, err := c.source(r, float64(i))
		if err != nil {
			return nil, err
		}
		if c.node.Str("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize" &&
			(x < 0 || x > float64(r.in-1)) {
			continue
		}
		if out[i], err = c.kernel(x, r.in, r.scale); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// source is the coordinate in the input that belongs to one in the output.
func (c *call) source(r resizing, x float64) (float64, error) {
	in, out := float64(r.in), r.scale*float64(r.in)
	switch mode := c.node.Str("coordinate_transformation_mode", "half_pixel"); mode {
	case "half_pixel":
		return (x+0.5)/r.scale - 0.5, nil
	case "half_pixel_symmetric":
		return in/2*(1-float64(r.out)/out) + (x+0.5)/r.scale - 0.5, nil
	case "pytorch_half_pixel":
		if r.out == 1 {
			return 0, nil
		}
		return (x+0.5)/r.scale - 0.5, nil
	case "align_corners":
		if r.out == 1 {
			return 0, nil
		}
		return x * (in - 1) / float64(r.out-1), nil
	case "asymmetric":
		return x / r.scale, nil
	case "tf_crop_and_resize":
		if r.out == 1 {
			return 0.5 * (r.start + r.end) * (in - 1), nil
		}
		return r.start*(in-1) + x*(r.end-r.start)*(in-1)/float64(r.out-1), nil
	default:
		return 0, fmt.Errorf("coordinate_transformation_mode=%q is unknown", mode)
	}
}

// kernel weighs the elements around coordinate x; beyond an end the last
// element repeats, or with exclude_outside counts for nothing. With antialias
// the kernel is as wide as what a smaller output's element stands for.
func (c *call) kernel(x float64, n int, scale float64) (taps, error) {
	reach, weigh := 1.0, linear
	switch mode := c.node.Str("mode", "nearest"); mode {
	case "nearest":
		at, err := nearest(c.node.Str("nearest_mode", "round_prefer_floor"), x)
		return taps{{min(max(at, 0), n-1), 1}}, err
	case "linear":
	case "cubic":
		a := c.node.Decimal("cubic_coeff_a", -0.75)
		reach, weigh = 2, func(x float64) float64 { return cubic(x, a) }
	default:
		return nil, fmt.Errorf("mode=%q is unknown", mode)
	}
	antialias, exclude := c.node.Int("antialias", 0) != 0, c.node.Int("exclude_outside", 0) != 0
	stretch := 1.0
	if antialias {
		stretch = max(1, 1/scale)
	}
	first, last := math.Ceil(x-reach*stretch), math.Floor(x+reach*stretch)
	if last-first > 4*float64(n)+8 {
		return nil, fmt.Errorf("%d elements can't be made by a scale of %g", n, scale)
	}
	var t taps
	total := 0.0
	for at := first; at <= last; at++ {
		w := weigh(math.Abs(at-x) / stretch)
		if exclude && (at < 0 || at >= float64(n)) {
			continue
		}
		t = append(t, tap{int(min(max(at, 0), float64(n-1))), w})
		total += w
	}
	if (exclude || antialias) && total != 0 {
		for k := range t {
			t[k].weight /= total
		}
	}
	return t, nil
}

func nearest(mode string, x float64) (int, error) {
	switch mode {
	case "round_prefer_floor":
		return int(math.Ceil(x - 0.5)), nil
	case "round_prefer_ceil":
		return int(math.Floor(x + 0.5)), nil
	case "floor":
		return int(math.Floor(x)), nil
	case "ceil":
		return int(math.Ceil(x)), nil
	}
	return 0, fmt.Errorf("nearest_mode=%q is unknown", mode)
}

// linear is the triangular kernel at distance x.
func linear(x float64) float64 { return max(0, 1-x) }

// cubic is the convolution kernel of Keys at distance x.
func cubic(x, a float64) float64 {
	switch {
	case x <= 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((a*x-5*a)*x+8*a)*x - 4*a
	}
	return 0
}

// interpolate makes each element along an axis from its taps.
func interpolate(x *Array, axis int, along []taps, outside float64) (*Array, error) {
	shape := slices.Clone(x.Shape)
	shape[axis] = len(along)
	y, err := alloc(x.Type, shape)
	if err != nil {
		return nil, err
	}
	inner, n := product(shape[axis+1:]), x.Shape[axis]
	for i := range y.F {
		line, j, q := i/inner/len(along), i/inner%len(along), i%inner
		if along[j] == nil {
			y.F[i] = outside
		}
		for _, t := range along[j] {
			y.F[i] += t.weight * x.F[(line*n+t.at)*inner+q]
		}
	}
	return y, nil
}

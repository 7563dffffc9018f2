package ref

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// resizing is how Resize maps one dimension.
type resizing struct {
	in, out    int
	scale      float64 // out/in before rounding
	start, end float64 // region of interest, for tf_crop_and_resize
}

// resize interpolates along one dimension after the other.
func resize(c *call) ([]*Array, error) {
	if c.node.Int("antialias", 0) != 0 {
		return nil, errors.New("antialias=1 isn't evaluated")
	}
	y, outside := c.in[0], c.float("extrapolation_value", 0)
	axes, plan, err := c.resizePlan()
	if err != nil {
		return nil, err
	}
	for i, r := range plan {
		if r.in == r.out && r.scale == 1 && r.start == 0 && r.end == 1 {
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
type taps []struct {
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
		if out[i], err = c.kernel(x, r.in); err != nil {
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
// element repeats, or with exclude_outside counts for nothing.
func (c *call) kernel(x float64, n int) (taps, error) {
	low := math.Floor(x)
	f := x - low
	var weights []float64
	first := int(low)
	switch mode := c.node.Str("mode", "nearest"); mode {
	case "nearest":
		at, err := nearest(c.node.Str("nearest_mode", "round_prefer_floor"), x)
		if err != nil {
			return nil, err
		}
		first, weights = at, []float64{1}
	case "linear":
		weights = []float64{1 - f, f}
	case "cubic":
		first--
		a := c.float("cubic_coeff_a", -0.75)
		weights = []float64{cubic(1+f, a), cubic(f, a), cubic(1-f, a), cubic(2-f, a)}
	default:
		return nil, fmt.Errorf("mode=%q is unknown", mode)
	}
	t, total := make(taps, len(weights)), 0.0
	exclude := c.node.Int("exclude_outside", 0) != 0
	for k, w := range weights {
		at := first + k
		if exclude && (at < 0 || at >= n) {
			w = 0
		}
		t[k].at, t[k].weight = min(max(at, 0), n-1), w
		total += w
	}
	if exclude && total != 0 {
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

// cubic is the convolution kernel of Keys at distance x.
func cubic(x, a float64) float64 {
	if x <= 1 {
		return ((a+2)*x-(a+3))*x*x + 1
	}
	return ((a*x-5*a)*x+8*a)*x - 4*a
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

package graphtest

import (
	"math"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// image is a value (N,C,...) with the given number of spatial dimensions.
func (d *drawing) image(spatial int) *onnx.Value {
	if v := d.which(func(v *onnx.Value) bool { return v.Type == d.float && d.rank(v) == spatial+2 }); v != nil && d.One(2) {
		return v
	}
	s := []int{d.Between(1, 2), d.Between(1, 4)}
	for range spatial {
		s = append(s, d.Between(3, 6-spatial+1))
	}
	for i := 0; count(s) > maxElements; i = (i + 1) % 2 {
		s[i] = 1
	}
	return d.keep(d.leaf(s))
}

// window draws the attributes of a window that fits a picture: kernel, strides,
// dilations and pads or auto_pad.
func (d *drawing) window(sizes []int, dilated bool) (kernel []int, attrs []onnx.Attr) {
	var strides, dilations, pads, ends []int64
	for _, n := range sizes {
		k := d.Between(1, min(3, n))
		dil := 1
		if dilated && k > 1 && (k-1)*2+1 <= n && d.One(3) {
			dil = 2
		}
		kernel = append(kernel, k)
		strides = append(strides, int64(d.Between(1, 3)))
		dilations = append(dilations, int64(dil))
		pads, ends = append(pads, int64(d.IntN(k))), append(ends, int64(d.IntN(k)))
	}
	attrs = []onnx.Attr{at("strides", strides)}
	if dilated {
		attrs = append(attrs, at("dilations", dilations))
	}
	switch d.IntN(5) {
	case 0:
		attrs = append(attrs, at("pads", append(pads, ends...)))
	case 1:
		attrs = append(attrs, at("auto_pad", "VALID"))
	case 2:
		for i := range dilations { // dilations, and strides beyond the kernel, would need less than no padding
			dilations[i], strides[i] = 1, min(strides[i], int64(kernel[i]))
		}
		attrs = append(attrs, at("auto_pad", Pick(d.Choices, "SAME_UPPER", "SAME_LOWER")))
	}
	return kernel, attrs
}

// overhangs reports whether with ceil_mode a window would begin in the padding
// behind a picture. There is none by the specification, and the runtime's
// kernels know that, but the inference that it loads a graph with doesn't.
func overhangs(sizes []int, n *onnx.Node) bool {
	kernel, strides, dilations, pads := n.Ints("kernel_shape"), n.Ints("strides"), n.Ints("dilations"), n.Ints("pads")
	if pads == nil {
		pads = make([]int64, 2*len(sizes))
	}
	for i, size := range sizes {
		held := int64(size) + pads[i]
		last := held + pads[len(sizes)+i] - (kernel[i]-1)*dilations[i] - 1 // where a window can begin
		if (last+strides[i]-1)/strides[i]*strides[i] >= held {
			return true
		}
	}
	return false
}

func list(v []int) []int64 {
	out := make([]int64, len(v))
	for i, n := range v {
		out[i] = int64(n)
	}
	return out
}

func windows(makers table) {
	makers[":Conv"] = func(d *drawing) {
		x := d.image(d.Between(1, 3))
		s := d.dims(x)
		group := 1
		for _, k := range []int{2, 3, 4} {
			if s[1]%k == 0 && d.One(3) {
				group = k
			}
		}
		kernel, attrs := d.window(s[2:], true)
		out := group * d.Between(1, 2)
		if group > 1 || d.One(2) {
			attrs = append(attrs, at("group", group))
		}
		if d.One(2) {
			attrs = append(attrs, at("kernel_shape", list(kernel)))
		}
		in := []*onnx.Value{x, d.leaf(append([]int{out, s[1] / group}, kernel...))}
		if d.One(2) {
			in = append(in, d.leaf([]int{out}))
		}
		d.op("Conv", attrs, in...)
	}
	makers[":ConvTranspose"] = func(d *drawing) {
		x := d.image(d.Between(1, 2))
		s := d.dims(x)
		group, per := 1, d.Between(1, 2)
		if s[1]%2 == 0 && d.One(3) {
			group = 2
		}
		kernel, strides, pads, ends, extra := []int{}, []int64{}, []int64{}, []int64{}, []int64{}
		for _, n := range s[2:] {
			k, step := d.Between(1, 3), d.Between(1, 3)
			kernel, strides = append(kernel, k), append(strides, int64(step))
			start := d.IntN(k)
			end := d.IntN(min(k, (n-1)*step+k-start)) // something is left
			pads, ends = append(pads, int64(start)), append(ends, int64(end))
			extra = append(extra, int64(d.IntN(step)))
		}
		attrs := []onnx.Attr{at("strides", strides), at("group", group)}
		if d.One(2) {
			attrs = append(attrs, at("pads", append(pads, ends...)))
		}
		if d.One(2) {
			attrs = append(attrs, at("output_padding", extra))
		}
		in := []*onnx.Value{x, d.leaf(append([]int{s[1], per}, kernel...))}
		if d.One(2) {
			in = append(in, d.leaf([]int{group * per}))
		}
		d.op("ConvTranspose", attrs, in...)
	}
	makers.each(func(d *drawing, op string) {
		x := d.image(d.Between(1, 3))
		kernel, attrs := d.window(d.dims(x)[2:], true)
		attrs = append(attrs, at("kernel_shape", list(kernel)))
		if op == "AveragePool" {
			attrs = append(attrs, d.maybe("count_include_pad", 1)...)
		}
		if d.One(3) && !overhangs(d.dims(x)[2:], &onnx.Node{Attrs: attrs}) {
			attrs = append(attrs, at("ceil_mode", 1))
		}
		d.op(op, attrs, x)
	}, "AveragePool", "MaxPool")
	makers.each(func(d *drawing, op string) { d.op(op, nil, d.image(d.Between(1, 3))) }, "GlobalAveragePool", "GlobalMaxPool")
	makers[":Resize"] = func(d *drawing) {
		x := d.image(2)
		s := d.dims(x)
		mode := Pick(d.Choices, "linear", "nearest", "cubic")
		how := Pick(d.Choices, "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
		attrs := []onnx.Attr{at("mode", mode), at("coordinate_transformation_mode", how)}
		if mode == "nearest" {
			attrs = append(attrs, at("nearest_mode", Pick(d.Choices, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")))
		} else if how == "half_pixel" && d.One(3) {
			attrs = append(attrs, at("antialias", 1))
		}
		delicate := mode == "nearest" // where rounding a coordinate decides, or a sum of weights near zero divides
		if mode == "cubic" {
			if d.One(2) {
				attrs, delicate = append(attrs, at("exclude_outside", 1)), true
			}
			attrs = append(attrs, d.maybe("cubic_coeff_a", float32(-0.5))...)
		}
		scale := func(n int) float64 {
			ratios := []float64{2, 1, 0.5, 1.5, 3, 0.75}
			if delicate {
				ratios = ratios[:3] // whose coordinates are exact
			}
			s := Pick(d.Choices, ratios...)
			if size := s * float64(n); size < 1 || delicate && size != math.Trunc(size) {
				return 1
			}
			return s
		}
		if d.One(2) {
			sizes := []int64{int64(s[0]), int64(s[1])}
			for _, n := range s[2:] {
				if delicate {
					sizes = append(sizes, int64(scale(n)*float64(n)))
				} else {
					sizes = append(sizes, int64(d.Between(1, 7)))
				}
			}
			d.op("Resize", attrs, x, nil, nil, d.ints(sizes...))
			return
		}
		d.op("Resize", attrs, x, nil, d.constant(ref.Floats([]float64{1, 1, scale(s[2]), scale(s[3])}, 4).As(onnx.Float)))
	}
	makers[":DepthToSpace"] = func(d *drawing) {
		k := d.Between(1, 2)
		x := d.leaf([]int{d.Between(1, 2), k * k * d.Between(1, 3), d.Between(1, 3), d.Between(1, 3)})
		d.op("DepthToSpace", append([]onnx.Attr{at("blocksize", k)}, d.maybe("mode", "CRD")...), x)
	}
	makers[":SpaceToDepth"] = func(d *drawing) {
		k := d.Between(1, 2)
		x := d.leaf([]int{d.Between(1, 2), d.Between(1, 3), k * d.Between(1, 3), k * d.Between(1, 3)})
		d.op("SpaceToDepth", []onnx.Attr{at("blocksize", k)}, x)
	}
}

package onnx

import (
	"fmt"
	"math"
	"slices"
)

// imageRules: operators on (B,C,H,W) and the like.
var imageRules = map[string]inferRule{
	"Conv":              need(2, inferConv),
	"ConvTranspose":     need(2, inferConvTranspose),
	"AveragePool":       need(1, inferPool),
	"MaxPool":           need(1, inferPool),
	"LpPool":            need(1, inferPool),
	"GlobalAveragePool": need(1, inferGlobalPool),
	"GlobalMaxPool":     need(1, inferGlobalPool),
	"Pad":               need(2, inferPad),
	"Resize":            need(1, inferResize),
	"DepthToSpace":      need(1, inferDepthToSpace),
	"SpaceToDepth":      need(1, inferSpaceToDepth),
}

// window holds the attributes that convolutions and pools share.
type window struct {
	kernel                   []int64
	strides, pads, dilations []int64
	auto                     string
	ceil                     bool
}

func windowOf(n *Node, kernel []int64) (window, error) {
	k := len(kernel)
	w := window{kernel: kernel, strides: n.Ints("strides"), pads: n.Ints("pads"), dilations: n.Ints("dilations"),
		auto: n.Str("auto_pad", "NOTSET"), ceil: n.Int("ceil_mode", 0) != 0}
	if w.strides == nil {
		w.strides = slices.Repeat([]int64{1}, k)
	}
	if w.dilations == nil {
		w.dilations = slices.Repeat([]int64{1}, k)
	}
	if w.pads == nil || w.auto != "NOTSET" {
		w.pads = make([]int64, 2*k)
	}
	if len(w.strides) != k || len(w.dilations) != k || len(w.pads) != 2*k || slices.Min(append(w.strides, 1)) < 1 {
		return w, fmt.Errorf("strides %v, pads %v or dilations %v don't fit a kernel of %v", w.strides, w.pads, w.dilations, kernel)
	}
	return w, nil
}

// slide is the number of places along spatial axis i that a window has.
func (w window) slide(i int, size Dim) Dim {
	span := (w.kernel[i]-1)*w.dilations[i] + 1
	stride := w.strides[i]
	padded := size.Plus(D(w.pads[i] + w.pads[len(w.kernel)+i]))
	switch {
	case w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER":
		if size.Known() {
			return D((size.N + stride - 1) / stride)
		}
		return Unknown
	case size.Sym != "" && stride == span && padded == size:
		return size.Over(D(stride))
	case size.Sym != "" && stride == 1 && padded.Plus(D(1-span)) == size:
		return size
	case !size.Known():
		return Unknown
	}
	free := padded.N - span
	if w.ceil {
		places := (free+stride-1)/stride + 1
		if (places-1)*stride >= size.N+w.pads[i] {
			places-- // the last window may not start in the padding behind
		}
		return D(places)
	}
	if free < 0 {
		return D(0)
	}
	return D(free/stride + 1)
}

func inferConv(n *Node) error {
	x, weight := n.Inputs[0], n.Inputs[1]
	if x.Shape == nil || weight.Shape == nil {
		return give(n, 0, x.Type, nil)
	}
	if len(x.Shape) < 3 || len(x.Shape) != len(weight.Shape) {
		return fmt.Errorf("input %v and weight %v don't fit", x, weight)
	}
	if _, ok := agree(x.Shape[1], weight.Shape[1].Times(D(n.Int("group", 1)))); !ok {
		return fmt.Errorf("input %v has %v channels, weight %v takes %v (group %d)",
			x, x.Shape[1], weight, weight.Shape[1].Times(D(n.Int("group", 1))), n.Int("group", 1))
	}
	s := Shape{x.Shape[0], weight.Shape[0]}
	kernel := n.Ints("kernel_shape")
	if kernel == nil && weight.Shape[2:].Known() {
		kernel = weight.Shape.Ints()[2:]
	}
	if kernel == nil {
		return give(n, 0, x.Type, append(s, unknown(len(x.Shape)-2)...))
	}
	if len(kernel) != len(x.Shape)-2 {
		return fmt.Errorf("kernel_shape %v doesn't fit %v", kernel, x)
	}
	w, err := windowOf(n, kernel)
	if err != nil {
		return err
	}
	for i := range kernel {
		s = append(s, w.slide(i, x.Shape[2+i]))
	}
	return give(n, 0, x.Type, s)
}

func inferConvTranspose(n *Node) error {
	x, weight := n.Inputs[0], n.Inputs[1]
	if x.Shape == nil || len(weight.Shape) < 3 || !weight.Shape[2:].Known() {
		return give(n, 0, x.Type, nil)
	}
	if len(x.Shape) < 3 || len(x.Shape) != len(weight.Shape) {
		return fmt.Errorf("input %v and weight %v don't fit", x, weight)
	}
	if _, ok := agree(x.Shape[1], weight.Shape[0]); !ok {
		return fmt.Errorf("input %v has %v channels, weight %v takes %v", x, x.Shape[1], weight, weight.Shape[0])
	}
	w, err := windowOf(n, weight.Shape.Ints()[2:])
	if err != nil {
		return err
	}
	s := Shape{x.Shape[0], weight.Shape[1].Times(D(n.Int("group", 1)))}
	more, fixed := n.Ints("output_padding"), n.Ints("output_shape")
	for i := range w.kernel {
		d := x.Shape[2+i]
		switch {
		case len(fixed) == len(w.kernel):
			d = D(fixed[i])
		case w.auto == "SAME_UPPER" || w.auto == "SAME_LOWER":
			d = d.Times(D(w.strides[i]))
		default:
			grow := (w.kernel[i]-1)*w.dilations[i] + 1 - w.strides[i] - w.pads[i] - w.pads[len(w.kernel)+i]
			if i < len(more) {
				grow += more[i]
			}
			d = d.Times(D(w.strides[i])).Plus(D(grow))
		}
		s = append(s, d)
	}
	return give(n, 0, x.Type, s)
}

func inferPool(n *Node) error {
	x := n.Inputs[0]
	kernel := n.Ints("kernel_shape")
	s := x.Shape.Clone()
	if s != nil {
		if len(kernel) == 0 || len(kernel) != len(s)-2 {
			return fmt.Errorf("kernel_shape %v doesn't fit %v", kernel, x)
		}
		w, err := windowOf(n, kernel)
		if err != nil {
			return err
		}
		for i := range kernel {
			s[2+i] = w.slide(i, s[2+i])
		}
	}
	if err := give(n, 1, Int64, s); err != nil {
		return err
	}
	return give(n, 0, x.Type, s)
}

func inferGlobalPool(n *Node) error {
	x := n.Inputs[0]
	s := x.Shape.Clone()
	for i := 2; i < len(s); i++ {
		s[i] = D(1)
	}
	return give(n, 0, x.Type, s)
}

func inferPad(n *Node) error {
	x := n.Inputs[0]
	if x.Shape == nil {
		return give(n, 0, x.Type, nil)
	}
	pads := elems(n.Inputs[1])
	axes, known := numbers(n.In(3))
	if n.In(3) == nil {
		known = true
		for i := range x.Shape {
			axes = append(axes, int64(i))
		}
	}
	if pads == nil || !known {
		return give(n, 0, x.Type, unknown(len(x.Shape)))
	}
	if len(pads) != 2*len(axes) {
		return fmt.Errorf("%d pads %v for %d axes of %v", len(pads), pads, len(axes), x)
	}
	s := x.Shape.Clone()
	for i, a := range axes {
		axis, err := axisIn(a, len(s))
		if err != nil {
			return fmt.Errorf("padding %v: %w", x, err)
		}
		s[axis] = s[axis].Plus(pads[i]).Plus(pads[len(axes)+i])
	}
	return give(n, 0, x.Type, s)
}

func inferResize(n *Node) error {
	x := n.Inputs[0]
	if x.Shape == nil {
		return give(n, 0, x.Type, nil)
	}
	axes := n.Ints("axes")
	if axes == nil {
		for i := range x.Shape {
			axes = append(axes, int64(i))
		}
	}
	sizes := elems(n.In(3))
	var scales []float64
	if v := n.In(2); v != nil && v.Data != nil && v.Data.Count() > 0 {
		scales, _ = v.Data.Float64s()
	}
	if (sizes != nil && len(sizes) != len(axes)) || (scales != nil && len(scales) != len(axes)) {
		return fmt.Errorf("resizing %v along %d axes takes as many sizes or scales", x, len(axes))
	}
	keeps := n.Str("keep_aspect_ratio_policy", "stretch") != "stretch"
	s := x.Shape.Clone()
	for i, a := range axes {
		axis, err := axisIn(a, len(s))
		if err != nil {
			return fmt.Errorf("resizing %v: %w", x, err)
		}
		d := s[axis]
		s[axis] = Unknown
		switch {
		case scales != nil && scales[i] == 1:
			s[axis] = d
		case scales != nil && d.Known():
			s[axis] = D(int64(math.Floor(float64(d.N) * scales[i])))
		case sizes != nil && !keeps:
			s[axis] = sizes[i]
		}
	}
	return give(n, 0, x.Type, s)
}

func inferDepthToSpace(n *Node) error {
	x, b := n.Inputs[0], n.Int("blocksize", 1)
	if err := hasRank(x, 4); err != nil || x.Shape == nil {
		return err
	}
	s := x.Shape
	return give(n, 0, x.Type, Shape{s[0], s[1].Over(D(b * b)), s[2].Times(D(b)), s[3].Times(D(b))})
}

func inferSpaceToDepth(n *Node) error {
	x, b := n.Inputs[0], n.Int("blocksize", 1)
	if err := hasRank(x, 4); err != nil || x.Shape == nil {
		return err
	}
	s := x.Shape
	return give(n, 0, x.Type, Shape{s[0], s[1].Times(D(b * b)), s[2].Over(D(b)), s[3].Over(D(b))})
}

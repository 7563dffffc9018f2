package gradients

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// window holds a convolution's geometry along its spatial dimensions.
type window struct {
	strides, dilations, pads []int64 // pads: all beginnings, then all ends
	group                    int64
	kernel                   []int64
}

// geometry reads a convolution's attributes; ok is false, and the call ended,
// where a size that the gradient depends on isn't a number.
func geometry(c *call) (g window, ok bool) {
	x, w := c.x(0), c.x(1)
	if pad := c.n.Str("auto_pad", "NOTSET"); pad != "NOTSET" && pad != "VALID" {
		c.unsupported("auto_pad %s", pad)
		return g, false
	}
	if len(x.Shape) < 3 || len(w.Shape) != len(x.Shape) || !w.Shape[2:].Known() || !x.Shape[2:].Known() || !c.y(0).Shape[2:].Known() {
		c.unsupported("an input %v or kernel %v of unknown size", x, w)
		return g, false
	}
	n := len(x.Shape) - 2
	ones := slices.Repeat([]int64{1}, n)
	g = window{strides: c.n.Ints("strides"), dilations: c.n.Ints("dilations"), pads: c.n.Ints("pads"),
		group: c.n.Int("group", 1), kernel: w.Shape[2:].Ints()}
	if g.group > 1 && !(x.Shape[1].Known() && c.y(0).Shape[1].Known()) {
		c.unsupported("groups of an unknown number of channels")
		return g, false
	}
	if g.strides == nil {
		g.strides = ones
	}
	if g.dilations == nil {
		g.dilations = ones
	}
	if g.pads == nil {
		g.pads = make([]int64, 2*n)
	}
	return g, true
}

func (g window) attrs() []onnx.Attr {
	return []onnx.Attr{{Name: "strides", Value: g.strides}, {Name: "dilations", Value: g.dilations},
		{Name: "pads", Value: g.pads}, {Name: "group", Value: g.group}}
}

// conv is y = x * w + bias: x (B,C,...), w (M,C/group,...), y (B,M,...).
func conv(c *call) {
	g, ok := geometry(c)
	if !ok {
		return
	}
	b, x, dy := c.b, c.x(0), c.dy[0]
	n := len(g.strides)
	if c.needs(0) {
		// the transposed convolution may stop short of rows that no window reached
		extra := make([]int64, n)
		for i := range extra {
			in, out := x.Shape[2+i].N, c.y(0).Shape[2+i].N
			reach := (out-1)*g.strides[i] + (g.kernel[i]-1)*g.dilations[i] + 1 - g.pads[i] - g.pads[n+i]
			extra[i] = in - reach
		}
		attrs := append(g.attrs(), onnx.Attr{Name: "output_padding", Value: extra})
		c.give(0, b.Op("ConvTranspose", attrs, dy, c.x(1)))
	}
	if c.needs(1) {
		c.give(1, kernelGradient(b, g, x, dy, c.x(1).Shape))
	}
	if c.needs(2) {
		c.give(2, biasGradient(b, dy, c.x(2).Shape))
	}
}

// convTranspose is conv's adjoint: x (B,C,...), w (C,M/group,...), y (B,M,...).
func convTranspose(c *call) {
	g, ok := geometry(c)
	if !ok {
		return
	}
	if c.n.Attr("output_shape") != nil {
		c.unsupported("output_shape")
		return
	}
	b, x, dy := c.b, c.x(0), c.dy[0]
	if c.needs(0) {
		// windows that begin in the output padding belong to no input
		d := b.Op("Conv", g.attrs(), dy, c.x(1))
		for i := range g.strides {
			d = trim(b, d, int64(2+i), x.Shape[2+i].N)
		}
		c.give(0, d)
	}
	if c.needs(1) {
		c.give(1, kernelGradient(b, g, dy, x, c.x(1).Shape))
	}
	if c.needs(2) {
		c.give(2, biasGradient(b, dy, c.x(2).Shape))
	}
}

// kernelGradient correlates the wide side of a convolution with its narrow
// side: batch and channels change places, strides and dilations too. The
// result has the given kernel shape (narrow channels, wide channels/group, ...).
func kernelGradient(b *onnx.Builder, g window, wide, narrow *onnx.Value, kernel onnx.Shape) *onnx.Value {
	perm := make([]int64, len(kernel))
	for i := range perm {
		perm[i] = int64(i)
	}
	perm[0], perm[1] = 1, 0
	one := window{strides: g.dilations, dilations: g.strides, pads: g.pads, group: 1}
	part := func(wide, narrow *onnx.Value) *onnx.Value {
		d := b.Op("Conv", one.attrs(), b.Transpose(wide, perm...), b.Transpose(narrow, perm...))
		for i := 2; i < len(kernel); i++ {
			d = trim(b, d, int64(i), kernel[i].N)
		}
		return b.Transpose(d, perm...)
	}
	if g.group == 1 {
		return part(wide, narrow)
	}
	wides, narrows := splitEvenly(b, wide, g.group), splitEvenly(b, narrow, g.group)
	parts := make([]*onnx.Value, g.group)
	for i := range parts {
		parts[i] = part(wides[i], narrows[i])
	}
	return b.Concat(0, parts...)
}

// splitEvenly cuts the channels of x (B,C,...) into n parts.
func splitEvenly(b *onnx.Builder, x *onnx.Value, n int64) []*onnx.Value {
	sizes := slices.Repeat([]int64{x.Shape[1].N / n}, int(n))
	return b.Ops("Split", int(n), []onnx.Attr{{Name: "axis", Value: int64(1)}}, x, b.Ints(sizes...))
}

// trim keeps the first size elements along an axis.
func trim(b *onnx.Builder, x *onnx.Value, axis, size int64) *onnx.Value {
	if x.Shape != nil && x.Shape[axis].Is(size) {
		return x
	}
	return b.Slice(x, axis, 0, size)
}

// biasGradient sums over batch and space.
func biasGradient(b *onnx.Builder, dy *onnx.Value, bias onnx.Shape) *onnx.Value {
	axes := []int64{0}
	for i := 2; i < len(dy.Shape); i++ {
		axes = append(axes, int64(i))
	}
	return b.Reshape(b.Sum(dy, axes...), bias)
}

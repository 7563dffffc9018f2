package passes

import (
	"slices"

	"github.com/relevit/relevit/onnx"
)

// layerNorm is what was found to be a decomposed LayerNormalization.
type layerNorm struct {
	x, scale, bias *onnx.Value
	axis           int64
	epsilon        float32
	inner          []*onnx.Value // intermediate values
}

func (f *fusing) layerNorm(last *onnx.Node) *layerNorm {
	if last.Op != "Add" {
		return nil
	}
	m := &layerNorm{}
	found := either(last, func(product, bias *onnx.Value) bool {
		return product.Is("Mul") && either(product.Node, func(normal, scale *onnx.Value) bool {
			*m = layerNorm{scale: scale, bias: bias}
			return m.normal(normal) && m.fits() && f.inside(last, append(m.inner, product)...)
		})
	})
	if !found {
		return nil
	}
	return m
}

// normal matches (x - mean) / sqrt(variance + epsilon).
func (m *layerNorm) normal(v *onnx.Value) bool {
	m.inner = append(m.inner, v)
	switch {
	case v.Is("Div"):
		return m.parts(v.Node.Inputs[0], v.Node.Inputs[1])
	case v.Is("Mul"):
		return either(v.Node, func(centred, inverse *onnx.Value) bool {
			var deviation *onnx.Value
			switch {
			case inverse.Is("Reciprocal"):
				deviation = inverse.Node.Inputs[0]
			case inverse.Is("Div"):
				if one, known := scalar(inverse.Node.Inputs[0]); known && one == 1 {
					deviation = inverse.Node.Inputs[1]
				}
			}
			m.inner = append(m.inner, inverse)
			return deviation != nil && m.parts(centred, deviation)
		})
	}
	return false
}

// parts matches x - mean and the standard deviation.
func (m *layerNorm) parts(centred, deviation *onnx.Value) bool {
	if !centred.Is("Sub") || !deviation.Is("Sqrt") || !deviation.Node.Inputs[0].Is("Add") {
		return false
	}
	sum := deviation.Node.Inputs[0]
	var variance *onnx.Value
	ok := either(sum.Node, func(v, epsilon *onnx.Value) bool {
		x, known := scalar(epsilon)
		variance, m.epsilon = v, float32(x)
		return known && v.Is("ReduceMean")
	})
	if !ok {
		return false
	}
	square := variance.Node.Inputs[0]
	var base *onnx.Value
	if square.Is("Pow") || square.Is("Mul") {
		base = square.Node.Inputs[0]
		two, known := scalar(square.Node.Inputs[1])
		if square.Is("Pow") && !(known && two == 2) || square.Is("Mul") && square.Node.Inputs[1] != base {
			return false
		}
	}
	if base == nil {
		return false
	}
	mean := centred.Node.Inputs[1]
	m.x = centred.Node.Inputs[0]
	if !mean.Is("ReduceMean") || mean.Node.Inputs[0] != m.x {
		return false
	}
	// Some exporters subtract the mean twice.
	if base != centred && !(base.Is("Sub") && slices.Equal(base.Node.Inputs, centred.Node.Inputs)) {
		return false
	}
	m.inner = append(m.inner, centred, deviation, sum, variance, square, base, mean)
	return m.axes(mean.Node) && m.axes(variance.Node)
}

// axes matches a mean over the last axes, kept as 1, the same for both means.
func (m *layerNorm) axes(n *onnx.Node) bool {
	rank := int64(len(m.x.Shape))
	if n.In(1) == nil || n.Inputs[1].Data == nil || n.Int("keepdims", 1) == 0 || m.x.Shape == nil {
		return false
	}
	axes, err := n.Inputs[1].Data.Int64s()
	if err != nil || len(axes) == 0 {
		return false
	}
	for i, a := range axes {
		if a >= 0 {
			axes[i] = a - rank
		}
	}
	slices.Sort(axes)
	for i, a := range axes {
		if a != int64(i-len(axes)) {
			return false
		}
	}
	if m.axis != 0 && m.axis != axes[0] {
		return false
	}
	m.axis = axes[0]
	return true
}

// fits reports whether scale and bias have the normalised dimensions.
func (m *layerNorm) fits() bool {
	tail := m.x.Shape[len(m.x.Shape)+int(m.axis):]
	return m.scale.Shape.Same(tail) && m.bias.Shape.Same(tail) && m.scale.Type == m.x.Type
}

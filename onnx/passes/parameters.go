package passes

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/relevit/relevit/onnx"
)

// IsParameter reports whether v looks like a parameter by itself: an
// initializer of several floats. Nothing is computed ahead from one.
func IsParameter(v *onnx.Value) bool {
	return v.Node == nil && v.Data != nil && several(v.Data)
}

// fixedInputs are inputs that take settings or statistics and never weights.
var fixedInputs = map[string][]int{
	"BatchNormalization": {3, 4}, // running mean and variance
	"Resize":             {1, 2, 3},
	"Upsample":           {1},
	"OneHot":             {2},
	"Clip":               {1, 2},
	"Pad":                {2},
	"QuantizeLinear":     {1, 2},
	"DequantizeLinear":   {1, 2},
	"RotaryEmbedding":    {1, 2},
}

// Parameters lists the trainable initializers in the file's order: those of
// several finite floats that reach an output otherwise than as settings or
// running statistics.
func Parameters(g *onnx.Graph) []*onnx.Value {
	reaches := map[*onnx.Value]bool{}
	for _, v := range g.Outputs {
		reaches[v] = true
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		live := false
		for _, v := range n.Outputs {
			live = live || (v != nil && reaches[v])
		}
		if !live || n.Op == "Shape" || n.Op == "Size" {
			continue
		}
		fixed := map[int]bool{}
		for _, k := range fixedInputs[n.Op] {
			fixed[k] = n.Domain == ""
		}
		for k, v := range n.Inputs {
			if v != nil && !fixed[k] {
				reaches[v] = true
			}
		}
	}
	var out []*onnx.Value
	for _, v := range g.Inits {
		if IsParameter(v) && reaches[v] && finite(v.Data) {
			out = append(out, v)
		}
	}
	return out
}

// finite is false for attention masks, which hold minus infinity.
func finite(t *onnx.Tensor) bool {
	if t.Type == onnx.Float { // weights are big: look at the exponents in place
		const exponent = 0x7f800000
		for raw := t.Raw; len(raw) >= 4; raw = raw[4:] {
			if binary.LittleEndian.Uint32(raw)&exponent == exponent {
				return false
			}
		}
		return true
	}
	x, err := t.Float64s()
	return err == nil && !slices.ContainsFunc(x, func(f float64) bool { return math.IsInf(f, 0) || math.IsNaN(f) })
}

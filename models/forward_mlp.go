package models

import (
	"math"

	"github.com/relevit/relevit/onnx"
)

// activations are the nonlinearities that are understood, by timm's names.
var activations = []string{"gelu", "quick_gelu", "gelu_tanh", "silu", "relu"}

// mlp is a block's MLP, (B,N,D) to (B,N,D).
func (v *vit) mlp(name string, x *onnx.Value) *onnx.Value {
	a := v.a
	var y *onnx.Value // (B,N,hidden)
	if a.MLP == mlpPlain {
		y = v.activation(name, a.Activation, v.linear(name+".fc1", x))
	} else {
		gate, value := v.halves(name, x)
		if a.MLP == mlpGateLast {
			gate, value = value, gate
		}
		y = v.Named(name+"/gated", v.Mul(v.activation(name, a.Activation, gate), value))
	}
	if a.MLPNorm {
		y = v.norm(name+".norm", y)
	}
	return v.linear(name+".fc2", y)
}

// halves computes both halves of a gated MLP, in one product where their
// weights are the halves of one tensor.
func (v *vit) halves(name string, x *onnx.Value) (first, second *onnx.Value) {
	w := [2]*viewed{v.view.tensors[name+".fc1_g.weight"], v.view.tensors[name+".fc1_x.weight"]}
	b := [2]*viewed{v.view.tensors[name+".fc1_g.bias"], v.view.tensors[name+".fc1_x.bias"]}
	if !v.whole(w) || (b[0] != nil && !v.whole(b)) {
		return v.linear(name+".fc1_g", x), v.linear(name+".fc1_x", x)
	}
	for kind, pair := range map[string][2]*viewed{".weight": w, ".bias": b} {
		if pair[0] != nil {
			dims := append([]int64{2 * pair[0].dims[0]}, pair[0].dims[1:]...)
			v.view.tensors[name+".fc1"+kind] = &viewed{dims: dims, parts: []part{{source: pair[0].parts[0].source}}}
		}
	}
	y := v.linear(name+".fc1", x) // (B,N,2 hidden)
	h := int64(v.a.Hidden)
	parts := v.Ops("Split", 2, []onnx.Attr{{Name: "axis", Value: int64(2)}}, y, v.ints("gate_value", h, h))
	return parts[0], parts[1]
}

// whole reports whether two tensors are the first and the second half of one of
// the checkpoint's, in its layout.
func (v *vit) whole(w [2]*viewed) bool {
	for i, t := range w {
		if t == nil || len(t.parts) != 1 {
			return false
		}
		p, h := t.parts[0], t.dims[0]
		s := v.sources[p.source]
		if s == nil || p.source != w[0].parts[0].source || p.perm != nil || p.slice == nil ||
			*p.slice != [3]int64{0, int64(i) * h, int64(i+1) * h} || !s.Shape[0].Is(2*h) {
			return false
		}
	}
	return true
}

// activation is a nonlinearity, spelled in operators of every opset.
func (v *vit) activation(name, kind string, x *onnx.Value) *onnx.Value {
	half := func(y *onnx.Value) *onnx.Value { return v.Named(name+"/act", v.Mul(y, v.number("half", 0.5))) }
	switch kind {
	case "relu":
		return v.Named(name+"/act", v.Op("Relu", nil, x))
	case "silu":
		return v.Named(name+"/act", v.Mul(x, v.Named(name+"/sigmoid", v.Op("Sigmoid", nil, x))))
	case "quick_gelu":
		s := v.Named(name+"/sigmoid", v.Op("Sigmoid", nil, v.Mul(x, v.number("quick_gelu", 1.702))))
		return v.Named(name+"/act", v.Mul(x, s))
	case "gelu_tanh":
		cube := v.Mul(v.Mul(x, x), x)
		inner := v.Add(x, v.Mul(cube, v.number("gelu_cube", 0.044715)))
		t := v.Named(name+"/tanh", v.Op("Tanh", nil, v.Mul(inner, v.number("sqrt_2_over_pi", math.Sqrt(2/math.Pi)))))
		return half(v.Mul(x, v.Add(t, v.number("one", 1))))
	}
	e := v.Named(name+"/scaled", v.Div(x, v.number("sqrt_2", math.Sqrt2)))
	e = v.Named(name+"/erf", v.Op("Erf", nil, e))
	e = v.Named(name+"/erf_1", v.Add(e, v.number("one", 1)))
	return half(v.Named(name+"/x_erf_1", v.Mul(x, e)))
}

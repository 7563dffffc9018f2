package ref

import (
	"maps"
	"math"
	"math/rand/v2"

	"github.com/relevit/relevit/onnx"
)

// A sample is one application of an operator, to be compared with ONNX
// Runtime. Samples have float32 inputs, whose values are float32 numbers.
type sample struct {
	attrs   []onnx.Attr
	in      []*Array
	outputs int // 0 means 1
}

// attrs makes attributes of name, value pairs.
func attrs(pairs ...any) []onnx.Attr {
	var out []onnx.Attr
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, onnx.Attr{Name: pairs[i].(string), Value: pairs[i+1]})
	}
	return out
}

func list(v ...int64) []int64 { return v }

// vec is an int64 vector.
func vec(v ...int64) *Array { return Ints(v, len(v)) }

// num is an int64 scalar.
func num(v int64) *Array { return Ints([]int64{v}) }

// f32 is a float32 array.
func f32(v []float64, shape ...int) *Array {
	for i := range v {
		v[i] = float64(float32(v[i]))
	}
	return Floats(v, shape...).As(onnx.Float)
}

func scalar32(v float64) *Array { return f32([]float64{v}) }

// draws makes random inputs.
type draws struct{ *rand.Rand }

// normal numbers.
func (d draws) normal(shape ...int) *Array { return d.floats(d.NormFloat64, shape...) }

// positive numbers between 0.5 and 2.
func (d draws) positive(shape ...int) *Array {
	return d.floats(func() float64 { return 0.5 + 1.5*d.Float64() }, shape...)
}

// halves are multiples of a half, with many ties.
func (d draws) halves(shape ...int) *Array {
	return d.floats(func() float64 { return float64(d.IntN(9)-4) / 2 }, shape...)
}

func (d draws) floats(f func() float64, shape ...int) *Array {
	v := make([]float64, product(shape))
	for i := range v {
		v[i] = f()
	}
	return f32(v, shape...)
}

// ints are between low and high, inclusive.
func (d draws) ints(low, high int, shape ...int) *Array {
	v := make([]int64, product(shape))
	for i := range v {
		v[i] = int64(low + d.IntN(high-low+1))
	}
	return Ints(v, shape...)
}

func (d draws) bools(shape ...int) *Array {
	v := make([]bool, product(shape))
	for i := range v {
		v[i] = d.IntN(2) == 1
	}
	return Bools(v, shape...)
}

func each(a []onnx.Attr, ins ...[]*Array) []sample {
	var out []sample
	for _, in := range ins {
		out = append(out, sample{attrs: a, in: in})
	}
	return out
}

// samples lists applications of every operator, by key.
func samples() map[string][]sample {
	d := draws{rand.New(rand.NewPCG(7, 11))}
	all := map[string][]sample{}
	for _, part := range []map[string][]sample{
		d.arithmetic(), d.activations(), d.comparisons(), d.products(), d.convolutions(), d.norms(),
		d.resizes(), d.reductions(), d.shapes(), d.indices(), d.attentions(),
	} {
		maps.Copy(all, part)
	}
	return all
}

func (d draws) arithmetic() map[string][]sample {
	out := map[string][]sample{}
	for _, op := range []string{"Add", "Sub", "Mul", "Max", "Min"} {
		out[":"+op] = each(nil,
			[]*Array{d.normal(2, 3), d.normal(2, 3)}, []*Array{d.normal(4, 1, 3), d.normal(2, 1)},
			[]*Array{d.normal(2, 3), d.normal()}, []*Array{d.ints(-9, 9, 5), d.ints(-9, 9, 2, 1)})
	}
	for _, op := range []string{"Max", "Min", "Sum", "Mean"} {
		out[":"+op] = append(out[":"+op], sample{in: []*Array{d.normal(2, 3), d.normal(3), d.normal(4, 1, 1)}}, sample{in: []*Array{d.normal(2)}})
	}
	out[":Div"] = each(nil, []*Array{d.normal(2, 3), d.positive(3)}, []*Array{d.ints(-20, 20, 9), num(3)},
		[]*Array{d.ints(-20, 20, 9), num(-4)}, []*Array{f32([]float64{1, -1, 0}, 3), scalar32(0)})
	out[":Mod"] = append(each(nil, []*Array{d.ints(-20, 20, 9), num(3)}, []*Array{d.ints(-20, 20, 9), num(-4)}),
		each(attrs("fmod", int64(1)), []*Array{d.ints(-20, 20, 9), num(3)}, []*Array{d.normal(9), d.positive(9)})...)
	out[":Pow"] = each(nil, []*Array{d.positive(2, 3), d.normal(3)}, []*Array{d.normal(4), scalar32(2)},
		[]*Array{d.normal(4), scalar32(3)}, []*Array{d.ints(-3, 3, 6), num(3)}, []*Array{d.normal(4), num(2)})
	for _, op := range []string{"Neg", "Abs", "Sign"} {
		out[":"+op] = each(nil, []*Array{d.halves(7)}, []*Array{d.ints(-3, 3, 7)}, []*Array{d.normal()})
	}
	for _, op := range []string{"Sqrt", "Reciprocal", "Log"} {
		out[":"+op] = each(nil, []*Array{d.positive(2, 5)})
	}
	for _, op := range []string{"Exp", "Erf", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Floor", "Ceil", "Round"} {
		out[":"+op] = each(nil, []*Array{d.normal(2, 7)}, []*Array{d.halves(20)})
	}
	out[":Clip"] = each(nil, []*Array{d.normal(9), scalar32(-0.5), scalar32(0.7)}, []*Array{d.normal(9), nil, scalar32(0)},
		[]*Array{d.normal(9), scalar32(0)}, []*Array{d.normal(9)}, []*Array{d.ints(-9, 9, 9), num(-2), num(3)})
	return out
}

func (d draws) activations() map[string][]sample {
	out := map[string][]sample{}
	for _, op := range []string{"Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Softplus", "Softsign", "Mish", "HardSigmoid", "HardSwish", "Gelu"} {
		out[":"+op] = each(nil, []*Array{d.normal(3, 7)}, []*Array{f32([]float64{-50, -5, 0, 5, 50}, 5)})
	}
	out[":Gelu"] = append(out[":Gelu"], each(attrs("approximate", "tanh"), []*Array{d.normal(3, 7)})...)
	out[":LeakyRelu"] = append(out[":LeakyRelu"], each(attrs("alpha", float32(0.3)), []*Array{d.normal(7)})...)
	out[":Elu"] = append(out[":Elu"], each(attrs("alpha", float32(2)), []*Array{d.normal(7)})...)
	out[":HardSigmoid"] = append(out[":HardSigmoid"], each(attrs("alpha", float32(0.5), "beta", float32(0.1)), []*Array{d.normal(9)})...)
	out[":PRelu"] = each(nil, []*Array{d.normal(2, 3, 4), d.normal(3, 1)}, []*Array{d.normal(2, 3), d.normal(3)})
	for _, op := range []string{"Softmax", "LogSoftmax"} {
		out[":"+op] = append(each(nil, []*Array{d.normal(2, 3, 5)}, []*Array{f32([]float64{1000, 1001, -1000}, 3)}),
			append(each(attrs("axis", int64(1)), []*Array{d.normal(2, 3, 5)}), each(attrs("axis", int64(-3)), []*Array{d.normal(2, 3, 5)})...)...)
	}
	out[":Dropout"] = []sample{{in: []*Array{d.normal(3, 4)}, outputs: 2}, {in: []*Array{d.normal(3), scalar32(0.3), Bools([]bool{false})}},
		{in: []*Array{d.normal(3), scalar32(0), Bools([]bool{true})}, outputs: 2}}
	return out
}

func (d draws) comparisons() map[string][]sample {
	out := map[string][]sample{}
	special := f32([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, 1}, 5)
	for _, op := range []string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"} {
		out[":"+op] = each(nil, []*Array{d.halves(3, 4), d.halves(4)}, []*Array{d.ints(0, 2, 6), num(1)}, []*Array{special, special})
	}
	out[":Equal"] = append(out[":Equal"], each(nil, []*Array{d.bools(5), d.bools(5)})...)
	for _, op := range []string{"And", "Or", "Xor"} {
		out[":"+op] = each(nil, []*Array{d.bools(8), d.bools(8)}, []*Array{d.bools(2, 3), d.bools(2, 1)})
	}
	out[":Not"] = each(nil, []*Array{d.bools(5)})
	out[":IsNaN"] = each(nil, []*Array{special})
	out[":IsInf"] = append(each(nil, []*Array{special}), each(attrs("detect_negative", int64(0)), []*Array{special})...)
	out[":Where"] = each(nil, []*Array{d.bools(2, 1, 3), d.normal(4, 1), d.normal(3)}, []*Array{d.bools(4), d.ints(0, 9, 4), num(7)},
		[]*Array{d.bools(), d.normal(2, 2), d.normal()})
	to := func(t onnx.DType) []onnx.Attr { return attrs("to", int64(t)) }
	out[":Cast"] = append(append(each(to(onnx.Int32), []*Array{f32([]float64{-1.9, -0.5, 0.5, 1.9, 7}, 5)}, []*Array{d.bools(4)}, []*Array{d.ints(-9, 9, 4)}),
		each(to(onnx.Bool), []*Array{f32([]float64{0, 0.3, -2}, 3)}, []*Array{d.ints(-1, 1, 5)})...),
		append(each(to(onnx.Float), []*Array{d.ints(-9, 9, 4)}, []*Array{d.bools(4)}, []*Array{d.normal(4)}),
			append(each(to(onnx.Double), []*Array{d.normal(3)}), each(to(onnx.Uint8), []*Array{d.ints(-300, 600, 8)})...)...)...)
	out[":CastLike"] = each(nil, []*Array{d.ints(0, 9, 4), d.normal()}, []*Array{d.normal(4), num(0)})
	out[":Identity"] = each(nil, []*Array{d.normal(2)}, []*Array{d.bools(2)})
	return out
}

func (d draws) products() map[string][]sample {
	eq := func(s string, in ...*Array) sample { return sample{attrs: attrs("equation", s), in: in} }
	return map[string][]sample{
		":MatMul": each(nil, []*Array{d.normal(3, 5), d.normal(5, 7)}, []*Array{d.normal(5), d.normal(5)}, []*Array{d.normal(5), d.normal(2, 5, 3)},
			[]*Array{d.normal(2, 3, 5), d.normal(5)}, []*Array{d.normal(4, 1, 3, 6), d.normal(2, 6, 2)}, []*Array{d.ints(-3, 3, 2, 3), d.ints(-3, 3, 3, 2)},
			[]*Array{d.normal(2, 3, 1), d.normal(1, 1, 4)}),
		":Gemm": {
			{in: []*Array{d.normal(3, 5), d.normal(5, 2)}},
			{attrs: attrs("transA", int64(1), "alpha", float32(0.5)), in: []*Array{d.normal(5, 3), d.normal(5, 2), d.normal(2)}},
			{attrs: attrs("transB", int64(1), "beta", float32(2)), in: []*Array{d.normal(3, 5), d.normal(2, 5), d.normal(3, 1)}},
			{attrs: attrs("transA", int64(1), "transB", int64(1)), in: []*Array{d.normal(5, 3), d.normal(2, 5), d.normal()}},
		},
		":Einsum": {
			eq("bhid,bhjd->bhij", d.normal(2, 3, 4, 5), d.normal(2, 3, 6, 5)), eq("...qhd,...khd->...hqk", d.normal(2, 3, 2, 4), d.normal(2, 5, 2, 4)),
			eq("ij,jk", d.normal(3, 4), d.normal(4, 2)), eq("ij->ji", d.normal(3, 4)), eq("ij->", d.normal(3, 4)),
			eq("i,j->ij", d.normal(3), d.normal(4)), eq("b...->...", d.normal(2, 3, 4)), eq("ba,bc,bd->acd", d.normal(2, 3), d.normal(2, 4), d.normal(2, 2)),
			eq(" b n c , c d -> b n d ", d.normal(2, 3, 4), d.normal(4, 2)), eq("ii->i", d.normal(3, 3)), eq("ij,j->i", d.ints(-3, 3, 2, 3), d.ints(-3, 3, 3)),
		},
	}
}

func (d draws) convolutions() map[string][]sample {
	x := d.normal(2, 4, 7, 6)
	w := d.normal(6, 2, 3, 2)
	two := attrs("group", int64(2), "strides", list(2, 1), "dilations", list(1, 2), "pads", list(1, 0, 2, 1))
	pool := func(more ...any) []onnx.Attr { return append(attrs("kernel_shape", list(3, 2)), attrs(more...)...) }
	pools := func() []sample {
		return []sample{
			{attrs: pool(), in: []*Array{x}}, {attrs: pool("strides", list(2, 2), "pads", list(1, 0, 1, 1)), in: []*Array{x}},
			{attrs: pool("strides", list(2, 3), "ceil_mode", int64(1)), in: []*Array{x}},
			{attrs: pool("strides", list(3, 2), "auto_pad", "SAME_UPPER"), in: []*Array{x}},
			{attrs: pool("strides", list(2, 2), "auto_pad", "SAME_LOWER"), in: []*Array{x}},
			{attrs: pool("auto_pad", "VALID"), in: []*Array{x}}, {attrs: pool("dilations", list(2, 3)), in: []*Array{x}},
			{attrs: attrs("kernel_shape", list(2)), in: []*Array{d.normal(1, 2, 5)}},
		}
	}
	return map[string][]sample{
		":Conv": {
			{in: []*Array{d.normal(2, 3, 8, 8), d.normal(5, 3, 4, 4), d.normal(5)}, attrs: attrs("strides", list(4, 4), "kernel_shape", list(4, 4))},
			{in: []*Array{x, w}, attrs: two}, {in: []*Array{d.normal(1, 2, 9), d.normal(3, 2, 4), d.normal(3)}},
			{in: []*Array{x, d.normal(4, 1, 3, 3)}, attrs: attrs("group", int64(4), "auto_pad", "SAME_UPPER", "strides", list(2, 2))},
			{in: []*Array{x, d.normal(2, 4, 2, 2)}, attrs: attrs("auto_pad", "SAME_LOWER")},
			{in: []*Array{d.normal(1, 1, 4, 4, 3), d.normal(2, 1, 2, 2, 2)}, attrs: attrs("auto_pad", "VALID")},
		},
		":ConvTranspose": {
			{in: []*Array{d.normal(2, 3, 4, 5), d.normal(3, 2, 3, 2), d.normal(2)}},
			{in: []*Array{d.normal(2, 4, 4, 5), d.normal(4, 3, 3, 3)}, attrs: attrs("group", int64(2), "strides", list(2, 3), "pads", list(1, 0, 0, 2), "output_padding", list(1, 2))},
			{in: []*Array{d.normal(1, 2, 4, 5), d.normal(2, 1, 3, 3)}, attrs: attrs("strides", list(3, 2), "output_shape", list(10, 8))},
			{in: []*Array{d.normal(1, 2, 4, 5), d.normal(2, 1, 3, 3)}, attrs: attrs("strides", list(2, 2), "auto_pad", "SAME_UPPER")},
			{in: []*Array{d.normal(1, 2, 6), d.normal(2, 3, 4)}, attrs: attrs("dilations", list(2))},
		},
		":AveragePool": append(pools(), sample{attrs: pool("pads", list(1, 1, 1, 0), "count_include_pad", int64(1)), in: []*Array{x}},
			sample{attrs: pool("pads", list(1, 1, 1, 0), "strides", list(3, 3), "ceil_mode", int64(1), "count_include_pad", int64(1)), in: []*Array{x}}),
		":MaxPool":           append(pools(), sample{attrs: pool("pads", list(1, 1, 1, 0)), in: []*Array{x}, outputs: 2}),
		":GlobalAveragePool": each(nil, []*Array{x}, []*Array{d.normal(2, 3, 5)}),
		":GlobalMaxPool":     each(nil, []*Array{x}),
	}
}

func (d draws) norms() map[string][]sample {
	return map[string][]sample{
		":LayerNormalization": {
			{in: []*Array{d.normal(2, 3, 8), d.normal(8), d.normal(8)}, outputs: 3, attrs: attrs("epsilon", float32(1e-6))},
			{in: []*Array{d.normal(2, 3, 4), d.normal(3, 4)}, attrs: attrs("axis", int64(1))},
			{in: []*Array{d.normal(2, 3, 4), d.normal(4), d.normal(1, 4)}, attrs: attrs("axis", int64(-1))},
		},
		":RMSNormalization":      {{in: []*Array{d.normal(2, 3, 8), d.normal(8)}}, {in: []*Array{d.normal(2, 3, 4), d.normal(3, 4)}, attrs: attrs("axis", int64(-2), "epsilon", float32(0.1))}},
		":InstanceNormalization": {{in: []*Array{d.normal(2, 3, 4, 5), d.normal(3), d.normal(3)}}, {in: []*Array{d.normal(2, 3, 6), d.normal(3), d.normal(3)}}},
		":GroupNormalization":    {{in: []*Array{d.normal(2, 6, 4, 3), d.normal(6), d.normal(6)}, attrs: attrs("num_groups", int64(2), "epsilon", float32(1e-3))}},
		":BatchNormalization": {{in: []*Array{d.normal(2, 3, 4, 5), d.normal(3), d.normal(3), d.normal(3), d.positive(3)}, attrs: attrs("epsilon", float32(1e-3))},
			{in: []*Array{d.normal(4, 3), d.normal(3), d.normal(3), d.normal(3), d.positive(3)}}},
	}
}

func (d draws) resizes() map[string][]sample {
	x := d.normal(1, 2, 4, 5)
	var out []sample
	scales := func(h, w float64) []*Array { return []*Array{x, nil, f32([]float64{1, 1, h, w}, 4)} }
	sizes := func(h, w int64) []*Array { return []*Array{x, nil, nil, vec(1, 2, h, w)} }
	for _, mode := range []string{"nearest", "linear", "cubic"} {
		for _, how := range []string{"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"} {
			a := attrs("mode", mode, "coordinate_transformation_mode", how)
			out = append(out, each(a, scales(2, 3), scales(0.5, 0.6), sizes(7, 3))...)
		}
	}
	for _, mode := range []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"} {
		out = append(out, each(attrs("nearest_mode", mode), scales(2, 2), scales(0.5, 0.4), sizes(3, 9))...)
		out = append(out, each(attrs("nearest_mode", mode, "coordinate_transformation_mode", "asymmetric"), scales(2, 2), sizes(3, 10))...)
	}
	out = append(out, each(attrs("mode", "cubic", "cubic_coeff_a", float32(-0.5), "exclude_outside", int64(1)), scales(2, 2), sizes(3, 3))...)
	for _, mode := range []string{"linear", "cubic"} { // antialias, whose kernel is wider where the output is smaller
		for _, exclude := range []int64{0, 1} {
			a := attrs("mode", mode, "antialias", int64(1), "exclude_outside", exclude)
			out = append(out, each(a, sizes(7, 3), sizes(1, 2), scales(0.5, 1.6))...)
		}
	}
	out = append(out, sample{attrs: attrs("axes", list(2, 3), "keep_aspect_ratio_policy", "not_larger", "mode", "linear"), in: []*Array{x, nil, nil, vec(8, 8)}},
		sample{attrs: attrs("axes", list(3, 2), "keep_aspect_ratio_policy", "not_smaller"), in: []*Array{x, nil, nil, vec(8, 8)}},
		sample{attrs: attrs("coordinate_transformation_mode", "tf_crop_and_resize", "mode", "linear", "extrapolation_value", float32(9)),
			in: []*Array{x, f32([]float64{0, 0, 0.2, -0.3, 1, 1, 0.9, 1.1}, 8), nil, vec(1, 2, 5, 6)}})
	return map[string][]sample{":Resize": out}
}

func (d draws) reductions() map[string][]sample {
	out := map[string][]sample{}
	x := d.positive(2, 3, 4)
	for _, op := range []string{"Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"} {
		list := append(each(nil, []*Array{x, vec(1)}, []*Array{x, vec(-1, 0)}, []*Array{x}), each(attrs("keepdims", int64(0)), []*Array{x, vec(2, 0)}, []*Array{x})...)
		list = append(list, each(attrs("noop_with_empty_axes", int64(1)), []*Array{x}, []*Array{x, vec()}, []*Array{x, vec(0)})...)
		if op != "LogSum" && op != "L2" && op != "LogSumExp" {
			list = append(list, each(nil, []*Array{d.ints(-5, 5, 3, 4), vec(1)})...)
		}
		out[":Reduce"+op] = list
	}
	out[":ReduceLogSumExp"] = append(out[":ReduceLogSumExp"], each(nil, []*Array{f32([]float64{1000, 1001}, 2)})...)
	for _, op := range []string{"ArgMax", "ArgMin"} {
		t := d.halves(3, 6)
		out[":"+op] = append(each(nil, []*Array{t}, []*Array{d.ints(0, 2, 3, 5)}), append(each(attrs("axis", int64(-1), "keepdims", int64(0)), []*Array{t}),
			each(attrs("axis", int64(1), "select_last_index", int64(1)), []*Array{t})...)...)
	}
	out[":CumSum"] = append(each(nil, []*Array{d.normal(3, 4), num(1)}, []*Array{d.ints(0, 9, 5), num(-1)}),
		append(each(attrs("reverse", int64(1)), []*Array{d.normal(3, 4), num(0)}), each(attrs("exclusive", int64(1), "reverse", int64(1)), []*Array{d.normal(3, 4), num(-2)})...)...)
	ties := d.halves(3, 7)
	out[":TopK"] = []sample{{in: []*Array{ties, vec(3)}, outputs: 2}, {in: []*Array{ties, vec(2)}, outputs: 2, attrs: attrs("axis", int64(0), "largest", int64(0))},
		{in: []*Array{d.ints(0, 9, 8), vec(8)}, outputs: 2}}
	return out
}

func (d draws) shapes() map[string][]sample {
	x := d.normal(2, 3, 4)
	one := func(in ...*Array) sample { return sample{in: in} }
	pads := func(mode string, x *Array, in ...*Array) sample {
		return sample{attrs: attrs("mode", mode), in: append([]*Array{x}, in...)}
	}
	return map[string][]sample{
		":Reshape":   {one(x, vec(4, -1)), one(x, vec(0, -1)), one(d.bools(2, 2), vec(4)), one(x, vec(1, 24)), {attrs: attrs("allowzero", int64(1)), in: []*Array{d.normal(0, 3), vec(3, 0)}}},
		":Transpose": {one(x), {attrs: attrs("perm", list(1, 0, 2)), in: []*Array{x}}, {attrs: attrs("perm", list(2, 0, 1)), in: []*Array{d.ints(0, 9, 2, 3, 4)}}},
		":Flatten":   {one(x), {attrs: attrs("axis", int64(0)), in: []*Array{x}}, {attrs: attrs("axis", int64(-1)), in: []*Array{x}}, {attrs: attrs("axis", int64(3)), in: []*Array{x}}},
		":Squeeze":   {one(d.normal(1, 3, 1)), one(d.normal(1, 3, 1), vec(-1)), one(d.normal(1, 3, 1), vec(0, 2))},
		":Unsqueeze": {one(x, vec(0)), one(x, vec(-1, 1)), one(x, vec(4, 2))},
		":Concat":    {{attrs: attrs("axis", int64(1)), in: []*Array{x, d.normal(2, 1, 4), d.normal(2, 0, 4)}}, {attrs: attrs("axis", int64(-1)), in: []*Array{d.bools(2, 2), d.bools(2, 1)}}, {attrs: attrs("axis", int64(0)), in: []*Array{vec(1, 2), vec(3)}}},
		":Split": {{attrs: attrs("axis", int64(1)), in: []*Array{x, vec(1, 0, 2)}, outputs: 3}, {attrs: attrs("axis", int64(-1), "num_outputs", int64(3)), in: []*Array{d.normal(2, 7)}, outputs: 3},
			{attrs: attrs("num_outputs", int64(2)), in: []*Array{d.ints(0, 9, 4, 2)}, outputs: 2}},
		":Slice": {one(x, vec(1), vec(3)), one(x, vec(0, -3), vec(2, math.MaxInt64), vec(1, 2)), one(x, vec(-1), vec(math.MinInt64), vec(2), vec(-1)), one(x, vec(3, 1), vec(0, 9), vec(-1, -2), vec(-2, 2)),
			one(x, vec(2), vec(1), vec(1)), one(d.bools(5), vec(10), vec(-9), vec(0), vec(-2))},
		":Expand":          {one(d.normal(3, 1), vec(2, 1, 4)), one(d.normal(3, 4), vec(1)), one(d.normal(), vec(2)), one(d.bools(1), vec(3))},
		":Tile":            {one(d.normal(2, 3), vec(2, 3)), one(d.ints(0, 9, 3), vec(2)), one(d.normal(2, 3), vec(0, 1))},
		":Pad":             {pads("constant", x, vec(0, 1, 2, 1, 0, 1)), pads("constant", x, vec(0, -1, 0, 1, 0, -1), scalar32(7)), pads("constant", x, vec(1, 2), nil, vec(-1)), pads("reflect", x, vec(0, 2, 1, 1, 1, 3)), pads("edge", x, vec(3, 0, 1, 0, 0, 2)), pads("wrap", x, vec(0, 2, 1, 0, 1, 3))},
		":Trilu":           {one(d.normal(2, 3, 4)), one(d.normal(3, 3), num(1)), {attrs: attrs("upper", int64(0)), in: []*Array{d.normal(4, 3)}}, {attrs: attrs("upper", int64(0)), in: []*Array{d.ints(1, 9, 3, 5), num(-1)}}, one(d.normal(3, 4), num(-9)), {attrs: attrs("upper", int64(0)), in: []*Array{d.normal(3, 3), num(1)}}},
		":DepthToSpace":    {{attrs: attrs("blocksize", int64(2)), in: []*Array{d.normal(2, 8, 2, 3)}}, {attrs: attrs("blocksize", int64(2), "mode", "CRD"), in: []*Array{d.normal(2, 8, 2, 3)}}},
		":SpaceToDepth":    {{attrs: attrs("blocksize", int64(2)), in: []*Array{d.normal(2, 3, 4, 6)}}},
		":Shape":           {one(x), {attrs: attrs("start", int64(-2), "end", int64(9)), in: []*Array{x}}, {attrs: attrs("start", int64(1), "end", int64(-1)), in: []*Array{x}}},
		":Size":            {one(x), one(d.bools())},
		":Constant":        {{attrs: attrs("value", onnx.FloatTensor([]float32{1, 2}, 2))}, {attrs: attrs("value_float", float32(0.1))}, {attrs: attrs("value_ints", list(1, 2))}, {attrs: attrs("value_int", int64(5))}, {attrs: attrs("value_floats", []float32{1, 2})}},
		":ConstantOfShape": {one(vec(2, 3)), {attrs: attrs("value", onnx.Int64Tensor([]int64{7}, 1)), in: []*Array{vec(2)}}, one(vec())},
		":Range":           {one(scalar32(1), scalar32(5), scalar32(1.5)), one(num(10), num(0), num(-3)), one(num(3), num(3), num(1))},
		":EyeLike":         {one(d.normal(3, 4)), {attrs: attrs("k", int64(-1), "dtype", int64(onnx.Int64)), in: []*Array{d.normal(3, 3)}}},
	}
}

func (d draws) indices() map[string][]sample {
	x := d.normal(3, 4, 2)
	one := func(in ...*Array) sample { return sample{in: in} }
	return map[string][]sample{
		":Gather":         {one(x, num(1)), one(x, Ints([]int64{0, -1, 2, 1}, 2, 2)), {attrs: attrs("axis", int64(1)), in: []*Array{x, vec(3, 0)}}, {attrs: attrs("axis", int64(-1)), in: []*Array{x, num(-1)}}, one(vec(5, 6, 7), vec(2, 2))},
		":GatherElements": {one(x, d.ints(-3, 2, 2, 4, 1)), {attrs: attrs("axis", int64(-2)), in: []*Array{x, d.ints(0, 3, 3, 6, 2)}}},
		":GatherND":       {one(x, d.ints(0, 2, 5, 1)), one(x, Ints([]int64{0, 1, -1, -1}, 2, 2)), {attrs: attrs("batch_dims", int64(1)), in: []*Array{x, d.ints(0, 3, 3, 2, 1)}}, one(x, Ints([]int64{2, 3, 1}, 3))},
		":ScatterElements": {one(x, Ints([]int64{0, 1, 2, 0}, 1, 2, 2), d.normal(1, 2, 2)), {attrs: attrs("axis", int64(1), "reduction", "add"), in: []*Array{x, d.ints(-4, 3, 3, 5, 2), d.normal(3, 5, 2)}},
			{attrs: attrs("axis", int64(1), "reduction", "max"), in: []*Array{x, d.ints(0, 3, 2, 3, 1), d.normal(2, 3, 1)}}},
		":ScatterND": {one(x, Ints([]int64{2, 0}, 2, 1), d.normal(2, 4, 2)), {attrs: attrs("reduction", "add"), in: []*Array{x, Ints([]int64{1, 1, 1, 1, 0, -1}, 3, 2), d.normal(3, 2)}},
			{attrs: attrs("reduction", "mul"), in: []*Array{x, Ints([]int64{1, 1, 1}, 1, 3), d.normal(1)}}},
		":OneHot":  {one(vec(0, 2, -1, 9), num(3), f32([]float64{0, 1}, 2)), {attrs: attrs("axis", int64(0)), in: []*Array{d.ints(0, 3, 2, 3), num(4), vec(5, 6)}}, {attrs: attrs("axis", int64(1)), in: []*Array{d.ints(0, 3, 2, 3), vec(4), f32([]float64{-1, 1}, 2)}}},
		":NonZero": {one(d.halves(3, 4)), one(d.bools(2, 3, 2)), one(d.ints(0, 1, 6))},
	}
}

func (d draws) attentions() map[string][]sample {
	q, k, v := d.normal(2, 4, 3, 6), d.normal(2, 4, 5, 6), d.normal(2, 4, 5, 7)
	four := func(more ...any) sample { return sample{attrs: attrs(more...), in: []*Array{q, k, v}, outputs: 1} }
	masked := func(mask *Array, more ...any) sample {
		return sample{attrs: attrs(more...), in: []*Array{q, k, v, mask}, outputs: 1}
	}
	three := attrs("q_num_heads", int64(4), "kv_num_heads", int64(2))
	list := []sample{four(), four("scale", float32(0.3)), four("is_causal", int64(1)), masked(d.normal(3, 5)), masked(d.normal(2, 1, 3, 5), "softcap", float32(0.5)), masked(d.bools(3, 5)),
		{attrs: three, in: []*Array{d.normal(2, 3, 8), d.normal(2, 5, 4), d.normal(2, 5, 6)}},
		{attrs: attrs("is_causal", int64(1)), in: []*Array{q, k, v, nil, d.normal(2, 4, 2, 6), d.normal(2, 4, 2, 7)}, outputs: 3}}
	for mode := range int64(4) {
		list = append(list, sample{attrs: attrs("qk_matmul_output_mode", mode, "softcap", float32(0.5)), in: []*Array{q, k, v, d.normal(3, 5)}, outputs: 4})
	}
	x, angles := d.normal(2, 3, 4, 8), d.normal(10, 4)
	return map[string][]sample{
		":Attention": list,
		":RotaryEmbedding": {{in: []*Array{x, angles, d.normal(10, 4), d.ints(0, 9, 2, 4)}}, {in: []*Array{x, d.normal(2, 4, 4), d.normal(2, 4, 4)}, attrs: attrs("interleaved", int64(1))},
			{in: []*Array{d.normal(2, 4, 24), d.normal(10, 2), d.normal(10, 2), d.ints(0, 9, 2, 4)}, attrs: attrs("num_heads", int64(3), "rotary_embedding_dim", int64(4))}},
	}
}

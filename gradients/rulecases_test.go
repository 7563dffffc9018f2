package gradients

import (
	"github.com/relevit/relevit/onnx"
)

func ruleCases() []ruleCase {
	vec, mat := [][]int64{{5}}, [][]int64{{3, 4}}
	two := [][]int64{{2, 3, 4}, {3, 1}}
	cases := []ruleCase{
		{name: "Add broadcast", op: "Add", shapes: two, apply: op("Add", nil)},
		{name: "Sub broadcast", op: "Sub", shapes: two, apply: op("Sub", nil)},
		{name: "Mul broadcast", op: "Mul", shapes: two, apply: op("Mul", nil)},
		{name: "Mul with itself", op: "Mul", shapes: mat, apply: func(b *onnx.Builder, x []*onnx.Value) *onnx.Value { return b.Mul(x[0], x[0]) }},
		{name: "Div broadcast", op: "Div", shapes: two, low: 0.5, high: 2, apply: op("Div", nil)},
		{name: "Pow trained exponent", op: "Pow", shapes: [][]int64{{3, 4}, {4}}, low: 0.5, high: 2, apply: op("Pow", nil)},
		{name: "Pow square of negatives", op: "Pow", shapes: mat, apply: op("Pow", nil, scalar(2))},
		{name: "Pow cube of negatives", op: "Pow", shapes: mat, apply: op("Pow", nil, scalar(3))},
		{name: "Pow integer exponent", op: "Pow", shapes: mat, apply: op("Pow", nil, onnx.Int64Tensor([]int64{2}))},
		{name: "Pow half", op: "Pow", shapes: mat, low: 0.5, high: 2, apply: op("Pow", nil, scalar(0.5))},
		{name: "Sum", op: "Sum", shapes: [][]int64{{3, 4}, {4}, {3, 1}}, apply: op("Sum", nil)},
		{name: "Max", op: "Max", shapes: [][]int64{{3, 4}, {4}, {3, 1}}, apply: op("Max", nil)},
		{name: "Min", op: "Min", shapes: [][]int64{{3, 4}, {4}}, apply: op("Min", nil)},
		{name: "Sqrt", op: "Sqrt", shapes: vec, low: 0.5, high: 2, apply: op("Sqrt", nil)},
		{name: "Reciprocal", op: "Reciprocal", shapes: vec, low: 0.5, high: 2, apply: op("Reciprocal", nil)},
		{name: "Log", op: "Log", shapes: vec, low: 0.5, high: 2, apply: op("Log", nil)},
		{name: "LeakyRelu", op: "LeakyRelu", shapes: vec, apply: op("LeakyRelu", []onnx.Attr{at("alpha", float32(0.25))})},
		{name: "HardSigmoid", op: "HardSigmoid", shapes: [][]int64{{40}}, low: -4, high: 4, apply: op("HardSigmoid", []onnx.Attr{at("alpha", float32(0.25))})},
		{name: "HardSwish", op: "HardSwish", shapes: [][]int64{{40}}, low: -4, high: 4, apply: op("HardSwish", nil)},
		{name: "Gelu", op: "Gelu", shapes: vec, apply: op("Gelu", nil)},
		{name: "Gelu tanh", op: "Gelu", shapes: vec, apply: op("Gelu", []onnx.Attr{at("approximate", "tanh")})},
		{name: "Clip both", op: "Clip", shapes: [][]int64{{20}}, apply: op("Clip", nil, scalar(-0.5), scalar(0.5))},
		{name: "Clip low", op: "Clip", shapes: [][]int64{{20}}, apply: op("Clip", nil, scalar(0))},
		{name: "Clip high", op: "Clip", shapes: [][]int64{{20}}, apply: op("Clip", nil, nil, scalar(0))},
		{name: "Where", op: "Where", shapes: [][]int64{{3, 4}, {4}}, apply: func(b *onnx.Builder, x []*onnx.Value) *onnx.Value {
			return b.Where(b.Const(onnx.BoolTensor([]bool{true, false, true}, 3, 1)), x[0], b.Mul(x[1], x[1]))
		}},
		{name: "Dropout", op: "Dropout", shapes: vec, apply: op("Dropout", nil)},
		{name: "Cast", op: "Cast", shapes: vec, apply: op("Cast", []onnx.Attr{at("to", int64(onnx.Double))})},
		{name: "CastLike", op: "CastLike", shapes: vec, apply: op("CastLike", nil, scalar(1))},
		{name: "CumSum", op: "CumSum", shapes: mat, apply: op("CumSum", []onnx.Attr{at("exclusive", int64(1))}, onnx.Int64Tensor([]int64{1}))},
		{name: "GlobalAveragePool", op: "GlobalAveragePool", shapes: [][]int64{{2, 3, 4, 5}}, apply: op("GlobalAveragePool", nil)},
		{name: "Softmax", op: "Softmax", shapes: [][]int64{{2, 3, 4}}, apply: op("Softmax", []onnx.Attr{at("axis", int64(1))})},
		{name: "Softmax that weights values", op: "Softmax", shapes: [][]int64{{2, 3, 4}, {2, 4, 5}}, apply: func(b *onnx.Builder, x []*onnx.Value) *onnx.Value {
			return b.MatMul(b.Softmax(x[0], -1), x[1])
		}},
		{name: "HardSigmoid of Erf", op: "HardSigmoid", shapes: vec, apply: func(b *onnx.Builder, x []*onnx.Value) *onnx.Value {
			return b.Op("HardSigmoid", []onnx.Attr{at("alpha", float32(0.5)), at("beta", float32(0.5))}, b.Op("Erf", nil, x[0]))
		}},
		{name: "LogSoftmax", op: "LogSoftmax", shapes: [][]int64{{2, 3, 4}}, apply: op("LogSoftmax", nil)},
		{name: "LayerNormalization", op: "LayerNormalization", shapes: [][]int64{{2, 3, 4}, {4}, {4}}, apply: op("LayerNormalization", nil)},
		{name: "LayerNormalization of two axes without bias", op: "LayerNormalization", shapes: [][]int64{{2, 3, 4}, {3, 4}},
			apply: op("LayerNormalization", []onnx.Attr{at("axis", int64(1)), at("epsilon", float32(1e-3))})},
		{name: "LayerNormalization's moments", op: "LayerNormalization", shapes: [][]int64{{2, 3, 4}, {4}, {4}}, apply: func(b *onnx.Builder, x []*onnx.Value) *onnx.Value {
			y := b.Ops("LayerNormalization", 3, nil, x...)
			return b.Add(b.Mul(y[0], y[1]), y[2])
		}},
		{name: "BatchNormalization", op: "BatchNormalization", shapes: [][]int64{{2, 3, 4, 2}, {3}, {3}}, apply: op("BatchNormalization", nil,
			onnx.DoubleTensor([]float64{.1, .2, .3}, 3), onnx.DoubleTensor([]float64{1, .5, 2}, 3))},
		{name: "Tile", op: "Tile", shapes: mat, apply: op("Tile", nil, ints(2, 3))},
		{name: "Trilu", op: "Trilu", shapes: mat, apply: op("Trilu", []onnx.Attr{at("upper", int64(0))})},
		{name: "Pad", op: "Pad", shapes: mat, apply: op("Pad", nil, ints(1, 0, 2, 3))},
		{name: "Pad some axes", op: "Pad", shapes: mat, apply: op("Pad", nil, ints(2, 1), nil, ints(-1))},
		{name: "Resize cubic", op: "Resize", shapes: [][]int64{{2, 1, 4, 5}}, batch: true, apply: op("Resize", []onnx.Attr{at("mode", "cubic")},
			nil, onnx.DoubleTensor([]float64{1, 1, 1.6, 0.7}, 4))},
		{name: "Resize antialiased", op: "Resize", shapes: [][]int64{{1, 2, 5, 6}}, apply: op("Resize",
			[]onnx.Attr{at("mode", "linear"), at("antialias", int64(1)), at("axes", []int64{3, 2})}, nil, nil, ints(3, 7))},
		{name: "Resize nearest", op: "Resize", shapes: [][]int64{{1, 1, 3, 4}}, apply: op("Resize", nil, nil, nil, ints(1, 1, 7, 2))},
		{name: "Expand", op: "Expand", shapes: [][]int64{{3, 1}}, apply: op("Expand", nil, ints(2, 1, 4))},
		{name: "Transpose", op: "Transpose", shapes: [][]int64{{2, 3, 4}}, apply: op("Transpose", []onnx.Attr{at("perm", []int64{2, 0, 1})})},
		{name: "Transpose reversed", op: "Transpose", shapes: [][]int64{{2, 3, 4}}, apply: op("Transpose", nil)},
		{name: "Reshape", op: "Reshape", shapes: [][]int64{{2, 3, 4}}, apply: op("Reshape", nil, ints(0, -1))},
		{name: "Reshape dynamic batch", op: "Reshape", shapes: [][]int64{{2, 3, 4}}, batch: true, apply: op("Reshape", nil, ints(0, 12))},
		{name: "Flatten", op: "Flatten", shapes: [][]int64{{2, 3, 4}}, apply: op("Flatten", nil)},
		{name: "Squeeze", op: "Squeeze", shapes: [][]int64{{2, 1, 4}}, apply: op("Squeeze", nil, ints(1))},
		{name: "Unsqueeze", op: "Unsqueeze", shapes: mat, apply: op("Unsqueeze", nil, ints(0, -1))},
		{name: "Concat", op: "Concat", shapes: [][]int64{{2, 3}, {2, 1}, {2, 2}}, apply: op("Concat", []onnx.Attr{at("axis", int64(-1))})},
		{name: "Split", op: "Split", shapes: [][]int64{{2, 6}}, apply: func(b *onnx.Builder, x []*onnx.Value) *onnx.Value {
			y := b.Ops("Split", 3, []onnx.Attr{at("axis", int64(1))}, x[0], b.Ints(1, 3, 2))
			return b.Mul(b.Concat(1, y[0], y[2]), b.Op("Exp", nil, b.Concat(1, y[2], y[0]))) // the middle is unused
		}},
		{name: "Slice", op: "Slice", shapes: [][]int64{{4, 6}}, apply: op("Slice", nil, ints(1, -4), ints(3, 1<<62), ints(0, 1))},
		{name: "Slice by steps", op: "Slice", shapes: [][]int64{{4, 6}}, apply: op("Slice", nil, ints(0, -1), ints(4, -100), ints(0, 1), ints(2, -2))},
		{name: "Slice dynamic batch", op: "Slice", shapes: [][]int64{{4, 6}}, batch: true, apply: op("Slice", nil, ints(1), ints(3), ints(1))},
		{name: "Gather one", op: "Gather", shapes: mat, apply: op("Gather", []onnx.Attr{at("axis", int64(1))}, onnx.Int64Tensor([]int64{-2}))},
		{name: "Gather a list of one", op: "Gather", shapes: mat, apply: op("Gather", []onnx.Attr{at("axis", int64(1))}, ints(2))},
		{name: "Gather repeated", op: "Gather", shapes: [][]int64{{2, 4, 3}}, apply: op("Gather", []onnx.Attr{at("axis", int64(1))}, onnx.Int64Tensor([]int64{0, 3, 3, 1, 0, 0}, 2, 3))},
		{name: "Gather dynamic batch", op: "Gather", shapes: [][]int64{{2, 4, 3}}, batch: true, apply: op("Gather", []onnx.Attr{at("axis", int64(1))}, ints(0, 3, 3))},
		{name: "GatherElements", op: "GatherElements", shapes: mat, apply: op("GatherElements", []onnx.Attr{at("axis", int64(1))}, onnx.Int64Tensor([]int64{0, 0, 3, 1, 2, 2}, 3, 2))},
		{name: "GatherND", op: "GatherND", shapes: mat, apply: op("GatherND", nil, onnx.Int64Tensor([]int64{0, 1, 2, 3, 0, 1}, 3, 2))},
		{name: "Conv", op: "Conv", shapes: [][]int64{{2, 3, 8, 7}, {4, 3, 3, 2}, {4}}, apply: op("Conv", []onnx.Attr{
			at("strides", []int64{2, 3}), at("pads", []int64{1, 0, 0, 1}), at("dilations", []int64{1, 2})})},
		{name: "Conv patches", op: "Conv", shapes: [][]int64{{2, 3, 8, 8}, {5, 3, 4, 4}}, batch: true, apply: op("Conv", []onnx.Attr{at("strides", []int64{4, 4})})},
		{name: "Conv groups", op: "Conv", shapes: [][]int64{{2, 4, 5, 5}, {6, 2, 3, 3}}, apply: op("Conv", []onnx.Attr{at("group", int64(2)), at("pads", []int64{1, 1, 1, 1})})},
		{name: "ConvTranspose", op: "ConvTranspose", shapes: [][]int64{{2, 3, 4, 3}, {3, 2, 3, 2}, {2}}, apply: op("ConvTranspose", []onnx.Attr{
			at("strides", []int64{2, 1}), at("pads", []int64{1, 0, 0, 1}), at("output_padding", []int64{1, 0})})},
		{name: "Gemm", op: "Gemm", shapes: [][]int64{{3, 4}, {4, 5}, {5}}, apply: op("Gemm", []onnx.Attr{at("alpha", float32(0.5)), at("beta", float32(2))})},
		{name: "Gemm transA", op: "Gemm", shapes: [][]int64{{4, 3}, {4, 5}, {3, 1}}, apply: op("Gemm", []onnx.Attr{at("transA", int64(1))})},
		{name: "Gemm transB", op: "Gemm", shapes: [][]int64{{3, 4}, {5, 4}, {1}}, apply: op("Gemm", []onnx.Attr{at("transB", int64(1))})},
		{name: "Gemm both", op: "Gemm", shapes: [][]int64{{4, 3}, {5, 4}}, apply: op("Gemm", []onnx.Attr{at("transA", int64(1)), at("transB", int64(1))})},
		{name: "MatMul", op: "MatMul", shapes: mat2(3, 4, 5), apply: op("MatMul", nil)},
		{name: "MatMul batches", op: "MatMul", shapes: [][]int64{{2, 3, 4, 5}, {3, 5, 2}}, apply: op("MatMul", nil)},
		{name: "MatMul weight", op: "MatMul", shapes: [][]int64{{2, 3, 4}, {4, 5}}, apply: op("MatMul", nil)},
		{name: "MatMul broadcast first", op: "MatMul", shapes: [][]int64{{1, 1, 4}, {3, 4, 4}}, apply: op("MatMul", nil)},
		{name: "MatMul matrix vector", op: "MatMul", shapes: [][]int64{{2, 3, 4}, {4}}, apply: op("MatMul", nil)},
		{name: "MatMul vector matrix", op: "MatMul", shapes: [][]int64{{3}, {2, 3, 4}}, apply: op("MatMul", nil)},
		{name: "MatMul vectors", op: "MatMul", shapes: [][]int64{{4}, {4}}, apply: op("MatMul", nil)},
		{name: "Einsum scores", op: "Einsum", shapes: [][]int64{{2, 3, 4, 5}, {2, 3, 6, 5}}, apply: op("Einsum", []onnx.Attr{at("equation", "bhid,bhjd->bhij")})},
		{name: "Einsum ellipsis", op: "Einsum", shapes: [][]int64{{2, 4, 3, 5}, {2, 6, 3, 5}}, apply: op("Einsum", []onnx.Attr{at("equation", "...qhd,...khd->...hqk")})},
	}
	for name, attrs := range map[string][]onnx.Attr{"Neg": nil, "Abs": nil, "Erf": nil, "Exp": nil, "Sin": nil, "Cos": nil, "Tanh": nil,
		"Sigmoid": nil, "Softplus": nil, "Relu": nil, "Identity": nil} {
		cases = append(cases, ruleCase{name: name, op: name, shapes: vec, apply: op(name, attrs)})
	}
	for _, name := range []string{"ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMin"} {
		shape := [][]int64{{2, 3, 4}}
		cases = append(cases,
			ruleCase{name: name, op: name, shapes: shape, apply: op(name, []onnx.Attr{at("keepdims", int64(0))}, ints(1))},
			ruleCase{name: name + " keepdims", op: name, shapes: shape, apply: op(name, nil, ints(0, -1))},
			ruleCase{name: name + " all", op: name, shapes: shape, apply: op(name, []onnx.Attr{at("keepdims", int64(0))})},
			ruleCase{name: name + " dynamic batch", op: name, shapes: shape, batch: true, apply: op(name, []onnx.Attr{at("keepdims", int64(0))}, ints(0, 2))})
	}
	for _, reduction := range []string{"none", "add"} {
		attrs := []onnx.Attr{at("axis", int64(1)), at("reduction", reduction)}
		index := onnx.Int64Tensor([]int64{0, 2, 3, 1, 2, 0}, 3, 2)
		places := onnx.Int64Tensor([]int64{2, 0}, 2, 1)
		cases = append(cases,
			ruleCase{name: "ScatterElements " + reduction, op: "ScatterElements", shapes: [][]int64{{3, 4}, {3, 2}}, apply: func(b *onnx.Builder, x []*onnx.Value) *onnx.Value {
				return b.Op("ScatterElements", attrs, x[0], b.Const(index), x[1])
			}},
			ruleCase{name: "ScatterND " + reduction, op: "ScatterND", shapes: [][]int64{{3, 4}, {2, 4}}, apply: func(b *onnx.Builder, x []*onnx.Value) *onnx.Value {
				return b.Op("ScatterND", attrs[1:], x[0], b.Const(places), x[1])
			}})
	}
	return cases
}

func mat2(m, k, n int64) [][]int64 { return [][]int64{{m, k}, {k, n}} }

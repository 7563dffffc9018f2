package onnx

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// fl is a float input; dimensions are numbers or names.
func fl(dims ...any) *Value { return &Value{Name: "x", Type: Float, Shape: dimsOf(dims)} }

// in is an int64 input of unknown elements.
func in(dims ...any) *Value { return &Value{Name: "i", Type: Int64, Shape: dimsOf(dims)} }

// vec is a constant int64 vector.
func vec(v ...int64) *Value { return constant(Int64Tensor(v, int64(len(v)))) }

// num is a constant int64 scalar.
func num(v int64) *Value { return constant(Int64Tensor([]int64{v})) }

func floats(v ...float32) *Value { return constant(FloatTensor(v, int64(len(v)))) }

// el is an int64 vector whose elements inference knows, possibly by name.
func el(dims ...any) *Value {
	return &Value{Name: "e", Type: Int64, Shape: ShapeOf(int64(len(dims))), Elems: []Dim(dimsOf(dims))}
}

func bools(v ...bool) *Value { return constant(BoolTensor(v, int64(len(v)))) }

func constant(t *Tensor) *Value {
	return &Value{Name: "c", Type: t.Type, Shape: t.Shape(), Data: t, Elems: elemsOf(t)}
}

func dimsOf(dims []any) Shape {
	s := Shape{}
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			s = append(s, D(int64(d)))
		case string:
			if d == "?" {
				s = append(s, Unknown)
			} else {
				s = append(s, Dim{1, d})
			}
		case Dim:
			s = append(s, d)
		}
	}
	return s
}

func at(pairs ...any) []Attr {
	var out []Attr
	for i := 0; i < len(pairs); i += 2 {
		v := pairs[i+1]
		if k, ok := v.(int); ok {
			v = int64(k)
		}
		out = append(out, Attr{pairs[i].(string), v})
	}
	return out
}

type inferCase struct {
	op    string
	in    []*Value
	attrs []Attr
	want  string // outputs, separated by a space; elements behind an equals sign
}

func (c inferCase) run() (string, error) {
	n := &Node{Name: "n", Op: c.op, Attrs: c.attrs, Inputs: c.in}
	for range strings.Count(c.want, " ") + 1 {
		n.Outputs = append(n.Outputs, &Value{Name: "y", Node: n})
	}
	if err := Infer(n); err != nil {
		return "", err
	}
	var parts []string
	for _, v := range n.Outputs {
		s := fmt.Sprintf("%v%v", v.Type, v.Shape)
		if v.Elems != nil {
			s += "=" + Shape(v.Elems).String()
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " "), nil
}

var inferCases = []inferCase{
	{"Relu", []*Value{fl("B", 3)}, nil, "float32(B,3)"},
	{"IsNaN", []*Value{fl("B", 3)}, nil, "bool(B,3)"},
	{"Add", []*Value{fl("B", 17, 4), fl(1, 17, 4)}, nil, "float32(B,17,4)"},
	{"Add", []*Value{fl(4), fl("B", 1, 4)}, nil, "float32(B,1,4)"},
	{"Add", []*Value{el("B", 2), num(1)}, nil, "int64(2)=(?,3)"},
	{"Sub", []*Value{el("B", 2), el("B", 5)}, nil, "int64(2)=(0,-3)"},
	{"Mul", []*Value{el("B", 2), num(3)}, nil, "int64(2)=(3*B,6)"},
	{"Div", []*Value{el(Dim{6, "B"}, 7), num(3)}, nil, "int64(2)=(2*B,2)"},
	{"Mod", []*Value{el(7, -7), num(3)}, nil, "int64(2)=(1,2)"},
	{"Mod", []*Value{el(7, -7), num(3)}, []Attr{{"fmod", int64(1)}}, "int64(2)=(1,-1)"},
	{"Pow", []*Value{fl("B", 3), num(2)}, nil, "float32(B,3)"},
	{"Max", []*Value{el(7, -7), num(3), num(4)}, nil, "int64(2)=(7,4)"},
	{"Min", []*Value{el(7, "B"), num(3)}, nil, "int64(2)=(3,?)"},
	{"Sum", []*Value{fl("B", 1), fl(1, 5), fl(5)}, nil, "float32(B,5)"},
	{"Neg", []*Value{el(7, "B")}, nil, "int64(2)=(-7,-1*B)"},
	{"Equal", []*Value{el("B", -1, 3), el(-1, -1, "?")}, nil, "bool(3)=(0,1,?)"},
	{"Greater", []*Value{el("B", -1), num(-1)}, nil, "bool(2)=(1,0)"},
	{"Less", []*Value{el("B", 2), num(2)}, nil, "bool(2)=(?,0)"},
	{"LessOrEqual", []*Value{el("B", 2), el("B", 2)}, nil, "bool(2)=(1,1)"},
	{"GreaterOrEqual", []*Value{el("B", 2), num(-1)}, nil, "bool(2)=(1,1)"},
	{"And", []*Value{bools(true, false), bools(true)}, nil, "bool(2)=(1,0)"},
	{"Or", []*Value{bools(true, false), bools(false)}, nil, "bool(2)=(1,0)"},
	{"Xor", []*Value{bools(true, false), bools(true)}, nil, "bool(2)=(0,1)"},
	{"IsInf", []*Value{fl("B", 3)}, nil, "bool(B,3)"},
	{"Not", []*Value{bools(true, false)}, nil, "bool(2)=(0,1)"},
	{"Where", []*Value{bools(true, false), el(1, 1), el("B", "B")}, nil, "int64(2)=(1,B)"},
	{"Where", []*Value{{Name: "c", Type: Bool, Shape: ShapeOf(4, 4)}, fl("B", 1, 4), fl()}, nil, "float32(B,4,4)"},
	{"Clip", []*Value{fl("B", 3), fl(), nil}, nil, "float32(B,3)"},
	{"Cast", []*Value{el("B", 3)}, at("to", 6), "int32(2)=(B,3)"},
	{"Cast", []*Value{el("B", 3)}, at("to", 1), "float32(2)"},
	{"CastLike", []*Value{fl("B"), el(1)}, nil, "int64(B)"},
	{"Dropout", []*Value{fl("B")}, nil, "float32(B) bool(B)"},
	{"Softmax", []*Value{fl("B", 3)}, at("axis", 1), "float32(B,3)"},

	{"Reshape", []*Value{fl("B", 32, 4, 4), el("B", 32, -1)}, nil, "float32(B,32,16)"},
	{"Reshape", []*Value{fl("B", 197, 576), vec(0, 0, 3, -1, 64)}, nil, "float32(B,197,3,3,64)"},
	{"Reshape", []*Value{fl("B", 17, 12), vec(-1, 17, 3, 4)}, nil, "float32(B,17,3,4)"},
	{"Reshape", []*Value{fl("B", 17, 12), el("?", 17, 3, 4)}, nil, "float32(B,17,3,4)"},
	{"Reshape", []*Value{fl("?", 17, 12), vec(0, -1)}, nil, "float32(?,204)"},
	{"Reshape", []*Value{fl("B", 3, 4), vec(-1, 4)}, nil, "float32(3*B,4)"},
	{"Reshape", []*Value{fl(Dim{3, "B"}, 4), vec(-1, 3, 4)}, nil, "float32(B,3,4)"},
	{"Reshape", []*Value{fl(0, 4), vec(0, 3)}, at("allowzero", 1), "float32(0,3)"},
	{"Reshape", []*Value{fl("B", 3, 4), in(2)}, nil, "float32(?,?)"},
	{"Reshape", []*Value{el("B", -1, 3), vec(-1)}, nil, "int64(3)=(B,-1,3)"},
	{"Flatten", []*Value{fl("B", 3, 4)}, nil, "float32(B,12)"},
	{"Flatten", []*Value{fl("B", 3, 4)}, at("axis", -1), "float32(3*B,4)"},
	{"Transpose", []*Value{fl("B", 3, 4)}, at("perm", []int64{2, 0, 1}), "float32(4,B,3)"},
	{"Transpose", []*Value{fl("B", 3, 4)}, nil, "float32(4,3,B)"},
	{"Squeeze", []*Value{fl(1, "B", 1), vec(0)}, nil, "float32(B,1)"},
	{"Squeeze", []*Value{fl(1, 2, 1)}, nil, "float32(2)"},
	{"Squeeze", []*Value{el("B"), vec(0)}, nil, "int64()=(B)"},
	{"Unsqueeze", []*Value{fl("B", 3), vec(0, -1)}, nil, "float32(1,B,3,1)"},
	{"Unsqueeze", []*Value{num(5), vec(0)}, nil, "int64(1)=(5)"},
	{"Concat", []*Value{fl("B", 1, 8), fl("B", 16, 8)}, at("axis", 1), "float32(B,17,8)"},
	{"Concat", []*Value{el("B"), vec(-1, 3), in(1)}, at("axis", 0), "int64(4)=(B,-1,3,?)"},
	{"Split", []*Value{fl(3, "B", 4), vec(1, 2)}, nil, "float32(1,B,4) float32(2,B,4)"},
	{"Split", []*Value{fl("B", 7)}, at("axis", -1, "num_outputs", 3), "float32(B,3) float32(B,3) float32(B,1)"},
	{"Expand", []*Value{fl(1, 1, 8), el("B", 1, 1)}, nil, "float32(B,1,8)"},
	{"Expand", []*Value{fl(1, 8), vec(3, 1, 1)}, nil, "float32(3,1,8)"},
	{"Tile", []*Value{fl("B", 1, 8), vec(1, 5, 2)}, nil, "float32(B,5,16)"},
	{"Constant", nil, at("value", Int64Tensor([]int64{1, 2}, 2)), "int64(2)=(1,2)"},
	{"Constant", nil, at("value_float", float32(2)), "float32()"},
	{"ConstantOfShape", []*Value{vec(2)}, at("value", Int64Tensor([]int64{-1}, 1)), "int64(2)=(-1,-1)"},
	{"ConstantOfShape", []*Value{el("B", 3)}, nil, "float32(B,3)"},
	{"Shape", []*Value{fl("B", 3, 4)}, nil, "int64(3)=(B,3,4)"},
	{"Shape", []*Value{fl("B", 3, 4)}, at("start", -2, "end", 9), "int64(2)=(3,4)"},
	{"Size", []*Value{fl("B", 3, 4)}, nil, "int64()=(12*B)"},
	{"Range", []*Value{num(1), num(8), num(3)}, nil, "int64(3)=(1,4,7)"},
	{"Range", []*Value{num(0), el("B"), num(1)}, nil, "int64(B)"},
	{"EyeLike", []*Value{fl(3, 4)}, at("dtype", 7), "int64(3,4)"},

	{"Slice", []*Value{fl("B", 17, 8), vec(1), vec(math.MaxInt64), vec(1)}, nil, "float32(B,16,8)"},
	{"Slice", []*Value{fl("B", 17, 8), vec(0, -3), vec(math.MaxInt64, -1), vec(0, 1), vec(1, 1)}, nil, "float32(B,2,8)"},
	{"Slice", []*Value{fl(10), vec(-1), vec(math.MinInt64), vec(0), vec(-3)}, nil, "float32(4)"},
	{"Slice", []*Value{fl("B"), vec(-1), vec(math.MinInt64), vec(0), vec(-1)}, nil, "float32(B)"},
	{"Slice", []*Value{fl("B", 8), vec(0), el("B"), vec(0)}, nil, "float32(B,8)"},
	{"Slice", []*Value{fl("B", 8), vec(1), vec(9), vec(0)}, nil, "float32(?,8)"},
	{"Slice", []*Value{el("B", 3, 4), vec(2), vec(-9), vec(0), vec(-2)}, nil, "int64(2)=(4,B)"},
	{"Gather", []*Value{fl("B", 17, 8), num(0)}, at("axis", 1), "float32(B,8)"},
	{"Gather", []*Value{fl(30, 8), in("B", 5)}, nil, "float32(B,5,8)"},
	{"Gather", []*Value{el("B", 3, 4), num(-3)}, nil, "int64()=(B)"},
	{"GatherElements", []*Value{fl("B", 17), in("B", 2)}, at("axis", 1), "float32(B,2)"},
	{"GatherND", []*Value{fl("B", 17, 8), in("B", 5, 1)}, at("batch_dims", 1), "float32(B,5,8)"},
	{"ScatterND", []*Value{fl("B", 17, 8), in("B", 5, 1), fl("B", 5)}, nil, "float32(B,17,8)"},
	{"ScatterElements", []*Value{fl("B", 17), in("B", 5), fl("B", 5)}, nil, "float32(B,17)"},
	{"OneHot", []*Value{in("B"), num(10), floats(0, 1)}, nil, "float32(B,10)"},
	{"OneHot", []*Value{in("B"), num(10), floats(0, 1)}, at("axis", 0), "float32(10,B)"},
	{"NonZero", []*Value{fl("B", 3)}, nil, "int64(2,?)"},

	{"ReduceMean", []*Value{fl("B", 3, 4), vec(-1)}, nil, "float32(B,3,1)"},
	{"ReduceSum", []*Value{fl("B", 3, 4), vec(1, 2)}, at("keepdims", 0), "float32(B)"},
	{"ReduceSum", []*Value{fl("B", 3, 4)}, at("keepdims", 0), "float32()"},
	{"ReduceSum", []*Value{fl("B", 3)}, at("noop_with_empty_axes", 1), "float32(B,3)"},
	{"ReduceMax", []*Value{fl("B", 3), in(1)}, nil, "float32(?,?)"},
	{"ReduceL1", []*Value{fl("B", 3, 4), vec(1)}, at("keepdims", 0), "float32(B,4)"},
	{"ReduceL2", []*Value{fl("B", 3, 4), vec(1)}, nil, "float32(B,1,4)"},
	{"ReduceLogSum", []*Value{fl("B", 3, 4), vec(0, 1)}, at("keepdims", 0), "float32(4)"},
	{"ReduceLogSumExp", []*Value{fl("B", 3, 4), vec(-1)}, at("keepdims", 0), "float32(B,3)"},
	{"ReduceSumSquare", []*Value{fl("B", 3, 4)}, nil, "float32(1,1,1)"},
	{"ArgMin", []*Value{fl("B", 3)}, nil, "int64(1,3)"},
	{"ReduceProd", []*Value{el("B", 3, 4)}, at("keepdims", 0), "int64()=(12*B)"},
	{"ReduceMin", []*Value{el(5, 3, 4)}, nil, "int64(1)=(3)"},
	{"ArgMax", []*Value{fl("B", 3)}, at("axis", -1, "keepdims", 0), "int64(B)"},
	{"TopK", []*Value{fl("B", 9), vec(4)}, nil, "float32(B,4) int64(B,4)"},

	{"MatMul", []*Value{fl("B", 3, 17, 8), fl(8, 5)}, nil, "float32(B,3,17,5)"},
	{"MatMul", []*Value{fl("B", 1, 17, 8), fl(3, 8, 5)}, nil, "float32(B,3,17,5)"},
	{"MatMul", []*Value{fl(8), fl("B", 8, 5)}, nil, "float32(B,5)"},
	{"MatMul", []*Value{fl(8), fl(8)}, nil, "float32()"},
	{"Gemm", []*Value{fl("B", 8), fl(5, 8), fl(5)}, at("transB", 1), "float32(B,5)"},
	{"Einsum", []*Value{fl("B", 3, 17, 8), fl("B", 3, 17, 8)}, at("equation", "bhid,bhjd->bhij"), "float32(B,3,17,17)"},
	{"Einsum", []*Value{fl("B", 17, 3, 8), fl("B", 9, 3, 8)}, at("equation", "...qhd, ...khd -> ...hqk"), "float32(B,3,17,9)"},
	{"Einsum", []*Value{fl(3, 4), fl(4, 5)}, at("equation", "ij,jk"), "float32(3,5)"},
	{"Attention", []*Value{fl("B", 3, 17, 8), fl("B", 3, 9, 8), fl("B", 3, 9, 6)}, nil,
		"float32(B,3,17,6) float32(B,3,9,8) float32(B,3,9,6) float32(B,3,17,9)"},
	{"Attention", []*Value{fl("B", 17, 24), fl("B", 17, 24), fl("B", 17, 24)}, at("q_num_heads", 3, "kv_num_heads", 3),
		"float32(B,17,24)"},
	{"LayerNormalization", []*Value{fl("B", 17, 8), fl(8), fl(8)}, nil, "float32(B,17,8) float32(B,17,1) float32(B,17,1)"},
	{"LayerNormalization", []*Value{fl("B", 17, 8), fl(17, 8)}, at("axis", 1), "float32(B,17,8) float32(B,1,1)"},
	{"RotaryEmbedding", []*Value{fl("B", 3, 17, 8), fl(17, 4), fl(17, 4)}, nil, "float32(B,3,17,8)"},
	{"InstanceNormalization", []*Value{fl("B", 8, 5), fl(8), fl(8)}, nil, "float32(B,8,5)"},
	{"RMSNormalization", []*Value{fl("B", 17, 8), fl(8)}, nil, "float32(B,17,8)"},
	{"GroupNormalization", []*Value{fl("B", 8, 5), fl(8), fl(8)}, at("num_groups", 2), "float32(B,8,5)"},
	{"BatchNormalization", []*Value{fl("B", 8, 5, 5), fl(8), fl(8), fl(8), fl(8)}, nil, "float32(B,8,5,5)"},

	{"Conv", []*Value{fl("B", 3, 32, 48), fl(24, 3, 8, 8)}, at("strides", []int64{8, 8}), "float32(B,24,4,6)"},
	{"Conv", []*Value{fl("B", 4, 9, 9), fl(8, 1, 3, 3)}, at("group", 4, "dilations", []int64{2, 2}, "pads", []int64{1, 1, 1, 1}), "float32(B,8,7,7)"},
	{"Conv", []*Value{fl("B", 3, 9, 9), fl(8, 3, 3, 3)}, at("auto_pad", "SAME_UPPER", "strides", []int64{2, 2}), "float32(B,8,5,5)"},
	{"ConvTranspose", []*Value{fl("B", 3, 4, 4), fl(3, 5, 3, 3)}, at("strides", []int64{2, 2}, "pads", []int64{1, 1, 1, 1}, "output_padding", []int64{1, 1}), "float32(B,5,8,8)"},
	{"MaxPool", []*Value{fl("B", 3, 9, 8)}, at("kernel_shape", []int64{2, 2}, "strides", []int64{2, 2}, "ceil_mode", 1), "float32(B,3,5,4) int64(B,3,5,4)"},
	{"LpPool", []*Value{fl("B", 3, 9)}, at("kernel_shape", []int64{3}, "strides", []int64{3}), "float32(B,3,3)"},
	{"AveragePool", []*Value{fl("B", 3, 9, 8)}, at("kernel_shape", []int64{3, 3}), "float32(B,3,7,6)"},
	{"GlobalAveragePool", []*Value{fl("B", 3, 9, 8)}, nil, "float32(B,3,1,1)"},
	{"Pad", []*Value{fl("B", 3, 8), vec(0, 1, 0, 0, 0, 2)}, nil, "float32(B,4,10)"},
	{"Pad", []*Value{fl("B", 3, 8), vec(1, 2), nil, vec(-1)}, nil, "float32(B,3,11)"},
	{"Resize", []*Value{fl("B", 3, 8, 8), nil, floats(1, 1, 2, 2.6)}, nil, "float32(B,3,16,20)"},
	{"Resize", []*Value{fl("B", 3, 8, 8), nil, nil, el("B", 3, 5, 6)}, nil, "float32(B,3,5,6)"},
	{"DepthToSpace", []*Value{fl("B", 12, 4, 5)}, at("blocksize", 2), "float32(B,3,8,10)"},
	{"SpaceToDepth", []*Value{fl("B", 3, 8, 10)}, at("blocksize", 2), "float32(B,12,4,5)"},
	{"CumSum", []*Value{fl("B", 3), num(1)}, nil, "float32(B,3)"},
}

func TestInferGivesTypesShapesAndElements(t *testing.T) {
	for _, c := range inferCases {
		got, err := c.run()
		if err != nil || got != c.want {
			t.Errorf("%s(%v) %v: got %s, %v; want %s", c.op, c.in, c.attrs, got, err, c.want)
		}
	}
}

func TestEveryInferenceRuleIsTested(t *testing.T) {
	tested := map[string]bool{}
	for _, c := range inferCases {
		tested[":"+c.op] = true
	}
	for key := range inferRules {
		if tested[key] {
			continue
		}
		// What isn't in the table is an operator of one input, or of two alike,
		// whose output has their shape.
		x := fl("B", 3)
		c := inferCase{op: strings.TrimPrefix(key, ":"), in: []*Value{x, x}, want: "float32(B,3)"}
		if got, err := c.run(); err != nil || got != c.want {
			t.Errorf("%s has no case, and as an operator that keeps shapes gives %s, %v", c.op, got, err)
		}
	}
}

func TestInferErrorsNameBothShapes(t *testing.T) {
	cases := []struct {
		inferCase
		parts []string
	}{
		{inferCase{"Add", []*Value{fl("B", 3), fl("B", 4)}, nil, ""}, []string{"(B,3)", "(B,4)"}},
		{inferCase{"MatMul", []*Value{fl("B", 17, 8), fl(9, 4)}, nil, ""}, []string{"(B,17,8)", "(9,4)"}},
		{inferCase{"Gemm", []*Value{fl("B", 8), fl(4, 8)}, nil, ""}, []string{"(B,8)", "(4,8)"}},
		{inferCase{"Reshape", []*Value{fl(2, 3), vec(4, 2)}, nil, ""}, []string{"(2,3)", "[4 2]", "6 elements against 8"}},
		{inferCase{"Reshape", []*Value{fl(2, 3), vec(4, -1)}, nil, ""}, []string{"(2,3)", "[4 -1]"}},
		{inferCase{"Concat", []*Value{fl(2, 3), fl(2, 4)}, at("axis", 0), ""}, []string{"(2,3)", "(2,4)"}},
		{inferCase{"Conv", []*Value{fl("B", 4, 8, 8), fl(8, 3, 2, 2)}, nil, ""}, []string{"(B,4,8,8)", "(8,3,2,2)"}},
		{inferCase{"Split", []*Value{fl(5), vec(2, 2)}, nil, " "}, []string{"(5)", "add up to 4"}},
		{inferCase{"Gather", []*Value{fl(5), num(5)}, nil, ""}, []string{"index 5", "(5)"}},
		{inferCase{"Squeeze", []*Value{fl(5), vec(0)}, nil, ""}, []string{"(5)", "not 1"}},
		{inferCase{"Einsum", []*Value{fl(2, 3), fl(4, 5)}, at("equation", "ij,jk"), ""}, []string{"(2,3)", "(4,5)"}},
		{inferCase{"Add", []*Value{fl(2), in(2)}, nil, ""}, []string{"float32", "int64"}},
		{inferCase{"MatMul", []*Value{fl(2)}, nil, ""}, []string{"no input 1"}},
		{inferCase{"Transpose", []*Value{fl(2, 3)}, at("perm", []int64{0, 2}), ""}, []string{"(2,3)", "[0 2]"}},
		{inferCase{"Transpose", []*Value{fl(2, 3)}, at("perm", []int64{1, -2}), ""}, []string{"(2,3)", "[1 -2]"}},
		{inferCase{"Transpose", []*Value{{Name: "x", Type: Float}}, at("perm", []int64{0, 12}), ""}, []string{"[0 12]"}},
		{inferCase{"Transpose", []*Value{{Name: "x", Type: Float}}, at("perm", []int64{1, 1}), ""}, []string{"[1 1]"}},
	}
	for _, c := range cases {
		_, err := c.run()
		for _, part := range append(c.parts, "node n ("+c.op+")") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s(%v): error %v doesn't say %q", c.op, c.in, err, part)
			}
		}
	}
}

func TestEveryRuleSurvivesMissingAndUnknownInputs(t *testing.T) {
	for key := range inferRules {
		for inputs := range 6 {
			n := &Node{Op: strings.TrimPrefix(key, ":"), Attrs: at("to", 1, "equation", "..."), Outputs: []*Value{nil, {Name: "y"}}}
			for range inputs {
				n.Inputs = append(n.Inputs, &Value{Name: "x"})
			}
			_ = Infer(n) // an error is fine, a panic is not
		}
	}
}

func TestInferChecksDeclaredShapes(t *testing.T) {
	n := &Node{Name: "n", Op: "Relu", Inputs: []*Value{fl("B", 3)}, Outputs: []*Value{{Name: "y", Type: Float, Shape: ShapeOf(8, 3)}}}
	if err := Infer(n); err != nil || n.Outputs[0].Shape.String() != "(B,3)" {
		t.Errorf("got %v, %v; want the inferred name to stay", n.Outputs[0], err)
	}
	n.Outputs[0].Shape = ShapeOf(8, 4)
	if err := Infer(n); err == nil || !strings.Contains(err.Error(), "(B,3)") || !strings.Contains(err.Error(), "(8,4)") {
		t.Errorf("got %v; want an error with both shapes", err)
	}
}

func TestInferFollowsTorchExpandArithmetic(t *testing.T) {
	g := NewGraph("expand")
	b := NewBuilder(g)
	image := g.AddInput("image", Float, Shape{{1, "B"}, D(16), D(8)})
	token := g.AddInit("cls", FloatTensor(make([]float32, 8), 1, 1, 8))
	batch := b.Op("Gather", nil, b.Op("Shape", nil, image), b.Int(0))
	want := b.Reshape(b.Concat(0, b.Unsqueeze(batch, 0), b.Ints(-1), b.Ints(-1)), ShapeOf(3))
	ones := b.Op("ConstantOfShape", at("value", Int64Tensor([]int64{1}, 1)), b.Op("Shape", nil, want))
	kept := b.Op("Equal", nil, want, b.Mul(ones, b.Int(-1)))
	y := b.Op("Expand", nil, token, b.Where(kept, ones, want))
	if b.Err() != nil || y.Shape.String() != "(B,1,8)" {
		t.Fatalf("got %v, %v", y, b.Err())
	}
}

package ref

import (
	"math"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// rows is a float64 matrix.
func rows(v ...[]float64) *Array { return Floats(slices.Concat(v...), len(v), len(v[0])) }

func row(v ...float64) *Array { return Floats(v, len(v)) }

// evaluate runs an operator and returns its first output.
func evaluate(t *testing.T, op string, a []onnx.Attr, in ...*Array) *Array {
	t.Helper()
	out, err := Node(&onnx.Node{Op: op, Attrs: a, Outputs: []*onnx.Value{{Name: "y"}}}, in)
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func TestOperatorsByHand(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	image := Floats([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3)
	ones := Floats([]float64{1, 1, 1, 1}, 1, 1, 2, 2)
	for _, c := range []struct {
		op    string
		attrs []onnx.Attr
		in    []*Array
		want  *Array
	}{
		{"Add", nil, []*Array{rows([]float64{1, 2}, []float64{3, 4}), Floats([]float64{10, 20}, 2, 1)}, rows([]float64{11, 12}, []float64{23, 24})},
		{"Div", nil, []*Array{vec(7, -7, 7, -7), vec(2, 2, -2, -2)}, vec(3, -3, -3, 3)},
		{"Mod", nil, []*Array{vec(-4, 7, 5, 4, -7, 8), vec(2, -3, 8, -2, 3, 5)}, vec(0, -2, 5, 0, 2, 3)},
		{"Mod", attrs("fmod", int64(1)), []*Array{row(-4.3, 7.2, 5), row(2.1, -3.4, 8)}, row(-0.1, 0.4, 5)},
		{"Pow", nil, []*Array{row(-2, 9, 2), vec(3, 0, -1)}, row(-8, 1, 0.5)},
		{"Max", nil, []*Array{row(1, nan, 3), row(2, 2, nan)}, row(2, nan, nan)},
		{"Add", nil, []*Array{vec(127, -128).As(onnx.Int8), vec(1, -1).As(onnx.Int8)}, vec(-128, 127).As(onnx.Int8)},
		{"Round", nil, []*Array{row(0.5, 1.5, 2.5, -0.5, -1.5)}, row(0, 2, 2, 0, -2)},
		{"Sign", nil, []*Array{row(-3, 0, 2)}, row(-1, 0, 1)},
		{"Clip", nil, []*Array{row(-1, 0.5, 9), Floats([]float64{2}), Floats([]float64{1})}, row(1, 1, 1)},
		{"Erf", nil, []*Array{row(0, 0.5, -0.5)}, row(0, 0.5204998778130465, -0.5204998778130465)},
		{"Gelu", nil, []*Array{row(0, 1, -1)}, row(0, 0.8413447460685429, -0.15865525393145707)},
		{"Gelu", attrs("approximate", "tanh"), []*Array{row(1)}, row(0.8411919906082768)},
		{"Softplus", nil, []*Array{row(0, 1000, -1000)}, row(math.Ln2, 1000, 0)},
		{"Sigmoid", nil, []*Array{row(0, -1000, 1000)}, row(0.5, 0, 1)},
		{"Softmax", attrs("axis", int64(0)), []*Array{rows([]float64{0, 1000}, []float64{math.Log(3), 1000})}, rows([]float64{0.25, 0.5}, []float64{0.75, 0.5})},
		{"LogSoftmax", nil, []*Array{row(0, math.Log(3))}, row(math.Log(0.25), math.Log(0.75))},
		{"LayerNormalization", attrs("epsilon", float32(0)), []*Array{rows([]float64{1, 3}, []float64{5, -5}), row(2, 3), row(0, 1)}, rows([]float64{-2, 4}, []float64{2, -2})},
		{"RMSNormalization", attrs("epsilon", float32(0)), []*Array{rows([]float64{1, 7}), row(1, 10)}, rows([]float64{0.2, 14})},
		{"BatchNormalization", attrs("epsilon", float32(0)), []*Array{rows([]float64{3, 4}), row(1, 2), row(0, 1), row(1, 1), row(4, 9)}, rows([]float64{1, 3})},
		{"MatMul", nil, []*Array{row(1, 2), Floats([]float64{1, 2, 3, 4, 5, 6}, 3, 2, 1)}, Floats([]float64{5, 11, 17}, 3, 1)},
		{"Gemm", attrs("transB", int64(1), "alpha", float32(2), "beta", float32(0.5)), []*Array{rows([]float64{1, 2}), rows([]float64{3, 4}, []float64{5, 6}), row(2, 4)}, rows([]float64{23, 36})},
		{"Einsum", attrs("equation", "ii"), []*Array{rows([]float64{1, 2}, []float64{3, 4})}, Floats([]float64{5})},
		{"Einsum", attrs("equation", "...i,...i->..."), []*Array{rows([]float64{1, 2}, []float64{3, 4}), row(1, 10)}, row(21, 43)},
		{"Conv", nil, []*Array{image, ones}, Floats([]float64{12, 16, 24, 28}, 1, 1, 2, 2)},
		{"Conv", attrs("pads", list(1, 1, 0, 0), "strides", list(2, 2)), []*Array{image, ones, row(100)}, Floats([]float64{101, 105, 111, 128}, 1, 1, 2, 2)},
		{"ConvTranspose", attrs("strides", list(1, 1)), []*Array{Floats([]float64{1, 2, 3, 4}, 1, 1, 2, 2), ones}, Floats([]float64{1, 3, 2, 4, 10, 6, 3, 7, 4}, 1, 1, 3, 3)},
		{"AveragePool", attrs("kernel_shape", list(2, 2), "pads", list(1, 1, 0, 0), "strides", list(2, 2)), []*Array{image}, Floats([]float64{1, 2.5, 5.5, 7}, 1, 1, 2, 2)},
		{"AveragePool", attrs("kernel_shape", list(2, 2), "pads", list(1, 1, 0, 0), "strides", list(2, 2), "count_include_pad", int64(1)), []*Array{image}, Floats([]float64{0.25, 1.25, 2.75, 7}, 1, 1, 2, 2)},
		{"MaxPool", attrs("kernel_shape", list(2, 2), "strides", list(2, 2), "ceil_mode", int64(1)), []*Array{image}, Floats([]float64{5, 6, 8, 9}, 1, 1, 2, 2)},
		{"Resize", attrs("mode", "linear"), []*Array{row(0, 4), nil, row(2)}, row(0, 1, 3, 4)},
		{"Resize", nil, []*Array{row(1, 2), nil, nil, vec(3)}, row(1, 1, 2)},
		{"ReduceSum", attrs("keepdims", int64(0)), []*Array{rows([]float64{1, 2}, []float64{3, 4}), vec(-1)}, row(3, 7)},
		{"ReduceSum", attrs("noop_with_empty_axes", int64(1)), []*Array{row(1, 2), vec()}, row(1, 2)},
		{"ReduceMax", nil, []*Array{Floats(nil, 0, 2), vec(0)}, rows([]float64{-inf, -inf})},
		{"ReduceProd", nil, []*Array{Floats(nil, 0)}, row(1)},
		{"ReduceL2", nil, []*Array{row(3, 4)}, row(5)},
		{"ReduceLogSumExp", nil, []*Array{row(1000, 1000)}, row(1000 + math.Ln2)},
		{"ArgMax", nil, []*Array{row(1, 3, 3)}, vec(1)},
		{"ArgMax", attrs("select_last_index", int64(1)), []*Array{row(1, 3, 3)}, vec(2)},
		{"CumSum", attrs("exclusive", int64(1), "reverse", int64(1)), []*Array{row(1, 2, 3), num(0)}, row(5, 3, 0)},
		{"TopK", nil, []*Array{row(3, 1, 3, 2), vec(3)}, row(3, 3, 2)},
		{"Reshape", nil, []*Array{Floats(make([]float64, 6), 2, 3), vec(0, -1, 1)}, Floats(make([]float64, 6), 2, 3, 1)},
		{"Squeeze", nil, []*Array{Floats([]float64{1}, 1, 1)}, Floats([]float64{1})},
		{"Slice", nil, []*Array{row(0, 1, 2, 3, 4), vec(-1), vec(-100), vec(0), vec(-2)}, row(4, 2, 0)},
		{"Expand", nil, []*Array{Floats([]float64{1, 2}, 2, 1), vec(2, 1, 2)}, Floats([]float64{1, 1, 2, 2, 1, 1, 2, 2}, 2, 2, 2)},
		{"Tile", nil, []*Array{rows([]float64{1, 2}), vec(2, 2)}, rows([]float64{1, 2, 1, 2}, []float64{1, 2, 1, 2})},
		{"Pad", attrs("mode", "reflect"), []*Array{row(1, 2, 3), vec(2, 3)}, row(3, 2, 1, 2, 3, 2, 1, 2)},
		{"Pad", nil, []*Array{row(1, 2, 3), vec(-1, 1), Floats([]float64{9})}, row(2, 3, 9)},
		{"Trilu", attrs("upper", int64(0)), []*Array{rows([]float64{1, 2}, []float64{3, 4}), num(0)}, rows([]float64{1, 0}, []float64{3, 4})},
		{"Shape", attrs("start", int64(-1)), []*Array{Floats(make([]float64, 6), 2, 3)}, vec(3)},
		{"Range", nil, []*Array{num(10), num(4), num(-2)}, vec(10, 8, 6)},
		{"Gather", attrs("axis", int64(1)), []*Array{rows([]float64{1, 2}, []float64{3, 4}), num(-1)}, row(2, 4)},
		{"GatherElements", attrs("axis", int64(1)), []*Array{rows([]float64{1, 2}, []float64{3, 4}), Ints([]int64{0, 0, 1, 0}, 2, 2)}, rows([]float64{1, 1}, []float64{4, 3})},
		{"GatherND", nil, []*Array{rows([]float64{1, 2}, []float64{3, 4}), Ints([]int64{0, 1, 1, 0}, 2, 2)}, row(2, 3)},
		{"ScatterElements", attrs("axis", int64(0), "reduction", "add"), []*Array{row(1, 2, 3), vec(1, 1), row(10, 20)}, row(1, 32, 3)},
		{"ScatterND", nil, []*Array{row(1, 2, 3), Ints([]int64{2, 0}, 2, 1), row(9, 8)}, row(8, 2, 9)},
		{"OneHot", nil, []*Array{vec(1, -1, 5), num(3), vec(0, 1)}, Ints([]int64{0, 1, 0, 0, 0, 1, 0, 0, 0}, 3, 3)},
		{"NonZero", nil, []*Array{rows([]float64{1, 0}, []float64{1, 1})}, Ints([]int64{0, 1, 1, 0, 0, 1}, 2, 3)},
		{"Cast", attrs("to", int64(onnx.Int64)), []*Array{row(-1.9, 1.9, nan)}, vec(-1, 1, 0)},
		{"Cast", attrs("to", int64(onnx.Uint8)), []*Array{vec(-1, 256)}, vec(255, 0).As(onnx.Uint8)},
		{"Cast", attrs("to", int64(onnx.Float16)), []*Array{row(0.1)}, row(0.1).As(onnx.Float16)},
		{"Equal", nil, []*Array{row(nan, 1), row(nan, 1)}, Bools([]bool{false, true}, 2)},
		{"Where", nil, []*Array{Bools([]bool{true, false}, 2, 1), row(1, 2), Floats([]float64{0})}, rows([]float64{1, 2}, []float64{0, 0})},
		{"IsInf", attrs("detect_positive", int64(0)), []*Array{row(inf, -inf, nan)}, Bools([]bool{false, true, false}, 3)},
		{"EyeLike", attrs("k", int64(1)), []*Array{rows([]float64{0, 0}, []float64{0, 0})}, rows([]float64{0, 1}, []float64{0, 0})},
	} {
		t.Run(c.op, func(t *testing.T) { equals(t, evaluate(t, c.op, c.attrs, c.in...), c.want) })
	}
}

func TestAttentionGivesZeroRowsWhereNoKeyIsAllowed(t *testing.T) {
	q, v := Floats([]float64{1, 1}, 1, 1, 2, 1), Floats([]float64{4, 8}, 1, 1, 2, 1)
	mask := Bools([]bool{true, true, false, false}, 2, 2)
	equals(t, evaluate(t, "Attention", nil, q, q, v, mask), Floats([]float64{6, 0}, 1, 1, 2, 1))
}

func TestOperatorsLeaveTheirInputsAlone(t *testing.T) {
	for key, list := range samples() {
		for i, s := range list {
			var before []*Array
			for _, x := range s.in {
				if x != nil {
					x = x.clone()
				}
				before = append(before, x)
			}
			g, inputs := s.graph(key)
			if _, err := Run(g, inputs); err != nil {
				t.Error(err)
			}
			for j, x := range s.in {
				if x == nil {
					continue
				}
				if err := differ(x, before[j], 0); err != nil {
					t.Errorf("%s sample %d changes input %d: %v", key, i, j, err)
				}
			}
		}
	}
}

func TestTensorsRoundToTheirType(t *testing.T) {
	x := row(0, -1.5, 1.0/3, 65520, 6e-8, 1e-9, 2049, 2051, math.Inf(-1), math.NaN())
	for _, c := range []struct {
		to   onnx.DType
		want []float64
	}{
		{onnx.Double, x.F},
		{onnx.Float, []float64{0, -1.5, float64(float32(1.0 / 3)), 65520, float64(float32(6e-8)), float64(float32(1e-9)), 2049, 2051, math.Inf(-1), math.NaN()}},
		{onnx.Float16, []float64{0, -1.5, 0.333251953125, math.Inf(1), 0x1p-24, 0, 2048, 2052, math.Inf(-1), math.NaN()}},
		{onnx.BFloat16, []float64{0, -1.5, 0.333984375, 65536, 0x1.02p-24, 0x1.12p-30, 2048, 2048, math.Inf(-1), math.NaN()}},
	} {
		tensor, err := x.Tensor(c.to)
		if err != nil {
			t.Fatal(err)
		}
		got, err := FromTensor(tensor)
		if err != nil {
			t.Fatal(err)
		}
		if err := differ(got, row(c.want...).As(c.to), 0); err != nil {
			t.Errorf("%v: %v", c.to, err)
		}
	}
	for _, y := range []*Array{vec(-5, 7).As(onnx.Int8), vec(250, 1).As(onnx.Uint8), vec(-1<<40, 3), Bools([]bool{true, false}, 1, 2)} {
		tensor, err := y.Tensor(y.Type)
		if err != nil {
			t.Fatal(err)
		}
		got, err := FromTensor(tensor)
		if err != nil {
			t.Fatal(err)
		}
		if err := differ(got, y, 0); err != nil {
			t.Errorf("%v: %v", y, err)
		}
	}
}

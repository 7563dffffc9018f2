package passes

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/ref"
)

// lowerings are graphs with the first opset that can say them.
var lowerings = []struct {
	name  string
	first int64
	build func(s *sketch, x *onnx.Value) *onnx.Value // x is (2,4,6)
}{
	{"LayerNormalization", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("LayerNormalization", attrs("epsilon", float32(1e-6)), x, s.weight("scale", 6), s.weight("bias", 6))
	}},
	{"LayerNormalization of two axes without bias", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("LayerNormalization", attrs("axis", 1), x, s.weight("scale", 4, 6))
	}},
	{"LayerNormalization's statistics", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		out := s.Ops("LayerNormalization", 3, nil, x, s.weight("scale", 6), s.weight("bias", 6))
		return s.Add(out[0], s.Mul(out[1], out[2]))
	}},
	{"Gelu", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Op("Gelu", nil, x) }},
	{"Gelu by tanh", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("Gelu", attrs("approximate", "tanh"), x)
	}},
	{"Mish", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Op("Mish", nil, x) }},
	{"HardSwish", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Op("HardSwish", nil, x) }},
	{"GreaterOrEqual", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Cast(s.Op("GreaterOrEqual", nil, x, s.Op("Relu", nil, x)), onnx.Float)
	}},
	{"LessOrEqual", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Cast(s.Op("LessOrEqual", nil, x, s.Scalar(0.3, x)), onnx.Float)
	}},
	{"CastLike", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("CastLike", nil, s.Cast(x, onnx.Int64), x)
	}},
	{"upper triangle", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Op("Trilu", nil, x, s.Int(1)) }},
	{"lower triangle", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Op("Trilu", attrs("upper", 0), x) }},
	{"Shape of some axes", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		flat := s.Concat(0, s.Op("Shape", attrs("start", 0, "end", -2), x), s.Ints(-1))
		return s.Op("Reshape", nil, x, flat)
	}},
	{"Softmax in the middle", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Softmax(x, 1) }},
	{"LogSoftmax", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Op("LogSoftmax", attrs("axis", 2), x) }},
	{"Pow with an integer", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Op("Pow", nil, x, s.Int(3)) }},
	{"Pad of an axis", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("Pad", nil, x, s.Ints(1, 2), s.Scalar(3, x), s.Ints(-1))
	}},
	{"Pad around", 19, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("Pad", attrs("mode", "wrap"), x, s.Ints(0, 0, 1, 0, 0, 1))
	}},
	{"ReduceMean", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Reduce("ReduceMean", x, true, -1, 0) }},
	{"ReduceSum", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Reduce("ReduceSum", x, false, 1) }},
	{"ReduceMax of everything", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Reduce("ReduceMax", x, true) }},
	{"ReduceSum of nothing", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("ReduceSum", attrs("noop_with_empty_axes", 1), x)
	}},
	{"ReduceL2 over computed axes", 18, func(s *sketch, x *onnx.Value) *onnx.Value {
		axis := s.Cast(s.Op("Relu", nil, s.Op("Gather", nil, s.Op("Reshape", nil, x, s.Ints(-1)), s.Ints(0))), onnx.Int64)
		return s.Op("ReduceL2", attrs("keepdims", 1), x, s.Mul(axis, s.Ints(0)))
	}},
	{"Squeeze and Unsqueeze", 11, func(s *sketch, x *onnx.Value) *onnx.Value { return s.Squeeze(s.Unsqueeze(x, 0, 2), 0) }},
	{"Split in parts of sizes", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Ops("Split", 2, attrs("axis", 2), x, s.Ints(4, 2))[0]
	}},
	{"Split in unequal parts", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Ops("Split", 4, attrs("axis", -1, "num_outputs", 4), x)[3] // of 2, 2, 2 and 0
	}},
	{"Split in thirds", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Ops("Split", 3, attrs("axis", 2, "num_outputs", 3), x)[1]
	}},
	{"Dropout", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("Dropout", attrs("seed", 1), x, s.Scalar(0.5, x), s.Const(onnx.BoolTensor([]bool{false})))
	}},
	{"Reshape with allowzero", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("Reshape", attrs("allowzero", 1), x, s.Ints(8, 6))
	}},
	{"Resize", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("Resize", attrs("mode", "linear", "antialias", 0, "keep_aspect_ratio_policy", "stretch"), s.Unsqueeze(x, 0), nil, nil, s.Ints(1, 2, 8, 9))
	}},
	{"Einsum", 12, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("Einsum", attrs("equation", "bij,bkj->bik"), x, x)
	}},
	{"constants by lists", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Mul(x, s.Op("Constant", attrs("value_floats", []float32{1, 2, 3, 4, 5, 6})))
	}},
	{"Max of integers", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		n := s.Cast(s.Mul(x, s.Scalar(5, x)), onnx.Int64)
		return s.Cast(s.Op("Max", nil, n, s.Int(-2), s.Op("Min", nil, n, s.Int(1))), onnx.Float)
	}},
	{"Clip of integers", 12, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Cast(s.Op("Clip", nil, s.Cast(x, onnx.Int64), s.Int(0)), onnx.Float)
	}},
	{"ScatterND that adds", 16, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("ScatterND", attrs("reduction", "add"), x, s.Const(onnx.Int64Tensor([]int64{1}, 1, 1)), s.Op("Slice", nil, x, s.Ints(0), s.Ints(1)))
	}},
	{"Cast that saturates", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("Cast", attrs("to", int(onnx.Double), "saturate", 1), x)
	}},
	{"ArgMax", 11, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Op("ArgMax", attrs("axis", 1, "select_last_index", 0), x)
	}},
}

func TestLowerKeepsTheMeaningInEveryOpset(t *testing.T) {
	for _, c := range lowerings {
		t.Run(c.name, func(t *testing.T) {
			s := draw(t)
			x := s.input("x", 2, 4, 6)
			before := s.done(t, s.Named("y", c.build(s, x)))
			for opset := int64(LowestOpset); opset <= onnx.Dialect; opset++ {
				g := twin(before)
				err := Lower(g, opset)
				if opset < c.first {
					var refused *LowerError
					if !errors.As(err, &refused) || !strings.Contains(err.Error(), fmt.Sprintf("came with opset %d", c.first)) || refused.Node == "" {
						t.Errorf("opset %d: error %v, want one that names opset %d", opset, err, c.first)
					}
					continue
				}
				must(t, err)
				back := &onnx.Model{Graph: twin(g), Opsets: []onnx.Opset{{Version: opset}}}
				raised, err := Raised(back)
				must(t, err)
				nearOutputs(t, before, raised, 1e-6)
			}
		})
	}
}

func TestLoweredGraphsRunInTheirOpsets(t *testing.T) {
	orttest.Need(t)
	for _, c := range lowerings {
		t.Run(c.name, func(t *testing.T) {
			s := draw(t)
			x := s.input("x", 2, 4, 6)
			before := s.done(t, s.Named("y", c.build(s, x)))
			values := make([]float32, 48)
			for i := range values {
				values[i] = float32(s.rng.NormFloat64())
			}
			in := onnx.FloatTensor(values, 2, 4, 6)
			a, err := ref.FromTensor(in)
			must(t, err)
			want, err := ref.Run(before, map[string]*ref.Array{"x": a})
			must(t, err)
			for opset := c.first; opset <= HighestOpset; opset++ {
				g := twin(before)
				must(t, Lower(g, opset))
				y, err := onRuntime(&onnx.Model{Graph: g, Opsets: []onnx.Opset{{Version: opset}}}, in)
				if err != nil {
					t.Errorf("opset %d: %v", opset, err)
					continue
				}
				compare(t, want, map[string]*ref.Array{"y": y}, 1e-5)
			}
		})
	}
}

// onRuntime runs a model with one input and one output on ONNX Runtime.
func onRuntime(m *onnx.Model, in *onnx.Tensor) (*ref.Array, error) {
	data, err := m.Encode()
	if err != nil {
		return nil, err
	}
	s, err := ort.NewSession(data, ort.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	x, err := ort.BufferFrom(in)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	out, err := s.Call(map[string]*ort.Buffer{s.Inputs()[0].Name: x})
	if err != nil {
		return nil, err
	}
	y := out[s.Outputs()[0].Name]
	defer y.Close()
	return ref.FromTensor(&onnx.Tensor{Type: y.Type(), Dims: y.Shape(), Raw: append([]byte{}, y.Bytes()...)})
}

func TestLowerNamesWhatAnOpsetCannotSay(t *testing.T) {
	s := draw(t)
	x := s.input("x", 2, 4, 6)
	g := s.done(t, s.Op("Relu", nil, x))
	for opset, want := range map[int64]string{10: "opsets 11 to 24", 25: "opsets 11 to 24"} {
		if err := Lower(twin(g), opset); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("opset %d: error %v, want one that says %q", opset, err, want)
		}
	}
	s = draw(t)
	g = s.done(t, s.Op("Identity", nil, s.g.AddInput("x", onnx.BFloat16, shape(2))))
	if err := Lower(g, 12); err == nil || !strings.Contains(err.Error(), "bfloat16 came with opset 13") {
		t.Errorf("bfloat16: error %v", err)
	}
	s = draw(t)
	x = s.input("x", 1, 2, 4, 6)
	g = s.done(t, s.Op("Resize", attrs("mode", "linear", "antialias", 1), x, nil, nil, s.Ints(1, 2, 2, 3)))
	if err := Lower(g, 17); err == nil || !strings.Contains(err.Error(), "attribute antialias came with opset 18") {
		t.Errorf("antialias: error %v", err)
	}
}

package passes

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestRaiseTurnsAttributesIntoInputs(t *testing.T) {
	cases := []struct {
		op      string
		opset   int64
		outputs int
		attrs   []onnx.Attr
		want    string // what the node prints as from its operator on, constants as values
	}{
		{"Squeeze", 11, 1, attrs("axes", []int64{1}), "Squeeze(x, [1])"},
		{"Unsqueeze", 9, 1, attrs("axes", []int64{0, 2}), "Unsqueeze(x, [0 2])"},
		{"ReduceSum", 11, 1, attrs("axes", []int64{-1}, "keepdims", 0), "ReduceSum(x, [-1]) keepdims=0"},
		{"ReduceMean", 17, 1, attrs("axes", []int64{-1}), "ReduceMean(x, [-1])"},
		{"ReduceMean", 17, 1, nil, "ReduceMean(x)"},
		{"ReduceLogSumExp", 13, 1, attrs("axes", []int64{2}), "ReduceLogSumExp(x, [2])"},
		{"Split", 11, 2, attrs("axis", 2, "split", []int64{1, 3}), "Split(x, [1 3]) axis=2"},
		{"Split", 13, 2, attrs("axis", 2), "Split(x) axis=2 num_outputs=2"},
		{"Slice", 9, 1, attrs("starts", []int64{1}, "ends", []int64{3}, "axes", []int64{2}), "Slice(x, [1], [3], [2])"},
		{"Slice", 9, 1, attrs("starts", []int64{0}, "ends", []int64{1}), "Slice(x, [0], [1])"},
		{"Clip", 10, 1, attrs("min", float32(0), "max", float32(6)), "Clip(x, 0, 6)"},
		{"Clip", 10, 1, attrs("max", float32(6)), "Clip(x, -, 6)"},
		{"Clip", 9, 1, attrs("min", float32(-math.MaxFloat32)), "Clip(x)"},
		{"Pad", 10, 1, attrs("pads", []int64{0, 0, 1, 0, 0, 1}, "value", float32(2)), "Pad(x, [0 0 1 0 0 1], 2)"},
		{"Pad", 10, 1, attrs("pads", []int64{0, 0, 1, 0, 0, 1}, "mode", "reflect"), `Pad(x, [0 0 1 0 0 1]) mode="reflect"`},
		{"Dropout", 10, 1, attrs("ratio", float32(0.1)), "Dropout(x)"},
		{"TopK", 9, 2, attrs("k", 2, "axis", 2), "TopK(x, [2]) axis=2"},
		{"Softmax", 11, 1, attrs("axis", 2), "Softmax(x) axis=2"},
		{"Softmax", 11, 1, attrs("axis", -1), "Softmax(x) axis=-1"},
		{"LogSoftmax", 12, 1, nil, "LogSoftmax(x) axis=2"}, // axis 1 of (B,1,4)
		{"Softmax", 13, 1, attrs("axis", 1), "Softmax(x) axis=1"},
		{"Squeeze", 13, 1, nil, "Squeeze(x)"},
	}
	for _, c := range cases {
		s := draw(t)
		x := s.input("x", "B", 1, 4)
		g := s.done(t, s.node(c.op, c.outputs, c.attrs, x)...)
		if err := Raise(g, c.opset); err != nil {
			t.Errorf("%s of opset %d: %v", c.op, c.opset, err)
			continue
		}
		if got := spell(g.Nodes[len(g.Nodes)-1]); got != c.want {
			t.Errorf("%s of opset %d became %s, want %s", c.op, c.opset, got, c.want)
		}
	}
}

// spell prints a node without its outputs, small constants by value.
func spell(n *onnx.Node) string {
	_, text, _ := strings.Cut(n.String(), " = ")
	for _, v := range n.Inputs {
		if v != nil && v.Data != nil {
			x, _ := v.Data.Float64s()
			value := fmt.Sprint(x)
			if len(v.Shape) == 0 {
				value = fmt.Sprint(x[0])
			}
			text = strings.Replace(text, v.Name, value, 1)
		}
	}
	return text
}

func TestRaiseFlattensOldSoftmax(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 3, 4)
	g := s.done(t, s.node("Softmax", 1, attrs("axis", 1), x)[0])
	must(t, Raise(g, 11))

	s = draw(t)
	x = s.input("x", "B", 3, 4)
	want := s.done(t, s.Named("Softmax_out", s.Op("Reshape", nil, s.Softmax(s.Op("Reshape", nil, x, s.Ints(-1, 12)), -1), s.Ints(-1, 3, 4))))
	sameOutputs(t, want, g)
}

func TestRaiseGivesGroupNormalizationAnElementPerChannel(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 4, 3)
	old := s.node("GroupNormalization", 1, attrs("num_groups", 2), x, s.weight("scale", 2), s.weight("bias", 2))
	g := s.done(t, old[0])
	must(t, Raise(g, 18))

	s = draw(t)
	x = s.input("x", "B", 4, 3)
	pick := func(v *onnx.Value) *onnx.Value { return s.Op("Gather", nil, v, s.Ints(0, 0, 1, 1)) }
	want := s.done(t, s.Named("GroupNormalization_out", s.Op("GroupNormalization", attrs("num_groups", 2), x,
		pick(s.weight("scale", 2)), pick(s.weight("bias", 2)))))
	sameOutputs(t, want, g)
}

func TestRaiseMakesResizeOfUpsample(t *testing.T) {
	for _, op := range []string{"Upsample", "Resize"} {
		s := draw(t)
		x := s.input("x", "B", 1, 2, 3)
		scales := s.Const(onnx.FloatTensor([]float32{1, 1, 2, 2}, 4))
		g := s.done(t, s.node(op, 1, attrs("mode", "nearest"), x, scales)[0])
		opset := map[string]int64{"Upsample": 9, "Resize": 10}[op]
		must(t, Raise(g, opset))
		if g.Outputs[0].Shape.String() != "(B,1,4,6)" || g.Outputs[0].Name != op+"_out" {
			t.Errorf("%s became %v", op, g)
		}
		y := evaluate(t, g)[op+"_out"].F
		if y[0] != y[1] || y[0] != y[6] || y[1] == y[2] {
			t.Errorf("%s doesn't double each element: %v", op, y)
		}
	}
}

// attentionGraph makes an Attention node with all four outputs.
func attentionGraph(t *testing.T, at []onnx.Attr, in func(s *sketch) []*onnx.Value) *onnx.Graph {
	t.Helper()
	s := draw(t)
	outputs := s.node("Attention", 4, at, in(s)...)
	for i, name := range []string{"y", "key", "value", "map"} {
		s.g.Rename(outputs[i], name)
	}
	return s.done(t, outputs...)
}

func TestRaiseDecomposesAttention(t *testing.T) {
	four := func(s *sketch) []*onnx.Value {
		return []*onnx.Value{s.input("q", "B", 4, 5, 6), s.input("kk", "B", 4, 7, 6), s.input("vvv", "B", 4, 7, 3)}
	}
	three := func(s *sketch) []*onnx.Value {
		return []*onnx.Value{s.input("q", "B", 5, 24), s.input("kk", "B", 7, 12), s.input("vvv", "B", 7, 8)}
	}
	with := func(in func(*sketch) []*onnx.Value, more func(s *sketch) []*onnx.Value) func(*sketch) []*onnx.Value {
		return func(s *sketch) []*onnx.Value { return append(in(s), more(s)...) }
	}
	boolMask := func(s *sketch) []*onnx.Value {
		return []*onnx.Value{s.g.AddInput("mask", onnx.Bool, shape(5, 7))}
	}
	floatMask := func(s *sketch) []*onnx.Value { return []*onnx.Value{s.input("bias", "B", 1, 5, 7)} }
	past := func(s *sketch) []*onnx.Value {
		return []*onnx.Value{nil, s.input("oldk", "B", 4, 2, 6), s.input("oldvv", "B", 4, 2, 3)}
	}
	cases := map[string]struct {
		attrs []onnx.Attr
		in    func(*sketch) []*onnx.Value
	}{
		"plain":         {attrs("qk_matmul_output_mode", 3), four},
		"scale":         {attrs("scale", float32(0.3)), four},
		"grouped heads": {attrs("q_num_heads", 4, "kv_num_heads", 2, "qk_matmul_output_mode", 3), three},
		"softcap":       {attrs("softcap", float32(2), "qk_matmul_output_mode", 1), four},
		"boolean mask":  {attrs("qk_matmul_output_mode", 3), with(four, boolMask)},
		"float mask":    {attrs("qk_matmul_output_mode", 2), with(four, floatMask)},
		"causal":        {attrs("is_causal", 1, "qk_matmul_output_mode", 3), four},
		"causal mask":   {attrs("is_causal", 1, "qk_matmul_output_mode", 3), with(four, boolMask)},
		"past":          {attrs("is_causal", 1, "qk_matmul_output_mode", 3), with(four, past)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			g := attentionGraph(t, c.attrs, c.in)
			before := twin(g)
			must(t, Raise(g, 23))
			if strings.Contains(ops(g), "Attention") {
				t.Error("Attention is left")
			}
			nearOutputs(t, before, g, 1e-6) // the scale is rounded to float32
		})
	}
}

func TestRaiseKeepsTheAttentionMapFindable(t *testing.T) {
	s := draw(t)
	y := s.node("Attention", 1, nil, s.input("q", "B", 4, 5, 6), s.input("kk", "B", 4, 7, 6), s.input("vvv", "B", 4, 7, 3))
	g := s.done(t, y...)
	must(t, Raise(g, 24))
	if v := g.Find("Attention/softmax"); v == nil || !v.Is("Softmax") || v.Shape.String() != "(B,4,5,7)" {
		t.Errorf("no softmax of that name in %v", g)
	}

	g = attentionGraph(t, attrs("qk_matmul_output_mode", 3), func(s *sketch) []*onnx.Value {
		return []*onnx.Value{s.input("q", "B", 4, 5, 6), s.input("kk", "B", 4, 7, 6), s.input("vvv", "B", 4, 7, 3)}
	})
	must(t, Raise(g, 23))
	if v := g.Find("map"); v == nil || !v.Is("Softmax") {
		t.Errorf("output map is no softmax in %v", g)
	}
}

func TestRaiseDecomposesNewNormsAndEmbeddings(t *testing.T) {
	cases := map[string]func(s *sketch) []*onnx.Value{
		"RMSNormalization": func(s *sketch) []*onnx.Value {
			return s.node("RMSNormalization", 1, attrs("axis", -2, "epsilon", float32(0.5)), s.input("x", "B", 3, 4), s.weight("w", 3, 4))
		},
		"rotary halves": func(s *sketch) []*onnx.Value {
			return s.node("RotaryEmbedding", 1, nil, s.input("x", 3, 2, 5, 8), s.weight("cos", 3, 5, 4), s.weight("sin", 3, 5, 4))
		},
		"rotary interleaved, partial, three dimensions": func(s *sketch) []*onnx.Value {
			ids := s.Const(onnx.Int64Tensor([]int64{0, 1, 2, 4, 4, 3, 2, 1, 0, 0}, 2, 5))
			return s.node("RotaryEmbedding", 1, attrs("interleaved", 1, "num_heads", 2, "rotary_embedding_dim", 4),
				s.input("x", 2, 5, 16), s.weight("cos", 9, 2), s.weight("sin", 9, 2), ids)
		},
	}
	for name, build := range cases {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			g := s.done(t, build(s)...)
			before := twin(g)
			must(t, Raise(g, 23))
			if strings.Contains(ops(g), "RMS") || strings.Contains(ops(g), "Rotary") {
				t.Errorf("got %s", ops(g))
			}
			nearOutputs(t, before, g, 1e-6)
		})
	}
}

func TestRaiseDecomposesSwish(t *testing.T) {
	s := draw(t)
	g := s.done(t, s.node("Swish", 1, attrs("alpha", float32(1.5)), s.input("x", "B", 4))...)
	must(t, Raise(g, 24))
	s = draw(t)
	x := s.input("x", "B", 4)
	want := s.done(t, s.Named("Swish_out", s.Mul(x, s.Op("Sigmoid", nil, s.Scale(x, 1.5)))))
	sameOutputs(t, want, g)
}

func TestRaiseErrorsNameTheNodeAndWhatToDo(t *testing.T) {
	cases := []struct {
		opset int64
		build func(s *sketch) []*onnx.Value
		parts []string
	}{
		{8, nil, []string{"opset 8", "9 to 24"}},
		{25, nil, []string{"opset 25", "9 to 24"}},
		{24, func(s *sketch) []*onnx.Value { return s.node("TensorScatter", 1, nil, s.input("x", 2)) }, []string{"node TensorScatter", "opset 24"}},
		{17, func(s *sketch) []*onnx.Value {
			return s.node("If", 1, []onnx.Attr{{Name: "then_branch", Value: onnx.Opaque{}}}, s.input("x"))
		}, []string{"node If", "then_branch", "without control flow"}},
		{23, func(s *sketch) []*onnx.Value {
			return s.node("Attention", 1, nil, s.input("q", 2, 3), s.input("k", 2, 3), s.input("v", 2, 3))
		}, []string{"node Attention", "(2,3)", "opset 23"}},
		{11, func(s *sketch) []*onnx.Value {
			return s.node("Softmax", 1, attrs("axis", 1), s.node("Mystery", 1, nil, s.input("x", 2))[0])
		}, []string{"node Softmax", "rank", "shape inference"}},
	}
	for _, c := range cases {
		s := draw(t)
		if c.build != nil {
			s.g.Outputs = c.build(s)
		}
		err := Raise(s.g, c.opset)
		var typed *RaiseError
		if !errors.As(err, &typed) {
			t.Errorf("got %v, want a RaiseError", err)
			continue
		}
		for _, part := range c.parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q doesn't say %q", err, part)
			}
		}
	}
}

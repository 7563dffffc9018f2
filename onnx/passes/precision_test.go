package passes

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/ref"
)

// halvings are graphs with the operators that stay in float32 in them, in
// order, and the Casts that it takes.
var halvings = []struct {
	name  string
	build func(s *sketch, x *onnx.Value) *onnx.Value // x is (2,4,6)
	kept  string
	casts int
}{
	{"a product with bias", func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Add(s.MatMul(x, s.weight("w", 6, 3)), s.weight("b", 3))
	}, "", 0},
	{"attention", func(s *sketch, x *onnx.Value) *onnx.Value {
		scores := s.MatMul(x, s.SwapLast(x))
		mask := s.Op("Constant", attrs("value", onnx.FloatTensor([]float32{0, 0, -math.MaxFloat32, 0}, 4)))
		map_ := s.Softmax(s.Add(s.Div(scores, s.Scalar(2.5, x)), mask), -1)
		guarded := s.Where(s.Op("IsNaN", nil, map_), s.Scalar(0, x), map_)
		return s.MatMul(guarded, x)
	}, "Div Add Softmax Where", 2},
	{"LayerNorm between products", func(s *sketch, x *onnx.Value) *onnx.Value {
		y := s.MatMul(x, s.weight("w", 6, 6))
		y = s.Op("LayerNormalization", nil, y, s.weight("scale", 6), s.weight("bias", 6))
		return s.MatMul(y, s.weight("v", 6, 6))
	}, "LayerNormalization", 2},
	{"LayerNorm taken apart", func(s *sketch, x *onnx.Value) *onnx.Value {
		y := s.MatMul(x, s.weight("w", 6, 6))
		d := s.Sub(y, s.Reduce("ReduceMean", y, true, -1))
		variance := s.Reduce("ReduceMean", s.Op("Pow", nil, d, s.Scalar(2, x)), true, -1)
		y = s.Div(d, s.Op("Sqrt", nil, s.Add(variance, s.Scalar(1e-12, x))))
		y = s.Add(s.Mul(y, s.weight("scale", 6)), s.weight("bias", 6))
		return s.MatMul(y, s.weight("v", 6, 6))
	}, "ReduceMean Sub Pow ReduceMean Add Sqrt Div", 2},
	{"GELU taken apart", func(s *sketch, x *onnx.Value) *onnx.Value {
		y := s.MatMul(x, s.weight("w", 6, 6))
		erf := s.Op("Erf", nil, s.Div(y, s.Scalar(math.Sqrt2, x)))
		y = s.Mul(s.Mul(y, s.Add(erf, s.Scalar(1, x))), s.Scalar(0.5, x))
		return s.MatMul(y, s.weight("v", 6, 6))
	}, "Div Erf Add Mul Mul", 2},
	{"a residual around a norm", func(s *sketch, x *onnx.Value) *onnx.Value {
		y := s.MatMul(x, s.weight("w", 6, 6))
		z := s.Op("LayerNormalization", nil, y, s.weight("scale", 6))
		return s.MatMul(s.Add(y, s.MatMul(z, s.weight("v", 6, 6))), s.weight("u", 6, 6))
	}, "LayerNormalization", 2},
	{"a number that both read", func(s *sketch, x *onnx.Value) *onnx.Value {
		half := s.Scalar(0.5, x)
		y := s.MatMul(s.Mul(x, half), s.weight("w", 6, 6))
		return s.MatMul(s.Op("Pow", nil, y, half), s.weight("v", 6, 6))
	}, "Pow", 2},
	{"integers and truth values", func(s *sketch, x *onnx.Value) *onnx.Value {
		n := s.Cast(s.Op("Shape", nil, x), onnx.Float)
		size := s.Op("Gather", nil, n, s.Ints(0))
		return s.Mul(s.Cast(s.Op("Greater", nil, x, s.Scalar(0, x)), onnx.Float), size)
	}, "", 0},
	{"zeros by ConstantOfShape", func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.Add(x, s.Op("ConstantOfShape", nil, s.Op("Shape", nil, x)))
	}, "", 0},
}

func halvingGraph(t *testing.T, build func(*sketch, *onnx.Value) *onnx.Value) *onnx.Graph {
	t.Helper()
	s := draw(t)
	x := s.input("x", 2, 4, 6)
	return s.done(t, s.Named("y", build(s, x)))
}

func TestToFloat16KeepsWhatItWouldSpoil(t *testing.T) {
	for _, c := range halvings {
		t.Run(c.name, func(t *testing.T) {
			g := halvingGraph(t, c.build)
			before := twin(g)
			r, err := ToFloat16(g, HalfOptions{})
			must(t, err)
			sound(t, g)
			must(t, g.InferAll())
			var kept []string
			for _, n := range g.Nodes {
				touches := false
				for _, v := range append(n.Inputs, n.Outputs...) {
					touches = touches || v != nil && v.Type == onnx.Float
				}
				if touches && n.Op != "Cast" && n.Op != "IsNaN" && n.Op != "Constant" {
					kept = append(kept, n.Op)
				}
			}
			if got := strings.Join(kept, " "); got != c.kept || r.Casts != c.casts {
				t.Errorf("in float32: %q with %d casts, want %q with %d\n%v", got, r.Casts, c.kept, c.casts, g)
			}
			if g.Inputs[0].Type != onnx.Float16 || g.Outputs[0].Type != onnx.Float16 || g.Outputs[0].Name != "y" {
				t.Errorf("input %v, output %v", g.Inputs[0], g.Outputs[0])
			}
			must(t, ToFloat32(g))
			for _, n := range g.Nodes {
				if n.Op == "Cast" && n.Inputs[0].Type.IsFloat() {
					t.Errorf("back in float32, %v is left", n)
				}
			}
			nearOutputs(t, before, g, 2e-3)
		})
	}
}

func TestFloat16GraphsRun(t *testing.T) {
	orttest.Need(t)
	for _, c := range halvings {
		for _, keep := range []bool{false, true} {
			g := halvingGraph(t, c.build)
			in := onnx.FloatTensor(make([]float32, 48), 2, 4, 6)
			s := draw(t)
			for i := range 48 {
				copy(in.Raw[4*i:], onnx.FloatTensor([]float32{float32(s.rng.NormFloat64())}).Raw)
			}
			a, err := ref.FromTensor(in)
			must(t, err)
			want, err := ref.Run(g, map[string]*ref.Array{"x": a})
			must(t, err)
			_, err = ToFloat16(g, HalfOptions{KeepIO: keep})
			must(t, err)
			wantType := onnx.Float
			if !keep {
				wantType = onnx.Float16
				in, err = in.As(onnx.Float16)
				must(t, err)
			}
			for _, opset := range []int64{13, 17, 21} {
				low := twin(g)
				must(t, Lower(low, opset))
				y, err := onRuntime(&onnx.Model{Graph: low, Opsets: []onnx.Opset{{Version: opset}}}, in)
				if err != nil {
					t.Errorf("%s, opset %d: %v", c.name, opset, err)
					continue
				}
				if y.Type != wantType {
					t.Errorf("%s: the output is %v, want %v", c.name, y.Type, wantType)
				}
				y.Type = onnx.Float
				compare(t, want, map[string]*ref.Array{"y": y}, 5e-3)
			}
		}
	}
}

func TestToFloat16ReportsNumbersOutOfRange(t *testing.T) {
	s := draw(t)
	x := s.input("x", 2, 4)
	inf := float32(math.Inf(-1))
	mask := s.g.AddInit("mask", onnx.FloatTensor([]float32{0, -math.MaxFloat32, inf, 1e-9}, 4))
	g := s.done(t, s.Add(x, mask))
	r, err := ToFloat16(g, HalfOptions{})
	must(t, err)
	if r.Clamped != 1 || r.Vanished != 1 || r.Parameters != 1 {
		t.Errorf("%+v", r)
	}
	got, err := mask.Data.Float64s()
	must(t, err)
	if got[1] != -65504 || !math.IsInf(got[2], -1) || got[3] != 0 {
		t.Errorf("mask %v", got)
	}

	s = draw(t)
	x = s.input("x", 2, 4)
	g = s.done(t, s.Add(x, s.g.AddInit("blocks.0.bias", onnx.FloatTensor([]float32{1, 2, 70000, 4}, 4))))
	var refused *PrecisionError
	if _, err := ToFloat16(g, HalfOptions{}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "tensor blocks.0.bias: element 2 is 70000") {
		t.Errorf("error %v", err)
	}
}

func TestToFloat16KeepsNodesThatItIsTold(t *testing.T) {
	g := halvingGraph(t, func(s *sketch, x *onnx.Value) *onnx.Value {
		return s.MatMul(s.Op("Relu", nil, s.MatMul(x, s.weight("w", 6, 6))), s.weight("v", 6, 6))
	})
	last := g.Nodes[2]
	r, err := ToFloat16(g, HalfOptions{Keep: func(n *onnx.Node) bool { return n == last }, KeepIO: true})
	must(t, err)
	if g.Find("v").Type != onnx.Float || g.Find("w").Type != onnx.Float16 || r.Kept != 2 || r.Casts != 2 {
		t.Errorf("%+v\n%v", r, g)
	}
}

func TestPrecisionOfSubgraphsIsNotChanged(t *testing.T) {
	s := draw(t)
	x := s.input("x", 2)
	g := s.done(t, s.node("If", 1, attrs("then_branch", onnx.Opaque{}), x)...)
	for _, err := range []error{ToFloat32(g), func() error { _, err := ToFloat16(g, HalfOptions{}); return err }()} {
		if err == nil || !strings.Contains(err.Error(), "holds a subgraph (then_branch)") {
			t.Errorf("error %v", err)
		}
	}
}

func TestToFloat32LiftsBfloat16(t *testing.T) {
	s := draw(t)
	x := s.g.AddInput("x", onnx.BFloat16, shape(2, 2))
	w, err := onnx.FloatTensor([]float32{1, 2, 3, 4}, 2, 2).As(onnx.BFloat16)
	must(t, err)
	y := s.Op("Softmax", nil, s.Op("Cast", attrs("to", int(onnx.Float)), s.MatMul(x, s.g.AddInit("w", w))))
	g := s.done(t, s.Op("Cast", attrs("to", int(onnx.BFloat16)), y))
	must(t, ToFloat32(g))
	if ops(g) != "MatMul Softmax" && ops(g) != "MatMul Softmax Identity" || g.Outputs[0].Type != onnx.Float || g.Find("w").Data.Type != onnx.Float {
		t.Errorf("%v", g)
	}
}

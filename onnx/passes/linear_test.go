package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestLinearMakesGemmOfProducts(t *testing.T) {
	cases := map[string]struct {
		build func(s *sketch) *onnx.Value
		want  string
	}{
		"bias": {func(s *sketch) *onnx.Value {
			return s.Add(s.weight("b", 5), s.MatMul(s.input("x", "B", 3, 4), s.weight("w", 4, 5)))
		}, "Reshape Gemm Reshape"},
		"no bias": {func(s *sketch) *onnx.Value {
			return s.MatMul(s.input("x", "B", 3, 4), s.weight("w", 4, 5))
		}, "Reshape Gemm Reshape"},
		"weight transposed in the graph": {func(s *sketch) *onnx.Value {
			w := s.Transpose(s.weight("w", 5, 4), 1, 0)
			return s.Add(s.MatMul(s.input("x", "B", 3, 4), w), s.weight("b", 5))
		}, "Reshape Gemm Reshape"},
		"matrices": {func(s *sketch) *onnx.Value {
			return s.Add(s.MatMul(s.input("x", "B", 4), s.weight("w", 4, 5)), s.weight("b", 5))
		}, "Gemm"},
		"matrices alone": {func(s *sketch) *onnx.Value {
			return s.MatMul(s.input("x", "B", 4), s.weight("w", 4, 5))
		}, "MatMul"},
		"batch inside": {func(s *sketch) *onnx.Value {
			return s.Add(s.MatMul(s.input("x", 3, "B", 2, 4), s.weight("w", 4, 5)), s.weight("b", 5))
		}, "Reshape Gemm Reshape"},
		"bias per token": {func(s *sketch) *onnx.Value {
			return s.Add(s.MatMul(s.input("x", "B", 3, 4), s.weight("w", 4, 5)), s.weight("b", 3, 5))
		}, "Reshape Gemm Reshape Add"},
		"two open sizes": {func(s *sketch) *onnx.Value {
			return s.Add(s.MatMul(s.input("x", "B", "T", 4), s.weight("w", 4, 5)), s.weight("b", 5))
		}, "MatMul Add"},
		"two activations": {func(s *sketch) *onnx.Value {
			return s.MatMul(s.input("x", "B", 2, 3, 4), s.input("y", "B", 2, 4, 3))
		}, "MatMul"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			y := s.Named("hidden", c.build(s))
			g := s.done(t, s.Named("out", s.Op("Relu", nil, y)))
			before := twin(g)
			must(t, Linear(g))
			if g.Find("hidden") != y {
				t.Error("the value hidden is another one")
			}
			if ops(g) != c.want+" Relu" {
				t.Errorf("got %v", g)
			}
			if v := g.Find("hidden"); v == nil || !v.Shape.Same(before.Find("hidden").Shape) {
				t.Errorf("the value hidden became %v", v)
			}
			sameOutputs(t, before, g)
		})
	}
}

func TestLinearKeepsProductsThatOthersRead(t *testing.T) {
	s := draw(t)
	y := s.Named("product", s.MatMul(s.input("x", "B", 3, 4), s.weight("w", 4, 5)))
	g := s.done(t, s.Add(y, s.weight("b", 5)), y)
	before := twin(g)
	must(t, Linear(g))
	if ops(g) != "Reshape Gemm Reshape Add" {
		t.Errorf("got %v", g)
	}
	sameOutputs(t, before, g)
}

func TestLinearSharesTheFlatInput(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 3, 4)
	g := s.done(t, s.MatMul(x, s.weight("q", 4, 5)), s.MatMul(x, s.weight("k", 4, 5)))
	before := twin(g)
	must(t, Linear(g))
	if ops(g) != "Reshape Gemm Reshape Gemm Reshape" {
		t.Errorf("got %v", g)
	}
	sameOutputs(t, before, g)
}

package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestRecomputeHoldsTheInputOfWhatIsCheap(t *testing.T) {
	cases := map[string]struct {
		build func(s *sketch, h *onnx.Value) (loss, gradient *onnx.Value) // h (40,30), of a product
		want  string
	}{
		"two of one": {func(s *sketch, h *onnx.Value) (loss, gradient *onnx.Value) {
			x, y := s.Op("Gelu", nil, h), s.Op("Tanh", nil, h)
			return s.Sum(s.Mul(x, y)), s.Op("Gemm", attrs("transA", 1), x, y)
		}, "Gemm Gelu Gelu Tanh Tanh Mul Gemm ReduceSum"},
		"one of one": {func(s *sketch, h *onnx.Value) (loss, gradient *onnx.Value) {
			x := s.Op("Gelu", nil, h)
			return s.Sum(x), s.Op("Gemm", attrs("transA", 1), x, x)
		}, "Gemm Gelu Gemm ReduceSum"},
		"a chain that is read at its ends": {func(s *sketch, h *onnx.Value) (loss, gradient *onnx.Value) {
			x := s.Op("Erf", nil, s.Op("Neg", nil, h))
			return s.Sum(x), s.Op("Gemm", attrs("transA", 1), h, x)
		}, "Gemm Neg Neg Erf Erf Gemm ReduceSum"},
		"a product with weights": {func(s *sketch, h *onnx.Value) (loss, gradient *onnx.Value) {
			x := s.Op("Gemm", nil, h, s.weight("v", 30, 30))
			return s.Sum(x), s.Op("Gemm", attrs("transA", 1), h, x)
		}, "Gemm Gemm Gemm ReduceSum"},
		"a sum of much": {func(s *sketch, h *onnx.Value) (loss, gradient *onnx.Value) {
			x := s.Sum(h, 1)
			return s.Sum(x), s.Mul(h, s.Unsqueeze(x, 1))
		}, "Gemm ReduceSum Unsqueeze Mul ReduceSum"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			loss, gradient := c.build(s, s.Op("Gemm", nil, s.input("x", 40, 20), s.weight("w", 20, 30)))
			g := s.done(t, s.Named("loss", loss), s.Named("gradient", gradient))
			before := twin(g)
			Recompute(g, g.Outputs[0])
			must(t, Order(g))
			sameOutputs(t, before, g)
			if ops(g) != c.want {
				t.Errorf("got %s, expected %s", ops(g), c.want)
			}
		})
	}
}

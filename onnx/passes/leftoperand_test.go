package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestLeftOperandsOfLongProductsAreTransposedOnce(t *testing.T) {
	cases := map[string]struct {
		build func(s *sketch) *onnx.Value
		want  string
	}{
		"rows of tokens": {func(s *sketch) *onnx.Value {
			x := s.Op("Reshape", nil, s.Op("Relu", nil, s.input("x", 8, 64, 3)), s.Ints(-1, 3))
			return s.Op("Gemm", attrs("transA", 1), x, s.input("y", 512, 5))
		}, "Relu Transpose Reshape Gemm"},
		"a matrix": {func(s *sketch) *onnx.Value {
			return s.Op("Gemm", attrs("transA", 1, "alpha", float32(0.5), "transB", 1), s.input("x", 512, 3), s.input("y", 5, 512))
		}, "Unsqueeze Transpose Reshape Gemm"},
		"rows cut across": {func(s *sketch) *onnx.Value {
			x := s.Op("Reshape", nil, s.input("x", 8, 32, 6), s.Ints(-1, 3))
			return s.Op("Gemm", attrs("transA", 1), x, s.input("y", 512, 5), s.weight("c", 5))
		}, "Reshape Unsqueeze Transpose Reshape Gemm"},
		"maps": {func(s *sketch) *onnx.Value {
			return s.MatMul(s.SwapLast(s.input("A", 2, 3, 130, 5)), s.input("v", 2, 3, 130, 4))
		}, "Transpose Reshape Reshape MatMul Reshape"},
		"a map for two products": {func(s *sketch) *onnx.Value {
			A := s.SwapLast(s.input("A", 2, 3, 130, 5))
			return s.Add(s.MatMul(A, s.input("v", 2, 3, 130, 4)), s.MatMul(A, s.input("w", 2, 3, 130, 4)))
		}, "Transpose MatMul Reshape Reshape MatMul Reshape Add"},
		"small maps": {func(s *sketch) *onnx.Value {
			return s.MatMul(s.SwapLast(s.input("A", 2, 3, 9, 5)), s.input("v", 2, 3, 9, 4))
		}, "Transpose MatMul"},
		"maps for all heads": {func(s *sketch) *onnx.Value {
			return s.MatMul(s.SwapLast(s.input("A", 2, 3, 130, 5)), s.input("v", 2, 1, 130, 4))
		}, "Transpose MatMul"},
		"another transposition": {func(s *sketch) *onnx.Value {
			return s.MatMul(s.Transpose(s.input("A", 3, 2, 5, 130), 1, 0, 2, 3), s.input("v", 2, 3, 130, 4))
		}, "Transpose MatMul"},
		"few rows": {func(s *sketch) *onnx.Value {
			return s.Op("Gemm", attrs("transA", 1), s.input("x", 8, 3), s.input("y", 8, 5))
		}, "Gemm"},
		"nothing to transpose": {func(s *sketch) *onnx.Value {
			return s.Op("Gemm", nil, s.input("x", 3, 512), s.input("y", 512, 5))
		}, "Gemm"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			g := s.done(t, s.Named("grad", c.build(s)))
			before := twin(g)
			must(t, LeftOperands(g))
			if ops(g) != c.want {
				t.Errorf("got %v", g)
			}
			sameOutputs(t, before, g)
		})
	}
}

package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestTidyMergesReshapesAndTranspositions(t *testing.T) {
	cases := map[string]struct {
		build func(s *sketch, x *onnx.Value) *onnx.Value // x is (B,4,6,5)
		want  string
	}{
		"reshapes": {func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.Op("Reshape", nil, x, s.Ints(-1, 24, 5))
			return s.Op("Reshape", nil, s.Op("Flatten", nil, y), s.Ints(0, 10, 12))
		}, "Reshape"},
		"reshape and back": {func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Op("Reshape", nil, s.Op("Reshape", nil, x, s.Ints(-1, 5)), s.Ints(-1, 4, 6, 5))
		}, ""},
		"squeeze and unsqueeze": {func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Squeeze(s.Unsqueeze(x, 1), 1)
		}, ""},
		"inverse transpositions": {func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Transpose(s.Transpose(x, 0, 2, 3, 1), 0, 3, 1, 2)
		}, ""},
		"transpositions": {func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Transpose(s.Transpose(x, 0, 2, 3, 1), 1, 0, 3, 2)
		}, "Transpose"},
		"tokens of patches": {func(s *sketch, x *onnx.Value) *onnx.Value { // (B,h,w,D) to (B,P,D)
			y := s.Op("Reshape", nil, s.Transpose(x, 0, 3, 1, 2), s.Ints(-1, 5, 24))
			return s.Transpose(y, 0, 2, 1)
		}, "Reshape"},
		"tokens first": {func(s *sketch, x *onnx.Value) *onnx.Value { // (B,h,w,D) to (P,B,D)
			y := s.Op("Reshape", nil, s.Transpose(x, 0, 3, 1, 2), s.Ints(-1, 5, 24))
			return s.Transpose(y, 2, 0, 1)
		}, "Reshape Transpose"},
		"a merge across": {func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.Op("Reshape", nil, s.Transpose(x, 0, 2, 1, 3), s.Ints(-1, 24, 5))
			return s.Transpose(y, 0, 2, 1)
		}, "Transpose Reshape Transpose"},
		"a split": {func(s *sketch, x *onnx.Value) *onnx.Value {
			y := s.Op("Reshape", nil, s.Transpose(x, 0, 3, 1, 2), s.Ints(-1, 5, 2, 2, 6))
			return s.Transpose(y, 0, 2, 3, 4, 1)
		}, "Transpose Reshape Transpose"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			y := c.build(s, s.Op("Relu", nil, s.input("x", "B", 4, 6, 5)))
			g := s.done(t, s.Named("y", s.Op("Exp", nil, y)))
			before := twin(g)
			must(t, Tidy(g))
			want := "Relu Exp"
			if c.want != "" {
				want = "Relu " + c.want + " Exp"
			}
			if ops(g) != want {
				t.Errorf("got %v", g)
			}
			sameOutputs(t, before, g)
		})
	}
}

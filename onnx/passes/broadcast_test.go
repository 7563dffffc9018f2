package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestBroadcastLeavesExpandingToTheReader(t *testing.T) {
	cases := map[string]struct {
		build func(s *sketch, x *onnx.Value) *onnx.Value // x is (2,1,4)
		want  string
	}{
		"left": {func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Mul(s.Expand(x, shape(2, 3, 4)), s.input("y", 2, 3, 4))
		}, "Mul"},
		"right": {func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Sub(s.input("y", 2, 3, 4), s.Expand(x, shape(2, 3, 4)))
		}, "Sub"},
		"a chain": {func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Add(s.Expand(s.Expand(x, shape(2, 3, 4)), shape(5, 2, 3, 4)), s.input("y", 5, 2, 3, 4))
		}, "Add"},
		"both": {func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Mul(s.Expand(x, shape(2, 3, 4)), s.Expand(s.input("y", 1, 3, 1), shape(2, 3, 4)))
		}, "Expand Mul"},
		"needed for the shape": {func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Mul(s.Expand(x, shape(2, 3, 4)), s.input("y", 4))
		}, "Expand Mul"},
		"another reader": {func(s *sketch, x *onnx.Value) *onnx.Value {
			return s.Op("Exp", nil, s.Expand(x, shape(2, 3, 4)))
		}, "Expand Exp"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			g := s.done(t, s.Named("out", c.build(s, s.input("x", 2, 1, 4))))
			before := twin(g)
			must(t, Broadcast(g))
			if ops(g) != c.want {
				t.Errorf("got %v", g)
			}
			sameOutputs(t, before, g)
		})
	}
}

package passes

import (
	"fmt"
	"math"
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestParametersAreWeightsThatReachAnOutput(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 3, 4, 4)
	unused := s.weight("unused", 3)
	_ = unused
	scale, bias, mean, variance := s.weight("scale", 3), s.weight("bias", 3), s.weight("mean", 3), s.weight("variance", 3)
	y := s.Op("BatchNormalization", nil, x, scale, bias, mean, variance)
	mask := s.g.AddInit("mask", onnx.FloatTensor([]float32{0, float32(math.Inf(-1)), 0, 0}, 4))
	y = s.Mul(s.Add(y, mask), s.weight("temperature", 1))
	y = s.Op("Resize", attrs("mode", "linear"), y, nil, s.Const(onnx.FloatTensor([]float32{1, 1, 2, 2}, 4)))
	y = s.Add(y, s.weight("table", 3, 8, 8))
	s.Op("Neg", nil, s.weight("dead", 2))
	g := s.done(t, y)
	var names []string
	for _, v := range Parameters(g) {
		names = append(names, v.Name)
	}
	if fmt.Sprint(names) != "[scale bias table]" {
		t.Errorf("got %v", names)
	}
}

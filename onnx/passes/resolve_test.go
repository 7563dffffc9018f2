package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestResolvePutsNumbersInPlaceOfNames(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", "C", "H", "W")
	y := s.Op("Conv", attrs("strides", []int64{2, 2}), x, s.weight("w", 6, 3, 2, 2))
	size := s.Op("Slice", nil, s.Op("Shape", nil, y), s.Ints(0), s.Ints(2))
	y = s.Transpose(s.Op("Reshape", nil, y, s.Concat(0, size, s.Ints(-1))), 0, 2, 1)
	g := s.done(t, y)
	must(t, Fold(g))
	if got := g.Outputs[0].Shape.String(); got != "(B,?,6)" {
		t.Errorf("before, the output is %s", got)
	}
	must(t, Resolve(g, map[string]int64{"C": 3, "H": 8, "W": 4, "other": 7}))
	if got := g.Outputs[0].Shape.String(); got != "(B,8,6)" || g.Inputs[0].Shape.String() != "(B,3,8,4)" {
		t.Errorf("after, the output is %s, the input %v", got, g.Inputs[0])
	}
	for _, v := range g.Inits {
		if v.Type == onnx.Int64 && v.Data == nil {
			t.Errorf("%v lost its data", v)
		}
	}
	sound(t, g)
	if err := Resolve(g, map[string]int64{"B": 0}); err == nil {
		t.Error("size 0 was accepted")
	}
}

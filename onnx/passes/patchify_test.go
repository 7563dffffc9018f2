package passes

import (
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestPatchifyMakesAProductOfPatchEmbeddings(t *testing.T) {
	s := draw(t)
	x := s.input("x", "B", 3, 8, 6)
	conv := s.Named("conv", s.Op("Conv", attrs("strides", []int64{4, 2}), x, s.weight("w", 5, 3, 4, 2), s.weight("b", 5)))
	tokens := s.Transpose(s.Op("Reshape", nil, conv, s.Ints(-1, 5, 6)), 0, 2, 1)
	g := s.done(t, tokens)
	before := twin(g)
	must(t, Patchify(g))
	if v := g.Find("conv"); v == nil || v.Shape.String() != "(B,5,2,3)" {
		t.Errorf("the value conv became %v", v)
	}
	sameOutputs(t, before, g)
	must(t, Tidy(g))
	if ops(g) != "Reshape Transpose Reshape Reshape Gemm Reshape" {
		t.Errorf("got %v", g)
	}
	sameOutputs(t, before, g)
}

func TestPatchifyLeavesOtherConvolutions(t *testing.T) {
	cases := map[string][]onnx.Attr{
		"overlap": attrs("strides", []int64{1, 1}),
		"padding": attrs("strides", []int64{2, 2}, "pads", []int64{1, 1, 1, 1}),
		"same":    attrs("strides", []int64{2, 2}, "auto_pad", "SAME_UPPER"),
		"no fit":  attrs("strides", []int64{4, 4}, "dilations", []int64{2, 2}),
	}
	for name, at := range cases {
		t.Run(name, func(t *testing.T) {
			s := draw(t)
			g := s.done(t, s.Op("Conv", at, s.input("x", "B", 3, 8, 8), s.weight("w", 5, 3, 2, 2)))
			must(t, Patchify(g))
			if ops(g) != "Conv" {
				t.Errorf("got %s", ops(g))
			}
		})
	}
}

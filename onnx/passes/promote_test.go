package passes

import (
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

func TestPromoteMakesInputsOfInitializers(t *testing.T) {
	s := draw(t)
	x, w, b := s.input("x", 2, 3), s.weight("w", 3, 4), s.weight("b", 4)
	g := s.done(t, s.Named("y", s.Add(s.MatMul(x, w), b)))
	want := evaluate(t, g)
	in := map[string]*ref.Array{}
	for _, v := range []*onnx.Value{w, b} {
		a, err := ref.FromTensor(v.Data)
		must(t, err)
		in[v.Name] = a
	}
	must(t, Promote(g, []*onnx.Value{b, w}))
	if len(g.Inits) != 0 || len(g.Inputs) != 3 || g.Inputs[1] != b || g.Inputs[2] != w || w.Data != nil {
		t.Fatalf("got %v", g)
	}
	in["x"] = ref.Floats(make([]float64, 6), 2, 3)
	got, err := ref.Run(g, in)
	must(t, err)
	if want["y"].String() != got["y"].String() || got["y"].F[0] != in["b"].F[0] {
		t.Errorf("got %v", got["y"])
	}
	if err := Promote(g, []*onnx.Value{w}); err == nil || !strings.Contains(err.Error(), "no initializer") {
		t.Errorf("got %v for a value that is an input already", err)
	}
}

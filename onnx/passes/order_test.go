package passes

import (
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// TestOrderMakesEachWeightsGradientOnTheWayBack sketches a walk back: c from b
// from a, and what the weights at each take of it.
func TestOrderMakesEachWeightsGradientOnTheWayBack(t *testing.T) {
	s := draw(t)
	a := s.Named("a", s.Op("Neg", nil, s.input("x", 2)))
	b := s.Named("b", s.Op("Neg", nil, a))
	c := s.Named("c", s.Op("Neg", nil, b))
	g := s.done(t, s.Named("of a", s.Op("Erf", nil, a)), s.Named("of b", s.Op("Erf", nil, b)), s.Named("of c", s.Op("Erf", nil, c)))
	before := twin(g)
	must(t, Order(g))
	var names []string
	for _, n := range Execution(g) {
		names = append(names, n.Outputs[0].Name)
	}
	if got, want := strings.Join(names, ", "), "a, of a, b, of b, c, of c"; got != want {
		t.Errorf("%s, expected %s", got, want)
	}
	sameOutputs(t, before, g)
}

func TestExecutionComputesWhatWasMadeFirstLast(t *testing.T) {
	s := draw(t)
	x := s.input("x", 2)
	early := s.Named("early", s.Op("Erf", nil, x))
	late := s.Named("late", s.Op("Neg", nil, s.Named("before late", s.Op("Tanh", nil, x))))
	g := s.done(t, s.Named("y", s.Add(early, late)))
	var names []string
	for _, n := range Execution(g) {
		names = append(names, n.Outputs[0].Name)
	}
	if got, want := strings.Join(names, ", "), "before late, late, early, y"; got != want {
		t.Errorf("%s, expected %s", got, want)
	}
	if len(Execution(&onnx.Graph{})) != 0 {
		t.Error("an empty graph runs something")
	}
}

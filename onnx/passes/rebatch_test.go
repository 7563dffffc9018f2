package passes

import (
	"errors"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

func TestRebatchOpensAFixedBatch(t *testing.T) {
	want := evaluate(t, attend(t, "B"))
	for _, old := range []int{1, 2, 5} {
		g := attend(t, old)
		must(t, Rebatch(g, 0))
		sound(t, g)
		if in, out := g.Inputs[0].Shape.String(), g.Outputs[0].Shape.String(); in != "(batch,3,4,4)" || out != "(batch,6)" {
			t.Errorf("from batch %d: input %s, output %s", old, in, out)
		}
		compare(t, want, evaluate(t, g), 1e-12)
	}
}

func TestRebatchOpensReshapesThatAllowZero(t *testing.T) {
	s := draw(t)
	x := s.input("x", 2, 8, 3, 3)
	g := s.done(t, s.Op("Reshape", attrs("allowzero", 1), x, s.Ints(2, 8, 9)))
	must(t, Rebatch(g, 0))
	if got := g.Outputs[0].Shape.String(); got != "(batch,8,9)" {
		t.Errorf("the output became %s", got)
	}
}

func TestRebatchFixesTheBatch(t *testing.T) {
	want := evaluate(t, attend(t, "B"))
	for _, old := range []any{"B", 1, 5, testBatch} {
		g := attend(t, old)
		must(t, Rebatch(g, testBatch))
		if got := g.Outputs[0].Shape.String(); got != "(3,6)" {
			t.Errorf("from batch %v: output %s", old, got)
		}
		compare(t, want, evaluate(t, g), 1e-12)
	}
}

func TestRebatchKeepsOneOfRowsThatRepeat(t *testing.T) {
	for _, batch := range []int64{0, 1, 5} {
		s := draw(t)
		token := s.g.AddInit("token", onnx.FloatTensor([]float32{1, 2, 3, 1, 2, 3}, 2, 1, 3))
		g := s.done(t, s.Concat(1, token, s.Op("Relu", nil, s.input("x", 2, 4, 3))))
		must(t, Rebatch(g, batch))
		sound(t, g)
		must(t, g.InferAll())
		if got := ops(g); token.Shape.String() != "(1,1,3)" || strings.Contains(got, "ReduceMean") {
			t.Errorf("batch %d: %v", batch, g)
		}
	}
}

func TestRebatchBroadcastsRowsThatAreAdded(t *testing.T) {
	for _, batch := range []int64{0, 1, 3} {
		s := draw(t)
		x := s.input("x", 2, 2)
		bias := s.g.AddInit("bias", onnx.FloatTensor([]float32{1, 2, 1, 2}, 2, 2))
		g := s.done(t, s.Add(x, bias))
		must(t, Rebatch(g, batch))
		want := map[int64]string{0: "(batch,2)", 1: "(1,2)", 3: "(3,2)"}[batch]
		if got := g.Outputs[0].Shape.String(); got != want || bias.Shape.String() != "(1,2)" {
			t.Errorf("batch %d: %v", batch, g)
		}
	}
}

func TestRebatchSaysWhatHoldsTheOldBatch(t *testing.T) {
	s := draw(t)
	x := s.input("x", 4, 6)
	g := s.done(t, s.Add(x, s.weight("w", 4, 6)))
	for batch, want := range map[int64]string{0: "made dynamic", 1: "made 1", 3: "made 3"} {
		var refused *RebatchError
		err := Rebatch(twin(g), batch)
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "node add") || !strings.Contains(err.Error(), want) {
			t.Errorf("batch %d: %v", batch, err)
		}
	}
	s = draw(t)
	g = s.done(t, s.Op("Relu", nil, s.g.AddInput("x", onnx.Float, nil)))
	if err := Rebatch(g, 2); err == nil || !strings.Contains(err.Error(), "no leading dimension") {
		t.Errorf("an input of unknown rank: %v", err)
	}
}

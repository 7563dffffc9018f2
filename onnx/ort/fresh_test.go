package ort_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

func TestFreshOutputsStayAsTheyAreUntilClosed(t *testing.T) {
	orttest.Need(t)
	s := open(t, momentumModel(3), ort.Options{})
	m := buffer(t, []float32{0, 0, 0}, 3)
	sum := buffer(t, []float32{0})
	bind(t, s, map[string]*ort.Buffer{"p": buffer(t, []float32{1, 2, 3}, 3), "m": m, "m.new": m, "sum": sum,
		"g": buffer(t, []float32{1, 1, 2}, 3), "beta": buffer(t, []float32{1}), "lr": buffer(t, []float32{0.5})})
	first, err := s.RunFresh([]string{"p.new"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.RunFresh([]string{"p.new"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]float32{{0.5, 1.5, 2}, {0, 1, 1}} {
		if got := [][]*ort.Buffer{first, second}[i][0].Float32s(); !slices.Equal(got, want) {
			t.Errorf("run %d gives %v, expected %v", i, got, want)
		}
	}
	if got := sum.Float32s()[0]; got != 2 {
		t.Errorf("the bound output is %v, expected 2", got)
	}
	first[0].Close()
	second[0].Close()
	if _, err := s.RunFresh([]string{"q"}); err == nil || !strings.Contains(err.Error(), "no such output") {
		t.Errorf("an unknown output: %v", err)
	}
}

func TestUnboundInputMissesItsBuffer(t *testing.T) {
	orttest.Need(t)
	s := open(t, momentumModel(2), ort.Options{})
	g := buffer(t, []float32{1, 2}, 2)
	m := buffer(t, []float32{0, 0}, 2)
	bind(t, s, map[string]*ort.Buffer{"p": buffer(t, []float32{1, 2}, 2), "m": m, "m.new": m,
		"g": g, "beta": buffer(t, []float32{1}), "lr": buffer(t, []float32{0.5})})
	if err := s.Unbind("g"); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(); err == nil || !strings.Contains(err.Error(), `"g"`) {
		t.Errorf("running without g: %v", err)
	}
	bind(t, s, map[string]*ort.Buffer{"g": g})
	if err := s.Run(); err != nil || !slices.Equal(m.Float32s(), []float32{1, 2}) {
		t.Errorf("with g again: %v, %v", m.Float32s(), err)
	}
}

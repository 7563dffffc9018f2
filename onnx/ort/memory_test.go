package ort_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestRunWithoutMemorySaysSo enlarges one number to a tensor of 4 PB.
func TestRunWithoutMemorySaysSo(t *testing.T) {
	orttest.Need(t)
	s := open(t, modelBytes(
		[]testPort{{"x", onnx.Float, []any{1}}, {"shape", onnx.Int64, []any{1}}},
		[]testPort{{"max", onnx.Float, []any{1}}},
		testNode{op: "Expand", in: []string{"x", "shape"}, out: []string{"large"}},
		testNode{op: "ReduceMax", in: []string{"large"}, out: []string{"max"}},
	), ort.Options{Name: "the training graph"})
	bind(t, s, map[string]*ort.Buffer{"x": buffer(t, []float32{1}, 1), "shape": buffer(t, []int64{1 << 50}, 1), "max": buffer(t, []float32{0}, 1)})
	err := s.Run()
	var e *ort.MemoryError
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "running the training graph: no memory of 4503599627370496 bytes is left for ONNX Runtime: take a smaller batch") {
		t.Errorf("error %v, want a *MemoryError that says what was run and how much was asked for", err)
	}
}

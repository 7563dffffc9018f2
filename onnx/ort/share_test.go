package ort_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestSharedSessionsRunAtTheSameTime lets several goroutines run one session
// many times, each with numbers of its own.
func TestSharedSessionsRunAtTheSameTime(t *testing.T) {
	orttest.Need(t)
	model := modelBytes(
		[]testPort{{"x", onnx.Float, []any{"batch", 2}}},
		[]testPort{{"y", onnx.Float, []any{"batch", 2}}},
		testNode{op: "Exp", in: []string{"x"}, out: []string{"e"}},
		testNode{op: "Log", in: []string{"e"}, out: []string{"y"}},
	)
	const lanes, runs, rows = 4, 200, 64
	s := open(t, model, ort.Options{Threads: 1})
	var running sync.WaitGroup
	failed := make([]error, lanes)
	for lane := range lanes {
		own, err := s.Share()
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		x, y := buffer(t, make([]float32, 2*rows), rows, 2), buffer(t, make([]float32, 2*rows), rows, 2)
		bind(t, own, map[string]*ort.Buffer{"x": x, "y": y})
		running.Go(func() {
			for run := range runs {
				want := float32(lane) + float32(run)/runs
				for i := range x.Float32s() {
					x.Float32s()[i] = want
				}
				if failed[lane] = own.Run(); failed[lane] != nil {
					return
				}
				for _, got := range y.Float32s() {
					if got-want > 1e-5 || want-got > 1e-5 {
						t.Errorf("run %d of lane %d: %v, expected %v", run, lane, got, want)
						return
					}
				}
			}
		})
	}
	running.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
}

package pipeline

import (
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestCheckpointBeforeTheFirstUpdateHasNoMoments and puts them back to zero where
// it is gone back to.
func TestCheckpointBeforeTheFirstUpdateHasNoMoments(t *testing.T) {
	orttest.Need(t)
	c := openOracle(t, "micro")
	gs, in := graphsOf(t, c, GraphOptions{})
	run, err := CreateRun(t.TempDir()+"/run", c.config)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	tr := &trainer{run: run, cfg: c.config}
	if tr.log, err = run.OpenLog(); err != nil {
		t.Fatal(err)
	}
	defer tr.log.Close()
	if tr.stepper, err = NewStepper(gs, in.batch(), ort.Options{}); err != nil {
		t.Fatal(err)
	}
	defer tr.stepper.Close()
	if err := tr.save(Last); err != nil {
		t.Fatal(err)
	}
	first, err := run.LoadCheckpoint(Last)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Parameters) != len(gs.Params) || len(first.Moments) != 0 || len(first.Squares) != 0 {
		t.Errorf("%d parameters, %d and %d moments, expected %d and none", len(first.Parameters), len(first.Moments), len(first.Squares), len(gs.Params))
	}
	batch, err := in.buffers(gs)
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Close()
	before := slices.Clone(tr.stepper.Weights[0].Float32s())
	if err := tr.stepper.Compute(batch); err != nil {
		t.Fatal(err)
	}
	if err := tr.stepper.Update(0.1, 1); err != nil {
		t.Fatal(err)
	}
	zero := func(list []*ort.Buffer) bool {
		for _, b := range list {
			if slices.ContainsFunc(b.Float32s(), func(v float32) bool { return v != 0 }) {
				return false
			}
		}
		return true
	}
	if zero(tr.stepper.Moments) || zero(tr.stepper.Squares) || slices.Equal(before, tr.stepper.Weights[0].Float32s()) {
		t.Fatal("a step changed nothing")
	}
	tr.load(first)
	if !zero(tr.stepper.Moments) || !zero(tr.stepper.Squares) || !slices.Equal(before, tr.stepper.Weights[0].Float32s()) {
		t.Error("going back to the first checkpoint left something of the step")
	}
	tr.state.GlobalStep = 1
	if err := tr.save(Last); err != nil {
		t.Fatal(err)
	}
	if later, err := run.LoadCheckpoint(Last); err != nil || len(later.Moments) != len(gs.Params) {
		t.Errorf("after a step: %d moments, %v, expected %d", len(later.Moments), err, len(gs.Params))
	}
}

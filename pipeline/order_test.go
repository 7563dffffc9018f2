package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/passes"
)

// TestONNXRuntimeRunsInTheExpectedOrder holds passes.Execution, on which the
// memory of a step rests, against a profile of the training graph.
func TestONNXRuntimeRunsInTheExpectedOrder(t *testing.T) {
	orttest.Need(t)
	c := openOracle(t, "micro")
	for _, lean := range []bool{false, true} {
		o := GraphOptions{Lean: lean, Off: []string{rows}}
		var want []string
		gs, _ := graphsOf(t, c, o)
		for _, n := range passes.Execution(gs.Training) {
			want = append(want, n.Name)
		}
		if got := stepNodes(t, c, o, ort.Options{AsIs: true}); !slices.Equal(got, want) {
			t.Errorf("lean %v: run as %v\nexpected %v", lean, got, want)
		}
	}
}

// graphsOf derives a case's graphs, and reads its batch.
func graphsOf(t *testing.T, c oracleCase, o GraphOptions) (*Graphs, traceInputs) {
	t.Helper()
	in, err := readTraceInputs(filepath.Join(c.folder, "inputs.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(c.weights, ModelOptions{Graphs: o})
	if err != nil {
		t.Fatal(err)
	}
	gs, err := m.NewGraphs(in.batch(), ObjectiveOf(c.config), AdamWOf(c.config), c.config.Freezes)
	if err != nil {
		t.Fatal(err)
	}
	return gs, in
}

// stepNodes lists the nodes of a case's training graph as they are run.
func stepNodes(t *testing.T, c oracleCase, o GraphOptions, opt ort.Options) []string {
	t.Helper()
	gs, in := graphsOf(t, c, o)
	opt.Profile = filepath.Join(t.TempDir(), "profile")
	s, err := NewStepper(gs, in.batch(), opt)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	batch, err := in.buffers(gs)
	if err != nil {
		t.Fatal(err)
	}
	defer batch.Close()
	if err := s.Compute(batch); err != nil {
		t.Fatal(err)
	}
	path, err := s.EndProfile()
	if err != nil {
		t.Fatal(err)
	}
	return nodesOf(t, path)
}

// TestLeanStepsComputeAgain makes sure that ONNX Runtime's optimizer leaves the
// copies in the graph.
func TestLeanStepsComputeAgain(t *testing.T) {
	orttest.Need(t)
	c := openOracle(t, "micro")
	for _, lean := range []bool{false, true} {
		names := stepNodes(t, c, GraphOptions{Lean: lean}, ort.Options{})
		again := 0
		for _, name := range names {
			if strings.HasPrefix(name, "blocks.0.attn/A/again") {
				again++
			}
		}
		if want := map[bool]int{true: 2}[lean]; again != want { // on the way back from the logits, and from the losses
			t.Errorf("lean %v: block 0's attention map is computed again %d times, expected %d: %v", lean, again, want, names)
		}
	}
}

// nodesOf lists the nodes of a profile as they were run.
func nodesOf(t *testing.T, profile string) []string {
	t.Helper()
	data, err := os.ReadFile(profile)
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Cat, Name string
	}
	if err := json.Unmarshal(data, &events); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range events {
		if name, ok := strings.CutSuffix(e.Name, "_kernel_time"); ok && e.Cat == "Node" {
			names = append(names, name)
		}
	}
	return names
}

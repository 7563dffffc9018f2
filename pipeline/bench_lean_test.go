//go:build bench

package pipeline

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// What memory: lean may take on ViT-B: in MB, three quarters of what the default
// may (0.65 of PyTorch's 4037), and in steps of the default.
const (
	leanMemory = 1968
	leanTime   = 1.15
)

// benchLean chooses the model: base (the default), small or tiny.
const benchLean = "RELEVIT_BENCH_LEAN"

// benchLeanJob hands a model and a kind of memory to the process that measures
// its peak.
const benchLeanJob = "RELEVIT_BENCH_LEAN_JOB"

// TestBenchLean prints what steps with memory: lean take beside the default's, of
// the model that benchLean names, and holds it against the limits.
func TestBenchLean(t *testing.T) {
	orttest.Need(t)
	if job := os.Getenv(benchLeanJob); job != "" {
		leanPeak(t, job)
		return
	}
	size := os.Getenv(benchLean)
	if size == "" {
		size = "base"
	}
	path, _, _ := benchModel(t, size)
	peaks := map[string]float64{}
	for _, memory := range []string{"fast", "lean"} {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestBenchLean$", "-test.v")
		cmd.Env = append(os.Environ(), benchLeanJob+"="+memory+" "+path)
		out, err := cmd.CombinedOutput()
		_, result, ok := bytes.Cut(out, []byte(resultMark))
		if err != nil || !ok {
			t.Fatalf("%v\n%s", err, out)
		}
		var peak, estimate float64
		fmt.Sscan(string(result), &peak, &estimate)
		peaks[memory] = peak
		fmt.Printf("memory: %s peaks at %.0f MB (estimated: %.0f)\n", memory, peak, estimate)
	}
	ratio, usual, lean := leanTimes(t, path, 3)
	memory := peaks["lean"] / peaks["fast"]
	fmt.Printf("ViT %s, memory: lean: %.2f times the default's memory; a step takes %.2f s, %.2f times the default's %.2f\n", size, memory, lean, ratio, usual)
	if size == "base" && (peaks["lean"] > leanMemory || ratio > leanTime) {
		t.Errorf("expected at most %d MB in %.2f times the time", leanMemory, leanTime)
	}
}

// openLean opens a stepper on a filled batch.
func openLean(t *testing.T, path, memory string) (*Stepper, Inputs, float64) {
	t.Helper()
	cfg, err := configs.Load([]string{"vit-base"}, []string{"memory=" + memory})
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(path, ModelOptions{Graphs: graphOptionsOf(cfg)})
	if err != nil {
		t.Fatal(err)
	}
	gs, err := m.NewGraphs(benchBatch, ObjectiveOf(cfg), AdamWOf(cfg), nil)
	if err != nil {
		t.Fatal(err)
	}
	estimate, _ := gs.Memory()
	s, err := NewStepper(gs, benchBatch, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	in, err := NewInputs(gs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	fillBatch(in)
	gs.Training, gs.Eval, gs.Optimizer = nil, nil, nil
	return s, in, float64(estimate) / (1 << 20)
}

func leanPeak(t *testing.T, job string) {
	memory, path, _ := strings.Cut(job, " ")
	s, in, estimate := openLean(t, path, memory)
	debug.FreeOSMemory()
	for step := range 2 {
		leanStep(t, s, in, int64(step)+1)
	}
	fmt.Println(resultMark, peak(t), estimate)
}

func leanStep(t *testing.T, s *Stepper, in Inputs, step int64) float64 {
	t.Helper()
	start := time.Now()
	err := s.Compute(in)
	if err == nil {
		err = s.Update(3e-6, step)
	}
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(start).Seconds()
}

// leanTimes makes steps of both kinds by turns, in one process.
func leanTimes(t *testing.T, path string, rounds int) (ratio, usual, lean float64) {
	fast, batch, _ := openLean(t, path, "fast")
	slow, other, _ := openLean(t, path, "lean")
	step := int64(1)
	leanStep(t, slow, other, step)
	leanStep(t, fast, batch, step)
	before := leanStep(t, fast, batch, step+1)
	var ratios, times, leans []float64
	for range rounds {
		step++
		took := leanStep(t, slow, other, step)
		after := leanStep(t, fast, batch, step+1)
		times, leans, ratios = append(times, after), append(leans, took), append(ratios, 2*took/(before+after))
		before = after
	}
	return median(ratios), median(times), median(leans)
}

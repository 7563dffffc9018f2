//go:build bench

package pipeline

import (
	"encoding/json"
	"math"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx/ort"
)

// torch is a process that runs testdata/bench/vit.py.
type torch struct{ peer }

// startTorch starts PyTorch on what the job measures. Where the machine lacks
// it, the result says why.
func (b *bench) startTorch(j job, kind string, args ...string) *torch {
	b.Helper()
	args = append([]string{kind, "vit_" + j.Size + "_patch16_224", j.Weights, strconv.Itoa(runtime.GOMAXPROCS(0))}, args...)
	p, why := startPeer(b.T, "testdata/bench/vit.py", nil, args...)
	if p == nil {
		b.r.Without = why
		return nil
	}
	b.r.Beside = p.version
	return &torch{*p}
}

// saveInputs writes a batch for PyTorch to read.
func saveInputs(t testing.TB, in Inputs) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "inputs.safetensors")
	named := func(name string, b *ort.Buffer) safetensors.Named {
		return safetensors.Named{Name: name, Tensor: b.Tensor()}
	}
	if err := safetensors.Write(path, []safetensors.Named{named("image", in.Image), named("mask", in.Mask), named("label", in.Label)}, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

// compare runs a step by both on the same weights and batch, and gives the
// largest difference between their losses, and between the norms of their
// gradients, in shares of the value.
func (p *torch) compare(t testing.TB, s *Stepper) float64 {
	t.Helper()
	ours := s.Losses()
	squares := 0.0
	for _, g := range s.Grads {
		for _, v := range g.Float32s() {
			squares += float64(v) * float64(v)
		}
	}
	ours["gradient"] = math.Sqrt(squares)
	worst := 0.0
	for name, theirs := range p.check(t) {
		worst = max(worst, math.Abs(ours[name]-theirs)/math.Abs(theirs))
	}
	return worst
}

// check is what PyTorch gives: losses, and the norm of the gradient.
func (p *torch) check(t testing.TB) (found map[string]float64) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.ask(t, "check")), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// TestBenchPyTorchComputesTheMethod holds the script that the bench compares with
// against the reference vectors: each loss and the gradient's norm within 10
// times the deviation of PyTorch's own float32 run.
func TestBenchPyTorchComputesTheMethod(t *testing.T) {
	c := openOracle(t, "vit-tiny")
	p, why := startPeer(t, "testdata/bench/vit.py", nil, "step", "vit_tiny_patch16_224", c.weights, "1", filepath.Join(c.folder, "inputs.safetensors"))
	if p == nil {
		t.Skip(why)
	}
	want := map[string]float64{}
	for _, name := range []string{"total", "background", "foreground", "classification"} {
		values, _ := c.want(t, "loss."+name)
		want[name] = values[0]
	}
	squares := 0.0
	for _, name := range c.expected.Names() {
		if ok, _ := filepath.Match("grad.first.*#norm", name); ok {
			norm, _ := c.want(t, name)
			squares += norm[0] * norm[0]
		}
	}
	want["gradient"] = math.Sqrt(squares)
	got := (&torch{*p}).check(t)
	for name, w := range want {
		limit := 10 * c.deviation["loss"]
		if name == "gradient" {
			limit = 10 * c.deviation["grad.first"]
		}
		if !(math.Abs(got[name]-w) <= limit*math.Abs(w)) {
			t.Errorf("%s: PyTorch gives %v, expected %v", name, got[name], w)
		}
	}
}

package pipeline

import (
	"bytes"
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// stepOf computes losses and gradients of a reference case in a precision. A loss
// scale that is too large is halved, as a run does.
func (c oracleCase) stepOf(t *testing.T, precision string, opt ort.Options) *Stepper {
	t.Helper()
	in, err := readTraceInputs(filepath.Join(c.folder, "inputs.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(c.weights, c.options())
	if err != nil {
		t.Fatal(err)
	}
	cfg := *c.config
	cfg.Precision = precision
	gs, err := m.NewGraphs(in.batch(), ObjectiveOf(&cfg), AdamWOf(&cfg), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := gs.SetPrecision(precision, opt.Device != ""); err != nil {
		t.Fatal(err)
	}
	opt.TF32 = precision == "tf32"
	s, err := NewStepper(gs, in.batch(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	batch, err := in.buffers(gs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(batch.Close)
	for {
		bad := 0
		err := s.Compute(batch)
		if err == nil {
			bad, err = s.NotFinite()
		}
		if err != nil {
			t.Fatal(err)
		}
		if bad < 0 || !s.Scaled() || s.LossScale <= 1 {
			return s
		}
		s.LossScale /= 2
	}
}

// TestRoundedProductsAreOffByTheirPrecision holds losses and gradients against
// PyTorch's float64 run: within ten times of what its float32 run is off, times
// the ratio of the two precisions; and further than in float32, or nothing was
// rounded.
func TestRoundedProductsAreOffByTheirPrecision(t *testing.T) {
	test := func(t *testing.T, opt ort.Options, bits map[string]int) {
		for _, name := range []string{"micro", "micro-rect", "micro-deep"} {
			c := openOracle(t, name)
			for precision, p := range bits {
				s := c.stepOf(t, precision, opt)
				ratio := math.Pow(2, float64(24-p))
				worst := map[string]float64{}
				for loss, got := range s.Losses() {
					want, _ := c.want(t, "loss."+loss)
					worst["loss"] = max(worst["loss"], off([]float64{got}, want, nil))
				}
				for i, p := range s.Params {
					want, at := c.want(t, "grad.first."+p.Name)
					values, err := ort.Values[float32](s.Grads[i])
					if err != nil {
						t.Fatal(err)
					}
					got := make([]float64, len(values))
					for j, x := range values {
						got[j] = float64(x)
					}
					worst["grad.first"] = max(worst["grad.first"], off(got, want, at))
				}
				t.Logf("%s, %s: losses off by %.2g, gradients by %.2g, loss times %g", name, precision, worst["loss"], worst["grad.first"], s.LossScale)
				for group, e := range worst {
					if limit := 10 * c.deviation[group] * ratio; e > limit {
						t.Errorf("%s, %s: %s is off by %.2g, more than %.2g", name, precision, group, e, limit)
					}
					if e < 10*c.deviation[group] {
						t.Errorf("%s, %s: %s is off by %.2g, as in float32", name, precision, group, e)
					}
				}
			}
		}
	}
	t.Run("cpu", func(t *testing.T) {
		orttest.Need(t)
		test(t, ort.Options{}, map[string]int{"bf16": 8, "fp16": 11})
	})
	t.Run("cuda", func(t *testing.T) {
		test(t, orttest.NeedCUDA(t), map[string]int{"tf32": 11, "bf16": 8, "fp16": 11})
	})
}

// TestScalingTheLossChangesNoGradient scales by powers of two, which float32
// multiplies and divides by exactly.
func TestScalingTheLossChangesNoGradient(t *testing.T) {
	orttest.Need(t)
	var grads [2][][]float32
	for i, scale := range []float64{1, 1024} {
		m, err := OpenModel(filepath.Join("testdata", "zoo", "timm-torchscript-17", "model.onnx"), ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(nil, []string{"precision=fp16"})
		if err != nil {
			t.Fatal(err)
		}
		gs, err := m.NewGraphs(2, ObjectiveOf(cfg), AdamWOf(cfg), nil)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(gs.Eval.Inputs, isScale) || !slices.ContainsFunc(gs.Training.Inputs, isScale) {
			t.Errorf("the scale is an input of the wrong graphs")
		}
		s, err := NewStepper(gs, 2, ort.Options{}) // without SetPrecision: float32
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		in, err := s.NewInputs(gs)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		_, fill := smallRun(t, 2)
		fill(in)
		s.LossScale = scale
		if err := s.Compute(in); err != nil {
			t.Fatal(err)
		}
		for _, g := range s.Grads {
			grads[i] = append(grads[i], slices.Clone(g.Float32s()))
		}
	}
	for i := range grads[0] {
		if !slices.Equal(grads[0][i], grads[1][i]) {
			t.Errorf("gradient %d differs", i)
		}
	}
}

// TestARunInFloat16GoesOnAsIfNeverInterrupted starts with a scale that is too
// large, so that steps are left out, and resumes after one.
func TestARunInFloat16GoesOnAsIfNeverInterrupted(t *testing.T) {
	orttest.Need(t)
	data := trainingData(t)
	source := checkpointsOfEveryFormat(t)["ONNX"]
	options := func() FinetuneOptions {
		cfg, err := configs.Load(nil, []string{"model=" + source, "lr=1e-3", "epochs=8", "batch=4", "precision=fp16", "lambda_acc=10", "data.images=" + filepath.Join(data, "images"), "data.masks=" + filepath.Join(data, "masks"),
			"data.labels=top1", "data.classes=0", "data.samples=0", "data.validation.split=none", "sheet_images=0"})
		if err != nil {
			t.Fatal(err)
		}
		return FinetuneOptions{Config: cfg, Dir: filepath.Join(t.TempDir(), "run"), Tool: "test"}
	}
	whole := options()
	r, err := Finetune(context.Background(), whole)
	if err != nil {
		t.Fatal(err)
	}
	if r.Undone == 0 || r.Undone == r.Steps {
		t.Errorf("%d of %d steps were left out: this test shows nothing", r.Undone, r.Steps)
	}
	stopped := options()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stopped.Hooks.OnStep = func(StepRecord) { cancel() } // after the first that was made
	if _, err := Finetune(ctx, stopped); !errors.Is(err, ErrInterrupted) {
		t.Fatalf("got %v, want an interruption", err)
	}
	stopped.Hooks.OnStep, stopped.Resume = nil, true
	if _, err := Finetune(context.Background(), stopped); err != nil {
		t.Fatal(err)
	}
	want, got := lastParameters(t, whole.Dir), lastParameters(t, stopped.Dir)
	for name, p := range want {
		if !bytes.Equal(p.Raw, got[name].Raw) {
			t.Errorf("%s isn't what it is without the interruption", name)
		}
	}
}

func TestTheLossScaleFollowsTheGradients(t *testing.T) {
	s := &trainer{state: State{LossScale: &LossScale{Scale: 4}}}
	scale := s.state.LossScale
	for range scaleSteps {
		scale.grew()
	}
	if *scale != (LossScale{Scale: 8}) {
		t.Errorf("after %d good steps: %+v", scaleSteps, *scale)
	}
	for _, want := range []LossScale{{Scale: 4}, {Scale: 2}, {Scale: 1}} {
		if !s.outOfRange(&NotFiniteError{Gradient: true}) || *scale != want {
			t.Errorf("%+v, expected %+v", *scale, want)
		}
	}
	if s.outOfRange(&NotFiniteError{Gradient: true}) {
		t.Error("a scale of 1 can't be the reason")
	}
	scale.Scale = 2
	if s.outOfRange(&NotFiniteError{}) {
		t.Error("a loss isn't scaled")
	}
	scale.Scale, scale.Steps = lastScale, scaleSteps
	if scale.grew(); scale.Scale != lastScale {
		t.Errorf("it grew to %g", scale.Scale)
	}
}

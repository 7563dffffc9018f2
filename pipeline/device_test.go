package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// eachDevice runs a test where Go doesn't see the sessions' memory: on the CPU,
// apart from Go, and on a GPU, if there is one.
func eachDevice(t *testing.T, test func(t *testing.T, opt ort.Options)) {
	t.Run("apart", func(t *testing.T) {
		orttest.Need(t)
		test(t, ort.Options{Apart: true})
	})
	t.Run("cuda", func(t *testing.T) { test(t, orttest.NeedCUDA(t)) })
}

// smallRun makes graphs of a small model, and a batch of noise.
func smallRun(t *testing.T, batch int64) (*Graphs, func(Inputs)) {
	t.Helper()
	m, err := OpenModel(filepath.Join("testdata", "zoo", "timm-torchscript-17", "model.onnx"), ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Load(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	gs, err := m.NewGraphs(batch, ObjectiveOf(cfg), AdamWOf(cfg), nil)
	if err != nil {
		t.Fatal(err)
	}
	return gs, func(in Inputs) {
		rng := rand.New(rand.NewPCG(5, 6))
		slot := in.slot()
		for i := range slot.Images {
			slot.Images[i] = rng.Float32()*2 - 1
		}
		for i := range slot.Masks {
			slot.Masks[i] = float32(rng.IntN(2))
		}
		for i := range slot.Labels {
			slot.Labels[i] = int64(i % 2)
		}
	}
}

// TestAStepMovesABatchUpAndNumbersDown counts the bytes: parameters, gradients
// and moments stay where they are.
func TestAStepMovesABatchUpAndNumbersDown(t *testing.T) {
	eachDevice(t, func(t *testing.T, opt ort.Options) {
		const batch = 3
		gs, fill := smallRun(t, batch)
		size := 0
		for _, p := range gs.Params {
			size += 4 * int(p.Shape.Count().N)
		}
		s, in := filledStep(t, gs, batch, opt, fill)
		if sent, _ := s.place.Moved(); sent != int64(size) {
			t.Errorf("%d bytes went up at the start, the parameters have %d", sent, size)
		}
		sentBefore, backBefore := s.place.Moved()
		const steps = 3
		for step := range steps {
			if step == 1 { // as a loader does, ahead of the step
				if err := in.Send(); err != nil {
					t.Fatal(err)
				}
			}
			bad := 0
			err := s.Compute(in)
			if err == nil {
				bad, err = s.NotFinite()
			}
			if err == nil {
				err = s.Update(1e-3, int64(step+1))
			}
			if err != nil || bad >= 0 || !s.Finite() {
				t.Fatalf("step %d: error %v, gradient %d not finite, losses %v", step, err, bad, s.Losses())
			}
		}
		pixels := len(in.Image.Bytes()) + len(in.Mask.Bytes()) + len(in.Label.Bytes())
		sent, back := s.place.Moved()
		if got, want := int(sent-sentBefore), steps*(pixels+2*8); got != want {
			t.Errorf("%d bytes went up in %d steps, expected the batches and the scalars of AdamW, %d", got, steps, want)
		}
		numbers := batch*(8+1+4) + 4*len(gs.Losses) + 4*len(gs.Params)
		if got := int(back - backBefore); got != steps*numbers {
			t.Errorf("%d bytes came down in %d steps, expected %d", got, steps, steps*numbers)
		}
		if steps*numbers > size {
			t.Errorf("the numbers of %d steps are %d bytes, more than the parameters' %d: this test shows nothing", steps, steps*numbers, size)
		}
	})
}

// TestStepsApartFromGoAreTheSameToTheBit compares losses, gradients and
// parameters with those of a Stepper whose memory Go sees.
func TestStepsApartFromGoAreTheSameToTheBit(t *testing.T) {
	orttest.Need(t)
	const batch = 3
	var losses [2][]float64
	var state [2][][]byte
	for i, opt := range []ort.Options{{}, {Apart: true, Replay: true}} { // the CPU doesn't replay, but begins as if it did
		gs, fill := smallRun(t, batch)
		s, in := filledStep(t, gs, batch, opt, fill)
		for step := range 3 {
			if err := errors.Join(s.Compute(in), s.Update(1e-3, int64(step+1))); err != nil {
				t.Fatal(err)
			}
			losses[i] = append(losses[i], s.Losses()["total"], s.ForegroundShare(), float64(s.Predictions()[0]))
		}
		for _, b := range slices.Concat(s.Weights, s.Moments, s.Squares) {
			raw, err := b.Read()
			if err != nil {
				t.Fatal(err)
			}
			state[i] = append(state[i], slices.Clone(raw))
		}
	}
	if !slices.Equal(losses[0], losses[1]) {
		t.Errorf("losses, shares and predictions %v, apart from Go %v", losses[0], losses[1])
	}
	for i := range state[0] {
		if !bytes.Equal(state[0][i], state[1][i]) {
			t.Errorf("buffer %d of %d differs", i, len(state[0]))
		}
	}
}

// filledStep opens a stepper with a filled batch for the rest of the test.
func filledStep(t *testing.T, gs *Graphs, batch int64, opt ort.Options, fill func(Inputs)) (*Stepper, Inputs) {
	t.Helper()
	s, err := NewStepper(gs, batch, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	in, err := s.NewInputs(gs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	fill(in)
	return s, in
}

// TestGradientsThatAreNoNumbersAreFoundWhereverTheyLie puts one into a gradient.
func TestGradientsThatAreNoNumbersAreFoundWhereverTheyLie(t *testing.T) {
	test := func(t *testing.T, opt ort.Options) {
		gs, fill := smallRun(t, 2)
		s, in := filledStep(t, gs, 2, opt, fill)
		if err := s.Compute(in); err != nil {
			t.Fatal(err)
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 3e38} {
			for _, at := range []int{0, len(s.Grads) / 2, len(s.Grads) - 1} {
				values, err := ort.Values[float32](s.Grads[at])
				if err != nil {
					t.Fatal(err)
				}
				before := slices.Clone(values)
				after := slices.Clone(before)
				after[len(after)-1] = float32(bad)
				if err := ort.Set(s.Grads[at], after); err != nil {
					t.Fatal(err)
				}
				want := at
				if bad == 3e38 {
					want = -1
				}
				if got, err := s.NotFinite(); err != nil || got != want {
					t.Errorf("%v in gradient %d: found %d, %v, expected %d", bad, at, got, err, want)
				}
				if err := ort.Set(s.Grads[at], before); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Run("cpu", func(t *testing.T) {
		orttest.Need(t)
		test(t, ort.Options{})
	})
	eachDevice(t, test)
}

// TestRunsOnADeviceStopAndGoOn interrupts a run and resumes it, and compares
// with a run on the CPU: apart from Go to the bit; on a GPU, replayed or not, as
// closely as another order of sums allows. AdamW moves a parameter whose gradient
// is rounding noise by lr a step, so that parameters are compared by how far all of
// them went together.
func TestRunsOnADeviceStopAndGoOn(t *testing.T) {
	orttest.Need(t)
	data := trainingData(t)
	source := checkpointsOfEveryFormat(t)["ONNX"]
	const steps = 6
	options := func(t *testing.T, opt ort.Options) FinetuneOptions {
		cfg, err := configs.Load(nil, []string{"model=" + source, "lr=1e-3", "epochs=3", "batch=4", "data.images=" + filepath.Join(data, "images"), "data.masks=" + filepath.Join(data, "masks"),
			"data.labels=top1", "data.classes=0", "data.samples=0", "data.validation.split=none", "sheet_images=2"})
		if err != nil {
			t.Fatal(err)
		}
		return FinetuneOptions{Config: cfg, Dir: filepath.Join(t.TempDir(), "run"), Tool: "test", ORT: opt}
	}
	var wantLosses []float64
	keep := func(losses *[]float64) func(StepRecord) {
		return func(r StepRecord) { *losses = append(*losses, float64(r.Loss), float64(r.Accuracy)) }
	}
	plain := options(t, ort.Options{})
	plain.Hooks.OnStep = keep(&wantLosses)
	if _, err := Finetune(context.Background(), plain); err != nil {
		t.Fatal(err)
	}
	want := lastParameters(t, plain.Dir)
	m, err := OpenModel(source, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	test := func(t *testing.T, on ort.Options, replay bool) {
		opt := options(t, on)
		opt.Config.CUDAGraphs = replay
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var losses []float64
		kept := keep(&losses)
		opt.Hooks.OnStep = func(r StepRecord) {
			if kept(r); r.GlobalStep == 2 {
				cancel()
			}
		}
		if _, err := Finetune(ctx, opt); !errors.Is(err, ErrInterrupted) {
			t.Fatalf("got %v, want an interruption", err)
		}
		r, err := Finetune(context.Background(), FinetuneOptions{Dir: opt.Dir, Resume: true, Tool: "test", ORT: on, Hooks: Hooks{OnStep: kept}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Steps != steps || len(losses) != len(wantLosses) {
			t.Errorf("%d steps, expected %d", r.Steps, steps)
		}
		off, moved := 0.0, 0.0
		for name, got := range lastParameters(t, opt.Dir) {
			if on.Apart && !bytes.Equal(got.Raw, want[name].Raw) {
				t.Errorf("%s isn't what it is on the CPU", name)
			}
			x, _ := got.Float32s()
			y, _ := want[name].Float32s()
			before, _ := m.Graph.Find(name).Data.Float32s()
			for i := range y {
				off += math.Abs(float64(x[i] - y[i]))
				moved += math.Abs(float64(y[i] - before[i]))
			}
		}
		t.Logf("losses and accuracies %v, on the CPU %v; parameters went %.3g, and are %.3g off", losses, wantLosses, moved, off)
		if !(off <= 0.05*moved) {
			t.Errorf("parameters are off by %v, having moved by %v", off, moved)
		}
		for i, want := range wantLosses {
			if !(math.Abs(losses[i]-want) <= 1e-3*math.Abs(want)) {
				t.Errorf("losses and accuracies %v, on the CPU %v", losses, wantLosses)
				break
			}
		}
	}
	eachDevice(t, func(t *testing.T, on ort.Options) { test(t, on, false) })
	t.Run("replayed", func(t *testing.T) { test(t, orttest.NeedCUDA(t), true) })
}

// TestTraceOnCUDAMatchesPyTorch traces reference cases on a GPU.
func TestTraceOnCUDAMatchesPyTorch(t *testing.T) {
	opt := orttest.NeedCUDA(t)
	for _, name := range []string{"micro", "micro-deep", "vit-tiny"} {
		for _, mode := range []string{"first-order", "second-order"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				c := openOracle(t, name)
				c.compareTrace(t, c.weights, "relevance", mode, opt)
			})
		}
	}
}

// TestReplayedStepsAreThoseThatArent compares losses and parameters of steps that
// a GPU replays as CUDA graphs with steps that it doesn't, each asked for by a
// thread of its own, as a goroutine may be moved to any.
func TestReplayedStepsAreThoseThatArent(t *testing.T) {
	on := orttest.NeedCUDA(t)
	const batch, steps, rate = 3, 5, 1e-3
	var losses [2][]float64
	var weights [2][]float32
	for i, replay := range []bool{false, true} {
		gs, fill := smallRun(t, batch)
		opt := on
		opt.Replay = replay
		s, in := filledStep(t, gs, batch, opt, fill)
		for step := range steps {
			var err error
			onAThreadOfItsOwn(func() { err = errors.Join(s.Compute(in), s.Update(rate, int64(step+1))) })
			if err != nil {
				t.Fatal(err)
			}
			losses[i] = append(losses[i], s.Losses()["total"])
		}
		for _, w := range s.Weights {
			values, err := ort.Values[float32](w)
			if err != nil {
				t.Fatal(err)
			}
			weights[i] = append(weights[i], values...)
		}
	}
	for step := range steps {
		if x, y := losses[0][step], losses[1][step]; math.Abs(x-y) > 1e-5*math.Abs(x) {
			t.Errorf("step %d: loss %v, replayed %v", step, x, y)
		}
	}
	off := 0.0 // a gradient of rounding noise moves a parameter by the rate, so some may differ
	for i, x := range weights[0] {
		off += math.Abs(float64(x - weights[1][i]))
	}
	if limit := 0.01 * steps * rate * float64(len(weights[0])); !(off <= limit) {
		t.Errorf("parameters are off by %v in all, more than %v", off, limit)
	}
}

// onAThreadOfItsOwn calls f on a thread of the system's that nothing has run on.
func onAThreadOfItsOwn(f func()) {
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread() // and never unlocked, so that the thread ends
		f()
	})
	done.Wait()
}

// TestTheStepIsWhollyOnTheGPU reads in ONNX Runtime's profile where the nodes of
// the training graph ran: none on the CPU, and none that copies between the two.
func TestTheStepIsWhollyOnTheGPU(t *testing.T) {
	opt := orttest.NeedCUDA(t)
	for _, precision := range []string{"fp32", "bf16", "fp16"} {
		t.Run(precision, func(t *testing.T) { wholly(t, opt, precision) })
	}
}

func wholly(t *testing.T, opt ort.Options, precision string) {
	gs, fill := smallRun(t, 2)
	if err := gs.SetPrecision(precision, true); err != nil {
		t.Fatal(err)
	}
	opt.Profile = filepath.Join(t.TempDir(), "step")
	s, in := filledStep(t, gs, 2, opt, fill)
	if err := s.Compute(in); err != nil {
		t.Fatal(err)
	}
	path, err := s.EndProfile()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Category string `json:"cat"`
		Name     string `json:"name"`
		Args     struct {
			Op       string `json:"op_name"`
			Provider string `json:"provider"`
		} `json:"args"`
	}
	if err := json.Unmarshal(data, &events); err != nil {
		t.Fatal(err)
	}
	nodes := 0
	for _, e := range events {
		if e.Category != "Node" || e.Args.Provider == "" {
			continue
		}
		nodes++
		if e.Args.Provider != "CUDAExecutionProvider" || e.Args.Op == "MemcpyToHost" || e.Args.Op == "MemcpyFromHost" {
			t.Errorf("%s (%s) ran on %s", e.Name, e.Args.Op, e.Args.Provider)
		}
	}
	if nodes < 100 {
		t.Errorf("the profile has %d nodes", nodes)
	}
}

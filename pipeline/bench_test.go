//go:build bench

package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/passes"
)

const (
	// benchModels chooses what TestBenchTable measures: tiny, base, or both
	// (the default), separated by commas.
	benchModels = "RELEVIT_BENCH"
	// benchShort=1 measures once each: to see that it works, not to compare.
	benchShort = "RELEVIT_BENCH_SHORT"
	// benchJob hands a job to the process that measures it.
	benchJob = "RELEVIT_BENCH_JOB"

	benchBatch = 8
)

// job is what one process measures. Peaks of memory don't mix that way.
type job struct {
	Kind   string // times, step, forward or explaining
	Model  string // file
	Order  gradients.Order
	Rounds int
}

// Steps at most this many times as long as plain forward passes of the batch.
const stepLimit = 6

// A model with relevance at most so many times as long as without.
const relevanceLimit = 3

// TestBenchTable prints seconds per step and peak memory beside a plain
// forward pass of the same batch by the exported model's own graph. Both run
// by turns in one process; every ratio is the median of those between
// neighbours, so that other work on the machine counts for both.
func TestBenchTable(t *testing.T) {
	orttest.Need(t)
	chosen := os.Getenv(benchModels)
	if chosen == "" {
		chosen = "tiny,base"
	}
	short := os.Getenv(benchShort) == "1"
	fmt.Printf("\nBatch %d of 224x224, %d threads, %s/%s. Ratios are medians of neighbouring runs in one process.\n",
		benchBatch, runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH)
	for _, m := range []struct {
		size, title string
		rounds      int
		orders      []gradients.Order
	}{
		{"tiny", "ViT-Ti/16", 9, []gradients.Order{gradients.FirstOrder, gradients.SecondOrder}},
		{"base", "ViT-B/16", 3, []gradients.Order{gradients.FirstOrder}},
	} {
		if !slices.Contains(strings.Split(chosen, ","), m.size) {
			continue
		}
		if short {
			m.rounds = 1
		}
		path, weights := benchModel(t, m.size)
		fmt.Printf("\n%s, %s\n\n", m.title, weights)
		alone := measure(t, job{Kind: "forward", Model: path})
		for _, order := range m.orders {
			r := measure(t, job{Kind: "times", Model: path, Order: order, Rounds: m.rounds})
			step := measure(t, job{Kind: "step", Model: path, Order: order})
			r.print(order, alone, step)
			if ratio := r.Ratio["step"]; order == gradients.FirstOrder && ratio > stepLimit {
				t.Errorf("%s: a step takes %.2f times as long as a forward pass, expected at most %d", m.title, ratio, stepLimit)
			}
			if ratio := r.Ratio["relevance"]; ratio > relevanceLimit {
				t.Errorf("%s: the model with relevance takes %.2f times as long as without, expected at most %d", m.title, ratio, relevanceLimit)
			}
		}
		if m.size == "tiny" {
			benchExplaining(t, path, m.title, min(m.rounds, 3))
		}
	}
	rounds := 5
	if short {
		rounds = 1
	}
	benchLoading(t)
	benchDecoding(t, rounds)
	benchMasks(t, rounds)
}

// benchModel writes a model as ONNX and says which weights it has: real ones
// where they are, random ones of the same shapes otherwise.
func benchModel(t *testing.T, size string) (path, weights string) {
	t.Helper()
	checkpoint := filepath.Join("..", "..", "shared", "data", "models", "vit_tiny_patch16_224.safetensors")
	var c *models.Checkpoint
	a, err := models.NewArchitecture("vit_" + size + "_patch16_224")
	if err != nil {
		t.Fatal(err)
	}
	weights = "real weights"
	if size == "tiny" && exists(checkpoint) {
		c, err = models.OpenCheckpoint(checkpoint)
	} else {
		weights = "random weights"
		c, err = models.RandomCheckpoint(a, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := models.Build(c, a, models.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), size+".onnx")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, fmt.Sprintf("%.1f million %s", float64(c.Parameters())/1e6, weights)
}

// measured is what a job's process reports.
type measured struct {
	Work    map[string]float64 // floating-point operations in products, by graph
	Rate    float64            // of the fastest large product, per second
	Seconds map[string]float64 // medians
	Ratio   map[string]float64 // to the forward passes just before and after
	Open    map[string]float64 // seconds that graphs and sessions took
	Nodes   map[string]int
	PeakMB  float64
	Profile *profile
}

const resultMark = "bench result: "

// measure runs a job in a process of its own.
func measure(t *testing.T, j job) measured {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestBenchJob$", "-test.v")
	cmd.Env = append(os.Environ(), benchJob+"="+string(text))
	out, err := cmd.CombinedOutput()
	_, result, ok := bytes.Cut(out, []byte(resultMark))
	if err != nil || !ok {
		t.Fatalf("%s: %v\n%s", text, err, out)
	}
	var r measured
	if err := json.NewDecoder(bytes.NewReader(result)).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBenchJob does one job of TestBenchTable.
func TestBenchJob(t *testing.T) {
	text := os.Getenv(benchJob)
	if text == "" {
		t.Skip("TestBenchTable calls it")
	}
	orttest.Need(t)
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, r: measured{Work: map[string]float64{}, Seconds: map[string]float64{}, Ratio: map[string]float64{}, Open: map[string]float64{}, Nodes: map[string]int{}}}
	b.open("reading the model", func() (err error) { b.model, err = OpenModel(j.Model, ModelOptions{}); return err })
	switch j.Kind {
	case "times":
		b.times(j)
	case "step":
		b.step(j)
	case "forward":
		b.forward()
	case "explaining":
		b.explaining(j)
	}
	result, err := json.Marshal(b.r)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s%s\n", resultMark, result)
}

// bench is a job at work.
type bench struct {
	*testing.T
	model     *Model
	predictor *Predictor
	graphs    *Graphs
	stepper   *Stepper
	evaluator *Evaluator
	explainer *explainer
	in        Inputs
	updates   int64
	r         measured
}

// open times what is done once.
func (b *bench) open(what string, f func() error) {
	b.Helper()
	start := time.Now()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	b.r.Open[what] = time.Since(start).Seconds()
}

func (b *bench) openPredictor() {
	b.open("forward session", func() (err error) { b.predictor, err = NewPredictor(b.model, benchBatch, ort.Options{}); return err })
	b.Cleanup(b.predictor.Close)
	noise(b.predictor.Slot().Images)
}

// openStepper opens the sessions of a step with the ViT-B preset's settings
// and fills a batch: noise, and masks of an ellipse.
func (b *bench) openStepper(order gradients.Order, opt ort.Options) {
	cfg, err := configs.Load([]string{"vit-base"}, []string{"mode=" + string(order)})
	if err != nil {
		b.Fatal(err)
	}
	b.open("training graphs", func() (err error) {
		b.graphs, err = b.model.NewGraphs(benchBatch, ObjectiveOf(cfg), AdamWOf(cfg), nil)
		return err
	})
	b.r.Work["training"] = work(b.T, b.graphs.Training)
	b.r.Nodes["training"], b.r.Nodes["optimizer"], b.r.Nodes["eval"] = len(b.graphs.Training.Nodes), len(b.graphs.Optimizer.Nodes), len(b.graphs.Eval.Nodes)
	b.open("training and optimizer sessions", func() (err error) { b.stepper, err = NewStepper(b.graphs, benchBatch, opt); return err })
	b.Cleanup(b.stepper.Close)
	if b.in, err = NewInputs(b.graphs); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(b.in.Close)
	fillBatch(b.in)
}

// openExplainer opens the model that --with-relevance writes.
func (b *bench) openExplainer() {
	b.open("relevance session", func() (err error) { b.explainer, err = newExplainer(b.model, benchBatch, 0, ort.Options{}); return err })
	b.Cleanup(b.explainer.close)
	noise(b.explainer.image.Float32s())
	for i := range b.explainer.target.Int64s() {
		b.explainer.target.Int64s()[i] = predicted
	}
}

// explain runs a batch as any user of the file would.
func (b *bench) explain() error {
	x := b.explainer
	out, err := x.session.Call(map[string]*ort.Buffer{x.ends.Image: x.image, x.ends.Target: x.target}, x.ends.Logits, x.ends.Map)
	for _, v := range out {
		v.Close()
	}
	return err
}

func fillBatch(in Inputs) {
	noise(in.Image.Float32s())
	mask := in.Mask.Float32s()
	for i := range mask {
		y, x := float64(i/224%224)/112-1, float64(i%224)/112-1
		mask[i] = 0
		if x*x+y*y < 0.4 {
			mask[i] = 1
		}
	}
	for i := range in.Label.Int64s() {
		in.Label.Int64s()[i] = int64(37 * i)
	}
}

func (b *bench) compute() error { return b.stepper.Compute(b.in) }

func (b *bench) update() error {
	b.updates++
	return b.stepper.Update(3e-6, b.updates)
}

// times runs forward passes, training graph, optimizer graph and eval graph by
// turns.
func (b *bench) times(j job) {
	b.openPredictor()
	b.openStepper(j.Order, ort.Options{})
	b.open("eval session", func() (err error) {
		b.evaluator, err = NewEvaluator(b.graphs, b.stepper, ort.Options{})
		return err
	})
	b.Cleanup(b.evaluator.Close)
	fillBatch(b.evaluator.in)
	b.openExplainer()
	seconds := map[string][]float64{}
	timed := func(what string, f func() error) {
		b.open(what, f)
		seconds[what] = append(seconds[what], b.r.Open[what])
		delete(b.r.Open, what)
	}
	// beside is run between two forward passes.
	ratios := map[string][]float64{}
	beside := func(what string, f func()) {
		timed("forward", b.predictor.session.Run)
		f()
		timed("forward", b.predictor.session.Run)
		forwards := seconds["forward"]
		before, after := forwards[len(forwards)-2], forwards[len(forwards)-1]
		ratios[what] = append(ratios[what], last(seconds[what])/(before+after)*2)
	}
	for round := range j.Rounds + 1 {
		if round == 1 { // the first warmed up
			clear(seconds)
			clear(ratios)
		}
		beside("step", func() {
			timed("training", b.compute)
			timed("optimizer", b.update)
			seconds["step"] = append(seconds["step"], last(seconds["training"])+last(seconds["optimizer"]))
		})
		beside("eval", func() { timed("eval", b.evaluator.session.Run) })
		beside("relevance", func() { timed("relevance", b.explain) })
	}
	if !b.stepper.Finite() {
		b.Fatalf("losses %v", b.stepper.Losses())
	}
	forward, _ := b.model.Graph.Clone()
	if err := passes.Specialize(forward, benchBatch); err != nil {
		b.Fatal(err)
	}
	b.r.Work["forward"] = work(b.T, forward)
	b.r.Rate = productRate(b.T)
	for what, list := range seconds {
		b.r.Seconds[what] = median(list)
	}
	for what, list := range ratios {
		b.r.Ratio[what] = median(list)
	}
	b.r.PeakMB = peak(b.T)
}

// step runs steps alone, for their peak of memory and their profile.
func (b *bench) step(j job) {
	b.openStepper(j.Order, ort.Options{Profile: filepath.Join(b.TempDir(), "profile")})
	b.letGo()
	for range 2 {
		if err := b.compute(); err != nil {
			b.Fatal(err)
		}
		if err := b.update(); err != nil {
			b.Fatal(err)
		}
	}
	b.r.PeakMB = peak(b.T)
	path, err := b.stepper.EndProfile()
	if err != nil {
		b.Fatal(err)
	}
	b.r.Profile = readProfile(b.T, path)
}

// letGo drops the model and the graphs, as Finetune does before its first step.
func (b *bench) letGo() {
	b.model, b.graphs.Training, b.graphs.Eval, b.graphs.Optimizer = nil, nil, nil, nil
	debug.FreeOSMemory()
}

// forward runs forward passes alone, for their peak of memory.
func (b *bench) forward() {
	b.openPredictor()
	for range 2 {
		if err := b.predictor.session.Run(); err != nil {
			b.Fatal(err)
		}
	}
	b.r.PeakMB = peak(b.T)
}

func (r measured) print(order gradients.Order, forward, step measured) {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s\tseconds\tx forward\tpeak MB, alone\tx forward\tnodes\t\n", order)
	fmt.Fprintf(w, "plain forward\t%.3f\t1.00\t%.0f\t1.00\t\t\n", r.Seconds["forward"], forward.PeakMB)
	fmt.Fprintf(w, "step\t%.3f\t%.2f\t%.0f\t%.2f\t%d\t\n", r.Seconds["step"], r.Ratio["step"], step.PeakMB, step.PeakMB/forward.PeakMB, r.Nodes["training"]+r.Nodes["optimizer"])
	part := func(what string) { // of the step
		fmt.Fprintf(w, "%s graph\t%.3f\t%.2f\t\t\t%d\t\n", what, r.Seconds[what], r.Ratio["step"]*r.Seconds[what]/r.Seconds["step"], r.Nodes[what])
	}
	part("training")
	part("optimizer")
	fmt.Fprintf(w, "eval graph\t%.3f\t%.2f\t\t\t%d\t\n", r.Seconds["eval"], r.Ratio["eval"], r.Nodes["eval"])
	fmt.Fprintf(w, "model with relevance\t%.3f\t%.2f\t\t\t\t\n", r.Seconds["relevance"], r.Ratio["relevance"])
	w.Flush()
	fmt.Printf("\nproducts: forward %.1f GFLOP, training graph %.2f times that, at %.0f GFLOP/s; a large Gemm makes %.0f\n",
		r.Work["forward"]/1e9, r.Work["training"]/r.Work["forward"], r.Work["training"]/r.Seconds["training"]/1e9, r.Rate/1e9)
	fmt.Printf("\n%.1f maps/s explained; all in one process peak at %.0f MB\nopened in s:", benchBatch/r.Seconds["relevance"], r.PeakMB)
	for _, what := range []string{"reading the model", "training graphs", "training and optimizer sessions", "eval session", "relevance session", "forward session"} {
		fmt.Printf("  %s %.2f", what, r.Open[what])
	}
	fmt.Printf("\ntraining graph by operator: %s\n\n", step.Profile)
}

func last(v []float64) float64 { return v[len(v)-1] }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// peak is the largest amount of memory that the process has had so far, 0
// where the system doesn't tell.
func peak(t *testing.T) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Logf("no peak of memory: %v", err)
		return 0
	}
	_, line, _ := strings.Cut(string(text), "VmHWM:")
	var kb float64
	fmt.Sscan(line, &kb)
	return kb / 1024
}

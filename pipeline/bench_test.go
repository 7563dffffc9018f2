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
	"time"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// docs/bench.md explains what is printed.
const (
	// benchParts chooses what TestBenchTable measures, separated by commas: tiny,
	// small, base, evaluate, run, start, explain, pictures, masks. All is the
	// default.
	benchParts = "RELEVIT_BENCH"
	// benchShort=1 measures little: to see that it works, not to compare. Limits
	// that don't hold are no failure then.
	benchShort = "RELEVIT_BENCH_SHORT"
	// benchJob hands a job to the process that measures it.
	benchJob = "RELEVIT_BENCH_JOB"

	benchBatch = 8
)

// job is what one process measures. Peaks of memory don't mix that way.
type job struct {
	Kind    string // step, second, memory, explaining, evaluating or run
	Model   string // file
	Size    string // tiny, small or base
	Weights string // the same model as safetensors, with timm's names
	Rounds  int
	Seldom  int // of these rounds, how many measure explaining, and how many second order has
}

// benchedModel is one that the bench measures, with its limits.
type benchedModel struct {
	size, title string
	rounds      int
	seldom      int
	forwards    float64 // a step at most so many forward passes
	megabytes   float64 // its peak of memory, which is a share of PyTorch's
	path        string
	weights     string
}

// The peaks of memory are 0.42, 0.55 and 0.65 of what the best PyTorch formulation
// took: 1424, 2122 and 4037 MB.
var benchedModels = []benchedModel{
	{size: "tiny", title: "ViT-Ti/16", rounds: 9, seldom: 9, forwards: 4.0, megabytes: 0.42 * 1424},
	{size: "small", title: "ViT-S/16", rounds: 7, seldom: 3, forwards: 3.9, megabytes: 0.55 * 2122},
	{size: "base", title: "ViT-B/16", rounds: 7, seldom: 2, forwards: 3.75, megabytes: 0.65 * 4037},
}

// The limits of all models.
const (
	workLimit   = 3.6  // of a step's products, in forward passes
	rateLimit   = 0.78 // of a large product's rate that the step reaches, for ViT-B
	secondLimit = 1.55 // second order, in times of first order
	mapsLimit   = 1.6  // explaining, in times of the best PyTorch formulation
	agreeLimit  = 1e-4 // losses and gradients against PyTorch's: 10 times its own rounding
)

// TestBenchTable prints every figure beside its limit. Jobs that are compared run
// by turns in one process, or in two of which one waits; every ratio is the
// median of those between neighbours, so that other work on the machine counts
// for both.
func TestBenchTable(t *testing.T) {
	orttest.Need(t)
	chosen := func(part string) bool {
		list := os.Getenv(benchParts)
		return list == "" || slices.Contains(strings.Split(list, ","), part)
	}
	short := os.Getenv(benchShort) == "1"
	fmt.Printf("\nBatch %d of 224x224, %d threads, %s/%s, %s. Figures are medians.\n",
		benchBatch, runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH, time.Now().Format("2 January 2006"))
	for _, m := range benchedModels {
		if !chosen(m.size) {
			continue
		}
		if short {
			m.rounds, m.seldom = 1, 1
		}
		m.write(t)
		m.measure(t)
	}
	tiny, base := benchedModels[0], benchedModels[2]
	rounds := 5
	if short {
		rounds = 1
	}
	for _, part := range []struct {
		name string
		of   *benchedModel
		run  func()
	}{
		{"evaluate", &tiny, func() { benchEvaluating(t, tiny, min(rounds, 3)) }},
		{"run", &tiny, func() { benchRun(t, tiny, short) }},
		{"explain", &tiny, func() { benchExplaining(t, tiny, min(rounds, 3)) }},
		{"start", &base, func() { benchStart(t, base) }},
		{"pictures", nil, func() { benchLoading(t); benchDecoding(t, rounds) }},
		{"masks", nil, func() { benchMasks(t, rounds) }},
	} {
		if !chosen(part.name) {
			continue
		}
		if part.of != nil && part.of.path == "" {
			part.of.write(t)
		}
		part.run()
	}
}

// write writes the model's files.
func (m *benchedModel) write(t *testing.T) {
	t.Helper()
	var parameters string
	m.path, m.weights, parameters = benchModel(t, m.size)
	m.title += ", " + parameters
}

// benchModel writes a model as ONNX and names its checkpoint and how many
// weights it has: real ones where they are, random ones of the same shapes
// otherwise.
func benchModel(t *testing.T, size string) (path, checkpoint, parameters string) {
	t.Helper()
	a, err := models.NewArchitecture("vit_" + size + "_patch16_224")
	if err != nil {
		t.Fatal(err)
	}
	kind := "real"
	checkpoint = filepath.Join("..", "..", "shared", "data", "models", "vit_tiny_patch16_224.safetensors")
	if size != "tiny" || !exists(checkpoint) {
		kind, checkpoint = "random", filepath.Join(t.TempDir(), size+".safetensors")
		c, err := models.RandomCheckpoint(a, 1)
		if err == nil {
			err = c.Save(checkpoint)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := models.OpenCheckpoint(checkpoint)
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
	return path, checkpoint, fmt.Sprintf("%.1f million %s weights", float64(c.Parameters())/1e6, kind)
}

// measured is what a job's process reports.
type measured struct {
	Work    map[string]float64 // floating-point operations in products
	Seconds map[string]float64 // medians
	Ratio   map[string]float64 // medians, by "what/of what"
	Open    map[string]float64 // seconds that graphs and sessions took
	Rates   map[string]float64 // per second
	Nodes   int
	PeakMB  float64
	Profile *profile

	Beside  string // PyTorch's version
	Without string // why there is none
	Differs float64
	TheirMB float64 // PyTorch's peak of memory after eager steps
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
	b := &bench{T: t, r: measured{Work: map[string]float64{}, Seconds: map[string]float64{}, Ratio: map[string]float64{}, Open: map[string]float64{}, Rates: map[string]float64{}}}
	b.open("reading the model", func() (err error) { b.model, err = OpenModel(j.Model, ModelOptions{}); return err })
	switch j.Kind {
	case "step":
		b.step(j)
	case "second":
		b.second(j)
	case "memory":
		b.memory()
	case "explaining":
		b.explaining(j)
	case "evaluating":
		b.evaluating(j)
	case "run":
		b.run(j)
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
	model *Model
	r     measured
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

// stepping is a training step that is ready to run.
type stepping struct {
	stepper *Stepper
	graphs  *Graphs
	in      Inputs
	updates int64
}

// openStep opens the sessions of a step with the ViT-B preset's settings and fills
// a batch: noise, and masks of an ellipse.
func (b *bench) openStep(order gradients.Order, opt ort.Options) *stepping {
	b.Helper()
	cfg, err := configs.Load([]string{"vit-base"}, []string{"mode=" + string(order)})
	if err != nil {
		b.Fatal(err)
	}
	m, err := OpenModel(b.model.Path, ModelOptions{}) // a stepper takes the weights over
	if err != nil {
		b.Fatal(err)
	}
	s := &stepping{}
	b.open(string(order)+" graphs", func() (err error) {
		s.graphs, err = m.NewGraphs(benchBatch, ObjectiveOf(cfg), AdamWOf(cfg), nil)
		return err
	})
	b.r.Work[string(order)] = work(b.T, s.graphs.Training)
	b.r.Nodes = len(s.graphs.Training.Nodes) + len(s.graphs.Optimizer.Nodes)
	b.open(string(order)+" sessions", func() (err error) { s.stepper, err = NewStepper(s.graphs, benchBatch, opt); return err })
	b.Cleanup(s.stepper.Close)
	if s.in, err = NewInputs(s.graphs); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.in.Close)
	// Finetune lets go of them too.
	s.graphs.Training, s.graphs.Eval, s.graphs.Optimizer = nil, nil, nil
	fillBatch(s.in)
	return s
}

func (s *stepping) compute() error { return s.stepper.Compute(s.in) }

func (s *stepping) update() error {
	s.updates++
	return s.stepper.Update(3e-6, s.updates)
}

// run makes a step.
func (s *stepping) run() error {
	if err := s.compute(); err != nil {
		return err
	}
	return s.update()
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

// bareForward returns the forward pass of a batch as any user of ONNX Runtime
// runs it: the model's own file, all threads on one batch.
func bareForward(t testing.TB, m *Model, opt ort.Options) func() error {
	t.Helper()
	session, err := m.open(opt)
	if err != nil {
		t.Fatal(err)
	}
	l := lane{session: session}
	shape := []int64{benchBatch, 3, int64(m.Preprocess.Size[0]), int64(m.Preprocess.Size[1])}
	if err := l.bind(session.Inputs()[0].Name, shape, m.output(), int(session.Outputs()[0].Shape[1].N)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close(); l.image.Close(); l.logits.Close() })
	noise(l.image.Float32s())
	return session.Run
}

// memory runs steps alone, for their peak of memory and their profile.
func (b *bench) memory() {
	s := b.openStep(gradients.FirstOrder, ort.Options{Profile: filepath.Join(b.TempDir(), "profile")})
	b.model = nil
	debug.FreeOSMemory()
	for range 2 {
		if err := s.run(); err != nil {
			b.Fatal(err)
		}
	}
	b.r.PeakMB = peak(b.T)
	path, err := s.stepper.EndProfile()
	if err != nil {
		b.Fatal(err)
	}
	b.r.Profile = readProfile(b.T, path)
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

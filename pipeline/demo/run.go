// Package demo does the main job on generated pictures and a tiny model that
// the binary embeds, and reports what came of it.
//
// A picture shows a shape, which is the class, before a background that may
// betray it: every class has a background of its own. In the pictures of
// training the background mostly goes with the class, so that a model can be
// right without looking at the shape; in the shifted test pictures it says
// nothing.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/dataset"
)

// RunOptions say where a demo goes and how large it is. Only Dir is needed; the
// sizes are there to make it smaller.
type RunOptions struct {
	Dir     string // must be empty or not there
	ORT     ort.Options
	Version string // of the tool
	Command string // for the report

	Seeds        int // finetuning is repeated for so many; 0: 3
	Pictures     int // to finetune on, for each seed; 0: 720
	TestPictures int // of each of the two sets; 0: 600
	Epochs       int // 0: 25

	// OnProgress is called, from one goroutine at a time, as the demo goes on.
	OnProgress func(what string, done, total int)
}

func (o *RunOptions) fill() {
	set := func(to *int, otherwise int) {
		if *to == 0 {
			*to = otherwise
		}
	}
	set(&o.Seeds, 3)
	set(&o.Pictures, 720)
	set(&o.TestPictures, 600)
	set(&o.Epochs, 25)
}

// Result is what a demo found.
type Result struct {
	Folder string `json:"folder"`
	Report string `json:"report"`
	Config string `json:"config"` // to finetune again with
	Robust string `json:"robust"` // the exported model

	Seeds       []uint64     `json:"seeds"`
	Pictures    int          `json:"pictures"` // finetuned on, for each seed
	Tested      int          `json:"tested"`   // pictures of each set
	Comparisons []Comparison `json:"comparisons"`

	Verdict string  `json:"verdict"` // of pipeline.Verify
	Logits  float64 `json:"logits"`  // largest difference of the exported file's from the run's own
	Largest float64 `json:"largest_logit"`
	Seconds float64 `json:"seconds"`
}

// demo is one at work.
type demo struct {
	paths
	opt    RunOptions
	seeds  []uint64
	config *configs.Config // of the first seed
	tests  [2][]dataset.Sample
	before outcome
	masks  []outcome // by seed
	plain  []outcome // by seed, without masks

	mu          sync.Mutex
	done, total int
}

// The two sets of test pictures.
const (
	usual   = 0 // backgrounds as in finetuning
	shifted = 1 // backgrounds that say nothing
)

var setNames = [2]string{"backgrounds that betray the class", "backgrounds that say nothing"}

// Run makes pictures, finetunes the built-in model on them with masks and
// without, measures what that changes on pictures never trained on, exports
// and verifies a model, and writes the report. Everything stays in the folder.
func Run(ctx context.Context, opt RunOptions) (*Result, error) {
	opt.fill()
	began := time.Now()
	d := &demo{paths: paths{opt.Dir}, opt: opt}
	for i := range opt.Seeds {
		d.seeds = append(d.seeds, uint64(reportSeed+i))
	}
	if err := empty(opt.Dir); err != nil {
		return nil, err
	}
	r, err := d.run(ctx)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("demo: %w; %s is incomplete", ctx.Err(), opt.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	r.Seconds = time.Since(began).Seconds()
	if err := d.writeReport(r); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return r, nil
}

// empty refuses a folder with anything in it.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0:
		return nil
	case err == nil:
		return &pipeline.ExistsError{Path: dir, Advice: "give another folder by -o, or remove it"}
	}
	return fmt.Errorf("demo: %w", err)
}

func (d *demo) run(ctx context.Context) (*Result, error) {
	jobs := 1 + 2*d.opt.Seeds
	d.total = jobs + 2*d.opt.Seeds*d.opt.Epochs + 2 + d.opt.Seeds
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	d.masks, d.plain = make([]outcome, d.opt.Seeds), make([]outcome, d.opt.Seeds)
	err := d.parallel(ctx, jobs, func(ctx context.Context, i int, opt ort.Options) (err error) {
		seed := (i - 1) / 2
		switch {
		case i == 0:
			d.before, err = d.judged(ctx, nil, opt)
		case i%2 == 1:
			d.masks[seed], err = d.finetuned(ctx, seed, true, opt)
		default:
			d.plain[seed], err = d.finetuned(ctx, seed, false, opt)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.ship(ctx)
}

// prepare writes pictures, the model, and the configuration.
func (d *demo) prepare(ctx context.Context) error {
	type set struct {
		dir    string
		seed   uint64
		n      int
		betray float64
	}
	sets := []set{{d.data("test-usual"), usualSeed, d.opt.TestPictures, usually}, {d.data("test-shifted"), shiftedSeed, d.opt.TestPictures, 0}}
	for _, seed := range d.seeds {
		sets = append(sets, set{d.train(seed), seed, d.opt.Pictures, usually})
	}
	err := d.parallel(ctx, len(sets), func(_ context.Context, i int, _ ort.Options) error {
		s := sets[i]
		defer d.progress("pictures")
		return writeSet(s.dir, s.seed, s.n, s.betray)
	})
	if err != nil {
		return err
	}
	for i := range d.tests {
		if d.tests[i], err = readSet(sets[i].dir); err != nil {
			return err
		}
	}
	if err := atomic.Write(d.weights(), func(w io.Writer) error { _, err := w.Write(weights); return err }); err != nil {
		return err
	}
	if _, err := pipeline.Convert(ctx, d.weights(), d.model(), pipeline.ConvertOptions{Version: d.opt.Version}); err != nil {
		return err
	}
	text := recipe(d.model(), d.train(d.seeds[0]), d.seeds[0], d.opt.Epochs)
	if d.config, err = configs.Parse(d.paths.config(), []byte(text)); err != nil {
		return err
	}
	return atomic.Write(d.paths.config(), func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
}

// parallel does jobs at the same time, each on one thread, unless the options
// say how many threads an operator has: a model this small gains nothing from
// a second one. Jobs begin in their order.
func (d *demo) parallel(ctx context.Context, jobs int, do func(ctx context.Context, i int, opt ort.Options) error) error {
	opt, workers := d.opt.ORT, 1
	if on, err := opt.Find(); err != nil {
		return err
	} else if opt.Threads == 0 && !on.CUDA() {
		opt.Threads, workers = 1, min(runtime.GOMAXPROCS(0), jobs)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := do(ctx, i, opt); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < jobs && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// progress counts one step of the demo as done.
func (d *demo) progress(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done++
	if d.opt.OnProgress != nil {
		d.opt.OnProgress(what, d.done, d.total)
	}
}

// outcome is how one set of parameters does on the test pictures.
type outcome [2]*verdicts

// finetuned trains on a seed's pictures and measures the outcome.
func (d *demo) finetuned(ctx context.Context, seed int, masks bool, opt ort.Options) (o outcome, err error) {
	cfg := *d.config
	cfg.Seed, cfg.Data.Root = d.seeds[seed], d.train(d.seeds[seed])
	what := fmt.Sprintf("finetuning %d of %d", seed+1, d.opt.Seeds)
	if !masks {
		cfg = *withoutMasks(cfg)
		what += " without masks"
	}
	dir := d.runOf(seed, masks)
	_, err = pipeline.Finetune(ctx, pipeline.FinetuneOptions{Config: &cfg, Dir: dir, ORT: opt, Tool: d.opt.Version,
		Command: d.opt.Command, Hooks: pipeline.Hooks{OnEpoch: func(pipeline.EpochRecord) { d.progress(what) }}})
	if err != nil {
		return o, err
	}
	best, err := checkpoint(dir)
	if err != nil {
		return o, err
	}
	return d.judged(ctx, best, opt)
}

func (d *demo) runOf(seed int, masks bool) string { return d.paths.run(d.seeds[seed], masks) }

// checkpoint reads the parameters that a run chose.
func checkpoint(dir string) ([]safetensors.Named, error) {
	run, err := pipeline.ReadRun(dir)
	if err != nil {
		return nil, err
	}
	c, err := run.LoadCheckpoint(pipeline.Best)
	if err != nil {
		return nil, err
	}
	return c.Parameters, nil
}

// judged measures the model with the given parameters, nil for its own.
func (d *demo) judged(ctx context.Context, parameters []safetensors.Named, opt ort.Options) (o outcome, err error) {
	m, err := pipeline.OpenModel(d.model(), pipeline.ModelOptions{})
	if err != nil {
		return o, err
	}
	j, err := newJudge(m, d.config, opt)
	if err != nil {
		return o, err
	}
	defer j.close()
	if err := j.take(parameters); err != nil {
		return o, err
	}
	for i, set := range d.tests {
		if o[i], err = j.measure(ctx, set); err != nil {
			return o, err
		}
	}
	d.progress("measuring")
	return o, nil
}

// ship exports the first seed's run, verifies the file against the original,
// and runs it.
func (d *demo) ship(ctx context.Context) (*Result, error) {
	r := &Result{Folder: d.dir, Report: d.report(), Config: d.paths.config(), Robust: d.robust(), Seeds: d.seeds,
		Pictures: d.opt.Pictures, Tested: d.opt.TestPictures}
	for set := range d.tests {
		for _, m := range measures {
			of := func(list []outcome) (out [][]float64) {
				for _, o := range list {
					out = append(out, m.of(o[set]))
				}
				return out
			}
			r.Comparisons = append(r.Comparisons, compare(setNames[set], m.name, m.of(d.before[set]), of(d.masks), of(d.plain)))
		}
	}
	if _, err := pipeline.Export(ctx, d.runOf(0, true), d.robust(), pipeline.ExportOptions{Version: d.opt.Version}); err != nil {
		return nil, err
	}
	v, err := pipeline.Verify(ctx, d.model(), d.robust(), pipeline.VerifyOptions{ORT: d.opt.ORT})
	if err != nil {
		return nil, err
	}
	r.Verdict = v.Verdict
	if v.Verdict != pipeline.VerdictRetrained {
		return nil, fmt.Errorf("%s was to differ from %s in its parameters alone, and verify says %q: %s",
			d.robust(), d.model(), v.Verdict, strings.Join(append(v.Structure, v.Faults...), "; "))
	}
	return r, d.runExported(ctx, r)
}

// runExported runs the exported file as anybody would who has it, and compares
// its logits with those that the run had.
func (d *demo) runExported(ctx context.Context, r *Result) error {
	m, err := pipeline.OpenModel(d.robust(), pipeline.ModelOptions{})
	if err != nil {
		return err
	}
	p, err := pipeline.NewPredictor(m, judgeBatch, d.opt.ORT)
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := dataset.NewLoader(d.tests[shifted], dataset.Options{Batch: p.Batch, Preprocess: m.Preprocess, Strict: true})
	if err != nil {
		return err
	}
	own := d.masks[0][shifted].logits
	err = p.Each(ctx, l, func(sample int, _ int64, logits []float32) error {
		for i, v := range logits {
			was := float64(own[sample*len(logits)+i])
			r.Logits = max(r.Logits, math.Abs(float64(v)-was))
			r.Largest = max(r.Largest, math.Abs(was))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !(r.Logits <= tolerance*r.Largest) {
		return fmt.Errorf("%s gives logits that differ by %.2g from the run's own (largest %.3g), more than %g of them", d.robust(), r.Logits, r.Largest, tolerance)
	}
	return nil
}

// tolerance of the exported file's logits against the run's, of the largest.
const tolerance = 1e-5

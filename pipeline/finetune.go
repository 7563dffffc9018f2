package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// FinetuneOptions say what to train and where to keep it.
type FinetuneOptions struct {
	Config  *configs.Config // nil with Resume: the run's own
	Dir     string          // the run folder
	Resume  bool            // go on with the run in Dir; start one where there is none yet
	Open    ModelOptions
	ORT     ort.Options
	Tool    string // version of the program, for checkpoints
	Command string // that was typed, for the report
	Hooks   Hooks
}

// FinetuneResult sums a finished run up.
type FinetuneResult struct {
	Run       string   `json:"run"`
	Device    string   `json:"device"`
	Epochs    int      `json:"epochs"`
	Steps     int      `json:"steps"`
	BestEpoch int      `json:"best_epoch"` // from 0; -1 without validation
	Before    *Metrics `json:"before,omitempty"`
	After     *Metrics `json:"after,omitempty"`  // of the best checkpoint, or the last without validation
	Seconds   float64  `json:"seconds"`          // of training steps
	Undone    int      `json:"undone,omitempty"` // steps left out or taken back by on_nan
	Skipped   []string `json:"skipped,omitempty"`
}

// Finetune trains a model as its configuration says and leaves everything in
// the run folder. When ctx ends it saves and returns ErrInterrupted.
// A new run that fails before its first checkpoint leaves nothing behind.
func Finetune(ctx context.Context, opt FinetuneOptions) (result *FinetuneResult, err error) {
	run, cfg, err := openOrCreate(opt)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && !errors.Is(err, ErrInterrupted) {
			err = errors.Join(err, run.abandon())
		}
		run.Close()
	}()
	t := &trainer{run: run, cfg: cfg, hooks: opt.Hooks, tool: opt.Tool, skipped: map[string]bool{}}
	defer t.close()
	if err := run.noteCommand(opt.Command, opt.Tool); err != nil {
		return nil, err
	}
	m, err := t.openModel(opt.Open)
	if err != nil {
		return nil, err
	}
	t.facts, t.names = factsOf(m), ClassNames(m.Source)
	if table := classesOf(t.cfg); table != nil {
		t.names = table.Titles()
	}
	if err := t.prepare(ctx, m, opt.ORT); err != nil {
		return nil, interrupted(ctx, err)
	}
	t.graphs.Training, t.graphs.Eval, t.graphs.Optimizer = nil, nil, nil
	debug.FreeOSMemory() // nothing refers to the model's file any more
	before, err := t.start(ctx)
	if err != nil {
		return nil, interrupted(ctx, err)
	}
	if err := t.loop(ctx); err != nil {
		return nil, err
	}
	if result, err = t.finish(ctx, before); err != nil {
		return nil, interrupted(ctx, err)
	}
	result.Skipped = slices.Sorted(maps.Keys(t.skipped))
	return result, nil
}

// openModel opens the model to train: the copy in the run folder if there is
// one, whatever has become of the user's file, and of options, since.
func (t *trainer) openModel(opt ModelOptions) (*Model, error) {
	kept := t.run.Artifact(sourceArtifact)
	opt.Find, opt.Graphs = findOf(t.cfg, opt.Find), graphOptionsOf(t.cfg)
	if _, err := os.Stat(kept); err == nil {
		return OpenModel(kept, ModelOptions{Find: opt.Find, Graphs: opt.Graphs})
	}
	opt.Version = t.tool
	m, err := OpenModel(t.cfg.Model, opt)
	if err != nil {
		return nil, err
	}
	for _, w := range m.Warnings {
		t.warn(t.cfg.Model + ": " + w)
	}
	return m, nil
}

func (t *trainer) warn(texts ...string) {
	for _, text := range texts {
		if t.hooks.OnWarning != nil {
			t.hooks.OnWarning(text)
		}
	}
}

// interrupted turns the error of a cancelled context into ErrInterrupted.
func interrupted(ctx context.Context, err error) error {
	if stopped(ctx, err) {
		return ErrInterrupted
	}
	return err
}

// openOrCreate opens the run to resume, or makes one.
func openOrCreate(opt FinetuneOptions) (*Run, *configs.Config, error) {
	if !opt.Resume || !IsRun(opt.Dir) {
		if opt.Config == nil {
			return nil, nil, fmt.Errorf("%s: %w; give a configuration to start one", opt.Dir, ErrNoRun)
		}
		run, err := CreateRun(opt.Dir, opt.Config)
		return run, opt.Config, err
	}
	run, err := OpenRun(opt.Dir)
	if err != nil {
		return nil, nil, err
	}
	if opt.Config != nil {
		given, err := Digest(opt.Config)
		if err != nil {
			return run, nil, errors.Join(err, run.Close())
		}
		kept, err := Digest(run.Config)
		if err == nil && given != kept {
			err = &configs.Error{Msg: fmt.Sprintf("it differs from that of the run %s (its config.yaml); leave -c and --set out to resume, or take another -o", opt.Dir)}
		}
		if err != nil {
			return nil, nil, errors.Join(err, run.Close())
		}
	}
	return run, run.Config, nil
}

// prepare builds graphs and sessions, lists the data, and opens the log.
func (t *trainer) prepare(ctx context.Context, m *Model, opt ort.Options) error {
	batch := int64(t.cfg.Batch)
	var err error
	if t.graphs, err = m.NewGraphs(batch, ObjectiveOf(t.cfg), AdamWOf(t.cfg), t.cfg.Freezes); err != nil {
		return err
	}
	t.memory, _ = t.graphs.Memory()
	if err := opt.Load(); err != nil {
		return err
	}
	if t.device, err = opt.Find(); err != nil {
		return err
	}
	if !t.device.CUDA() { // which has its own
		if err := checkMemory(t.graphs, t.cfg.Batch, availableMemory()); err != nil {
			return err
		}
	}
	opt.TF32 = t.cfg.Precision == "tf32"
	if err := t.graphs.SetPrecision(t.cfg.Precision, t.device.CUDA()); err != nil {
		return err
	}
	keeping := make(chan error, 1) // writing takes as long as opening
	go func() { keeping <- t.keepArtifacts(m) }()
	err = t.openSessions(batch, opt)
	if kept := <-keeping; kept != nil {
		return kept
	}
	if err != nil {
		return err
	}
	size := t.evaluator.size
	loading := dataset.Options{Batch: t.cfg.Batch, Seed: t.cfg.Seed, Workers: t.cfg.Workers, Strict: t.cfg.Strict, OnCorrupt: t.skip}
	if loading.Preprocess, err = preprocessFor(t.cfg, m, int64(size[0]), int64(size[1])); err != nil {
		return err
	}
	t.preprocess = loading.Preprocess
	if loading.Mask, err = maskOptions(t.cfg); err != nil {
		return err
	}
	var ok bool
	if t.train, t.validation, ok, err = readSplits(t.run); err == nil && !ok {
		err = t.split(ctx, m, loading, opt)
	}
	if err != nil {
		return err
	}
	if err := t.openLoaders(loading); err != nil {
		return err
	}
	t.log, err = t.run.OpenLog()
	return err
}

func (t *trainer) openSessions(batch int64, opt ort.Options) (err error) {
	stepping := opt
	stepping.Replay = t.cfg.CUDAGraphs
	if t.stepper, err = NewStepper(t.graphs, batch, stepping); err != nil {
		return err
	}
	t.evaluator, err = NewEvaluator(t.graphs, t.stepper, opt)
	return err
}

// skip reports a picture that can't be decoded, once, though several loaders
// come upon it.
func (t *trainer) skip(c dataset.Corrupt) {
	path := c.Sample.ImagePath
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if t.skipped[path] {
		return
	}
	t.skipped[path] = true
	t.warn(fmt.Sprintf("skipped: %v", c.Err))
}

// keepArtifacts writes the graphs, and the model whose parameters they train,
// into the run folder, unless an earlier start did: the model is there once
// everything is.
func (t *trainer) keepArtifacts(m *Model) error {
	if _, err := os.Stat(t.run.Artifact(sourceArtifact)); err == nil {
		return nil
	}
	folder := t.run.Path(artifactsName)
	if err := errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o777)); err != nil {
		return fmt.Errorf("keeping the graphs: %w", err)
	}
	graphs := map[string]*onnx.Graph{"training_model.onnx": t.graphs.Training, "eval_model.onnx": t.graphs.Eval, "optimizer_model.onnx": t.graphs.Optimizer}
	for name, g := range graphs {
		data, err := Encode(g)
		if err != nil {
			return err
		}
		if err := atomic.Write(t.run.Artifact(name), func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		}); err != nil {
			return err
		}
	}
	return m.Document.WriteFile(t.run.Artifact(sourceArtifact))
}

// sourceArtifact is the user's own graph, or a checkpoint's conversion, as it
// was before training.
const sourceArtifact = "model.onnx"

// split lists the data set, labels it, selects from it, and stores the
// selection: from then on the run reads the lists.
func (t *trainer) split(ctx context.Context, m *Model, loading dataset.Options, opt ort.Options) error {
	set, err := ListSamples(t.cfg, t.evaluator.classes, t.progress)
	if err != nil {
		return err
	}
	for _, s := range set.Samples {
		if s.MaskPath == "" && set.Draw == nil {
			return &configs.Error{Key: "data.masks", Msg: fmt.Sprintf("picture %s has no mask; set it to the folder of masks", s.ImagePath)}
		}
	}
	if set.Samples[0].Label == dataset.NoLabel {
		if err := t.labelTop1(ctx, m, set.Samples, loading, opt); err != nil {
			return err
		}
	}
	if t.train, t.validation, err = planOf(t.cfg).Partition(set.Samples); err != nil {
		return err
	}
	if set.Draw != nil {
		var samples []*dataset.Sample
		for _, list := range [][]dataset.Sample{t.train, t.validation} {
			for i := range list {
				samples = append(samples, &list[i])
			}
		}
		if err := drawMasks(ctx, t.run, samples, set.Draw, func(done int) { t.progress("masks", done, len(samples)) }); err != nil {
			return err
		}
	}
	if err := writeSplit(t.run, trainSplit, t.train); err != nil {
		return err
	}
	if err := writeSplit(t.run, validationSplit, t.validation); err != nil {
		return err
	}
	t.train, t.validation, _, err = readSplits(t.run)
	return err
}

func (t *trainer) progress(what string, done, total int) {
	if t.hooks.OnProgress != nil {
		t.hooks.OnProgress(what, done, total)
	}
}

// labelTop1 gives every sample the class that the model itself gives it.
func (t *trainer) labelTop1(ctx context.Context, m *Model, samples []dataset.Sample, loading dataset.Options, opt ort.Options) error {
	p, err := NewPredictor(m, t.cfg.Batch, opt)
	if err != nil {
		return err
	}
	defer p.Close()
	loading.Batch = p.Batch
	l, err := dataset.NewLoader(samples, loading)
	if err != nil {
		return err
	}
	done := 0
	return p.Each(ctx, l, func(i int, _ int64, logits []float32) error {
		samples[i].Label = top1(logits)
		done++
		t.progress("labels", done, len(samples))
		return nil
	})
}

// openLoaders streams the splits into the sessions' memory, two batches in
// flight while training.
func (t *trainer) openLoaders(o dataset.Options) error {
	o.Masks = true
	check := o
	check.Slots = t.evaluator.Slots()
	var err error
	if len(t.validation) > 0 {
		if t.checker, err = dataset.NewLoader(t.validation, check); err != nil {
			return err
		}
	}
	t.check = check
	for range 2 {
		in, err := t.stepper.NewInputs(t.graphs)
		if err != nil {
			return err
		}
		t.inputs = append(t.inputs, in)
		o.Slots = append(o.Slots, in.slot())
	}
	o.OnFull = func(slot int) error { return t.inputs[slot].Send() }
	o.Shuffle, o.Augment, o.DropLast = true, true, true
	resize := t.cfg.ResizeFor(configs.Size{Rows: t.evaluator.size[0], Cols: t.evaluator.size[1]})
	o.TrainResize = [2]int{resize.Rows, resize.Cols}
	t.loader, err = dataset.NewLoader(t.train, o)
	return err
}

// start evaluates the model before training and goes to where the run stopped.
func (t *trainer) start(ctx context.Context) (before *Metrics, err error) {
	c, err := t.run.loadResumable(t.log)
	switch {
	case errors.Is(err, ErrNoCheckpoint):
		if before, err = t.begin(ctx); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		t.warn(c.warnings()...)
		if err := t.restore(c); err != nil {
			return nil, err
		}
		history, err := t.run.ReadLog()
		if err != nil {
			return nil, err
		}
		if history.Start != nil {
			before = history.Start.Validation
		}
	}
	if t.hooks.OnStart != nil {
		numbers := 0
		for _, w := range t.stepper.Weights {
			numbers += w.Len()
		}
		t.hooks.OnStart(Plan{Model: t.cfg.Model, Run: t.run.Path(), Train: len(t.train), Validation: len(t.validation), Epochs: t.cfg.Epochs,
			Steps: t.loader.Steps(), From: t.state.GlobalStep, Params: numbers, Memory: t.memory})
	}
	return before, nil
}

// begin logs how the model does before training, and saves a first checkpoint.
func (t *trainer) begin(ctx context.Context) (*Metrics, error) {
	digest, err := Digest(t.cfg)
	if err != nil {
		return nil, err
	}
	t.state = State{BestLoss: Number(math.Inf(1)), BestEpoch: -1, ConfigDigest: digest, Tool: t.tool}
	if t.stepper.Scaled() {
		t.state.LossScale = &LossScale{Scale: firstScale}
	}
	if err := t.log.TruncateTo(0); err != nil {
		return nil, err
	}
	var before *Metrics
	if t.checker != nil {
		var each []*Judged
		before, each, err = t.validate(ctx)
		if bad := (*NotFiniteError)(nil); errors.As(err, &bad) {
			bad.Found += onPictures(bad.Pictures)
			bad.Advice = "the model itself gives no numbers; check its weights and how pictures are prepared"
		}
		if err == nil {
			err = t.constantMaps(before.ConstantMaps, before.Pictures)
		}
		if err == nil {
			err = saveJSON(t.run.Sample(beforeName), each)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := t.log.Append(StartRecord{Kind: "start", Validation: before}); err != nil {
		return nil, err
	}
	return before, t.save(Last)
}

// load takes a checkpoint's parameters and moments, which are zero where it was
// saved before the first update.
func (t *trainer) load(c *Checkpoint) error {
	for _, part := range []struct {
		from []safetensors.Named
		to   []*ort.Buffer
	}{{c.Parameters, t.stepper.Weights}, {c.Moments, t.stepper.Moments}, {c.Squares, t.stepper.Squares}} {
		tensors := byName(part.from)
		for i, p := range t.stepper.Params {
			raw := make([]byte, 4*p.Shape.Count().N)
			if stored := tensors[p.Name]; stored != nil {
				raw = stored.Raw
			}
			if err := part.to[i].Write(raw); err != nil {
				return fmt.Errorf("loading parameter %s: %w", p.Name, err)
			}
		}
	}
	return nil
}

// restore continues from a checkpoint.
func (t *trainer) restore(c *Checkpoint) error {
	digest, err := Digest(t.cfg)
	if err != nil {
		return err
	}
	// Another version may know other keys, and digests differ for that alone.
	if c.State.Tool == t.tool && c.State.ConfigDigest != digest {
		return &configs.Error{Source: t.run.Path(configName), Msg: "it was changed after the run began: put it back as it was to resume, or begin another run"}
	}
	model := make([]safetensors.Named, len(t.stepper.Params))
	for i, p := range t.stepper.Params {
		model[i] = named(p, nil)
	}
	if err := c.Fits(model); err != nil {
		return err
	}
	if err := t.load(c); err != nil {
		return err
	}
	t.state = c.State
	if err := t.log.TruncateTo(c.State.LogOffset); err != nil {
		return err
	}
	history, err := t.run.ReadLog()
	if err != nil {
		return err
	}
	if err := history.fits(&t.state); err != nil {
		return &LogError{Path: t.run.Path(logName), Err: err}
	}
	for _, r := range history.Steps {
		if r.Epoch == t.state.Epoch {
			t.sum.add(r)
		}
	}
	return nil
}

func (t *trainer) close() {
	if t.log != nil {
		t.log.Close()
	}
	if t.evaluator != nil {
		t.evaluator.Close()
	}
	if t.stepper != nil {
		t.stepper.Close()
	}
	for _, in := range t.inputs {
		in.Close()
	}
}

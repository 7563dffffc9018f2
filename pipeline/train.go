package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// Hooks are called as training goes on; any may be nil. They run between
// steps, so they must be quick.
type Hooks struct {
	OnStart    func(Plan)
	OnStep     func(StepRecord)
	OnEpoch    func(EpochRecord)
	OnProgress func(what string, done, total int) // of what comes before and after training
	OnWarning  func(string)
}

// Plan says what a run is about to do.
type Plan struct {
	Model      string
	Run        string
	Train      int // pictures
	Validation int
	Epochs     int
	Steps      int   // of an epoch
	From       int   // steps made already, when resuming
	Params     int   // trained numbers
	Memory     int64 // bytes, estimated; see Graphs.Memory
}

// ErrInterrupted says that a run was stopped, and saved, before its end.
var ErrInterrupted = errors.New("interrupted; the run is saved, go on with --resume")

// trainer is one run at work.
type trainer struct {
	run   *Run
	cfg   *configs.Config
	hooks Hooks
	tool  string

	facts      ModelFacts
	names      []string // of classes; nil: not known
	graphs     *Graphs
	memory     int64 // bytes, estimated
	device     ort.Device
	stepper    *Stepper
	evaluator  *Evaluator
	inputs     []Inputs // batches in flight
	train      []dataset.Sample
	validation []dataset.Sample
	loader     *dataset.Loader
	checker    *dataset.Loader // validation, nil without
	check      dataset.Options // how pictures are loaded into the evaluator
	preprocess picture.Preprocess
	log        *Log
	state      State
	sum        epochSum
	skipped    map[string]bool // pictures that can't be decoded, by absolute path
}

// epochSum averages an epoch's steps.
type epochSum struct {
	StepRecord
	n      int
	shared int // steps with relevance
}

func (s *epochSum) add(r StepRecord) {
	s.n++
	s.Loss += r.Loss
	s.Background += r.Background
	s.Foreground += r.Foreground
	s.Mask += r.Mask
	s.Classification += r.Classification
	s.Accuracy += r.Accuracy
	if r.Share == r.Share {
		s.Share += r.Share
		s.shared++
	}
	s.ConstantMaps += r.ConstantMaps
	s.Seconds += r.Seconds
}

// loop trains from the trainer's state to the end.
func (t *trainer) loop(ctx context.Context) error {
	// Having begun, an epoch is also ended, by a resumed run too.
	for t.state.Epoch < t.cfg.Epochs && (t.state.Step > 0 || !t.finished()) {
		err := t.epoch(ctx)
		if err == nil {
			err = t.endEpoch(ctx)
		}
		switch {
		case stopped(ctx, err):
			if err := t.save(Last); err != nil {
				return err
			}
			return ErrInterrupted
		case err != nil:
			return err
		}
	}
	return t.save(Last)
}

// stopped reports whether an error says no more than that ctx ended.
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}

// finished reports whether the configuration's number of steps is made.
func (t *trainer) finished() bool { return t.cfg.Steps > 0 && t.state.GlobalStep >= t.cfg.Steps }

// epoch makes the steps that the epoch still lacks. When ctx ends, the state is
// that after the last complete step.
func (t *trainer) epoch(ctx context.Context) error {
	batches, err := t.loader.Epoch(ctx, t.state.Epoch, t.state.Step)
	if err != nil {
		return err
	}
	defer batches.Close()
	for !t.finished() {
		started := time.Now()
		batch, err := batches.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		record, err := t.step(batch)
		if bad := (*NotFiniteError)(nil); errors.As(err, &bad) {
			err = t.notFinite(bad, batch)
		} else if err == nil {
			record.Seconds = time.Since(started).Seconds()
			err = t.made(record)
		}
		if err != nil {
			return err
		}
		batches.Release(batch)
		if every := t.cfg.Checkpoint.EverySteps; every > 0 && t.state.GlobalStep%every == 0 {
			if err := t.save(Last); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// made counts and logs a step.
func (t *trainer) made(r StepRecord) error {
	t.state.Step++
	t.state.GlobalStep++
	t.state.NotFinite = 0
	if t.state.LossScale != nil {
		t.state.LossScale.grew()
	}
	t.sum.add(r)
	if err := t.log.Append(r); err != nil {
		return err
	}
	if t.hooks.OnStep != nil {
		t.hooks.OnStep(r)
	}
	return nil
}

// step computes losses and gradients of a batch and updates the parameters.
func (t *trainer) step(batch *dataset.Batch) (StepRecord, error) {
	r := StepRecord{Kind: "step", Epoch: t.state.Epoch, Step: t.state.Step, GlobalStep: t.state.GlobalStep, LR: t.cfg.LRAt(t.state.Epoch)}
	if t.state.LossScale != nil {
		t.stepper.LossScale = t.state.LossScale.Scale
	}
	if err := t.stepper.Compute(t.inputs[batch.Slot]); err != nil {
		return r, err
	}
	losses := t.stepper.Losses()
	r.Loss, r.Background, r.Foreground = Number(losses["total"]), Number(losses["background"]), Number(losses["foreground"])
	r.Mask, r.Classification = Number(losses["mask"]), Number(losses["classification"])
	r.ConstantMaps, r.Share = t.stepper.ConstantMaps(), Number(t.stepper.ForegroundShare())
	correct := 0
	for i, p := range t.stepper.Predictions() {
		if p == batch.Labels[i] {
			correct++
		}
	}
	r.Accuracy = Number(float64(correct) / float64(batch.Count))
	if !t.stepper.Finite() {
		return r, &NotFiniteError{Record: r, Found: fmt.Sprintf("the loss is %v in epoch %d, step %d (learning rate %.3g)", r.Loss, r.Epoch, r.Step, r.LR)}
	}
	if err := t.checkGradients(r); err != nil {
		return r, err
	}
	return r, t.stepper.Update(r.LR, int64(t.state.GlobalStep-t.state.Undone)+1)
}

// endEpoch validates, keeps the best, logs and saves.
func (t *trainer) endEpoch(ctx context.Context) error {
	s, n := t.sum, Number(t.sum.n) // 0 where no step gave a number
	record := EpochRecord{Kind: "epoch", Epoch: t.state.Epoch, LR: t.cfg.LRAt(t.state.Epoch), Loss: s.Loss / n, Background: s.Background / n,
		Foreground: s.Foreground / n, Mask: s.Mask / n, Classification: s.Classification / n, Accuracy: s.Accuracy / n,
		Share: s.Share / Number(s.shared), Seconds: s.Seconds}
	if t.checker != nil {
		metrics, _, err := t.validate(ctx)
		if bad := (*NotFiniteError)(nil); errors.As(err, &bad) {
			err = t.heldOutNotFinite(bad, &record)
		} else if err == nil {
			t.state.NotFiniteEpochs = 0
		}
		if err != nil {
			return err
		}
		if err := t.constantMaps(metrics.ConstantMaps, metrics.Pictures); err != nil {
			return err
		}
		record.Validation = metrics
		record.Best = float64(metrics.Loss) < float64(t.state.BestLoss)
	}
	if t.checker == nil {
		if err := t.constantMaps(s.ConstantMaps, s.n*t.cfg.Batch); err != nil {
			return err
		}
	}
	if err := t.log.Append(record); err != nil {
		return err
	}
	t.sum = epochSum{}
	t.state.Epoch++
	t.state.Step = 0
	if record.Best {
		t.state.BestLoss, t.state.BestEpoch = record.Validation.Loss, record.Epoch
		if err := t.save(Best); err != nil {
			return err
		}
	}
	if every := t.cfg.Checkpoint.EveryEpochs; every > 0 && t.state.Epoch%every == 0 || record.BackTo != nil {
		if err := t.save(Last); err != nil {
			return err
		}
	}
	if t.hooks.OnEpoch != nil {
		t.hooks.OnEpoch(record)
	}
	return nil
}

// validate evaluates the held-out pictures with the present parameters, and says
// what it found of each. With a loss that is no number, what it found comes with
// a *NotFiniteError.
func (t *trainer) validate(ctx context.Context) (*Metrics, []*Judged, error) {
	var sum tally
	each := make([]*Judged, len(t.validation))
	err := t.evaluator.Each(ctx, t.checker, func(p Evaluated) error {
		sum.add(p)
		each[p.Sample] = judged(p)
		if t.hooks.OnProgress != nil {
			t.hooks.OnProgress("validation", sum.pictures, len(t.validation))
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	m := sum.metrics()
	if loss := float64(m.Loss); math.IsNaN(loss) || math.IsInf(loss, 0) {
		e := &NotFiniteError{Found: fmt.Sprintf("the loss on the held-out pictures is %v after %d steps", loss, t.state.GlobalStep), Advice: lowerRate}
		for i, j := range each {
			if j != nil && !finite([]float32{float32(j.Loss)}) {
				e.Pictures = append(e.Pictures, t.validation[i].ImagePath)
			}
		}
		return m, each, e
	}
	return m, each, nil
}

// save writes a checkpoint of the present state, never of parameters from which
// nothing can go on.
func (t *trainer) save(which string) error {
	if err := t.checkWeights(); err != nil {
		return err
	}
	offset, err := t.log.Mark()
	if err != nil {
		return err
	}
	t.state.LogOffset = offset
	c := &Checkpoint{State: t.state}
	for i, p := range t.stepper.Params {
		parts := []struct {
			to   *[]safetensors.Named
			from *ort.Buffer
		}{{&c.Parameters, t.stepper.Weights[i]}, {&c.Moments, t.stepper.Moments[i]}, {&c.Squares, t.stepper.Squares[i]}}
		if t.state.GlobalStep == t.state.Undone {
			parts = parts[:1] // moments are zero before the first update
		}
		for _, part := range parts {
			raw, err := part.from.Read()
			if err != nil {
				return fmt.Errorf("saving parameter %s: %w", p.Name, err)
			}
			*part.to = append(*part.to, named(p, raw))
		}
	}
	return t.run.SaveCheckpoint(which, c)
}

// named gives values the parameter's name, without a copy.
func named(p Param, raw []byte) safetensors.Named {
	return safetensors.Named{Name: p.Name, Tensor: &onnx.Tensor{Type: onnx.Float, Dims: p.Shape.Ints(), Raw: raw}}
}

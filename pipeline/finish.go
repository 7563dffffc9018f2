package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// finish measures the parameters that the run chose, and writes sample sheets,
// what was measured, and the report.
func (t *trainer) finish(ctx context.Context, before *Metrics) (*FinetuneResult, error) {
	history, err := t.run.ReadLog()
	if err != nil {
		return nil, err
	}
	result := &FinetuneResult{Run: t.run.Path(), Device: t.device.Name, Epochs: t.state.Epoch, Steps: t.state.GlobalStep, BestEpoch: t.state.BestEpoch, Before: before, Seconds: history.Seconds(), Undone: t.state.Undone}
	best, err := t.run.loadTrained()
	if err != nil {
		return nil, err
	}
	t.warn(best.warnings()...)
	if err := t.use(best.Parameters); err != nil {
		return nil, err
	}
	if len(best.Faults) > 0 { // it is another
		result.BestEpoch = -1
		if strings.HasPrefix(best.Name, Best) {
			result.BestEpoch = best.State.BestEpoch
		}
	}
	best = nil
	found := &Results{BestEpoch: result.BestEpoch, Before: before, Skipped: len(t.skipped)}
	if t.checker != nil {
		var each []*Judged
		result.After, each, err = t.validate(ctx)
		if bad := (*NotFiniteError)(nil); err != nil && !(errors.As(err, &bad) && t.cfg.OnNaN != "stop") { // which has gone on with such
			return nil, err
		}
		found.After = result.After
		if found.Pictures, err = t.heldOut(each); err != nil {
			return nil, err
		}
		found.Classes = t.namesOf(found.Pictures)
	}
	if found.Sheets, err = t.sheets(ctx, found.Pictures); err != nil {
		return nil, err
	}
	if found.Model, err = t.describeModel(); err != nil {
		return nil, err
	}
	if err := saveJSON(t.run.Path(resultsName), found); err != nil {
		return nil, err
	}
	return result, writeRunReport(t.run)
}

// use lets the sessions run with other parameters. Those that aren't listed
// stay as they are.
func (t *trainer) use(list []safetensors.Named) error {
	tensors := byName(list)
	for i, p := range t.stepper.Params {
		if v, ok := tensors[p.Name]; ok {
			if err := t.stepper.Weights[i].Write(v.Raw); err != nil {
				return fmt.Errorf("parameter %s: %w", p.Name, err)
			}
		}
	}
	return nil
}

// useOriginal lets the sessions run with the parameters from before training.
func (t *trainer) useOriginal() error {
	m, err := OpenModel(t.run.Artifact(sourceArtifact), ModelOptions{Find: findOf(t.cfg, ModelOptions{}.Find)})
	if err != nil {
		return err
	}
	values := map[string]int{}
	for i, p := range m.Params {
		values[p.Name] = i
	}
	for i, p := range t.stepper.Params {
		at, ok := values[p.Name]
		if !ok {
			return fmt.Errorf("%s: it has no parameter %s", m.Path, p.Name)
		}
		numbers, err := m.Params[at].Data.Float32s()
		if err != nil {
			return fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		if err := ort.Set(t.stepper.Weights[i], numbers); err != nil {
			return fmt.Errorf("parameter %s: %w", p.Name, err)
		}
	}
	return nil
}

// heldOut sets beside what the model says of the held-out pictures what it said
// before training.
func (t *trainer) heldOut(after []*Judged) ([]HeldOut, error) {
	var before []*Judged
	err := loadJSON(t.run.Sample(beforeName), &before)
	if errors.Is(err, fs.ErrNotExist) { // a run that an earlier version began
		before, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]HeldOut, len(t.validation))
	for i, s := range t.validation {
		out[i] = HeldOut{Picture: sampleName(s), Label: s.Label, After: after[i]}
		if i < len(before) {
			out[i].Before = before[i]
		}
	}
	return out, nil
}

// namesOf names the classes that pictures speak of.
func (t *trainer) namesOf(pictures []HeldOut) map[string]string {
	if t.names == nil {
		return nil
	}
	out := map[string]string{}
	add := func(class int) {
		if class >= 0 && class < len(t.names) {
			out[strconv.Itoa(class)] = t.names[class]
		}
	}
	for _, p := range pictures {
		add(p.Label)
		for _, j := range []*Judged{p.Before, p.After} {
			if j != nil {
				add(j.Prediction)
			}
		}
	}
	return out
}

// describeModel says what was trained.
func (t *trainer) describeModel() (ModelFacts, error) {
	f := t.facts
	f.Name, f.Classes = t.cfg.Model, t.evaluator.classes
	for _, w := range t.stepper.Weights {
		f.Trained += w.Len()
	}
	var err error
	f.SHA256, _, err = fileSum(t.run.Artifact(sourceArtifact))
	return f, err
}

// sheetPictures are those from which a sheet is made that nobody chose: the
// first held-out ones that can be decoded.
func (t *trainer) sheetPictures() []dataset.Sample {
	if len(t.validation) > 0 {
		return t.validation
	}
	return t.train
}

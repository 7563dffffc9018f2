package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/relevit/relevit/pipeline/report"
)

// finish measures the parameters that the run chose, and writes sample sheets
// and the report.
func (t *trainer) finish(ctx context.Context, before *Metrics, sheet *sampleSheet, command string) (*FinetuneResult, error) {
	history, err := t.run.ReadLog()
	if err != nil {
		return nil, err
	}
	result := &FinetuneResult{Run: t.run.Path(), Epochs: t.state.Epoch, Steps: t.state.GlobalStep, BestEpoch: t.state.BestEpoch, Before: before}
	for _, s := range history.Steps {
		result.Seconds += s.Seconds
	}
	best, err := t.run.LoadCheckpoint(Best)
	if err != nil && !errors.Is(err, ErrNoCheckpoint) {
		return nil, err
	}
	if err == nil {
		tensors := byName(best.Parameters)
		for i, p := range t.stepper.Params {
			copy(t.stepper.Weights[i].Bytes(), tensors[p.Name].Raw)
		}
	}
	if t.checker != nil {
		if result.After, err = t.validate(ctx); err != nil {
			return nil, err
		}
	}
	if err := t.completeSheet(ctx, sheet); err != nil {
		return nil, err
	}
	page := t.page(history, result, command)
	page.Sheets = append(page.Sheets, sheet.page())
	return result, WriteFile(t.run.Report(), func(w io.Writer) error { return report.Write(w, page) })
}

// page is the run's report without its pictures.
func (t *trainer) page(h History, r *FinetuneResult, command string) report.Page {
	c := t.cfg
	p := report.Page{Title: "Finetuning " + c.Model, Command: command, Facts: []report.Fact{
		{Name: "model", Value: c.Model},
		{Name: "method", Value: c.Method + ", " + c.Mode},
		{Name: "pictures", Value: fmt.Sprintf("%d to train, %d to validate", len(t.train), len(t.validation))},
		{Name: "training", Value: fmt.Sprintf("%d epochs, %d steps of %d pictures, AdamW, learning rate %g", r.Epochs, r.Steps, c.Batch, c.LR)},
		{Name: "time", Value: fmt.Sprintf("%.0f s in steps", r.Seconds)},
		{Name: "seed", Value: fmt.Sprint(c.Seed)},
	}}
	if r.Before != nil && r.After != nil {
		p.Lead = fmt.Sprintf("On %d held-out pictures %.1f %% of the relevance lies on the foreground, %.1f %% before finetuning.",
			r.After.Pictures, 100*r.After.ForegroundShare, 100*r.Before.ForegroundShare)
		measure := func(name string, before, after Number, percent, lower bool) report.Measure {
			return report.Measure{Name: name, Before: report.Exactly(float64(before)), After: report.Exactly(float64(after)), Percent: percent, LowerIsBetter: lower}
		}
		p.Tables = append(p.Tables, report.Measures("Held-out pictures", fmt.Sprintf("%d pictures, before training and with the best checkpoint (epoch %d)", r.After.Pictures, r.BestEpoch+1), []report.Measure{
			measure("relevance on the foreground", r.Before.ForegroundShare, r.After.ForegroundShare, true, false),
			measure("IoU of mask and map above its mean", r.Before.IoU, r.After.IoU, true, false),
			measure("top-1 is the label", r.Before.Accuracy, r.After.Accuracy, true, false),
			measure("loss", r.Before.Loss, r.After.Loss, false, true),
		}))
	}
	p.Charts = curves(h)
	for _, e := range h.Epochs {
		if e.Validation != nil && e.Validation.ConstantMaps > 0 {
			p.Notes = append(p.Notes, fmt.Sprintf("Epoch %d: %d relevance maps of held-out pictures were constant; they count as zero.", e.Epoch+1, e.Validation.ConstantMaps))
		}
	}
	return p
}

// curves draws what the log holds, by epoch.
func curves(h History) []report.Chart {
	line := func(name string, value func(EpochRecord) (Number, bool)) report.Series {
		s := report.Series{Name: name}
		for _, e := range h.Epochs {
			if v, ok := value(e); ok {
				s.X, s.Y = append(s.X, float64(e.Epoch+1)), append(s.Y, float64(v))
			}
		}
		return s
	}
	held := func(f func(*Metrics) Number) func(EpochRecord) (Number, bool) {
		return func(e EpochRecord) (Number, bool) {
			if e.Validation == nil {
				return 0, false
			}
			return f(e.Validation), true
		}
	}
	train := func(f func(EpochRecord) Number) func(EpochRecord) (Number, bool) {
		return func(e EpochRecord) (Number, bool) { return f(e), true }
	}
	return []report.Chart{
		{Title: "Loss", XLabel: "epoch", YLabel: "loss", Series: []report.Series{
			line("training", train(func(e EpochRecord) Number { return e.Loss })),
			line("held out", held(func(m *Metrics) Number { return m.Loss }))}},
		{Title: "Relevance on the foreground", XLabel: "epoch", YLabel: "share", Series: []report.Series{
			line("share", held(func(m *Metrics) Number { return m.ForegroundShare })),
			line("IoU", held(func(m *Metrics) Number { return m.IoU }))}},
		{Title: "Top-1 is the label", XLabel: "epoch", YLabel: "share", Series: []report.Series{
			line("training", train(func(e EpochRecord) Number { return e.Accuracy })),
			line("held out", held(func(m *Metrics) Number { return m.Accuracy }))}},
	}
}

package pipeline

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/pipeline/report"
)

// Comparison sets runs, and evaluations, side by side.
type Comparison struct {
	Runs        []ComparedRun    `json:"runs"`
	Differing   []string         `json:"differing"` // keys whose values are not the same in all runs
	Evaluations []evaluationFile `json:"evaluations,omitempty"`
	Page        *report.Page     `json:"page,omitempty"` // what the page shows

	histories []History
}

// ComparedRun is one run of a Comparison.
type ComparedRun struct {
	Run       string            `json:"run"`
	State     string            `json:"state"`      // finished, or how far it is
	Settings  map[string]string `json:"settings"`   // values of the keys that differ
	BestEpoch int               `json:"best_epoch"` // from 0; -1 without validation
	Epochs    int               `json:"epochs"`
	Steps     int               `json:"steps"`
	Before    *Metrics          `json:"before,omitempty"`
	After     *Metrics          `json:"after,omitempty"` // of the best epoch yet
	Seconds   float64           `json:"seconds"`         // of training steps
}

// Finished is the state of a run that has reached its end.
const Finished = "finished"

// Compare reads runs, batches and files that evaluate wrote. Runs keep the names
// by which they are given; those of a batch lie in its folder.
func Compare(paths []string) (*Comparison, error) {
	var runs []*Run
	var names []string
	c := &Comparison{}
	for _, path := range paths {
		switch {
		case IsBatch(path):
			b, err := ReadBatch(path)
			if err != nil {
				return nil, err
			}
			for _, r := range b.Runs {
				dir := filepath.Join(path, r.Name)
				run := &Run{Dir: dir, Config: r.Config} // that has perhaps not begun
				if IsRun(dir) {
					if run, err = ReadRun(dir); err != nil {
						return nil, err
					}
				}
				runs, names = append(runs, run), append(names, dir)
			}
		case IsRun(path):
			run, err := ReadRun(path)
			if err != nil {
				return nil, err
			}
			runs, names = append(runs, run), append(names, path)
		default:
			e, err := readEvaluation(path)
			if err != nil {
				return nil, err
			}
			c.Evaluations = append(c.Evaluations, e)
		}
	}
	if err := c.add(runs, names); err != nil {
		return nil, err
	}
	page := c.page()
	c.Page = &page
	return c, nil
}

// add reads runs, and finds the keys in which they differ.
func (c *Comparison) add(runs []*Run, names []string) error {
	c.Runs, c.Differing = []ComparedRun{}, []string{}
	var settings [][]configs.Setting
	for i, r := range runs {
		h, err := r.ReadLog()
		if err != nil {
			return err
		}
		results, err := r.Results()
		if err != nil {
			return err
		}
		one := compared(names[i], h, r.Config.Epochs)
		if results != nil {
			one.State = Finished
		}
		c.Runs, c.histories = append(c.Runs, one), append(c.histories, h)
		settings = append(settings, r.Config.Settings())
	}
	if len(runs) == 0 {
		return nil
	}
	for k, s := range settings[0] {
		if !slices.ContainsFunc(settings, func(other []configs.Setting) bool { return other[k] != s }) {
			continue
		}
		c.Differing = append(c.Differing, s.Key)
		for i := range c.Runs {
			c.Runs[i].Settings[s.Key] = settings[i][k].Value
		}
	}
	return nil
}

// compared reads off a run's log what is compared.
func compared(name string, h History, epochs int) ComparedRun {
	r := ComparedRun{Run: filepath.ToSlash(name), Settings: map[string]string{}, BestEpoch: -1, Epochs: len(h.Epochs), Steps: len(h.Steps), Seconds: h.Seconds(),
		State: fmt.Sprintf("epoch %d of %d", len(h.Epochs), epochs)}
	if h.Start == nil {
		r.State = "not begun"
		return r
	}
	r.Before = h.Start.Validation
	for _, e := range h.Epochs {
		if e.Best {
			r.BestEpoch, r.After = e.Epoch, e.Validation
		}
	}
	return r
}

// weighing are the keys by which losses weigh differently.
func weighing(key string) bool {
	return strings.HasPrefix(key, "lambda_") || key == "temperature" || key == "method" || key == "confidence" || key == "model" || strings.HasPrefix(key, "data.") || key == "seed"
}

// page is the comparison as a page.
func (c *Comparison) page() report.Page {
	p := report.Page{Title: "Comparison of " + counted(len(c.Runs), "run")}
	if len(c.Runs) > 0 {
		p.Lead = c.lead()
		p.Sections = append(p.Sections, report.Section{Title: "Runs", Tables: []report.Table{c.table()}}, report.Section{Title: "Course of the runs", Charts: c.charts()})
	} else {
		p.Title = "Comparison of evaluations"
	}
	if len(c.Evaluations) > 0 {
		p.Sections = append(p.Sections, report.Section{Title: "Evaluations", Tables: []report.Table{evaluationsTable(c.Evaluations)}})
	}
	s := report.Section{Title: "Notes"}
	var mixed []string
	for _, k := range c.Differing {
		if weighing(k) {
			mixed = append(mixed, k)
		}
	}
	if len(mixed) > 0 {
		s.Text = append(s.Text, "The runs differ in "+strings.Join(mixed, ", ")+": their validation losses don't measure the same, so that a lower one is not better by itself.")
	}
	if len(c.Runs) > 0 {
		s.Text = append(s.Text, "The best epoch is the one with the lowest validation loss. Accuracy and relevance are those of the held-out pictures, which have chosen the epoch, and whoever chooses among many runs by them chooses by chance in part: measure the chosen one on other data.")
	}
	p.Sections = append(p.Sections, s)
	return p
}

// lead names the runs that stand out.
func (c *Comparison) lead() string {
	most := func(f func(*Metrics) Number) (names []string, value Number) {
		for _, r := range c.Runs {
			switch {
			case r.After == nil || names != nil && f(r.After) < value:
			case names != nil && f(r.After) == value:
				names = append(names, r.Run)
			case f(r.After) == f(r.After):
				names, value = []string{r.Run}, f(r.After)
			}
		}
		return names, value
	}
	shares, share := most(func(m *Metrics) Number { return m.ForegroundShare })
	rights, right := most(func(m *Metrics) Number { return m.Accuracy })
	finished := 0
	for _, r := range c.Runs {
		if r.State == Finished {
			finished++
		}
	}
	s := ""
	if finished < len(c.Runs) {
		s = fmt.Sprintf("%d of %d runs are finished. ", finished, len(c.Runs))
	}
	if shares == nil || rights == nil {
		return s + "Nothing was held out, so that nothing was measured."
	}
	return s + fmt.Sprintf("Most relevance lies on the foreground by %s: %.1f %%. The prediction is the label most often by %s: %.1f %%.",
		strings.Join(shares, ", "), 100*share, strings.Join(rights, ", "), 100*right)
}

func (c *Comparison) table() report.Table {
	t := report.Table{Columns: append(append([]string{"Run"}, c.Differing...), "State", "Best epoch", "Loss before", "Loss after", "Top-1 before", "Top-1 after", "Foreground before", "Foreground after", "Change", "Seconds"),
		Caption: "Held-out pictures before training and at the best epoch; top-1 counts predictions that are the label, foreground is the share of the relevance that lies on it. Seconds are those of training steps."}
	for _, r := range c.Runs {
		row := []report.Cell{{Text: r.Run}}
		for _, key := range c.Differing {
			row = append(row, report.Cell{Text: r.Settings[key]})
		}
		row = append(row, report.Cell{Text: r.State})
		if r.BestEpoch >= 0 {
			epoch := report.Count(r.BestEpoch + 1)
			row = append(row, epoch.Cell())
		} else {
			row = append(row, report.Cell{})
		}
		share := func(m *Metrics) Number { return m.ForegroundShare }
		row = append(row, metric(r.Before, func(m *Metrics) Number { return m.Loss }, ""), metric(r.After, func(m *Metrics) Number { return m.Loss }, ""),
			metric(r.Before, func(m *Metrics) Number { return m.Accuracy }, report.Percent), metric(r.After, func(m *Metrics) Number { return m.Accuracy }, report.Percent),
			metric(r.Before, share, report.Percent), metric(r.After, share, report.Percent))
		if r.Before != nil && r.After != nil {
			row = append(row, report.Figure{Interval: report.Exactly(float64(r.After.ForegroundShare - r.Before.ForegroundShare)), Unit: report.Points, Signed: true}.Cell())
		} else {
			row = append(row, report.Cell{})
		}
		t.Rows = append(t.Rows, append(row, report.Figure{Interval: report.Exactly(r.Seconds), Digits: 1}.Cell()))
	}
	return t
}

// metric is a figure of Metrics, nothing where there are none.
func metric(m *Metrics, f func(*Metrics) Number, unit string) report.Cell {
	if m == nil {
		return report.Cell{}
	}
	figure := report.Figure{Interval: report.Exactly(float64(f(m))), Unit: unit}
	if unit == "" {
		figure.Digits = 4
	}
	return figure.Cell()
}

// charts draw the runs' validation beside each other.
func (c *Comparison) charts() []report.Chart {
	charts := []report.Chart{
		{Title: "Validation loss", XLabel: "epoch", YLabel: "loss"},
		{Title: "Relevance on the foreground, held out", XLabel: "epoch", YLabel: "share"},
		{Title: "Top-1 is the label, held out", XLabel: "epoch", YLabel: "share"},
	}
	for i, f := range []func(*Metrics) Number{
		func(m *Metrics) Number { return m.Loss },
		func(m *Metrics) Number { return m.ForegroundShare },
		func(m *Metrics) Number { return m.Accuracy },
	} {
		for k, h := range c.histories {
			if s := held(h, c.Runs[k].Run, f); len(s.X) > 0 {
				charts[i].Series = append(charts[i].Series, s)
			}
		}
	}
	return charts
}

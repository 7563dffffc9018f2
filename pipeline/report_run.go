package pipeline

import (
	"fmt"
	"image"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/pipeline/metrics"
	"github.com/relevit/relevit/pipeline/picture"
	"github.com/relevit/relevit/pipeline/report"
)

// writeRunReport writes a run's report.html.
func writeRunReport(r *Run) error {
	p, err := runPage(r)
	if err != nil {
		return err
	}
	return atomic.Write(r.Report(), func(w io.Writer) error { return report.Write(w, p) })
}

// runReport is a run's page in the making.
type runReport struct {
	run     *Run
	history History
	results *Results // nil where the run isn't finished
	train   int      // pictures
	held    int
}

// runPage is the report on a run, from its folder alone.
func runPage(r *Run) (report.Page, error) {
	p, closing, err := runParts(r)
	p.Sections = append(p.Sections, closing...)
	return p, err
}

// runParts are a run's page without what stands at the end, and that: the model
// card and the notes.
func runParts(r *Run) (p report.Page, closing []report.Section, err error) {
	model := filepath.Base(r.Config.Model)
	p.Title = "Finetuning " + strings.TrimSuffix(model, filepath.Ext(model))
	v := &runReport{run: r}
	if v.history, err = r.ReadLog(); err != nil {
		return p, nil, err
	}
	if v.results, err = r.Results(); err != nil {
		return p, nil, err
	}
	train, held, _, err := readSplits(r)
	if err != nil {
		return p, nil, err
	}
	v.train, v.held = len(train), len(held)
	done, err := v.done()
	if err != nil {
		return p, nil, err
	}
	p.Lead = v.lead()
	p.Sections = append(p.Sections, done, v.heldOut(), report.Section{Title: "Course of the run", Charts: curves(v.history)})
	if v.results != nil {
		sheets, err := v.sheets()
		if err != nil {
			return p, nil, err
		}
		p.Sections = append(append(p.Sections, v.calibration()), sheets...)
		p.Sections = append(p.Sections, v.classes())
	}
	card, err := v.card()
	if err != nil {
		return p, nil, err
	}
	return p, []report.Section{card, v.notes()}, nil
}

// lead says what came out.
func (v *runReport) lead() string {
	epochs := len(v.history.Epochs)
	if v.results == nil {
		return fmt.Sprintf("This run is not finished: %d of %d epochs are made. relevit finetune --resume -o %s goes on with it.", epochs, v.run.Config.Epochs, v.run.Dir)
	}
	before, after := v.results.Before, v.results.After
	if before == nil || after == nil {
		return fmt.Sprintf("The model was trained for %s. Nothing was held out, so nothing was measured.", counted(epochs, "epoch"))
	}
	share := func(m *Metrics) string { return fmt.Sprintf("%.1f %%", 100*m.ForegroundShare) }
	return fmt.Sprintf("On %s, %s of the relevance lies on the foreground before training and %s after it; the prediction is the label on %.1f %% before and %.1f %% after. "+
		"Of %s, number %d has the lowest loss on them.",
		counted(after.Pictures, "held-out picture"), share(before), share(after), 100*before.Accuracy, 100*after.Accuracy, counted(epochs, "epoch"), v.results.BestEpoch+1)
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// done says what was trained from what, by which command.
func (v *runReport) done() (report.Section, error) {
	c := v.run.Config
	s := report.Section{Title: "What was done", Command: "relevit finetune -c " + v.run.Path(configName)}
	commands, err := v.run.Commands()
	if err != nil {
		return s, err
	}
	model := c.Model
	if v.results != nil {
		m := v.results.Model
		if m.Architecture != "" {
			model += ", " + m.Architecture
		}
		trained := grouped(m.Trained)
		if m.Trained == m.Parameters {
			trained = "all"
		}
		model += fmt.Sprintf("; %s of its %s parameters are trained", trained, grouped(m.Parameters))
	}
	schedule := fmt.Sprintf("AdamW, learning rate %g", c.LR)
	if c.LRSchedule.Factor != 1 {
		schedule += fmt.Sprintf(" (times %g after every %s)", c.LRSchedule.Factor, counted(c.LRSchedule.Every, "epoch"))
	}
	s.Facts = []report.Fact{
		{Name: "model", Value: model},
		{Name: "method", Value: c.Method + ", " + c.Mode},
		{Name: "pictures", Value: fmt.Sprintf("%d to train on, %d held out", v.train, v.held)},
		{Name: "training", Value: fmt.Sprintf("%s of %s, %s", counted(len(v.history.Steps), "step"), counted(c.Batch, "picture"), schedule)},
		{Name: "losses", Value: fmt.Sprintf("%g x mask loss (%g x background, %g x foreground) + %g x classification, temperature %g", c.LambdaSeg, c.LambdaBackground, c.LambdaForeground, c.LambdaAcc, c.Temperature)},
		{Name: "time", Value: fmt.Sprintf("%.0f s in steps", v.history.Seconds())},
	}
	if c.Method != "relevance" {
		s.Facts[4].Value = fmt.Sprintf("%g x mask loss of %s + %g x classification", c.LambdaSeg, c.Method, c.LambdaAcc)
	}
	bad, unfit := 0, 0
	for _, r := range v.history.NotFinite {
		if r.Action == rescaled {
			unfit++
		} else {
			bad++
		}
	}
	if bad > 0 {
		s.Facts = append(s.Facts, report.Fact{Name: "without a number", Value: fmt.Sprintf("%s, on_nan %s", counted(bad, "step"), c.OnNaN)})
	}
	if unfit > 0 {
		s.Facts = append(s.Facts, report.Fact{Name: "loss scale", Value: fmt.Sprintf("%s left out while it was too large", counted(unfit, "step"))})
	}
	if len(commands) > 0 {
		s.Command = commands[0].Command
		when := commands[0].Time.Format("2 January 2006, 15:04 MST")
		if n := len(commands) - 1; n > 0 {
			when += fmt.Sprintf("; gone on with %s, last on %s", counted(n, "time"), commands[n].Time.Format("2 January 2006, 15:04 MST"))
		}
		s.Facts = append(s.Facts, report.Fact{Name: "begun", Value: when}, report.Fact{Name: "tool", Value: strings.TrimSpace("relevit " + commands[0].Tool)})
	}
	return s, nil
}

// grouped groups a number's digits: 5,717,416.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// heldOut is the table of what the held-out pictures say.
func (v *runReport) heldOut() report.Section {
	s := report.Section{Title: "Held-out pictures"}
	if v.results == nil || v.results.Before == nil || v.results.After == nil {
		return s
	}
	before, after := v.results.Before, v.results.After
	columns := v.columns()
	measures := []report.Measure{
		{Name: "relevance on the foreground", Percent: true, Before: report.Exactly(float64(before.ForegroundShare)), After: report.Exactly(float64(after.ForegroundShare))},
		{Name: "IoU of mask and map above its mean", Percent: true, Before: report.Exactly(float64(before.IoU)), After: report.Exactly(float64(after.IoU))},
		{Name: "top-1 is the label", Percent: true, Before: report.Exactly(float64(before.Accuracy)), After: report.Exactly(float64(after.Accuracy))},
		{Name: "loss", LowerIsBetter: true, Digits: 4, Before: report.Exactly(float64(before.Loss)), After: report.Exactly(float64(after.Loss))},
	}
	caption := fmt.Sprintf("%s, before training and with the parameters of epoch %d.", counted(after.Pictures, "picture"), v.results.BestEpoch+1)
	if columns != nil {
		measures = append(measures, report.Measure{Name: "confidence: probability of the prediction", Percent: true, Neutral: true})
		caption += " Intervals hold 95 % of resampled sets of pictures, with before and after kept together."
		for i := range measures {
			columns[i].measure(&measures[i])
		}
		measures = append(measures, report.Measure{Name: "expected calibration error", Percent: true, LowerIsBetter: true,
			Before: report.Exactly(v.calibrated(wasBefore).error), After: report.Exactly(v.calibrated(wasAfter).error)})
	}
	s.Tables = []report.Table{report.Measures("", caption, measures)}
	return s
}

// paired are a measure's values, one for each held-out picture.
type paired struct{ before, after []float64 }

// measure fills in means, intervals and the change's.
func (p paired) measure(m *report.Measure) {
	change := make([]float64, len(p.before))
	for i := range change {
		change[i] = p.after[i] - p.before[i]
	}
	columns := [][]float64{p.before, p.after, change}
	var out [3]report.Interval
	for i, around := range metrics.Means(columns, 0) {
		out[i] = report.Interval{Mean: metrics.Mean(columns[i]), Low: around.Low, High: around.High}
	}
	m.Before, m.After, m.Change = out[0], out[1], &out[2]
}

// columns are the held-out pictures' values in the order of the table's rows,
// nil where what was before is not known.
func (v *runReport) columns() []paired {
	var both []HeldOut
	for _, p := range v.results.Pictures {
		if p.Before != nil && p.After != nil {
			both = append(both, p)
		}
	}
	if len(both) == 0 {
		return nil
	}
	read := []func(HeldOut, *Judged) Number{
		func(_ HeldOut, j *Judged) Number { return j.Share },
		func(_ HeldOut, j *Judged) Number { return j.IoU },
		func(p HeldOut, j *Judged) Number { return truth(j.Prediction == p.Label) },
		func(_ HeldOut, j *Judged) Number { return j.Loss },
		func(_ HeldOut, j *Judged) Number { return j.Probability },
	}
	out := make([]paired, len(read))
	for i, f := range read {
		for _, p := range both {
			out[i].before, out[i].after = append(out[i].before, float64(f(p, p.Before))), append(out[i].after, float64(f(p, p.After)))
		}
	}
	return out
}

func truth(is bool) Number {
	if is {
		return 1
	}
	return 0
}

func wasBefore(p HeldOut) *Judged { return p.Before }
func wasAfter(p HeldOut) *Judged  { return p.After }

// calibrationOf is how well a model knows how often it is right.
type calibrationOf struct {
	error float64
	bins  []metrics.Bin
}

func (v *runReport) calibrated(when func(HeldOut) *Judged) (c calibrationOf) {
	var confidence []float64
	var right []bool
	for _, p := range v.results.Pictures {
		if j := when(p); j != nil {
			confidence, right = append(confidence, float64(j.Probability)), append(right, j.Prediction == p.Label)
		}
	}
	c.error, _, c.bins = metrics.Calibrate(confidence, right)
	return c
}

// reliability is a line of a reliability diagram.
func reliability(name string, bins []metrics.Bin) report.Series {
	s := report.Series{Name: name}
	for _, b := range bins {
		if b.Count > 0 {
			s.X, s.Y, s.Weights = append(s.X, b.Confidence), append(s.Y, b.Accuracy), append(s.Weights, float64(b.Count))
		}
	}
	return s
}

func (v *runReport) calibration() report.Section {
	s := report.Section{Title: "Calibration"}
	if v.columns() == nil {
		return s
	}
	s.Charts = []report.Chart{reliabilityChart(reliability("before", v.calibrated(wasBefore).bins), reliability("after", v.calibrated(wasAfter).bins))}
	return s
}

func reliabilityChart(series ...report.Series) report.Chart {
	return report.Chart{Title: "How often predictions of a confidence are right", XLabel: "confidence", YLabel: "share that is right", Reliability: true, Series: series,
		Caption: fmt.Sprintf("%d bins of equal width; a point's area is its number of pictures. On the diagonal confidence is as high as it should be; above it the model is too timid, below it too sure.", metrics.CalibrationBins)}
}

// sheets show the pictures whose relevance changed most, and the first ones.
func (v *runReport) sheets() ([]report.Section, error) {
	whole := []struct{ sheet, title, text, none string }{
		{sheetGain, "Largest gains", "The held-out pictures whose relevance on the foreground grew most.", "On no held-out picture did the relevance on the foreground grow."},
		{sheetLoss, "Largest losses", "The held-out pictures whose relevance on the foreground fell most.", "On no held-out picture did the relevance on the foreground fall."},
		{sheetFirst, "First pictures", "The first pictures of the list, chosen by nothing else.", ""},
	}
	var out []report.Section
	for _, w := range whole {
		sheet := report.Sheet{Caption: w.text + " Light is relevant to the label.", Columns: []string{"original", "mask", "before", "after"}}
		for _, f := range v.results.Sheets {
			if f.Sheet != w.sheet {
				continue
			}
			png, err := picture.ReadFile(v.run.Sample(f.File))
			if err != nil {
				return nil, err
			}
			panels, err := picture.Panels(png, len(samplePanels))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", v.run.Sample(f.File), err)
			}
			row := report.SheetRow{Label: f.Picture, Notes: []report.Cell{{}, {}, onForeground(f.Before), onForeground(f.After)}}
			for _, p := range panels {
				row.Images = append(row.Images, image.Image(p))
			}
			sheet.Rows = append(sheet.Rows, row)
		}
		s := report.Section{Title: w.title, Sheets: []report.Sheet{sheet}}
		if len(sheet.Rows) == 0 {
			s.Sheets = nil
			if w.none != "" && len(v.results.Sheets) > 0 && v.columns() != nil {
				s.Text = []string{w.none}
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func onForeground(share Number) report.Cell {
	if share != share {
		return report.Cell{Text: "no relevance, or no mask"}
	}
	c := report.Figure{Interval: report.Exactly(float64(share)), Unit: report.Percent}.Cell()
	c.Text += " on the foreground"
	return c
}

// mostClasses is how many classes a table shows at either end.
const mostClasses = 10

// classes is the table of the classes that changed most.
func (v *runReport) classes() report.Section {
	s := report.Section{Title: "Classes"}
	type class struct {
		label         int
		pictures      int
		before, after []float64 // shares
		right         [2]int
	}
	found := map[int]*class{}
	for _, p := range v.results.Pictures {
		if p.Before == nil || p.After == nil {
			continue
		}
		c := found[p.Label]
		if c == nil {
			c = &class{label: p.Label}
			found[p.Label] = c
		}
		c.pictures++
		c.before, c.after = append(c.before, float64(p.Before.Share)), append(c.after, float64(p.After.Share))
		for i, j := range []*Judged{p.Before, p.After} {
			if j.Prediction == p.Label {
				c.right[i]++
			}
		}
	}
	var rows []classRow
	for _, label := range slices.Sorted(maps.Keys(found)) {
		c := found[label]
		name := strconv.Itoa(label)
		if n := v.results.Classes[name]; n != "" {
			name += " " + n
		}
		was, is := metrics.Mean(c.before), metrics.Mean(c.after)
		share := func(x float64) report.Cell {
			return report.Figure{Interval: report.Exactly(x), Unit: report.Percent}.Cell()
		}
		rows = append(rows, classRow{change: is - was, cells: []report.Cell{{Text: name}, report.Count(c.pictures).Cell(), report.Count(c.right[0]).Cell(), report.Count(c.right[1]).Cell(),
			share(was), share(is), report.Figure{Interval: report.Exactly(is - was), Unit: report.Points, Signed: true}.Cell()}})
	}
	if len(rows) == 0 {
		return s
	}
	t := report.Table{Columns: []string{"Class", "Pictures", "Right before", "Right after", "On the foreground before", "After", "Change"},
		Caption: "Held-out pictures by label, by the change of the relevance on the foreground."}
	t.Rows, t.Caption = endsOf(rows, t.Caption, "largest gain", "largest loss")
	s.Tables = []report.Table{t}
	return s
}

// classRow is a class's line in a table that is sorted by a change.
type classRow struct {
	change float64
	cells  []report.Cell
}

// endsOf sorts classes by a figure and keeps those at both ends, which it says
// in the caption.
func endsOf(rows []classRow, caption, upper, lower string) ([][]report.Cell, string) {
	slices.SortStableFunc(rows, func(a, b classRow) int {
		if math.IsNaN(a.change) || math.IsNaN(b.change) {
			return int(truth(math.IsNaN(a.change)) - truth(math.IsNaN(b.change)))
		}
		if a.change > b.change {
			return -1
		}
		return int(truth(a.change < b.change))
	})
	if n := len(rows); n > 2*mostClasses {
		caption += fmt.Sprintf(" The %d with the %s and the %d with the %s of %d.", mostClasses, upper, mostClasses, lower, n)
		rows = slices.Delete(rows, mostClasses, n-mostClasses)
	}
	var out [][]report.Cell
	for _, r := range rows {
		out = append(out, r.cells)
	}
	return out, caption
}

// changed leaves out the rows of classes that are as they were.
func changed(rows []classRow, caption string) ([]classRow, string) {
	all := len(rows)
	rows = slices.DeleteFunc(rows, func(r classRow) bool { return r.change == 0 })
	if same := all - len(rows); same > 0 {
		caption += fmt.Sprintf(" %d of %s are as they were.", same, classesOfNumber(all))
	}
	return rows, caption
}

func classesOfNumber(n int) string {
	if n == 1 {
		return "1 class"
	}
	return fmt.Sprintf("%d classes", n)
}

// notes say what a reader has to know to judge the figures.
func (v *runReport) notes() report.Section {
	s := report.Section{Title: "Notes"}
	for _, e := range v.history.Epochs {
		if e.Validation != nil && e.Validation.ConstantMaps > 0 {
			s.Text = append(s.Text, fmt.Sprintf("Epoch %d: %s of held-out pictures constant; they count as zero.", e.Epoch+1, wasWere(e.Validation.ConstantMaps, "relevance map")))
		}
	}
	if v.results == nil || v.results.After == nil {
		return s
	}
	s.Text = append(s.Text, "The held-out pictures chose the epoch, so that what is measured on them after training is a little too good. Relevance is measured by the method that the training optimises: its rise shows that the training did that. relevit evaluate on other data shows whether the model has become better.")
	if v.results.Before.Accuracy == 1 {
		s.Text = append(s.Text, "Before training the prediction is the label of every held-out picture, as it must be where the labels are the model's own (data.labels: top1): accuracy and calibration then tell how far the model has moved away from itself.")
	}
	if n := v.results.Skipped; n > 0 {
		s.Text = append(s.Text, counted(n, "picture")+" couldn't be decoded and was left out.")
	}
	return s
}

func wasWere(n int, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return fmt.Sprintf("%d %ss were", n, what)
}

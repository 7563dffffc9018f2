package pipeline

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/relevit/relevit/pipeline/metrics"
	"github.com/relevit/relevit/pipeline/report"
)

// maxEvaluation bounds a file that evaluate wrote: larger ones are a wrong path.
const maxEvaluation = 64 << 20

// ReportSourceError is a file that nothing can be reported of.
type ReportSourceError struct {
	Path    string
	Problem string
	Err     error
}

func (e *ReportSourceError) Error() string {
	s := e.Path + ": " + e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *ReportSourceError) Unwrap() error { return e.Err }

// ExitCode is that of a bad input file.
func (e *ReportSourceError) ExitCode() int { return 3 }

// evaluationFile is an Evaluation as a file holds it, of whatever version:
// measures that this one doesn't know are shown by their names.
type evaluationFile struct {
	File       string           `json:"file"`
	Data       string           `json:"data"`
	Recognised string           `json:"recognised"`
	Protocol   string           `json:"protocol"`
	Images     int              `json:"images"`
	Models     []evaluatedFile  `json:"models"`
	Pairs      []map[string]any `json:"pairs,omitempty"`
}

// evaluatedFile is one model of an evaluationFile.
type evaluatedFile struct {
	Model       string                  `json:"model"`
	Classes     int                     `json:"classes"`
	Top1        *Number                 `json:"top1,omitempty"`
	Top5        *Number                 `json:"top5,omitempty"`
	Intervals   map[string]intervalFile `json:"intervals,omitempty"`
	Calibration *calibrationFile        `json:"calibration,omitempty"`
	PerClass    []ClassScore            `json:"per_class,omitempty"`
	More        map[string]any          `json:"more,omitempty"` // what else was measured
}

type intervalFile struct {
	Low  Number `json:"low"`
	High Number `json:"high"`
}

type calibrationFile struct {
	ECE        Number `json:"ece"`
	Confidence Number `json:"mean_confidence"`
	Bins       []struct {
		Low        Number `json:"low"`
		High       Number `json:"high"`
		Count      int    `json:"count"`
		Confidence Number `json:"confidence"`
		Accuracy   Number `json:"accuracy"`
	} `json:"bins"`
}

// told are the keys of a model that aren't measures of their own, or are shown
// in their own place.
var told = []string{"model", "classes", "preprocess", "images", "right1", "right5", "top1", "top5", "intervals", "calibration", "per_class"}

// UnmarshalJSON implements json.Unmarshaler.
func (e *evaluatedFile) UnmarshalJSON(text []byte) error {
	type plain evaluatedFile
	if err := json.Unmarshal(text, (*plain)(e)); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &e.More); err != nil {
		return err
	}
	for _, key := range told {
		delete(e.More, key)
	}
	return nil
}

// readEvaluation reads what relevit --json evaluate printed.
func readEvaluation(path string) (e evaluationFile, err error) {
	bad := func(problem string, err error) (evaluationFile, error) {
		return e, &ReportSourceError{path, problem, err}
	}
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return bad("there is no such run and no such file", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.IsDir() {
		return bad("the folder holds no run (it has no "+configName+") and no batch", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxEvaluation+1))
	if err != nil {
		return bad("it can't be read", err)
	}
	const want = "expected a run's folder, or the object that relevit --json evaluate prints"
	if len(text) > maxEvaluation {
		return bad(fmt.Sprintf("it has more than %d MB; %s", maxEvaluation>>20, want), nil)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return bad("it is no JSON object; "+want, nil)
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return bad(want, err)
	}
	if e.File = path; len(e.Models) == 0 || e.Models[0].Model == "" {
		return bad("it names no models; "+want, nil)
	}
	return e, nil
}

// words writes a key as people do.
func words(key string) string {
	list := strings.Split(key, "_")
	for i, w := range list {
		list[i] = cmp.Or(spellings[w], w)
	}
	return strings.Join(list, " ")
}

var spellings = map[string]string{"top1": "top-1", "top5": "top-5", "ap": "AP", "iou": "IoU", "auc": "AUC", "mcnemar": "McNemar"}

// finding is one measured figure of a model.
type finding struct {
	name   string
	figure report.Figure
}

// findings are a model's figures, those that are known first.
func (e *evaluatedFile) findings() []finding {
	var out []finding
	share := func(name, key string, v *Number) {
		if v == nil {
			return
		}
		f := report.Figure{Interval: report.Exactly(float64(*v)), Unit: report.Percent}
		if i, ok := e.Intervals[key]; ok {
			f.Low, f.High = float64(i.Low), float64(i.High)
		}
		out = append(out, finding{name, f})
	}
	share("top-1", "top1", e.Top1)
	share("top-5", "top5", e.Top5)
	if c := e.Calibration; c != nil {
		share("mean confidence", "", &c.Confidence)
		share("expected calibration error", "", &c.ECE)
	}
	for _, key := range slices.Sorted(maps.Keys(e.More)) {
		out = append(out, flatten(words(key), e.More[key])...)
	}
	return out
}

// flatten lists the figures in a measure of whatever form: numbers, numbers
// with their interval, and those in objects and lists of them.
func flatten(name string, value any) []finding {
	if v, ok := numberIn(value); ok {
		return []finding{{name, plainFigure(v)}}
	}
	switch v := value.(type) {
	case []any:
		var out []finding
		for i, item := range v {
			out = append(out, flatten(fmt.Sprintf("%s, %s", name, itemName(item, i)), item)...)
		}
		return out
	case map[string]any:
		if f, rest, ok := withInterval(v); ok {
			return append([]finding{{name, f}}, flatten(name, rest)...)
		}
		var out []finding
		for _, key := range slices.Sorted(maps.Keys(v)) {
			below := name
			if key != "measures" {
				below += ", " + words(key)
			}
			out = append(out, flatten(below, v[key])...)
		}
		return out
	}
	return nil
}

// numberIn reads a number as Number writes it.
func numberIn(value any) (float64, bool) {
	switch v := value.(type) {
	case float64:
		return v, true
	case string:
		if v == "NaN" || v == "+Inf" || v == "-Inf" {
			x, err := strconv.ParseFloat(v, 64)
			return x, err == nil
		}
	}
	return 0, false
}

// itemName names an item of a list: by what it says that it is, or by its place.
func itemName(item any, i int) string {
	if m, ok := item.(map[string]any); ok {
		for _, key := range []string{"name", "part", "with", "factor", "value", "class"} {
			if s, ok := m[key].(string); ok && s != "" {
				return s
			}
		}
	}
	return fmt.Sprint(i + 1)
}

// withInterval reads an object that is a figure with low and high around it.
func withInterval(m map[string]any) (f report.Figure, rest map[string]any, ok bool) {
	low, hasLow := numberIn(m["low"])
	high, hasHigh := numberIn(m["high"])
	if !hasLow || !hasHigh {
		return f, nil, false
	}
	for _, key := range []string{"value", "difference", "mean", "top1"} {
		if v, ok := numberIn(m[key]); ok {
			f = plainFigure(v)
			if f.Interval = (report.Interval{Mean: v, Low: low, High: high}); low != high && f.Whole {
				f.Whole, f.Digits = false, 3
			}
			rest = maps.Clone(m)
			for _, k := range []string{key, "low", "high"} {
				delete(rest, k)
			}
			return f, rest, true
		}
	}
	return f, nil, false
}

// plainFigure writes whole numbers as such, and others to three places, or more
// where these would hold less than two digits.
func plainFigure(v float64) report.Figure {
	f := report.Figure{Interval: report.Exactly(v), Digits: 3}
	if f.Whole = v == math.Trunc(v); !f.Whole && math.Abs(v) < 0.01 {
		f.Digits = min(1-int(math.Floor(math.Log10(math.Abs(v)))), 12)
	}
	return f
}

// evaluationSections are an evaluation's part of a page.
func evaluationSections(e evaluationFile) []report.Section {
	name := filepath.Base(e.File)
	facts := []report.Fact{{Name: "data", Value: cmp.Or(e.Recognised, e.Data)}, {Name: "protocol", Value: e.Protocol}, {Name: "pictures", Value: fmt.Sprint(e.Images)}}
	for i, m := range e.Models {
		facts = append(facts, report.Fact{Name: fmt.Sprintf("model %d", i+1), Value: m.Model})
	}
	s := report.Section{Title: "Evaluation " + name, Facts: facts, Tables: []report.Table{measuresOf(e)}}
	if t, ok := pairsTable(e); ok {
		s.Tables = append(s.Tables, t)
	}
	out := []report.Section{s}
	var lines []report.Series
	for i, m := range e.Models {
		if m.Calibration != nil {
			lines = append(lines, reliability(e.label(i), m.Calibration.known()))
		}
	}
	if len(lines) > 0 {
		c := reliabilityChart(lines...)
		c.Caption = strings.Replace(c.Caption, fmt.Sprintf("%d bins", metrics.CalibrationBins), fmt.Sprintf("%d bins", len(e.Models[0].Calibration.known())), 1)
		out = append(out, report.Section{Title: "Calibration on " + name, Charts: []report.Chart{c}})
	}
	if t, ok := classesTable(e); ok {
		out = append(out, report.Section{Title: "Classes of " + name, Tables: []report.Table{t}})
	}
	return out
}

func (c *calibrationFile) known() []metrics.Bin {
	var bins []metrics.Bin
	if c == nil {
		return nil
	}
	for _, b := range c.Bins {
		bins = append(bins, metrics.Bin{Low: float64(b.Low), High: float64(b.High), Count: b.Count, Confidence: float64(b.Confidence), Accuracy: float64(b.Accuracy)})
	}
	return bins
}

// label names a model in tables: by the end of its path, with a number where
// others end so too.
func (e *evaluationFile) label(i int) string {
	stem := func(path string) string {
		base := filepath.Base(path)
		return strings.TrimSuffix(base, filepath.Ext(base))
	}
	base := stem(e.Models[i].Model)
	for j, m := range e.Models {
		if j != i && stem(m.Model) == base {
			return fmt.Sprintf("%s (model %d)", base, i+1)
		}
	}
	return base
}

// named is the label of the model with that path.
func (e *evaluationFile) named(path string) string {
	for i, m := range e.Models {
		if m.Model == path {
			return e.label(i)
		}
	}
	return path
}

// measuresOf is the table of an evaluation's figures, a column for each model.
func measuresOf(e evaluationFile) report.Table {
	t := report.Table{Title: "Figures", Caption: "In parentheses 95 % of bootstrap resamples of the pictures, where they were drawn.", Columns: []string{"Measure"}}
	var names []string
	cells := make([]map[string]report.Cell, len(e.Models))
	for i := range e.Models {
		t.Columns = append(t.Columns, e.label(i))
		cells[i] = map[string]report.Cell{}
		for _, f := range e.Models[i].findings() {
			if !slices.Contains(names, f.name) {
				names = append(names, f.name)
			}
			cells[i][f.name] = f.figure.Cell()
		}
	}
	for _, name := range names {
		row := []report.Cell{{Text: name}}
		for i := range e.Models {
			row = append(row, cells[i][name])
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// pairsTable sets models against each other.
func pairsTable(e evaluationFile) (report.Table, bool) {
	t := report.Table{Title: "Differences", Columns: []string{"Second less first", "Measure", "Figure"},
		Caption: "On the same pictures: by how much the second model's figure exceeds the first's, with 95 % of paired bootstrap resamples. McNemar's test counts pictures that only one of them is right on; p is how likely such an imbalance is by chance."}
	for _, p := range e.Pairs {
		first, second := "", ""
		rest := map[string]any{}
		for key, v := range p {
			text, isText := v.(string)
			switch {
			case isText && (key == "first" || key == "a"):
				first = e.named(text)
			case isText && (key == "second" || key == "b"):
				second = e.named(text)
			default:
				rest[key] = v
			}
		}
		for _, key := range slices.Sorted(maps.Keys(rest)) {
			for _, f := range flatten(words(key), rest[key]) {
				if f.name == "top-1" || f.name == "top-5" {
					f.figure.Unit, f.figure.Signed, f.figure.Whole, f.figure.Digits = report.Points, true, false, 0
				}
				t.Rows = append(t.Rows, []report.Cell{{Text: second + " less " + first}, {Text: f.name}, f.figure.Cell()})
			}
		}
	}
	return t, len(t.Rows) > 0
}

// classesTable sets the last model's classes against the first's; of one model
// it lists the classes by accuracy.
func classesTable(e evaluationFile) (report.Table, bool) {
	first, last := e.Models[0], e.Models[len(e.Models)-1]
	if len(first.PerClass) == 0 {
		return report.Table{}, false
	}
	top1 := func(s Score, unit string) report.Cell {
		return report.Figure{Interval: report.Exactly(float64(s.Top1)), Unit: unit}.Cell()
	}
	named := func(c ClassScore) report.Cell {
		if c.Name == "" || c.Name == c.Class {
			return report.Cell{Text: c.Class}
		}
		return report.Cell{Text: c.Class + " " + c.Name}
	}
	var rows []classRow
	if len(e.Models) == 1 {
		for _, c := range first.PerClass {
			rows = append(rows, classRow{change: float64(c.Top1), cells: []report.Cell{named(c), report.Count(c.Images).Cell(), top1(c.Score, report.Percent)}})
		}
		t := report.Table{Columns: []string{"Class", "Pictures", "Top-1"}, Caption: "Classes by top-1."}
		t.Rows, t.Caption = endsOf(rows, t.Caption, "highest", "lowest")
		return t, true
	}
	other := map[string]ClassScore{}
	for _, c := range last.PerClass {
		other[c.Class] = c
	}
	for _, c := range first.PerClass {
		o, ok := other[c.Class]
		if !ok {
			continue
		}
		change := report.Figure{Interval: report.Exactly(float64(o.Top1 - c.Top1)), Unit: report.Points, Signed: true}
		rows = append(rows, classRow{change: change.Mean, cells: []report.Cell{named(c), report.Count(c.Images).Cell(), top1(c.Score, report.Percent), top1(o.Score, report.Percent), change.Cell()}})
	}
	t := report.Table{Columns: []string{"Class", "Pictures", "Top-1 " + e.label(0), "Top-1 " + e.label(len(e.Models)-1), "Change"}, Caption: "Classes by the change of top-1."}
	rows, t.Caption = changed(rows, t.Caption)
	t.Rows, t.Caption = endsOf(rows, t.Caption, "largest gain", "largest loss")
	return t, len(t.Rows) > 0
}

// evaluationsTable sets models of several evaluations below each other.
func evaluationsTable(list []evaluationFile) report.Table {
	t := report.Table{Columns: []string{"Model", "Data", "Protocol", "Pictures", "Top-1", "Top-5", "Calibration error"}, Caption: "In parentheses 95 % of bootstrap resamples of the pictures, where they were drawn."}
	for _, e := range list {
		for i := range e.Models {
			row := []report.Cell{{Text: e.Models[i].Model}, {Text: e.Data}, {Text: e.Protocol}, report.Count(e.Images).Cell(), {}, {}, {}}
			for _, f := range e.Models[i].findings() {
				if at := slices.Index([]string{"top-1", "top-5", "expected calibration error"}, f.name); at >= 0 {
					row[4+at] = f.figure.Cell()
				}
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

package pipeline

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/pipeline/report"
)

// ReportOptions say of what to write a page, and where.
type ReportOptions struct {
	Sources []string // runs, and files that evaluate wrote
	Output  string   // "": the report.html of the one run
	Force   bool     // overwrite Output
}

// Reported is a page that was written.
type Reported struct {
	File  string `json:"file"`
	Bytes int    `json:"bytes"`
	report.Page
}

// Report writes one page on runs and evaluations.
func Report(opt ReportOptions) (*Reported, error) {
	var p report.Page
	var closings []report.Section
	for i, path := range opt.Sources {
		part, closing, err := reportOn(path)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			p.Title, p.Lead = part.Title, part.Lead
		}
		if countRuns(opt.Sources) > 1 && IsRun(path) {
			name := filepath.Base(path) + ": "
			for _, list := range [][]report.Section{part.Sections, closing} {
				for k := range list {
					list[k].Title = name + list[k].Title
				}
			}
			if i > 0 {
				part.Sections = append([]report.Section{{Title: name + part.Title, Text: []string{part.Lead}}}, part.Sections...)
			}
		}
		p.Sections, closings = append(p.Sections, part.Sections...), append(closings, closing...)
	}
	p.Sections = append(p.Sections, closings...)
	out := &Reported{File: opt.Output, Page: p}
	if out.File == "" {
		if len(opt.Sources) != 1 || !IsRun(opt.Sources[0]) {
			return nil, errors.New("state where to write the page of evaluations or of several runs")
		}
		out.File = (&Run{Dir: opt.Sources[0]}).Report() // which finetune wrote, from the same folder
	} else if err := Vacant(out.File, opt.Force); err != nil {
		return nil, err
	}
	return out, atomic.Write(out.File, func(w io.Writer) error { return report.Write(counting{w, &out.Bytes}, p) })
}

// counting counts the bytes that go through it.
type counting struct {
	w io.Writer
	n *int
}

func (c counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	*c.n += n
	return n, err
}

func countRuns(sources []string) int {
	n := 0
	for _, s := range sources {
		if IsRun(s) {
			n++
		}
	}
	return n
}

// reportOn is the page on one source, and what stands at its end.
func reportOn(path string) (p report.Page, closing []report.Section, err error) {
	if IsRun(path) {
		r, err := ReadRun(path)
		if err != nil {
			return p, nil, err
		}
		return runParts(r)
	}
	if IsBatch(path) {
		return p, nil, &ReportSourceError{Path: path, Problem: "it is a batch of runs; report one of them, or compare them"}
	}
	e, err := readEvaluation(path)
	if err != nil {
		return p, nil, err
	}
	return report.Page{Title: "Evaluation on " + filepath.Base(e.Data), Lead: e.lead(), Sections: evaluationSections(e)}, nil, nil
}

// lead says how often the models are right.
func (e *evaluationFile) lead() string {
	s := ""
	for i, m := range e.Models {
		if m.Top1 == nil {
			continue
		}
		if s != "" {
			s += ", "
		}
		s += fmt.Sprintf("%s is right on %.1f %%", e.label(i), 100**m.Top1)
	}
	if s == "" {
		return ""
	}
	return fmt.Sprintf("Of %s, %s.", counted(e.Images, "picture"), s)
}

// WriteComparison writes a comparison's page.
func WriteComparison(c *Comparison, path string, force bool) error {
	if err := Vacant(path, force); err != nil {
		return err
	}
	return atomic.Write(path, func(w io.Writer) error { return report.Write(w, *c.Page) })
}

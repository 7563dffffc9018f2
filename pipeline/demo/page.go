package demo

import (
	"fmt"
	"image"
	"io"
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/picture"
	"github.com/relevit/relevit/pipeline/report"
)

func (d *demo) writeReport(r *Result) error {
	sheet, err := d.sheet()
	if err != nil {
		return err
	}
	if err := overview(sheet, d.overview()); err != nil {
		return err
	}
	page, err := d.page(r, sheet)
	if err != nil {
		return err
	}
	return atomic.Write(r.Report, func(w io.Writer) error { return report.Write(w, page) })
}

// overview draws the first pictures of a sheet as one PNG, the picture at the
// head of README.md.
func overview(s report.Sheet, path string) error {
	const rows, size = 3, 160
	var lines []*picture.RGB
	for i, row := range s.Rows[:min(rows, len(s.Rows))] {
		var panels []picture.Panel
		for j, img := range row.Images {
			rgb, ok := img.(*picture.RGB)
			if !ok {
				return fmt.Errorf("%s: column %s holds no RGB picture", path, s.Columns[j])
			}
			large, err := picture.Resize(rgb, size, size, picture.Bicubic)
			if err != nil {
				return err
			}
			panel := picture.Panel{Picture: large}
			if i == 0 {
				panel.Label = s.Columns[j]
			}
			panels = append(panels, panel)
		}
		line, err := picture.Sheet(panels)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	whole, err := picture.Stack(lines)
	if err != nil {
		return err
	}
	return whole.SavePNG(path)
}

func (d *demo) page(r *Result, sheet report.Sheet) (report.Page, error) {
	charts, err := d.charts()
	if err != nil {
		return report.Page{}, err
	}
	p := report.Page{Title: "relevit demo: shapes instead of backgrounds", Lead: r.Summary(), Sections: []report.Section{
		{Title: "What was done", Command: d.opt.Command, Facts: []report.Fact{
			{Name: "model", Value: "a ViT of one block, 64 wide, 64 patches, which relevit itself trained from random weights on such pictures, without masks"},
			{Name: "finetuning", Value: fmt.Sprintf("%d pictures with masks, %d epochs, once for each of the seeds %s", r.Pictures, d.opt.Epochs, list(r.Seeds))},
			{Name: "test", Value: fmt.Sprintf("two sets of %d pictures, the same for all seeds, never trained on and not used to choose anything", r.Tested)},
			{Name: "exported model", Value: fmt.Sprintf("%s; compared with %s: %s; run by ONNX Runtime on %d pictures its logits, up to %.1f, differ by at most %.1g from the run's own",
				filepath.Base(r.Robust), filepath.Base(d.model()), r.Verdict, r.Tested, r.Largest, r.Logits)},
			{Name: "time", Value: fmt.Sprintf("%.0f s in all", r.Seconds)},
		}},
	}}
	for set := shifted; set >= usual; set-- {
		p.Sections = append(p.Sections, report.Section{Title: "Test pictures with " + setNames[set], Tables: []report.Table{measuresTable(r, setNames[set])}})
	}
	p.Sections = append(p.Sections,
		report.Section{Title: "What the masks do", Tables: []report.Table{ablationTable(r)}},
		report.Section{Title: "Each seed", Tables: []report.Table{seedTable(r)}},
		report.Section{Title: "Course of the run", Charts: charts},
		report.Section{Title: "Relevance before and after", Sheets: []report.Sheet{sheet}},
		report.Section{Title: "Notes", Text: d.notes()})
	return p, nil
}

// Summary says in a sentence or two what came out.
func (r *Result) Summary() string {
	accuracy, share := r.find(setNames[shifted], measures[0].name), r.find(setNames[shifted], measures[1].name)
	still := r.find(setNames[usual], measures[0].name)
	return fmt.Sprintf("On pictures whose backgrounds say nothing about the class, the model is right on %.1f %% before finetuning with masks and on %.1f %% after it; "+
		"%.1f %% of its relevance lies on the shape before and %.1f %% after. The same finetuning without masks ends at %.1f %% and %.1f %%. "+
		"Where the background betrays the class, as in training, it is right on %.1f %% before and %.1f %% after.",
		100*accuracy.Before.Mean, 100*accuracy.After.Mean, 100*share.Before.Mean, 100*share.After.Mean, 100*accuracy.NoMasks.Mean, 100*share.NoMasks.Mean, 100*still.Before.Mean, 100*still.After.Mean)
}

func (r *Result) find(set, measure string) Comparison {
	for _, c := range r.Comparisons {
		if c.Pictures == set && c.Measure == measure {
			return c
		}
	}
	return Comparison{}
}

func measuresTable(r *Result, set string) report.Table {
	var rows []report.Measure
	for _, c := range r.Comparisons {
		if c.Pictures != set {
			continue
		}
		change := c.Change.report()
		rows = append(rows, report.Measure{Name: c.Measure, Before: c.Before.report(), After: c.After.report(), Change: &change, Percent: true})
	}
	return report.Measures("", fmt.Sprintf("Means over %d seeds and %d pictures, with 95 %% intervals by drawing seeds and pictures anew.",
		len(r.Seeds), r.Tested), rows)
}

// ablationTable sets finetuning with masks beside the same without.
func ablationTable(r *Result) report.Table {
	t := report.Table{Columns: []string{"", "With masks", "Without", "Difference"},
		Caption: "After finetuning on the same pictures in the same order, with and without the mask losses."}
	for set := shifted; set >= usual; set-- {
		for _, m := range measures {
			c := r.find(setNames[set], m.name)
			t.Rows = append(t.Rows, []report.Cell{{Text: m.name + ", " + setNames[set]}, percent(c.After.Mean), percent(c.NoMasks.Mean),
				report.Figure{Interval: c.ByMasks.report(), Unit: report.Points, Signed: true}.Cell()})
		}
	}
	return t
}

// seedTable shows every seed, so that nobody has to trust a mean.
func seedTable(r *Result) report.Table {
	t := report.Table{Columns: []string{"", "Before"},
		Caption: "Backgrounds that say nothing; seeds differ in the pictures finetuned on, their order, crops and mirroring."}
	for _, seed := range r.Seeds {
		t.Columns = append(t.Columns, fmt.Sprintf("After, seed %d", seed))
	}
	for _, m := range measures {
		c := r.find(setNames[shifted], m.name)
		before := percent(c.Before.Mean)
		with, without := []report.Cell{{Text: m.name}, before}, []report.Cell{{Text: m.name + ", without masks"}, before}
		for i := range c.BySeed {
			with, without = append(with, percent(c.BySeed[i])), append(without, percent(c.NoMaskBySeed[i]))
		}
		t.Rows = append(t.Rows, with, without)
	}
	return t
}

func percent(x float64) report.Cell {
	return report.Figure{Interval: report.Exactly(x), Unit: report.Percent}.Cell()
}

func list(seeds []uint64) string {
	var s []string
	for _, seed := range seeds {
		s = append(s, fmt.Sprint(seed))
	}
	return strings.Join(s, ", ")
}

// charts draw how the first seed's runs went.
func (d *demo) charts() ([]report.Chart, error) {
	loss := report.Chart{Title: "Loss of the held-out finetuning pictures", XLabel: "epoch", YLabel: "loss", Caption: "Finetuning with masks, first seed."}
	share := report.Chart{Title: "Relevance on the foreground", XLabel: "epoch", YLabel: "share", Caption: "Of held-out finetuning pictures, first seed."}
	for _, masks := range []bool{true, false} {
		run, err := pipeline.ReadRun(d.runOf(0, masks))
		if err != nil {
			return nil, err
		}
		h, err := run.ReadLog()
		if err != nil {
			return nil, err
		}
		line := func(name string, value func(*pipeline.Metrics) pipeline.Number) report.Series {
			s := report.Series{Name: name}
			add := func(epoch int, m *pipeline.Metrics) {
				if m != nil {
					s.X, s.Y = append(s.X, float64(epoch)), append(s.Y, float64(value(m)))
				}
			}
			if h.Start != nil {
				add(0, h.Start.Validation)
			}
			for _, e := range h.Epochs {
				add(e.Epoch+1, e.Validation)
			}
			return s
		}
		if masks {
			loss.Series = []report.Series{
				line("total", func(m *pipeline.Metrics) pipeline.Number { return m.Loss }),
				line("background", func(m *pipeline.Metrics) pipeline.Number { return m.Background }),
				line("foreground", func(m *pipeline.Metrics) pipeline.Number { return m.Foreground }),
				line("classification", func(m *pipeline.Metrics) pipeline.Number { return m.Classification })}
		}
		name := map[bool]string{true: "with masks", false: "without"}[masks]
		share.Series = append(share.Series, line(name, func(m *pipeline.Metrics) pipeline.Number { return m.ForegroundShare }))
	}
	return []report.Chart{loss, share}, nil
}

// sheet shows the first picture of each class, whatever came out of it.
func (d *demo) sheet() (report.Sheet, error) {
	s := report.Sheet{Columns: []string{"picture", "mask", "before", "after"},
		Caption: "The first test picture of each class with a background that says nothing. Light is relevant to the right class; below, the class that the model takes it for and the share of the relevance on the shape. First seed."}
	for i, before := range d.before[shifted].shown {
		after := d.masks[0][shifted].shown[i]
		row := report.SheetRow{Label: Classes[before.label], Images: []image.Image{before.image, before.mask.RGB()}, Notes: report.Texts("", "")}
		for _, v := range []shown{before, after} {
			overlay, err := picture.Overlay(v.image, v.relevance, overlayOpacity)
			if err != nil {
				return s, err
			}
			row.Images = append(row.Images, overlay)
			row.Notes = append(row.Notes, report.Cell{Text: fmt.Sprintf("%s, %.0f %%", Classes[v.prediction], 100*v.share), Value: &v.share, Unit: report.Percent})
		}
		s.Rows = append(s.Rows, row)
	}
	return s, nil
}

// overlayOpacity shows the map and lets the picture through.
const overlayOpacity = 0.6

// notes say what a reader has to know to judge the figures.
func (d *demo) notes() []string {
	return []string{
		fmt.Sprintf("The pictures are made for this: a pale shape, which is the class, in a patch of shade, before a background whose colour and texture go with the class in %.0f %% of the pictures that the model is finetuned on (and in the others by chance). So one picture in twelve says that the background isn't the object, which is what the finetuning without masks has to go by. The shade keeps the background out of the shape's own patches; photographs are less tidy.", 100*usually),
		"Learning rate, loss weights and number of epochs were chosen once by trial, on other pictures and other seeds than those of this page. So was the starting point, a model of a single block that knows hardly anything but backgrounds: in trials with four blocks, and with models that knew the shapes in part already, the relevance moved onto the shapes too, but the accuracy did not rise. The checkpoint of each run is the one with the lowest loss on a tenth of its own finetuning pictures, held out.",
		"Relevance is measured for the right class, by the method that the finetuning optimises: its rise shows that the finetuning does what it optimises. Only the accuracy on backgrounds that say nothing shows whether that helps; guessing gives 16.7 %.",
	}
}

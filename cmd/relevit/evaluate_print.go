package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/relevit/relevit/pipeline"
)

// describeEvaluation prints what was measured for people.
func describeEvaluation(w io.Writer, e *pipeline.Evaluation) {
	if slices.Contains(e.Measures, pipeline.MeasureAccuracy) {
		describeAccuracy(w, e)
	}
	if slices.Contains(e.Measures, pipeline.MeasureSegmentation) {
		describeSegmentation(w, e)
	}
	if slices.Contains(e.Measures, pipeline.MeasureRelevance) {
		describeRelevance(w, e)
	}
	if slices.Contains(e.Measures, pipeline.MeasureRandomisation) {
		describeRandomisation(w, e)
	}
	if slices.Contains(e.Measures, pipeline.MeasureBackground) {
		describeBackground(w, e)
	}
	if e.Synthesis != nil {
		describeSynthesis(w, e)
	}
	for _, s := range e.Skipped {
		fmt.Fprintf(w, "counted out: %s: %s\n", plain(s.Picture), plain(s.Reason))
	}
	fmt.Fprintf(w, "%d images of %s by protocol %s in %.1f s, %.1f a second", e.Images, e.Layout, e.Protocol, float64(e.Seconds), float64(e.Rate))
	if n := len(e.Skipped); n > 0 {
		fmt.Fprintf(w, "; %d counted out", n)
	}
	fmt.Fprintln(w)
}

func percent(v pipeline.Number) string { return fmt.Sprintf("%.2f %%", 100*float64(v)) }

// within is a value with its interval.
func within(v, low, high pipeline.Number, scale float64, digits int) string {
	number := func(v pipeline.Number) string { return fmt.Sprintf("%.*f", digits, scale*float64(v)) }
	return fmt.Sprintf("%s (%s to %s)", number(v), number(low), number(high))
}

func describeAccuracy(w io.Writer, e *pipeline.Evaluation) {
	heading := []string{"MODEL", "TOP-1", "TOP-5"}
	for _, p := range e.Models[0].Parts {
		heading = append(heading, strings.ToUpper(p.Part))
	}
	var lines, details [][]string
	for _, m := range e.Models {
		cells := []string{m.Model, percent(m.Top1), percent(m.Top5)}
		for _, p := range m.Parts {
			cells = append(cells, percent(p.Top1))
		}
		lines = append(lines, cells)
		i := m.Intervals
		details = append(details, []string{m.Model, fmt.Sprintf("%.2f to %.2f", 100*float64(i.Top1.Low), 100*float64(i.Top1.High)),
			fmt.Sprintf("%.2f to %.2f", 100*float64(i.Top5.Low), 100*float64(i.Top5.High)), percent(m.Calibration.Confidence), percent(m.Calibration.ECE)})
	}
	table(w, heading, lines)
	fmt.Fprintln(w)
	table(w, []string{"95 % INTERVALS", "TOP-1", "TOP-5", "MEAN CONFIDENCE", "CALIBRATION ERROR"}, details)
	fmt.Fprintln(w)
	if len(e.Pairs) == 0 {
		return
	}
	lines = nil
	for _, p := range e.Pairs {
		lines = append(lines, []string{p.Second + " - " + p.First, within(p.Top1.Difference, p.Top1.Low, p.Top1.High, 100, 2), within(p.Top5.Difference, p.Top5.Low, p.Top5.High, 100, 2),
			fmt.Sprintf("%d, %d", p.McNemar.OnlySecond, p.McNemar.OnlyFirst), fmt.Sprintf("%.2g", float64(p.McNemar.P))})
	}
	table(w, []string{"DIFFERENCE", "TOP-1, POINTS", "TOP-5, POINTS", "ONLY IT, ONLY THE OTHER RIGHT", "MCNEMAR'S P"}, lines)
	fmt.Fprintln(w)
}

func describeSegmentation(w io.Writer, e *pipeline.Evaluation) {
	var lines [][]string
	for _, m := range e.Models {
		cells := []string{m.Model}
		for _, v := range []pipeline.Measured{m.Segmentation.PixelAccuracy, m.Segmentation.MeanIoU, m.Segmentation.MeanAP} {
			cells = append(cells, within(v.Value, v.Low, v.High, 100, 2))
		}
		lines = append(lines, cells)
	}
	table(w, []string{"SEGMENTATION, %", "PIXEL ACCURACY", "MEAN IOU", "MEAN AP"}, lines)
	fmt.Fprintln(w)
}

func describeRelevance(w io.Writer, e *pipeline.Evaluation) {
	heading := []string{"RELEVANCE"}
	for _, m := range e.Models {
		heading = append(heading, m.Model)
	}
	var lines [][]string
	for _, name := range pipeline.Qualities() {
		cells := []string{strings.ReplaceAll(name, "_", " ")}
		for _, m := range e.Models {
			if v, ok := m.Relevance.Measures[name]; ok {
				cells = append(cells, within(v.Value, v.Low, v.High, 1, 3))
			}
		}
		if len(cells) == len(heading) {
			lines = append(lines, cells)
		}
	}
	table(w, heading, lines)
	fmt.Fprintln(w)
}

func describeRandomisation(w io.Writer, e *pipeline.Evaluation) {
	for _, m := range e.Models {
		if m.Randomisation == nil {
			continue
		}
		var lines [][]string
		for _, s := range m.Randomisation.Stages {
			lines = append(lines, []string{fmt.Sprintf("block %d", s.Block), count(int64(s.Parameters)), within(s.Similarity.Value, s.Similarity.Low, s.Similarity.High, 1, 3)})
		}
		lines[0][0] = "the output"
		table(w, []string{"RANDOM DOWN TO", "NUMBERS", "LIKENESS OF " + m.Model + "'S MAPS"}, lines)
		fmt.Fprintln(w)
	}
}

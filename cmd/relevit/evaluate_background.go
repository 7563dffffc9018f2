package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/relevit/relevit/pipeline"
)

// describeBackground prints how much predictions rest on the background: models
// side by side, what was done to the pictures line by line.
func describeBackground(w io.Writer, e *pipeline.Evaluation) {
	heading := []string{"PICTURES, % RIGHT (95 % INTERVAL)"}
	for _, m := range e.Models {
		heading = append(heading, m.Model)
	}
	var lines [][]string
	line := func(name string, of func(b *pipeline.Background) string) {
		cells := []string{name}
		for _, m := range e.Models {
			cells = append(cells, of(m.Background))
		}
		lines = append(lines, cells)
	}
	variant := func(name string, at func(b *pipeline.Background) pipeline.VariantScore) {
		line(name, func(b *pipeline.Background) string {
			v := at(b)
			return hundredths(v.Top1, v.Low, v.High)
		})
	}
	estimate := func(name string, at func(b *pipeline.Background) pipeline.Estimate) {
		line(name, func(b *pipeline.Background) string {
			v := at(b)
			return hundredths(v.Value, v.Low, v.High)
		})
	}
	first := e.Models[0].Background
	variant("as they are", func(b *pipeline.Background) pipeline.VariantScore { return b.Original })
	for i, v := range first.Replaced {
		variant("background replaced: "+v.With, func(b *pipeline.Background) pipeline.VariantScore { return b.Replaced[i] })
	}
	for i, v := range first.Removed {
		variant("object removed: "+v.With, func(b *pipeline.Background) pipeline.VariantScore { return b.Removed[i] })
	}
	estimate("by the object (noise, other)", func(b *pipeline.Background) pipeline.Estimate { return b.ObjectOnly })
	estimate("by the background (object removed)", func(b *pipeline.Background) pipeline.Estimate { return b.BackgroundOnly })
	estimate("gap", func(b *pipeline.Background) pipeline.Estimate { return b.Gap })
	if first.Mixed != nil {
		estimate("same class's background less another's", func(b *pipeline.Background) pipeline.Estimate { return b.Mixed.Gap })
	}
	table(w, heading, lines)
	fmt.Fprintf(w, "%d pictures with an object and a background\n\n", first.Images)
}

// hundredths is a share with its interval, in percent.
func hundredths(v, low, high pipeline.Number) string {
	return fmt.Sprintf("%.1f (%.1f to %.1f)", 100*float64(v), 100*float64(low), 100*float64(high))
}

// describeSynthesis prints accuracies on pasted objects: by factor, and for each
// model by value.
func describeSynthesis(w io.Writer, e *pipeline.Evaluation) {
	heading := []string{"OBJECTS PASTED, % RIGHT (95 % INTERVAL)"}
	var lines [][]string
	for _, p := range e.Models[0].Synthesis {
		heading = append(heading, strings.ToUpper(p.Factor))
	}
	for _, m := range e.Models {
		cells := []string{m.Model}
		for _, p := range m.Synthesis {
			cells = append(cells, hundredths(p.Top1, p.Low, p.High))
		}
		lines = append(lines, cells)
	}
	table(w, heading, lines)
	fmt.Fprintln(w)
	for i, p := range e.Models[0].Synthesis {
		if lines = grid(e.Models[0].Synthesis[i]); lines != nil {
			for k, m := range e.Models {
				table(w, []string{strings.ToUpper(p.Factor) + " (DOWN, ACROSS), " + m.Model}, nil)
				table(w, lines[0], grid(e.Models[k].Synthesis[i])[1:])
			}
			fmt.Fprintln(w)
			continue
		}
		heading, lines = []string{strings.ToUpper(p.Factor)}, nil
		for _, v := range p.Values {
			heading = append(heading, valueName(p.Factor, v))
		}
		for _, m := range e.Models {
			cells := []string{m.Model}
			for _, v := range m.Synthesis[i].Values {
				cells = append(cells, whole(v))
			}
			lines = append(lines, cells)
		}
		table(w, heading, lines)
		fmt.Fprintln(w)
	}
	s := e.Synthesis
	objects := "objects"
	if s.Objects == 1 {
		objects = "object"
	}
	fmt.Fprintf(w, "%d pictures of %d %s in %.1f s, %.1f a second", s.Images, s.Objects, objects, float64(s.Seconds), float64(s.Rate))
	if s.LeftOut > 0 {
		fmt.Fprintf(w, "; %d left out, without an object or a background", s.LeftOut)
	}
	if s.Kept != "" {
		fmt.Fprintf(w, "; kept in %s", plain(s.Kept))
	}
	fmt.Fprint(w, "\n\n")
}

// whole is an accuracy in whole percent.
func whole(v pipeline.SynthesisValue) string { return fmt.Sprintf("%.0f", 100*float64(v.Top1)) }

func valueName(factor string, v pipeline.SynthesisValue) string {
	if factor == "area" {
		return strconv.FormatFloat(100*float64(v.Area), 'g', 4, 64) + " %"
	}
	return strconv.FormatFloat(float64(v.Degrees), 'g', 4, 64) + "°"
}

// grid lays out a part that varies places: the columns first, then the rows; nil
// for any other.
func grid(p pipeline.SynthesisPart) [][]string {
	if p.Factor != "location" {
		return nil
	}
	lines := [][]string{{""}}
	for i, v := range p.Values {
		if i == 0 || v.Y != p.Values[i-1].Y {
			lines = append(lines, []string{fmt.Sprintf("%.0f %%", 100*float64(v.Y))})
		}
		if len(lines) == 2 {
			lines[0] = append(lines[0], fmt.Sprintf("%.0f %%", 100*float64(v.X)))
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], whole(v))
	}
	return lines
}

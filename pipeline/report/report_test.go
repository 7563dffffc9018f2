package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"image"
	"image/color"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/relevit/relevit/pipeline/report/reporttest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func checks(a, b color.Color) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, 2, 2))
	img.Set(0, 0, a)
	img.Set(1, 1, a)
	img.Set(1, 0, b)
	img.Set(0, 1, b)
	return img
}

// samplePage has every part of a page, with text that must be escaped.
func samplePage() Page {
	steps := Series{Name: "total"}
	background := Series{Name: "background"}
	for i := range 600 {
		steps.X, steps.Y = append(steps.X, float64(i)), append(steps.Y, 0.2+0.6/(1+float64(i)/50))
		background.X, background.Y = append(background.X, float64(i)), append(background.Y, 0.1/(1+float64(i)/90))
	}
	change := Interval{0.203, 0.12, 0.286}
	unclear := Interval{-0.01, -0.03, 0.01}
	grey, red := color.Gray{Y: 90}, color.NRGBA{R: 200, A: 255}
	return Page{
		Title: "Shapes before backgrounds <demo>",
		Lead:  "Training with masks moved the relevance onto the shapes & raised the accuracy where backgrounds no longer betray the class.",
		Sections: []Section{
			{Title: "What was done", Command: "relevit demo -o demo && relevit verify \"demo/a.onnx\" demo/b.onnx",
				Facts: []Fact{{"Model", "tiny ViT, 4 blocks, 64 wide"}, {"Pictures", "600 for training, 1,200 for the test"}}},
			{Title: "Figures", Tables: []Table{
				Measures("", "Means over 5 seeds with 95 % intervals; test pictures were never trained on.", []Measure{
					{Name: "Accuracy, honest backgrounds", Before: Interval{0.512, 0.48, 0.54}, After: Interval{0.715, 0.67, 0.75}, Change: &change, Percent: true},
					{Name: "Accuracy, betraying backgrounds", Before: Exactly(0.99), After: Exactly(0.98), Change: &unclear, Percent: true},
					{Name: "Loss", Before: Exactly(1.2), After: Exactly(0.8), LowerIsBetter: true},
					{Name: "Peak memory", Before: Exactly(math.NaN()), After: Exactly(math.NaN())},
				}),
				{Title: "Files", Columns: []string{"File", "Bytes"}, Rows: [][]Cell{{{Text: "robust.onnx"}, Count(812345).Cell()}}},
			}},
			{Title: "Course of the run", Charts: []Chart{
				{Title: "Losses of the training steps", Caption: "Averaged for drawing.", XLabel: "step", YLabel: "loss", Series: []Series{steps, background}},
				{Title: "Validation", XLabel: "epoch", YLabel: "accuracy", Series: []Series{{Name: "honest", X: []float64{0, 1, 2, 3}, Y: []float64{0.51, math.NaN(), 0.66, 0.71}}}},
				{Title: "Nothing", XLabel: "epoch", YLabel: "accuracy"},
				{Title: "Reliability", XLabel: "confidence", YLabel: "accuracy", Reliability: true,
					Series: []Series{{Name: "after", X: []float64{0.25, 0.95}, Y: []float64{0.5, 0.9}, Weights: []float64{2, 10}}}},
			}},
			{Title: "Relevance before and after", Sheets: []Sheet{{
				Caption: "Light is relevant.",
				Columns: []string{"Original", "Mask", "Before", "After"},
				Rows: []SheetRow{
					{Label: "star on red lattice", Images: []image.Image{checks(red, grey), checks(color.Black, color.White), checks(grey, red), nil},
						Notes: Texts("", "", "ring, 0.71", "star, 0.93")},
				},
			}}},
			{Title: "Left out"},
			{Title: "Notes", Text: []string{"The model & its pictures are small.", "Figures of photographs: see the README."}},
		},
	}
}

func TestWriteMatchesGolden(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, samplePage()); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "page.golden.html")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the page differs from %s; look at the difference after go test ./pipeline/report -update", golden)
	}
}

func TestPageNeedsNoOtherFile(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, samplePage()); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"http://", "https://", "<script", "<link", "url(", "ZgotmplZ", "&lt;svg"} {
		if strings.Contains(page, bad) {
			t.Errorf("found %q in the page", bad)
		}
	}
	if strings.Count(page, "<img") != strings.Count(page, `src="data:image/`) || strings.Count(page, "<img") != strings.Count(page, `alt="`) {
		t.Error("an image lacks its data URI or its alternative text")
	}
}

func TestPageIsWellFormed(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, samplePage()); err != nil {
		t.Fatal(err)
	}
	dec := xml.NewDecoder(&b)
	dec.Entity = xml.HTMLEntity
	for {
		if _, err := dec.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestHeadingsDescendInSteps leaves no level out, as screen readers need it.
func TestHeadingsDescendInSteps(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, samplePage()); err != nil {
		t.Fatal(err)
	}
	last := byte('0')
	for _, m := range regexp.MustCompile(`<h([1-6])>`).FindAllStringSubmatch(b.String(), -1) {
		if m[1][0] > last+1 {
			t.Errorf("h%s follows h%c", m[1], last)
		}
		last = m[1][0]
	}
	if last == '0' {
		t.Error("there are no headings")
	}
}

// TestColoursContrast holds text and lines to WCAG's 4.5 on their grounds, in
// the light, in the dark and on paper.
func TestColoursContrast(t *testing.T) {
	themes := regexp.MustCompile(`:root \{([^}]*)\}`).FindAllStringSubmatch(pageCSS, -1)
	if len(themes) != 3 {
		t.Fatalf("%d sets of colours, want 3", len(themes))
	}
	for i, theme := range themes {
		colours := map[string]float64{} // relative luminance
		for _, m := range regexp.MustCompile(`--(\w+): #([0-9a-f]+)`).FindAllStringSubmatch(theme[1], -1) {
			hex := m[2]
			if len(hex) == 3 {
				hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
			}
			v, err := strconv.ParseUint(hex, 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			linear := func(c uint64) float64 {
				if x := float64(c&255) / 255; x > 0.04045 {
					return math.Pow((x+0.055)/1.055, 2.4)
				} else {
					return x / 12.92
				}
			}
			colours[m[1]] = 0.2126*linear(v>>16) + 0.7152*linear(v>>8) + 0.0722*linear(v)
		}
		for name, c := range colours {
			for _, ground := range []string{"ground", "panel"} {
				if name == "ground" || name == "panel" || name == "edge" {
					continue
				}
				ratio := (max(c, colours[ground]) + 0.05) / (min(c, colours[ground]) + 0.05)
				if ratio < 4.5 {
					t.Errorf("theme %d: %s on %s has contrast %.2f", i, name, ground, ratio)
				}
			}
		}
		if len(colours) < 9 {
			t.Errorf("theme %d has %d colours", i, len(colours))
		}
	}
}

// TestJSONRepeatsEveryFigure reads every number in the page's tables back from
// the JSON, to the digits that the page shows.
func TestJSONRepeatsEveryFigure(t *testing.T) {
	var b bytes.Buffer
	p := samplePage()
	if err := Write(&b, p); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := reporttest.Repeats(b.Bytes(), text); err != nil || n < 15 {
		t.Errorf("the page shows %d figures: %v", n, err)
	}
	wrong := bytes.Replace(text, []byte("0.715"), []byte("0.725"), 1)
	if _, err := reporttest.Repeats(b.Bytes(), wrong); err == nil {
		t.Error("a figure that is not the page's went unseen")
	}
}

func TestEmptyPartsAreLeftOut(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, Page{Title: "Empty"}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<section>") {
		t.Errorf("found a section in %s", b.String())
	}
}

func TestWriteRefusesPartsThatDoNotFit(t *testing.T) {
	for name, p := range map[string]Page{
		"cells":    {Sections: []Section{{Tables: []Table{{Title: "cells", Columns: []string{"a", "b"}, Rows: [][]Cell{Texts("1")}}}}}},
		"points":   {Sections: []Section{{Charts: []Chart{{Title: "points", Series: []Series{{X: []float64{1}}}}}}}},
		"pictures": {Sections: []Section{{Title: "pictures", Sheets: []Sheet{{Columns: []string{"a"}, Rows: []SheetRow{{}}}}}}},
	} {
		if err := Write(io.Discard, p); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("found %v, want an error that names %q", err, name)
		}
	}
}

func TestMeasuresCallAChangeClearOnlyWithoutZeroInItsInterval(t *testing.T) {
	for want, m := range map[string]Measure{
		"+20.0 points (+10.0 to +30.0): better":            {Change: &Interval{0.2, 0.1, 0.3}, Percent: true},
		"\u22120.200 (\u22120.300 to \u22120.100): better": {Change: &Interval{-0.2, -0.3, -0.1}, LowerIsBetter: true},
		"\u22120.200 (\u22120.300 to \u22120.100): worse":  {Change: &Interval{-0.2, -0.3, -0.1}},
		"+0.20 (\u22120.10 to +0.50): no clear change":     {Change: &Interval{0.2, -0.1, 0.5}, Digits: 2},
		"+0.500": {Before: Exactly(1), After: Exactly(1.5)},
		"0.000":  {Before: Exactly(1), After: Exactly(0.9999999)},
	} {
		if got := strings.ReplaceAll(m.change().Text, nbsp, " "); got != want {
			t.Errorf("found %q, want %q", got, want)
		}
	}
}

func TestChartsKeepEveryLineInside(t *testing.T) {
	for name, s := range map[string]Series{
		"constant":   {X: []float64{0, 1}, Y: []float64{3, 3}},
		"one point":  {X: []float64{5}, Y: []float64{-2}},
		"zero":       {X: []float64{0}, Y: []float64{0}},
		"tiny":       {X: []float64{0, 1}, Y: []float64{1e-30, 2e-30}},
		"huge":       {X: []float64{0, 1e9}, Y: []float64{-1e30, 1e30}},
		"negative":   {X: []float64{-3, -1}, Y: []float64{-0.7, -0.1}},
		"narrow":     {X: []float64{0, 1}, Y: []float64{1, 1 + 1e-15}},
		"infinities": {X: []float64{0, 1, 2}, Y: []float64{math.Inf(1), 1, math.NaN()}},
	} {
		drawn, err := Chart{Series: []Series{s}}.draw(0)
		if err != nil {
			t.Fatal(err)
		}
		if len(drawn.YTicks) < 2 || len(drawn.YTicks) > 12 {
			t.Errorf("%s: found %d ticks", name, len(drawn.YTicks))
		}
		for _, m := range drawn.Lines[0].Markers {
			if !(m.X >= plotLeft && m.X <= plotRight && m.Y >= plotTop && m.Y <= plotBottom) {
				t.Errorf("%s: point at %v lies outside the plot", name, m)
			}
		}
	}
}

func TestLongSeriesAreAveraged(t *testing.T) {
	var s Series
	for i := range 10 * maxPoints {
		s.X, s.Y = append(s.X, float64(i)), append(s.Y, float64(i%2))
	}
	thin := s.thinned()
	if len(thin.X) != maxPoints || thin.X[0] != 4.5 || thin.Y[0] != 0.5 {
		t.Errorf("found %d points, the first (%g, %g)", len(thin.X), thin.X[0], thin.Y[0])
	}
}

func TestPhotographsBecomeJPEG(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noisy := image.NewNRGBA(image.Rect(0, 0, 224, 224))
	for y := range 224 {
		for x := range 224 {
			noisy.Set(x, y, color.NRGBA{R: uint8(x + rng.IntN(8)), G: uint8(y + rng.IntN(8)), B: uint8((x+y)/2 + rng.IntN(8)), A: 255})
		}
	}
	uri, err := dataURI(noisy)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(uri), "data:image/jpeg;") {
		t.Errorf("found %.30s of %d bytes", uri, len(uri))
	}
}

func TestShapesStayExact(t *testing.T) {
	shapes := image.NewNRGBA(image.Rect(0, 0, 96, 96))
	for y := range 96 {
		for x := range 96 {
			shapes.Set(x, y, color.NRGBA{R: uint8(x / 32 * 80), G: uint8(y / 48 * 255), A: 255})
		}
	}
	uri, err := dataURI(shapes)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(uri), "data:image/png;") {
		t.Errorf("found %.30s of %d bytes", uri, len(uri))
	}
}

package demo

import (
	"bytes"
	"flag"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/relevit/relevit/pipeline"
	scenery "github.com/relevit/relevit/pipeline/background"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// updateSheet writes docs/background.png anew:
//
//	go test ./pipeline/demo -run TestVariantsOfTheDocumentation -update-sheet
var updateSheet = flag.Bool("update-sheet", false, "write the picture of the documentation anew")

// sheetFile shows what evaluate makes of pictures.
var sheetFile = filepath.Join("..", "..", "docs", "background.png")

func TestVariantsOfTheDocumentationAreThoseThatAreMade(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("generated pictures are the same to the bit on amd64 alone")
	}
	pictures, err := Generate(912, 6, Options{Size: 96, Betray: 1})
	if err != nil {
		t.Fatal(err)
	}
	cut := func(p Picture) (*picture.RGB, *scenery.Cut) {
		rgb, mask := &picture.RGB{W: p.Size, H: p.Size, Pix: p.RGB}, &picture.Gray{W: p.Size, H: p.Size, Pix: p.Mask}
		c, err := scenery.New(rgb, mask, scenery.Edge)
		if err != nil {
			t.Fatal(err)
		}
		return rgb, c
	}
	var rows []*picture.RGB
	row := func(panels []picture.Panel) {
		line, err := picture.Sheet(panels)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, line)
	}
	for i, p := range []Picture{pictures[3], pictures[5]} {
		rgb, c := cut(p)
		_, next := cut(pictures[i])
		other, err := c.OtherReplaced(next.BlurRemoved())
		if err != nil {
			t.Fatal(err)
		}
		row([]picture.Panel{{Picture: rgb, Label: "picture"}, {Picture: c.MeanReplaced(), Label: "mean"}, {Picture: c.BlurReplaced(), Label: "blur"},
			{Picture: c.NoiseReplaced(dataset.Random(0, "noise", uint64(i), 0)), Label: "noise"}, {Picture: other, Label: "other"},
			{Picture: c.MeanRemoved(), Label: "no obj.: mean"}, {Picture: c.BlurRemoved(), Label: "no obj.: blur"}})
	}
	_, star := cut(pictures[5])
	_, ground := cut(pictures[1])
	canvas, err := scenery.Canvas(ground.BlurRemoved())
	if err != nil {
		t.Fatal(err)
	}
	var panels []picture.Panel
	all := scenery.Placements()
	for _, at := range []int{3, 6, 9, 13 + 6, 13 + 18, 38 + 2, 38 + 9} {
		p := all[at]
		scaled, err := star.Object().Scaled(p.Area)
		if err != nil {
			t.Fatal(err)
		}
		small, err := picture.Resize(scaled.Rotated(p.Degrees).Pasted(canvas, p.X, p.Y), 96, 96, picture.Bilinear)
		if err != nil {
			t.Fatal(err)
		}
		panels = append(panels, picture.Panel{Picture: small, Label: p.Factor})
	}
	row(panels)
	sheet, err := picture.Stack(rows)
	if err != nil {
		t.Fatal(err)
	}
	if *updateSheet {
		if err := sheet.SavePNG(sheetFile); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := picture.ReadFile(sheetFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept.Pix, sheet.Pix) {
		t.Error("docs/background.png shows something else; see updateSheet")
	}
}

// TestTheEmbeddedModelIsFoundToRestOnBackgrounds, which is what it was trained to
// do. It knows their colours, so that mean and blur take nothing from it.
func TestTheEmbeddedModelIsFoundToRestOnBackgrounds(t *testing.T) {
	e := evaluatedHere(t, 90, pipeline.EvaluateOptions{Measure: []string{pipeline.MeasureAccuracy, pipeline.MeasureBackground}})
	b := e.Models[0].Background
	t.Logf("right %.2f; by objects %.2f, by backgrounds %.2f; gap %.2f (%.2f to %.2f); mixed %+v", float64(b.Original.Top1),
		float64(b.ObjectOnly.Value), float64(b.BackgroundOnly.Value), float64(b.Gap.Value), float64(b.Gap.Low), float64(b.Gap.High), b.Mixed)
	for _, v := range append(b.Replaced, b.Removed...) {
		t.Logf("%s: %.2f", v.With, float64(v.Top1))
	}
	if b.Images != 90 || b.Gap.High >= 0 || b.BackgroundOnly.Value < b.Original.Top1-0.1 || b.ObjectOnly.Value > 0.25 {
		t.Errorf("it isn't found: %+v", b)
	}
	if m := b.Mixed; m == nil || m.Gap.Low <= 0 {
		t.Errorf("its backgrounds' class doesn't show: %+v", m)
	}
}

package pipeline

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/benchmark/benchmarktest"
	"github.com/relevit/relevit/pipeline/picture"
)

// seedOfTheEmpty draws the picture whose mask is empty among three.
const seedOfTheEmpty = 3

// synthesized evaluates models on objects pasted elsewhere.
func synthesized(t *testing.T, opt EvaluateOptions) *Evaluation {
	t.Helper()
	opt.Synthesize, opt.Measure, opt.Strict = true, []string{MeasureAccuracy}, true
	e, err := Evaluate(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestPastedObjectsAreSeenWhereTheyLie has a model that looks at the middle of the
// picture and one that looks at a corner for what was behind the object.
func TestPastedObjectsAreSeenWhereTheyLie(t *testing.T) {
	orttest.Need(t)
	images, masks := writeObjects(t)
	models := []string{objectModel.write(t), backgroundModel.write(t)}
	keep := filepath.Join(t.TempDir(), "kept")
	e := synthesized(t, EvaluateOptions{Models: models, Data: images, Masks: masks, Samples: 3, Seed: seedOfTheEmpty, Keep: keep})
	if s := e.Synthesis; s == nil || s.Objects != 2 || s.LeftOut != 1 || s.Images != 2*56 || s.Kept != keep {
		t.Fatalf("%+v", s)
	}
	for i, want := range [][3]int{{2 * 13, 2, 2 * 18}, {0, 0, 0}} { // of the 25 places the middle
		parts := e.Models[i].Synthesis
		if len(parts) != 3 {
			t.Fatalf("%+v", parts)
		}
		for k, p := range parts {
			sum := 0
			for _, v := range p.Values {
				sum += v.Right1
				if v.Images != 2 || p.Factor == "location" && (v.Right1 == 2) != (i == 0 && v.X == 0.5 && v.Y == 0.5) {
					t.Errorf("model %d, %s: %+v", i, p.Factor, v)
				}
			}
			if p.Right1 != want[k] || sum != want[k] || p.Images != 2*len(p.Values) || math.Abs(float64(p.Low-p.Top1)) > 1e-12 || math.Abs(float64(p.High-p.Top1)) > 1e-12 {
				t.Errorf("model %d, %s: %+v, want %d right", i, p.Factor, p.Score, want[k])
			}
		}
	}
	readBack(t, e, models, keep)
	if _, err := Evaluate(context.Background(), EvaluateOptions{Models: models, Data: images, Masks: masks, Measure: []string{MeasureAccuracy}, Synthesize: true, Keep: keep}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("pictures are kept where there are others: %v", err)
	}
	f, err := os.Open(filepath.Join(keep, "rotation", "metadata.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 1+2*18 || strings.Join(lines[0][:6], " ") != "image_id x_coord y_coord area rotation foreground_class" {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for _, line := range lines[1:] {
		if _, err := os.Stat(filepath.Join(keep, "rotation", line[5], line[0]+".png")); err != nil || line[1] != "0.5" || line[3] != "0.5" || !strings.HasPrefix(line[6], line[5]+"/") {
			t.Fatalf("%v: %v", line, err)
		}
	}
}

// readBack evaluates kept pictures as the data set that they are, and expects the
// same counts.
func readBack(t *testing.T, e *Evaluation, models []string, keep string) {
	t.Helper()
	again, err := Evaluate(context.Background(), EvaluateOptions{Models: models, Data: keep, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if again.Layout != "si-score" || again.Images != e.Synthesis.Images {
		t.Errorf("%d pictures of %s", again.Images, again.Layout)
	}
	for i, m := range again.Models {
		if len(m.Parts) != 3 {
			t.Fatalf("%+v", m.Parts)
		}
		for k, p := range m.Parts {
			if want := e.Models[i].Synthesis[k]; p.Part != want.Factor || p.Score != want.Score {
				t.Errorf("model %d: %+v is read back as %+v", i, want.Score, p)
			}
		}
	}
}

// TestUnlabelledObjectsAreRightWhereTheModelSaysTheSame keeps them by the model's
// classes.
func TestUnlabelledObjectsAreRightWhereTheModelSaysTheSame(t *testing.T) {
	orttest.Need(t)
	images, masks := writeObjects(t)
	dir := t.TempDir()
	flat := map[string]string{}
	for name, from := range map[string]string{"images": images, "masks": masks} {
		flat[name] = filepath.Join(dir, name)
		if err := os.MkdirAll(flat[name], 0o777); err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(from, "*", "*.png"))
		if err != nil {
			t.Fatal(err)
		}
		for i, path := range found {
			if err := os.Link(path, filepath.Join(flat[name], fmt.Sprintf("%02d.png", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	keep := filepath.Join(dir, "kept")
	opt := EvaluateOptions{Models: []string{objectModel.write(t)}, Data: flat["images"], Layout: "flat", Masks: flat["masks"], Samples: 2,
		Measure: []string{MeasureBackground}, Synthesize: true, Keep: keep, Strict: true}
	e, err := Evaluate(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	b := e.Models[0].Background
	if b.Images != 12 || b.Original.Right1 != 12 || b.ObjectOnly.Value != 1 || b.BackgroundOnly.Value != 0 || b.Mixed != nil {
		t.Errorf("%+v", b)
	}
	if p, n := e.Models[0].Synthesis, e.Synthesis.Objects; n == 0 || p[0].Right1 != n*13 || p[1].Right1 != n || p[2].Right1 != n*18 {
		t.Errorf("%+v", p)
	}
	readBack(t, e, opt.Models, keep)
	opt.Models, opt.Keep = append(opt.Models, backgroundModel.write(t)), filepath.Join(dir, "other")
	if _, err := Evaluate(context.Background(), opt); !errors.As(err, new(*configs.Error)) {
		t.Errorf("kept under labels that hold for one model alone: %v", err)
	}
}

func TestSynthesisDependsOnTheSeedAlone(t *testing.T) {
	orttest.Need(t)
	images, masks := writeObjects(t)
	model := lookingModel{at: picture.NewRGB(40, 40).Bounds()}.write(t) // of object and background
	parts := func(batch, threads int) []SynthesisPart {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		e := synthesized(t, EvaluateOptions{Models: []string{model}, Data: images, Masks: masks, Samples: 3, Batch: batch, Seed: seedOfTheEmpty})
		if e.Synthesis.Objects != 2 || e.Models[0].Synthesis[0].Images != 2*13 {
			t.Errorf("%+v", e.Synthesis)
		}
		return e.Models[0].Synthesis
	}
	want := parts(16, 1)
	for _, c := range [][2]int{{1, 4}, {5, 2}} {
		if got := parts(c[0], c[1]); !reflect.DeepEqual(got, want) {
			t.Errorf("batch %d on %d threads: %+v, want %+v", c[0], c[1], got, want)
		}
	}
}

func TestObjectsArePastedOnTheBackgroundsOfAFolder(t *testing.T) {
	orttest.Need(t)
	images, masks := writeObjects(t)
	folder := t.TempDir()
	benchmarktest.Set{Pictures: []benchmarktest.Picture{{Path: "a.png", Class: 500}, {Path: "b.png", Class: 500}}}.Write(t, folder)
	e := synthesized(t, EvaluateOptions{Models: []string{backgroundModel.write(t)}, Data: images, Masks: masks, Limit: 1, Backgrounds: folder})
	// 500 is right behind pictures of class 0, unless the object is in that corner.
	for _, v := range e.Models[0].Synthesis[1].Values {
		if hidden := v.X == 0 && v.Y == 0; hidden && v.Right1 != 0 || (v.X >= 0.5 || v.Y >= 0.5) && v.Right1 != 1 || v.Images != 3 {
			t.Errorf("%+v", v)
		}
	}
}

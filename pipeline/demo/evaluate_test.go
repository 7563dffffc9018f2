package demo

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline"
)

// evaluatedHere evaluates the embedded model, which has learned something, on
// generated pictures with masks.
func evaluatedHere(t *testing.T, n int, opt pipeline.EvaluateOptions) *pipeline.Evaluation {
	t.Helper()
	orttest.Need(t)
	dir := t.TempDir()
	model, data := filepath.Join(dir, "tiny.safetensors"), filepath.Join(dir, "data")
	if err := os.WriteFile(model, weights, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := writeSet(data, 77, n, usually); err != nil {
		t.Fatal(err)
	}
	opt.Models, opt.Data, opt.Masks, opt.Classes = []string{model}, filepath.Join(data, "images"), filepath.Join(data, "masks"), filepath.Join(data, classesFile)
	opt.Open.Convert, opt.ORT = models.Options{Arch: architecture}, ort.Options{Threads: 1}
	e, err := pipeline.Evaluate(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestInsertionExceedsDeletionWhereMapsAreSensible: pixels that matter raise the
// class's probability early, and their loss lowers it early. Blurring says less
// here, since the model knows classes by the colours of their backgrounds.
func TestInsertionExceedsDeletionWhereMapsAreSensible(t *testing.T) {
	e := evaluatedHere(t, 36, pipeline.EvaluateOptions{Steps: 8})
	m := e.Models[0]
	if m.Relevance == nil || m.Relevance.Images != 36 || m.Relevance.Steps != 8 || len(m.Relevance.Measures) != len(pipeline.Qualities()) {
		t.Fatalf("%+v", m.Relevance)
	}
	of := func(quality string) float64 { return float64(m.Relevance.Measures[quality].Value) }
	for _, q := range pipeline.Qualities() {
		v := m.Relevance.Measures[q]
		t.Logf("%s %.3f (%.3f to %.3f)", q, float64(v.Value), float64(v.Low), float64(v.High))
		if !(v.Low <= v.Value && v.Value <= v.High && v.Low >= 0 && v.High <= 1) {
			t.Errorf("%s is %+v", q, v)
		}
	}
	if !(of(pipeline.InsertionZero) > of(pipeline.DeletionZero)+0.05) {
		t.Error("insertion doesn't exceed deletion")
	}
	if s := m.Segmentation; s == nil || s.Images != 36 || !(s.PixelAccuracy.Low <= s.PixelAccuracy.Value && s.PixelAccuracy.Value <= s.PixelAccuracy.High) {
		t.Errorf("%+v", s)
	}
}

func TestMapsLoseTheirLikenessAsParametersBecomeRandom(t *testing.T) {
	e := evaluatedHere(t, 24, pipeline.EvaluateOptions{Measure: []string{pipeline.MeasureRandomisation}})
	r := e.Models[0].Randomisation
	if r == nil || r.Images != 16 || len(r.Stages) != 2 || r.Stages[0].Block != 1 || r.Stages[1].Block != 0 {
		t.Fatalf("%+v", r)
	}
	before := 1.0
	for _, s := range r.Stages {
		v := float64(s.Similarity.Value)
		t.Logf("random down to block %d: %d numbers, likeness %.3f", s.Block, s.Parameters, v)
		if !(v < before-0.1) {
			t.Errorf("block %d: maps are alike by %.3f, after %.3f", s.Block, v, before)
		}
		before = v
	}
	if before > 0.4 {
		t.Errorf("maps of a random model are alike by %.3f", before)
	}
	// projection, MLP, the two norms behind the map and the head; all of them
	if a, b := r.Stages[0].Parameters, r.Stages[1].Parameters; a != 37894 || b != 67078 {
		t.Errorf("%d and %d numbers are random", a, b)
	}
}

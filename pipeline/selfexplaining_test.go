package pipeline

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestSelfExplainingModelsAskForTheTarget opens a model without relevance, and
// with it, with and without a default.
func TestSelfExplainingModelsAskForTheTarget(t *testing.T) {
	orttest.Need(t)
	dir := t.TempDir()
	plain := small(t, "")
	require := RelevanceOptions{RequireTarget: true}
	_, want := openRelevance(t, plain, RelevanceOptions{}).run(pixels(2), 1, 4)
	for name, m := range map[string]*onnx.Model{
		"plain":    plain,
		"optional": extend(t, plain, RelevanceOptions{}),
		"required": extend(t, plain, require),
	} {
		path := filepath.Join(dir, name+".onnx")
		if err := onnx.WriteModel(path, m, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSelfExplaining(path, ModelOptions{}, require)
		if err != nil {
			t.Fatal(err)
		}
		ends, ok := RelevanceOf(s.Relevant)
		if !ok || ends != s.Ends || ends.Optional || s.Classes != 5 {
			t.Errorf("%s: ends %+v, described as %+v, %d classes", name, ends, s.Ends, s.Classes)
		}
		if optional, _ := RelevanceOf(s.Source); name == "optional" && !optional.Optional {
			t.Error("the source lost its default")
		}
		if _, got := openExtended(t, s.Relevant).run(pixels(2), 1, 4); !slices.Equal(got, want) {
			t.Errorf("%s: another map", name)
		}
	}
}

// TestHalfPrecisionModelsExplainThemselves derives the relevance of a model with
// attention in float16 and logits in float32. Its map may be as far off the
// float32 model's as rounding makes that of the float32 model with relevance,
// times 10.
func TestHalfPrecisionModelsExplainThemselves(t *testing.T) {
	orttest.Need(t)
	source := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnx.WriteModel(source, small(t, ""), onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, want := withRelevance(t, source, RelevanceOptions{}).run(pixels(2), 3)
	deviation := func(relevance bool) float64 {
		path := filepath.Join(t.TempDir(), "half.onnx")
		if _, err := Export(t.Context(), source, path, ExportOptions{Precision: Float16, KeepIO: true, WithRelevance: relevance}); err != nil {
			t.Fatal(err)
		}
		s, err := OpenSelfExplaining(path, ModelOptions{}, RelevanceOptions{RequireTarget: true})
		if err != nil {
			t.Fatal(err)
		}
		_, got := openExtended(t, s.Relevant).run(pixels(2), 3)
		worst := 0.0
		for i := range want {
			worst = max(worst, math.Abs(got[i]-want[i]))
		}
		return worst
	}
	rounding, derived := deviation(true), deviation(false)
	if t.Logf("rounding %.2g, derived %.2g", rounding, derived); derived > 10*rounding {
		t.Errorf("the map is %.2g off, expected rounding's %.2g times 10 at most", derived, rounding)
	}
}

func TestSelfExplainingModelsMustBeViTs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relu.onnx")
	g := &onnx.Graph{}
	x := g.AddInput("image", onnx.Float, onnx.ShapeOf(1, 3, 16, 24))
	b := onnx.NewBuilder(g)
	g.Outputs = []*onnx.Value{b.Op("Relu", nil, x)}
	if err := errors.Join(b.Err(), onnx.WriteModel(path, &onnx.Model{Graph: g, IRVersion: 8, Opsets: []onnx.Opset{{Version: 17}}}, onnx.WriteOptions{})); err != nil {
		t.Fatal(err)
	}
	var refused *models.Error
	if _, err := OpenSelfExplaining(path, ModelOptions{}, RelevanceOptions{}); !errors.As(err, &refused) || refused.ExitCode() != 3 {
		t.Errorf("error %v, want a *models.Error", err)
	}
}

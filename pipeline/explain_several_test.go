package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/picture"
)

// TestExplainWritesEveryMapOfTwoModels has three targets, two methods and a
// second model that sees pictures of another size.
func TestExplainWritesEveryMapOfTwoModels(t *testing.T) {
	orttest.Need(t)
	before, after := saved(t, small(t, "")), saved(t, small(t, `,"img_size":[24,24]`))
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "maps")
	for i := range 3 {
		savePicture(t, filepath.Join(in, fmt.Sprintf("3/%d.png", i)), uint64(i), 30, 40)
	}
	e, err := Explain(context.Background(), ExplainOptions{Model: before, After: after, Inputs: []string{in}, Output: out, Batch: 2, Opacity: 0.5,
		Targets: []string{"top2,label"}, Maps: MapOptions{Methods: []string{MethodLeGrad, MethodRelevance}}})
	if err != nil {
		t.Fatal(err)
	}
	if e.After != after || e.Method != MethodLeGrad || len(e.Methods) != 2 || e.Target != "top2" || !slices.Equal(e.Targets, []string{"top2", "label"}) {
		t.Errorf("explain.json says %+v", e)
	}
	for _, p := range e.Pictures {
		var files []string
		for _, m := range p.Maps {
			files = append(files, strings.TrimSuffix(strings.TrimPrefix(m.Map, "3/"), ".npy")[1:])
			rows, columns, values := readNumPy(t, filepath.Join(out, filepath.FromSlash(m.Map)))
			if want := map[string][2]int64{before: {16, 24}, after: {24, 24}}[m.Model]; [2]int64{rows, columns} != want || slices.Max(values) != 1 {
				t.Errorf("%s is of %dx%d, up to %v", m.Map, rows, columns, slices.Max(values))
			}
		}
		if want := []string{"", ".relevance", ".top2", ".relevance.top2", ".label", ".relevance.label",
			".after", ".after.relevance", ".after.top2", ".after.relevance.top2", ".after.label", ".after.relevance.label"}; !slices.Equal(files, want) {
			t.Errorf("maps %q, want %q", files, want)
		}
		if p.Map != p.Maps[0].Map || p.Target != p.Maps[0].Target || p.Target.Class != p.Top[0].Class || p.Maps[8].Target.Class != p.TopAfter[1].Class || p.Maps[4].Target.Class != 3 {
			t.Errorf("%+v", p)
		}
		sheet, err := picture.ReadFile(filepath.Join(out, filepath.FromSlash(p.Sheet)))
		if err != nil {
			t.Fatal(err)
		}
		// six rows of the original, 16x24 enlarged 12 times, before and after
		if want := 288 + 4 + 288 + 4 + 192; sheet.W != want || sheet.H < 6*192 {
			t.Errorf("the sheet is of %dx%d", sheet.W, sheet.H)
		}
	}
}

// TestMapsOfALowerRankAreOfThatClass compares top3's with each class's own.
func TestMapsOfALowerRankAreOfThatClass(t *testing.T) {
	orttest.Need(t)
	model, in := saved(t, small(t, "")), t.TempDir()
	savePicture(t, filepath.Join(in, "a.png"), 5, 30, 40)
	explain := func(o ExplainOptions) (*Explanation, [][]float32) {
		o.Model, o.Inputs, o.Output = model, []string{in}, filepath.Join(t.TempDir(), "maps")
		e, err := Explain(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		var maps [][]float32
		for _, m := range e.Pictures[0].Maps {
			_, _, values := readNumPy(t, filepath.Join(o.Output, m.Map))
			maps = append(maps, values)
		}
		return e, maps
	}
	top, got := explain(ExplainOptions{Targets: []string{"top3"}})
	var classes []string
	for i, m := range top.Pictures[0].Maps {
		if m.Target != top.Pictures[0].Top[i] {
			t.Errorf("map %d is of %+v", i, m.Target)
		}
		classes = append(classes, fmt.Sprint(m.Target.Class))
	}
	_, want := explain(ExplainOptions{Targets: []string{strings.Join(classes[:2], ","), classes[2]}})
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("map %d isn't that of class %s", i, classes[i])
		}
	}
}

// TestARegressionIsExplainedByItsOutput shows no probabilities.
func TestARegressionIsExplainedByItsOutput(t *testing.T) {
	orttest.Need(t)
	model, in, out := saved(t, small(t, `,"num_classes":1`)), t.TempDir(), filepath.Join(t.TempDir(), "maps")
	savePicture(t, filepath.Join(in, "a.png"), 5, 30, 40)
	opt := ExplainOptions{Model: model, Inputs: []string{in}, Output: out, Maps: MapOptions{Methods: Methods(), Steps: 4, Samples: 2}, Sheet: true}
	e, err := Explain(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	p := e.Pictures[0]
	if p.Value == nil || len(p.Top) != 0 || !math.IsNaN(float64(p.Target.Probability)) || p.Target.Class != 0 || len(p.Maps) != len(Methods()) {
		t.Errorf("%+v", p)
	}
	for _, m := range p.Maps {
		if _, _, values := readNumPy(t, filepath.Join(out, m.Map)); slices.Max(values) != 1 {
			t.Errorf("%s is up to %v", m.Method, slices.Max(values))
		}
	}
	for _, target := range []string{"1", "label", "top2", "top1,0"} {
		opt.Targets, opt.Force = []string{target}, true
		var wrong *configs.Error
		if _, err := Explain(context.Background(), opt); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "one output and no classes") {
			t.Errorf("target %s: %v", target, err)
		}
	}
}

// TestAFileWithRelevanceHasNoOtherMethod says so in one line.
func TestAFileWithRelevanceHasNoOtherMethod(t *testing.T) {
	orttest.Need(t)
	explains, err := WithRelevance(small(t, ""), RelevanceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(t.TempDir(), "a.png")
	savePicture(t, in, 5, 30, 40)
	var wrong *models.Error
	_, err = Explain(context.Background(), ExplainOptions{Model: saved(t, explains), Inputs: []string{in}, Output: filepath.Join(t.TempDir(), "maps"),
		Maps: MapOptions{Methods: []string{MethodRelevance, MethodRollout}}})
	if !errors.As(err, &wrong) || !wrong.Usage || !strings.Contains(err.Error(), "rollout can't be derived from it; give the model") {
		t.Errorf("got %v", err)
	}
}

func TestTargetsAreTakenApart(t *testing.T) {
	m := small(t, "")
	path := saved(t, m)
	open, err := OpenModel(path, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	table := filepath.Join(t.TempDir(), "classes.tsv")
	if err := os.WriteFile(table, []byte("0\ta\tcat, tabby\n1\tb\tdog\n2\tc\telk\n3\td\tant\n4\te\tbee\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	e, err := openExplained(ExplainOptions{Model: path, Classes: table})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]aim{
		"":                nil,
		"cat, tabby":      {{class: 0}},
		"dog,elk":         {{class: 1}, {class: 2}},
		"top2, 4, label":  {{rank: 1}, {rank: 2}, {class: 4}, {label: true}},
		"dog,cat, tabby":  nil, // twice the same class
		"top6":            nil,
		"top1,top2":       nil,
		"5":               nil,
		"top0":            nil,
		"dog,1":           nil,
		"elk,nothing,bee": nil,
	} {
		got, err := readTargets(open, []string{text}, e.classes)
		switch {
		case want == nil && err == nil:
			t.Errorf("%q gives %v", text, got.aims)
		case want != nil && (err != nil || !slices.Equal(got.aims, want)):
			t.Errorf("%q gives %v, %v", text, got, err)
		}
	}
}

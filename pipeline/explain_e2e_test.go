//go:build e2e

package pipeline

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestRelevanceOfViTTinyEqualsExplainsAndTheTrainingGraphs is the promise of
// --with-relevance on real weights.
func TestRelevanceOfViTTinyEqualsExplainsAndTheTrainingGraphs(t *testing.T) {
	orttest.Need(t)
	a := newAgreement(t, shared(t, "data", "models", vitTiny))
	a.exportedAgrees([]int64{0, 281, 999})
	a.explainAgrees(a.model, 281)
	a.explainAgrees(a.exported, 281)
	t.Logf("the largest difference is %.2g, scaling magnifies errors %.2g times", a.worst, a.stretch/2)
}

// TestIntegratedGradientsOfPhotographsAreComplete is their axiom, to 1 %, on
// pictures for which Captum's number of steps is too small.
func TestIntegratedGradientsOfPhotographsAreComplete(t *testing.T) {
	orttest.Need(t)
	pictures, err := filepath.Glob(filepath.Join(shared(t, "data", "imagenet-samples"), "n015*", "*"))
	if err != nil || len(pictures) < 3 {
		t.Fatalf("%d pictures, %v", len(pictures), err)
	}
	slices.Sort(pictures)
	e, err := Explain(t.Context(), ExplainOptions{Model: shared(t, "data", "models", vitTiny), Inputs: pictures[:3], Output: filepath.Join(t.TempDir(), "maps"),
		Maps: MapOptions{Methods: []string{MethodIntegratedGradients}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range e.Pictures {
		if p.Incompleteness == nil || !(*p.Incompleteness <= complete) {
			t.Errorf("%s: %v of the change is missed", p.Picture, p.Incompleteness)
		}
	}
}

//go:build e2e

package pipeline

import (
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

package pipeline

import (
	"fmt"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestPredictionsDontDependOnHowManyRunSideBySide predicts the same pictures on
// one thread and on several, with a batch below and above the number of threads.
// Logits come in the pictures' order, each within rounding of those alone.
func TestPredictionsDontDependOnHowManyRunSideBySide(t *testing.T) {
	orttest.Need(t)
	const count = 11
	m, images := tinyPictures(t, count)
	predict := func(batch, threads int) (out [][]float32) {
		p, err := NewPredictor(m, batch, ort.Options{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Predict(images, count, func(i int, logits []float32) error {
			if i != len(out) {
				return fmt.Errorf("picture %d comes after %d others", i, len(out))
			}
			out = append(out, slices.Clone(logits))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := predict(1, 1)
	if slices.Equal(want[0], want[1]) {
		t.Fatal("pictures have the same logits")
	}
	for _, c := range []struct{ batch, threads int }{{4, 1}, {2, 3}, {4, 4}, {16, 3}} {
		got := predict(c.batch, c.threads)
		if len(got) != count {
			t.Fatalf("batch %d on %d threads: %d of %d pictures", c.batch, c.threads, len(got), count)
		}
		for i, logits := range got {
			if worst := off(wide(logits), wide(want[i]), nil); worst > 1e-5 {
				t.Errorf("batch %d on %d threads: picture %d is %.2g off", c.batch, c.threads, i, worst)
			}
		}
	}
}

package pipeline

import (
	"context"

	"github.com/relevit/relevit/pipeline/dataset"
)

// Accuracy counts how often a model's largest logits name a picture's label.
type Accuracy struct {
	Pictures int
	Top1     int // pictures whose label has the largest logit
	Top5     int // pictures whose label is among the five largest
}

// Accuracy runs every sample of a loader. The first of equal logits counts as
// the larger.
func (p *Predictor) Accuracy(ctx context.Context, l *dataset.Loader) (a Accuracy, err error) {
	err = p.Each(ctx, l, func(_ int, label int64, logits []float32) error {
		a.add(logits, label)
		return nil
	})
	return a, err
}

func (a *Accuracy) add(logits []float32, label int64) {
	above := 0
	for i, v := range logits {
		if v > logits[label] || v == logits[label] && int64(i) < label {
			above++
		}
	}
	a.Pictures++
	if above < 1 {
		a.Top1++
	}
	if above < 5 {
		a.Top5++
	}
}

package pipeline

import (
	"context"
	"slices"

	"github.com/relevit/relevit/onnx/ort"
)

// mapBatch is for how many pictures at once maps are computed, which takes a
// multiple of a prediction's memory.
const mapBatch = 8

// mapper explains predictions by one method.
type mapper struct {
	*Mapper
}

func newMapper(m *Model, batch, startLayer int, method string, opt ort.Options) (mapper, error) {
	x, err := NewMapper(m, min(batch, mapBatch), MapOptions{Methods: []string{method}, StartLayer: startLayer}, opt)
	return mapper{x}, err
}

// predictions explains the predictions for count pictures (count,3,H,W), any
// number of them, and calls f with each one's scores (C) and map (H,W), which
// are f's to keep.
func (x mapper) predictions(ctx context.Context, images []float32, count int, f func(i int, scores, relevance []float32)) error {
	values := 3 * x.Size[0] * x.Size[1]
	for start := 0; start < count; start += x.Batch {
		n := min(x.Batch, count-start)
		if err := x.Run(ctx, images[start*values:], slices.Repeat([]int64{predicted}, n)); err != nil {
			return err
		}
		for i := range n {
			f(start+i, slices.Clone(x.Scores(i)), slices.Clone(x.Map(x.Methods[0], i)))
		}
	}
	return nil
}

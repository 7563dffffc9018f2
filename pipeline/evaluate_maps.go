package pipeline

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// mapBatch is for how many pictures at once maps are computed, which takes a
// multiple of a prediction's memory.
const mapBatch = 8

// mapper explains predictions by one method.
type mapper struct {
	size      [2]int // rows, columns
	explainer *Explainer
}

// checkMethod says whether predictions can be explained by a method.
func checkMethod(method string) error {
	if method != "" && method != MethodRelevance {
		return &configs.Error{Key: "method", Msg: fmt.Sprintf("there is no method %q to explain by; there is %s", method, MethodRelevance)}
	}
	return nil
}

func newMapper(m *Model, batch, startLayer int, opt ort.Options) (*mapper, error) {
	x, err := NewExplainer(m, min(batch, mapBatch), startLayer, opt)
	if err != nil {
		return nil, err
	}
	return &mapper{size: x.Size, explainer: x}, nil
}

// run explains the predictions for count pictures (count,3,H,W), any number of
// them, and calls f with each one's scores (C) and map (H,W), which are f's to
// keep.
func (x *mapper) run(images []float32, count int, f func(i int, scores, relevance []float32) error) error {
	values, to := 3*x.size[0]*x.size[1], x.explainer.images[0].Float32s()
	for start := 0; start < count; start += x.explainer.Batch {
		n := min(x.explainer.Batch, count-start)
		clear(to[copy(to, images[start*values:][:n*values]):])
		found, err := x.explainer.explain(&dataset.Batch{Count: n, Labels: slices.Repeat([]int64{predicted}, n),
			Samples: make([]int, n), Replaced: make([]bool, n)})
		if err != nil {
			return err
		}
		for i, e := range found {
			if err := f(start+i, e.Scores, e.Map); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *mapper) close() { x.explainer.Close() }

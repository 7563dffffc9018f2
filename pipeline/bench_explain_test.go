//go:build bench

package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// explainLimit is up to how many times as long as plain inference explaining
// pictures may take, files and all.
const explainLimit = 3.5

// benchExplained is how many pictures are explained.
const benchExplained = 160

// explaining runs, by turns, plain inference on pictures and explaining them as
// users do, from opening the model to the last file; and the graphs alone.
func (b *bench) explaining(j job) {
	samples := benchPictures(b.T, benchExplained)
	var list []string
	for _, s := range samples {
		list = append(list, s.ImagePath)
	}
	r := newRounds(b)
	plain := func() error {
		m, err := OpenModel(j.Model, ModelOptions{})
		if err != nil {
			return err
		}
		p, err := NewPredictor(m, benchBatch, ort.Options{})
		if err != nil {
			return err
		}
		defer p.Close()
		l, err := dataset.NewLoader(samples, dataset.Options{Batch: benchBatch, Preprocess: m.Preprocess})
		if err != nil {
			return err
		}
		return eachBatch(context.Background(), l, 0, func(batch *dataset.Batch) error {
			return p.Predict(l.View(batch, 0), batch.Count, func(int, []float32) error { return nil })
		})
	}
	explain := func() error {
		_, err := Explain(context.Background(), ExplainOptions{Model: j.Model, Inputs: list, Output: filepath.Join(b.TempDir(), "maps"), Opacity: 0.5, Force: true})
		return err
	}
	for range j.Rounds + 1 {
		r.beside("plain inference", plain, "explain", explain)
		r.warm()
	}
	r.report()
}

// benchExplaining prints what explaining pictures costs beside plain inference.
func benchExplaining(t *testing.T, m benchedModel, rounds int) {
	r := measure(t, job{Kind: "explaining", Model: m.path, Rounds: rounds})
	out := &figures{T: t, title: fmt.Sprintf("Explaining %d JPEGs of 500x375 by %s's relevance, from opening the model to the last file", benchExplained, m.title)}
	out.figure("plain inference on them", "%.2f s", r.Seconds["plain inference"])
	out.figure("explaining them", "%.2f s", r.Seconds["explain"])
	out.atMost(explainLimit, "explaining in times of plain inference", "%.2f", r.Ratio["explain/plain inference"])
	out.print()
}

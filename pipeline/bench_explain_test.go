//go:build bench

package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
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
	mapper, err := NewMapper(b.model, benchBatch, MapOptions{}, ort.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(mapper.Close)
	b.openPredictor()
	images := make([]float32, benchBatch*3*mapper.Size[0]*mapper.Size[1])
	noise(images)
	classes := slices.Repeat([]int64{predicted}, benchBatch)
	maps := func() error { return mapper.Run(context.Background(), images, classes) }
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
		return eachBatch(context.Background(), l, func(batch *dataset.Batch) error {
			return p.Predict(l.View(batch, 0), batch.Count, func(int, []float32) error { return nil })
		})
	}
	explain := func() error {
		_, err := Explain(context.Background(), ExplainOptions{Model: j.Model, Inputs: list, Output: filepath.Join(b.TempDir(), "maps"), Opacity: 0.5, Force: true})
		return err
	}
	for range j.Rounds + 1 {
		r.beside("forward", b.predictor.session.Run, "graph of maps", maps)
		r.beside("plain inference", plain, "explain", explain)
		r.warm()
	}
	r.report()
}

// rounds times jobs beside others.
type rounds struct {
	b       *bench
	seconds map[string][]float64
	ratios  map[string][]float64
	warmed  bool
}

func newRounds(b *bench) *rounds {
	return &rounds{b: b, seconds: map[string][]float64{}, ratios: map[string][]float64{}}
}

func (r *rounds) timed(what string, f func() error) float64 {
	r.b.open(what, f)
	s := r.b.r.Open[what]
	delete(r.b.r.Open, what)
	r.seconds[what] = append(r.seconds[what], s)
	return s
}

// beside runs a job between two of another.
func (r *rounds) beside(base string, f func() error, what string, g func() error) {
	before := r.timed(base, f)
	took := r.timed(what, g)
	after := r.timed(base, f)
	r.ratios[what] = append(r.ratios[what], 2*took/(before+after))
}

// warm forgets the first round.
func (r *rounds) warm() {
	if !r.warmed {
		clear(r.seconds)
		clear(r.ratios)
		r.warmed = true
	}
}

func (r *rounds) report() {
	for what, list := range r.seconds {
		r.b.r.Seconds[what] = median(list)
	}
	for what, list := range r.ratios {
		r.b.r.Ratio[what] = median(list)
	}
	r.b.r.PeakMB = peak(r.b.T)
}

// benchExplaining prints what explaining costs beside plain inference.
func benchExplaining(t *testing.T, path, title string, rounds int) {
	r := measure(t, job{Kind: "explaining", Model: path, Rounds: rounds})
	fmt.Printf("explaining by relevance: the graph alone takes %.2f times a forward pass; %d JPEGs of 500x375 take %.1f s, %.2f times plain inference's %.1f s\n\n",
		r.Ratio["graph of maps"], benchExplained, r.Seconds["explain"], r.Ratio["explain"], r.Seconds["plain inference"])
	if ratio := r.Ratio["explain"]; ratio > explainLimit {
		t.Errorf("%s: explaining pictures takes %.2f times as long as plain inference, expected at most %v", title, ratio, explainLimit)
	}
}

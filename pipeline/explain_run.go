package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// explaining is an Explain at work.
type explaining struct {
	opt     ExplainOptions
	sitters []sitter
	models  []*witness
	views   []picture.Preprocess // the different ones of the models

	mu     sync.Mutex
	done   []*ExplainedPicture // by sitter; nil until written
	result Explanation
}

// witness is one of the models that explain.
type witness struct {
	path    string
	mapper  *Mapper
	targets *targets
	labels  []int64 // by sitter; nil where they aren't explained
	view    int     // of explaining.views
}

// open opens a model, or the best checkpoint of a run, and its sessions.
func (r *explaining) open(path string) error {
	o := r.opt
	o.Model = path
	e, err := openExplained(o)
	if err != nil {
		return err
	}
	for _, w := range e.model.Warnings {
		r.opt.warn(path + ": " + w)
	}
	w := &witness{path: path}
	if w.targets, err = readTargets(e.model, r.opt.Targets, e.classes); err != nil {
		return err
	}
	if w.labels, err = w.targets.labels(r.sitters); err != nil {
		return err
	}
	if len(r.models) > 0 && len(w.targets.aims) != len(r.models[0].targets.aims) {
		return &configs.Error{Msg: fmt.Sprintf("%s and %s: target %q means a class for one and several for the other; state classes by number", r.models[0].path, path, r.opt.Targets)}
	}
	maps := r.opt.Maps
	maps.StartLayer = e.startLayer
	if w.mapper, err = NewMapper(e.model, evenly(len(r.sitters), r.opt.Batch), maps, r.opt.ORT); err != nil {
		return err
	}
	p := e.model.Preprocess
	p.Size = w.mapper.Size
	if w.view = slices.Index(r.views, p); w.view < 0 {
		w.view = len(r.views)
		r.views = append(r.views, p)
	}
	r.models = append(r.models, w)
	return nil
}

// evenly is a size of batches, at most so large, of which as few as can be take all
// pictures, and the last one too is nearly full.
func evenly(pictures, most int) int {
	batches := (pictures + most - 1) / most
	return (pictures + batches - 1) / batches
}

func (r *explaining) close() {
	for _, w := range r.models {
		w.mapper.Close()
	}
}

// describe begins the result.
func (r *explaining) describe() {
	first := r.models[0]
	r.result = Explanation{Model: r.opt.Model, After: r.opt.After, Method: r.opt.Maps.Methods[0], Target: first.targets.texts[0], Size: first.mapper.Size,
		Output: r.opt.Output, Pictures: []ExplainedPicture{}}
	if len(r.opt.Maps.Methods) > 1 {
		r.result.Methods = r.opt.Maps.Methods
	}
	if len(first.targets.aims) > 1 {
		r.result.Targets = first.targets.texts
	}
}

// run explains batch after batch; goroutines write what one found while the
// next is computed.
func (r *explaining) run(ctx context.Context) error {
	samples := make([]dataset.Sample, len(r.sitters))
	for i, s := range r.sitters {
		samples[i] = dataset.Sample{ID: s.name, ImagePath: s.path}
	}
	r.done = make([]*ExplainedPicture, len(samples))
	left := &skips{told: r.opt.OnSkipped}
	l, err := dataset.NewLoader(samples, dataset.Options{Batch: evenly(len(samples), r.opt.Batch), Preprocess: r.views[0], Views: r.views[1:],
		Strict: r.opt.Strict, OnCorrupt: left.add})
	if err != nil {
		return err
	}
	if r.opt.OnStart != nil {
		r.opt.OnStart(len(samples))
	}
	w := newWriters()
	count := 0
	err = eachBatch(ctx, l, 0, func(batch *dataset.Batch) error {
		found, err := r.explain(ctx, l, batch)
		if err != nil {
			return err
		}
		for _, p := range found {
			w.add(func() error { return r.write(p) })
			if err := w.failed(); err != nil {
				return err
			}
		}
		count += batch.Count
		if r.opt.OnProgress != nil {
			r.opt.OnProgress(count, len(samples))
		}
		return nil
	})
	if closeErr := w.close(); err == nil || errors.Is(err, context.Canceled) && closeErr != nil {
		err = closeErr
	}
	r.result.Skipped = left.sorted(samples)
	switch {
	case len(r.result.Skipped) == len(samples):
		return &dataset.Error{Kind: dataset.ErrEmpty, Path: r.result.Skipped[0].Picture, Found: r.result.Skipped[0].Reason,
			Advice: fmt.Sprintf("none of the %d pictures can be decoded", len(samples))}
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %d of %d pictures are explained in %s", err, count, len(samples), r.opt.Output)
	}
	return err
}

// portrait is all that was found of one picture.
type portrait struct {
	sitter int
	images [][]float32 // by view: (3,H,W), normalised
	scores [][]float32 // by model: (C)
	maps   []portrayal // by model, then target, then method
}

// portrayal is one map.
type portrayal struct {
	model, aim int
	class      int
	method     string
	values     []float32 // (H,W) in [0,1]
	missed     *Number   // of integrated gradients: see MapFiles
}

// explain maps a batch by every model, for every target. Stand-ins for pictures
// that can't be decoded are left out.
func (r *explaining) explain(ctx context.Context, l *dataset.Loader, batch *dataset.Batch) ([]*portrait, error) {
	all := make([]*portrait, batch.Count)
	for i := range all {
		all[i] = &portrait{sitter: batch.Samples[i]}
		for v, p := range r.views {
			values := 3 * p.Size[0] * p.Size[1]
			all[i].images = append(all[i].images, slices.Clone(l.View(batch, v)[i*values:][:values]))
		}
	}
	for m, w := range r.models {
		values := 3 * w.mapper.Size[0] * w.mapper.Size[1]
		for start := 0; start < batch.Count; start += w.mapper.Batch {
			part := all[start:min(start+w.mapper.Batch, batch.Count)]
			if err := w.explain(ctx, m, l.View(batch, w.view)[start*values:], part); err != nil {
				return nil, err
			}
		}
	}
	var out []*portrait
	for i, p := range all {
		if !batch.Replaced[i] {
			out = append(out, p)
		}
	}
	return out, nil
}

// explain maps pictures, at most a batch of the mapper, by the m-th model.
func (w *witness) explain(ctx context.Context, m int, images []float32, part []*portrait) error {
	classes := make([]int64, len(part))
	for a, aim := range w.targets.aims {
		for i, p := range part {
			classes[i] = w.class(aim, p, m)
		}
		if err := w.mapper.Run(ctx, images, classes); err != nil {
			return err
		}
		for i, p := range part {
			if a == 0 {
				p.scores = append(p.scores, slices.Clone(w.mapper.Scores(i)))
			}
			class := int(classes[i])
			if class < 0 {
				class = top1(p.scores[m])
			}
			for _, method := range w.mapper.Methods {
				one := portrayal{model: m, aim: a, class: class, method: method, values: slices.Clone(w.mapper.Map(method, i))}
				if e, ok := w.mapper.Incompleteness(method, i); ok {
					n := Number(e)
					one.missed = &n
				}
				p.maps = append(p.maps, one)
			}
		}
	}
	return nil
}

// class is a picture's class of an aim; below zero for the predicted one. Lower
// ranks are known once the picture has scores.
func (w *witness) class(a aim, p *portrait, m int) int64 {
	switch {
	case a.label:
		return w.labels[p.sitter]
	case a.rank == 1:
		return predicted
	case a.rank > 1:
		return int64(ranked(p.scores[m])[a.rank-1])
	}
	return a.class
}

// finish writes explain.json.
func (r *explaining) finish() error {
	for _, p := range r.done {
		if p != nil {
			r.result.Pictures = append(r.result.Pictures, *p)
		}
	}
	return atomic.Write(filepath.Join(r.opt.Output, explanationName), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r.result)
	})
}

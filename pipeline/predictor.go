package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Predictor runs a model's own file, as any ONNX Runtime user would, or, where
// that takes pictures or gives logits in another way, the copy that doesn't.
type Predictor struct {
	Batch   int
	Size    [2]int // rows, columns of the image
	Classes int

	session *ort.Session
	image   *ort.Buffer // (B,3,H,W)
	logits  *ort.Buffer // (B,C)
}

// NewPredictor opens a session on the model's file. A file of fixed batch size
// is run at that size, any other at the given one.
func NewPredictor(m *Model, batch int, opt ort.Options) (*Predictor, error) {
	found, err := models.Find(m.Graph, m.Find)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	if found.Image == nil || found.Logits == nil {
		return nil, fmt.Errorf("%s: %w", m.Path, found.Err())
	}
	shape := found.Image.Shape.Clone()
	if shape[0].Known() {
		batch = int(shape[0].N)
	}
	shape[0] = onnx.D(int64(batch))
	if !shape.Known() || found.Classes == 0 {
		return nil, fmt.Errorf("%s: input %v or output %v has no fixed size; export the model with a fixed image size", m.Path, found.Image, found.Logits)
	}
	p := &Predictor{Batch: batch, Size: [2]int{int(shape[2].N), int(shape[3].N)}, Classes: int(found.Classes)}
	if err := opt.Load(); err != nil {
		return nil, err
	}
	opt.Name = m.Path
	if p.session, err = m.open(opt); err != nil {
		return nil, err
	}
	if err := p.bind(found.Image.Name, shape.Ints(), m.output()); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// output names the logits in what open opens.
func (m *Model) output() string {
	if m.Focus.Changed || m.trained {
		return m.Graph.Outputs[0].Name
	}
	return m.Focus.Output
}

// open opens a session on the user's file, on a checkpoint's conversion, or on
// the copy whose ends or weights were changed.
func (m *Model) open(opt ort.Options) (*ort.Session, error) {
	if m.Focus.Changed || m.trained {
		data, err := Encode(m.Graph)
		if err != nil {
			return nil, err
		}
		return ort.NewSession(data, opt)
	}
	if models.IsCheckpoint(m.Path) {
		return ort.NewSession(m.Document.Bytes(), opt)
	}
	return ort.Open(m.Path, opt)
}

func (p *Predictor) bind(input string, shape []int64, output string) (err error) {
	if p.image, err = ort.NewBuffer(onnx.Float, shape...); err != nil {
		return err
	}
	if p.logits, err = ort.NewBuffer(onnx.Float, int64(p.Batch), int64(p.Classes)); err != nil {
		return err
	}
	if err := p.session.Bind(input, p.image); err != nil {
		return err
	}
	return p.session.Bind(output, p.logits)
}

// Slot is the memory that a loader fills.
func (p *Predictor) Slot() dataset.Slot { return dataset.Slot{Images: p.image.Float32s()} }

// Predict runs count pictures (count,3,H,W), any number of them, and calls f for
// each. logits (C) is a view, good until f returns.
func (p *Predictor) Predict(images []float32, count int, f func(i int, logits []float32) error) error {
	values := 3 * p.Size[0] * p.Size[1]
	for start := 0; start < count; start += p.Batch {
		n := min(p.Batch, count-start)
		copy(p.image.Float32s(), images[start*values:][:n*values])
		clear(p.image.Float32s()[n*values:])
		if err := p.session.Run(); err != nil {
			return err
		}
		for i := range n {
			if err := f(start+i, p.logits.Float32s()[i*p.Classes:][:p.Classes]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Each runs every sample of a loader that fills the predictor's slot. logits
// (C) is a view, good until the next batch. Corrupt pictures are left out.
func (p *Predictor) Each(ctx context.Context, l *dataset.Loader, f func(sample int, label int64, logits []float32) error) error {
	return eachPicture(ctx, l, p.session, func(batch *dataset.Batch, i int) error {
		return f(batch.Samples[i], batch.Labels[i], p.logits.Float32s()[i*p.Classes:][:p.Classes])
	})
}

// eachPicture runs a session on every batch of a loader that fills its inputs,
// and calls f for every picture, in the loader's order. Stand-ins for corrupt
// pictures are left out.
func eachPicture(ctx context.Context, l *dataset.Loader, session *ort.Session, f func(batch *dataset.Batch, i int) error) error {
	return eachBatch(ctx, l, func(batch *dataset.Batch) error {
		if err := session.Run(); err != nil {
			return err
		}
		for i := range batch.Count {
			if batch.Replaced[i] {
				continue
			}
			if err := f(batch, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachBatch calls f with every batch of a loader, in order, and gives its slot
// back afterwards.
func eachBatch(ctx context.Context, l *dataset.Loader, f func(*dataset.Batch) error) error {
	epoch, err := l.Epoch(ctx, 0, 0)
	if err != nil {
		return err
	}
	defer epoch.Close()
	for {
		batch, err := epoch.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(batch); err != nil {
			return err
		}
		epoch.Release(batch)
	}
}

// Close frees the session and its memory.
func (p *Predictor) Close() {
	p.session.Close()
	for _, b := range []*ort.Buffer{p.image, p.logits} {
		if b != nil {
			b.Close()
		}
	}
}

// top1 is the index of the largest logit, the first of equals.
func top1(logits []float32) int {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return best
}

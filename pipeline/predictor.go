package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// Predictor runs a model's own file, as any ONNX Runtime user would, or, where
// that takes pictures or gives logits in another way, the copy that doesn't.
type Predictor struct {
	Batch   int    // as many pictures as are worth giving at once
	Size    [2]int // rows, columns of the image
	Classes int

	lanes  []lane
	size   int       // pictures of a lane
	scores []float32 // (count,C) of the last Predict
}

// lane is a run of some pictures beside others.
type lane struct {
	session *ort.Session
	image   *ort.Buffer // (b,3,H,W)
	logits  *ort.Buffer // (b,C)
}

// NewPredictor opens a session on the model's file.
func NewPredictor(m *Model, batch int, opt ort.Options) (*Predictor, error) {
	found, err := models.Find(m.Graph, m.Find)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	if found.Image == nil || found.Logits == nil {
		return nil, fmt.Errorf("%s: %w", m.Path, found.Err())
	}
	shape := found.Image.Shape.Clone()
	lanes, size, batch := lanesOf(shape[0], batch, &opt)
	shape[0] = onnx.D(int64(size))
	if !shape.Known() || found.Classes == 0 {
		return nil, fmt.Errorf("%s: input %v or output %v has no fixed size; export the model with a fixed image size", m.Path, found.Image, found.Logits)
	}
	p := &Predictor{Batch: batch, size: size, Size: [2]int{int(shape[2].N), int(shape[3].N)}, Classes: int(found.Classes)}
	if err := opt.Load(); err != nil {
		return nil, err
	}
	opt.Name = m.Path
	if err := p.open(m, found.Image.Name, shape.Ints(), lanes, opt); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// open opens the session, and lanes that share it.
func (p *Predictor) open(m *Model, input string, shape []int64, lanes int, opt ort.Options) error {
	session, err := m.open(opt)
	for err == nil {
		p.lanes = append(p.lanes, lane{session: session})
		if err = p.lanes[len(p.lanes)-1].bind(input, shape, m.output(), p.Classes); err != nil || len(p.lanes) == lanes {
			break
		}
		session, err = p.lanes[0].session.Share()
	}
	return err
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

func (l *lane) bind(input string, shape []int64, output string, classes int) (err error) {
	if l.image, err = ort.NewBuffer(onnx.Float, shape...); err != nil {
		return err
	}
	if l.logits, err = ort.NewBuffer(onnx.Float, shape[0], int64(classes)); err != nil {
		return err
	}
	if err := l.session.Bind(input, l.image); err != nil {
		return err
	}
	return l.session.Bind(output, l.logits)
}

// Predict runs count pictures (count,3,H,W), any number of them, and calls f for
// each, in order. logits (C) is a view, good until the next Predict.
func (p *Predictor) Predict(images []float32, count int, f func(i int, logits []float32) error) error {
	p.scores = slices.Grow(p.scores[:0], count*p.Classes)[:count*p.Classes]
	if err := onLanes(len(p.lanes), p.size, count, func(i, from, to int) error {
		return p.lanes[i].run(images, p.scores, from, to)
	}); err != nil {
		return err
	}
	for i := range count {
		if err := f(i, p.scores[i*p.Classes:][:p.Classes]); err != nil {
			return err
		}
	}
	return nil
}

// run predicts pictures from..to.
func (l *lane) run(images, scores []float32, from, to int) error {
	in, out := l.image.Float32s(), l.logits.Float32s()
	batch := int(l.image.Shape()[0])
	values, classes := len(in)/batch, len(out)/batch
	clear(in[copy(in, images[from*values:to*values]):])
	if err := l.session.Run(); err != nil {
		return err
	}
	copy(scores[from*classes:to*classes], out)
	return nil
}

// Each runs every sample of a loader. logits (C) is a view, good until the next
// batch. Corrupt pictures are left out.
func (p *Predictor) Each(ctx context.Context, l *dataset.Loader, f func(sample int, label int64, logits []float32) error) error {
	return eachBatch(ctx, l, 0, func(batch *dataset.Batch) error {
		return p.Predict(l.View(batch, 0), batch.Count, func(i int, logits []float32) error {
			if batch.Replaced[i] {
				return nil
			}
			return f(batch.Samples[i], batch.Labels[i], logits)
		})
	})
}

// eachBatch calls f with every batch of a loader from the first-th on, in order,
// and gives its slot back afterwards.
func eachBatch(ctx context.Context, l *dataset.Loader, first int, f func(*dataset.Batch) error) error {
	epoch, err := l.Epoch(ctx, 0, first)
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
	for _, l := range slices.Backward(p.lanes) {
		l.session.Close()
		for _, b := range []*ort.Buffer{l.image, l.logits} {
			if b != nil {
				b.Close()
			}
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

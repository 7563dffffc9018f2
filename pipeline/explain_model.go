package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// openForRelevance opens a model, or the best checkpoint of a run (its last
// where nothing was held out to choose by) with the run's preprocessing.
func openForRelevance(path string, o ModelOptions) (*Model, error) {
	if !IsRun(path) {
		return OpenModel(path, o)
	}
	run, err := ReadRun(path)
	if err != nil {
		return nil, err
	}
	m, err := OpenModel(run.Artifact(sourceArtifact), o)
	if err != nil {
		return nil, err
	}
	c, err := run.LoadParameters(Best)
	if errors.Is(err, ErrNoCheckpoint) {
		c, err = run.LoadParameters(Last)
	}
	if err != nil {
		return nil, err
	}
	for _, p := range c.Parameters {
		if err := m.Document.SetInitializer(p.Name, p.Tensor); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if m.Source, err = m.Document.Model(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if models.PreprocessOf(m.Source) == nil {
		size := m.Preprocess.Size
		m.Preprocess, err = preprocessFor(run.Config, m, int64(size[0]), int64(size[1]))
	}
	return m, err
}

// Explainer computes relevance maps by a model with relevance: the one that
// WithRelevance makes of a model, or a file that is one.
type Explainer struct {
	Batch int
	Size  [2]int // rows, columns of the image

	ends    RelevanceEnds
	session *ort.Session
	images  []*ort.Buffer // (B,3,H,W), one for each batch in flight
	target  *ort.Buffer   // (B)
}

// Explained is what an Explainer says of one picture.
type Explained struct {
	Sample int       // index in the loader's list
	Target int64     // as asked for: below zero for the predicted class
	Scores []float32 // (C): the model's output
	Map    []float32 // (H,W) in [0,1]; all zero where the relevance is the same everywhere
	Image  []float32 // (3,H,W), normalised
}

// NewExplainer derives what the model doesn't have and opens a session. A model
// of fixed batch size is run at that size, any other at the given one.
func NewExplainer(m *Model, batch int, o RelevanceOptions, opt ort.Options) (*Explainer, error) {
	source, ends, err := m.withRelevance(o)
	if err != nil {
		return nil, err
	}
	x := &Explainer{Batch: batch, Size: m.Preprocess.Size, ends: ends}
	opt.Name = m.Path
	if x.session, err = openModel(source, opt); err != nil {
		return nil, err
	}
	if err := x.allocate(); err != nil {
		x.Close()
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	return x, nil
}

// inMemory is up to how many bytes of weights a model is handed over in memory.
const inMemory = 1 << 30

// openModel opens a session on a model, by way of a temporary file where it is
// too big for a protobuf message.
func openModel(m *onnx.Model, opt ort.Options) (*ort.Session, error) {
	bytes := 0
	for _, v := range m.Graph.Inits {
		bytes += len(v.Data.Raw)
	}
	if bytes < inMemory {
		data, err := m.Encode()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", opt.Name, err)
		}
		return ort.NewSession(data, opt)
	}
	dir, err := os.MkdirTemp("", "relevit-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model.onnx")
	if err := onnx.WriteModel(path, m, onnx.WriteOptions{External: "model.data"}); err != nil {
		return nil, err
	}
	return ort.Open(path, opt)
}

// allocate makes the buffers for a batch of the session's size.
func (x *Explainer) allocate() (err error) {
	ports := x.session.Inputs()
	i := slices.IndexFunc(ports, func(p ort.Port) bool { return p.Name == x.ends.Image })
	if i < 0 || len(ports[i].Shape) != 4 {
		return fmt.Errorf("the graph has no picture input %s", x.ends.Image)
	}
	if d := ports[i].Shape[0]; d.Known() {
		x.Batch = int(d.N)
	}
	for range 2 {
		b, err := ort.NewBuffer(onnx.Float, int64(x.Batch), 3, int64(x.Size[0]), int64(x.Size[1]))
		if err != nil {
			return err
		}
		x.images = append(x.images, b)
	}
	x.target, err = ort.NewBuffer(onnx.Int64, int64(x.Batch))
	return err
}

// Slots is the memory that a loader fills; its labels are the targets.
func (x *Explainer) Slots() []dataset.Slot {
	var out []dataset.Slot
	for _, b := range x.images {
		out = append(out, dataset.Slot{Images: b.Float32s(), Labels: make([]int64, x.Batch)})
	}
	return out
}

// Each explains every sample of a loader that fills the explainer's slots, in
// the loader's order. What f gets is its own to keep. after hears how many
// pictures of the list each batch held. Corrupt pictures are left out.
func (x *Explainer) Each(ctx context.Context, l *dataset.Loader, f func(Explained) error, after func(pictures int)) error {
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
		found, err := x.explain(batch)
		epoch.Release(batch)
		if err != nil {
			return err
		}
		for _, e := range found {
			if err := f(e); err != nil {
				return err
			}
		}
		after(batch.Count)
	}
}

// explain runs the model on a batch.
func (x *Explainer) explain(batch *dataset.Batch) ([]Explained, error) {
	image := x.images[batch.Slot]
	clear(x.target.Int64s())
	copy(x.target.Int64s(), batch.Labels)
	out, err := x.session.Call(map[string]*ort.Buffer{x.ends.Image: image, x.ends.Target: x.target}, x.ends.Logits, x.ends.Map)
	if err != nil {
		return nil, err
	}
	scores, maps := out[x.ends.Logits], out[x.ends.Map]
	defer scores.Close()
	defer maps.Close()
	plane := x.Size[0] * x.Size[1]
	classes := scores.Len() / x.Batch
	if maps.Len() != x.Batch*plane || scores.Type() != onnx.Float {
		return nil, fmt.Errorf("output %s is %v and %s is %v, expected float32 for %d pictures of %dx%d", x.ends.Logits, scores, x.ends.Map, maps, x.Batch, x.Size[0], x.Size[1])
	}
	var list []Explained
	for i := range batch.Count {
		if batch.Replaced[i] {
			continue
		}
		list = append(list, Explained{Sample: batch.Samples[i], Target: batch.Labels[i],
			Scores: slices.Clone(scores.Float32s()[i*classes:][:classes]), Map: slices.Clone(maps.Float32s()[i*plane:][:plane]),
			Image: slices.Clone(image.Float32s()[i*3*plane:][:3*plane])})
	}
	return list, nil
}

// Close frees the session and its memory.
func (x *Explainer) Close() {
	x.session.Close()
	for _, b := range append(x.images, x.target) {
		b.Close()
	}
}

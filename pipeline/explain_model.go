package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/pipeline/dataset"
)

// explained is the model to explain by, and what a run says of it.
type explained struct {
	model      *Model
	startLayer int
	classes    *dataset.Classes // nil where no table is known
}

// openExplained opens a model, or the best checkpoint of a run (its last where
// nothing was held out to choose by) with the run's preprocessing.
func openExplained(opt ExplainOptions) (e explained, err error) {
	if opt.Classes != "" {
		if e.classes, err = dataset.ReadClasses(opt.Classes); err != nil {
			return e, err
		}
	}
	if opt.StartLayer != nil {
		e.startLayer = *opt.StartLayer
	}
	if !IsRun(opt.Model) {
		if e.model, err = OpenModel(opt.Model, opt.Open); err != nil {
			return e, err
		}
		f := opt.Open.Find
		if _, ok := RelevanceOf(e.model.Source); ok && (opt.StartLayer != nil || len(f.Attention) > 0 || f.Grid != [2]int64{} || f.PrefixTokens != nil) {
			err = &models.Error{Usage: true, Path: opt.Model, Problem: "the model has its relevance map already, with the attention maps, the grid and the first block that it was exported with",
				Advice: "give the model without relevance to state others"}
		}
		return e, err
	}
	run, err := ReadRun(opt.Model)
	if err != nil {
		return e, err
	}
	if opt.StartLayer == nil {
		e.startLayer = run.Config.StartLayer
	}
	if e.model, err = openTrained(run, opt.Open); err != nil || e.classes != nil {
		return e, err
	}
	e.classes = classesOf(run.Config)
	return e, nil
}

// openTrained opens a run's model with its best parameters, or its last.
func openTrained(run *Run, o ModelOptions) (*Model, error) {
	o.Find = findOf(run.Config, o.Find)
	m, err := OpenModel(run.Artifact(sourceArtifact), o)
	if err != nil {
		return nil, err
	}
	c, err := run.loadTrained()
	if err != nil {
		return nil, err
	}
	m.Warnings = append(m.Warnings, c.warnings()...)
	for _, g := range []*onnx.Graph{m.Source.Graph, m.Graph} {
		if err := fill(g, c.Parameters); err != nil {
			return nil, fmt.Errorf("%s: %w", run.Dir, err)
		}
	}
	m.trained = true
	if models.PreprocessOf(m.Source) == nil {
		size := m.Preprocess.Size
		m.Preprocess, err = preprocessFor(run.Config, m, int64(size[0]), int64(size[1]))
	}
	return m, err
}

// explainer computes relevance maps by a model with relevance: the one that
// WithRelevance makes of a model, or a file that is one.
type explainer struct {
	batch int
	size  [2]int // rows, columns of the image

	ends    RelevanceEnds
	session *ort.Session
	port    ort.Port    // (B,3,H,W) or (B,H,W,3) of any float type
	image   *ort.Buffer // (B,3,H,W) float32
	target  *ort.Buffer // (B)
}

// newExplainer derives what the model doesn't have and opens a session. A model
// of fixed batch size is run at that size, any other at the given one.
func newExplainer(m *Model, batch, startLayer int, opt ort.Options) (*explainer, error) {
	source, ends, err := m.withRelevance(RelevanceOptions{StartLayer: startLayer})
	if err != nil {
		return nil, err
	}
	if err := opt.Load(); err != nil {
		return nil, err
	}
	x := &explainer{batch: batch, size: m.Preprocess.Size, ends: ends}
	reduced := *source
	reduced.Graph = onlyEnds(source.Graph, ends)
	opt.Name = m.Path
	if x.session, err = openModel(&reduced, opt); err != nil {
		return nil, err
	}
	if err := x.allocate(); err != nil {
		x.close()
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	return x, nil
}

// onlyEnds returns a copy of a graph with only what the ends need: a text tower
// beside the picture's would want inputs of its own.
func onlyEnds(g *onnx.Graph, ends RelevanceEnds) *onnx.Graph {
	g, _ = g.Clone()
	g.Outputs = slices.DeleteFunc(g.Outputs, func(v *onnx.Value) bool { return v.Name != ends.Logits && v.Name != ends.Map })
	g.Prune()
	uses := g.Uses()
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *onnx.Value) bool { return len(uses[v]) == 0 })
	return g
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
func (x *explainer) allocate() (err error) {
	ports := x.session.Inputs()
	i := slices.IndexFunc(ports, func(p ort.Port) bool { return p.Name == x.ends.Image })
	if i < 0 || len(ports[i].Shape) != 4 {
		return fmt.Errorf("the graph has no picture input %s", x.ends.Image)
	}
	x.port = ports[i]
	if d := x.port.Shape[0]; d.Known() {
		x.batch = int(d.N)
	}
	if x.image, err = ort.NewBuffer(onnx.Float, int64(x.batch), 3, int64(x.size[0]), int64(x.size[1])); err != nil {
		return err
	}
	x.target, err = ort.NewBuffer(onnx.Int64, int64(x.batch))
	return err
}

// run gives the scores (B,C) and maps (B,H,W) of the image and target buffers.
func (x *explainer) run() (scores, maps []float32, err error) {
	pixels, err := x.pixels()
	if err != nil {
		return nil, nil, err
	}
	if pixels != x.image {
		defer pixels.Close()
	}
	out, err := x.session.Call(map[string]*ort.Buffer{x.ends.Image: pixels, x.ends.Target: x.target}, x.ends.Logits, x.ends.Map)
	if err != nil {
		return nil, nil, err
	}
	defer out[x.ends.Logits].Close()
	defer out[x.ends.Map].Close()
	if scores, err = floats(out[x.ends.Logits]); err != nil {
		return nil, nil, err
	}
	if maps, err = floats(out[x.ends.Map]); err != nil {
		return nil, nil, err
	}
	if len(maps) != x.batch*x.size[0]*x.size[1] {
		return nil, nil, fmt.Errorf("output %s is %v, expected maps of %d pictures of %dx%d", x.ends.Map, out[x.ends.Map], x.batch, x.size[0], x.size[1])
	}
	return slices.Clone(scores), slices.Clone(maps), nil
}

// pixels is the image in the type and the layout that the graph takes: its
// buffer, or a copy.
func (x *explainer) pixels() (*ort.Buffer, error) {
	last := !x.port.Shape[1].Is(3) && x.port.Shape[3].Is(3)
	if !last && x.port.Type == onnx.Float {
		return x.image, nil
	}
	values, shape := x.image.Float32s(), x.image.Shape()
	if last {
		values, shape = channelsBehind(values, shape), []int64{shape[0], shape[2], shape[3], shape[1]}
	}
	t, err := onnx.FloatTensor(values, shape...).As(x.port.Type)
	if err != nil {
		return nil, fmt.Errorf("input %s: %w", x.ends.Image, err)
	}
	return ort.BufferFrom(t)
}

// channelsBehind moves the channels of (B,C,H,W) behind rows and columns.
func channelsBehind(values []float32, shape []int64) []float32 {
	channels, plane := int(shape[1]), int(shape[2]*shape[3])
	out := make([]float32, len(values))
	for i, v := range values {
		out[i-i%(channels*plane)+i%plane*channels+i/plane%channels] = v
	}
	return out
}

// floats are a buffer's values, a view where they are float32.
func floats(b *ort.Buffer) ([]float32, error) {
	if b.Type() == onnx.Float {
		return b.Float32s(), nil
	}
	t, err := b.Tensor().As(onnx.Float)
	if err != nil {
		return nil, err
	}
	return t.Float32s()
}

// close frees the session and its memory.
func (x *explainer) close() {
	x.session.Close()
	for _, b := range []*ort.Buffer{x.image, x.target} {
		if b != nil {
			b.Close()
		}
	}
}

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
	o.Find, o.Graphs = findOf(run.Config, o.Find), graphOptionsOf(run.Config)
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
	batch int    // as many pictures as are worth giving at once
	size  [2]int // rows, columns of the image

	ends  RelevanceEnds
	port  ort.Port // (b,3,H,W) or (b,H,W,3) of any float type
	lanes []explainerLane
}

// explainerLane explains some pictures beside others.
type explainerLane struct {
	session *ort.Session
	image   *ort.Buffer // (b,3,H,W) float32
	target  *ort.Buffer // (b)
}

// newExplainer derives what the model doesn't have and opens a session.
func newExplainer(m *Model, batch, startLayer int, opt ort.Options) (*explainer, error) {
	source, ends, err := m.withRelevance(RelevanceOptions{StartLayer: startLayer})
	if err != nil {
		return nil, err
	}
	if err := opt.Load(); err != nil {
		return nil, err
	}
	reduced := *source
	reduced.Graph = onlyEnds(source.Graph, ends)
	i := slices.IndexFunc(reduced.Graph.Inputs, func(v *onnx.Value) bool { return v.Name == ends.Image })
	if i < 0 || len(reduced.Graph.Inputs[i].Shape) != 4 {
		return nil, fmt.Errorf("%s: the graph has no picture input %s", m.Path, ends.Image)
	}
	opt.Name = m.Path
	lanes, size, batch := lanesOf(reduced.Graph.Inputs[i].Shape[0], batch, &opt)
	x := &explainer{batch: batch, size: m.Preprocess.Size, ends: ends}
	if err := x.open(&reduced, lanes, size, opt); err != nil {
		x.close()
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	return x, nil
}

// open opens the session, and lanes of size pictures that share it.
func (x *explainer) open(m *onnx.Model, lanes, size int, opt ort.Options) error {
	session, err := openModel(m, opt)
	for err == nil {
		l := explainerLane{session: session}
		if l.image, err = ort.NewBuffer(onnx.Float, int64(size), 3, int64(x.size[0]), int64(x.size[1])); err == nil {
			l.target, err = ort.NewBuffer(onnx.Int64, int64(size))
		}
		if x.lanes = append(x.lanes, l); err != nil || len(x.lanes) == lanes {
			break
		}
		session, err = x.lanes[0].session.Share()
	}
	if err != nil {
		return err
	}
	ports := x.lanes[0].session.Inputs()
	x.port = ports[slices.IndexFunc(ports, func(p ort.Port) bool { return p.Name == x.ends.Image })]
	return nil
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

// run gives the scores (count,C) and maps (count,H,W) of pictures (count,3,H,W),
// any number of them, each for its class.
func (x *explainer) run(images []float32, classes []int64) (scores, maps []float32, err error) {
	size := x.lanes[0].target.Len()
	parts := make([][2][]float32, (len(classes)+size-1)/size)
	err = onLanes(len(x.lanes), size, len(classes), func(i, from, to int) (err error) {
		part := &parts[from/size]
		part[0], part[1], err = x.runLane(&x.lanes[i], images[from*3*x.size[0]*x.size[1]:], classes[from:to])
		return err
	})
	for _, part := range parts {
		scores, maps = append(scores, part[0]...), append(maps, part[1]...)
	}
	return scores, maps, err
}

// runLane explains as many pictures as a lane takes, or fewer.
func (x *explainer) runLane(l *explainerLane, images []float32, classes []int64) (scores, maps []float32, err error) {
	plane, size := x.size[0]*x.size[1], l.target.Len()
	to := l.image.Float32s()
	clear(to[copy(to, images[:len(classes)*3*plane]):])
	clear(l.target.Int64s()[copy(l.target.Int64s(), classes):])
	pixels, err := x.pixels(l.image)
	if err != nil {
		return nil, nil, err
	}
	if pixels != l.image {
		defer pixels.Close()
	}
	out, err := l.session.Call(map[string]*ort.Buffer{x.ends.Image: pixels, x.ends.Target: l.target}, x.ends.Logits, x.ends.Map)
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
	if len(maps) != size*plane {
		return nil, nil, fmt.Errorf("output %s is %v, expected maps of %d pictures of %dx%d", x.ends.Map, out[x.ends.Map], size, x.size[0], x.size[1])
	}
	return slices.Clone(scores[:len(scores)/size*len(classes)]), slices.Clone(maps[:len(classes)*plane]), nil
}

// pixels is the image in the type and the layout that the graph takes: its
// buffer, or a copy.
func (x *explainer) pixels(image *ort.Buffer) (*ort.Buffer, error) {
	last := !x.port.Shape[1].Is(3) && x.port.Shape[3].Is(3)
	if !last && x.port.Type == onnx.Float {
		return image, nil
	}
	values, shape := image.Float32s(), image.Shape()
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
	for _, l := range slices.Backward(x.lanes) {
		l.session.Close()
		for _, b := range []*ort.Buffer{l.image, l.target} {
			if b != nil {
				b.Close()
			}
		}
	}
}

package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/pipeline/picture"
)

// What can be known of a picture's patches.
const (
	Queries   = "queries"   // of one block's attention, the heads side by side: (B,P,H*D)
	Keys      = "keys"      // the same
	Values    = "values"    // the same
	Attention = "attention" // from the class token, or the mean of the patches where there is none, over the heads of one block: (B,P)
	Relevance = "relevance" // of the predicted class: (B,P)
)

// Feature names one thing to know of every patch.
type Feature struct {
	Kind  string
	Block int // counted from 0; of Relevance 0
}

func (f Feature) output() string { return fmt.Sprintf("%s.%d", f.Kind, f.Block) }

// FeatureGraph computes features of a picture's patches.
type FeatureGraph struct {
	Graph *onnx.Graph // picture (B,3,H,W) -> each of the features
	Grid  [2]int      // patches: rows, columns
	Size  [2]int      // of the picture: rows, columns
}

// NewFeatureGraph cuts a model's graph behind the features that are wanted. Only
// Relevance needs a classifier. The graph is for the given batch size; one whose
// own size is fixed and can't be changed keeps it.
func (m *Model) NewFeatureGraph(batch int64, wanted []Feature) (*FeatureGraph, error) {
	g, err := m.specialized(batch)
	if err != nil {
		return nil, err
	}
	x, err := m.newFeatureBuilder(g)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	names := make([]string, len(wanted))
	var out []*onnx.Value
	for i, f := range wanted {
		v, err := x.feature(f)
		if err != nil {
			return nil, err
		}
		out, names[i] = append(out, v), f.output()
	}
	g.Outputs = out
	err = x.Err()
	if err == nil {
		err = nameOutputs(g, names)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: taking features: %w", m.Path, err)
	}
	g.Prune()
	uses := g.Uses()
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *onnx.Value) bool { return v != x.s.Image && len(uses[v]) == 0 })
	if len(g.Inputs) > 1 {
		return nil, &models.Error{Path: m.Path, Problem: fmt.Sprintf("its features need the inputs %s besides the picture", strings.Join(valueNames(g.Inputs[1:]), ", ")),
			Advice: "export the model with the picture as its only input"}
	}
	shape := x.s.Image.Shape
	return &FeatureGraph{Graph: g, Grid: [2]int{int(x.s.Grid[0]), int(x.s.Grid[1])}, Size: [2]int{int(shape[2].N), int(shape[3].N)}}, nil
}

// specialized copies the model's graph, the picture as its first input, for a
// batch size.
func (m *Model) specialized(batch int64) (*onnx.Graph, error) {
	g, _ := m.Graph.Clone()
	at := slices.IndexFunc(g.Inputs, func(v *onnx.Value) bool { return v.Name == m.Focus.Input })
	if at > 0 {
		image := g.Inputs[at]
		g.Inputs = slices.Insert(slices.Delete(g.Inputs, at, at+1), 0, image)
	}
	if at < 0 {
		return g, nil // Find says why there is no picture
	}
	whole, _ := g.Clone()
	if err := passes.Specialize(g, batch); err != nil {
		if whole.Inputs[0].Shape[0].Known() {
			return whole, nil
		}
		return nil, fmt.Errorf("%s: fixing the batch size to %d: %w", m.Path, batch, err)
	}
	return g, nil
}

// blocks is the number of blocks whose attention is found.
func (m *Model) blocks() (int, error) {
	found, err := models.Find(m.Graph, m.Find)
	if err == nil {
		err = found.FeaturesErr()
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", m.Path, err)
	}
	return found.Attention[len(found.Attention)-1].Block + 1, nil
}

// classifies reports whether relevance of a class can be told.
func (m *Model) classifies() bool {
	found, err := models.Find(m.Graph, m.Find)
	return err == nil && found.Err() == nil
}

// featureBuilder emits features behind a model's graph.
type featureBuilder struct {
	*onnx.Builder
	s       *models.Structure
	factors []models.Factors
	logits  *onnx.Value
}

func (m *Model) newFeatureBuilder(g *onnx.Graph) (*featureBuilder, error) {
	x := &featureBuilder{}
	var err error
	if x.s, err = models.Find(g, m.Find); err == nil {
		err = x.s.FeaturesErr()
	}
	if err != nil {
		return nil, err
	}
	if x.factors, err = models.FindFactors(g, x.s); err != nil {
		return nil, err
	}
	x.logits = x.s.Logits
	x.Builder = onnx.NewBuilder(g)
	return x, nil
}

func (x *featureBuilder) feature(f Feature) (*onnx.Value, error) {
	if f.Kind == Relevance {
		return x.relevance()
	}
	var parallel []*onnx.Value
	for i, a := range x.s.Attention {
		if a.Block != f.Block {
			continue
		}
		switch f.Kind {
		case Queries:
			parallel = append(parallel, x.patches(x.factors[i].Queries, a))
		case Keys:
			parallel = append(parallel, x.patches(x.factors[i].Keys, a))
		case Values:
			parallel = append(parallel, x.patches(x.factors[i].Values, a))
		case Attention:
			parallel = append(parallel, x.attention(a))
		}
	}
	if parallel == nil {
		last := x.s.Attention[len(x.s.Attention)-1].Block
		return nil, &models.Error{Usage: true, Problem: fmt.Sprintf("block %d isn't there: the model has the blocks 0 to %d", f.Block, last)}
	}
	if f.Kind == Attention {
		sum := parallel[0]
		for _, v := range parallel[1:] {
			sum = x.Add(sum, v)
		}
		return sum, nil
	}
	return x.Concat(2, parallel...), nil
}

// patches lays a factor's heads side by side and leaves the prefix tokens out.
func (x *featureBuilder) patches(f models.Factor, a models.Attention) *onnx.Value {
	v, at := f.Value, f.Axes
	batch := x.s.Image.Shape[0]
	if at.Heads < 0 && len(v.Shape) == 3 { // (B*H,...) to (B,H,...)
		v = x.Reshape(v, onnx.Shape{batch, onnx.D(a.Heads), v.Shape[1], v.Shape[2]})
		at = models.FactorAxes{Batch: 0, Heads: 1, Tokens: at.Tokens + 1, Channels: at.Channels + 1}
	}
	if len(v.Shape) != 4 || at.Batch < 0 || at.Heads < 0 {
		x.Fail("%v isn't (batch,heads,tokens,channels) in any order", v)
		return v
	}
	heads, channels := v.Shape[at.Heads], v.Shape[at.Channels]
	v = x.Transpose(v, int64(at.Batch), int64(at.Tokens), int64(at.Heads), int64(at.Channels))
	v = x.Reshape(v, onnx.Shape{batch, onnx.D(a.Tokens), heads.Times(channels)}) // (B,N,H*D)
	if x.s.PrefixTokens > 0 {
		v = x.Slice(v, 1, x.s.PrefixTokens, a.Tokens)
	}
	return x.Scale(v, 1/f.Scale)
}

// attention is the mean over heads of what the classifier's token, or the mean
// of the patches, gives to each patch.
func (x *featureBuilder) attention(a models.Attention) *onnx.Value {
	m := gradients.AttentionMap{Value: a.Value, Heads: a.Heads, Transposed: a.Transposed}
	A := x.Mean(m.Square(x.Builder, a.Value), 1) // (B,N,N)
	from, to := int64(0), int64(1)
	if x.s.FromMean() || x.s.PrefixTokens == 0 {
		from, to = x.s.PrefixTokens, a.Tokens
	}
	row := x.Mean(x.Slice(A, 1, from, to), 1) // (B,N)
	return x.Slice(row, 1, x.s.PrefixTokens, a.Tokens)
}

// relevance is the rollout of the predicted class.
func (x *featureBuilder) relevance() (*onnx.Value, error) {
	if err := x.s.Err(); err != nil {
		return nil, err
	}
	s := subjectOf(x.s, x.logits)
	class := x.Op("ArgMax", []onnx.Attr{{Name: "axis", Value: int64(1)}, {Name: "keepdims", Value: int64(0)}}, x.logits)
	maps, grads, err := gradients.AttentionGradients(x.Builder, s, class, 0)
	if err != nil {
		return nil, fmt.Errorf("deriving the relevance map: %w", err)
	}
	return gradients.Rollout(x.Builder, s, maps, grads).Row, nil
}

// wholePicture prepares pictures without a crop: squashed to rows x columns,
// bicubic as PIL, so that patches cover all of them.
func wholePicture(p picture.Preprocess, size [2]int) picture.Preprocess {
	p.Size, p.Resize, p.CropPct, p.Interpolation = size, picture.ResizeSquash, 1, picture.Bicubic
	return p
}

// Features runs a FeatureGraph.
type Features struct {
	*FeatureGraph
	Batch int

	session *ort.Session
	outputs []*ort.Buffer // one for each feature
}

// OpenFeatures opens a session on a graph of features.
func OpenFeatures(fg *FeatureGraph, opt ort.Options) (*Features, error) {
	f := &Features{FeatureGraph: fg, Batch: int(fg.Graph.Inputs[0].Shape[0].N)}
	data, err := Encode(fg.Graph)
	if err != nil {
		return nil, err
	}
	if err := opt.Load(); err != nil {
		return nil, err
	}
	opt.Name = "the features graph"
	if f.session, err = ort.NewSession(data, opt); err != nil {
		return nil, err
	}
	for _, v := range fg.Graph.Outputs {
		b, err := ort.NewBuffer(v.Type, v.Shape.Ints()...)
		if err == nil {
			f.outputs = append(f.outputs, b)
			err = f.session.Bind(v.Name, b)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("output %s: %w", v.Name, err)
		}
	}
	return f, nil
}

// Run computes the features of a batch in a buffer (B,3,H,W).
func (f *Features) Run(images *ort.Buffer) error {
	if err := f.session.Bind(f.Graph.Inputs[0].Name, images); err != nil {
		return err
	}
	return f.session.Run()
}

// Of copies the features of one picture of the batch, each (P,...).
func (f *Features) Of(i int) [][]float32 {
	out := make([][]float32, len(f.outputs))
	for j, b := range f.outputs {
		n := b.Len() / f.Batch
		out[j] = slices.Clone(b.Float32s()[i*n:][:n])
	}
	return out
}

// Close frees the session and its memory.
func (f *Features) Close() {
	f.session.Close()
	for _, b := range f.outputs {
		b.Close()
	}
}

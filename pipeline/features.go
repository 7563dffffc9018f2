package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/pipeline/picture"
)

// What an attention is computed from.
const (
	Queries     = "queries"
	Keys        = "keys"
	ValueTokens = "values"
)

// FeatureOptions say which features of the patches are wanted.
type FeatureOptions struct {
	Kind   string // Queries, Keys or ValueTokens; "": Keys
	Blocks []int  // counted from 0, or, below zero, from the last
}

// FeatureGraph computes features of a picture's patches.
type FeatureGraph struct {
	Graph  *onnx.Graph // Image (B,3,H,W) -> for each block (B,P,H*D), the heads side by side
	Grid   [2]int64    // patches: rows, columns
	Size   [2]int64    // of the picture: rows, columns
	Blocks []int       // counted from 0
}

// featureOutput names a block's output.
func featureOutput(block int) string { return fmt.Sprintf("features.%d", block) }

// NewFeatureGraph cuts a model's graph behind the last block of which features
// are wanted. A classifier isn't needed. The graph is for the given batch size;
// one whose own size is fixed and can't be changed keeps it.
func (m *Model) NewFeatureGraph(batch int64, o FeatureOptions) (*FeatureGraph, error) {
	g, _ := m.Graph.Clone()
	found, err := models.Find(g, m.Find)
	if err == nil {
		err = found.FeaturesErr()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	factors, err := models.FindFactors(g, found)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	fg := &FeatureGraph{Graph: g, Grid: found.Grid}
	if fg.Blocks, err = blocksOf(o.Blocks, found); err != nil {
		return nil, err
	}
	b := onnx.NewBuilder(g)
	g.Outputs = nil
	var names []string
	for _, block := range fg.Blocks {
		var parallel []*onnx.Value
		for i, a := range found.Attention {
			if a.Block == block {
				parallel = append(parallel, patchFeatures(b, factorOf(factors[i], o.Kind), a, found))
			}
		}
		g.Outputs, names = append(g.Outputs, b.Concat(2, parallel...)), append(names, featureOutput(block))
	}
	if err := b.Err(); err != nil {
		return nil, fmt.Errorf("%s: taking features: %w", m.Path, err)
	}
	return fg, fg.reduce(m, found.Image, batch, names)
}

// factorOf picks the factor of a kind.
func factorOf(x models.Factors, kind string) models.Factor {
	switch kind {
	case Queries:
		return x.Queries
	case ValueTokens:
		return x.Values
	}
	return x.Keys
}

// blocksOf counts blocks from 0, each once.
func blocksOf(blocks []int, s *models.Structure) ([]int, error) {
	depth := s.Attention[len(s.Attention)-1].Block + 1
	var out []int
	for _, n := range blocks {
		at := n
		if n < 0 {
			at = depth + n
		}
		if at < 0 || at >= depth {
			return nil, &models.Error{Usage: true, Problem: fmt.Sprintf("--block %d: the model has the blocks 0 to %d, or -%d to -1 counted from the last", n, depth-1, depth)}
		}
		if !slices.Contains(out, at) {
			out = append(out, at)
		}
	}
	slices.Sort(out)
	return out, nil
}

// patchFeatures lays a factor's heads side by side and leaves the prefix tokens
// out: (B,P,H*D).
func patchFeatures(b *onnx.Builder, x models.Factor, a models.Attention, s *models.Structure) *onnx.Value {
	v, at := x.Value, x.Axes
	batch := s.Image.Shape[0]
	if at.Heads < 0 && len(v.Shape) == 3 { // (B*H,...) to (B,H,...)
		v = b.Reshape(v, onnx.Shape{batch, onnx.D(a.Heads), v.Shape[1], v.Shape[2]})
		at = models.FactorAxes{Batch: 0, Heads: 1, Tokens: at.Tokens + 1, Channels: at.Channels + 1}
	}
	if len(v.Shape) != 4 || at.Batch < 0 || at.Heads < 0 {
		b.Fail("%v isn't (batch,heads,tokens,channels) in any order", v)
		return v
	}
	heads, channels := v.Shape[at.Heads], v.Shape[at.Channels]
	v = b.Transpose(v, int64(at.Batch), int64(at.Tokens), int64(at.Heads), int64(at.Channels))
	v = b.Reshape(v, onnx.Shape{batch, onnx.D(a.Tokens), heads.Times(channels)}) // (B,N,H*D)
	if s.PrefixTokens > 0 {
		v = b.Slice(v, 1, s.PrefixTokens, a.Tokens)
	}
	return b.Scale(v, 1/x.Scale)
}

// reduce leaves of the graph what its outputs need, and fixes the batch.
func (fg *FeatureGraph) reduce(m *Model, image *onnx.Value, batch int64, names []string) error {
	g := fg.Graph
	if err := nameOutputs(g, names); err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	g.Prune()
	uses := g.Uses()
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *onnx.Value) bool { return v != image && len(uses[v]) == 0 })
	slices.SortStableFunc(g.Inputs, func(a, b *onnx.Value) int {
		switch image {
		case a:
			return -1
		case b:
			return 1
		}
		return 0
	})
	if len(g.Inputs) > 1 {
		return &models.Error{Path: m.Path, Problem: fmt.Sprintf("its features need the inputs %s besides the picture", strings.Join(valueNames(g.Inputs[1:]), ", ")),
			Advice: "export the model with the picture as its only input"}
	}
	fg.Size = [2]int64(image.Shape[2:].Ints())
	whole, _ := g.Clone()
	if err := passes.Specialize(g, batch); err != nil {
		if !whole.Inputs[0].Shape[0].Known() {
			return fmt.Errorf("%s: fixing the batch size to %d: %w", m.Path, batch, err)
		}
		fg.Graph = whole
	}
	return nil
}

// wholePicture prepares pictures without a crop: squashed to rows x columns,
// bicubic as PIL, so that features cover all of them.
func wholePicture(p picture.Preprocess, size [2]int) picture.Preprocess {
	p.Size, p.Resize, p.CropPct, p.Interpolation = size, picture.ResizeSquash, 1, picture.Bicubic
	return p
}

// Features runs a FeatureGraph.
type Features struct {
	*FeatureGraph
	Batch int

	session *ort.Session
	outputs []*ort.Buffer // (B,P,H*D), by block
}

// OpenFeatures opens a session on a graph of features.
func OpenFeatures(fg *FeatureGraph, opt ort.Options) (*Features, error) {
	f := &Features{FeatureGraph: fg, Batch: int(fg.Graph.Inputs[0].Shape[0].N)}
	data, err := Encode(fg.Graph)
	if err != nil {
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

// Of copies the features (P,H*D) of one picture of the batch, by block.
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

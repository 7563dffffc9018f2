package pipeline

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// TargetInput is the input by which a model with relevance is told the class
// to explain: (1) or (B) int64, below zero for the class that it predicts. A
// class that the model doesn't have gets a map of zeros.
const TargetInput = "target"

// MetaRelevance is the metadata key under which a model with relevance names
// its ends, as JSON.
const MetaRelevance = "relevit.relevance"

// RelevanceOptions say how a model is to explain itself.
type RelevanceOptions struct {
	Find       models.FindOptions
	StartLayer int // first block of the rollout
	// RequireTarget leaves TargetInput without its default, the predicted
	// class: some runtimes, onnxruntime-web among them, take no value for an
	// input that has one.
	RequireTarget bool
}

// RelevanceEnds names the inputs and outputs of a model with relevance.
type RelevanceEnds struct {
	Image    string `json:"image"`  // input (B,3,H,W)
	Target   string `json:"target"` // input (1) or (B) int64
	Logits   string `json:"logits"` // output (B,C)
	Map      string `json:"map"`    // output (B,1,H,W)
	Optional bool   `json:"-"`      // Target has a default
}

// RelevanceOf returns the ends of a model with relevance; ok is false for a
// model without.
func RelevanceOf(m *onnx.Model) (ends RelevanceEnds, ok bool) {
	text, _ := m.Meta(MetaRelevance)
	if m.Graph == nil || json.Unmarshal([]byte(text), &ends) != nil {
		return RelevanceEnds{}, false
	}
	named := func(list []*onnx.Value, name string) *onnx.Value {
		if i := slices.IndexFunc(list, func(v *onnx.Value) bool { return v.Name == name }); i >= 0 {
			return list[i]
		}
		return nil
	}
	target := named(m.Graph.Inputs, ends.Target)
	if target == nil || named(m.Graph.Inputs, ends.Image) == nil || named(m.Graph.Outputs, ends.Logits) == nil || named(m.Graph.Outputs, ends.Map) == nil {
		return RelevanceEnds{}, false
	}
	ends.Optional = target.Data != nil
	return ends, true
}

// WithRelevance returns a model that computes what m does, by the same nodes
// under the same names, and also the relevance map of a class: it has the last
// input TargetInput and the last output MapOutput, (B,1,H,W) float32, scaled to
// [0,1] per image, or zero where the relevance is the same everywhere. The
// gradients of the attention are nodes like any others, of ai.onnx alone and of
// m's opset; where that is too old for them, m has functions or branches of its
// own, or computes in 16 bits, in which gradients vanish, the whole model is
// raised to opset 21 and float32. m stays as it is.
func WithRelevance(m *onnx.Model, o RelevanceOptions) (*onnx.Model, error) {
	if _, ok := RelevanceOf(m); ok {
		return nil, &models.Error{Problem: fmt.Sprintf("the model has a relevance map already (output %s)", MapOutput)}
	}
	out, err := extensible(m)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{TargetInput, MapOutput} {
		if err := freeName(out.Graph, name); err != nil {
			return nil, err
		}
	}
	g, err := prepareSized(out, o.Find)
	if err != nil {
		return nil, err
	}
	ends, target, relevance, err := emitRelevance(g, o)
	if err != nil {
		return nil, err
	}
	x := extension{own: out.Graph, derived: g}
	if err := x.add(target, relevance, out.OpsetVersion("")); err != nil {
		return nil, err
	}
	if !o.RequireTarget {
		in := out.Graph.Inputs[len(out.Graph.Inputs)-1]
		in.Data = onnx.Int64Tensor([]int64{-1}, 1)
		out.Graph.Inits = append(out.Graph.Inits, in)
	}
	text, err := json.Marshal(ends)
	if err != nil {
		return nil, err
	}
	out.Metadata = append(out.Metadata, onnx.KV{Key: MetaRelevance, Value: string(text)})
	return out, nil
}

// extensible copies a model whose graph takes the nodes of relevance: itself,
// or what it means in opset 21 and float32.
func extensible(m *onnx.Model) (*onnx.Model, error) {
	out := *m
	out.Metadata = slices.Clone(m.Metadata)
	if m.Graph == nil {
		return nil, &models.Error{Problem: "the model has no graph"}
	}
	half := passes.HasHalf(m.Graph)
	if len(m.Bodies) == 0 && m.OpsetVersion("") >= passes.LowestOpset && !half && !passes.HasBranches(m.Graph) {
		out.Graph, _ = m.Graph.Clone()
		return &out, nil
	}
	var err error
	if out.Graph, err = passes.Raised(m); err != nil {
		return nil, err
	}
	if half {
		if err := passes.ToFloat32(out.Graph); err != nil {
			return nil, err
		}
	}
	out.Opsets = []onnx.Opset{{Version: onnx.Dialect}}
	out.Functions, out.Bodies = nil, nil
	return &out, nil
}

// prepareSized is passes.Prepare; where the graph leaves the size of pictures
// open, the relevance map fixes it, in m's own graph, too.
func prepareSized(m *onnx.Model, opt models.FindOptions) (*onnx.Graph, error) {
	g, err := passes.Prepare(m)
	if err != nil {
		return nil, err
	}
	focused, _ := g.Clone()
	focus, err := models.FocusOn(focused, opt)
	if err != nil || focus.Size == [2]int64{} {
		return g, err
	}
	image, size := m.Graph.Find(focus.Input), focused.Inputs[0].Shape // (B,channels,rows,columns)
	image.Shape = onnx.Shape{image.Shape[0], size[1], size[2], size[3]}
	if focus.ChannelsLast {
		image.Shape = onnx.Shape{image.Shape[0], size[2], size[3], size[1]}
	}
	return passes.Prepare(m)
}

// freeName renames what has a name within the graph. A name that users of the
// graph know can't be freed.
func freeName(g *onnx.Graph, name string) error {
	v := g.Find(name)
	if v == nil {
		return nil
	}
	if v.Node == nil || slices.Contains(g.Outputs, v) {
		return &models.Error{Problem: fmt.Sprintf("the model has an input, output or initializer %q of its own, which is what the relevance needs: rename that", name)}
	}
	g.Rename(v, name+"/own")
	return nil
}

// emitRelevance emits the relevance map of a target class behind a prepared graph.
func emitRelevance(g *onnx.Graph, o RelevanceOptions) (ends RelevanceEnds, target, relevance *onnx.Value, err error) {
	found, err := models.Find(g, o.Find)
	if err == nil {
		err = found.Err()
	}
	if err != nil {
		return ends, nil, nil, err
	}
	at, output := slices.Index(g.Outputs, found.Logits), found.Output.Name
	if at < 0 { // the output is behind a softmax
		at, g.Outputs = len(g.Outputs), append(g.Outputs, found.Logits)
	}
	if _, err := passes.Narrow(g, mapsOf(found)...); err != nil {
		return ends, nil, nil, err
	}
	s := subjectOf(found, g.Outputs[at])
	ends = RelevanceEnds{Image: s.Image.Name, Target: TargetInput, Logits: output, Map: MapOutput}
	target = g.AddInput(TargetInput, onnx.Int64, onnx.Shape{{N: 1, Sym: "targets"}})
	b := onnx.NewBuilder(g)
	maps, grads, err := gradients.AttentionGradients(b, s, classOf(b, target, s.Logits), o.StartLayer)
	if err != nil {
		return ends, nil, nil, fmt.Errorf("deriving the relevance map: %w", err)
	}
	if len(maps) == 0 {
		return ends, nil, nil, &models.Error{Usage: true, Problem: fmt.Sprintf("no attention lies in block %d, counted from 0, or behind it", o.StartLayer)}
	}
	relevance = b.Cast(gradients.Rollout(b, s, maps, grads).Map, onnx.Float)
	relevance = b.Named(MapOutput, relevance)
	return ends, target, relevance, b.Err()
}

// mapsOf lists the attention maps.
func mapsOf(found *models.Structure) []*onnx.Value {
	var out []*onnx.Value
	for _, a := range found.Attention {
		out = append(out, a.Value)
	}
	return out
}

// subjectOf is a structure as the gradients want it.
func subjectOf(found *models.Structure, logits *onnx.Value) gradients.Subject {
	image := found.Image
	if found.ChannelsLast { // only its size matters here
		at := image.Shape
		image = &onnx.Value{Name: image.Name, Type: image.Type, Shape: onnx.Shape{at[0], at[3], at[1], at[2]}}
	}
	s := gradients.Subject{Image: image, Logits: logits, Prefix: found.PrefixTokens, Grid: found.Grid, Mean: found.FromMean()}
	for _, at := range found.Attention {
		s.Maps = append(s.Maps, gradients.AttentionMap{Value: at.Value, Block: at.Block, Heads: at.Heads, Transposed: at.Transposed})
	}
	return s
}

// classOf is the class to explain for every image: (B) from (1) or (B), the
// largest logit's where target is below zero.
func classOf(b *onnx.Builder, target, logits *onnx.Value) *onnx.Value {
	former := b.In("relevance")
	defer b.In(former)
	top := b.Op("ArgMax", []onnx.Attr{{Name: "axis", Value: int64(1)}, {Name: "keepdims", Value: int64(0)}}, logits)
	class := b.Where(b.Op("Less", nil, target, b.Int(0)), top, target)
	class.Shape = onnx.Shape{logits.Shape[0]}
	return b.Named("relevance/class", class)
}

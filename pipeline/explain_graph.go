package pipeline

import (
	"fmt"
	"strings"

	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// Ends of the graphs that explain, besides the picture, TargetInput and
// LogitsOutput. A method's map is at mapOutput of its name.
const (
	weightInput   = "weight"  // (B): of each picture's gradient in the sum
	sumInput      = "sum"     // (1,3,H,W): of the runs before
	sumOutput     = "sum/new" // (1,3,H,W): with this run
	pictureInput  = "picture" // (1,3,H,W): of which the others are variations
	addedOutput   = "added"   // (1,H,W): what every pixel adds to the logit
	mapOutputStem = "map/"
)

func mapOutput(method string) string { return mapOutputStem + method }

// explainable is a model's graph at a fixed batch size, with what there is to
// explain it by.
type explainable struct {
	b           *onnx.Builder
	g           *onnx.Graph
	s           gradients.Subject
	normed      gradients.Tokens       // only for Grad-CAM
	predictions []gradients.Prediction // only for LeGrad
}

// explainable copies the graph, finds what the methods need, and lowers it. A
// graph whose own batch size is fixed and can't be changed keeps it.
func (m *Model) explainable(batch int64, o MapOptions) (*explainable, error) {
	g, err := m.specialized(batch)
	if err != nil {
		return nil, err
	}
	found, err := models.Find(g, m.Find)
	if err == nil {
		err = found.ExplainErr()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	if !found.Image.Shape.Known() {
		return nil, &models.Error{Path: m.Path, Problem: fmt.Sprintf("the picture %v has no known size", found.Image), Advice: "state --image-size"}
	}
	x := &explainable{b: onnx.NewBuilder(g), g: g, s: subjectOf(found, found.Logits)}
	if last := x.s.Maps[len(x.s.Maps)-1].Block; o.StartLayer > last && o.has(MethodRelevance, MethodRollout, MethodLeGrad) {
		return nil, &models.Error{Usage: true, Path: m.Path, Problem: fmt.Sprintf("no attention lies in block %d, counted from 0, or behind it", o.StartLayer)}
	}
	x.s.Heads = o.Heads
	if o.has(MethodGradCAM) {
		t, err := models.FindNormed(g, found)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", m.Path, MethodGradCAM, err)
		}
		x.normed = gradients.Tokens(t)
	}
	if o.has(MethodLeGrad) {
		if err := x.predict(found, o.StartLayer); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", m.Path, MethodLeGrad, err)
		}
	}
	return x, x.lower(found)
}

// predict emits what the classifier says of every block's own tokens.
func (x *explainable) predict(found *models.Structure, from int) error {
	blocks, err := models.FindBlocks(x.g, found)
	if err != nil {
		return err
	}
	after := make([]gradients.Tokens, len(blocks))
	for i, t := range blocks {
		after[i] = gradients.Tokens(t)
	}
	x.predictions, err = gradients.Predictions(x.b, x.s, after, from, found.Pool == models.PoolAttention)
	return err
}

// lower brings the graph to the form that differentiates and runs fastest.
// Passes replace values but for a graph's outputs, which they keep.
func (x *explainable) lower(found *models.Structure) error {
	g := x.g
	g.Outputs = []*onnx.Value{x.s.Logits}
	if x.normed.Value != nil {
		g.Outputs = append(g.Outputs, x.normed.Value)
	}
	for _, p := range x.predictions {
		g.Outputs = append(g.Outputs, p.Logits)
	}
	if _, err := passes.Narrow(g, mapsOf(found)...); err != nil {
		return fmt.Errorf("lowering the graph: %w", err)
	}
	for _, pass := range []func(*onnx.Graph) error{passes.Linear, passes.Patchify, passes.Tidy} {
		if err := pass(g); err != nil {
			return fmt.Errorf("lowering the graph: %w", err)
		}
	}
	rest := g.Outputs[1:]
	x.s.Logits = g.Outputs[0]
	if x.normed.Value != nil {
		x.normed.Value, rest = rest[0], rest[1:]
	}
	for i := range x.predictions {
		x.predictions[i].Logits = rest[i]
	}
	x.b = onnx.NewBuilder(g)
	return nil
}

// target adds the input that tells the class to explain: (B).
func (x *explainable) target() *onnx.Value {
	batch := x.s.Logits.Shape[0]
	return classOf(x.b, x.g.AddInput(TargetInput, onnx.Int64, onnx.Shape{batch}), x.s.Logits)
}

// finish leaves only the named outputs in the graph.
func (x *explainable) finish(name string, out outputs) (*onnx.Graph, error) {
	if err := x.b.Err(); err != nil {
		return nil, err
	}
	g := x.g
	g.Name, g.Outputs = name, out.values
	if err := nameOutputs(g, out.names); err != nil {
		return nil, err
	}
	g.Prune()
	return g, nil
}

// mapGraph computes, of a batch of pictures (B,3,H,W), the logits and the maps
// of those methods that one backward pass gives.
func (m *Model) mapGraph(batch int64, o MapOptions) (*onnx.Graph, error) {
	x, err := m.explainable(batch, o)
	if err != nil {
		return nil, err
	}
	var out outputs
	out.add(LogitsOutput, x.s.Logits)
	class := x.target()
	for _, method := range o.Methods {
		if overPictures(method) {
			continue
		}
		r, err := x.explain(method, class, o)
		if err != nil {
			return nil, fmt.Errorf("%s: deriving %s: %w", m.Path, method, err)
		}
		out.add(mapOutput(method), r.Map)
	}
	return x.finish("explain", out)
}

// overPictures reports whether a method goes over many variations of a picture.
func overPictures(method string) bool {
	return method == MethodIntegratedGradients || method == MethodSmoothGrad
}

// overPixels reports whether a method's map has a value of its own for every
// pixel, not for every patch.
func overPixels(method string) bool { return overPictures(method) || method == MethodInputGradient }

// explain emits one method's map of a class.
func (x *explainable) explain(method string, class *onnx.Value, o MapOptions) (gradients.Relevance, error) {
	switch method {
	case MethodRelevance:
		maps, grads, err := gradients.AttentionGradients(x.b, x.s, class, o.StartLayer)
		if err != nil {
			return gradients.Relevance{}, err
		}
		return gradients.Rollout(x.b, x.s, maps, grads), nil
	case MethodRollout:
		return gradients.AttentionRollout(x.b, x.s, o.StartLayer)
	case MethodAttention:
		return gradients.LastAttention(x.b, x.s), nil
	case MethodGradCAM:
		return gradients.GradCAM(x.b, x.s, x.normed, class)
	case MethodInputGradient:
		return gradients.InputGradient(x.b, x.s, class)
	case MethodLeGrad:
		return gradients.LeGrad(x.b, x.s, x.predictions, class)
	case MethodGradXAttention:
		return gradients.GradTimesAttention(x.b, x.s, class)
	}
	return gradients.Relevance{}, fmt.Errorf("no graph is known for it")
}

// slopesGraph adds up the gradients of a batch of variations of one picture, and
// maps the sum: see gradients.SumOfSlopes.
func (m *Model) slopesGraph(batch int64, o MapOptions) (*onnx.Graph, error) {
	x, err := m.explainable(batch, MapOptions{})
	if err != nil {
		return nil, err
	}
	one := x.s.Image.Shape.Clone()
	one[0] = onnx.D(1)
	class := x.target()
	weight := x.g.AddInput(weightInput, x.s.Image.Type, x.s.Image.Shape[:1])
	former := x.g.AddInput(sumInput, x.s.Image.Type, one)
	sum, err := gradients.SumOfSlopes(x.b, x.s, class, weight, former)
	if err != nil {
		return nil, fmt.Errorf("%s: deriving %s: %w", m.Path, strings.Join(o.Methods, ", "), err)
	}
	var out outputs
	out.add(sumOutput, sum)
	if o.has(MethodIntegratedGradients) {
		r, added := gradients.IntegratedGradients(x.b, x.s, sum, x.g.AddInput(pictureInput, x.s.Image.Type, one))
		out.add(mapOutput(MethodIntegratedGradients), r.Map)
		out.add(addedOutput, added)
	}
	if o.has(MethodSmoothGrad) {
		out.add(mapOutput(MethodSmoothGrad), gradients.SmoothGrad(x.b, x.s, sum).Map)
	}
	return x.finish("slopes", out)
}

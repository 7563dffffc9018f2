package pipeline

import (
	"errors"
	"fmt"
	"slices"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// Graphs are what a run executes, each a complete ONNX graph whose trained
// parameters are inputs.
type Graphs struct {
	Training  *onnx.Graph // image, mask, label, parameters -> losses, predictions, shares, gradients
	Eval      *onnx.Graph // the same inputs -> losses per image, logits, relevance maps
	Optimizer *onnx.Graph // parameters, gradients, moments -> the next ones

	Image, Mask, Label string   // names of the inputs; (B,3,H,W), (B,1,H,W) float32, (B) int64
	Losses             []string // names of the losses, the total last
	Params             []Param  // trained parameters in the file's order
	Options            GraphOptions
}

// Param is a trained parameter.
type Param struct {
	gradients.Slot
	Value *onnx.Tensor // at the start of training, until a Stepper takes it over
}

// Names of the graphs' outputs besides the gradients. A loss is at LossOutput
// of its name in the training graph (scalar) and the eval graph (B).
const (
	LogitsOutput     = "logits"
	PredictionOutput = "prediction"
	RowOutput        = "relevance"          // (B,P)
	MapOutput        = "relevance_map"      // (B,1,H,W)
	ConstantOutput   = "relevance_constant" // (B,1) bool
	ShareOutput      = "foreground_share"   // (B): of the relevance; NaN where there is none
)

// ScaleInput is what the training graph of a Scaled objective multiplies the loss
// by before it walks back, and divides the gradients by.
const ScaleInput = "loss_scale"

// LossOutput names a loss's output.
func LossOutput(name string) string { return "loss." + name }

// assembly is a model's graph with the objective emitted behind it.
type assembly struct {
	b       *onnx.Builder
	g       *onnx.Graph
	subject gradients.Subject
	params  []*onnx.Value
	frozen  []*onnx.Value
	mask    *onnx.Value
	label   *onnx.Value
	scale   *onnx.Value // of the loss, for the walk back; nil for 1
	terms   *gradients.Terms
	grads   []*onnx.Value
	row     gradients.Relevance // of the label, whatever the objective
	layers  map[string]string   // see Model.layerWeights
	options GraphOptions
}

// assemble emits the objective and its gradients behind a copy of the model's
// graph for a fixed batch size.
func (m *Model) assemble(batch int64, o gradients.Objective, freezes func(string) bool, whole bool) (*assembly, error) {
	a, err := m.lower(batch, whole)
	if err != nil {
		return nil, err
	}
	if last := a.subject.Maps[len(a.subject.Maps)-1].Block; o.StartLayer > last {
		return nil, &configs.Error{Key: "start_layer", Msg: fmt.Sprintf("it is %d, and the last block of %s is %d, counted from 0", o.StartLayer, m.Path, last)}
	}
	var trained []*onnx.Value
	for _, p := range a.params {
		if freezes != nil && freezes(p.Name) {
			a.frozen = append(a.frozen, p)
		} else {
			trained = append(trained, p)
		}
	}
	a.params = trained
	if len(a.params) == 0 {
		return nil, fmt.Errorf("%s: every parameter is frozen; narrow `freeze`", m.Path)
	}
	rows, cols := a.subject.Image.Shape[2], a.subject.Image.Shape[3]
	a.mask = a.g.AddInput("mask", a.subject.Image.Type, onnx.Shape{onnx.D(batch), onnx.D(1), rows, cols})
	a.label = a.g.AddInput("label", onnx.Int64, onnx.ShapeOf(batch))
	a.b = onnx.NewBuilder(a.g)
	a.b.Repeat = !a.options.has(sharing)
	if a.terms, err = gradients.Losses(a.b, a.subject, o, a.mask, a.label); err != nil {
		return nil, fmt.Errorf("%s: building the losses: %w", m.Path, a.blame(err))
	}
	if o.Scaled {
		a.scale = a.g.AddInput(ScaleInput, a.subject.Image.Type, onnx.Shape{})
		a.terms.Scale = a.scale
	}
	if a.grads, err = a.terms.Gradients(a.b, a.params); err != nil {
		return nil, fmt.Errorf("%s: differentiating the losses: %w", m.Path, err)
	}
	if a.scale != nil {
		for i, g := range a.grads {
			if g != nil {
				a.grads[i] = a.b.Div(g, a.scale)
			}
		}
	}
	if a.row = a.terms.Relevance; a.row.Map == nil {
		maps, grads, err := gradients.AttentionGradients(a.b, a.subject, a.label, o.StartLayer)
		if err != nil {
			return nil, fmt.Errorf("%s: building the relevance map: %w", m.Path, a.blame(err))
		}
		a.row = gradients.Rollout(a.b, a.subject, maps, grads)
	}
	// parameters that the loss doesn't depend on are not trained
	for i, p := range slices.Backward(slices.Clone(a.params)) {
		if a.grads[i] == nil {
			a.params = slices.Delete(a.params, i, i+1)
			a.grads = slices.Delete(a.grads, i, i+1)
			a.frozen = append(a.frozen, p)
		}
	}
	return a, a.b.Err()
}

// blame adds to a missing rule on the way to an attention map a parameter that
// lies before the node.
func (a *assembly) blame(err error) error {
	var missing *gradients.MissingRuleError
	if !errors.As(err, &missing) {
		return err
	}
	seen := map[*onnx.Value]bool{nil: true}
	var queue []*onnx.Value
	for _, n := range a.g.Nodes {
		if n.Label() == missing.Node {
			queue = append(queue, n.Inputs...)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		v := queue[0]
		if slices.Contains(a.params, v) {
			missing.Trains = v.Name
			break
		}
		if !seen[v] && v.Node != nil {
			queue = append(queue, v.Node.Inputs...)
		}
		seen[v] = true
	}
	return err
}

// lower brings a copy of the model's graph to the form that trains fastest and
// finds in it what relevance needs. Of the last map that is often a row, unless
// whole maps are asked for.
func (m *Model) lower(batch int64, whole bool) (*assembly, error) {
	if err := m.Graphs.check(); err != nil {
		return nil, err
	}
	g, copies := m.Graph.Clone()
	a := &assembly{g: g, layers: m.layerWeights(), options: m.Graphs}
	for _, p := range m.Params {
		a.params = append(a.params, copies[p])
	}
	if err := passes.Specialize(g, batch); err != nil {
		return nil, fmt.Errorf("%s: fixing the batch size to %d: %w", m.Path, batch, err)
	}
	found, err := models.Find(g, m.Find)
	if err == nil {
		err = found.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	maps := mapsOf(found)
	last := len(maps) - 1
	if !whole && m.Graphs.has(oneQuery) && oneRow(found) {
		maps = maps[:last]
	}
	rows := map[*onnx.Value]passes.Rows{}
	if m.Graphs.has(narrowing) {
		if rows, err = passes.Narrow(g, maps...); err != nil {
			return nil, fmt.Errorf("%s: lowering the graph: %w", m.Path, err)
		}
	}
	if err := m.Graphs.do(g, lowering); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	a.subject = subjectOf(found, g.Outputs[0])
	if r, ok := rows[found.Attention[last].Value]; ok {
		at := &a.subject.Maps[last]
		if r.From != 0 || r.Axis != int64(len(r.Value.Shape)-2) { // not those of the first token
			return m.lower(batch, true)
		}
		at.Value, at.Rows = r.Value, true
	}
	return a, nil
}

// oneRow reports whether the rollout reads of the last map only what the
// classifier may read too: the class token's row.
func oneRow(found *models.Structure) bool {
	last := len(found.Attention) - 1
	at := found.Attention[last]
	return !found.FromMean() && !at.Transposed && (last == 0 || found.Attention[last-1].Block != at.Block)
}

// outputs lists values with the names that they get as a graph's outputs.
type outputs struct {
	values []*onnx.Value
	names  []string
	grads  []*onnx.Value // those of values that are gradients
}

func (o *outputs) add(name string, v *onnx.Value) {
	o.values, o.names = append(o.values, v), append(o.names, name)
}

func (o *outputs) addGradient(name string, v *onnx.Value) {
	o.add(name, v)
	o.grads = append(o.grads, v)
}

// pick returns a copy of the graph with only the given outputs, whose trained
// parameters are inputs.
func (a *assembly) pick(name string, out outputs) (*onnx.Graph, error) {
	g, copies := a.g.Clone()
	g.Name, g.Outputs = name, nil
	for _, v := range out.values {
		g.Outputs = append(g.Outputs, copies[v])
	}
	var params []*onnx.Value
	for _, p := range a.params {
		params = append(params, copies[p])
	}
	if err := passes.Promote(g, params); err != nil {
		return nil, err
	}
	g.Prune()
	if a.scale != nil && len(g.Uses()[copies[a.scale]]) == 0 {
		g.Inputs = slices.DeleteFunc(g.Inputs, func(v *onnx.Value) bool { return v == copies[a.scale] })
	}
	if a.options.Lean {
		var first []*onnx.Value
		for _, v := range out.values {
			if !slices.Contains(out.grads, v) {
				first = append(first, copies[v])
			}
		}
		passes.Recompute(g, first...)                 // between the losses and their way back
		passes.Recompute(g, copies[a.subject.Logits]) // between the logits and theirs
	}
	if err := a.options.do(g, finishing); err != nil {
		return nil, err
	}
	return g, nameOutputs(g, out.names)
}

// NewGraphs derives a run's graphs from a model.
func (m *Model) NewGraphs(batch int64, o gradients.Objective, adam gradients.AdamW, freezes func(string) bool) (*Graphs, error) {
	a, err := m.assemble(batch, o, freezes, false)
	if err != nil {
		return nil, err
	}
	gs := &Graphs{Options: a.options, Image: a.subject.Image.Name, Mask: a.mask.Name, Label: a.label.Name, Losses: a.terms.Names}
	var training, eval outputs
	for i, name := range a.terms.Names {
		training.add(LossOutput(name), a.terms.Scalars[i])
		eval.add(LossOutput(name), a.terms.PerImage[i])
	}
	training.add(PredictionOutput, a.terms.Prediction)
	training.add(ConstantOutput, a.row.Constant)
	training.add(ShareOutput, a.share())
	if err := a.b.Err(); err != nil {
		return nil, err
	}
	slots := make([]gradients.Slot, len(a.params))
	for i, p := range a.params {
		slots[i] = gradients.NewSlot(p.Name, p.Shape)
		training.addGradient(slots[i].Grad, a.grads[i])
		gs.Params = append(gs.Params, Param{Slot: slots[i], Value: p.Data})
	}
	eval.add(LogitsOutput, a.subject.Logits)
	eval.add(PredictionOutput, a.terms.Prediction)
	eval.add(MapOutput, a.row.Map)
	eval.add(ConstantOutput, a.row.Constant)
	if gs.Training, err = a.pick("training", training); err != nil {
		return nil, err
	}
	if gs.Eval, err = a.pick("eval", eval); err != nil {
		return nil, err
	}
	gs.Optimizer, err = adam.Graph(slots, onnx.Float)
	return gs, err
}

// SetPrecision rounds the products of the training graph as a configuration's
// precision says. native computes in 16 bits, as GPUs do.
func (gs *Graphs) SetPrecision(precision string, native bool) error {
	to, ok := map[string]onnx.DType{"bf16": onnx.BFloat16, "fp16": onnx.Float16}[precision]
	if !ok {
		return nil
	}
	if err := passes.RoundProducts(gs.Training, to, native); err != nil {
		return fmt.Errorf("rounding products to %s: %w", precision, err)
	}
	return nil
}

// share is the share of each picture's relevance that lies on the mask (B).
func (a *assembly) share() *onnx.Value {
	sum := func(v *onnx.Value) *onnx.Value { return a.b.Sum(v, 1, 2, 3) }
	return a.b.Div(sum(a.b.Mul(a.row.Map, a.mask)), sum(a.row.Map))
}

// nameOutputs renames a graph's outputs; values that another output shares get
// an Identity of their own.
func nameOutputs(g *onnx.Graph, names []string) error {
	b := onnx.NewBuilder(g)
	for i, name := range names {
		if taken := g.Find(name); taken != nil && taken != g.Outputs[i] {
			g.Rename(taken, name+"/source")
		}
		if v := g.Outputs[i]; v.Node == nil || slices.Index(g.Outputs, v) != i {
			g.Outputs[i] = b.Op("Identity", nil, v)
		}
		b.Named(name, g.Outputs[i])
	}
	return b.Err()
}

// Encode serialises a graph of the working dialect as an ONNX model.
func Encode(g *onnx.Graph) ([]byte, error) {
	m := &onnx.Model{IRVersion: 10, Producer: "relevit", Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g}
	data, err := m.Encode()
	if err != nil {
		return nil, fmt.Errorf("writing the %s graph: %w", g.Name, err)
	}
	return data, nil
}

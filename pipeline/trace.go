package pipeline

import (
	"context"
	"fmt"
	"strconv"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/gradients"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
)

// TraceOptions say what Trace computes.
type TraceOptions struct {
	Model  string
	Inputs string // safetensors: image (B,3,H,W), mask (B,1,H,W), label (B)
	Output string // safetensors
	Config *configs.Config
	Steps  int // AdamW steps on the one batch; 0 for none

	OnStep    func(done int) // after each of them; may be nil
	OnWarning func(string)   // may be nil
	Open      ModelOptions
	ORT       ort.Options
}

// Trace runs the training graph on given tensors and writes every named
// quantity as float32: logits, attn.L, attn_grad.L, relevance, relevance_map,
// loss.*, grad.P; with steps also trajectory.loss and after.P. P are the names
// and the layout of the model's own parameters; weights that an exporter
// renamed and transposed are there under their layer's name too, as (out,in).
// It returns the keys written.
func Trace(ctx context.Context, opt TraceOptions) ([]string, error) {
	in, err := readTraceInputs(opt.Inputs)
	if err != nil {
		return nil, err
	}
	if opt.Open.Convert.ImageSize == [2]int{} {
		opt.Open.Convert.ImageSize = [2]int{int(in.image.Dims[2]), int(in.image.Dims[3])}
	}
	opt.Open.Find, opt.Open.Graphs = findOf(opt.Config, opt.Open.Find), graphOptionsOf(opt.Config)
	m, err := OpenModel(opt.Model, opt.Open)
	if err != nil {
		return nil, err
	}
	for _, w := range m.Warnings {
		if opt.OnWarning != nil {
			opt.OnWarning(opt.Model + ": " + w)
		}
	}
	if err := in.fit(m); err != nil {
		return nil, err
	}
	out, err := traceOnce(m, in, opt)
	if err != nil {
		return nil, err
	}
	if opt.Steps > 0 {
		after, err := traceSteps(ctx, m, in, opt)
		if err != nil {
			return nil, err
		}
		out = append(out, after...)
	}
	keys := make([]string, len(out))
	for i, t := range out {
		keys[i] = t.Name
	}
	return keys, safetensors.Write(opt.Output, out, nil)
}

// traceInputs is the batch to trace.
type traceInputs struct {
	path               string
	image, mask, label *onnx.Tensor
}

func readTraceInputs(path string) (in traceInputs, err error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return in, err
	}
	in.path = path
	want := []struct {
		name string
		rank int
		to   **onnx.Tensor
	}{{"image", 4, &in.image}, {"mask", 4, &in.mask}, {"label", 1, &in.label}}
	for _, w := range want {
		t, err := f.Tensor(w.name)
		if err != nil {
			return in, err
		}
		if len(t.Dims) != w.rank {
			return in, in.misfit(w.name, fmt.Sprintf("%d dimensions", w.rank), t.Shape().String())
		}
		if t.Dims[0] != in.batch() && w.name != "image" {
			return in, in.misfit(w.name, fmt.Sprintf("%d pictures as in image", in.batch()), fmt.Sprint(t.Dims[0]))
		}
		*w.to = t
	}
	return in, nil
}

func (in traceInputs) batch() int64 {
	if in.image == nil {
		return 0
	}
	return in.image.Dims[0]
}

// misfit is the error of a tensor whose shape isn't what it must be.
func (in traceInputs) misfit(tensor, expected, found string) error {
	return &safetensors.Error{File: in.path, Tensor: tensor, Problem: "it doesn't fit", Expected: expected, Found: found}
}

// fit checks the batch against the model's image input.
func (in traceInputs) fit(m *Model) error {
	h, w := in.image.Dims[2], in.image.Dims[3]
	if in.mask.Dims[1] != 1 || in.mask.Dims[2] != h || in.mask.Dims[3] != w {
		return in.misfit("mask", fmt.Sprintf("shape (%d,1,%d,%d) for image %v", in.batch(), h, w, in.image.Shape()), in.mask.Shape().String())
	}
	for _, v := range m.Graph.Inputs {
		if len(v.Shape) != 4 || v.Data != nil {
			continue
		}
		for i := 1; i < 4; i++ {
			if v.Shape[i].Known() && v.Shape[i].N != in.image.Dims[i] {
				return in.misfit("image", fmt.Sprintf("shape %v as of the model's input %s", v.Shape, v.Name), in.image.Shape().String())
			}
		}
	}
	return nil
}

// buffers copies the batch into runtime memory under the graphs' input names.
func (in traceInputs) buffers(gs *Graphs) (Inputs, error) {
	image, err := in.image.Float32s()
	if err != nil {
		return Inputs{}, fmt.Errorf("image: %w", err)
	}
	mask, err := in.mask.Float32s()
	if err != nil {
		return Inputs{}, fmt.Errorf("mask: %w", err)
	}
	label, err := in.label.Int64s()
	if err != nil {
		return Inputs{}, fmt.Errorf("label: %w", err)
	}
	out, err := NewInputs(gs)
	if err != nil {
		return Inputs{}, err
	}
	copy(out.Image.Float32s(), image)
	copy(out.Mask.Float32s(), mask)
	copy(out.Label.Int64s(), label)
	return out, nil
}

// traceOnce evaluates everything at the model's own parameters.
func traceOnce(m *Model, in traceInputs, opt TraceOptions) ([]safetensors.Named, error) {
	o := ObjectiveOf(opt.Config)
	o.Scaled = false
	a, err := m.assemble(in.batch(), o, nil, true)
	if err != nil {
		return nil, err
	}
	out, err := traceOutputs(a)
	if err != nil {
		return nil, err
	}
	g, err := a.pick("trace", out)
	if err != nil {
		return nil, err
	}
	return runTrace(g, a, in, out.names, opt.ORT)
}

// traceOutputs names every quantity of an assembly as the trace does.
func traceOutputs(a *assembly) (out outputs, err error) {
	out.add(LogitsOutput, a.subject.Logits)
	maps, grads, err := gradients.AttentionGradients(a.b, a.subject, a.label, 0)
	if err != nil {
		return out, err
	}
	seen := map[int]int{}
	for i, at := range maps {
		name := strconv.Itoa(at.Block)
		if seen[at.Block]++; seen[at.Block] > 1 {
			name += "." + strconv.Itoa(seen[at.Block]-1)
		}
		out.add("attn."+name, at.Square(a.b, at.Value))
		out.add("attn_grad."+name, at.Square(a.b, grads[i]))
	}
	out.add(RowOutput, a.row.Row)
	out.add(MapOutput, a.row.Map)
	for i, name := range a.terms.Names {
		out.add(LossOutput(name), a.terms.Scalars[i])
	}
	for i, p := range a.params {
		out.addGradient("grad."+p.Name, a.grads[i])
		if layer, ok := a.layers[p.Name]; ok {
			out.addGradient("grad."+layer, a.b.Transpose(a.grads[i], 1, 0))
		}
	}
	return out, a.b.Err()
}

func runTrace(g *onnx.Graph, a *assembly, in traceInputs, names []string, opt ort.Options) ([]safetensors.Named, error) {
	if err := opt.Load(); err != nil {
		return nil, err
	}
	data, err := a.options.encodeFor(g, &opt)
	if err != nil {
		return nil, err
	}
	opt.Name, opt.Repeats = "the trace graph", a.options.Lean
	session, err := ort.NewSession(data, opt)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	gs := &Graphs{Training: g, Image: a.subject.Image.Name, Mask: a.mask.Name, Label: a.label.Name}
	batch, err := in.buffers(gs)
	if err != nil {
		return nil, err
	}
	defer batch.Close()
	feed := map[string]*ort.Buffer{gs.Image: batch.Image, gs.Mask: batch.Mask, gs.Label: batch.Label}
	for _, p := range a.params {
		values, err := p.Data.Float32s()
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		b, err := ort.BufferOf(values, p.Data.Dims...)
		if err != nil {
			return nil, err
		}
		defer b.Close()
		feed[p.Name] = b
	}
	results, err := session.Call(feed, names...)
	if err != nil {
		return nil, err
	}
	tensors := make([]safetensors.Named, 0, len(names))
	for _, name := range names {
		b := results[name]
		tensors = append(tensors, safetensors.Named{Name: name, Tensor: onnx.FloatTensor(b.Float32s(), b.Shape()...)})
		b.Close()
	}
	return tensors, nil
}

// traceSteps trains on the one batch and reports losses and parameters.
func traceSteps(ctx context.Context, m *Model, in traceInputs, opt TraceOptions) ([]safetensors.Named, error) {
	gs, err := m.NewGraphs(in.batch(), ObjectiveOf(opt.Config), AdamWOf(opt.Config), nil)
	if err != nil {
		return nil, err
	}
	on, err := opt.ORT.Find()
	if err != nil {
		return nil, err
	}
	if err := gs.SetPrecision(opt.Config.Precision, on.CUDA()); err != nil {
		return nil, err
	}
	sessions := opt.ORT
	sessions.TF32 = opt.Config.Precision == "tf32"
	s, err := NewStepper(gs, in.batch(), sessions)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	batch, err := in.buffers(gs)
	if err != nil {
		return nil, err
	}
	defer batch.Close()
	var losses []float32
	for step := 1; step <= opt.Steps; step++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := s.Compute(batch); err != nil {
			return nil, err
		}
		losses = append(losses, float32(s.Losses()["total"]))
		if err := s.Update(opt.Config.LR, int64(step)); err != nil {
			return nil, err
		}
		if opt.OnStep != nil {
			opt.OnStep(step)
		}
	}
	layers := m.layerWeights()
	out := []safetensors.Named{{Name: "trajectory.loss", Tensor: onnx.FloatTensor(losses, int64(len(losses)))}}
	for i, p := range s.Params {
		values, err := ort.Values[float32](s.Weights[i])
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		dims := p.Shape.Ints()
		out = append(out, safetensors.Named{Name: "after." + p.Name, Tensor: onnx.FloatTensor(values, dims...)})
		if layer, ok := layers[p.Name]; ok {
			t := onnx.FloatTensor(transposed(values, dims[0], dims[1]), dims[1], dims[0])
			out = append(out, safetensors.Named{Name: "after." + layer, Tensor: t})
		}
	}
	return out, nil
}

// ObjectiveOf reads the objective off a configuration.
func ObjectiveOf(c *configs.Config) gradients.Objective {
	return gradients.Objective{
		Method: gradients.Method(c.Method), Order: gradients.Order(c.Mode),
		LambdaSeg: c.LambdaSeg, LambdaAcc: c.LambdaAcc,
		LambdaBackground: c.LambdaBackground, LambdaForeground: c.LambdaForeground,
		Temperature: c.Temperature, OwnArgmax: c.Confidence == "own-argmax", StartLayer: c.StartLayer,
		Scaled: c.Precision == "fp16",
	}
}

// AdamWOf reads the optimizer's constants off a configuration.
func AdamWOf(c *configs.Config) gradients.AdamW {
	return gradients.AdamW{Beta1: c.Betas[0], Beta2: c.Betas[1], Eps: c.Eps, WeightDecay: c.WeightDecay}
}

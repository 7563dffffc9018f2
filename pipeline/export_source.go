package pipeline

import (
	"errors"
	"fmt"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// exporter holds what an export is made of.
type exporter struct {
	opt    ExportOptions
	source string // run or model
	base   string // the file that says what the model is

	find       models.FindOptions
	startLayer int // of the rollout

	document *onnx.Document // nil where the model, made of a checkpoint, is too big for one
	model    *onnx.Model    // what the document says, with the values that it came with
	original map[string]*onnx.Tensor
	trained  []safetensors.Named // new values; none for a model on its own
	metadata []onnx.KV           // to set
	files    []string            // where the checkpoint may be that the model was made of
	result   Exported
}

// openModel opens a model that wasn't trained by a run.
func (e *exporter) openModel(path string) error {
	e.base, e.files, e.find = path, []string{path}, e.opt.Find
	var err error
	e.model, e.document, err = e.read(path)
	return err
}

// read reads an ONNX file, or makes a model of a checkpoint.
func (e *exporter) read(path string) (*onnx.Model, *onnx.Document, error) {
	if !models.IsCheckpoint(path) {
		model, document, err := onnx.ReadModel(path)
		if err == nil {
			err = runnable(model, document)
		}
		return model, document, err
	}
	c, err := models.OpenCheckpoint(path)
	if err != nil {
		return nil, nil, err
	}
	a, err := models.ReadArchitecture(c, e.opt.Open)
	if err != nil {
		return nil, nil, err
	}
	built, err := models.Build(c, a, models.BuildOptions{Version: e.opt.Version})
	if err != nil {
		return nil, nil, err
	}
	e.result.Notes = append(e.result.Notes, a.Warnings...)
	data, err := built.Encode()
	if err != nil { // too big: WriteModel moves the weights out
		return built, nil, nil
	}
	document, err := onnx.ParseDocument(data, "")
	if err != nil {
		return nil, nil, err
	}
	m, err := document.Model()
	return m, document, err
}

// openRun opens the model that a run started from, and a checkpoint of it.
func (e *exporter) openRun(dir string) error {
	run, err := ReadRun(dir)
	if err != nil {
		return err
	}
	e.base, e.find, e.startLayer = run.Artifact(sourceArtifact), findOf(run.Config, e.opt.Find), run.Config.StartLayer
	if e.model, e.document, err = onnx.ReadModel(e.base); err != nil {
		return err
	}
	var c *Checkpoint
	if e.opt.Checkpoint == "" {
		c, err = run.loadTrained()
	} else {
		c, err = run.LoadParameters(e.opt.Checkpoint)
	}
	if err != nil {
		return err
	}
	e.result.Notes = append(e.result.Notes, c.warnings()...)
	e.trained, e.original = c.Parameters, constantsOf(e.model.Graph)
	e.files = []string{run.Config.Model}
	e.result.Checkpoint, e.result.Epoch, e.result.GlobalStep = c.Name, c.State.Epoch, c.State.GlobalStep
	return e.describe(run, e.base, e.opt.Version)
}

// openOriginal opens the model that one on its own was finetuned from.
func (e *exporter) openOriginal(path string) error {
	if e.trained != nil {
		return fmt.Errorf("a run knows its original: leave %s away", path)
	}
	m, _, err := e.read(path)
	if err != nil {
		return err
	}
	e.original = constantsOf(m.Graph)
	for _, v := range e.model.Graph.Inits {
		if !e.stateful(v) {
			continue
		}
		before := e.original[v.Name]
		if before == nil || !slices.Equal(before.Dims, v.Data.Dims) {
			return fmt.Errorf("%s can't be the original: it has no parameter %s of shape %v", path, v.Name, v.Data.Shape())
		}
		e.trained = append(e.trained, safetensors.Named{Name: v.Name, Tensor: v.Data})
	}
	return nil
}

// constantsOf collects initializers and the tensors of Constant nodes by name,
// those of branches included.
func constantsOf(g *onnx.Graph) map[string]*onnx.Tensor {
	out := map[string]*onnx.Tensor{}
	inner, _ := passes.BranchTensors(g) // what can't be read was never trained
	for _, v := range inner {
		if out[v.Name] = v.Data; v.Node != nil {
			out[v.Name] = onnx.ConstantTensor(v.Node)
		}
	}
	for _, n := range g.Nodes {
		if n.Op == "Constant" && n.Domain == "" && n.Out(0) != nil {
			if t := onnx.ConstantTensor(n); t != nil {
				out[n.Outputs[0].Name] = t
			}
		}
	}
	for _, v := range g.Inits {
		out[v.Name] = v.Data
	}
	return out
}

// values are the parameters' new values for a share of the finetuned weights,
// nil for all of them. Blends are float64, to be rounded once, where they are
// stored.
func (e *exporter) values(share *float64) ([]safetensors.Named, error) {
	if share == nil || *share == 1 {
		return e.trained, nil
	}
	if len(e.trained) == 0 {
		return nil, errors.New("there is nothing to blend with: a model on its own needs its original (blend with)")
	}
	out := make([]safetensors.Named, len(e.trained))
	for i, t := range e.trained {
		before := e.original[t.Name]
		if before == nil || !slices.Equal(before.Dims, t.Tensor.Dims) {
			return nil, fmt.Errorf("parameter %s is %v in the checkpoint, which the original doesn't have", t.Name, t.Tensor.Shape())
		}
		out[i] = safetensors.Named{Name: t.Name, Tensor: before}
		if *share == 0 {
			continue
		}
		x, err := before.Float64s()
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", t.Name, err)
		}
		y, err := t.Tensor.Float64s()
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", t.Name, err)
		}
		for k := range x {
			x[k] = (1-*share)*x[k] + *share*y[k]
		}
		out[i].Tensor = onnx.DoubleTensor(x, before.Dims...)
	}
	return out, nil
}

// stored is a parameter's new value in the type that it is stored in.
func stored(name string, t *onnx.Tensor, to onnx.DType) (*onnx.Tensor, error) {
	out, err := t.As(to)
	if err != nil {
		return nil, fmt.Errorf("parameter %s: %w; export with precision %s", name, err, Float32)
	}
	return out, nil
}

// fill sets the values of initializers and Constant nodes of a graph.
func fill(g *onnx.Graph, values []safetensors.Named) error {
	byName := map[string]*onnx.Value{}
	g.Each(func(v *onnx.Value) { byName[v.Name] = v })
	for _, t := range values {
		v := byName[t.Name]
		if v == nil || v.Data == nil && !v.Is("Constant") {
			continue // in a branch that no output needs
		}
		old := v.Data
		if old == nil {
			old = onnx.ConstantTensor(v.Node)
		}
		if old == nil || !slices.Equal(old.Dims, t.Tensor.Dims) {
			return fmt.Errorf("parameter %s is %v in the checkpoint and %v in the model", t.Name, t.Tensor.Shape(), v)
		}
		data, err := stored(t.Name, t.Tensor, old.Type)
		if err != nil {
			return err
		}
		if v.Data != nil {
			v.Data = data
		} else {
			v.Node.Attrs = []onnx.Attr{{Name: "value", Value: data}}
		}
	}
	return nil
}

package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// writeONNX writes the model with new values: the user's own file where nothing
// else is asked for, otherwise what rewrite makes of it.
func (e *exporter) writeONNX(path string, values []safetensors.Named, metadata []onnx.KV) error {
	if e.document != nil && !e.rewrites() {
		if err := e.setValues(values, metadata); err != nil {
			return err
		}
		switch e.opt.Data {
		case DataOutside:
			if err := e.document.Externalize(dataFile(path), 0); err != nil {
				return err
			}
		case DataInside:
			if err := e.document.Embed(); err != nil {
				return err
			}
		}
		return e.document.WriteFile(path)
	}
	m, err := e.rewrite(values)
	if err != nil {
		return err
	}
	for _, kv := range metadata {
		setMeta(m, kv)
	}
	e.result.Opset = m.OpsetVersion("")
	var o onnx.WriteOptions
	if e.opt.Data == DataOutside || e.opt.Data == "" && e.document != nil && e.document.HasExternalData() {
		o.External = dataFile(path)
	}
	return onnx.WriteModel(path, m, o)
}

// rewrites reports whether another graph than the user's own is asked for.
func (e *exporter) rewrites() bool {
	o := &e.opt
	return o.Precision != "" || o.Batch != 0 || o.WithRelevance || o.Opset != 0 && o.Opset != e.model.OpsetVersion("")
}

// dataFile is the name of the data file of a model.
func dataFile(path string) string { return filepath.Base(path) + ".data" }

// setValues puts new values and metadata into the document.
func (e *exporter) setValues(values []safetensors.Named, metadata []onnx.KV) error {
	for _, t := range values {
		if before := e.original[t.Name]; before != nil {
			var err error
			if t.Tensor, err = stored(t.Name, t.Tensor, before.Type); err != nil {
				return err
			}
		}
		if err := e.document.SetInitializer(t.Name, t.Tensor); err != nil {
			return err
		}
	}
	for _, kv := range metadata {
		e.document.SetMetadata(kv.Key, kv.Value)
	}
	return nil
}

func setMeta(m *onnx.Model, kv onnx.KV) {
	for i := range m.Metadata {
		if m.Metadata[i].Key == kv.Key {
			m.Metadata[i].Value = kv.Value
			return
		}
	}
	m.Metadata = append(m.Metadata, kv)
}

// rewrite returns the model with new values in the form that is asked for. The
// graph is raised to the working dialect, changed there, and lowered again.
func (e *exporter) rewrite(values []safetensors.Named) (*onnx.Model, error) {
	o, from := &e.opt, e.model.OpsetVersion("")
	m := *e.model
	m.Metadata = slices.Clone(m.Metadata)
	to := cmp.Or(o.Opset, max(from, passes.LowestOpset))
	raised := o.Precision != "" || o.Batch != 0 || passes.HasBranches(m.Graph) || to != from && (from < onnx.Dialect || to < from || len(m.Functions) > 0)
	if !raised {
		m.Graph, _ = e.model.Graph.Clone()
		if err := fill(m.Graph, values); err != nil {
			return nil, err
		}
		return e.atOpset(&m, to)
	}
	ends, explains := RelevanceOf(&m)
	var err error
	if m.Graph, err = passes.Raised(e.model, ends.Target); err != nil {
		return nil, err
	}
	m.Functions, m.Bodies = nil, nil
	setOpset(&m, onnx.Dialect)
	if o.Precision == Float32 {
		if err := passes.ToFloat32(m.Graph); err != nil {
			return nil, err
		}
	}
	if err := fill(m.Graph, values); err != nil {
		return nil, err
	}
	if o.Batch != 0 {
		if err := passes.Rebatch(m.Graph, max(o.Batch, 0)); err != nil {
			return nil, err
		}
	}
	if explains && ends.Optional {
		defaultTarget(m.Graph)
	}
	return e.atOpset(&m, to)
}

// atOpset does what is done last: relevance, float16 and the opset.
func (e *exporter) atOpset(m *onnx.Model, to int64) (*onnx.Model, error) {
	o := &e.opt
	narrow := passes.HalfOptions{KeepIO: o.KeepIO}
	halve := o.Precision == Float16
	if o.WithRelevance {
		var err error
		if !halve {
			if narrow, halve, err = e.asNarrow(m); err != nil {
				return nil, err
			}
		}
		if m, err = WithRelevance(m, RelevanceOptions{Find: e.find, StartLayer: e.startLayer}); err != nil {
			return nil, err
		}
	}
	if halve {
		var err error
		narrow.Keep = either(narrow.Keep, behind(m))
		if e.result.Half, err = passes.ToFloat16(m.Graph, narrow); err != nil {
			return nil, err
		}
		e.noteHalf()
	}
	if m.OpsetVersion("") == to {
		return m, nil
	}
	raised, _ := m.Graph.Clone()
	var refused *passes.LowerError
	err := passes.Lower(m.Graph, to)
	if errors.As(err, &refused) && o.Opset == 0 {
		m.Graph = raised
		e.note("the model is of opset %d now: %v", onnx.Dialect, err)
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	setOpset(m, to)
	if o.Opset != 0 {
		m.IRVersion = 0 // the oldest that goes with the opset
	}
	return m, nil
}

// asNarrow says how a model that computes in float16, and to which relevance is
// to be added in float32, becomes what it was again: which ends and nodes were
// float32. ok is false where it stays as relevance leaves it.
func (e *exporter) asNarrow(m *onnx.Model) (o passes.HalfOptions, ok bool, err error) {
	g, err := passes.Raised(m)
	if err != nil || !passes.HasHalf(g) {
		return o, false, err
	}
	wide, brain := map[string]bool{}, false
	g.Each(func(v *onnx.Value) {
		brain = brain || v.Type == onnx.BFloat16
		wide[v.Name] = v.Type == onnx.Float
	})
	if brain {
		e.note("the model computes in float32 now, as its relevance map needs; in bfloat16 it did before")
		return o, false, nil
	}
	ends := map[string]bool{}
	for _, v := range slices.Concat(g.Inputs, g.Outputs) {
		ends[v.Name] = wide[v.Name]
	}
	for _, n := range g.Nodes {
		if n.Op == "Cast" { // between the precisions: it goes, and its name may be what it was of
			wide[n.Outputs[0].Name] = false
		}
	}
	o.KeepEnds = func(v *onnx.Value) bool { return ends[v.Name] }
	o.Keep = func(n *onnx.Node) bool {
		return slices.ContainsFunc(n.Outputs, func(v *onnx.Value) bool { return v != nil && wide[v.Name] })
	}
	return o, true, nil
}

// either holds where one of two does; nil never does.
func either(a, b func(*onnx.Node) bool) func(*onnx.Node) bool {
	return func(n *onnx.Node) bool { return a != nil && a(n) || b != nil && b(n) }
}

func (e *exporter) noteHalf() {
	h := e.result.Half
	if h.Parameters == 0 {
		e.note("nothing was float32: the model computes in 16 bits already")
	}
	if h.Clamped > 0 {
		e.note("%d numbers of constants were beyond float16's range and are its largest now", h.Clamped)
	}
	if h.Vanished > 0 {
		e.note("%d numbers were too small for float16 and are zero now", h.Vanished)
	}
}

// note tells the user something, once.
func (e *exporter) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(e.result.Notes, text) {
		e.result.Notes = append(e.result.Notes, text)
	}
}

// setOpset imports an opset of ai.onnx, and of other domains those of which
// there are nodes.
func setOpset(m *onnx.Model, version int64) {
	used := map[string]bool{}
	for _, n := range m.Graph.Nodes {
		used[n.Domain] = true
	}
	kept := []onnx.Opset{{Version: version}}
	for _, s := range m.Opsets {
		if s.Domain != "" && s.Domain != "ai.onnx" && used[s.Domain] {
			kept = append(kept, s)
		}
	}
	m.Opsets = kept
}

// defaultTarget gives the class to explain its default again, which passes
// don't know.
func defaultTarget(g *onnx.Graph) {
	for _, v := range g.Inputs {
		if v.Name == TargetInput {
			v.Data = onnx.Int64Tensor([]int64{-1}, 1)
			g.Inits = append(g.Inits, v)
		}
	}
}

// behind tells the nodes that only the relevance map needs: gradients are too
// small for float16. Nil for a model without relevance.
func behind(m *onnx.Model) func(*onnx.Node) bool {
	ends, ok := RelevanceOf(m)
	if !ok {
		return nil
	}
	ahead := map[*onnx.Value]bool{}
	for _, v := range m.Graph.Outputs {
		ahead[v] = v.Name != ends.Map
	}
	forward := map[*onnx.Node]bool{}
	for _, n := range slices.Backward(m.Graph.Nodes) {
		if slices.ContainsFunc(n.Outputs, func(v *onnx.Value) bool { return ahead[v] }) {
			forward[n] = true
			for _, v := range n.Inputs {
				ahead[v] = v != nil
			}
		}
	}
	return func(n *onnx.Node) bool { return !forward[n] }
}

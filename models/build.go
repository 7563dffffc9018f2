package models

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/relevit/relevit/onnx"
)

// BuildOptions choose how a model is written. The zero value is the default.
type BuildOptions struct {
	Opset   int64  // 17 to 21; 0: 17
	Version string // of the tool, for the metadata
}

// Convert reads a checkpoint and builds its model with default options.
func Convert(path string, opt Options) (*onnx.Model, error) {
	c, err := OpenCheckpoint(path)
	if err != nil {
		return nil, err
	}
	a, err := ReadArchitecture(c, opt)
	if err != nil {
		return nil, err
	}
	return Build(c, a, BuildOptions{})
}

// IR versions with which the opsets 17 to 21 appeared.
var irVersions = map[int64]int64{17: 8, 18: 8, 19: 9, 20: 9, 21: 10}

// Build writes the architecture's forward pass with the checkpoint's weights:
// image (batch,channels,rows,columns) float32 to logits (batch,classes), or to
// features (batch,width) where the checkpoint has no classifier, any batch.
// Initializers have the checkpoint's names and layouts. Nodes are
// standard ai.onnx operators which mean the same in the chosen opset as in the
// working dialect.
//
// A distilled DeiT gives the mean of its two heads, as it does in inference.
func Build(c *Checkpoint, a *Architecture, opt BuildOptions) (*onnx.Model, error) {
	opset := opt.Opset
	if opset == 0 {
		opset = 17
	}
	ir, ok := irVersions[opset]
	if !ok {
		return nil, &Error{Path: c.Path, Usage: true, Problem: fmt.Sprintf("models are written in opset 17 to 21, not %d", opset)}
	}
	if err := a.Validate(); err != nil {
		return nil, &Error{Path: c.Path, Problem: err.Error()}
	}
	w, err := viewOf(c)
	if err != nil {
		return nil, err
	}
	g, err := forward(c, w, a)
	if err != nil {
		return nil, &Error{Path: c.Path, Problem: "building the graph of " + a.Title(), Err: err}
	}
	if opset < 18 {
		reduceByAttribute(g)
	}
	m := &onnx.Model{IRVersion: ir, Producer: "relevit", ProducerVersion: opt.Version, Graph: g,
		Doc: a.Title() + ": " + a.Describe(), Opsets: []onnx.Opset{{Domain: "", Version: opset}}}
	m.Metadata, err = metadata(c, a, g, opt.Version)
	return m, err
}

func metadata(c *Checkpoint, a *Architecture, g *onnx.Graph, version string) ([]onnx.KV, error) {
	out := []onnx.KV{{Key: MetaVersion, Value: version}, {Key: MetaSource, Value: filepath.Base(c.Path)}, {Key: MetaSourceSum, Value: c.SHA256}}
	if c.Path == "" {
		out[1].Value = ""
	}
	add := func(key string, value any) error {
		text, err := json.Marshal(value)
		out = append(out, onnx.KV{Key: key, Value: string(text)})
		return err
	}
	if err := add(MetaArchitecture, a); err != nil {
		return nil, err
	}
	if err := add(MetaPreprocess, a.Preprocess); err != nil {
		return nil, err
	}
	if a.Labels != nil {
		if err := add(MetaLabels, a.Labels); err != nil {
			return nil, err
		}
	}
	types, unused := c.rest(g)
	if len(types) > 0 {
		if err := add(MetaSourceTypes, types); err != nil {
			return nil, err
		}
	}
	if len(unused) > 0 {
		if err := add(MetaSourceUnused, unused); err != nil {
			return nil, err
		}
	}
	for _, file := range []struct {
		key  string
		text []byte
	}{{MetaConfig, c.Config}, {MetaProcessor, c.Preprocessor}} {
		if file.text != nil {
			out = append(out, onnx.KV{Key: file.key, Value: string(file.text)})
		}
	}
	return out, nil
}

// reduceByAttribute spells a reduction's axes as an attribute, which opset 18
// made an input.
func reduceByAttribute(g *onnx.Graph) {
	for _, n := range g.Nodes {
		if n.Op != "ReduceMean" && n.Op != "ReduceMax" || n.In(1) == nil {
			continue
		}
		if axes, err := n.In(1).Data.Int64s(); err == nil {
			n.SetAttr("axes", axes)
			n.Inputs = n.Inputs[:1]
		}
	}
	g.Prune()
}

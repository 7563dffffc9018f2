package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// Report says what a model's file holds. A checkpoint is described by the
// model into which it would be converted.
type Report struct {
	Kind         string           `json:"kind"`         // onnx or checkpoint
	Source       string           `json:"source"`       // in words
	Architecture string           `json:"architecture"` // timm's name or one like it; empty where unknown
	Description  string           `json:"description,omitempty"`
	Producer     string           `json:"producer,omitempty"`
	Opset        int64            `json:"opset"` // of ai.onnx
	Inputs       []Port           `json:"inputs"`
	Outputs      []Port           `json:"outputs"`
	ExternalData []string         `json:"external_data,omitempty"` // files that hold weights
	Parameters   int64            `json:"parameters"`              // trainable numbers
	Precision    string           `json:"precision"`               // types of the weights
	Attention    []AttentionEntry `json:"attention"`               // in order of execution
	ImageSize    [2]int64         `json:"image_size"`              // pixels: rows, columns; zeros where unknown
	Grid         [2]int64         `json:"grid"`                    // patches: rows, columns; zeros where unknown
	Patch        [2]int64         `json:"patch"`                   // pixels of one
	PrefixTokens int64            `json:"prefix_tokens"`
	Prefix       string           `json:"prefix,omitempty"` // what they are, where the file says
	Pool         string           `json:"pool"`
	Width        int64            `json:"width,omitempty"` // of a token, where known
	Classes      int64            `json:"classes"`
	ClassNames   []string         `json:"class_names,omitempty"`
	Preprocess   *Preprocess      `json:"preprocess"` // null where the file doesn't say
	Problems     []string         `json:"problems"`   // what stands in the way of finetuning
	Notes        []string         `json:"notes"`
}

// Port is a graph's input or output.
type Port struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []any  `json:"shape"` // sizes as numbers, open ones as names; null where the rank is unknown
}

// AttentionEntry is one attention map.
type AttentionEntry struct {
	Tensor string `json:"tensor"`
	Block  int    `json:"block"`
	Heads  int64  `json:"heads"`
	Tokens int64  `json:"tokens"`
}

// Inspect tells what an ONNX file or a checkpoint is, by what convert states
// of a checkpoint and find of a graph. An error means that the file can't be
// read, or that an option doesn't fit it; a file that can be read, but not
// finetuned, has problems.
func Inspect(path string, convert Options, find FindOptions) (*Report, error) {
	r := &Report{Kind: "onnx", Inputs: []Port{}, Outputs: []Port{}, Attention: []AttentionEntry{}, Pool: PoolUnknown, Problems: []string{}, Notes: []string{}}
	if find.ImageSize == [2]int64{} {
		find.ImageSize = [2]int64{int64(convert.ImageSize[0]), int64(convert.ImageSize[1])}
	}
	if IsCheckpoint(path) {
		if err := r.checkpoint(path, convert, find); err != nil {
			return nil, err
		}
		return r, nil
	}
	m, doc, err := onnx.ReadModel(path)
	if err != nil {
		return nil, err
	}
	r.ExternalData, r.Precision = doc.ExternalFiles(), precisionOf(constantTensors(m.Graph))
	if err := r.model(path, m, find); err != nil {
		return nil, err
	}
	if r.Source = "ONNX model"; r.Producer != "" {
		r.Source += " by " + r.Producer
	}
	return r, nil
}

func (r *Report) checkpoint(path string, convert Options, find FindOptions) error {
	r.Kind = "checkpoint"
	c, err := OpenCheckpoint(path)
	if err != nil {
		return err
	}
	r.Parameters, r.Source = c.Parameters(), sourceOf(c)
	var tensors []*onnx.Tensor
	for _, name := range c.names {
		tensors = append(tensors, c.tensors[name])
	}
	r.Precision = precisionOf(tensors)
	a, err := ReadArchitecture(c, convert)
	if err != nil {
		return r.blocked(path, err)
	}
	r.architecture(a)
	r.Preprocess, r.ClassNames = &a.Preprocess, a.Labels
	r.Notes = append(r.Notes, a.Warnings...)
	m, err := Build(c, a, BuildOptions{})
	if err != nil {
		g := a.Grid()
		r.Grid, r.PrefixTokens, r.Pool = [2]int64{int64(g[0]), int64(g[1])}, int64(a.Prefix()), a.Pool
		return r.blocked(path, err)
	}
	return r.model(path, m, find)
}

// architecture says what is known without a graph.
func (r *Report) architecture(a *Architecture) {
	r.Architecture, r.Description, r.Prefix = a.Title(), a.Describe(), prefixOf(a)
	r.ImageSize, r.Patch = [2]int64{int64(a.ImageSize[0]), int64(a.ImageSize[1])}, [2]int64{int64(a.Patch[0]), int64(a.Patch[1])}
	r.Width, r.Classes = int64(a.Width), int64(a.Classes)
}

// blocked takes an error about the model for a problem, unless an option is at
// fault.
func (r *Report) blocked(path string, err error) error {
	if e := (*Error)(nil); !errors.As(err, &e) || e.Usage {
		return err
	}
	r.Problems = append(r.Problems, strings.TrimPrefix(err.Error(), path+": "))
	return nil
}

func (r *Report) model(path string, m *onnx.Model, find FindOptions) error {
	r.Opset, r.Producer = m.OpsetVersion(""), m.Producer
	if m.ProducerVersion != "" {
		r.Producer += " " + m.ProducerVersion
	}
	for _, v := range m.Graph.Inputs {
		if v.Data == nil {
			r.Inputs = append(r.Inputs, port(v))
		}
	}
	for _, v := range m.Graph.Outputs {
		r.Outputs = append(r.Outputs, port(v))
	}
	if text, ok := m.Meta(MetaArchitecture); ok {
		a := &Architecture{}
		if json.Unmarshal([]byte(text), a) == nil && a.Validate() == nil {
			r.architecture(a)
		}
	}
	if text, ok := m.Meta(MetaLabels); ok {
		json.Unmarshal([]byte(text), &r.ClassNames) // names are no matter of life and death
	}
	if p := PreprocessOf(m); p != nil {
		r.Preprocess = p
	}
	g, err := passes.Prepare(m)
	if e := (*onnx.FormatError)(nil); errors.As(err, &e) {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err != nil {
		r.Problems = append(r.Problems, fmt.Sprintf("the graph can't be understood: %v", err))
		return nil
	}
	focus, err := FocusOn(g, find)
	if err != nil {
		return r.blocked("", err)
	}
	r.Notes = append(r.Notes, focus.Notes...)
	find = focus.Options(find, g)
	r.Parameters = 0
	for _, p := range passes.Parameters(g) {
		r.Parameters += p.Data.Count()
	}
	s, err := Find(g, find)
	if err != nil {
		return r.blocked("", err)
	}
	r.structure(s)
	return nil
}

func (r *Report) structure(s *Structure) {
	for _, a := range s.Attention {
		r.Attention = append(r.Attention, AttentionEntry{a.Value.Name, a.Block, a.Heads, a.Tokens})
	}
	r.Grid, r.PrefixTokens, r.Pool = s.Grid, s.PrefixTokens, s.Pool
	if s.Image != nil && s.Image.Shape[2:].Known() {
		r.ImageSize, r.Patch = [2]int64(s.Image.Shape[2:].Ints()), s.Patch
	}
	r.Width, r.Classes = max(r.Width, s.Width), max(r.Classes, s.Classes)
	r.Problems = append(r.Problems, s.Problems...)
	r.Notes = append(r.Notes, s.Notes...)
	if r.Preprocess == nil {
		r.Notes = append(r.Notes, "the file doesn't say how pictures are to be preprocessed: state mean and std in the configuration")
	}
	if r.Architecture != "" || len(s.Attention) == 0 || s.Patch[0] == 0 || r.ImageSize == [2]int64{} {
		return
	}
	last := s.Attention[len(s.Attention)-1]
	if last.Tokens != s.PrefixTokens+s.Grid[0]*s.Grid[1] {
		return // what it is called would be wrong
	}
	if s.Width == 0 {
		r.Description = fmt.Sprintf("%d blocks, %d heads", last.Block+1, last.Heads)
		return
	}
	a := &Architecture{Family: "vit", MLP: mlpPlain, Width: int(s.Width), Depth: last.Block + 1, Heads: int(last.Heads), Classes: int(s.Classes),
		ImageSize: [2]int{int(r.ImageSize[0]), int(r.ImageSize[1])}, Patch: [2]int{int(s.Patch[0]), int(s.Patch[1])}, Registers: int(s.PrefixTokens)}
	r.Architecture, r.Description = a.Title(), a.Describe()
}

func port(v *onnx.Value) Port {
	p := Port{Name: v.Name, Type: v.Type.String()}
	for _, d := range v.Shape {
		if d.Known() {
			p.Shape = append(p.Shape, d.N)
		} else {
			p.Shape = append(p.Shape, d.String())
		}
	}
	return p
}

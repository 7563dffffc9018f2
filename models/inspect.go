package models

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// Report says what a model's file holds. A checkpoint is described by the
// model into which it would be converted.
type Report struct {
	Kind         string           `json:"kind"`         // onnx or checkpoint
	Architecture string           `json:"architecture"` // timm's name or one like it; empty where unknown
	Description  string           `json:"description,omitempty"`
	Producer     string           `json:"producer,omitempty"`
	Opset        int64            `json:"opset"` // of ai.onnx
	Inputs       []Port           `json:"inputs"`
	Outputs      []Port           `json:"outputs"`
	Parameters   int64            `json:"parameters"` // trainable numbers
	Attention    []AttentionEntry `json:"attention"`  // in order of execution
	Grid         [2]int64         `json:"grid"`       // patches: rows, columns; zeros where unknown
	PrefixTokens int64            `json:"prefix_tokens"`
	Pool         string           `json:"pool"`
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

// Inspect tells what an ONNX file or a checkpoint is. An error means that the
// file can't be read; a file that can be read, but not finetuned, has problems.
func Inspect(path string) (*Report, error) {
	r := &Report{Kind: "onnx", Inputs: []Port{}, Outputs: []Port{}, Attention: []AttentionEntry{}, Pool: PoolUnknown, Problems: []string{}, Notes: []string{}}
	if IsCheckpoint(path) {
		return r, r.checkpoint(path)
	}
	m, _, err := onnx.ReadModel(path)
	if err != nil {
		return nil, err
	}
	return r, r.model(path, m)
}

func (r *Report) checkpoint(path string) error {
	r.Kind = "checkpoint"
	c, err := OpenCheckpoint(path)
	if err != nil {
		return err
	}
	r.Parameters = c.Parameters()
	a, err := ReadArchitecture(c, Options{})
	if err != nil {
		return r.blocked(err)
	}
	r.Architecture, r.Description = a.Title(), a.Describe()
	r.Preprocess = &a.Preprocess
	r.Notes = append(r.Notes, a.Warnings...)
	m, err := Build(c, a, BuildOptions{})
	if err != nil {
		g := a.Grid()
		r.Grid, r.PrefixTokens, r.Pool = [2]int64{int64(g[0]), int64(g[1])}, int64(a.Prefix()), a.Pool
		return r.blocked(err)
	}
	return r.model(path, m)
}

// blocked takes an error about the model for a problem.
func (r *Report) blocked(err error) error {
	if e := (*Error)(nil); !errors.As(err, &e) {
		return err
	}
	r.Problems = append(r.Problems, err.Error())
	return nil
}

func (r *Report) model(path string, m *onnx.Model) error {
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
			r.Architecture, r.Description = a.Title(), a.Describe()
		}
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
	r.Parameters = 0
	for _, p := range passes.Parameters(g) {
		r.Parameters += p.Data.Count()
	}
	s, err := Find(g, FindOptions{})
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
		return nil
	}
	r.structure(s)
	return nil
}

func (r *Report) structure(s *Structure) {
	for _, a := range s.Attention {
		r.Attention = append(r.Attention, AttentionEntry{a.Value.Name, a.Block, a.Heads, a.Tokens})
	}
	r.Grid, r.PrefixTokens, r.Pool = s.Grid, s.PrefixTokens, s.Pool
	r.Problems = append(r.Problems, s.Problems...)
	r.Notes = append(r.Notes, s.Notes...)
	if r.Preprocess == nil {
		r.Notes = append(r.Notes, "the file doesn't say how pictures are to be preprocessed: state mean and std in the configuration")
	}
	if r.Architecture != "" || len(s.Attention) == 0 || s.Width == 0 || s.Patch[0] == 0 {
		return
	}
	last, shape := s.Attention[len(s.Attention)-1], s.Image.Shape.Ints()
	a := &Architecture{Family: "vit", Width: int(s.Width), Depth: last.Block + 1, Heads: int(last.Heads), Classes: int(s.Classes),
		ImageSize: [2]int{int(shape[2]), int(shape[3])}, Patch: [2]int{int(s.Patch[0]), int(s.Patch[1])}, Registers: int(s.PrefixTokens)}
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

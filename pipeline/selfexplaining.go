package pipeline

import (
	"fmt"
	"slices"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
)

// SelfExplaining is a model with relevance, beside what it was made of.
type SelfExplaining struct {
	*Model
	Relevant *onnx.Model // what WithRelevance makes of Source, or Source itself
	Ends     RelevanceEnds
	Classes  int
	Names    []string // of the classes by the metadata or a run's table, nil where neither states them
}

// OpenSelfExplaining opens an ONNX file, a checkpoint or a run, as Explain
// does, and derives the relevance where the file doesn't compute it.
func OpenSelfExplaining(path string, open ModelOptions, o RelevanceOptions) (*SelfExplaining, error) {
	asked := ExplainOptions{Model: path, Open: open}
	if o.StartLayer != 0 {
		asked.StartLayer = &o.StartLayer
	}
	e, err := openExplained(asked)
	if err != nil {
		return nil, err
	}
	m := e.model
	o.StartLayer = e.startLayer
	s := &SelfExplaining{Model: m, Names: ClassNames(m.Source)}
	if s.Names == nil && e.classes != nil {
		s.Names = e.classes.Titles()
	}
	if s.Relevant, s.Ends, err = m.withRelevance(o); err != nil {
		return nil, err
	}
	found, err := models.Find(m.Graph, m.Find)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.Classes = int(found.Classes)
	return s, nil
}

// withRelevance is the file as a model with relevance: as it is if it is one
// and has the target that is asked for.
func (m *Model) withRelevance(o RelevanceOptions) (*onnx.Model, RelevanceEnds, error) {
	out := m.Source
	ends, ok := RelevanceOf(out)
	if !ok {
		o.Find = m.Find
		o.Find.Output = m.Focus.Output // of the user's graph, which may have several
		var err error
		if out, err = WithRelevance(out, o); err != nil {
			return nil, ends, fmt.Errorf("%s: %w", m.Path, err)
		}
		ends, _ = RelevanceOf(out)
	}
	if o.RequireTarget && ends.Optional {
		out = withoutDefault(out, ends.Target)
		ends.Optional = false
	}
	return out, ends, nil
}

// withoutDefault takes the default off an input. The model given stays as it is.
func withoutDefault(m *onnx.Model, input string) *onnx.Model {
	out := *m
	out.Graph, _ = m.Graph.Clone()
	g := out.Graph
	g.Inits = slices.DeleteFunc(g.Inits, func(v *onnx.Value) bool { return v.Name == input })
	for _, v := range g.Inputs {
		if v.Name == input {
			v.Data = nil
		}
	}
	return &out
}

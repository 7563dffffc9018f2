package ref_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/graphtest"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/onnx/ref"
)

func TestEveryOperatorIsDrawn(t *testing.T) {
	drawn := graphtest.Operators()
	for op := range ref.Operators {
		if !slices.Contains(drawn, op) {
			t.Errorf("random graphs have no %s", op)
		}
	}
}

// runtimeOutputs runs a graph on ONNX Runtime; without optimizations every
// value is an output.
func runtimeOutputs(c *graphtest.Case, asIs bool) (map[string]*ref.Array, error) {
	g, _ := c.Graph.Clone()
	if asIs {
		for _, n := range g.Nodes {
			for _, v := range n.Outputs {
				if v != nil && !slices.Contains(g.Outputs, v) {
					g.Outputs = append(g.Outputs, v)
				}
			}
		}
	} else if err := passes.Columns(g); err != nil {
		return nil, err
	}
	m := &onnx.Model{Opsets: []onnx.Opset{{Version: c.Opset}}, Graph: g}
	file, err := m.Encode()
	if err != nil {
		return nil, err
	}
	session, err := ort.NewSession(file, ort.Options{Threads: 1, AsIs: asIs})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	buffers := map[string]*ort.Buffer{}
	for _, v := range g.Inputs {
		tensor, err := c.Inputs[v.Name].Tensor(v.Type)
		if err != nil {
			return nil, err
		}
		if buffers[v.Name], err = ort.BufferFrom(tensor); err != nil {
			return nil, err
		}
		defer buffers[v.Name].Close()
	}
	outputs, err := session.Call(buffers)
	if err != nil {
		return nil, err
	}
	out := map[string]*ref.Array{}
	var bad error
	for name, b := range outputs {
		x, err := ref.FromTensor(b.Tensor())
		b.Close()
		out[name], bad = x, errors.Join(bad, err)
	}
	return out, bad
}

// checkGraph compares one random graph's values with ONNX Runtime's, with its
// optimizations and without, within the error that float32 may have, and
// returns how many were compared.
func checkGraph(data []byte, only ...string) (compared int, err error) {
	c, err := graphtest.Draw(graphtest.NewChoices(data), graphtest.Options{Type: onnx.Float, Only: only})
	if err != nil || len(c.Graph.Outputs) == 0 {
		return 0, err
	}
	bounds, err := graphtest.Bounds(c.Graph, c.Inputs, graphtest.Single)
	if err != nil {
		return 0, fmt.Errorf("bounding: %w\n%v", err, c.Graph)
	}
	for _, asIs := range []bool{true, false} {
		got, err := runtimeOutputs(c, asIs)
		if err != nil {
			return compared, fmt.Errorf("ONNX Runtime: %w\n%v", err, c.Graph)
		}
		for _, n := range c.Graph.Nodes {
			for _, v := range n.Outputs {
				if v == nil || got[v.Name] == nil || bounds[v].Undecided {
					continue
				}
				compared++
				if err := bounds[v].Within(got[v.Name]); err != nil {
					return compared, fmt.Errorf("as is %v: %v of %v: %w\n%v", asIs, v, n, err, c.Graph)
				}
			}
		}
	}
	return compared, nil
}

func TestRandomGraphsGiveWhatONNXRuntimeGives(t *testing.T) {
	orttest.Need(t)
	compared := 0
	for seed := range uint64(300) {
		n, err := checkGraph(graphtest.Bytes(seed))
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		compared += n
	}
	t.Logf("%d values compared", compared)
}

func FuzzGraphs(f *testing.F) {
	orttest.Need(f)
	for seed := range uint64(30) {
		f.Add(graphtest.Bytes(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := checkGraph(data); err != nil {
			t.Error(err)
		}
	})
}

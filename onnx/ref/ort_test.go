package ref

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// graph makes a graph of one node whose inputs are graph inputs.
func (s sample) graph(key string) (*onnx.Graph, map[string]*Array) {
	g := onnx.NewGraph("sample")
	n := &onnx.Node{Op: strings.TrimPrefix(key, ":"), Attrs: s.attrs}
	inputs := map[string]*Array{}
	for i, x := range s.in {
		if x == nil {
			n.Inputs = append(n.Inputs, nil)
			continue
		}
		dims := make([]int64, len(x.Shape))
		for j, d := range x.Shape {
			dims[j] = int64(d)
		}
		v := g.AddInput(fmt.Sprintf("x%d", i), x.Type, onnx.ShapeOf(dims...))
		n.Inputs = append(n.Inputs, v)
		inputs[v.Name] = x
	}
	for i := range max(1, s.outputs) {
		n.Outputs = append(n.Outputs, &onnx.Value{Name: g.Fresh(fmt.Sprintf("y%d", i)), Node: n})
	}
	g.Nodes, g.Outputs = []*onnx.Node{n}, n.Outputs
	return g, inputs
}

func TestEveryOperatorHasSamples(t *testing.T) {
	all := samples()
	for key := range table {
		if len(all[key]) == 0 {
			t.Errorf("operator %s has no sample to compare with ONNX Runtime", key)
		}
	}
	for key, list := range all {
		for i, s := range list {
			g, inputs := s.graph(key)
			if _, err := Run(g, inputs); err != nil {
				t.Errorf("sample %d: %v", i, err)
			}
		}
	}
}

func TestOperatorsMatchONNXRuntime(t *testing.T) {
	orttest.Need(t)
	compared := 0
	all := samples()
	for _, key := range slices.Sorted(maps.Keys(all)) {
		for i, s := range all[key] {
			g, inputs := s.graph(key)
			want, err := runORT(g, inputs)
			if err != nil {
				t.Errorf("%s sample %d: ONNX Runtime: %v", key, i, err)
				continue
			}
			got, err := Run(g, inputs)
			if err != nil {
				t.Errorf("sample %d: %v", i, err)
				continue
			}
			for name, y := range want {
				if err := differ(got[name], y, 2e-5); err != nil {
					t.Errorf("%s sample %d %v on %v, output %s: %v", key, i, s.attrs, s.in, name, err)
				}
			}
			compared++
		}
	}
	t.Logf("compared %d samples of %d operators", compared, len(all))
}

// runORT runs a graph on ONNX Runtime, its nodes as they are.
func runORT(g *onnx.Graph, inputs map[string]*Array) (map[string]*Array, error) {
	c, _ := g.Clone()
	opset := int64(onnx.Dialect)
	if slices.Contains([]string{"Attention", "RMSNormalization", "RotaryEmbedding"}, c.Nodes[0].Op) {
		opset = 23
	}
	got, err := Run(g, inputs)
	if err != nil {
		return nil, err
	}
	for _, v := range c.Outputs {
		v.Type = got[v.Name].Type
	}
	m := &onnx.Model{Opsets: []onnx.Opset{{Version: opset}}, Graph: c}
	file, err := m.Encode()
	if err != nil {
		return nil, err
	}
	session, err := ort.NewSession(file, ort.Options{Threads: 1, AsIs: true})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	buffers := map[string]*ort.Buffer{}
	for name, x := range inputs {
		tensor, err := x.Tensor(x.Type)
		if err != nil {
			return nil, err
		}
		if buffers[name], err = ort.BufferFrom(tensor); err != nil {
			return nil, err
		}
		defer buffers[name].Close()
	}
	outputs, err := session.Call(buffers)
	if err != nil {
		return nil, err
	}
	out := map[string]*Array{}
	for name, b := range outputs {
		if out[name], err = FromTensor(b.Tensor()); err != nil {
			return nil, err
		}
		b.Close()
	}
	return out, nil
}

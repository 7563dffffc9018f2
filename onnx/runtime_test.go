package onnx_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// run gives every output of a model file on inputs filled with a ramp; named
// dimensions are 2.
func run(t *testing.T, path string) map[string]*onnx.Tensor {
	t.Helper()
	s, err := ort.Open(path, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inputs := map[string]*ort.Buffer{}
	for _, p := range s.Inputs() {
		dims := p.Shape.Ints()
		count := 1
		for i := range dims {
			if dims[i] < 0 {
				dims[i] = 2
			}
			count *= int(dims[i])
		}
		data := make([]float32, count)
		for i := range data {
			data[i] = float32(i%97)/50 - 1
		}
		b, err := ort.BufferOf(data, dims...)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		inputs[p.Name] = b
	}
	results, err := s.Call(inputs)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*onnx.Tensor{}
	for name, b := range results {
		out[name] = b.Tensor()
		b.Close()
	}
	return out
}

func TestRuntimeGivesTheSameForEveryWayOfWriting(t *testing.T) {
	orttest.Need(t)
	dir := t.TempDir()
	models, _ := filepath.Glob("../../shared/oracle/*/model.onnx")
	own := filepath.Join(dir, "own.onnx")
	if err := onnx.WriteModel(own, linear(t), onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	for i, path := range append(models, own) {
		want := run(t, path)
		m, d, err := onnx.ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		inline := filepath.Join(dir, string(rune('a'+i))+".onnx")
		outside := filepath.Join(dir, string(rune('a'+i))+"x.onnx")
		edited := filepath.Join(dir, string(rune('a'+i))+"e.onnx")
		if err := onnx.WriteModel(inline, m, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := onnx.WriteModel(outside, m, onnx.WriteOptions{External: filepath.Base(outside) + ".data", ExternalThreshold: 8}); err != nil {
			t.Fatal(err)
		}
		for _, v := range m.Graph.Inits {
			if err := d.SetInitializer(v.Name, v.Data); err != nil {
				t.Fatal(err)
			}
		}
		d.SetMetadata("key", "value")
		if err := d.WriteFile(edited); err != nil {
			t.Fatal(err)
		}
		for _, other := range []string{inline, outside, edited} {
			got := run(t, other)
			for name, w := range want {
				if g := got[name]; g == nil || !bytes.Equal(g.Raw, w.Raw) {
					t.Errorf("%s: output %s of %s differs", path, name, filepath.Base(other))
				}
			}
		}
	}
}

// linear is y = x w + b with a fixed ramp for w and b.
func linear(t *testing.T) *onnx.Model {
	t.Helper()
	g := onnx.NewGraph("linear")
	x := g.AddInput("x", onnx.Float, onnx.Shape{{N: 1, Sym: "batch"}, onnx.D(3)})
	b := onnx.NewBuilder(g)
	w := g.AddInit("w", onnx.FloatTensor([]float32{1, 2, 3, 4, 5, 6}, 3, 2))
	y := b.Add(b.MatMul(x, w), g.AddInit("b", onnx.FloatTensor([]float32{7, 8}, 2)))
	g.Outputs = []*onnx.Value{b.Named("y", y)}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	return &onnx.Model{Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g}
}

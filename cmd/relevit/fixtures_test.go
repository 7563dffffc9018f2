package main

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/pipeline"
	"github.com/relevit/relevit/pipeline/demo"
)

// writeTinyCheckpoint writes a Vision Transformer of 32x32 pixels and six
// classes with random weights.
func writeTinyCheckpoint(path string) error {
	a, err := models.NewArchitecture(`{"img_size":32,"patch_size":8,"embed_dim":32,"depth":2,"num_heads":2,"num_classes":6}`)
	if err != nil {
		return err
	}
	c, err := models.RandomCheckpoint(a, 1)
	if err != nil {
		return err
	}
	return c.Save(path)
}

// writePictures writes class folders of pictures with masks.
func writePictures(dir string, n int) error {
	pictures, err := demo.Generate(1, n, demo.Options{Size: 40, Betray: 0.5})
	if err != nil {
		return err
	}
	return demo.WriteFolders(dir, pictures)
}

// fixtures makes what the scripts work on: fixtures writes weights.safetensors
// and the folder data.
func fixtures(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: fixtures")
	}
	ts.Check(writeTinyCheckpoint(ts.MkAbs("weights.safetensors")))
	ts.Check(writePictures(ts.MkAbs("data"), 24))
}

// cut keeps the first half of a file: cut FROM TO.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FROM TO")
	}
	data := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(data[:len(data)/2]), 0o666))
}

// hidden writes a model in which the attention maps aren't found, since they go
// through a Relu, and the patches are found to be in one column: hidden FILE.
// It computes what weights.safetensors does, and another output.
func hidden(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hidden FILE")
	}
	m, err := models.Convert(ts.MkAbs("weights.safetensors"), models.Options{})
	ts.Check(err)
	g, b := m.Graph, onnx.NewBuilder(m.Graph)
	// behind lets a node follow another before all that read it.
	behind := func(n *onnx.Node, op func(*onnx.Value) *onnx.Value) {
		old := n.Outputs[0]
		between := &onnx.Value{Name: g.Fresh("between"), Type: old.Type, Shape: old.Shape}
		g.Replace(old, between)
		g.Replace(between, op(old))
	}
	for _, n := range slices.Clone(g.Nodes) {
		switch n.Op {
		case "Softmax":
			behind(n, func(v *onnx.Value) *onnx.Value { return b.Op("Relu", nil, v) })
		case "Conv":
			behind(n, func(v *onnx.Value) *onnx.Value {
				column := b.Op("Reshape", nil, v, b.Ints(0, 32, 16, 1))
				return b.Op("Conv", []onnx.Attr{{Name: "group", Value: int64(32)}}, column, b.Const(onnx.FloatTensor(slices.Repeat([]float32{1}, 32), 32, 1, 1, 1)))
			})
		}
	}
	logits := g.Outputs[0]
	g.Outputs = []*onnx.Value{b.Named("doubled_logits", b.Add(logits, logits)), logits}
	ts.Check(b.Err())
	ts.Check(g.Sort())
	ts.Check(onnx.WriteModel(ts.MkAbs(args[0]), m, onnx.WriteOptions{}))
}

// alike compares the maps of two explanations: alike EXPLAIN.JSON EXPLAIN.JSON.
func alike(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: alike EXPLAIN.JSON EXPLAIN.JSON")
	}
	var maps [2][]float64
	for i, path := range args {
		var e pipeline.Explanation
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(path)), &e))
		for _, p := range e.Pictures {
			data := ts.ReadFile(filepath.Join(filepath.Dir(path), p.Map))
			for at := len(data) - 4*e.Size[0]*e.Size[1]; at < len(data); at += 4 {
				maps[i] = append(maps[i], float64(math.Float32frombits(binary.LittleEndian.Uint32([]byte(data[at:])))))
			}
		}
	}
	if len(maps[0]) == 0 || len(maps[0]) != len(maps[1]) || slices.Max(maps[0]) != 1 {
		ts.Fatalf("%d and %d values", len(maps[0]), len(maps[1]))
	}
	for i, v := range maps[0] {
		if math.Abs(v-maps[1][i]) > 1e-5 {
			ts.Fatalf("value %d is %v in one and %v in the other", i, v, maps[1][i])
		}
	}
}

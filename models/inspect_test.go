package models

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

func TestInspectSaysTheSameOfCheckpointAndModel(t *testing.T) {
	folder := t.TempDir()
	c, a := random(t, small["distilled"])
	checkpoint, model := filepath.Join(folder, "x.safetensors"), filepath.Join(folder, "x.onnx")
	if err := c.Save(checkpoint); err != nil {
		t.Fatal(err)
	}
	m, err := Build(c, a, BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.WriteModel(model, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	for kind, path := range map[string]string{"checkpoint": checkpoint, "onnx": model} {
		r, err := Inspect(path, Options{}, FindOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r.Notes = nil // the checkpoint's number of heads is a guess
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		source := map[string]string{"checkpoint": "safetensors checkpoint with timm's names", "onnx": "ONNX model by relevit"}[kind]
		const want = `"architecture":"deit_d48_l2_h3_distilled_patch8_32","description":"2 blocks, width 48, 3 heads, 4x4 patches of 8x8 pixels, 2 prefix tokens, 5 classes","producer":"relevit","opset":17,` +
			`"inputs":[{"name":"image","type":"float32","shape":["batch",3,32,32]}],"outputs":[{"name":"logits","type":"float32","shape":["batch",5]}],"parameters":67354,"precision":"float32",` +
			`"attention":[{"tensor":"blocks.0.attn/A","block":0,"heads":3,"tokens":18},{"tensor":"blocks.1.attn/A","block":1,"heads":3,"tokens":18}],"image_size":[32,32],"grid":[4,4],"patch":[8,8],"prefix_tokens":2,"prefix":"class token, distillation token","pool":"token","width":48,"classes":5,` +
			`"preprocess":{"input_size":[3,32,32],"interpolation":"bicubic","crop_pct":0.9,"crop_mode":"center","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]},"problems":[],"notes":null}`
		if got := string(text); got != `{"kind":"`+kind+`","source":"`+source+`",`+want {
			t.Errorf("%s:\n%s\nwant\n%s", kind, got, want)
		}
	}
}

func TestInspectDescribesForeignModels(t *testing.T) {
	r, err := Inspect(shared(t, "oracle", "micro-rect", "model.onnx"), Options{}, FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != "onnx" || r.Architecture != "vit_d48_l3_h3_patch8_24x40" || r.Parameters != 81367 || r.Preprocess != nil || len(r.Problems) != 0 || len(r.Attention) != 3 {
		t.Errorf("%+v", r)
	}
}

func TestInspectReportsProblemsOfReadableFiles(t *testing.T) {
	folder := t.TempDir()
	c, _ := random(t, small["vit"])
	swin := edit(&Checkpoint{}, map[string]*onnx.Tensor{"layers.0.blocks.0.attn.relative_position_bias_table": onnx.FloatTensor([]float32{1}, 1)})
	for want, c := range map[string]*Checkpoint{
		"no classifier":    edit(c, map[string]*onnx.Tensor{"head.weight": nil, "head.bias": nil}),
		"Swin Transformer": swin,
	} {
		path := filepath.Join(folder, "x.safetensors")
		if err := c.Save(path); err != nil {
			t.Fatal(err)
		}
		r, err := Inspect(path, Options{}, FindOptions{})
		if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], want) {
			t.Errorf("%s: %+v, %v", want, r, err)
		}
	}
	g := (&toy{attention: func(t *toy, x *onnx.Value) *onnx.Value { return t.linear(x, toyWidth) }}).graph(t)
	path := filepath.Join(folder, "x.onnx")
	if err := onnx.WriteModel(path, &onnx.Model{IRVersion: 10, Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g}, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := Inspect(path, Options{}, FindOptions{})
	if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "no attention found") || r.Opset != onnx.Dialect {
		t.Errorf("%+v, %v", r, err)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	var format *onnx.FormatError
	if _, err := Inspect(path, Options{}, FindOptions{}); !errors.As(err, &format) {
		t.Errorf("a truncated model gives %v", err)
	}
}

func TestPreprocessingAndLogitsMatchTheReferencePipeline(t *testing.T) {
	orttest.Need(t)
	m, err := Convert(shared(t, "data", "models", "vit_tiny_patch16_224.safetensors"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := PreprocessOf(m)
	c := oracleCase{folder: shared(t, "oracle", "pipeline")}
	for _, file := range []string{"00.safetensors", "05.safetensors", "10.safetensors"} {
		pixels, err := c.tensor(t, file, "image.timm").Float32s() // (224,224,3), 0 to 255
		if err != nil {
			t.Fatal(err)
		}
		image := make([]float32, len(pixels))
		for i, v := range pixels {
			ch := i % 3
			image[ch*224*224+i/3] = float32((float64(v)/255 - p.Mean[ch]) / p.Std[ch])
		}
		want, err := c.tensor(t, file, "logits.timm").Float64s()
		if err != nil {
			t.Fatal(err)
		}
		if d := deviation(infer(t, m, onnx.FloatTensor(image, 1, 3, 224, 224)), want); d > 1e-4 {
			t.Errorf("%s: logits are %.3g off, want at most 1e-4", file, d)
		}
	}
}

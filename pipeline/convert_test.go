package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/picture"
)

// TestConvertedModelsMatchPyTorchInEveryOpset runs every kind of checkpoint,
// written in opsets from before LayerNormalization to the newest.
func TestConvertedModelsMatchPyTorchInEveryOpset(t *testing.T) {
	orttest.Need(t)
	for _, c := range zoo(t) {
		if !strings.HasPrefix(c.name, "ckpt-") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			image, err := c.expected.Tensor("image")
			if err != nil {
				t.Fatal(err)
			}
			want := values(t, c.expected, "logits")
			for _, opset := range []int64{11, 13, 17, 18, 23} {
				path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.onnx", opset))
				open := models.Options{ImageSize: [2]int{int(image.Dims[2]), int(image.Dims[3])}}
				r, err := Convert(context.Background(), c.source, path, ConvertOptions{Open: open, Opset: opset})
				if err != nil {
					t.Errorf("opset %d: %v", opset, err)
					continue
				}
				if r.Opset != opset {
					t.Errorf("opset %d was written as %d", opset, r.Opset)
				}
				if e := off(outputOf(t, path, image), want, nil); e > 10*c.deviation["logits"] {
					t.Errorf("opset %d: logits are off by %.2g, more than 10 times %.2g", opset, e, c.deviation["logits"])
				}
			}
		})
	}
}

// outputOf runs a model with one input and one output.
func outputOf(t *testing.T, path string, image *onnx.Tensor) []float64 {
	t.Helper()
	s, err := ort.Open(path, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pixels, err := image.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ort.BufferOf(pixels, image.Dims...)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	out, err := s.Call(map[string]*ort.Buffer{s.Inputs()[0].Name: b})
	if err != nil {
		t.Fatal(err)
	}
	y := out[s.Outputs()[0].Name]
	defer y.Close()
	var list []float64
	for _, v := range y.Float32s() {
		list = append(list, float64(v))
	}
	return list
}

func TestConvertedModelsKeepTheirPreprocessing(t *testing.T) {
	source := smallCheckpoint(t, smallArch, nil)
	config := `{"architecture":"custom","model_args":` + smallArch + `,"pretrained_cfg":{"crop_mode":"squash","crop_pct":0.8,"interpolation":"lanczos","mean":[0.1,0.2,0.3],"std":[0.4,0.5,0.6]}}`
	if err := os.WriteFile(filepath.Join(filepath.Dir(source), "config.json"), []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{source, onlyModel(t, source)} {
		m, err := OpenModel(path, ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := picture.Preprocess{Size: m.Preprocess.Size, Resize: picture.ResizeSquash, CropPct: 0.8, Interpolation: picture.Lanczos,
			Mean: [3]float32{0.1, 0.2, 0.3}, Std: [3]float32{0.4, 0.5, 0.6}}
		if m.Preprocess != want {
			t.Errorf("%s: %+v, want %+v", path, m.Preprocess, want)
		}
	}
}

func TestCheckpointsWithoutAClassifierAreConvertedButNotFinetuned(t *testing.T) {
	source := smallCheckpoint(t, smallArch, func(c *models.Checkpoint, tensors []safetensors.Named) []safetensors.Named {
		var kept []safetensors.Named
		for _, x := range tensors {
			if !strings.HasPrefix(x.Name, "head.") {
				kept = append(kept, x)
			}
		}
		return kept
	})
	path := onlyModel(t, source)
	for _, p := range []string{source, path} {
		r, err := Inspect(p, ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "no classifier") || len(r.Outputs) != 1 || r.Outputs[0].Name != "features" || len(r.Attention) == 0 {
			t.Errorf("%s: outputs %v, problems %q", p, r.Outputs, r.Problems)
		}
	}
}

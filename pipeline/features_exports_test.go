package pipeline

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// exportsOf lists checkpoints of the zoo and what exporters and optimizers made
// of them.
var exportsOf = map[string][]string{
	"timm-torchscript-17/weights.safetensors": {"timm-torchscript-17", "timm-eager-9", "timm-eager-12", "local-functions",
		"ort-extended", "ort-transformers-vit"},
	"timm-dynamo-18/weights.safetensors": {"timm-dynamo-18", "timm-one-dynamo-18", "timm-one-dynamo-24", "branches-17", "branch-weights-17",
		"onnxsim-20", "onnxslim-14", "ort-basic-17", "ort-transformers-mha"},
	"hf-vit-eager-17/weights":            {"hf-vit-eager-17", "hf-vit-eager-dynamo-18", "hf-vit-sdpa-14", "hf-vit-sdpa-dynamo-23", "hf-vit-sdpa-dynamo-24"},
	"hf-clip-17/weights":                 {"hf-clip-17", "hf-clip-sdpa-dynamo-18"},
	"hf-beit-17/weights":                 {"hf-beit-17", "hf-beit-dynamo-18"},
	"openclip-17/weights.safetensors":    {"openclip-17", "openclip-avg-14", "openclip-dynamo-18", "openclip-one-dynamo-20"},
	"torchvision-17/weights.safetensors": {"torchvision-17", "torchvision-dynamo-18", "torchvision-one-17"},
}

// TestExportsHaveTheFeaturesOfTheirCheckpoint takes queries, keys and values of
// every block from files of torch.onnx's two exporters, of optimizers that fuse
// attention, and with opset 23's Attention: whatever scales were moved and axes
// exchanged, they are the checkpoint's. Of their float32 deviation that of the
// attention maps is known, which are made of them.
func TestExportsHaveTheFeaturesOfTheirCheckpoint(t *testing.T) {
	orttest.Need(t)
	cases := map[string]zooCase{}
	for _, c := range zoo(t) {
		cases[c.name] = c
	}
	for checkpoint, exports := range exportsOf {
		arch := `{"num_heads": 2, "act_layer": "gelu"}` // which the tensors don't tell
		if strings.HasPrefix(checkpoint, "hf-") {
			arch = "" // config.json does
		}
		want := allFeatures(t, filepath.Join("testdata/zoo", checkpoint), arch, cases[exports[0]])
		for _, name := range exports {
			c := cases[name]
			got := allFeatures(t, c.source, "", c)
			for f, values := range want {
				n := min(len(values), len(got[f])) // batches differ, and begin with the same pictures
				if e := off(wide(got[f][:n]), wide(values[:n]), nil); n == 0 || !(e <= 10*c.deviation["attn"]) {
					t.Errorf("%s: %v of block %d are off by %.2g, more than 10 times %.2g", name, f.Kind, f.Block, e, c.deviation["attn"])
				}
			}
		}
	}
}

// allFeatures computes queries, keys and values of both blocks for a case's
// batch.
func allFeatures(t *testing.T, path, arch string, c zooCase) map[Feature][]float32 {
	t.Helper()
	image, err := c.expected.Tensor("image")
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(path, ModelOptions{Convert: models.Options{Arch: arch}})
	if err != nil {
		t.Fatal(err)
	}
	var wanted []Feature
	for _, kind := range []string{Queries, Keys, Values} {
		wanted = append(wanted, Feature{kind, 0}, Feature{kind, 1})
	}
	f := openFeatures(t, m, image.Dims[0], wanted...)
	featuresOf(t, f, image)
	out := map[Feature][]float32{}
	for i := range f.Batch {
		for j, values := range f.Of(i) {
			out[wanted[j]] = append(out[wanted[j]], values...)
		}
	}
	return out
}

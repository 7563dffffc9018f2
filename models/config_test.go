package models

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const configured = `{"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 4, "num_classes": 3}`

// withFiles reads a small checkpoint with files beside it.
func withFiles(t *testing.T, spec string, files map[string]string) *Architecture {
	t.Helper()
	dir := t.TempDir()
	c, _ := random(t, spec)
	path := filepath.Join(dir, "model.safetensors")
	if err := c.Save(path); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		put(t, dir, name, text)
	}
	c, err := OpenCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ReadArchitecture(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestConfigurationsTellWhatTensorsDont reads transformers' config.json.
func TestConfigurationsTellWhatTensorsDont(t *testing.T) {
	for _, c := range []struct {
		config     string
		heads      int
		family     string
		activation string
		eps        float64
		labels     []string
	}{
		{`{"model_type": "vit", "num_attention_heads": 2}`, 2, "vit", "gelu", 1e-12, nil},
		{`{"model_type": "vit", "num_attention_heads": 8, "hidden_act": "gelu_new", "layer_norm_eps": 1e-5}`, 8, "vit", "gelu_tanh", 1e-5, nil},
		{`{"model_type": "deit", "num_attention_heads": 2, "hidden_act": "relu", "id2label": {"1": "b", "0": "a", "2": "c"}}`, 2, "deit", "relu", 1e-12, []string{"a", "b", "c"}},
		{`{"model_type": "vit_msn", "num_attention_heads": 4, "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}}`, 4, "dino", "gelu", 1e-6, nil},
		{`{"model_type": "dinov2", "num_attention_heads": 2, "id2label": {"0": "a", "2": "c", "3": "d"}}`, 2, "dino", "gelu", 1e-6, nil},
		{`{"model_type": "vit", "num_attention_heads": 2, "id2label": {"0": 7, "1": 8, "2": 9}}`, 2, "vit", "gelu", 1e-12, []string{"7", "8", "9"}},
		{`{"model_type": "clip", "num_attention_heads": 99, "vision_config": {"model_type": "clip_vision_model", "num_attention_heads": 2}}`, 2, "clip", "quick_gelu", 1e-5, nil},
		{`{"model_type": "siglip", "vision_config": {"num_attention_heads": 2, "layer_norm_eps": 1e-7}}`, 2, "siglip", "gelu_tanh", 1e-7, nil},
		{`{"model_type": "siglip_vision_model", "num_attention_heads": 8}`, 8, "siglip", "gelu_tanh", 1e-6, nil},
		{`{"architecture": "vit_base_patch16_224", "model_args": {"embed_dim": 16, "depth": 2, "num_heads": 8, "patch_size": 8, "img_size": 16}, "num_classes": 3, "label_names": ["x", "y", "z"]}`,
			8, "vit", "gelu", 1e-6, []string{"x", "y", "z"}},
	} {
		a := withFiles(t, configured, map[string]string{"config.json": c.config})
		if a.Heads != c.heads || a.Family != c.family || a.Activation != c.activation || a.Eps != c.eps || !slices.Equal(a.Labels, c.labels) {
			t.Errorf("%s: %d heads, family %s, %s, eps %g, labels %v", c.config, a.Heads, a.Family, a.Activation, a.Eps, a.Labels)
		}
	}
}

// TestConfigurationsOfAnotherModelAreNotUsed contradicts the tensors in sizes.
func TestConfigurationsOfAnotherModelAreNotUsed(t *testing.T) {
	for config, want := range map[string]string{
		`{"model_type": "vit", "num_attention_heads": 8, "hidden_size": 32}`:      "embed_dim is 32 there, the tensors say 16",
		`{"model_type": "vit", "num_attention_heads": 8, "num_hidden_layers": 3}`: "depth is 3 there, the tensors say 2",
		`{"model_type": "vit", "num_attention_heads": 8, "patch_size": 16}`:       "patch_size is [16 16] there",
		`{"model_type": "vit", "num_attention_heads": 8, "num_channels": 1}`:      "in_chans is 1 there",
		`{"model_type": "vit", "num_attention_heads": 3}`:                         "num_heads is 3 there",
		`{"model_type": "vit", "num_attention_heads": 8, "image_size": 48}`:       "images are 48x48, which doesn't fit",
		`{"model_type": "vit", "num_attention_heads": "many"}`:                    "this is no configuration",
		`{"model_type": "vit",`: "this is no configuration",
	} {
		a := withFiles(t, configured, map[string]string{"config.json": config})
		if said := strings.Join(a.Warnings, "\n"); !strings.Contains(said, want) {
			t.Errorf("%s: warnings %q, want one that says %q", config, said, want)
		}
		if a.Heads == 8 && !strings.Contains(want, "images") {
			t.Errorf("%s is used", config)
		}
		if a.ImageSize != [2]int{16, 16} {
			t.Errorf("%s: pictures of %v", config, a.ImageSize)
		}
	}
}

// TestProcessorsTellHowPicturesArePrepared reads preprocessor_config.json.
func TestProcessorsTellHowPicturesArePrepared(t *testing.T) {
	const stated = `"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]`
	for _, c := range []struct {
		model, processor, interpolation string
		crop                            float64
		scale                           float64 // of mean and std, against those stated
	}{
		{"vit", `{"size": {"height": 16, "width": 16}, "resample": 2, "rescale_factor": 0.00392156862745098, ` + stated + `}`, "bilinear", 1, 1},
		{"vit", `{"size": 16, "resample": 3, ` + stated + `}`, "bicubic", 1, 1},
		{"vit", `{"size": 16, ` + stated + `}`, "bilinear", 1, 1},
		{"deit", `{"size": 20, "crop_size": 16, "resample": 3, ` + stated + `}`, "bicubic", 0.8, 1},
		{"deit", `{"size": {"height": 20, "width": 20}, "crop_size": {"height": 16, "width": 16}, "do_center_crop": false, ` + stated + `}`, "bicubic", 1, 1},
		{"dinov2", `{"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}, "do_center_crop": true, "resample": 1, ` + stated + `}`, "lanczos", 0.8, 1},
		{"clip", `{"size": {"shortest_edge": 16}, "crop_size": 16, ` + stated + `}`, "bicubic", 1, 1},
		{"vit", `{"size": 16, "do_rescale": false, ` + stated + `}`, "bilinear", 1, 1.0 / 255},
		{"vit", `{"size": 16, "rescale_factor": 0.00784313725490196, ` + stated + `}`, "bilinear", 1, 0.5},
	} {
		a := withFiles(t, configured, map[string]string{"config.json": fmt.Sprintf(`{"model_type": %q, "num_attention_heads": 2}`, c.model), "preprocessor_config.json": c.processor})
		p := a.Preprocess
		if p.Interpolation != c.interpolation || math.Abs(p.CropPct-c.crop) > 1e-12 || p.InputSize != [3]int{3, 16, 16} {
			t.Errorf("%s %s: %+v", c.model, c.processor, p)
		}
		for i, want := range []float64{0.1, 0.2, 0.3} {
			if math.Abs(p.Mean[i]-want*c.scale) > 1e-9 || math.Abs(p.Std[i]-(want+0.3)*c.scale) > 1e-9 {
				t.Errorf("%s: mean %v, std %v", c.processor, p.Mean, p.Std)
			}
		}
	}
	for _, off := range []string{`{"size": 16, "do_normalize": false, ` + stated + `}`, `{"size": 16, "do_normalize": false}`} {
		p := withFiles(t, configured, map[string]string{"config.json": `{"model_type": "vit", "num_attention_heads": 2}`, "preprocessor_config.json": off}).Preprocess
		if !slices.Equal(p.Mean, []float64{0, 0, 0}) || !slices.Equal(p.Std, []float64{1, 1, 1}) {
			t.Errorf("%s: mean %v, std %v", off, p.Mean, p.Std)
		}
	}
}

// TestOpenCLIPsConfigurationIsRead takes heads, activation and preprocessing
// from open_clip_config.json.
func TestOpenCLIPsConfigurationIsRead(t *testing.T) {
	for _, c := range []struct {
		config     string
		heads      int
		activation string
	}{
		{`{"model_cfg": {"quick_gelu": true, "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8}}}`, 2, "quick_gelu"},
		{`{"model_cfg": {"vision_cfg": {"image_size": [16, 16], "width": 16, "head_width": 4}}, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}}`, 4, "gelu"},
	} {
		a := withFiles(t, configured, map[string]string{"open_clip_config.json": c.config})
		if a.Heads != c.heads || a.Activation != c.activation || a.Family != "clip" || a.Eps != 1e-5 || a.Preprocess.CropPct != 1 {
			t.Errorf("%s: %+v", c.config, a)
		}
		if strings.Contains(c.config, "bilinear") && (a.Preprocess.Interpolation != "bilinear" || a.Preprocess.Mean[2] != 0.3) {
			t.Errorf("%s: %+v", c.config, a.Preprocess)
		}
	}
}

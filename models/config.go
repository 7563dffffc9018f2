package models

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// hubConfig is what transformers' config.json says of a picture's tower.
type hubConfig struct {
	ModelType   string          `json:"model_type"`
	Vision      json.RawMessage `json:"vision_config"`
	Labels      map[string]any  `json:"id2label"`
	Heads       *int            `json:"num_attention_heads"`
	Width       *int            `json:"hidden_size"`
	Depth       *int            `json:"num_hidden_layers"`
	Image       *pair           `json:"image_size"`
	Patch       *pair           `json:"patch_size"`
	Channels    *int            `json:"num_channels"`
	Act         *string         `json:"hidden_act"`
	Eps         *float64        `json:"layer_norm_eps"`
	MeanPooling *bool           `json:"use_mean_pooling"`
	SwiGLU      bool            `json:"use_swiglu_ffn"`
	Theta       *float64        `json:"rope_theta"`
	Rope        struct {
		Theta *float64 `json:"rope_theta"`
	} `json:"rope_parameters"`
}

// hubDefaults are what config.json leaves out where it is transformers'
// default: by model_type, without _vision_model. Models with other sizes state
// them.
var hubDefaults = map[string]struct {
	family string
	heads  int
	act    string
	eps    float64
}{
	"vit":                   {"vit", 12, "gelu", 1e-12},
	"vit_mae":               {"vit", 12, "gelu", 1e-12},
	"vit_msn":               {"dino", 12, "gelu", 1e-6},
	"ijepa":                 {"dino", 12, "gelu", 1e-12},
	"deit":                  {"deit", 12, "gelu", 1e-12},
	"beit":                  {"beit", 12, "gelu", 1e-12},
	"data2vec-vision":       {"beit", 12, "gelu", 1e-12},
	"dinov2":                {"dino", 12, "gelu", 1e-6},
	"dinov2_with_registers": {"dino", 12, "gelu", 1e-6},
	"dinov3_vit":            {"dino", 6, "gelu", 1e-5},
	"clip":                  {"clip", 12, "quick_gelu", 1e-5},
	"metaclip_2":            {"clip", 12, "quick_gelu", 1e-5},
	"siglip":                {"siglip", 12, "gelu_pytorch_tanh", 1e-6},
	"siglip2":               {"siglip", 12, "gelu_pytorch_tanh", 1e-6},
}

// hubActivations are transformers' names of activations that have another in
// timm.
var hubActivations = map[string]string{
	"gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh", "gelu_fast": "gelu_tanh", "gelu_python": "gelu", "swish": "silu",
}

// configStatement reads what transformers' or OpenCLIP's configuration files
// beside a checkpoint say, as timm's arguments; nil if there is none of theirs.
func configStatement(c *Checkpoint) (*statement, error) {
	text := beside(c, "config.json")
	if text == nil {
		return openCLIPStatement(c)
	}
	file := filepath.Join(folderOf(c), "config.json")
	var h hubConfig
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, &Error{Path: file, Problem: "this is no configuration", Err: err, Advice: "correct the file or take it away"}
	}
	kind := h.ModelType
	if len(h.Vision) > 0 && string(h.Vision) != "null" {
		h.ModelType = ""
		if err := json.Unmarshal(h.Vision, &h); err != nil {
			return nil, &Error{Path: file, Problem: "vision_config can't be understood", Err: err, Advice: "correct the file or take it away"}
		}
		if h.ModelType == "" {
			h.ModelType = kind
		}
	}
	if h.ModelType == "" { // timm's, or somebody's own
		return nil, nil
	}
	a := h.args()
	if text := beside(c, "preprocessor_config.json"); text != nil {
		a.Pretrained = hubPreprocess(text, h.ModelType)
	}
	return &statement{source: file, args: a}, nil
}

// args says it in timm's words.
func (h *hubConfig) args() *args {
	a := &args{Heads: h.Heads, Width: h.Width, Depth: h.Depth, Image: h.Image, Patch: h.Patch, Channels: h.Channels, Act: h.Act, Eps: h.Eps, Labels: h.labels()}
	kind := strings.TrimSuffix(strings.TrimSuffix(h.ModelType, "_model"), "_vision")
	if d, ok := hubDefaults[kind]; ok {
		a.Family = d.family
		if h.Heads == nil {
			a.Heads = new(d.heads)
		}
		set(&a.Act, &d.act)
		set(&a.Eps, &d.eps)
	}
	if a.Act != nil {
		if timm, ok := hubActivations[*a.Act]; ok {
			a.Act = &timm
		}
	}
	switch kind {
	case "beit", "data2vec-vision":
		a.Pool = new("avg")
		if h.MeanPooling != nil && !*h.MeanPooling {
			a.Pool = new("token")
		}
	case "dinov2", "dinov2_with_registers":
		if h.SwiGLU { // hidden_act is not for it
			a.Act = new("silu")
		}
	case "dinov3_vit":
		theta := 100.0
		for _, stated := range []*float64{h.Theta, h.Rope.Theta} {
			if stated != nil {
				theta = *stated
			}
		}
		a.dinov3(theta)
	}
	return a
}

// dinov3 says how DINOv3 places its patches.
func (p *args) dinov3(theta float64) {
	p.Rope, p.RopeType, p.RopeHalf, p.Temperature = new(true), new("dinov3"), new(true), new(theta)
	p.Positions = new(false)
	set(&p.Eps, new(1e-5))
}

// labels lists the names of the classes; nil where they are transformers'
// placeholders LABEL_0, LABEL_1, ... or have gaps.
func (h *hubConfig) labels() []string {
	out := make([]string, len(h.Labels))
	placeholders := true
	for key, value := range h.Labels {
		name := fmt.Sprint(value) // some are numbers
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(out) || out[i] != "" {
			return nil
		}
		out[i] = name
		placeholders = placeholders && name == "LABEL_"+key
	}
	if placeholders || slices.Contains(out, "") {
		return nil
	}
	return out
}

// openCLIPConfig is what open_clip_config.json says of the picture's tower.
type openCLIPConfig struct {
	Model struct {
		QuickGELU bool `json:"quick_gelu"`
		Vision    struct {
			Image     *pair           `json:"image_size"`
			Patch     *pair           `json:"patch_size"`
			Width     json.RawMessage `json:"width"`
			HeadWidth int             `json:"head_width"`
			Timm      string          `json:"timm_model_name"`
			Layers    json.RawMessage `json:"layers"`
		} `json:"vision_cfg"`
	} `json:"model_cfg"`
	Preprocess struct {
		Mean          []float64 `json:"mean"`
		Std           []float64 `json:"std"`
		Interpolation string    `json:"interpolation"`
		Resize        string    `json:"resize_mode"`
	} `json:"preprocess_cfg"`
}

func openCLIPStatement(c *Checkpoint) (*statement, error) {
	const name = "open_clip_config.json"
	text := beside(c, name)
	if text == nil {
		return nil, nil
	}
	var o openCLIPConfig
	if err := json.Unmarshal(text, &o); err != nil {
		return nil, &Error{Path: filepath.Join(folderOf(c), name), Problem: "this is no configuration of OpenCLIP", Err: err, Advice: "correct the file or take it away"}
	}
	v := o.Model.Vision
	a := &args{Image: v.Image, Patch: v.Patch, Family: "clip"}
	var width int
	if json.Unmarshal(v.Width, &width) == nil && width > 0 && v.Timm == "" {
		head := 64
		if v.HeadWidth > 0 {
			head = v.HeadWidth
		}
		a.Width, a.Heads, a.Eps = &width, new(max(1, width/head)), new(1e-5)
		a.Act = new("gelu")
		if o.Model.QuickGELU {
			a.Act = new("quick_gelu")
		}
	}
	if byName, ok := named(v.Timm); ok {
		a.fill(byName)
	}
	p := pretrainedConfig{Mean: o.Preprocess.Mean, Std: o.Preprocess.Std, Interpolation: o.Preprocess.Interpolation, CropPct: 1}
	if o.Preprocess.Resize == "squash" {
		p.CropMode = "squash"
	}
	var err error
	a.Pretrained, err = json.Marshal(p)
	return &statement{source: filepath.Join(folderOf(c), name), args: a}, err
}

// folderOf is where a checkpoint's configuration lies: beside its file, or in
// its folder.
func folderOf(c *Checkpoint) string {
	if info, err := os.Stat(c.Path); err == nil && info.IsDir() {
		return c.Path
	}
	return filepath.Dir(c.Path)
}

// beside reads a small file beside a checkpoint; nil where there is none, or
// none that can be read.
func beside(c *Checkpoint, name string) []byte {
	text, err := description(folderOf(c), name)
	if err != nil {
		return nil
	}
	return text
}

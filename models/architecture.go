package models

import (
	"fmt"
	"math"
)

// Architecture is what a Vision Transformer's forward pass needs to be known
// besides the weights. Sizes in pairs are rows, columns; JSON keys are those of
// timm's constructor where it has one.
type Architecture struct {
	Name   string `json:"architecture,omitempty"` // timm's name, where stated
	Family string `json:"family"`                 // vit, deit, deit3 or clip

	ImageSize [2]int `json:"img_size"`   // pixels
	Patch     [2]int `json:"patch_size"` // pixels
	Channels  int    `json:"in_chans"`
	Classes   int    `json:"num_classes"` // 0 without a classifier
	Width     int    `json:"embed_dim"`
	Depth     int    `json:"depth"`
	Heads     int    `json:"num_heads"`
	Hidden    int    `json:"mlp_hidden"`

	ClassToken   bool   `json:"class_token"`
	DistToken    bool   `json:"dist_token"`
	Registers    int    `json:"reg_tokens"`
	NoEmbedClass bool   `json:"no_embed_class"` // prefix tokens have no position embedding
	Pool         string `json:"global_pool"`    // token, or avg: the mean of the patches
	PoolPrefix   bool   `json:"pool_include_prefix,omitempty"`

	QKVBias    bool    `json:"qkv_bias"`
	ProjBias   bool    `json:"proj_bias"` // of attn.proj, mlp.fc1 and mlp.fc2
	QKNorm     bool    `json:"qk_norm"`
	LayerScale bool    `json:"layer_scale"`
	PreNorm    bool    `json:"pre_norm"`
	FinalNorm  bool    `json:"final_norm"` // norm, before pooling
	FCNorm     bool    `json:"fc_norm"`    // after pooling
	PreLogits  int     `json:"representation_size,omitempty"`
	PatchBias  bool    `json:"patch_bias"`
	HeadBias   bool    `json:"head_bias"`
	Activation string  `json:"act_layer"` // gelu, quick_gelu or gelu_tanh
	Eps        float64 `json:"norm_eps"`

	Preprocess Preprocess `json:"-"`
	Labels     []string   `json:"-"` // class names by index; nil where unknown
	// Warnings say what was guessed and how to state it.
	Warnings []string `json:"-"`
}

// Grid is the number of patches, rows and columns.
func (a *Architecture) Grid() [2]int {
	return [2]int{a.ImageSize[0] / a.Patch[0], a.ImageSize[1] / a.Patch[1]}
}

// Patches is the number of patches of an image.
func (a *Architecture) Patches() int { return a.Grid()[0] * a.Grid()[1] }

// Prefix is the number of tokens before those of the patches.
func (a *Architecture) Prefix() int {
	n := a.Registers
	if a.ClassToken {
		n++
	}
	if a.DistToken {
		n++
	}
	return n
}

// Tokens is the length of the sequence.
func (a *Architecture) Tokens() int { return a.Prefix() + a.Patches() }

// positions is the number of position embeddings.
func (a *Architecture) positions() int {
	if a.NoEmbedClass {
		return a.Patches()
	}
	return a.Tokens()
}

// Title is timm's name where it is stated or follows from the sizes, otherwise
// the family with its sizes.
func (a *Architecture) Title() string {
	if a.Name != "" {
		return a.Name
	}
	distilled := ""
	if a.DistToken {
		distilled = "_distilled"
	}
	patch, image := fmt.Sprint(a.Patch[0]), fmt.Sprint(a.ImageSize[0])
	if a.Patch[0] != a.Patch[1] {
		patch = fmt.Sprintf("%dx%d", a.Patch[0], a.Patch[1])
	}
	if a.ImageSize[0] != a.ImageSize[1] {
		image = fmt.Sprintf("%dx%d", a.ImageSize[0], a.ImageSize[1])
	}
	size := fmt.Sprintf("d%d_l%d_h%d", a.Width, a.Depth, a.Heads)
	for _, p := range published {
		if p.width == a.Width && p.depth == a.Depth && p.heads == a.Heads {
			size = p.size
		}
	}
	return fmt.Sprintf("%s_%s%s_patch%s_%s", a.Family, size, distilled, patch, image)
}

// Describe says in words what the model is, beside its Title.
func (a *Architecture) Describe() string {
	g := a.Grid()
	head := fmt.Sprintf("%d classes", a.Classes)
	if a.Classes == 0 {
		head = "no classifier"
	}
	prefix := "1 prefix token"
	if n := a.Prefix(); n != 1 {
		prefix = fmt.Sprintf("%d prefix tokens", n)
	}
	return fmt.Sprintf("%d blocks, width %d, %d heads, %dx%d patches of %dx%d pixels, %s, %s",
		a.Depth, a.Width, a.Heads, g[0], g[1], a.Patch[0], a.Patch[1], prefix, head)
}

// spec is a tensor that an architecture has.
type spec struct {
	name string
	dims []int64
}

// tensors lists the architecture's tensors by timm's names and layouts, in the
// order of timm's state_dict. Linear weights are (out,in).
func (a *Architecture) tensors() []spec {
	var out []spec
	add := func(present bool, name string, dims ...int) {
		if !present {
			return
		}
		d := make([]int64, len(dims))
		for i := range dims {
			d[i] = int64(dims[i])
		}
		out = append(out, spec{name, d})
	}
	norm := func(present bool, name string, width int) {
		add(present, name+".weight", width)
		add(present, name+".bias", width)
	}
	linear := func(present, bias bool, name string, to, from int) {
		add(present, name+".weight", to, from)
		add(present && bias, name+".bias", to)
	}
	d := a.Width
	add(a.ClassToken, "cls_token", 1, 1, d)
	add(a.Registers > 0, "reg_token", 1, a.Registers, d)
	add(a.DistToken, "dist_token", 1, 1, d)
	add(true, "pos_embed", 1, a.positions(), d)
	add(true, "patch_embed.proj.weight", d, a.Channels, a.Patch[0], a.Patch[1])
	add(a.PatchBias, "patch_embed.proj.bias", d)
	norm(a.PreNorm, "norm_pre", d)
	for i := range a.Depth {
		block := fmt.Sprintf("blocks.%d.", i)
		norm(true, block+"norm1", d)
		linear(true, a.QKVBias, block+"attn.qkv", 3*d, d)
		norm(a.QKNorm, block+"attn.q_norm", d/a.Heads)
		norm(a.QKNorm, block+"attn.k_norm", d/a.Heads)
		linear(true, a.ProjBias, block+"attn.proj", d, d)
		add(a.LayerScale, block+"ls1.gamma", d)
		norm(true, block+"norm2", d)
		linear(true, a.ProjBias, block+"mlp.fc1", a.Hidden, d)
		linear(true, a.ProjBias, block+"mlp.fc2", d, a.Hidden)
		add(a.LayerScale, block+"ls2.gamma", d)
	}
	norm(a.FinalNorm, "norm", d)
	features := d
	if a.PreLogits > 0 {
		linear(true, true, "pre_logits.fc", a.PreLogits, d)
		features = a.PreLogits
	}
	norm(a.FCNorm, "fc_norm", features)
	linear(a.Classes > 0, a.HeadBias, "head", a.Classes, features)
	linear(a.Classes > 0 && a.DistToken, a.HeadBias, "head_dist", a.Classes, features)
	return out
}

// Validate checks that the sizes fit together.
func (a *Architecture) Validate() error {
	for _, c := range []struct {
		ok   bool
		text string
	}{
		{min(a.Width, a.Depth, a.Heads, a.Hidden, a.Channels) > 0, "embed_dim, depth, num_heads, mlp_hidden and in_chans must be positive"},
		{min(a.Patch[0], a.Patch[1]) > 0, fmt.Sprintf("patch_size %v must be positive", a.Patch)},
	} {
		if !c.ok {
			return fmt.Errorf("impossible architecture: %s", c.text)
		}
	}
	switch {
	case a.ImageSize[0] < a.Patch[0] || a.ImageSize[1] < a.Patch[1] || a.ImageSize[0]%a.Patch[0] != 0 || a.ImageSize[1]%a.Patch[1] != 0:
		return fmt.Errorf("impossible architecture: img_size %dx%d is no multiple of patch_size %dx%d",
			a.ImageSize[0], a.ImageSize[1], a.Patch[0], a.Patch[1])
	case a.Width%a.Heads != 0:
		return fmt.Errorf("impossible architecture: embed_dim %d is no multiple of num_heads %d", a.Width, a.Heads)
	case a.Pool != "token" && a.Pool != "avg":
		return fmt.Errorf("unsupported architecture: global_pool %q, known are token and avg", a.Pool)
	case a.Pool == "token" && !a.ClassToken:
		return fmt.Errorf("impossible architecture: global_pool token without class_token")
	case a.Activation != "gelu" && a.Activation != "quick_gelu" && a.Activation != "gelu_tanh":
		return fmt.Errorf("unsupported architecture: act_layer %q, known are gelu, quick_gelu and gelu_tanh", a.Activation)
	}
	return nil
}

// squareRoot returns the root of a square number.
func squareRoot(n int) (int, bool) {
	r := int(math.Round(math.Sqrt(float64(n))))
	return r, n > 0 && r*r == n
}

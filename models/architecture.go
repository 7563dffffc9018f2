package models

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Architecture is what a Vision Transformer's forward pass needs to be known
// besides the weights. Sizes in pairs are rows, columns; JSON keys are those of
// timm's constructors where they have one.
type Architecture struct {
	Name   string `json:"architecture,omitempty"` // timm's name, where stated
	Family string `json:"family"`                 // vit, deit, deit3, clip, dino, beit or eva

	ImageSize [2]int `json:"img_size"`   // pixels
	Patch     [2]int `json:"patch_size"` // pixels
	Channels  int    `json:"in_chans"`
	Classes   int    `json:"num_classes"` // 0 without a classifier
	Width     int    `json:"embed_dim"`
	Depth     int    `json:"depth"`
	Heads     int    `json:"num_heads"`
	AttnWidth int    `json:"attn_dim"`   // of all heads together
	Hidden    int    `json:"mlp_hidden"` // of one half of a gated MLP

	ClassToken    bool `json:"class_token"`
	DistToken     bool `json:"dist_token"`
	Registers     int  `json:"reg_tokens"`
	Positions     bool `json:"use_abs_pos_emb"`         // learned position embeddings
	NoEmbedClass  bool `json:"no_embed_class"`          // prefix tokens have none
	OnlyClassEmb  bool `json:"embed_class_only"`        // of the prefix tokens, only the class token has one
	RelBias       bool `json:"use_rel_pos_bias"`        // every block's own table of them
	SharedRelBias bool `json:"use_shared_rel_pos_bias"` // one for all blocks
	*Rotary            // nil without

	Pool       string `json:"global_pool"` // token; avg, max or avgmax of the patches; token_avg: both side by side; map: attention
	PoolPrefix bool   `json:"pool_include_prefix,omitempty"`
	PoolHeads  int    `json:"attn_pool_num_heads,omitempty"`
	PoolHidden int    `json:"attn_pool_hidden,omitempty"`

	Block      string  `json:"block_fn"`               // one of the block constants
	Parallel   int     `json:"num_parallel,omitempty"` // attentions and MLPs side by side
	FuseOut    bool    `json:"fuse_out_proj,omitempty"`
	QKVBias    bool    `json:"qkv_bias"`
	KeyBias    bool    `json:"k_bias"` // false: the key's part of qkv_bias is zero
	QKVSplit   bool    `json:"qkv_split,omitempty"`
	ProjBias   bool    `json:"proj_bias"` // of attn.proj and the MLP
	QKNorm     bool    `json:"qk_norm"`
	AttnNorm   bool    `json:"scale_attn_norm,omitempty"` // before attn.proj
	AttnGate   bool    `json:"gated_attn,omitempty"`
	MLP        string  `json:"mlp_layer"` // Mlp, SwiGLU (the gate first) or GluMlp (the gate last)
	MLPNorm    bool    `json:"scale_mlp_norm,omitempty"`
	LayerScale bool    `json:"layer_scale"`
	AttnScale  bool    `json:"attn_only_layer_scale,omitempty"`
	EmbedNorm  bool    `json:"embed_norm,omitempty"` // of the patches, before positions
	PreNorm    bool    `json:"pre_norm"`
	FinalNorm  bool    `json:"final_norm"` // norm, before pooling
	FCNorm     bool    `json:"fc_norm"`    // after pooling
	PreLogits  int     `json:"representation_size,omitempty"`
	PatchBias  bool    `json:"patch_bias"`
	HeadBias   bool    `json:"head_bias"`
	DistHead   bool    `json:"dist_head,omitempty"`
	Activation string  `json:"act_layer"`  // one of activations
	Norm       string  `json:"norm_layer"` // layernorm or rmsnorm
	NormBias   bool    `json:"norm_bias"`
	Eps        float64 `json:"norm_eps"`

	Preprocess Preprocess `json:"-"`
	Labels     []string   `json:"-"` // class names by index; nil where unknown
	// Warnings say what was guessed and how to state it.
	Warnings []string `json:"-"`

	// stored is the patch grid of the checkpoint's positions, where it is
	// another than Grid.
	stored [2]int
}

// Kinds of blocks, by timm's names.
const (
	blockPre     = "Block"
	blockPost    = "ResPostBlock"         // norms behind attention and MLP
	blockScaling = "ParallelScalingBlock" // attention beside the MLP, as in ViT-22B
	blockThings  = "ParallelThingsBlock"  // several attentions, then several MLPs
)

// Kinds of MLPs, by timm's names.
const (
	mlpPlain    = "Mlp"
	mlpGated    = "SwiGLU"
	mlpGateLast = "GluMlp"
)

// Grid is the number of patches, rows and columns. Pixels beyond the last whole
// patch aren't seen.
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

// placed is the number of prefix tokens that have a position embedding.
func (a *Architecture) placed() int {
	switch {
	case a.NoEmbedClass:
		return 0
	case a.OnlyClassEmb:
		return 1
	}
	return a.Prefix()
}

// HeadWidth is the width of one head's queries.
func (a *Architecture) HeadWidth() int { return a.AttnWidth / a.Heads }

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
	for _, p := range sizes {
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
	text := fmt.Sprintf("%d blocks, width %d, %d heads, %dx%d patches of %dx%d pixels, %s, %s",
		a.Depth, a.Width, a.Heads, g[0], g[1], a.Patch[0], a.Patch[1], prefix, head)
	for _, f := range []struct {
		is   bool
		text string
	}{
		{a.Rotary != nil, "rotary positions"},
		{a.RelBias || a.SharedRelBias, "relative position bias"},
		{a.Block == blockPost, "norms behind each branch"},
		{a.Block == blockScaling, "attention beside the MLP"},
		{a.Block == blockThings, fmt.Sprintf("%d attentions in each block", a.Parallel)},
		{a.MLP != mlpPlain, "gated MLP"},
		{a.Pool == "map", "attention pooling"},
	} {
		if f.is {
			text += ", " + f.text
		}
	}
	return text
}

// Validate checks that the sizes fit together.
func (a *Architecture) Validate() error {
	if min(a.Width, a.Depth, a.Heads, a.AttnWidth, a.Hidden, a.Channels) <= 0 {
		return fmt.Errorf("impossible architecture: embed_dim, depth, num_heads, attn_dim, mlp_hidden and in_chans must be positive")
	}
	if min(a.Patch[0], a.Patch[1]) <= 0 {
		return fmt.Errorf("impossible architecture: patch_size %v must be positive", a.Patch)
	}
	for _, c := range []struct {
		key, value string
		known      []string
	}{
		{"global_pool", a.Pool, []string{"token", "avg", "max", "avgmax", "token_avg", "map"}},
		{"act_layer", a.Activation, activations},
		{"block_fn", a.Block, []string{blockPre, blockPost, blockScaling, blockThings}},
		{"mlp_layer", a.MLP, []string{mlpPlain, mlpGated, mlpGateLast}},
		{"norm_layer", a.Norm, []string{"layernorm", "rmsnorm"}},
	} {
		if !slices.Contains(c.known, c.value) {
			return fmt.Errorf("unsupported architecture: %s %q, known are %s", c.key, c.value, strings.Join(c.known, ", "))
		}
	}
	switch {
	case a.ImageSize[0] < a.Patch[0] || a.ImageSize[1] < a.Patch[1]:
		return fmt.Errorf("impossible architecture: img_size %dx%d is less than patch_size %dx%d",
			a.ImageSize[0], a.ImageSize[1], a.Patch[0], a.Patch[1])
	case max(a.ImageSize[0], a.ImageSize[1]) > 1<<16 || a.Patches() > 1<<16:
		return fmt.Errorf("impossible architecture: img_size %dx%d has %d patches, at most %d are supported", a.ImageSize[0], a.ImageSize[1], a.Patches(), 1<<16)
	case a.AttnWidth%a.Heads != 0:
		return fmt.Errorf("impossible architecture: embed_dim %d is no multiple of num_heads %d", a.AttnWidth, a.Heads)
	case (a.Pool == "token" || a.Pool == "token_avg") && !a.ClassToken:
		return fmt.Errorf("impossible architecture: global_pool %s without class_token", a.Pool)
	case a.Pool == "map" && (a.PoolHeads <= 0 || a.Width%a.PoolHeads != 0 || a.PoolHidden <= 0):
		return fmt.Errorf("impossible architecture: embed_dim %d is no multiple of attn_pool_num_heads %d", a.Width, a.PoolHeads)
	case (a.RelBias || a.SharedRelBias) && (a.Prefix() != 1 || !a.ClassToken):
		return fmt.Errorf("unsupported architecture: relative position bias needs a class token and no other prefix tokens")
	case a.Rotary != nil:
		return a.Rotary.validate(a.HeadWidth())
	}
	return nil
}

// squareRoot returns the root of a square number.
func squareRoot(n int) (int, bool) {
	r := int(math.Round(math.Sqrt(float64(n))))
	return r, n > 0 && r*r == n
}

package models

import (
	"regexp"
	"slices"
	"strings"
)

// timmNaming is that of timm's VisionTransformer, Eva and Beit in all versions,
// of the releases of DeiT, MAE, MoCo v3, DINO, DINOv2, DINOv3, BEiT and EVA-02,
// which have its names with few exceptions, and of RobustViT.
var timmNaming = &naming{
	layout: "timm",
	stems:  []string{"patch_embed.proj.weight"},
	keep:   true,
	rewrite: func(name string) string {
		return chunk.ReplaceAllString(name, "blocks.$1")
	},
	rules: []rule{
		{from: "register_tokens", to: "reg_token"}, // DINOv2
		{from: "storage_tokens", to: "reg_token"},  // DINOv3
		{from: "rope.freqs", to: "rope.freqs", as: learned},
		{from: "blocks.#.attn.q_proj.*", to: "blocks.#.attn.qkv.*"},
		{from: "blocks.#.attn.k_proj.*", to: "blocks.#.attn.qkv.*", slot: 1},
		{from: "blocks.#.attn.v_proj.*", to: "blocks.#.attn.qkv.*", slot: 2},
		{from: "blocks.#.attn.q_bias", to: "blocks.#.attn.qkv.bias"}, // BEiT, EVA
		{from: "blocks.#.attn.v_bias", to: "blocks.#.attn.qkv.bias", slot: 2},
		{from: "blocks.#.attn.inner_attn_ln.*", to: "blocks.#.attn.norm.*"}, // EVA-02
		{from: "blocks.#.mlp.ffn_ln.*", to: "blocks.#.mlp.norm.*"},
		{from: "blocks.#.mlp.w12.*", to: "blocks.#.mlp.fc1.*"}, // DINOv2's SwiGLU
		{from: "blocks.#.mlp.w1.*", to: "blocks.#.mlp.fc1_g.*"},
		{from: "blocks.#.mlp.w2.*", to: "blocks.#.mlp.fc1_x.*"},
		{from: "blocks.#.mlp.w3.*", to: "blocks.#.mlp.fc2.*"},
		{from: "blocks.#.gamma_1", to: "blocks.#.ls1.gamma"}, // DeiT III, BEiT, EVA
		{from: "blocks.#.gamma_2", to: "blocks.#.ls2.gamma"},
	},
	heads: []rule{
		{from: "head.weight", to: "head.weight"},
		{from: "head.bias", to: "head.bias"},
		{from: "head_dist.*", to: "head_dist.*"},
		{from: "head.proj.weight", to: projection}, // OpenCLIP around timm
		{from: "linear_head.*", to: "head.*"},      // DINOv2
		{from: "linear.*", to: "head.*"},           // DINO's linear probe
		{from: "classifier.*", to: "head.*"},
		{from: "fc.*", to: "head.*"},
	},
	settle: maskKeyBias,
}

// maskKeyBias makes the key's part of qkv.bias zero where DINOv3 has a mask
// beside it that does so, whatever the file holds there.
func maskKeyBias(w *view) {
	for name, t := range w.tensors {
		if !strings.HasSuffix(name, ".attn.qkv.bias") || len(t.parts) != 1 || len(t.dims) != 1 || t.dims[0]%3 != 0 {
			continue
		}
		source := t.parts[0].source
		mask := w.source.tensors[source+"_mask"]
		if mask == nil || !slices.Equal(mask.Dims, t.dims) {
			continue
		}
		third := t.dims[0] / 3
		values, err := mask.Float32s()
		if err == nil && !slices.ContainsFunc(values[third:2*third], func(x float32) bool { return x != 0 }) {
			t.parts = []part{{source: source, slice: &[3]int64{0, 0, third}}, {dims: []int64{third}}, {source: source, slice: &[3]int64{0, 2 * third, 3 * third}}}
		}
	}
}

// learned are rotary frequencies (2,blocks,heads,frequencies) that were trained.
// Of fewer axes they are tables, which follow from the sizes.
func learned(dims []int64) (part, []int64, bool) { return part{}, dims, len(dims) == 4 }

// chunk is DINOv2's and DINOv3's number of a group of blocks, before the
// block's own.
var chunk = regexp.MustCompile(`^blocks\.\d+\.(\d+\.)`)

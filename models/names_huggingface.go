package models

import (
	"regexp"
	"strings"
)

// huggingFaceNaming is that of transformers' ViT, DeiT, DINOv2, DINOv3, BEiT,
// data2vec, MSN, MAE and I-JEPA, and of its CLIP and SigLIP vision towers: as
// files have it, and as the models of version 5 have it in memory.
var huggingFaceNaming = &naming{
	layout: "huggingface",
	stems: []string{
		"embeddings.patch_embeddings.projection.weight",
		"embeddings.patch_embeddings.weight", // DINOv3
		"embeddings.patch_embedding.weight",  // CLIP, SigLIP
	},
	first: "blocks.0.norm1.weight",
	rewrite: func(name string) string {
		return layer.ReplaceAllString(name, "blocks.$1.")
	},
	rules: []rule{
		{from: "embeddings.patch_embeddings.projection.*", to: "patch_embed.proj.*"},
		{from: "embeddings.patch_embeddings.weight", to: "patch_embed.proj.weight"},
		{from: "embeddings.patch_embeddings.bias", to: "patch_embed.proj.bias"},
		{from: "embeddings.patch_embedding.*", to: "patch_embed.proj.*"},
		{from: "embeddings.cls_token", to: "cls_token"},
		{from: "embeddings.class_embedding", to: "cls_token", as: ranked},
		{from: "embeddings.distillation_token", to: "dist_token"},
		{from: "embeddings.register_tokens", to: "reg_token"},
		{from: "embeddings.position_embeddings", to: "pos_embed"},
		{from: "embeddings.position_embedding.weight", to: "pos_embed", as: ranked},
		{from: "pre_layrnorm.*", to: "norm_pre.*"},
		{from: "encoder.relative_position_bias.*", to: "rel_pos_bias.*"},
		{from: "shared_position_bias.*", to: "rel_pos_bias.*"},

		{from: "blocks.#.layernorm_before.*", to: "blocks.#.norm1.*"},
		{from: "blocks.#.layer_norm1.*", to: "blocks.#.norm1.*"},
		{from: "blocks.#.norm1.*", to: "blocks.#.norm1.*"},
		{from: "blocks.#.attention.attention.query.*", to: "blocks.#.attn.qkv.*"},
		{from: "blocks.#.attention.attention.key.*", to: "blocks.#.attn.qkv.*", slot: 1},
		{from: "blocks.#.attention.attention.value.*", to: "blocks.#.attn.qkv.*", slot: 2},
		{from: "blocks.#.attention.q_proj.*", to: "blocks.#.attn.qkv.*"},
		{from: "blocks.#.attention.k_proj.*", to: "blocks.#.attn.qkv.*", slot: 1},
		{from: "blocks.#.attention.v_proj.*", to: "blocks.#.attn.qkv.*", slot: 2},
		{from: "blocks.#.self_attn.q_proj.*", to: "blocks.#.attn.qkv.*"},
		{from: "blocks.#.self_attn.k_proj.*", to: "blocks.#.attn.qkv.*", slot: 1},
		{from: "blocks.#.self_attn.v_proj.*", to: "blocks.#.attn.qkv.*", slot: 2},
		{from: "blocks.#.attention.attention.relative_position_bias.*", to: "blocks.#.attn.*"},
		{from: "blocks.#.relative_position_bias.*", to: "blocks.#.attn.*"},
		{from: "blocks.#.attention.output.dense.*", to: "blocks.#.attn.proj.*"},
		{from: "blocks.#.attention.o_proj.*", to: "blocks.#.attn.proj.*"},
		{from: "blocks.#.self_attn.out_proj.*", to: "blocks.#.attn.proj.*"},
		{from: "blocks.#.lambda_1", to: "blocks.#.ls1.gamma"},
		{from: "blocks.#.lambda_2", to: "blocks.#.ls2.gamma"},
		{from: "blocks.#.layer_scale1.lambda1", to: "blocks.#.ls1.gamma"},
		{from: "blocks.#.layer_scale2.lambda1", to: "blocks.#.ls2.gamma"},
		{from: "blocks.#.layernorm_after.*", to: "blocks.#.norm2.*"},
		{from: "blocks.#.layer_norm2.*", to: "blocks.#.norm2.*"},
		{from: "blocks.#.norm2.*", to: "blocks.#.norm2.*"},
		{from: "blocks.#.intermediate.dense.*", to: "blocks.#.mlp.fc1.*"},
		{from: "blocks.#.output.dense.*", to: "blocks.#.mlp.fc2.*"},
		{from: "blocks.#.mlp.fc1.*", to: "blocks.#.mlp.fc1.*"},
		{from: "blocks.#.mlp.fc2.*", to: "blocks.#.mlp.fc2.*"},
		{from: "blocks.#.mlp.weights_in.*", to: "blocks.#.mlp.fc1.*"},
		{from: "blocks.#.mlp.weights_out.*", to: "blocks.#.mlp.fc2.*"},
		{from: "blocks.#.mlp.gate_proj.*", to: "blocks.#.mlp.fc1_g.*"},
		{from: "blocks.#.mlp.up_proj.*", to: "blocks.#.mlp.fc1.*"}, // fc1_x beside a gate
		{from: "blocks.#.mlp.down_proj.*", to: "blocks.#.mlp.fc2.*"},

		{from: "layernorm.*", to: "norm.*"},
		{from: "norm.*", to: "norm.*"},
		{from: "post_layernorm.*", to: "norm.*"},
		{from: "pooler.layernorm.*", to: "fc_norm.*"},
		{from: "head.probe", to: "attn_pool.latent"},
		{from: "head.attention.in_proj_weight", to: "attn_pool.q.weight", as: rows(0, 1, 3)},
		{from: "head.attention.in_proj_weight", to: "attn_pool.kv.weight", as: rows(1, 3, 3)},
		{from: "head.attention.in_proj_bias", to: "attn_pool.q.bias", as: rows(0, 1, 3)},
		{from: "head.attention.in_proj_bias", to: "attn_pool.kv.bias", as: rows(1, 3, 3)},
		{from: "head.attention.out_proj.*", to: "attn_pool.proj.*"},
		{from: "head.layernorm.*", to: "attn_pool.norm.*"},
		{from: "head.mlp.*", to: "attn_pool.mlp.*"},
	},
	heads: []rule{
		{from: "classifier.*", to: "head.*"},
		{from: "cls_classifier.*", to: "head.*"},
		{from: "distillation_classifier.*", to: "head_dist.*"},
		{from: "visual_projection.weight", to: projection},
	},
	settle: settleHuggingFace,
}

// settleHuggingFace tells models apart that use the same tensors differently.
func settleHuggingFace(w *view) {
	classifier, clip := w.has("head.weight") && !w.embeds, w.has("norm_pre.weight")
	siglip := w.has("attn_pool.latent")
	switch {
	case clip:
		w.says = args{Family: "clip", Act: new("quick_gelu"), Eps: new(1e-5)}
	case siglip:
		w.says = args{Family: "siglip", Act: new("gelu_tanh"), Eps: new(1e-6)}
	}
	switch {
	case classifier && siglip: // SiglipForImageClassification has the pooling, but takes the mean
		for name := range w.tensors {
			if strings.HasPrefix(name, "attn_pool.") {
				w.drop(name)
			}
		}
		w.says.Pool = new("avg")
	case classifier && clip: // CLIPForImageClassification reads what is before the last norm
		w.drop("norm.weight")
		w.drop("norm.bias")
		w.says.Pool, w.says.FinalNorm = new("avg"), new(false)
	}
}

// layer is how blocks are called: encoder.layer.0. in most models,
// encoder.layers.0. in CLIP, layers.0. and model.layer.0. in version 5.
var layer = regexp.MustCompile(`^(?:encoder\.|model\.)?layers?\.(\d+)\.`)

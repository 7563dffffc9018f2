package models

// clipNaming is that of OpenAI's CLIP and of OpenCLIP.
var clipNaming = &naming{
	layout: "openclip",
	stems:  []string{"conv1.weight"},
	first:  "blocks.0.norm1.weight",
	rules: []rule{
		{from: "conv1.*", to: "patch_embed.proj.*"},
		{from: "class_embedding", to: "cls_token", as: ranked},
		{from: "positional_embedding", to: "pos_embed", as: ranked},
		{from: "ln_pre.*", to: "norm_pre.*"},
		{from: "transformer.resblocks.#.ln_1.*", to: "blocks.#.norm1.*"},
		{from: "transformer.resblocks.#.attn.in_proj_weight", to: "blocks.#.attn.qkv.weight"},
		{from: "transformer.resblocks.#.attn.in_proj_bias", to: "blocks.#.attn.qkv.bias"},
		{from: "transformer.resblocks.#.attn.out_proj.*", to: "blocks.#.attn.proj.*"},
		{from: "transformer.resblocks.#.ls_1.gamma", to: "blocks.#.ls1.gamma"},
		{from: "transformer.resblocks.#.ln_2.*", to: "blocks.#.norm2.*"},
		{from: "transformer.resblocks.#.mlp.c_fc.*", to: "blocks.#.mlp.fc1.*"},
		{from: "transformer.resblocks.#.mlp.c_proj.*", to: "blocks.#.mlp.fc2.*"},
		{from: "transformer.resblocks.#.ls_2.gamma", to: "blocks.#.ls2.gamma"},
		{from: "ln_post.*", to: "norm.*"},
		{from: "proj", to: projection, as: transposed},
	},
	heads: []rule{
		{from: "head.*", to: "head.*"},
		{from: "fc.*", to: "head.*"},
		{from: "classifier.*", to: "head.*"},
		{from: "classification_head.*", to: "head.*"}, // WiSE-FT
	},
	settle: func(w *view) {
		w.says = args{Family: "clip", Act: new("quick_gelu"), Eps: new(1e-5)}
	},
}

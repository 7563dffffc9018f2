package models

// torchvisionNaming is that of torchvision's vit_b_16 and its like, whose MLP
// was once a list of modules.
var torchvisionNaming = &naming{
	layout: "torchvision",
	stems:  []string{"conv_proj.weight"},
	first:  "blocks.0.norm1.weight",
	rules: []rule{
		{from: "conv_proj.*", to: "patch_embed.proj.*"},
		{from: "class_token", to: "cls_token"},
		{from: "encoder.pos_embedding", to: "pos_embed"},
		{from: "encoder.layers.encoder_layer_#.ln_1.*", to: "blocks.#.norm1.*"},
		{from: "encoder.layers.encoder_layer_#.self_attention.in_proj_weight", to: "blocks.#.attn.qkv.weight"},
		{from: "encoder.layers.encoder_layer_#.self_attention.in_proj_bias", to: "blocks.#.attn.qkv.bias"},
		{from: "encoder.layers.encoder_layer_#.self_attention.out_proj.*", to: "blocks.#.attn.proj.*"},
		{from: "encoder.layers.encoder_layer_#.ln_2.*", to: "blocks.#.norm2.*"},
		{from: "encoder.layers.encoder_layer_#.mlp.linear_1.*", to: "blocks.#.mlp.fc1.*"},
		{from: "encoder.layers.encoder_layer_#.mlp.linear_2.*", to: "blocks.#.mlp.fc2.*"},
		{from: "encoder.layers.encoder_layer_#.mlp.0.*", to: "blocks.#.mlp.fc1.*"},
		{from: "encoder.layers.encoder_layer_#.mlp.3.*", to: "blocks.#.mlp.fc2.*"},
		{from: "encoder.ln.*", to: "norm.*"},
		{from: "heads.pre_logits.*", to: "pre_logits.fc.*"},
	},
	heads: []rule{
		{from: "heads.head.*", to: "head.*"},
		{from: "heads.weight", to: "head.weight"}, // a head that a user put in its place
		{from: "heads.bias", to: "head.bias"},
	},
	settle: func(w *view) { w.says = args{Family: "torchvision", Eps: new(1e-6)} },
}

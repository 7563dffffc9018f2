package models

import (
	"slices"
	"strings"
)

// jaxNaming is that of Google's releases of ViT, AugReg, big_vision and SigLIP,
// whose kernels are (in,out), with the heads apart in attention.
var jaxNaming = &naming{
	layout: "jax",
	stems:  []string{"embedding/kernel"},
	first:  "blocks.0.norm1.weight",
	rules: slices.Concat([]rule{
		{from: "embedding/kernel", to: "patch_embed.proj.weight", as: kernelOfPatches},
		{from: "embedding/bias", to: "patch_embed.proj.bias"},
		{from: "cls", to: "cls_token"},
		{from: "Transformer/posembed_input/pos_embedding", to: "pos_embed", as: ranked},
		{from: "pos_embedding", to: "pos_embed", as: ranked}, // big_vision
		{from: "pre_logits/kernel", to: "pre_logits.fc.weight", as: transposed},
		{from: "pre_logits/bias", to: "pre_logits.fc.bias"},
		{from: "head/kernel", to: "head.weight", as: transposed},
		{from: "head/bias", to: "head.bias"},
	},
		jaxNorm("Transformer/encoder_norm", "norm"),
		jaxBlock("Transformer/encoderblock_#/", "LayerNorm_2", "MultiHeadDotProductAttention_1/", "MlpBlock_3/"),
		jaxBlock("Transformer/encoderblock_#/", "LayerNorm_1", "MultiHeadDotProductAttention_0/", "MlpBlock_0/"),
		jaxBlock("Transformer/encoderblock/", "LayerNorm_1", "MultiHeadDotProductAttention_0/", "MlpBlock_0/"),
		jaxPool("MAPHead_0/"),
	),
	settle: settleJAX,
}

// jaxBlock has the rules of one encoder block; the numbers behind the names
// of its modules differ between the code bases. big_vision may stack all
// blocks along a first axis.
func jaxBlock(block, norm2, attention, mlp string) []rule {
	const to = "blocks.#."
	rules := slices.Concat(jaxNorm(block+"LayerNorm_0", to+"norm1"), jaxNorm(block+norm2, to+"norm2"), jaxMLP(block+mlp, to+"mlp"))
	for slot, part := range []string{"query", "key", "value"} {
		rules = append(rules,
			rule{from: block + attention + part + "/kernel", to: to + "attn.qkv.weight", as: kernelToHeads, slot: slot},
			rule{from: block + attention + part + "/bias", to: to + "attn.qkv.bias", as: flat, slot: slot})
	}
	return append(rules,
		rule{from: block + attention + "out/kernel", to: to + "attn.proj.weight", as: kernelFromHeads},
		rule{from: block + attention + "out/bias", to: to + "attn.proj.bias"})
}

// jaxPool has the rules of big_vision's attention pooling.
func jaxPool(head string) []rule {
	const to, attention = "attn_pool.", "MultiHeadDotProductAttention_0/"
	rules := slices.Concat(jaxNorm(head+"LayerNorm_0", to+"norm"), jaxMLP(head+"MlpBlock_0/", to+"mlp"), []rule{
		{from: head + "probe", to: to + "latent"},
		{from: head + attention + "query/kernel", to: to + "q.weight", as: kernelToHeads},
		{from: head + attention + "query/bias", to: to + "q.bias", as: flat},
		{from: head + attention + "out/kernel", to: to + "proj.weight", as: kernelFromHeads},
		{from: head + attention + "out/bias", to: to + "proj.bias"},
	})
	for slot, part := range []string{"key", "value"} {
		rules = append(rules,
			rule{from: head + attention + part + "/kernel", to: to + "kv.weight", as: kernelToHeads, slot: slot},
			rule{from: head + attention + part + "/bias", to: to + "kv.bias", as: flat, slot: slot})
	}
	return rules
}

func jaxNorm(from, to string) []rule {
	return []rule{{from: from + "/scale", to: to + ".weight"}, {from: from + "/bias", to: to + ".bias"}}
}

func jaxMLP(from, to string) []rule {
	return []rule{
		{from: from + "Dense_0/kernel", to: to + ".fc1.weight", as: transposed},
		{from: from + "Dense_0/bias", to: to + ".fc1.bias"},
		{from: from + "Dense_1/kernel", to: to + ".fc2.weight", as: transposed},
		{from: from + "Dense_1/bias", to: to + ".fc2.bias"},
	}
}

// kernelOfPatches turns (rows,columns,in,out) into (out,in,rows,columns).
func kernelOfPatches(dims []int64) (part, []int64, bool) {
	if len(dims) != 4 {
		return part{}, nil, false
	}
	out := []int64{dims[3], dims[2], dims[0], dims[1]}
	return part{perm: []int64{3, 2, 0, 1}, dims: out}, out, true
}

// kernelToHeads turns (in,heads,size) into (heads*size,in).
func kernelToHeads(dims []int64) (part, []int64, bool) {
	if len(dims) == 2 {
		return transposed(dims)
	}
	if len(dims) != 3 {
		return part{}, nil, false
	}
	out := []int64{dims[1] * dims[2], dims[0]}
	return part{perm: []int64{1, 2, 0}, dims: out}, out, true
}

// kernelFromHeads turns (heads,size,out) into (out,heads*size).
func kernelFromHeads(dims []int64) (part, []int64, bool) {
	if len(dims) == 2 {
		return transposed(dims)
	}
	if len(dims) != 3 {
		return part{}, nil, false
	}
	out := []int64{dims[2], dims[0] * dims[1]}
	return part{perm: []int64{2, 0, 1}, dims: out}, out, true
}

// flat makes a bias of heads one of their outputs.
func flat(dims []int64) (part, []int64, bool) {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return part{dims: []int64{n}}, []int64{n}, true
}

// settleJAX reads the number of heads off a query's bias (heads,size).
func settleJAX(w *view) {
	w.says = args{Family: "vit", Eps: new(1e-6)}
	if w.has("attn_pool.latent") { // SigLIP: flax's gelu is the tanh form, and no port takes another
		w.says = args{Family: "siglip", Eps: new(1e-6), Act: new("gelu_tanh")}
	}
	for _, name := range []string{"blocks.0.attn.qkv.bias", "attn_pool.q.bias"} {
		t := w.tensors[name]
		if t == nil {
			continue
		}
		dims := w.source.tensors[t.parts[0].source].Dims
		if strings.Contains(t.parts[0].source, "encoderblock/") {
			dims = dims[1:]
		}
		if len(dims) == 2 && dims[0] > 0 && dims[0] < 1<<16 {
			w.says.Heads = new(int(dims[0]))
			return
		}
	}
}

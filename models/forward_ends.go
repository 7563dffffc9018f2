package models

import (
	"math"

	"github.com/relevit/relevit/onnx"
)

// embed turns the image (B,channels,rows,columns) into tokens (B,N,D).
func (v *vit) embed(image *onnx.Value) *onnx.Value {
	a := v.a
	patch := []int64{int64(a.Patch[0]), int64(a.Patch[1])}
	x := v.Op("Conv", []onnx.Attr{{Name: "kernel_shape", Value: patch}, {Name: "strides", Value: patch}},
		image, v.weight("patch_embed.proj.weight"), v.weight("patch_embed.proj.bias"))
	v.Named("patch_embed/conv", x)                                                  // (B,D,rows,columns)
	x = v.Named("patch_embed/rows", v.reshape(x, "one_row", 0, int64(a.Width), -1)) // (B,D,P)
	x = v.Named("patch_embed/out", v.Transpose(x, 0, 2, 1))                         // (B,P,D)

	if a.EmbedNorm {
		x = v.norm("patch_embed.norm", x)
	}
	var positions *onnx.Value // (1,P,D) or (1,N,D)
	if a.Positions {
		positions = v.weight("pos_embed")
	}
	var first *onnx.Value // the class token's position, where it alone has one
	if positions != nil && a.OnlyClassEmb {
		first = v.Named("pos_embed/class", v.Slice(positions, 1, 0, 1))
		positions = v.Named("pos_embed/patches", v.Slice(positions, 1, 1, onnx.End))
	}
	before := a.NoEmbedClass || a.OnlyClassEmb
	if positions != nil && before {
		x = v.Named("pos_embed/out", v.Add(x, positions))
	}
	x = v.prefix(x, first)
	if positions != nil && !before {
		x = v.Named("pos_embed/out", v.Add(x, positions))
	}
	if a.PreNorm {
		x = v.norm("norm_pre", x)
	}
	return x
}

// prefix puts the class token and its like before the patches (B,P,D); first is
// the class token's position, nil for none.
func (v *vit) prefix(x, first *onnx.Value) *onnx.Value {
	var tokens []*onnx.Value
	var names []string
	for _, name := range []string{"cls_token", "dist_token", "reg_token"} {
		if w := v.weight(name); w != nil {
			if first != nil && name == "cls_token" {
				w = v.Named("cls_token/placed", v.Add(w, first))
			}
			tokens, names = append(tokens, w), append(names, name)
		}
	}
	if tokens == nil {
		return x
	}
	batch := v.Named("tokens/batch", v.Op("Shape", []onnx.Attr{{Name: "start", Value: int64(0)}, {Name: "end", Value: int64(1)}}, x))
	shape := v.Named("tokens/shape", v.Concat(0, batch, v.ints("one_token", 1, 1)))
	for i, w := range tokens {
		tokens[i] = v.Named(names[i]+"/batch", v.Op("Expand", nil, w, shape)) // (B,1,D)
	}
	return v.Named("tokens", v.Concat(1, append(tokens, x)...)) // (B,N,D)
}

// features gives one vector an image (B,D), which the classifier reads.
func (v *vit) features(x *onnx.Value) *onnx.Value {
	a := v.a
	if a.FinalNorm {
		x = v.norm("norm", x)
	}
	v.last = x
	y := v.pool(x)
	if a.PreLogits > 0 {
		y = v.Named("pre_logits/out", v.Op("Tanh", nil, v.gemm("pre_logits.fc", y)))
	}
	if a.FCNorm {
		y = v.norm("fc_norm", y)
	}
	return y
}

// classify gives the class logits (B,C). A distilled DeiT gives the mean of
// its two heads' where it has both.
func (v *vit) classify(features *onnx.Value) *onnx.Value {
	y := v.gemm("head", features)
	if !v.a.DistHead {
		return y
	}
	d := v.Named("dist_token/out", v.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, v.last, v.index(1)))
	sum := v.Named("head/sum", v.Add(y, v.gemm("head_dist", d)))
	return v.Mul(sum, v.number("half", 0.5))
}

// pool gives one vector an image, (B,N,D) to (B,D).
func (v *vit) pool(x *onnx.Value) *onnx.Value {
	switch v.a.Pool {
	case "token":
		return v.Named("pool", v.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, x, v.index(0)))
	case "map":
		return v.attentionPool(x)
	}
	class := x
	if p := int64(v.a.Prefix()); p > 0 && !v.a.PoolPrefix {
		x = v.Op("Slice", nil, x, v.ints("prefix_end", p), v.ints("end", onnx.End), v.ints("token_axis", 1))
		v.Named("patches", x) // (B,P,D)
	}
	over := func(op string) *onnx.Value {
		return v.Op(op, []onnx.Attr{{Name: "keepdims", Value: int64(0)}}, x, v.ints("token_axis", 1))
	}
	switch v.a.Pool {
	case "token_avg":
		token := v.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, class, v.index(0))
		return v.Named("pool", v.Concat(1, token, over("ReduceMean"))) // (B,2D)
	case "max":
		return v.Named("pool", over("ReduceMax"))
	case "avgmax":
		return v.Named("pool", v.Mul(v.Add(over("ReduceMax"), over("ReduceMean")), v.number("half", 0.5)))
	}
	return v.Named("pool", over("ReduceMean"))
}

// attentionPool reads the tokens (B,N,D) by the attention of one learned query
// and gives (B,D).
func (v *vit) attentionPool(x *onnx.Value) *onnx.Value {
	const name = "attn_pool"
	d, h := int64(v.a.Width), int64(v.a.PoolHeads)
	q := v.linear(name+".q", v.weight(name+".latent"))                                        // (1,1,D)
	q = v.Named(name+"/q", v.Transpose(v.reshape(q, "pool_query", 1, 1, h, d/h), 0, 2, 1, 3)) // (1,H,1,D/H)
	q = v.Named(name+"/q_scaled", v.Mul(q, v.number("pool_scale", 1/math.Sqrt(float64(d/h)))))
	var kv []*onnx.Value
	parts := v.products(name+".kv", x)
	if len(parts) != 2 {
		y := v.linear(name+".kv", x)
		parts = v.Ops("Split", 2, []onnx.Attr{{Name: "axis", Value: int64(2)}}, y, v.ints("pool_k_v", d, d))
	}
	for i, part := range []string{"/k", "/v"} { // (B,N,D)
		y := v.reshape(parts[i], "pool_heads", 0, 0, h, d/h)
		kv = append(kv, v.Named(name+part, v.Transpose(y, 0, 2, 1, 3))) // (B,H,N,D/H)
	}
	scores := v.Named(name+"/scores", v.MatMul(q, v.Transpose(kv[0], 0, 1, 3, 2))) // (B,H,1,N)
	A := v.Named(name+"/A", v.Softmax(scores, -1))
	y := v.Transpose(v.Named(name+"/weighted", v.MatMul(A, kv[1])), 0, 2, 1, 3) // (B,1,H,D/H)
	y = v.linear(name+".proj", v.reshape(y, "pool_join", 0, 0, d))              // (B,1,D)
	z := v.linear(name+".mlp.fc1", v.norm(name+".norm", y))
	y = v.Add(y, v.linear(name+".mlp.fc2", v.activation(name+".mlp", v.a.poolActivation(), z)))
	return v.Named("pool", v.Squeeze(v.Named(name+"/out", y), 1))
}

// poolActivation is the nonlinearity of attention pooling's MLP, which is never
// gated.
func (a *Architecture) poolActivation() string {
	if a.MLP != mlpPlain {
		return "gelu"
	}
	return a.Activation
}

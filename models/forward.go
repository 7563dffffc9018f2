package models

import (
	"fmt"
	"math"

	"github.com/relevit/relevit/onnx"
)

// vit emits a Vision Transformer's nodes. Comments after values give their
// shapes: B batch, N tokens, P patches, D width, H heads, C classes.
type vit struct {
	*onnx.Builder
	a       *Architecture
	view    *view
	sources map[string]*onnx.Value // initializers by the checkpoint's names
	consts  map[string]*onnx.Value
}

func forward(c *Checkpoint, w *view, a *Architecture) (*onnx.Graph, error) {
	g := onnx.NewGraph(a.Title())
	v := &vit{Builder: onnx.NewBuilder(g), a: a, view: w, sources: map[string]*onnx.Value{}, consts: map[string]*onnx.Value{}}
	image := g.AddInput("image", onnx.Float, onnx.Shape{{N: 1, Sym: "batch"}, onnx.D(int64(a.Channels)), onnx.D(int64(a.ImageSize[0])), onnx.D(int64(a.ImageSize[1]))})
	if err := v.load(c); err != nil {
		return nil, err
	}
	x := v.embed(image)
	for i := range a.Depth {
		x = v.block(fmt.Sprintf("blocks.%d", i), x)
	}
	g.Outputs = []*onnx.Value{v.Named("logits", v.classify(x))}
	if err := v.Err(); err != nil {
		return nil, err
	}
	g.Prune()
	return g, nil
}

// constant is an initializer with a name that tells what it is for.
func (v *vit) constant(name string, t *onnx.Tensor) *onnx.Value {
	if v.consts[name] == nil {
		v.consts[name] = v.Graph.AddInit("const/"+name, t)
	}
	return v.consts[name]
}

func (v *vit) number(name string, x float64) *onnx.Value {
	return v.constant(name, onnx.FloatTensor([]float32{float32(x)}))
}

func (v *vit) ints(name string, x ...int64) *onnx.Value {
	return v.constant(name, onnx.Int64Tensor(x, int64(len(x))))
}

func (v *vit) index(i int64) *onnx.Value {
	return v.constant(fmt.Sprintf("token_%d", i), onnx.Int64Tensor([]int64{i}))
}

func (v *vit) reshape(x *onnx.Value, name string, dims ...int64) *onnx.Value {
	return v.Op("Reshape", nil, x, v.ints(name, dims...))
}

func (v *vit) norm(name string, x *onnx.Value) *onnx.Value {
	attrs := []onnx.Attr{{Name: "axis", Value: int64(-1)}, {Name: "epsilon", Value: float32(v.a.Eps)}}
	return v.Named(name+"/out", v.Op("LayerNormalization", attrs, x, v.weight(name+".weight"), v.weight(name+".bias")))
}

// embed turns the image (B,channels,rows,columns) into tokens (B,N,D).
func (v *vit) embed(image *onnx.Value) *onnx.Value {
	a := v.a
	patch := []int64{int64(a.Patch[0]), int64(a.Patch[1])}
	x := v.Op("Conv", []onnx.Attr{{Name: "kernel_shape", Value: patch}, {Name: "strides", Value: patch}},
		image, v.weight("patch_embed.proj.weight"), v.weight("patch_embed.proj.bias"))
	v.Named("patch_embed/conv", x)                                                  // (B,D,rows,columns)
	x = v.Named("patch_embed/rows", v.reshape(x, "one_row", 0, int64(a.Width), -1)) // (B,D,P)
	x = v.Named("patch_embed/out", v.Transpose(x, 0, 2, 1))                         // (B,P,D)

	positions := v.weight("pos_embed") // (1,P,D) or (1,N,D)
	if a.NoEmbedClass {
		x = v.Named("pos_embed/out", v.Add(x, positions))
	}
	x = v.prefix(x)
	if !a.NoEmbedClass {
		x = v.Named("pos_embed/out", v.Add(x, positions))
	}
	if a.PreNorm {
		x = v.norm("norm_pre", x)
	}
	return x
}

// prefix puts the class token and its like before the patches (B,P,D).
func (v *vit) prefix(x *onnx.Value) *onnx.Value {
	var tokens []*onnx.Value
	var names []string
	for _, name := range []string{"cls_token", "dist_token", "reg_token"} {
		if w := v.weight(name); w != nil {
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

// block is one encoder block, (B,N,D) to (B,N,D).
func (v *vit) block(name string, x *onnx.Value) *onnx.Value {
	y := v.attention(name+".attn", v.norm(name+".norm1", x))
	if gamma := v.weight(name + ".ls1.gamma"); gamma != nil {
		y = v.Named(name+".ls1/out", v.Mul(y, gamma))
	}
	x = v.Named(name+"/attended", v.Add(x, y))

	y = v.linear(name+".mlp.fc1", v.norm(name+".norm2", x)) // (B,N,hidden)
	y = v.linear(name+".mlp.fc2", v.activation(name+".mlp", y))
	if gamma := v.weight(name + ".ls2.gamma"); gamma != nil {
		y = v.Named(name+".ls2/out", v.Mul(y, gamma))
	}
	return v.Named(name+"/out", v.Add(x, y))
}

// attention is multi-head self-attention, (B,N,D) to (B,N,D), spelled out so
// that its map name/A (B,H,N,N) is a value of the graph.
func (v *vit) attention(name string, x *onnx.Value) *onnx.Value {
	a := v.a
	head := int64(a.Width / a.Heads)
	q, k, value := v.heads(name, x, head)
	if a.QKNorm {
		q, k = v.norm(name+".q_norm", q), v.norm(name+".k_norm", k)
	}
	q = v.Named(name+"/q_scaled", v.Mul(q, v.number("attention_scale", 1/math.Sqrt(float64(head)))))
	kt := v.Named(name+"/k_T", v.Transpose(k, 0, 1, 3, 2))      // (B,H,D/H,N)
	scores := v.Named(name+"/scores", v.MatMul(q, kt))          // (B,H,N,N)
	A := v.Named(name+"/A", v.Softmax(scores, -1))              // (B,H,N,N)
	y := v.Named(name+"/weighted", v.MatMul(A, value))          // (B,H,N,D/H)
	y = v.Named(name+"/weighted_T", v.Transpose(y, 0, 2, 1, 3)) // (B,N,H,D/H)
	y = v.reshape(y, "join_heads", 0, 0, int64(a.Width))        // (B,N,D)
	return v.linear(name+".proj", v.Named(name+"/joined", y))
}

// heads computes queries, keys and values (B,H,N,D/H) of tokens (B,N,D).
func (v *vit) heads(name string, x *onnx.Value, head int64) (q, k, value *onnx.Value) {
	h := int64(v.a.Heads)
	names := []string{name + "/q", name + "/k", name + "/v"}
	out := make([]*onnx.Value, 3)
	parts := v.products(name+".qkv", x)
	if len(parts) == 3 {
		for i, y := range parts { // (B,N,D)
			y = v.Named(names[i]+"_heads", v.reshape(y, "one_of_q_k_v", 0, 0, h, head)) // (B,N,H,D/H)
			out[i] = v.Named(names[i], v.Transpose(y, 0, 2, 1, 3))
		}
		return out[0], out[1], out[2]
	}
	y := parts[0]
	if len(parts) > 1 {
		y = v.Named(name+".qkv/out", v.Concat(2, parts...))
	}
	y = v.reshape(y, "split_heads", 0, 0, 3, h, head)         // (B,N,3,H,D/H)
	y = v.Transpose(v.Named(name+"/heads", y), 2, 0, 3, 1, 4) // (3,B,H,N,D/H)
	y = v.Named(name+"/qkv", y)
	split := v.Ops("Split", 3, []onnx.Attr{{Name: "axis", Value: int64(0)}}, y, v.ints("q_k_v", 1, 1, 1))
	for i := range out {
		v.Graph.Rename(split[i], names[i]+"_part")
		out[i] = v.Named(names[i], v.Op("Squeeze", nil, split[i], v.ints("first_axis", 0))) // (B,H,N,D/H)
	}
	split[0].Node.Name = name + "/split"
	return out[0], out[1], out[2]
}

// activation is the MLP's nonlinearity, spelled in operators of every opset.
func (v *vit) activation(name string, x *onnx.Value) *onnx.Value {
	half := func(y *onnx.Value) *onnx.Value { return v.Named(name+"/act", v.Mul(y, v.number("half", 0.5))) }
	switch v.a.Activation {
	case "quick_gelu":
		s := v.Named(name+"/sigmoid", v.Op("Sigmoid", nil, v.Mul(x, v.number("quick_gelu", 1.702))))
		return v.Named(name+"/act", v.Mul(x, s))
	case "gelu_tanh":
		cube := v.Mul(v.Mul(x, x), x)
		inner := v.Add(x, v.Mul(cube, v.number("gelu_cube", 0.044715)))
		t := v.Named(name+"/tanh", v.Op("Tanh", nil, v.Mul(inner, v.number("sqrt_2_over_pi", math.Sqrt(2/math.Pi)))))
		return half(v.Mul(x, v.Add(t, v.number("one", 1))))
	}
	e := v.Named(name+"/scaled", v.Div(x, v.number("sqrt_2", math.Sqrt2)))
	e = v.Named(name+"/erf", v.Op("Erf", nil, e))
	e = v.Named(name+"/erf_1", v.Add(e, v.number("one", 1)))
	return half(v.Named(name+"/x_erf_1", v.Mul(x, e)))
}

// classify reads the class logits (B,C) off the tokens (B,N,D).
func (v *vit) classify(x *onnx.Value) *onnx.Value {
	a := v.a
	if a.FinalNorm {
		x = v.norm("norm", x)
	}
	y := v.pool(x)
	if a.PreLogits > 0 {
		y = v.Named("pre_logits/out", v.Op("Tanh", nil, v.gemm("pre_logits.fc", y)))
	}
	if a.FCNorm {
		y = v.norm("fc_norm", y)
	}
	y = v.gemm("head", y)
	if !a.DistToken {
		return y
	}
	d := v.Named("dist_token/out", v.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, x, v.index(1)))
	sum := v.Named("head/sum", v.Add(y, v.gemm("head_dist", d)))
	return v.Mul(sum, v.number("half", 0.5))
}

// pool gives one vector an image, (B,N,D) to (B,D).
func (v *vit) pool(x *onnx.Value) *onnx.Value {
	if v.a.Pool == "token" {
		return v.Named("pool", v.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, x, v.index(0)))
	}
	if p := int64(v.a.Prefix()); p > 0 && !v.a.PoolPrefix {
		x = v.Op("Slice", nil, x, v.ints("prefix_end", p), v.ints("last", onnx.End), v.ints("token_axis", 1))
		v.Named("patches", x) // (B,P,D)
	}
	return v.Named("pool", v.Op("ReduceMean", []onnx.Attr{{Name: "keepdims", Value: int64(0)}}, x, v.ints("token_axis", 1)))
}

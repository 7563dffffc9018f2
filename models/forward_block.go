package models

import (
	"fmt"
	"math"

	"github.com/relevit/relevit/onnx"
)

// block is one encoder block, (B,N,D) to (B,N,D).
func (v *vit) block(i int, x *onnx.Value) *onnx.Value {
	v.current = i
	name := fmt.Sprintf("blocks.%d", i)
	switch v.a.Block {
	case blockScaling:
		return v.scalingBlock(name, x)
	case blockThings:
		return v.thingsBlock(name, x)
	case blockPost:
		y := v.norm(name+".norm1", v.attention(name+".attn", x))
		x = v.Named(name+"/attended", v.Add(x, y))
		return v.Named(name+"/out", v.Add(x, v.norm(name+".norm2", v.mlp(name+".mlp", x))))
	}
	y := v.scaled(name+".ls1", v.attention(name+".attn", v.norm(name+".norm1", x)))
	x = v.Named(name+"/attended", v.Add(x, y))
	y = v.mlp(name+".mlp", v.norm(name+".norm2", x))
	if !v.a.AttnScale {
		y = v.scaled(name+".ls2", y)
	}
	return v.Named(name+"/out", v.Add(x, y))
}

// scaled multiplies by LayerScale's gamma where the model has it.
func (v *vit) scaled(name string, x *onnx.Value) *onnx.Value {
	if !v.a.LayerScale {
		return x
	}
	return v.Named(name+"/out", v.Mul(x, v.weight(name+".gamma")))
}

// thingsBlock adds up several attentions, and then several MLPs, of the same
// tokens.
func (v *vit) thingsBlock(name string, x *onnx.Value) *onnx.Value {
	sum := func(kind, label string, f func(part string) *onnx.Value) {
		y := x
		for j := range v.a.Parallel {
			part := fmt.Sprintf("%s.%s.%d", name, kind, j)
			y = v.Add(y, v.scaled(part+".ls", f(part)))
		}
		x = v.Named(name+label, y)
	}
	sum("attns", "/attended", func(part string) *onnx.Value { return v.attention(part+".attn", v.norm(part+".norm", x)) })
	sum("ffns", "/out", func(part string) *onnx.Value { return v.mlp(part+".mlp", v.norm(part+".norm", x)) })
	return x
}

// scalingBlock computes attention and MLP side by side, from one product and
// one norm.
func (v *vit) scalingBlock(name string, x *onnx.Value) *onnx.Value {
	a := v.a
	d, h := int64(a.Width), int64(a.Heads)
	y := v.linear(name+".in_proj", v.norm(name+".in_norm", x)) // (B,N,hidden+3D)
	parts := v.Ops("Split", 4, []onnx.Attr{{Name: "axis", Value: int64(2)}}, y, v.ints("mlp_q_k_v", int64(a.Hidden), d, d, d))
	heads := make([]*onnx.Value, 3) // (B,H,N,D/H)
	for i, part := range []string{"/q", "/k", "/v"} {
		z := v.Named(name+part+"_heads", v.reshape(parts[i+1], "one_of_q_k_v", 0, 0, h, d/h))
		heads[i] = v.Named(name+part, v.Transpose(z, 0, 2, 1, 3))
	}
	attended := v.attend(name, heads[0], heads[1], heads[2]) // (B,N,D)
	hidden := parts[0]
	if !a.QKVBias {
		hidden = v.Add(hidden, v.weight(name+".mlp_bias"))
	}
	hidden = v.activation(name+".mlp", a.Activation, hidden) // (B,N,hidden)
	if a.FuseOut {
		y = v.linear(name+".out_proj", v.Named(name+"/both", v.Concat(2, attended, hidden)))
	} else {
		y = v.Add(v.linear(name+".attn_out_proj", attended), v.linear(name+".mlp_out_proj", hidden))
	}
	return v.Named(name+"/out", v.Add(x, v.scaled(name+".ls", y)))
}

// attention is multi-head self-attention, (B,N,D) to (B,N,D), spelled out so
// that its map name/A (B,H,N,N) is a value of the graph.
func (v *vit) attention(name string, x *onnx.Value) *onnx.Value {
	q, k, value := v.heads(name, x)
	y := v.attend(name, q, k, value) // (B,N,attn_dim)
	if v.a.AttnNorm {
		y = v.norm(name+".norm", y)
	}
	if v.a.AttnGate {
		gate := v.Named(name+".gate/sigmoid", v.Op("Sigmoid", nil, v.linear(name+".gate", x)))
		y = v.Named(name+".gate/gated", v.Mul(y, gate))
	}
	return v.linear(name+".proj", y)
}

// attend gives what queries, keys and values (B,H,N,D/H) make, (B,N,D).
func (v *vit) attend(name string, q, k, value *onnx.Value) *onnx.Value {
	a := v.a
	if a.QKNorm {
		q, k = v.norm(name+".q_norm", q), v.norm(name+".k_norm", k)
	}
	if a.Rotary != nil {
		cos, sin := v.rotation(v.current)
		q, k = v.rotate(name+"/q", q, cos, sin), v.rotate(name+"/k", k, cos, sin)
	}
	q = v.Named(name+"/q_scaled", v.Mul(q, v.number("attention_scale", 1/math.Sqrt(float64(a.HeadWidth())))))
	kt := v.Named(name+"/k_T", v.Transpose(k, 0, 1, 3, 2)) // (B,H,D/H,N)
	scores := v.Named(name+"/scores", v.MatMul(q, kt))     // (B,H,N,N)
	if bias := v.relativeBias(name); bias != nil {
		scores = v.Named(name+"/biased_scores", v.Add(scores, bias))
	}
	A := v.Named(name+"/A", v.Softmax(scores, -1))              // (B,H,N,N)
	y := v.Named(name+"/weighted", v.MatMul(A, value))          // (B,H,N,D/H)
	y = v.Named(name+"/weighted_T", v.Transpose(y, 0, 2, 1, 3)) // (B,N,H,D/H)
	return v.Named(name+"/joined", v.reshape(y, "join_heads", 0, 0, int64(a.AttnWidth)))
}

// heads computes queries, keys and values (B,H,N,D/H) of tokens (B,N,D).
func (v *vit) heads(name string, x *onnx.Value) (q, k, value *onnx.Value) {
	h, head := int64(v.a.Heads), int64(v.a.HeadWidth())
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

// relativeBias is what the relative positions of tokens add to scores
// (H,N,N); nil where the model has none.
func (v *vit) relativeBias(name string) *onnx.Value {
	own, shared := (*onnx.Value)(nil), (*onnx.Value)(nil)
	if v.a.RelBias {
		own = v.pairs(name + ".relative_position_bias_table")
	}
	if v.a.SharedRelBias {
		shared = v.pairs("rel_pos_bias.relative_position_bias_table")
	}
	switch {
	case own == nil:
		return shared
	case shared == nil:
		return own
	}
	return v.Named(name+"/relative_bias", v.Add(own, shared))
}

// pairs looks every pair of tokens up in a table (distances,H).
func (v *vit) pairs(table string) *onnx.Value {
	const index = "relative_position_index"
	if v.consts[index] == nil {
		n := int64(v.a.Tokens())
		v.constant(index, onnx.Int64Tensor(distances(v.a.Grid()), n, n))
	}
	heads := v.Transpose(v.weight(table), 1, 0) // (H,distances)
	return v.Named(table+"/pairs", v.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, heads, v.consts[index]))
}

// distances is the row of a table of relative positions for every pair of
// tokens: first all (2r-1)(2c-1) distances of r rows and c columns, then class
// token to patch, patch to class token, class token to itself.
func distances(grid [2]int) []int64 {
	rows, columns := int64(2*grid[0]-1), int64(2*grid[1]-1)
	patches := grid[0] * grid[1]
	out := make([]int64, 0, (patches+1)*(patches+1))
	out = append(out, rows*columns+2)
	for range patches {
		out = append(out, rows*columns)
	}
	for i := range patches {
		out = append(out, rows*columns+1)
		for j := range patches {
			down := int64(i/grid[1]-j/grid[1]) + int64(grid[0]-1)
			right := int64(i%grid[1]-j%grid[1]) + int64(grid[1]-1)
			out = append(out, down*columns+right)
		}
	}
	return out
}

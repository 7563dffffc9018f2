package models

import (
	"fmt"
	"strings"
)

// spec is a tensor that an architecture has.
type spec struct {
	name string
	dims []int64
}

// specs collects tensors.
type specs struct {
	a   *Architecture
	out []spec
}

func (s *specs) add(present bool, name string, dims ...int) {
	if !present {
		return
	}
	d := make([]int64, len(dims))
	for i := range dims {
		d[i] = int64(dims[i])
	}
	s.out = append(s.out, spec{name, d})
}

func (s *specs) norm(present bool, name string, width int) {
	s.add(present, name+".weight", width)
	s.add(present && s.a.NormBias, name+".bias", width)
}

func (s *specs) linear(present, bias bool, name string, to, from int) {
	s.add(present, name+".weight", to, from)
	s.add(present && bias, name+".bias", to)
}

// tensors lists the architecture's tensors by the names and in the layouts of
// a view (see viewOf), in the order of timm's state_dict. Linear weights are
// (out,in).
func (a *Architecture) tensors() []spec {
	s := &specs{a: a}
	d := a.Width
	s.add(a.ClassToken, "cls_token", 1, 1, d)
	s.add(a.Registers > 0, "reg_token", 1, a.Registers, d)
	s.add(a.DistToken, "dist_token", 1, 1, d)
	grid := a.Grid()
	if a.stored != [2]int{} {
		grid = a.stored
	}
	s.add(a.Positions, "pos_embed", 1, a.placed()+grid[0]*grid[1], d)
	s.add(true, "patch_embed.proj.weight", d, a.Channels, a.Patch[0], a.Patch[1])
	s.add(a.PatchBias, "patch_embed.proj.bias", d)
	s.norm(a.EmbedNorm, "patch_embed.norm", d)
	s.norm(a.PreNorm, "norm_pre", d)
	distances := (2*grid[0]-1)*(2*grid[1]-1) + 3
	s.add(a.SharedRelBias, "rel_pos_bias.relative_position_bias_table", distances, a.Heads)
	s.add(a.Rotary != nil && a.RopeType == ropeMixed, "rope.freqs", 2, a.Depth, a.Heads, a.HeadWidth()/2)
	for i := range a.Depth {
		block := fmt.Sprintf("blocks.%d.", i)
		switch a.Block {
		case blockScaling:
			s.scalingBlock(block)
		case blockThings:
			for j := range a.Parallel {
				part := fmt.Sprintf("%sattns.%d.", block, j)
				s.norm(true, part+"norm", d)
				s.attention(part+"attn", distances)
				s.add(a.LayerScale, part+"ls.gamma", d)
			}
			for j := range a.Parallel {
				part := fmt.Sprintf("%sffns.%d.", block, j)
				s.norm(true, part+"norm", d)
				s.mlp(part + "mlp")
				s.add(a.LayerScale, part+"ls.gamma", d)
			}
		default:
			s.norm(true, block+"norm1", d)
			s.attention(block+"attn", distances)
			s.add(a.LayerScale, block+"ls1.gamma", d)
			s.norm(true, block+"norm2", d)
			s.mlp(block + "mlp")
			s.add(a.LayerScale && !a.AttnScale, block+"ls2.gamma", d)
		}
	}
	s.head()
	return s.out
}

func (s *specs) attention(name string, distances int) {
	a := s.a
	s.linear(true, a.QKVBias, name+".qkv", 3*a.AttnWidth, a.Width)
	s.norm(a.QKNorm, name+".q_norm", a.HeadWidth())
	s.norm(a.QKNorm, name+".k_norm", a.HeadWidth())
	s.add(a.RelBias, name+".relative_position_bias_table", distances, a.Heads)
	s.norm(a.AttnNorm, name+".norm", a.AttnWidth)
	s.linear(a.AttnGate, a.QKVBias, name+".gate", a.AttnWidth, a.Width)
	s.linear(true, a.ProjBias, name+".proj", a.Width, a.AttnWidth)
}

func (s *specs) mlp(name string) {
	a := s.a
	gated := a.MLP != mlpPlain
	s.linear(!gated, a.ProjBias, name+".fc1", a.Hidden, a.Width)
	s.linear(gated, a.ProjBias, name+".fc1_g", a.Hidden, a.Width)
	s.linear(gated, a.ProjBias, name+".fc1_x", a.Hidden, a.Width)
	s.norm(a.MLPNorm, name+".norm", a.Hidden)
	s.linear(true, a.ProjBias, name+".fc2", a.Width, a.Hidden)
}

func (s *specs) scalingBlock(block string) {
	a := s.a
	d := a.Width
	s.norm(true, block+"in_norm", d)
	s.linear(true, a.QKVBias, block+"in_proj", a.Hidden+3*d, d)
	s.add(!a.QKVBias, block+"mlp_bias", a.Hidden)
	s.norm(a.QKNorm, block+"q_norm", a.HeadWidth())
	s.norm(a.QKNorm, block+"k_norm", a.HeadWidth())
	s.linear(a.FuseOut, a.ProjBias, block+"out_proj", d, d+a.Hidden)
	s.linear(!a.FuseOut, a.ProjBias, block+"attn_out_proj", d, d)
	s.linear(!a.FuseOut, a.ProjBias, block+"mlp_out_proj", d, a.Hidden)
	s.add(a.LayerScale, block+"ls.gamma", d)
}

func (s *specs) head() {
	a := s.a
	d := a.Width
	s.norm(a.FinalNorm, "norm", d)
	if a.Pool == "map" {
		s.add(true, "attn_pool.latent", 1, 1, d)
		s.linear(true, true, "attn_pool.q", d, d)
		s.linear(true, true, "attn_pool.kv", 2*d, d)
		s.linear(true, true, "attn_pool.proj", d, d)
		s.norm(true, "attn_pool.norm", d)
		s.linear(true, true, "attn_pool.mlp.fc1", a.PoolHidden, d)
		s.linear(true, true, "attn_pool.mlp.fc2", d, a.PoolHidden)
	}
	features := d
	if a.Pool == "token_avg" {
		features = 2 * d
	}
	if a.PreLogits > 0 {
		s.linear(true, true, "pre_logits.fc", a.PreLogits, d)
		features = a.PreLogits
	}
	s.norm(a.FCNorm, "fc_norm", features)
	s.linear(a.Classes > 0, a.HeadBias, "head", a.Classes, features)
	s.linear(a.Classes > 0 && a.DistHead, a.HeadBias, "head_dist", a.Classes, features)
}

// TimmNames lists the names of the tensors in timm's own state_dict.
func (a *Architecture) TimmNames() []string {
	var out []string
	for _, s := range a.asTimm() {
		out = append(out, s.name)
	}
	return out
}

// asTimm lists the tensors under the names of timm's own state_dict: q, k and
// v apart where the model has them so, and biases without that of the key.
func (a *Architecture) asTimm() []spec {
	var out []spec
	for _, s := range a.tensors() {
		stem, qkv := strings.CutSuffix(s.name, ".qkv.weight")
		bias, isBias := strings.CutSuffix(s.name, ".qkv.bias")
		third := append([]int64{s.dims[0] / 3}, s.dims[1:]...)
		switch {
		case qkv && a.QKVSplit:
			for _, part := range []string{".q_proj", ".k_proj", ".v_proj"} {
				out = append(out, spec{stem + part + ".weight", third})
			}
		case isBias && a.QKVSplit:
			out = append(out, spec{bias + ".q_proj.bias", third})
			if a.KeyBias {
				out = append(out, spec{bias + ".k_proj.bias", third})
			}
			out = append(out, spec{bias + ".v_proj.bias", third})
		case isBias && !a.KeyBias:
			out = append(out, spec{bias + ".q_bias", third}, spec{bias + ".v_bias", third})
		default:
			out = append(out, s)
		}
	}
	return out
}

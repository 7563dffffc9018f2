package models

import (
	"fmt"
	"math"
)

// plain computes a Vision Transformer's forward pass in float64 loops, written
// from the paper and timm's documentation and independently of the builder.
type plain struct {
	c *Checkpoint
	a *Architecture
}

// plainForward gives the logits of one image (channels,rows,columns).
func plainForward(c *Checkpoint, a *Architecture, image []float64) []float64 {
	p := plain{c, a}
	x := p.tokens(image)
	for i := range a.Depth {
		block := fmt.Sprintf("blocks.%d.", i)
		for j, y := range p.attend(block, p.norms(block+"norm1", x)) {
			x[j] = add(x[j], p.layerScale(block+"ls1.gamma", y))
		}
		for j, row := range x {
			h := p.linear(block+"mlp.fc1", p.norm(block+"norm2", row))
			for k := range h {
				h[k] = p.act(h[k])
			}
			x[j] = add(row, p.layerScale(block+"ls2.gamma", p.linear(block+"mlp.fc2", h)))
		}
	}
	if a.FinalNorm {
		x = p.norms("norm", x)
	}
	pooled := x[0]
	if a.Pool == "avg" {
		pooled = make([]float64, a.Width)
		rows := x[a.Prefix():]
		for _, row := range rows {
			for k := range row {
				pooled[k] += row[k] / float64(len(rows))
			}
		}
	}
	if a.FCNorm {
		pooled = p.norm("fc_norm", pooled)
	}
	logits := p.linear("head", pooled)
	if a.DistToken {
		for i, v := range p.linear("head_dist", x[1]) {
			logits[i] = (logits[i] + v) / 2
		}
	}
	return logits
}

func (p plain) get(name string) []float64 {
	t := p.c.Tensor(name)
	if t == nil {
		return nil
	}
	v, err := t.Float64s()
	if err != nil {
		panic(err)
	}
	return v
}

func add(x, y []float64) []float64 {
	out := make([]float64, len(x))
	for i := range x {
		out[i] = x[i] + y[i]
	}
	return out
}

// tokens cuts the image into patches and embeds them.
func (p plain) tokens(image []float64) [][]float64 {
	a, d := p.a, p.a.Width
	w, b, pos := p.get("patch_embed.proj.weight"), p.get("patch_embed.proj.bias"), p.get("pos_embed")
	var x [][]float64
	for _, name := range []string{"cls_token", "dist_token", "reg_token"} {
		for v := p.get(name); len(v) > 0; v = v[d:] {
			x = append(x, v[:d])
		}
	}
	area := a.Patch[0] * a.Patch[1]
	for r := range a.Grid()[0] {
		for s := range a.Grid()[1] {
			row := make([]float64, d)
			for o := range row {
				if b != nil {
					row[o] = b[o]
				}
				for i := range a.Channels * area {
					ch, y, z := i/area, r*a.Patch[0]+i%area/a.Patch[1], s*a.Patch[1]+i%a.Patch[1]
					row[o] += w[o*a.Channels*area+i] * image[(ch*a.ImageSize[0]+y)*a.ImageSize[1]+z]
				}
			}
			x = append(x, row)
		}
	}
	first := len(x) - len(pos)/d // that has a position
	for i := first; i < len(x); i++ {
		x[i] = add(x[i], pos[(i-first)*d:(i-first+1)*d])
	}
	if a.PreNorm {
		x = p.norms("norm_pre", x)
	}
	return x
}

func (p plain) linear(name string, x []float64) []float64 {
	w, b := p.get(name+".weight"), p.get(name+".bias")
	out := make([]float64, len(w)/len(x))
	for o := range out {
		for i := range x {
			out[o] += w[o*len(x)+i] * x[i]
		}
		if b != nil {
			out[o] += b[o]
		}
	}
	return out
}

func (p plain) norms(name string, x [][]float64) [][]float64 {
	out := make([][]float64, len(x))
	for i := range x {
		out[i] = p.norm(name, x[i])
	}
	return out
}

func (p plain) norm(name string, x []float64) []float64 {
	w, b := p.get(name+".weight"), p.get(name+".bias")
	mean, variance := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = (v-mean)/math.Sqrt(variance+p.a.Eps)*w[i] + b[i]
	}
	return out
}

func (p plain) layerScale(name string, x []float64) []float64 {
	out := append([]float64{}, x...)
	for i, g := range p.get(name) {
		out[i] *= g
	}
	return out
}

func (p plain) attend(block string, x [][]float64) [][]float64 {
	d := p.a.Width
	h := d / p.a.Heads
	qkv := make([][]float64, len(x))
	for i := range x {
		qkv[i] = p.linear(block+"attn.qkv", x[i])
	}
	part := func(i, which, head int) []float64 {
		v := qkv[i][which*d+head*h : which*d+(head+1)*h]
		if name := []string{"q_norm", "k_norm", ""}[which]; p.a.QKNorm && name != "" {
			v = p.norm(block+"attn."+name, v)
		}
		return v
	}
	out := make([][]float64, len(x))
	for i := range x {
		row := make([]float64, d)
		for head := range p.a.Heads {
			weights, sum := make([]float64, len(x)), 0.0
			for j := range x {
				for k, q := range part(i, 0, head) {
					weights[j] += q * part(j, 1, head)[k] / math.Sqrt(float64(h))
				}
				weights[j] = math.Exp(weights[j])
				sum += weights[j]
			}
			for j := range x {
				for k, v := range part(j, 2, head) {
					row[head*h+k] += weights[j] / sum * v
				}
			}
		}
		out[i] = p.linear(block+"attn.proj", row)
	}
	return out
}

func (p plain) act(x float64) float64 {
	switch p.a.Activation {
	case "quick_gelu":
		return x / (1 + math.Exp(-1.702*x))
	case "gelu_tanh":
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}
	return x / 2 * (1 + math.Erf(x/math.Sqrt2))
}

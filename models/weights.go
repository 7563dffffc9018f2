package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// load makes initializers of the checkpoint's tensors that the architecture
// needs, in the checkpoint's order, under its names and in its layouts.
func (v *vit) load(c *Checkpoint) error {
	need := map[string]bool{}
	for _, s := range v.a.tensors() {
		t := v.view.tensors[s.name]
		if t == nil {
			return fmt.Errorf("the checkpoint has no tensor %s %v", s.name, s.dims)
		}
		for _, p := range t.parts {
			need[p.source] = true
		}
	}
	for _, name := range c.Names() {
		if !need[name] {
			continue
		}
		t, err := c.Tensor(name).As(onnx.Float)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
		v.sources[name] = v.Graph.AddInit(name, t)
	}
	return v.resample()
}

// resample brings what depends on the checkpoint's grid of patches to the
// model's. The layouts are those of the checkpoint, in which positions are rows
// and, of position embeddings, only dimensions of 1 come before them.
func (v *vit) resample() (err error) {
	from, to := v.a.stored, v.a.Grid()
	if from == [2]int{} {
		return nil
	}
	for name, t := range v.view.tensors {
		table := strings.HasSuffix(name, "relative_position_bias_table")
		if name != "pos_embed" && !table {
			continue
		}
		w := v.sources[t.parts[0].source]
		data := w.Data
		if table {
			data, err = resampleDistances(data, from, to)
		} else {
			data, err = resample(data, v.a.placed(), from, to)
		}
		if err != nil {
			return fmt.Errorf("tensor %s: %w", w.Name, err)
		}
		t.dims = append([]int64{}, t.dims...)
		t.dims[len(t.dims)-2] = data.Dims[len(data.Dims)-2]
		if t.parts[0].dims != nil {
			t.parts[0].dims = t.dims
		}
		w.Data, w.Shape = data, onnx.ShapeOf(data.Dims...)
	}
	return nil
}

// source is the initializer of a tensor of the checkpoint.
func (v *vit) source(name string) *onnx.Value {
	if v.sources[name] == nil {
		v.Fail("the checkpoint has no tensor %s", name)
		return &onnx.Value{Name: name}
	}
	return v.sources[name]
}

// weight is a tensor by timm's name and in timm's layout, nil if the model has
// none of that name.
func (v *vit) weight(name string) *onnx.Value {
	t := v.view.tensors[name]
	if t == nil {
		return nil
	}
	w := t.emit(v.Builder, v.source)
	if w.Node != nil {
		v.Named(name+"/as_timm", w)
	}
	return w
}

// across is a part of a Linear weight as (in,out). Where the checkpoint stores
// it that way, no transposition is left.
func (v *vit) across(p part) *onnx.Value {
	if p.source == "" || len(p.dims) != 2 {
		return v.Transpose(p.emit(v.Builder, v.source), 1, 0)
	}
	s := v.source(p.source)
	rank := len(s.Shape)
	perm := p.perm
	if perm == nil {
		perm = make([]int64, rank)
		for i := range perm {
			perm[i] = int64(i)
		}
	}
	size := func(axis int64) int64 {
		if p.slice != nil && p.slice[0] == axis {
			return p.slice[2] - p.slice[1]
		}
		return s.Shape[axis].N
	}
	q := part{source: p.source, slice: p.slice, dims: []int64{p.dims[1], p.dims[0]}}
	switch {
	case rank > 1 && size(perm[rank-1]) == p.dims[1]: // (out...,in): the last axis goes first
		q.perm = append([]int64{perm[rank-1]}, perm[:rank-1]...)
	case rank > 1 && size(perm[0]) == p.dims[0]: // (out,in...): the first goes last
		q.perm = append(slices.Clone(perm[1:]), perm[0])
	default:
		return v.Transpose(p.emit(v.Builder, v.source), 1, 0)
	}
	return q.emit(v.Builder, v.source)
}

// products are x Wᵀ + b for each part of W (out,in), one value a part: parts
// of a weight that timm stores as one needn't be joined.
func (v *vit) products(name string, x *onnx.Value) []*onnx.Value {
	weight, bias := v.view.tensors[name+".weight"], v.view.tensors[name+".bias"]
	if weight == nil {
		v.Fail("the checkpoint has no tensor %s.weight", name)
		return []*onnx.Value{x}
	}
	out := make([]*onnx.Value, len(weight.parts))
	at := int64(0)
	for i, p := range weight.parts {
		label := name
		if len(out) > 1 {
			label = fmt.Sprintf("%s.%d", name, i)
		}
		w := v.across(p) // (in,out)
		if w.Node != nil {
			v.Named(label+"/weight_T", w)
		}
		y := v.Named(label+"/product", v.MatMul(x, w))
		width := y.Shape[len(y.Shape)-1].N
		if b := v.biasOf(bias, name, i, len(out), at, width); b != nil {
			y = v.Add(y, b)
		}
		out[i] = v.Named(label+"/out", y)
		at += width
	}
	return out
}

// biasOf is the bias of part i of n, which begins at the given output; nil if
// it is zero.
func (v *vit) biasOf(bias *viewed, name string, i, n int, at, width int64) *onnx.Value {
	switch {
	case bias == nil:
		return nil
	case n == 1:
		return v.weight(name + ".bias")
	case len(bias.parts) == n:
		if p := bias.parts[i]; p.source != "" {
			return p.emit(v.Builder, v.source)
		}
		return nil
	}
	return v.Slice(v.weight(name+".bias"), 0, at, at+width)
}

// linear is x Wᵀ + b with W (out,in).
func (v *vit) linear(name string, x *onnx.Value) *onnx.Value {
	parts := v.products(name, x)
	if len(parts) == 1 {
		return parts[0]
	}
	return v.Named(name+"/out", v.Concat(int64(len(x.Shape)-1), parts...))
}

// gemm is linear for x (B,in), in one node where the weight is stored as one.
func (v *vit) gemm(name string, x *onnx.Value) *onnx.Value {
	t := v.view.tensors[name+".weight"]
	if t == nil || len(t.parts) != 1 {
		return v.linear(name, x)
	}
	w := v.across(t.parts[0])
	var attrs []onnx.Attr
	if w.Is("Transpose") {
		w, attrs = w.Node.Inputs[0], []onnx.Attr{{Name: "transB", Value: int64(1)}}
	}
	return v.Named(name+"/out", v.Op("Gemm", attrs, x, w, v.weight(name+".bias")))
}

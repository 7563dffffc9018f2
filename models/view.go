package models

import "github.com/relevit/relevit/onnx"

// A view shows a checkpoint under timm's names and layouts, whatever library
// wrote it. The builder emits its graph through the view, so that initializers
// keep the names and layouts of the checkpoint's own tensors.
type view struct {
	layout  string // whose names they are: timm, huggingface, jax, ...
	source  *Checkpoint
	prefix  string // before the names of the tower of the image, such as module.
	tensors map[string]*viewed
	unused  []string // tensors of the checkpoint that no name of timm's is made of
	embeds  bool     // the logits are CLIP's embedding of the picture
	says    args     // what the names imply and tensors don't tell
	notes   []string // what is taken for what, where that is no matter of course
}

// viewed is a tensor by timm's name: its parts side by side along the first
// axis.
type viewed struct {
	dims  []int64
	parts []part
}

// A part is a tensor of the checkpoint: sliced, then transposed, then reshaped.
type part struct {
	source string    // its name; "" for zeros (the key's bias in BEiT)
	slice  *[3]int64 // axis, start, end; nil for all of it
	perm   []int64   // nil leaves the order of axes
	dims   []int64   // of the result; nil leaves the shape
}

// has reports whether the checkpoint has what timm calls so.
func (w *view) has(name string) bool { return w.tensors[name] != nil }

// emit adds the nodes that make the tensor; init returns the initializer of a
// source tensor. A tensor that is stored as timm stores it needs none.
func (t *viewed) emit(b *onnx.Builder, init func(source string) *onnx.Value) *onnx.Value {
	values := make([]*onnx.Value, len(t.parts))
	for i, p := range t.parts {
		values[i] = p.emit(b, init)
	}
	if len(values) == 1 {
		return values[0]
	}
	return b.Concat(0, values...)
}

func (p part) emit(b *onnx.Builder, init func(source string) *onnx.Value) *onnx.Value {
	if p.source == "" {
		n := int64(1)
		for _, d := range p.dims {
			n *= d
		}
		// A node, as an initializer of several numbers would be a parameter.
		return b.Op("Constant", []onnx.Attr{{Name: "value", Value: onnx.FloatTensor(make([]float32, n), p.dims...)}})
	}
	v := init(p.source)
	if p.slice != nil {
		v = b.Slice(v, p.slice[0], p.slice[1], p.slice[2])
	}
	if p.perm != nil {
		v = b.Transpose(v, p.perm...)
	}
	if p.dims != nil {
		v = b.Reshape(v, onnx.ShapeOf(p.dims...))
	}
	return v
}

// plainView shows a checkpoint that already has timm's names and layouts.
func plainView(c *Checkpoint) *view {
	w := &view{layout: "timm", source: c, tensors: map[string]*viewed{}}
	for _, name := range c.names {
		w.tensors[name] = &viewed{dims: c.tensors[name].Dims, parts: []part{{source: name}}}
	}
	return w
}

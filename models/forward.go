package models

import (
	"fmt"

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
	current int         // number of the block
	last    *onnx.Value // tokens before pooling (B,N,D)
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
		x = v.block(i, x)
	}
	y, name := v.features(x), "logits"
	switch {
	case a.Classes > 0:
		y = v.classify(y)
	case a.Pool != "map": // that of attention pooling is what SigLIP compares with texts
		name = "features"
	}
	g.Outputs = []*onnx.Value{v.Named(name, y)}
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

// norm is LayerNorm or RMSNorm over the last axis.
func (v *vit) norm(name string, x *onnx.Value) *onnx.Value {
	weight, bias := v.weight(name+".weight"), v.weight(name+".bias")
	if v.a.Norm == "layernorm" {
		attrs := []onnx.Attr{{Name: "axis", Value: int64(-1)}, {Name: "epsilon", Value: float32(v.a.Eps)}}
		return v.Named(name+"/out", v.Op("LayerNormalization", attrs, x, weight, bias))
	}
	mean := v.Named(name+"/mean_square", v.Op("ReduceMean", []onnx.Attr{{Name: "keepdims", Value: int64(1)}}, v.Mul(x, x), v.ints("last", -1)))
	root := v.Named(name+"/root", v.Op("Sqrt", nil, v.Add(mean, v.number("norm_eps", v.a.Eps))))
	y := v.Mul(v.Div(x, root), weight)
	if bias != nil {
		y = v.Add(y, bias)
	}
	return v.Named(name+"/out", y)
}

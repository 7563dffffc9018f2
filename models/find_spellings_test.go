package models

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// toy emits small Vision Transformers in the ways in which exporters spell
// them: 2 blocks, 2 heads, width 8, 2x3 patches of 4x4 pixels, 5 classes.
type toy struct {
	*onnx.Builder
	rng   *rand.Rand
	batch onnx.Dim

	attention func(t *toy, x *onnx.Value) *onnx.Value // (B,N,D) to (B,N,D)
	embed     func(t *toy, image *onnx.Value) *onnx.Value
	head      func(t *toy, x *onnx.Value) *onnx.Value
	depth     int

	shape        onnx.Shape // of the picture
	channelsLast bool
}

const toyHeads, toyWidth, toyPatches = 2, 8, 6

// graph emits the model and prepares it as a file's would be.
func (t *toy) graph(tb testing.TB) *onnx.Graph {
	tb.Helper()
	g := onnx.NewGraph("toy")
	t.Builder, t.rng = onnx.NewBuilder(g), rand.New(rand.NewPCG(1, 2))
	if t.batch == (onnx.Dim{}) {
		t.batch = onnx.Dim{N: 1, Sym: "batch"}
	}
	if t.depth == 0 {
		t.depth = 2
	}
	if t.embed == nil {
		t.embed = (*toy).conv
	}
	if t.shape == nil {
		t.shape = onnx.Shape{t.batch, onnx.D(3), onnx.D(8), onnx.D(12)}
	}
	if t.channelsLast {
		t.shape = onnx.Shape{t.shape[0], t.shape[2], t.shape[3], t.shape[1]}
	}
	image := g.AddInput("pixels", onnx.Float, t.shape)
	if t.channelsLast {
		image = t.Transpose(image, 0, 3, 1, 2)
	}
	y := t.embed(t, image)
	for range t.depth {
		y = t.Add(y, t.attention(t, t.norm(y)))
		y = t.Add(y, t.linear(t.Op("Erf", nil, t.linear(t.norm(y), 16)), toyWidth))
	}
	if t.head == nil {
		t.head = (*toy).classToken
	}
	logits := t.head(t, t.norm(y)) // which may set other outputs
	g.Outputs = append(g.Outputs, logits)
	if err := t.Err(); err != nil {
		tb.Fatal(err)
	}
	p, err := passes.Prepare(&onnx.Model{IRVersion: 10, Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func (t *toy) weight(dims ...int64) *onnx.Value {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(t.rng.NormFloat64())
	}
	return t.Graph.AddInit("w", onnx.FloatTensor(v, dims...))
}

func (t *toy) linear(x *onnx.Value, to int64) *onnx.Value {
	from := x.Shape[len(x.Shape)-1].N
	return t.Add(t.MatMul(x, t.weight(from, to)), t.weight(to))
}

func (t *toy) norm(x *onnx.Value) *onnx.Value {
	return t.Op("LayerNormalization", []onnx.Attr{{Name: "axis", Value: int64(-1)}}, x, t.weight(toyWidth), t.weight(toyWidth))
}

// conv embeds patches by a Conv and puts a class token first.
func (t *toy) conv(image *onnx.Value) *onnx.Value { return t.withClass(t.patches(image)) }

func (t *toy) patches(image *onnx.Value) *onnx.Value {
	x := t.Op("Conv", []onnx.Attr{{Name: "kernel_shape", Value: []int64{4, 4}}, {Name: "strides", Value: []int64{4, 4}}}, image, t.weight(toyWidth, 3, 4, 4))
	return t.Transpose(t.Op("Reshape", nil, x, t.Ints(0, toyWidth, toyPatches)), 0, 2, 1)
}

func (t *toy) token(x *onnx.Value) *onnx.Value {
	batch := t.Op("Shape", []onnx.Attr{{Name: "start", Value: int64(0)}, {Name: "end", Value: int64(1)}}, x)
	return t.Op("Expand", nil, t.weight(1, 1, toyWidth), t.Concat(0, batch, t.Ints(1, 1)))
}

func (t *toy) withClass(x *onnx.Value) *onnx.Value { return t.Concat(1, t.token(x), x) }

func (t *toy) classToken(x *onnx.Value) *onnx.Value {
	return t.linear(t.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(1)}}, x, t.Int(0)), 5)
}

// qkv gives q, k and v (B,H,N,D/H) by three products.
func (t *toy) qkv(x *onnx.Value) [3]*onnx.Value {
	var out [3]*onnx.Value
	for i := range out {
		y := t.Op("Reshape", nil, t.linear(x, toyWidth), t.Ints(0, 0, toyHeads, toyWidth/toyHeads))
		out[i] = t.Transpose(y, 0, 2, 1, 3)
	}
	return out
}

func (t *toy) join(y *onnx.Value) *onnx.Value {
	return t.linear(t.Op("Reshape", nil, t.Transpose(y, 0, 2, 1, 3), t.Ints(0, 0, toyWidth)), toyWidth)
}

// plain is the eager spelling with the scale behind the product.
func (t *toy) plain(x *onnx.Value) *onnx.Value {
	p := t.qkv(x)
	return t.join(t.MatMul(t.Softmax(t.scale(t.MatMul(p[0], t.SwapLast(p[1]))), -1), p[2]))
}

func (t *toy) scale(x *onnx.Value) *onnx.Value { return t.Div(x, t.Scalar(2, x)) }

// sdp has sqrt(scale) on both q and k, as scaled-dot-product exports.
func (t *toy) sdp(x *onnx.Value) *onnx.Value {
	p := t.qkv(x)
	root := math.Sqrt(0.5)
	return t.join(t.MatMul(t.Softmax(t.MatMul(t.Scale(p[0], root), t.Scale(t.SwapLast(p[1]), root)), -1), p[2]))
}

// fused splits one product by Slice and Squeeze, with Gemm between Reshapes.
func (t *toy) fused(x *onnx.Value) *onnx.Value {
	rows := t.Op("Reshape", nil, x, t.Ints(-1, toyWidth))
	y := t.Op("Gemm", []onnx.Attr{{Name: "transB", Value: int64(1)}}, rows, t.weight(3*toyWidth, toyWidth), t.weight(3*toyWidth))
	y = t.Op("Reshape", nil, y, t.Ints(-1, x.Shape[1].N, 3, toyHeads, toyWidth/toyHeads))
	y = t.Transpose(y, 2, 0, 3, 1, 4)
	var p [3]*onnx.Value
	for i := range p {
		p[i] = t.Squeeze(t.Slice(y, 0, int64(i), int64(i+1)), 0)
	}
	return t.join(t.MatMul(t.Softmax(t.MatMul(t.Scale(p[0], 0.5), t.Transpose(p[1], 0, 1, 3, 2)), 3), p[2]))
}

// gathered splits by Gather, with Casts around softmax, a mask before it and a
// guard against NaN behind it, as Hugging Face exports.
func (t *toy) gathered(x *onnx.Value) *onnx.Value {
	n := x.Shape[1].N
	y := t.Transpose(t.Op("Reshape", nil, t.linear(x, 3*toyWidth), t.Ints(0, 0, 3, toyHeads, toyWidth/toyHeads)), 2, 0, 3, 1, 4)
	var p [3]*onnx.Value
	for i := range p {
		p[i] = t.Op("Gather", []onnx.Attr{{Name: "axis", Value: int64(0)}}, y, t.Int(int64(i)))
	}
	scores := t.Add(t.scale(t.MatMul(p[0], t.Transpose(p[1], 0, 1, 3, 2))), t.weight(1, 1, n, n))
	A := t.Cast(t.Cast(t.Softmax(scores, -1), onnx.Double), onnx.Float)
	A = t.Where(t.Op("IsNaN", nil, A), t.Scalar(0, A), A)
	return t.join(t.MatMul(A, p[2]))
}

// merged has maps of shape (B*H,N,N).
func (t *toy) merged(x *onnx.Value) *onnx.Value {
	n := x.Shape[1].N
	p := t.qkv(x)
	for i := range p {
		p[i] = t.Op("Reshape", nil, p[i], t.Ints(-1, n, toyWidth/toyHeads))
	}
	y := t.MatMul(t.Softmax(t.MatMul(p[0], t.Transpose(p[1], 0, 2, 1)), -1), p[2])
	return t.join(t.Op("Reshape", nil, y, t.Ints(-1, toyHeads, n, toyWidth/toyHeads)))
}

// flat flattens around softmax, as a version converter does.
func (t *toy) flat(x *onnx.Value) *onnx.Value {
	n := x.Shape[1].N
	p := t.qkv(x)
	s := t.Op("Reshape", nil, t.MatMul(p[0], t.SwapLast(p[1])), t.Ints(-1, n))
	A := t.Op("Reshape", nil, t.Softmax(s, 1), t.Ints(-1, toyHeads, n, n))
	return t.join(t.MatMul(A, p[2]))
}

// transposed has the map (B,H,keys,queries), as Keras exports.
func (t *toy) transposed(x *onnx.Value) *onnx.Value {
	p := t.qkv(x)
	A := t.Softmax(t.MatMul(p[1], t.SwapLast(p[0])), 2) // (B,H,keys,queries)
	return t.join(t.SwapLast(t.MatMul(t.SwapLast(p[2]), A)))
}

// einsum spells both products as Einsum.
func (t *toy) einsum(x *onnx.Value) *onnx.Value {
	p := t.qkv(x)
	A := t.Softmax(t.Op("Einsum", []onnx.Attr{{Name: "equation", Value: "b h i d, b h j d -> b h i j"}}, p[0], p[1]), -1)
	return t.join(t.Op("Einsum", []onnx.Attr{{Name: "equation", Value: "...hij,...hjd->...hid"}}, A, p[2]))
}

// windowed attends within two windows of three patches.
func (t *toy) windowed(x *onnx.Value) *onnx.Value {
	y := t.Op("Reshape", nil, x, t.Ints(-1, 3, toyWidth))
	return t.Op("Reshape", nil, t.plain(y), t.Ints(-1, toyPatches, toyWidth))
}

// talking mixes the heads behind softmax.
func (t *toy) talking(x *onnx.Value) *onnx.Value {
	p := t.qkv(x)
	A := t.Softmax(t.MatMul(p[0], t.SwapLast(p[1])), -1)
	A = t.Op("Conv", nil, A, t.weight(toyHeads, toyHeads, 1, 1))
	return t.join(t.MatMul(A, p[2]))
}

// mixing mixes the heads before and behind softmax, as CaiT.
func (t *toy) mixing(x *onnx.Value) *onnx.Value {
	p := t.qkv(x)
	mix := func(A *onnx.Value) *onnx.Value {
		y := t.MatMul(t.Transpose(A, 0, 2, 3, 1), t.weight(toyHeads, toyHeads))
		return t.Transpose(t.Add(y, t.weight(toyHeads)), 0, 3, 1, 2)
	}
	A := mix(t.Softmax(mix(t.MatMul(p[0], t.SwapLast(p[1]))), -1))
	return t.join(t.MatMul(A, p[2]))
}

// exponents spells softmax out.
func (t *toy) exponents(x *onnx.Value) *onnx.Value {
	p := t.qkv(x)
	s := t.MatMul(p[0], t.SwapLast(p[1]))
	e := t.Op("Exp", nil, t.Sub(s, t.Reduce("ReduceMax", s, true, 3)))
	return t.join(t.MatMul(t.Div(e, t.Reduce("ReduceSum", e, true, 3)), p[2]))
}

// parallel adds two attentions of one input.
func (t *toy) parallel(x *onnx.Value) *onnx.Value { return t.Add(t.plain(x), t.sdp(x)) }

package gradients

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// toy is a two-block attention model on a (rows, columns) grid with a class
// token: enough structure for relevance, few enough numbers for differences.
type toy struct {
	b       *onnx.Builder
	subject Subject
	weight  *onnx.Value
	mask    *onnx.Value
	label   *onnx.Value
	values  map[string]*ref.Array
}

func newToy(batch int64, flat bool) *toy {
	const rows, cols, width, classes, side = 2, 3, 4, 3, 4
	g := onnx.NewGraph("toy")
	b := onnx.NewBuilder(g)
	rng := rand.New(rand.NewPCG(3, 4))
	draw := func(n int, scale float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = scale * rng.NormFloat64()
		}
		return v
	}
	image := g.AddInput("image", onnx.Double, onnx.ShapeOf(batch, 1, rows*side, cols*side))
	weight := g.AddInput("weight", onnx.Double, onnx.ShapeOf(width, width))
	t := &toy{b: b, weight: weight, values: map[string]*ref.Array{
		"image":  ref.Floats(draw(int(batch)*rows*cols*side*side, 1), int(batch), 1, rows*side, cols*side),
		"weight": ref.Floats(draw(width*width, 1), width, width)}}
	embed := b.Floats(draw(side*side*width, 0.5), image, side*side, width)
	x := b.Reshape(image, onnx.ShapeOf(batch, rows, side, cols, side))
	x = b.Reshape(b.Transpose(x, 0, 1, 3, 2, 4), onnx.ShapeOf(batch, rows*cols, side*side))
	x = b.MatMul(x, embed)
	x = b.Concat(1, b.Expand(b.Floats(draw(width, 1), image, 1, 1, width), onnx.ShapeOf(batch, 1, width)), x)
	sharp := 1.0
	if flat {
		sharp = 0 // every token attends to all alike
	}
	for block := range 2 {
		score := b.Scale(b.MatMul(b.MatMul(x, weight), b.SwapLast(x)), sharp)
		attention := b.Softmax(b.Unsqueeze(score, 1), -1)
		t.subject.Maps = append(t.subject.Maps, AttentionMap{Value: attention, Block: block, Heads: 1})
		if flat { // and no token's value differs
			x = b.Add(b.Scale(x, 0), b.Floats(draw(width, 1), image, 1, 1, width))
		}
		x = b.Add(x, b.Squeeze(b.MatMul(attention, b.Unsqueeze(x, 1)), 1))
	}
	first := b.Squeeze(b.Slice(x, 1, 0, 1), 1)
	t.subject.Logits = b.MatMul(b.Op("Tanh", nil, first), b.Floats(draw(width*classes, 1), image, width, classes))
	t.subject.Image, t.subject.Prefix, t.subject.Grid = image, 1, [2]int64{rows, cols}
	t.mask = g.AddInput("mask", onnx.Double, onnx.ShapeOf(batch, 1, rows*side, cols*side))
	t.label = g.AddInput("label", onnx.Int64, onnx.ShapeOf(batch))
	mask := make([]float64, int(batch)*rows*cols*side*side)
	for i := range mask {
		mask[i] = float64(rng.IntN(3)) / 2
	}
	t.values["mask"] = ref.Floats(mask, int(batch), 1, rows*side, cols*side)
	labels := make([]int64, batch)
	for i := range labels {
		labels[i] = int64(i) % classes
	}
	t.values["label"] = ref.Ints(labels, int(batch))
	return t
}

func (t *toy) eval(tb testing.TB, v ...*onnx.Value) []*ref.Array {
	tb.Helper()
	out, err := ref.Eval(t.b.Graph, t.values, v)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

var published = Objective{LambdaSeg: 0.8, LambdaAcc: 0.2, LambdaBackground: 2, LambdaForeground: 0.3, Temperature: 0.65, OwnArgmax: true}

func TestSecondOrderGradientMatchesFiniteDifferences(t *testing.T) {
	for _, method := range []Method{ByRelevance, ByGradMask, ByRRR} {
		m, o := newToy(2, false), published
		o.Method, o.Order = method, SecondOrder
		terms, err := Losses(m.b, m.subject, o, m.mask, m.label)
		if err != nil {
			t.Fatal(err)
		}
		grads, err := terms.Gradients(m.b, []*onnx.Value{m.weight})
		if err != nil {
			t.Fatal(err)
		}
		got, w := m.eval(t, grads[0])[0], m.values["weight"].F
		for i := range w {
			const h = 1e-6
			at, moved := w[i], [2]float64{}
			for j, step := range []float64{h, -h} {
				w[i] = at + step
				moved[j] = m.eval(t, terms.Total)[0].F[0]
			}
			w[i] = at
			if want := (moved[0] - moved[1]) / (2 * h); math.Abs(got.F[i]-want) > 1e-7*(1+math.Abs(want)) {
				t.Errorf("%s: d total/d weight[%d] = %v, differences give %v", method, i, got.F[i], want)
			}
		}
	}
}

func TestFirstOrderHoldsAttentionGradientsConstant(t *testing.T) {
	m := newToy(2, false)
	terms, err := Losses(m.b, m.subject, published, m.mask, m.label)
	if err != nil {
		t.Fatal(err)
	}
	grads, err := terms.Gradients(m.b, []*onnx.Value{m.weight})
	if err != nil {
		t.Fatal(err)
	}
	// the same losses with the attention gradients' values as constants
	held := newToy(2, false)
	constants := m.eval(t, terms.Stop...)
	maps := held.subject.Maps
	var given []*onnx.Value
	for i, c := range constants {
		v := held.b.Graph.AddInput("held", onnx.Double, maps[i].Value.Shape)
		held.values[v.Name] = c
		given = append(given, v)
	}
	r := Rollout(held.b, held.subject, maps, given)
	off := held.b.Mul(r.Map, reverse(held.b, held.mask))
	on := held.b.Sub(held.b.Mul(r.Map, held.mask), held.mask)
	guide := held.b.Add(held.b.Scale(held.b.Mean(held.b.Mul(off, off)), 2), held.b.Scale(held.b.Mean(held.b.Mul(on, on)), 0.3))
	decision := held.b.Op("ArgMax", []onnx.Attr{at("axis", int64(1)), at("keepdims", int64(0))}, held.subject.Logits)
	ce := held.b.Mean(crossEntropy(held.b, held.subject.Logits, decision, 0.65))
	total := held.b.Add(held.b.Scale(guide, 0.8), held.b.Scale(ce, 0.2))
	want, err := Walk(held.b, "d", map[*onnx.Value]*onnx.Value{total: held.b.Scalar(1, total)}, []*onnx.Value{held.weight}, nil)
	if err != nil {
		t.Fatal(err)
	}
	x, y := m.eval(t, grads[0])[0].F, held.eval(t, want[0])[0].F
	for i := range x {
		if math.Abs(x[i]-y[i]) > 1e-12*(1+math.Abs(y[i])) {
			t.Errorf("d total/d weight[%d] = %v, with constants %v", i, x[i], y[i])
		}
	}
}

// TestConstantMapGivesZeroAndNoNaN has every patch equally relevant.
func TestConstantMapGivesZeroAndNoNaN(t *testing.T) {
	m := newToy(2, true)
	o := published
	o.LambdaAcc = 0
	terms, err := Losses(m.b, m.subject, o, m.mask, m.label)
	if err != nil {
		t.Fatal(err)
	}
	grads, err := terms.Gradients(m.b, []*onnx.Value{m.weight})
	if err != nil {
		t.Fatal(err)
	}
	out := m.eval(t, terms.Relevance.Map, terms.Relevance.Constant, terms.Total, grads[0])
	for i, c := range out[1].B {
		if !c {
			t.Errorf("image %d: the map is not reported as constant", i)
		}
	}
	for _, v := range out[0].F {
		if v != 0 {
			t.Fatalf("the map holds %v, expected 0", v)
		}
	}
	if math.IsNaN(out[2].F[0]) {
		t.Error("the loss is NaN")
	}
	for _, v := range out[3].F {
		if v != 0 {
			t.Fatalf("the gradient holds %v, expected 0", v)
		}
	}
}

func TestRolloutEqualsMatrixProducts(t *testing.T) {
	m := newToy(1, false)
	maps, grads, err := AttentionGradients(m.b, m.subject, m.label, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := Rollout(m.b, m.subject, maps, grads)
	out := m.eval(t, maps[0].Value, maps[1].Value, grads[0], grads[1], r.Row)
	const n = 7
	product := make([]float64, n*n) // R = I; R = R + Abar R, as published
	for i := range n {
		product[i*n+i] = 1
	}
	for l := range 2 {
		next := append([]float64(nil), product...)
		for i := range n {
			for k := range n {
				flow := math.Max(0, out[l].F[i*n+k]*out[2+l].F[i*n+k])
				for j := range n {
					next[i*n+j] += flow * product[k*n+j]
				}
			}
		}
		product = next
	}
	for p := range n - 1 {
		if got, want := out[4].F[p], product[p+1]; math.Abs(got-want) > 1e-14 {
			t.Errorf("patch %d: %v, expected %v", p, got, want)
		}
	}
}

func TestTiesFollowTorch(t *testing.T) {
	cases := []struct {
		name  string
		apply func(b *onnx.Builder, x *onnx.Value) *onnx.Value
		want  []float64 // of the input 2, 2, 1, 0
	}{
		{"max along a dimension: the first takes all", func(b *onnx.Builder, x *onnx.Value) *onnx.Value { return b.Reduce("ReduceMax", x, false, 1) }, []float64{1, 0, 0, 0}},
		{"amax over all: ties share", func(b *onnx.Builder, x *onnx.Value) *onnx.Value { return b.Reduce("ReduceMax", x, false) }, []float64{.5, .5, 0, 0}},
		{"clamp(min=1): the edge passes", func(b *onnx.Builder, x *onnx.Value) *onnx.Value { return b.Sum(b.Op("Clip", nil, x, b.Scalar(1, x))) }, []float64{1, 1, 1, 0}},
		{"relu: zero does not pass", func(b *onnx.Builder, x *onnx.Value) *onnx.Value { return b.Sum(b.Op("Relu", nil, x)) }, []float64{1, 1, 1, 0}},
		{"maximum(x, 1): ties share", func(b *onnx.Builder, x *onnx.Value) *onnx.Value {
			return b.Sum(b.Op("Max", nil, x, b.Scalar(1, x)))
		}, []float64{1, 1, .5, 0}},
	}
	for _, c := range cases {
		g := onnx.NewGraph("g")
		b := onnx.NewBuilder(g)
		x := g.AddInput("x", onnx.Double, onnx.ShapeOf(1, 4))
		y := c.apply(b, x)
		grads, err := Walk(b, "d", map[*onnx.Value]*onnx.Value{y: b.Expand(b.Scalar(1, x), y.Shape)}, []*onnx.Value{x}, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := ref.Eval(g, map[string]*ref.Array{"x": ref.Floats([]float64{2, 2, 1, 0}, 1, 4)}, []*onnx.Value{grads[0]})
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range out[0].F {
			if v != c.want[i] {
				t.Errorf("%s: gradient %v, expected %v", c.name, out[0].F, c.want)
				break
			}
		}
	}
}

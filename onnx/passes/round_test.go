package passes

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/ref"
)

// products is a graph of every product that RoundProducts rounds or leaves.
func products(t *testing.T) *onnx.Graph {
	t.Helper()
	g := onnx.NewGraph("products")
	b := onnx.NewBuilder(g)
	x := g.AddInput("x", onnx.Float, onnx.ShapeOf(2, 3, 4))
	w := g.AddInput("w", onnx.Float, onnx.ShapeOf(4, 5))
	y := b.Named("y", b.MatMul(x, w)) // (2,3,5)
	flat := b.Reshape(y, onnx.ShapeOf(6, 5))
	z := b.Named("z", b.Op("Gemm", []onnx.Attr{{Name: "transB", Value: int64(1)}}, flat, w, b.Reshape(x, onnx.ShapeOf(6, 4)))) // (6,4)
	up := b.Named("up", b.MatMul(z, b.Const(onnx.FloatTensor([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 4, 2))))
	row := b.Named("row", b.MatMul(b.Slice(z, 0, 0, 1), w))
	g.Outputs = []*onnx.Value{y, z, up, row}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	return g
}

// count counts Casts, and products that compute in a type.
func count(g *onnx.Graph, t onnx.DType) (casts, products int) {
	for _, n := range g.Nodes {
		switch {
		case n.Op == "Cast":
			casts++
		case (n.Op == "MatMul" || n.Op == "Gemm") && n.Inputs[0].Type == t && n.Outputs[0].Type == t:
			products++
		}
	}
	return casts, products
}

// TestRoundProductsChangesNoFunction evaluates both spellings without rounding,
// as the evaluator does.
func TestRoundProductsChangesNoFunction(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := func(shape ...int) *ref.Array {
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float64, n)
		for i := range v {
			v[i] = rng.NormFloat64()
		}
		return ref.Floats(v, shape...).As(onnx.Float)
	}
	feed := map[string]*ref.Array{"x": noise(2, 3, 4), "w": noise(4, 5)}
	before := products(t)
	want, err := ref.Eval(before, feed, before.Outputs)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []onnx.DType{onnx.BFloat16, onnx.Float16} {
		for native, expected := range map[bool][2]int{
			true:  {6, 2}, // of x, of w for both, of the Gemm's other two, and of both results
			false: {12, 0},
		} {
			g := products(t)
			if err := RoundProducts(g, to, native); err != nil {
				t.Fatal(err)
			}
			if casts, products := count(g, to); [2]int{casts, products} != expected {
				t.Errorf("%v, native %t: %d Casts and %d products of it, expected %v", to, native, casts, products, expected)
			}
			got, err := ref.Eval(g, feed, g.Outputs)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range g.Outputs {
				if v.Type != onnx.Float || v.Name != before.Outputs[i].Name || !slices.Equal(got[i].F, want[i].F) {
					t.Errorf("%v, native %t: output %v differs from %v", to, native, v, before.Outputs[i])
				}
			}
		}
	}
}

// TestProductsAreRoundedWhereTheProcessorComputesInFloat32 holds ONNX Runtime
// against sums of rounded numbers.
func TestProductsAreRoundedWhereTheProcessorComputesInFloat32(t *testing.T) {
	orttest.Need(t)
	rng := rand.New(rand.NewPCG(3, 4))
	x, w := make([]float32, 24), make([]float32, 20)
	for _, v := range [][]float32{x, w} {
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
	}
	for to, unit := range map[onnx.DType]float64{onnx.BFloat16: 0x1p-8, onnx.Float16: 0x1p-11} {
		g := products(t)
		if err := RoundProducts(g, to, false); err != nil {
			t.Fatal(err)
		}
		results := runRounded(t, g, map[string]*onnx.Tensor{"x": onnx.FloatTensor(x, 2, 3, 4), "w": onnx.FloatTensor(w, 4, 5)})
		round := func(v []float32) []float64 {
			short, err := onnx.FloatTensor(v, int64(len(v))).As(to)
			if err != nil {
				t.Fatal(err)
			}
			out, err := short.Float64s()
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		rx, rw := round(x), round(w)
		differs := false
		for i, got := range results["y"] {
			rounded, exact := 0.0, 0.0
			for k := range 4 {
				rounded += rx[i/5*4+k] * rw[k*5+i%5]
				exact += float64(x[i/5*4+k]) * float64(w[k*5+i%5])
			}
			want := round([]float32{float32(rounded)})[0]
			if math.Abs(float64(got)-want) > 1.01*unit*math.Abs(want) { // a sum at the middle of two may go to either
				t.Errorf("%v: y[%d] = %v, expected %v", to, i, got, want)
			}
			if float64(got) != round([]float32{got})[0] {
				t.Errorf("%v: y[%d] = %v isn't one", to, i, got)
			}
			differs = differs || math.Abs(float64(got)-exact) > 1e-6
		}
		if !differs {
			t.Errorf("%v: nothing was rounded", to)
		}
	}
}

func runRounded(t *testing.T, g *onnx.Graph, inputs map[string]*onnx.Tensor) map[string][]float32 {
	t.Helper()
	m := &onnx.Model{IRVersion: 10, Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.NewSession(data, ort.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feed := map[string]*ort.Buffer{}
	for name, x := range inputs {
		if feed[name], err = ort.BufferFrom(x); err != nil {
			t.Fatal(err)
		}
		defer feed[name].Close()
	}
	results, err := s.Call(feed)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float32{}
	for name, b := range results {
		out[name] = slices.Clone(b.Float32s())
		b.Close()
	}
	return out
}

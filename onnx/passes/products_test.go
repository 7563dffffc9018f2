package passes

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/ref"
)

// gemm multiplies (m,k) and (k,n), given as their transposes or not, with or without
// a bias, and what comes out by and plus as many elements or not.
type gemm struct {
	m, n, k           int64
	left, right, bias bool
	times, plus       bool
}

func (c gemm) build(g *onnx.Graph, feed map[string]*ref.Array, rng *rand.Rand) *onnx.Value {
	b := onnx.NewBuilder(g)
	a, w := onnx.ShapeOf(c.m, c.k), onnx.ShapeOf(c.k, c.n)
	var turns []onnx.Attr
	if c.left {
		a, turns = onnx.ShapeOf(c.k, c.m), append(turns, onnx.Attr{Name: "transA", Value: int64(1)})
	}
	if c.right {
		w, turns = onnx.ShapeOf(c.n, c.k), append(turns, onnx.Attr{Name: "transB", Value: int64(1)})
	}
	in := []*onnx.Value{normalInput(g, feed, rng, "a", a), normalInput(g, feed, rng, "w", w)}
	if c.bias {
		in = append(in, normalInput(g, feed, rng, "bias", onnx.ShapeOf(c.n)))
	}
	y := b.Op("Gemm", turns, in...)
	if c.times {
		y = b.Reshape(y, onnx.ShapeOf(1, c.m, c.n))
		y = b.Mul(normalInput(g, feed, rng, "times", onnx.ShapeOf(1, c.m, c.n)), y)
	}
	if c.plus {
		y = b.Reshape(y, onnx.ShapeOf(c.m, c.n, 1))
		y = b.Add(y, normalInput(g, feed, rng, "plus", onnx.ShapeOf(c.m, c.n, 1)))
	}
	return y
}

// pairs multiplies as many pairs of matrices as the first dimensions say.
type pairs struct {
	dims        []int64
	m, n, k     int64
	left, right bool
	turned      bool // what is read is the transpose
}

func (c pairs) build(g *onnx.Graph, feed map[string]*ref.Array, rng *rand.Rand) *onnx.Value {
	b := onnx.NewBuilder(g)
	factor := func(name string, rows, columns int64, turned bool) *onnx.Value {
		if turned {
			return b.SwapLast(normalInput(g, feed, rng, name, onnx.ShapeOf(append(slices.Clone(c.dims), columns, rows)...)))
		}
		return normalInput(g, feed, rng, name, onnx.ShapeOf(append(slices.Clone(c.dims), rows, columns)...))
	}
	y := b.MatMul(factor("a", c.m, c.k, c.left), factor("b", c.k, c.n, c.right))
	if c.turned {
		// Not as SwapLast, which would multiply the factors' transposes.
		perm := []int64{0, 2, 1}
		return b.Op("Transpose", []onnx.Attr{{Name: "perm", Value: perm}}, y)
	}
	return y
}

// TestProductsAreWhatTheirNodesMultiply compares products with package ref's, of
// sizes that fill tiles, panels and depths and that don't, on any number of threads:
// the same bits.
func TestProductsAreWhatTheirNodesMultiply(t *testing.T) {
	orttest.Need(t)
	if !ort.Products() {
		t.Skip("this processor has no AVX-512")
	}
	type built interface {
		build(g *onnx.Graph, feed map[string]*ref.Array, rng *rand.Rand) *onnx.Value
	}
	cases := []built{
		gemm{192, 96, 256, false, false, false, false, false},
		gemm{192, 96, 256, true, true, true, false, false},
		gemm{197, 101, 401, false, false, true, false, false}, // a row, columns and a term more
		gemm{197, 101, 401, false, true, true, false, false},
		gemm{197, 101, 401, true, false, false, false, false},
		gemm{205, 32, 801, true, true, false, false, false},
		gemm{33, 1000, 260, false, true, true, false, false}, // columns of two panels
		gemm{64, 80, 1024, false, false, false, false, false},
		gemm{64, 80, 2048, false, true, true, false, false}, // rows that meet in the cache
		gemm{197, 101, 401, false, true, true, true, false},
		gemm{205, 1600, 1601, true, false, false, true, false},
		gemm{197, 101, 401, true, false, false, false, true},
		gemm{205, 1600, 1601, false, true, true, true, true},
		pairs{[]int64{2, 4}, 97, 64, 97, false, false, false},
		pairs{[]int64{2, 4}, 97, 64, 97, true, false, false},
		pairs{[]int64{5}, 50, 113, 160, false, true, false},
		pairs{[]int64{5}, 50, 113, 160, true, true, false},
		pairs{[]int64{5}, 50, 113, 160, false, false, true},
		pairs{[]int64{5}, 50, 113, 160, true, true, true},
		pairs{nil, 77, 210, 300, true, false, false},
	}
	for left := range int64(8) { // rows left of a tile, and vectors of columns
		cases = append(cases, gemm{56 + left, 289 + 16*left, 260, false, false, left%2 == 0, left%3 == 0, false})
	}
	for _, c := range cases {
		g, feed := onnx.NewGraph("product"), map[string]*ref.Array{}
		y := c.build(g, feed, rand.New(rand.NewPCG(1, 2)))
		g.Outputs = []*onnx.Value{y}
		want, err := ref.Eval(g, feed, g.Outputs)
		must(t, err)
		var first *ref.Array
		for _, threads := range []int{1, 2, 3, 8} {
			fused, _ := g.Clone()
			must(t, FuseProducts(fused, threads))
			sound(t, fused)
			if len(fused.Nodes) != 1 || fused.Nodes[0].Op != ProductOp {
				t.Fatalf("%+v became %v", c, fused)
			}
			got := runRows(t, fused, feed)[y.Name]
			terms := fused.Nodes[0].Ints("layout")[3]
			within := 0x1p-24 * float64(terms) * 8
			if gemm, ok := c.(gemm); ok && gemm.times {
				within *= 4 // a normal number is seldom larger
			}
			for i, x := range want[0].F {
				if !(math.Abs(got.F[i]-x) <= within) {
					t.Fatalf("%+v, %d threads: element %d is %v, expected %v", c, threads, i, got.F[i], x)
				}
			}
			if first == nil {
				first = got
			}
			if !slices.Equal(got.F, first.F) {
				t.Errorf("%+v: %d threads compute other bits than one", c, threads)
			}
		}
	}
}

// TestProductsLeaveOthers keeps those that are small, of open or several shapes, of
// another type, or scaled.
func TestProductsLeaveOthers(t *testing.T) {
	g := onnx.NewGraph("others")
	b := onnx.NewBuilder(g)
	input := func(name string, dims ...int64) *onnx.Value {
		return g.AddInput(name, onnx.Float, onnx.ShapeOf(dims...))
	}
	x, w := input("x", 300, 400), input("w", 400, 500)
	g.Outputs = []*onnx.Value{
		b.Op("Gemm", []onnx.Attr{{Name: "alpha", Value: float32(2)}}, x, w),
		b.Op("Gemm", []onnx.Attr{{Name: "beta", Value: float32(2)}}, x, w, input("bias", 500)),
		b.Op("Gemm", nil, x, w, input("all", 300, 500)),
		b.Op("Gemm", nil, x, w, input("one", 1)),
		b.MatMul(input("column", 8, 400), w),
		b.MatMul(input("short", 3000, 40), input("wide", 40, 3000)),
		b.MatMul(input("batch", 4, 300, 400), w),
		b.MatMul(input("few", 1, 300, 400), input("many", 4, 400, 500)),
		b.MatMul(input("v", 400), w),
		b.MatMul(g.AddInput("open", onnx.Float, shape("B", 300, 400)), g.AddInput("as open", onnx.Float, shape("B", 400, 500))),
		b.MatMul(g.AddInput("double", onnx.Double, shape(300, 400)), g.AddInput("doubles", onnx.Double, shape(400, 500))),
	}
	must(t, b.Err())
	before := fmt.Sprint(g)
	must(t, FuseProducts(g, 2))
	if after := fmt.Sprint(g); after != before {
		t.Errorf("%s\nbecame %s", before, after)
	}
}

// TestProductsTakeInOnlyWhatReadsThemAlone keeps a Mul or an Add of a product that is
// read elsewhere or given out, with a value of another shape, or with itself.
func TestProductsTakeInOnlyWhatReadsThemAlone(t *testing.T) {
	type build func(b *onnx.Builder, op string, y, full, row *onnx.Value) []*onnx.Value
	for what, build := range map[string]build{
		"read elsewhere": func(b *onnx.Builder, op string, y, full, row *onnx.Value) []*onnx.Value {
			return []*onnx.Value{b.Op(op, nil, y, full), b.Op("Exp", nil, y)}
		},
		"given out": func(b *onnx.Builder, op string, y, full, row *onnx.Value) []*onnx.Value {
			return []*onnx.Value{b.Op(op, nil, y, full), y}
		},
		"another shape": func(b *onnx.Builder, op string, y, full, row *onnx.Value) []*onnx.Value {
			return []*onnx.Value{b.Op(op, nil, y, row)}
		},
		"itself": func(b *onnx.Builder, op string, y, full, row *onnx.Value) []*onnx.Value {
			return []*onnx.Value{b.Op(op, nil, y, y)}
		},
	} {
		for _, op := range []string{"Mul", "Add"} {
			g := onnx.NewGraph("read")
			b := onnx.NewBuilder(g)
			y := b.Op("Gemm", nil, g.AddInput("x", onnx.Float, shape(300, 400)), g.AddInput("w", onnx.Float, shape(400, 500)))
			g.Outputs = build(b, op, y, g.AddInput("full", onnx.Float, shape(300, 500)), g.AddInput("row", onnx.Float, shape(500)))
			must(t, b.Err())
			must(t, FuseProducts(g, 2))
			ops := map[string]int{}
			for _, n := range g.Nodes {
				ops[n.Op]++
			}
			if ops[ProductOp] != 1 || ops[op] != 1 || ops["Gemm"] != 0 {
				t.Errorf("%s, %s: became %v", op, what, g)
			}
		}
	}
}

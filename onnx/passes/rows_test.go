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

// normalInput adds an input, and normally distributed numbers for it to feed.
func normalInput(g *onnx.Graph, feed map[string]*ref.Array, rng *rand.Rand, name string, s onnx.Shape) *onnx.Value {
	values := make([]float64, s.Count().N)
	for i := range values {
		values[i] = float64(float32(rng.NormFloat64()))
	}
	v := g.AddInput(name, onnx.Float, s)
	feed[v.Name] = ref.Floats(values, sizes(s)...).As(onnx.Float)
	return v
}

// rowGraph draws a graph of what programs compute, with a Softmax here and there,
// around which no group may close.
func rowGraph(t testing.TB, seed uint64) (*onnx.Graph, map[string]*ref.Array) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	g := onnx.NewGraph("rows")
	b := onnx.NewBuilder(g)
	shapes := []onnx.Shape{onnx.ShapeOf(2, 5, 16), onnx.ShapeOf(6, 37), onnx.ShapeOf(3, 1, 2, 64), onnx.ShapeOf(1100), onnx.ShapeOf(400, 100)}
	shape := shapes[rng.IntN(len(shapes))]
	last := len(shape) - 1
	each := shape.Clone()
	each[last] = onnx.D(1)
	feed := map[string]*ref.Array{}
	input := func(name string, s onnx.Shape) *onnx.Value { return normalInput(g, feed, rng, name, s) }
	full := []*onnx.Value{input("x", shape), input("y", shape)}
	single := []*onnx.Value{input("each", each)}
	others := []*onnx.Value{input("shared", shape[last:]), input("scalar", onnx.Shape{}), b.Const(onnx.FloatTensor([]float32{0.75}))}
	if spread := slices.IndexFunc(shape[:last], func(d onnx.Dim) bool { return d.N > 1 }); spread >= 0 {
		again := shape.Clone()
		again[spread] = onnx.D(1)
		others = append(others, input("again", again))
	}
	pick := func(lists ...[]*onnx.Value) *onnx.Value {
		all := slices.Concat(lists...)
		return all[rng.IntN(len(all))]
	}
	limited := func(v *onnx.Value, low, high float32) *onnx.Value {
		return b.Op("Clip", nil, v, b.Scalar(float64(low), v), b.Scalar(float64(high), v))
	}
	for range 4 + rng.IntN(20) {
		x := pick(full, single)
		var v *onnx.Value
		switch op := []string{"Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "Exp", "Erf", "HardSigmoid", "Clip", "ReduceMean", "ReduceSum", "Softmax", "LayerNormalization", "Greater", "GreaterOrEqual", "Gelu"}[rng.IntN(17)]; op {
		case "Add", "Sub", "Mul":
			y := pick(full, single, others)
			if !y.Shape.Same(shape) && x.Shape.Same(each) {
				y = pick(single)
			}
			if others[len(others)-1] == y && x.Shape.Same(each) { // spread along another axis
				x = pick(full)
			}
			if rng.IntN(2) == 0 {
				x, y = y, x
			}
			v = limited(b.Op(op, nil, x, y), -4, 4)
		case "Div":
			v = b.Div(x, limited(pick(single), 0.5, 2))
		case "Sqrt":
			v = b.Op(op, nil, limited(x, 0.1, 3))
		case "Exp":
			v = b.Op(op, nil, limited(x, -3, 1))
		case "Clip":
			v = b.Op(op, nil, x, b.Scalar(-0.5, x))
		case "HardSigmoid":
			v = b.Op(op, []onnx.Attr{{Name: "alpha", Value: float32(0.3)}, {Name: "beta", Value: float32(0.6)}}, x)
		case "ReduceMean", "ReduceSum":
			if v = b.Reduce(op, pick(full), true, int64(last)); op == "ReduceSum" {
				v = b.Mul(v, b.Scalar(0.01, v))
			}
		case "Greater", "GreaterOrEqual": // of an input, which no rounding moves over the limit
			v = b.Cast(b.Op(op, nil, full[rng.IntN(2)], b.Scalar(0.3, x)), onnx.Float)
		case "Gelu":
			x := pick(full)
			z := b.Scale(x, math.Sqrt(0.5))
			share := b.Op("HardSigmoid", []onnx.Attr{{Name: "alpha", Value: float32(0.5)}, {Name: "beta", Value: float32(0.5)}}, b.Op("Erf", nil, z))
			bell := b.Op("Exp", nil, b.Neg(b.Mul(z, z)))
			full = append(full, b.Op("Gelu", nil, x), b.Add(share, b.Mul(z, bell)))
			v = b.Mul(bell, pick(full))
		case "LayerNormalization":
			out := b.Ops(op, 3, []onnx.Attr{{Name: "axis", Value: int64(-1)}, {Name: "epsilon", Value: float32(1e-3)}}, pick(full), others[0], others[0])
			v = limited(out[0], -4, 4)
			single = append(single, limited(out[1], -4, 4), limited(out[2], -4, 4))
		case "Softmax":
			v = b.Op(op, []onnx.Attr{{Name: "axis", Value: int64(-1)}}, pick(full))
		default:
			v = b.Op(op, nil, x)
		}
		if v.Shape.Same(each) {
			single = append(single, v)
		} else {
			full = append(full, v)
		}
	}
	made := slices.DeleteFunc(slices.Concat(full, single), func(v *onnx.Value) bool { return v.Node == nil })
	for i, v := range made {
		if !slices.Contains(g.Outputs, v) && (i == len(made)-1 || rng.IntN(4) == 0) { // the builder may give one twice
			g.Outputs = append(g.Outputs, v)
		}
	}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	return g, feed
}

// TestRowsComputeWhatTheirNodesDo compares random graphs, gathered and run by ONNX
// Runtime, with package ref's run of the nodes in float64. Values are at most 4 or
// so; some twenty nodes one behind the other round each, and none does more than
// double an error.
func TestRowsComputeWhatTheirNodesDo(t *testing.T) {
	orttest.Need(t)
	programs, gathered, worst, count := 0, 0, 0.0, seeds(300)
	for seed := range count {
		g, feed := rowGraph(t, seed)
		want, err := ref.Eval(g, feed, g.Outputs)
		if err != nil {
			t.Fatal(err)
		}
		rows, _ := g.Clone()
		if err := FuseRows(rows, seed%2 == 0); err != nil {
			t.Fatalf("seed %d: %v\n%v", seed, err, g)
		}
		for _, n := range rows.Nodes {
			if n.Op == RowsOp {
				programs++
			}
		}
		gathered += len(g.Nodes) - len(rows.Nodes)
		got := runRows(t, rows, feed)
		for i, v := range g.Outputs {
			for j, x := range want[i].F {
				e := math.Abs(got[v.Name].F[j]-x) / (1 + math.Abs(x))
				if worst = max(worst, e); !(e <= 5e-6) {
					t.Fatalf("seed %d: %v: element %d is %v, expected %v\n%v\nafter %v", seed, v, j, got[v.Name].F[j], x, g, rows)
				}
			}
		}
	}
	t.Logf("at most %.2g off", worst)
	if programs < int(count) || gathered < 3*int(count) {
		t.Errorf("%d programs made of %d nodes: this test shows little", programs, gathered)
	}
}

// runRows runs a graph that may have programs.
func runRows(t *testing.T, g *onnx.Graph, feed map[string]*ref.Array) map[string]*ref.Array {
	t.Helper()
	m := &onnx.Model{IRVersion: 10, Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: g}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.NewSession(data, ort.Options{Rows: true, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := map[string]*ort.Buffer{}
	for name, x := range given(g, feed) {
		values := make([]float32, len(x.F))
		for i, v := range x.F {
			values[i] = float32(v)
		}
		var shape []int64
		for _, d := range x.Shape {
			shape = append(shape, int64(d))
		}
		if in[name], err = ort.BufferOf(values, shape...); err != nil {
			t.Fatal(err)
		}
		defer in[name].Close()
	}
	results, err := s.Call(in)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*ref.Array{}
	for name, b := range results {
		var shape []int
		for _, d := range b.Shape() {
			shape = append(shape, int(d))
		}
		var values []float64
		for _, v := range b.Float32s() {
			values = append(values, float64(v))
		}
		out[name] = ref.Floats(values, shape...).As(onnx.Float)
		b.Close()
	}
	return out
}

// TestRowsWriteTheColumnsThatProductsRead compares weights' gradients, of a factor that
// a program makes, of one that it only reads, and of one that is read elsewhere too,
// with package ref's, and looks for what is left: squares, and few rows.
func TestRowsWriteTheColumnsThatProductsRead(t *testing.T) {
	orttest.Need(t)
	for _, c := range []struct {
		shape onnx.Shape
		left  int // Gemms that read columns still
		alone int // programs that compute nothing
	}{
		{onnx.ShapeOf(2, 45, 72), 0, 1},
		{onnx.ShapeOf(9, 11, 800), 0, 1},
		{onnx.ShapeOf(2, 36, 72), 3, 0},
		{onnx.ShapeOf(3, 5, 72), 3, 0},
	} {
		g := onnx.NewGraph("columns")
		b := onnx.NewBuilder(g)
		rng := rand.New(rand.NewPCG(3, 4))
		feed := map[string]*ref.Array{}
		input := func(name string, s onnx.Shape) *onnx.Value { return normalInput(g, feed, rng, name, s) }
		rows, length := c.shape[0].N*c.shape[1].N, c.shape[2].N
		x, y := input("x", c.shape), input("y", c.shape)
		right := input("right", onnx.ShapeOf(rows, 24))
		product := func(v *onnx.Value) {
			flat := b.Op("Reshape", nil, v, b.Const(onnx.Int64Tensor([]int64{rows, length}, 2)))
			g.Outputs = append(g.Outputs, b.Op("Gemm", []onnx.Attr{{Name: "transA", Value: int64(1)}}, flat, right))
		}
		product(b.Mul(b.Add(x, y), b.Const(onnx.FloatTensor([]float32{0.5}))))
		product(b.Op("Softmax", nil, x))
		both := b.Op("LayerNormalization", nil, b.Op("Softmax", nil, y), input("scale", c.shape[2:]), input("bias", c.shape[2:]))
		product(both)
		g.Outputs = append(g.Outputs, b.Neg(both))
		if err := b.Err(); err != nil {
			t.Fatal(err)
		}
		want, err := ref.Eval(g, feed, g.Outputs)
		if err != nil {
			t.Fatal(err)
		}
		fused, _ := g.Clone()
		if err := FuseRows(fused, false); err != nil {
			t.Fatal(err)
		}
		left, alone := 0, 0
		for _, n := range fused.Nodes {
			switch {
			case n.Op == "Gemm":
				left += int(n.Int("transA", 0))
			case n.Op == RowsOp && n.Ints("code")[6] == 0:
				alone++
			}
		}
		if left != c.left || alone != c.alone {
			t.Errorf("%v: %d products read columns, %d programs only turn, expected %d and %d\n%v", c.shape, left, alone, c.left, c.alone, fused)
		}
		got := runRows(t, fused, feed)
		for i, v := range g.Outputs {
			for j, x := range want[i].F {
				if y := got[v.Name].F[j]; !(math.Abs(y-x) <= 0x1p-24*float64(rows)*8) {
					t.Fatalf("%v: element %d of %v is %v, expected %v", c.shape, j, v, y, x)
				}
			}
		}
	}
}

// TestRowsLeaveFactorsOfProductsToTheRuntime keeps what ONNX Runtime multiplies
// within a product, and what is too short, has too many axes or lies across rows.
func TestRowsLeaveFactorsOfProductsToTheRuntime(t *testing.T) {
	g := onnx.NewGraph("left")
	b := onnx.NewBuilder(g)
	x, w := g.AddInput("x", onnx.Float, onnx.ShapeOf(4, 32)), g.AddInput("w", onnx.Float, onnx.ShapeOf(32, 32))
	column := g.AddInput("column", onnx.Float, onnx.ShapeOf(3, 1, 32))
	short := g.AddInput("short", onnx.Float, onnx.ShapeOf(4, 8))
	deep := g.AddInput("deep", onnx.Float, onnx.ShapeOf(1, 1, 1, 1, 1, 1, 1, 2, 32))
	scaled := b.Mul(x, b.Scalar(0.125, x))
	across := b.Add(b.Add(b.Reshape(x, onnx.ShapeOf(1, 4, 32)), column), column)
	g.Outputs = []*onnx.Value{b.Mul(b.MatMul(scaled, w), b.Scalar(2, x)), across, b.Neg(b.Neg(short)), b.Neg(b.Op("Exp", nil, deep)), b.Op("Exp", nil, x)}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(g)
	if err := FuseRows(g, false); err != nil {
		t.Fatal(err)
	}
	if after := fmt.Sprint(g); after != before {
		t.Errorf("%s\nbecame %s", before, after)
	}
}

// TestProgramsTakeInWhatIsNearThem tells which operators a graph has once rows are
// gathered.
func TestProgramsTakeInWhatIsNearThem(t *testing.T) {
	slope := func(b *onnx.Builder, x *onnx.Value) *onnx.Value {
		z := b.Scale(x, math.Sqrt(0.5))
		share := b.Op("HardSigmoid", []onnx.Attr{{Name: "alpha", Value: float32(0.5)}, {Name: "beta", Value: float32(0.5)}}, b.Op("Erf", nil, z))
		return b.Add(share, b.Mul(z, b.Op("Exp", nil, b.Neg(b.Mul(z, z)))))
	}
	for _, c := range []struct {
		what    string
		repeats bool
		build   func(b *onnx.Builder, x, y, row *onnx.Value) []*onnx.Value
		want    []string
	}{
		{"a GELU and its slope, behind a product, are one program", false, func(b *onnx.Builder, x, y, row *onnx.Value) []*onnx.Value {
			h := b.Op("Gelu", nil, x)
			return []*onnx.Value{b.Mul(b.MatMul(h, y), slope(b, x))}
		}, []string{"Rows", "MatMul", "Mul"}},
		{"a GELU alone is the runtime's", false, func(b *onnx.Builder, x, y, row *onnx.Value) []*onnx.Value {
			return []*onnx.Value{b.Op("Gelu", nil, x)}
		}, []string{"Gelu"}},
		{"a GELU whose slope is computed anew later is the runtime's", true, func(b *onnx.Builder, x, y, row *onnx.Value) []*onnx.Value {
			h := b.Op("Gelu", nil, x)
			return []*onnx.Value{b.Mul(b.MatMul(h, y), slope(b, x))}
		}, []string{"Gelu", "MatMul", "Rows"}},
		{"a Clip belongs to each program that reads it", false, func(b *onnx.Builder, x, y, row *onnx.Value) []*onnx.Value {
			c := b.Op("Clip", nil, x, b.Scalar(0, x))
			p := b.Mul(c, x)
			for range 8 { // further away than programs that are joined because they read the same
				p = b.MatMul(p, y)
			}
			return []*onnx.Value{b.Mul(p, c)}
		}, slices.Concat([]string{"Rows"}, slices.Repeat([]string{"MatMul"}, 8), []string{"Rows"})},
		{"a comparison and its Cast go with what reads them", false, func(b *onnx.Builder, x, y, row *onnx.Value) []*onnx.Value {
			return []*onnx.Value{b.Mul(b.Cast(b.Op("GreaterOrEqual", nil, x, b.Scalar(0, x)), onnx.Float), y)}
		}, []string{"Rows"}},
		{"a comparison alone is the runtime's", false, func(b *onnx.Builder, x, y, row *onnx.Value) []*onnx.Value {
			return []*onnx.Value{b.Cast(b.Op("Greater", nil, x, b.Scalar(0, x)), onnx.Float)}
		}, []string{"Greater", "Cast"}},
		{"a comparison that is read itself is the runtime's", false, func(b *onnx.Builder, x, y, row *onnx.Value) []*onnx.Value {
			above := b.Op("Greater", nil, x, b.Scalar(0, x))
			return []*onnx.Value{b.Add(b.Mul(b.Cast(above, onnx.Float), y), x), b.Op("Not", nil, above)}
		}, []string{"Greater", "Rows", "Not"}},
		{"rows that serve all heads are read again", false, func(b *onnx.Builder, x, y, row *onnx.Value) []*onnx.Value {
			return []*onnx.Value{b.Add(b.Mul(x, row), y)}
		}, []string{"Rows"}},
	} {
		g := onnx.NewGraph("near")
		b := onnx.NewBuilder(g)
		input := func(name string, dims ...int64) *onnx.Value {
			return g.AddInput(name, onnx.Float, onnx.ShapeOf(dims...))
		}
		g.Outputs = c.build(b, input("x", 2, 3, 32, 32), input("y", 2, 3, 32, 32), input("row", 2, 1, 32, 32))
		must(t, b.Err())
		must(t, FuseRows(g, c.repeats))
		sound(t, g)
		var got []string
		for _, n := range g.Nodes {
			got = append(got, n.Op)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, expected %v", c.what, got, c.want)
		}
	}
}

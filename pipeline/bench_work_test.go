//go:build bench

package pipeline

import (
	"testing"
	"time"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
)

// work counts the floating-point operations of a graph's products: two for
// every multiplication, whatever else the graph computes.
func work(t testing.TB, g *onnx.Graph) float64 {
	t.Helper()
	total := 0.0
	for _, n := range g.Nodes {
		var summands onnx.Dim
		switch x := n.In(0); n.Op {
		case "MatMul":
			summands = x.Shape[len(x.Shape)-1]
		case "Gemm":
			summands = x.Shape[1-n.Int("transA", 0)]
		case "Conv":
			summands = n.In(1).Shape[1:].Count()
		default:
			continue
		}
		size := n.Out(0).Shape.Count().Times(summands)
		if !size.Known() {
			t.Fatalf("node %s of %s: %v has no known size", n.Label(), g.Name, n.Out(0))
		}
		total += 2 * float64(size.N)
	}
	return total
}

func TestBenchCountsTheWorkOfProducts(t *testing.T) {
	g := onnx.NewGraph("products")
	b := onnx.NewBuilder(g)
	x := g.AddInput("x", onnx.Float, onnx.ShapeOf(2, 3, 4, 5))
	y := b.MatMul(x, b.SwapLast(x))                                             // 2 3 4 4, of 5 summands
	z := b.Reshape(y, onnx.ShapeOf(6, 16))                                      //
	b.Op("Gemm", []onnx.Attr{{Name: "transA", Value: int64(1)}}, z, z)          // 16 16, of 6
	b.Op("Conv", nil, x, g.AddInput("w", onnx.Float, onnx.ShapeOf(7, 3, 2, 2))) // 2 7 3 4, of 12
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	if got, want := work(t, g), 2.0*(96*5+256*6+168*12); got != want {
		t.Errorf("%v operations, expected %v", got, want)
	}
}

// productRate measures what the machine gives, in operations per second: the
// best of several products of two square matrices.
func productRate(t testing.TB) float64 {
	t.Helper()
	const n = 1536
	g := onnx.NewGraph("product")
	b := onnx.NewBuilder(g)
	x, y := g.AddInput("x", onnx.Float, onnx.ShapeOf(n, n)), g.AddInput("y", onnx.Float, onnx.ShapeOf(n, n))
	g.Outputs = []*onnx.Value{b.Named("z", b.Op("Gemm", nil, x, y))}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	data, err := Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.NewSession(data, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, name := range []string{"x", "y", "z"} {
		buffer, err := ort.NewBuffer(onnx.Float, n, n)
		if err != nil {
			t.Fatal(err)
		}
		defer buffer.Close()
		noise(buffer.Float32s())
		if err := s.Bind(name, buffer); err != nil {
			t.Fatal(err)
		}
	}
	best := 0.0
	for range 10 {
		start := time.Now()
		if err := s.Run(); err != nil {
			t.Fatal(err)
		}
		best = max(best, 2*n*n*n/time.Since(start).Seconds())
	}
	return best
}

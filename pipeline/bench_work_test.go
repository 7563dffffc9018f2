//go:build bench

package pipeline

import (
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/passes"
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

// vitShape is a Vision Transformer's shape: blocks L, heads H, width D, tokens N,
// classes C.
type vitShape struct{ blocks, heads, width, tokens, classes float64 }

var benchShapes = map[string]vitShape{"tiny": {12, 3, 192, 197, 1000}, "small": {12, 6, 384, 197, 1000}, "base": {12, 12, 768, 197, 1000}}

// patchValues is how many numbers a patch has.
const patchValues = 3 * 16 * 16

// forward is the work of a picture's plain forward pass. With one multiplication
// and one addition for each pair, a block's products take 2ND*3D (q, k, v),
// 2NN*D (scores), 2NN*D (values), 2ND*D (projection), 2ND*8D (the two of the MLP):
// 24NDD + 4NND.
func (v vitShape) forward() float64 {
	n, d := v.tokens, v.width
	return v.blocks*(24*n*d*d+4*n*n*d) + 2*(n-1)*patchValues*d + 2*d*v.classes
}

// least is the least work of a first-order step of a picture by exact arithmetic
// and ordinary products. Of the last block only the class token's row reaches
// the logits and the relevance, its attention by that row alone. With x the
// block's normalised tokens, the row's scores are (q Wk) x', its values
// (a x) Wv, so that keys and values of all tokens are never made: each weight
// meets one row a head at most, which with the MLP's and the projection's makes
// 24DD, and attention takes 2NHD for each of its products.
//
//   - Forward: as above; of the last block 24DD + 4NHD.
//   - Relevance backward, from the label's row of the head's weights to block
//     0's attention map, by data gradients alone. A block takes its forward's
//     24NDD, and 8NND for the gradients of values, attention, queries and keys;
//     the last 24DD + 8NHD. Block 0 ends at its map, without the gradients of its
//     q, k and v (6NDD) and with one product of attention's four (-6NND).
//   - Loss backward: each product with weights gives two, of its input's gradient
//     and of its weights', each of attention two. Of patches there is only the
//     weights' gradient.
//
// The rollout and the map's upsampling, below a thousandth, are left out.
func (v vitShape) least() float64 {
	n, d, h, inner := v.tokens, v.width, v.heads, v.blocks-1
	forward := inner*(24*n*d*d+4*n*n*d) + 24*d*d + 4*n*h*d
	relevance := inner*(24*n*d*d+8*n*n*d) - 6*n*d*d - 6*n*n*d + 24*d*d + 8*n*h*d
	loss := inner*(48*n*d*d+8*n*n*d) + 48*d*d + 8*n*h*d
	patches, head := 2*(n-1)*patchValues*d, 2*d*v.classes
	return forward + relevance + loss + 2*patches + 3*head
}

// TestBenchCountsAForwardPassAsItsShapesSay compares the shapes' formula with the
// graph's own products.
func TestBenchCountsAForwardPassAsItsShapesSay(t *testing.T) {
	path, _, _ := benchModel(t, "tiny")
	m, err := OpenModel(path, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := forwardWork(t, m), benchBatch*benchShapes["tiny"].forward(); got != want {
		t.Errorf("%v operations, expected %v", got, want)
	}
}

// forwardWork counts the work of a model's own graph on a batch.
func forwardWork(t testing.TB, m *Model) float64 {
	t.Helper()
	g, _ := m.Graph.Clone()
	if err := passes.Specialize(g, benchBatch); err != nil {
		t.Fatal(err)
	}
	return work(t, g)
}

// largeProduct returns a product of two square matrices to run, and its work: what
// the machine gives.
func largeProduct(t testing.TB, opt ort.Options) (run func() error, operations float64) {
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
	s, err := ort.NewSession(data, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, name := range []string{"x", "y", "z"} {
		buffer, err := ort.NewBuffer(onnx.Float, n, n)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(buffer.Close)
		noise(buffer.Float32s())
		if err := s.Bind(name, buffer); err != nil {
			t.Fatal(err)
		}
	}
	return s.Run, 2 * n * n * n
}

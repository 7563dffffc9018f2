package gradients

import (
	"math"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// TestShortWalksGiveTheSameGradients compares an attention's gradients by both
// walks; the short one multiplies one tensor of the map's size less.
func TestShortWalksGiveTheSameGradients(t *testing.T) {
	var results [2][]float64
	var products [2]int
	for i, short := range []bool{false, true} {
		g := onnx.NewGraph("attention")
		b := onnx.NewBuilder(g)
		x, v, d := g.AddInput("x", onnx.Double, onnx.ShapeOf(2, 4, 4)), g.AddInput("v", onnx.Double, onnx.ShapeOf(2, 4, 3)), g.AddInput("d", onnx.Double, onnx.ShapeOf(2, 4, 3))
		y := b.MatMul(b.Softmax(x, -1), v)
		grads, err := walkBack(b, "d", map[*onnx.Value]*onnx.Value{y: d}, []*onnx.Value{x}, nil, short)
		if err != nil {
			t.Fatal(err)
		}
		g.Outputs = []*onnx.Value{b.Named("gradient", b.Op("Identity", nil, grads[0]))}
		if err := b.Err(); err != nil {
			t.Fatal(err)
		}
		in := map[string]*ref.Array{}
		for _, input := range g.Inputs {
			values := make([]float64, input.Shape.Count().N)
			for j := range values {
				values[j] = math.Sin(float64(7*j + len(values)))
			}
			in[input.Name] = ref.Floats(values, int(input.Shape[0].N), int(input.Shape[1].N), int(input.Shape[2].N))
		}
		out, err := ref.Run(g, in)
		if err != nil {
			t.Fatal(err)
		}
		results[i] = out["gradient"].F
		for _, n := range g.Nodes {
			if n.Op == "Mul" && n.Outputs[0].Shape.Same(x.Shape) {
				products[i]++
			}
		}
	}
	for i, want := range results[0] {
		if math.Abs(results[1][i]-want) > 1e-14 {
			t.Errorf("[%d] is %v, expected %v", i, results[1][i], want)
		}
	}
	if products[1] != products[0]-1 {
		t.Errorf("%d products of the map's size, expected one less than %d", products[1], products[0])
	}
}

package gradients

import (
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// TestPositiveFlowsAreOneFunction compares both spellings of max(G A, 0), and
// their gradients towards A, zeros included. That of training must be a single
// product, which reads nothing of the map's size that the flow didn't give.
func TestPositiveFlowsAreOneFunction(t *testing.T) {
	in := map[string]*ref.Array{
		"A": ref.Floats([]float64{0.5, 0.2, 0, 0.3, 0.1, 0, 0.7, 0.4}, 8),
		"G": ref.Floats([]float64{1, -2, 3, 0, -0.5, -4, 2, 0}, 8),
		"d": ref.Floats([]float64{3, 1, -4, 1, 5, 9, -2, 6}, 8),
	}
	var results []map[string]*ref.Array
	for _, trained := range []bool{false, true} {
		g := onnx.NewGraph("flow")
		b := onnx.NewBuilder(g)
		v := map[string]*onnx.Value{}
		for _, name := range []string{"A", "G", "d"} {
			v[name] = g.AddInput(name, onnx.Double, onnx.ShapeOf(8))
		}
		flow := Subject{trained: trained}.positive(b, v["G"], v["A"])
		before := len(g.Nodes)
		grads, err := Walk(b, "d", map[*onnx.Value]*onnx.Value{flow: v["d"]}, []*onnx.Value{v["A"]}, []*onnx.Value{v["G"]})
		if err != nil {
			t.Fatal(err)
		}
		if emitted := len(g.Nodes) - before; trained && emitted != 1 {
			t.Errorf("the gradient takes %d nodes, expected 1:\n%v", emitted, g)
		}
		g.Outputs = []*onnx.Value{b.Named("flow", b.Op("Identity", nil, flow)), b.Named("gradient", b.Op("Identity", nil, grads[0]))}
		if err := b.Err(); err != nil {
			t.Fatal(err)
		}
		out, err := ref.Run(g, in)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, out)
	}
	for name, want := range results[0] {
		for i, x := range results[1][name].F {
			if x != want.F[i] {
				t.Errorf("%s[%d] is %v in training, expected %v", name, i, x, want.F[i])
			}
		}
	}
}

package gradients

import (
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// TestPositiveFlows compares max(G A, 0) and its gradients with the formula, of
// a softmax and of a map that may lie below zero. Of a softmax, the gradient
// towards A must be a single product.
func TestPositiveFlows(t *testing.T) {
	logits := []float64{0.5, 0.2, -1, 0.3, 0.1, 2, 0.7, -0.4}
	grad := []float64{1, -2, 3, 0, -0.5, -4, 2, 0}
	seed := []float64{3, 1, -4, 1, 5, 9, -2, 6}
	for name, softmax := range map[string]bool{"softmax": true, "signed": false} {
		t.Run(name, func(t *testing.T) {
			g := onnx.NewGraph("flow")
			b := onnx.NewBuilder(g)
			v := map[string]*onnx.Value{}
			for _, name := range []string{"x", "G", "d"} {
				v[name] = g.AddInput(name, onnx.Double, onnx.ShapeOf(2, 4))
			}
			a := b.Op("Identity", nil, v["x"])
			if softmax {
				a = b.Transpose(b.Softmax(b.Transpose(v["x"], 1, 0), 0), 1, 0)
			}
			flow := positive(b, v["G"], a)
			before := len(g.Nodes)
			grads, err := Walk(b, "d", map[*onnx.Value]*onnx.Value{flow: v["d"]}, []*onnx.Value{a}, []*onnx.Value{v["G"]})
			if err != nil {
				t.Fatal(err)
			}
			if emitted := len(g.Nodes) - before; softmax && emitted != 1 {
				t.Errorf("the gradient takes %d nodes, expected 1:\n%v", emitted, g)
			}
			g.Outputs = []*onnx.Value{b.Named("map", b.Op("Identity", nil, a)), b.Named("flow", b.Op("Identity", nil, flow)), b.Named("gradient", b.Op("Identity", nil, grads[0]))}
			if err := b.Err(); err != nil {
				t.Fatal(err)
			}
			out, err := ref.Run(g, map[string]*ref.Array{"x": ref.Floats(logits, 2, 4), "G": ref.Floats(grad, 2, 4), "d": ref.Floats(seed, 2, 4)})
			if err != nil {
				t.Fatal(err)
			}
			for i, A := range out["map"].F {
				want, slope := max(grad[i]*A, 0), 0.0
				if grad[i]*A >= 0 {
					slope = seed[i] * grad[i]
				}
				if out["flow"].F[i] != want || out["gradient"].F[i] != slope {
					t.Errorf("[%d] flow %v, gradient %v; expected %v and %v", i, out["flow"].F[i], out["gradient"].F[i], want, slope)
				}
			}
		})
	}
}

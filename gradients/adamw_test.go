package gradients

import (
	"math"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ref"
)

// TestAdamWMatchesItsDefinition runs the graph beside the formulas of
// Loshchilov and Hutter, written out, for several steps.
func TestAdamWMatchesItsDefinition(t *testing.T) {
	a := AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01}
	slot := NewSlot("p", onnx.ShapeOf(3))
	g, err := a.Graph([]Slot{slot}, onnx.Double)
	if err != nil {
		t.Fatal(err)
	}
	const rate = 1e-2
	p, m, v := []float64{1, -2, 0.5}, make([]float64, 3), make([]float64, 3)
	want := append([]float64(nil), p...)
	wantM, wantV := make([]float64, 3), make([]float64, 3)
	for step := 1; step <= 5; step++ {
		grad := []float64{0.3 * float64(step), -1e-3, 0}
		out, err := ref.Run(g, map[string]*ref.Array{
			RateInput: ref.Floats([]float64{rate}), StepInput: ref.Floats([]float64{float64(step)}),
			slot.Name: ref.Floats(p, 3), slot.Grad: ref.Floats(grad, 3), slot.Moment: ref.Floats(m, 3), slot.Square: ref.Floats(v, 3)})
		if err != nil {
			t.Fatal(err)
		}
		p, m, v = out[slot.Next].F, out[slot.NextMoment].F, out[slot.NextSquare].F
		for i, gr := range grad {
			wantM[i] = a.Beta1*wantM[i] + (1-a.Beta1)*gr
			wantV[i] = a.Beta2*wantV[i] + (1-a.Beta2)*gr*gr
			mHat := wantM[i] / (1 - math.Pow(a.Beta1, float64(step)))
			vHat := wantV[i] / (1 - math.Pow(a.Beta2, float64(step)))
			want[i] -= rate*a.WeightDecay*want[i] + rate*mHat/(math.Sqrt(vHat)+a.Eps)
			if math.Abs(p[i]-want[i]) > 1e-14 {
				t.Errorf("step %d, element %d: %v, expected %v", step, i, p[i], want[i])
			}
		}
	}
}

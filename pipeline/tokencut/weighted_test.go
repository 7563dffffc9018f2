package tokencut

import (
	"math"
	"testing"
)

// TestWeightedCutSolvesItsDefinition puts the vector and the value into
// (D-A)v = λDv, with A from the cosines as they are defined.
func TestWeightedCutSolvesItsDefinition(t *testing.T) {
	const rows, columns, width, tau = 9, 10, 4, 0.3 // more than one block of rows
	const n = rows * columns
	features := make([]float32, n*width)
	for i := range features {
		features[i] = float32(math.Sin(float64(i*i))) + 0.3
	}
	s, err := Cut(features, rows, columns, Options{Tau: tau, Weighted: true, Side: BorderSide})
	if err != nil {
		t.Fatal(err)
	}
	_, norms, err := normalise(features, n, width)
	if err != nil {
		t.Fatal(err)
	}
	worst, scale := 0.0, 0.0
	for i := range n {
		degree, sum := 0.0, 0.0
		for j := range n {
			a := 1e-5 + (1-1e-5)*max(0, cosine(features, norms, i, j, width)-tau)
			degree += a
			sum += a * s.Vector[j]
		}
		left, right := degree*s.Vector[i]-sum, s.Values[1]*degree*s.Vector[i]
		worst, scale = math.Max(worst, math.Abs(left-right)), math.Max(scale, math.Abs(right))
	}
	// the cosines are rounded to float32
	if !(worst <= 1e-5*scale) || s.Values[1] < 1e-3 {
		t.Errorf("(D-A)v and λDv are %.2g apart, λ = %v", worst/scale, s.Values[1])
	}
}

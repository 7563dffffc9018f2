package tokencut

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// newWeightedGraph links tokens whose cosine is above tau by how much it is.
// features is (n, width).
func newWeightedGraph(features []float32, n, width int, tau float64) (*graph, error) {
	unit, _, err := normalise(features, n, width)
	if err != nil {
		return nil, err
	}
	cosines := make([]float32, n*n) // those of a token with the ones before it
	const block = 64
	for first := 0; first < n; first += block {
		end := min(first+block, n)
		rows := blas32.General{Rows: end - first, Cols: width, Stride: width, Data: unit[first*width:]}
		columns := blas32.General{Rows: end, Cols: width, Stride: width, Data: unit}
		blas32.Gemm(blas.NoTrans, blas.Trans, 1, rows, columns, 0, blas32.General{Rows: end - first, Cols: end, Stride: n, Data: cosines[first*n:]})
	}
	g := &graph{n: n, weights: make([]float64, n*n), degree: make([]float64, n)}
	for i := range n {
		sum := 0.0
		for j := range n {
			// of two roundings of one cosine the same is taken on both sides
			w := max(0, float64(cosines[max(i, j)*n+min(i, j)])-tau)
			g.weights[i*n+j] = w
			sum += w
		}
		g.degree[i] = apart*float64(n) + (1-apart)*sum
	}
	return g, nil
}

// multiplyWeights writes B x to y for two vectors side by side, (n,2).
func (g *graph) multiplyWeights(y, x [][2]float64) {
	for i := range y {
		var a, b float64
		for j, w := range g.weights[i*g.n:][:g.n] {
			a += w * x[j][0]
			b += w * x[j][1]
		}
		y[i] = [2]float64{a, b}
	}
}

package metrics

import "math"

// Spearman is the correlation of two maps' ranks, equal values sharing the mean
// of theirs (scipy's spearmanr), by which the randomisation check compares maps
// (Adebayo et al. 2018, Sanity Checks for Saliency Maps; Quantus' MPRT). A map
// without range is similar to none: 0.
func Spearman(a, b []float32) float64 {
	if constant(a) || constant(b) {
		return 0
	}
	x, y := ranks(a), ranks(b)
	mean := float64(len(a)-1) / 2
	var xx, yy, xy float64
	for i := range x {
		dx, dy := x[i]-mean, y[i]-mean
		xx, yy, xy = xx+dx*dx, yy+dy*dy, xy+dx*dy
	}
	return xy / math.Sqrt(xx*yy)
}

// ranks numbers values from the largest down, from 0.
func ranks(values []float32) []float64 {
	order := Order(values)
	out := make([]float64, len(values))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for k := i; k < j; k++ {
			out[order[k]] = float64(i+j-1) / 2
		}
		i = j
	}
	return out
}

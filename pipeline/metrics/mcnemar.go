package metrics

import (
	"gonum.org/v1/gonum/stat/distuv"
)

// Agreement counts how two models do on the same pictures.
type Agreement struct {
	Both, OnlyFirst, OnlySecond, Neither int // are right
}

// Add counts a picture.
func (a *Agreement) Add(first, second bool) {
	switch {
	case first && second:
		a.Both++
	case first:
		a.OnlyFirst++
	case second:
		a.OnlySecond++
	default:
		a.Neither++
	}
}

// Difference is by how much the second's accuracy exceeds the first's, and its
// interval by the paired bootstrap: pictures are resampled with both answers.
func (a Agreement) Difference(seed uint64) (float64, Interval) {
	counts := []int{a.Both, a.OnlyFirst, a.OnlySecond, a.Neither}
	n := float64(a.Both + a.OnlyFirst + a.OnlySecond + a.Neither)
	difference := func(c []int) float64 { return float64(c[2]-c[1]) / n }
	return difference(counts), Outcomes(counts, seed, difference)
}

// McNemar tests whether two models are right equally often (McNemar 1947). The
// statistic is chi-squared with Edwards's correction, (|b-c|-1)^2/(b+c) of the
// pictures that only one is right on; p is exact and two-sided, of the binomial
// distribution with probability one half, as by statsmodels' mcnemar and
// scipy's binomtest.
func (a Agreement) McNemar() (statistic, p float64) {
	b, c := a.OnlyFirst, a.OnlySecond
	if b+c == 0 {
		return 0, 1
	}
	d := float64(max(b-c, c-b, 1) - 1)
	return d * d / float64(b+c), min(1, 2*distuv.Binomial{N: float64(b + c), P: 0.5}.CDF(float64(min(b, c))))
}

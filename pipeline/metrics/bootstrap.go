package metrics

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Resamples is from how many resamples of the pictures an interval is read.
const Resamples = 2000

// Interval holds 95 % of a statistic's resamples: the percentile bootstrap
// (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13).
type Interval struct {
	Low, High float64
}

// Percentiles is the interval between the 2.5th and the 97.5th percentile of
// resampled values, by linear interpolation as in numpy.percentile. NaN where
// there are none; values that are no numbers are left out.
func Percentiles(values []float64) Interval {
	sorted := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(sorted) == 0 {
		return Interval{math.NaN(), math.NaN()}
	}
	slices.Sort(sorted)
	at := func(share float64) float64 {
		place := share * float64(len(sorted)-1)
		low := int(place)
		high := min(low+1, len(sorted)-1)
		return sorted[low] + (place-float64(low))*(sorted[high]-sorted[low])
	}
	return Interval{at(0.025), at(0.975)}
}

// Outcomes is the interval of a statistic of how often each of several outcomes
// came about. Drawing n pictures with replacement makes their counts multinomial,
// so these are drawn, and no pictures: the same distribution at a cost that
// doesn't depend on n.
func Outcomes(counts []int, seed uint64, statistic func(counts []int) float64) Interval {
	random := rand.NewPCG(seed, 1)
	n := 0
	for _, c := range counts {
		n += c
	}
	values, drawn := make([]float64, Resamples), make([]int, len(counts))
	for r := range values {
		left, mass := n, n
		for i, c := range counts {
			drawn[i] = binomial(left, float64(c)/float64(max(mass, 1)), random)
			left, mass = left-drawn[i], mass-c
		}
		values[r] = statistic(drawn)
	}
	return Percentiles(values)
}

// binomial draws how many of n trials of probability p succeed.
func binomial(n int, p float64, random rand.Source) int {
	switch {
	case n == 0 || p <= 0:
		return 0
	case p >= 1:
		return n
	}
	return int(distuv.Binomial{N: float64(n), P: p, Src: random}.Rand())
}

// Resample calls f with n indices below n that are drawn with replacement,
// Resamples times, the same for the same seed.
func Resample(n int, seed uint64, f func(picks []int32)) {
	random := rand.NewPCG(seed, 2)
	picks := make([]int32, n)
	for range Resamples {
		for i := range picks {
			high, _ := bits.Mul64(random.Uint64(), uint64(n))
			picks[i] = int32(high)
		}
		f(picks)
	}
}

// Means are the intervals of the means of columns, which have a value for each
// picture and are resampled together. Values that are no numbers are left out.
func Means(columns [][]float64, seed uint64) []Interval {
	out, values := make([]Interval, len(columns)), make([][]float64, len(columns))
	if len(columns) == 0 {
		return out
	}
	Resample(len(columns[0]), seed, func(picks []int32) {
		for c, column := range columns {
			sum, n := 0.0, 0
			for _, p := range picks {
				if v := column[p]; v == v {
					sum += v
					n++
				}
			}
			values[c] = append(values[c], sum/float64(n))
		}
	})
	for c := range columns {
		out[c] = Percentiles(values[c])
	}
	return out
}

// Mean is the mean of those values that are numbers.
func Mean(values []float64) float64 {
	sum, n := 0.0, 0
	for _, v := range values {
		if v == v {
			sum += v
			n++
		}
	}
	return sum / float64(n)
}

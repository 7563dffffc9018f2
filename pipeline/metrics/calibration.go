package metrics

import "math"

// CalibrationBins is how many bins of equal width Calibration has.
const CalibrationBins = 15

// Bin holds the predictions whose confidence is above Low and at most High.
type Bin struct {
	Low, High  float64
	Count      int
	Confidence float64 // mean; 0 where there are none
	Accuracy   float64
}

// Calibrate compares the probabilities of predictions with how often they are
// right. The expected calibration error is the mean over predictions of their
// bin's |accuracy - confidence| (Guo et al. 2017, On Calibration of Modern Neural
// Networks). Confidences that are no numbers are left out.
func Calibrate(confidence []float64, right []bool) (ece, mean float64, bins []Bin) {
	bins = make([]Bin, CalibrationBins)
	for i := range bins {
		bins[i].Low, bins[i].High = float64(i)/CalibrationBins, float64(i+1)/CalibrationBins
	}
	n := 0
	for i, c := range confidence {
		if math.IsNaN(c) {
			continue
		}
		at := 0
		for at < len(bins)-1 && c > bins[at].High {
			at++
		}
		bins[at].Count++
		bins[at].Confidence += c
		if right[i] {
			bins[at].Accuracy++
		}
		mean += c
		n++
	}
	for i := range bins {
		b := &bins[i]
		if b.Count > 0 {
			ece += math.Abs(b.Accuracy-b.Confidence) / float64(n)
			b.Confidence /= float64(b.Count)
			b.Accuracy /= float64(b.Count)
		}
	}
	if n == 0 {
		return math.NaN(), math.NaN(), bins
	}
	return ece, mean / float64(n), bins
}

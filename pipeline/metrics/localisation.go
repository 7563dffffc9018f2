package metrics

import "math"

// ForegroundShare is the share of the relevance that lies on the foreground
// (relevance mass accuracy of Arras et al. 2022, CLEVR-XAI; Quantus'
// RelevanceMassAccuracy). NaN where the mask is empty or there is no relevance.
func ForegroundShare(relevance, mask []float32) float64 {
	sum, on, area := 0.0, 0.0, 0
	for i, v := range relevance {
		sum += float64(v)
		if mask[i] > 0.5 {
			on += float64(v)
			area++
		}
	}
	if area == 0 || sum == 0 {
		return math.NaN()
	}
	return on / sum
}

// RankAccuracy is the share of the K most relevant pixels that lie on the
// foreground, K being its size (relevance rank accuracy of Arras et al. 2022;
// Quantus' RelevanceRankAccuracy). Of equal pixels across the limit, whose order
// would be arbitrary, the expected share counts. NaN where the mask is empty.
func RankAccuracy(relevance, mask []float32, order []int32) float64 {
	k := area(mask)
	if k == 0 {
		return math.NaN()
	}
	last := relevance[order[k-1]]
	above, hits, ties, tiedHits := 0, 0, 0, 0
	for _, at := range order {
		inside := mask[at] > 0.5
		switch v := relevance[at]; {
		case v > last:
			above++
			if inside {
				hits++
			}
		case v == last:
			ties++
			if inside {
				tiedHits++
			}
		default:
			return (float64(hits) + float64(k-above)*float64(tiedHits)/float64(ties)) / float64(k)
		}
	}
	return (float64(hits) + float64(k-above)*float64(tiedHits)/float64(ties)) / float64(k)
}

// Pointing is 1 where the most relevant pixel lies on the foreground, else 0 (the
// pointing game of Zhang et al. 2018, Top-Down Neural Attention by Excitation
// Backprop, without its margin of 15 pixels, as Quantus' PointingGame). Of
// several maxima the share counts that lies there, where Quantus asks for one.
// NaN where the mask is empty.
func Pointing(relevance, mask []float32, order []int32) float64 {
	if area(mask) == 0 {
		return math.NaN()
	}
	hits, n := 0, 0
	for _, at := range order {
		if relevance[at] != relevance[order[0]] {
			break
		}
		n++
		if mask[at] > 0.5 {
			hits++
		}
	}
	return float64(hits) / float64(n)
}

// Sparseness is the Gini index of a map: 0 where all pixels are alike, near 1
// where one has it all (Chalasani et al. 2020, Concise Explanations of Neural
// Networks using Adversarial Training; Quantus' Sparseness, with its 1e-7 on
// every pixel).
func Sparseness(relevance []float32, order []int32) float64 {
	n := len(order)
	sum, weighted := 0.0, 0.0
	for place, at := range order { // from the largest down
		v := float64(relevance[at]) + 1e-7
		sum += v
		weighted += float64(n-1-2*place) * v
	}
	return weighted / (float64(n) * sum)
}

// area is how many pixels of a mask are foreground.
func area(mask []float32) int {
	n := 0
	for _, v := range mask {
		if v > 0.5 {
			n++
		}
	}
	return n
}

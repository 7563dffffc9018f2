package metrics

// Segmentation compares one relevance map with its mask, as the published
// evaluation on ImageNet-segmentation does (Chefer, Gur and Wolf 2021,
// Transformer Interpretability Beyond Attention Visualization:
// baselines/ViT/imagenet_seg_eval.py and utils/metrices.py). What exceeds the
// map's mean counts as foreground.
type Segmentation struct {
	Correct, Pixels     int    // as labelled
	Intersection, Union [2]int // of background, foreground
	AP                  float64
}

// Segment compares a map, whose Order is given, with a mask.
func Segment(relevance, mask []float32, order []int32) Segmentation {
	sum := 0.0
	for _, v := range relevance {
		sum += float64(v)
	}
	mean := sum / float64(len(relevance))
	s := Segmentation{Pixels: len(relevance)}
	for i, v := range relevance {
		found, labelled := 0, 0
		if float64(v) > mean {
			found = 1
		}
		if mask[i] > 0.5 {
			labelled = 1
		}
		if found == labelled {
			s.Correct++
			s.Intersection[found]++
			s.Union[found]++
			continue
		}
		s.Union[0]++
		s.Union[1]++
	}
	s.AP = averagePrecision(relevance, mask, order)
	return s
}

// averagePrecision is scikit-learn's average_precision_score of both classes'
// scores together, 1 - map for the background and map for the foreground, as
// get_ap_scores flattens them. A map without range has no scores there, so that
// all pixels are alike: one half.
func averagePrecision(relevance, mask []float32, order []int32) float64 {
	if constant(relevance) {
		return 0.5
	}
	n := len(order)
	ap, right, all := 0.0, 0, 0
	for i, j := 0, n-1; i < n || j >= 0; {
		threshold := float32(-1)
		if i < n {
			threshold = relevance[order[i]]
		}
		if j >= 0 {
			threshold = max(threshold, 1-relevance[order[j]])
		}
		before := right
		for ; i < n && relevance[order[i]] == threshold; i++ {
			all++
			if mask[order[i]] > 0.5 {
				right++
			}
		}
		for ; j >= 0 && 1-relevance[order[j]] == threshold; j-- {
			all++
			if mask[order[j]] <= 0.5 {
				right++
			}
		}
		ap += float64(right-before) / float64(n) * float64(right) / float64(all)
	}
	return ap
}

// Segmentations adds up the pixels of several pictures.
type Segmentations struct {
	Correct, Pixels     int
	Intersection, Union [2]int
	ap                  float64
	pictures            int
}

// Add adds a picture.
func (t *Segmentations) Add(s Segmentation) {
	t.Correct, t.Pixels = t.Correct+s.Correct, t.Pixels+s.Pixels
	for c := range 2 {
		t.Intersection[c], t.Union[c] = t.Intersection[c]+s.Intersection[c], t.Union[c]+s.Union[c]
	}
	t.ap, t.pictures = t.ap+s.AP, t.pictures+1
}

// PixelAccuracy is the share of all pictures' pixels that are as labelled.
func (t *Segmentations) PixelAccuracy() float64 { return float64(t.Correct) / float64(t.Pixels) }

// MeanIoU is the mean over background and foreground of the intersection over
// union of all pictures' pixels, 0 for a class that is nowhere.
func (t *Segmentations) MeanIoU() float64 {
	sum := 0.0
	for c := range 2 {
		sum += float64(t.Intersection[c]) / float64(max(t.Union[c], 1))
	}
	return sum / 2
}

// MeanAP is the mean over pictures of the average precision.
func (t *Segmentations) MeanAP() float64 { return t.ap / float64(t.pictures) }

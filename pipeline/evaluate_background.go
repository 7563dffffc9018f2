package pipeline

import (
	"math"
	"slices"

	"github.com/relevit/relevit/pipeline/background"
	"github.com/relevit/relevit/pipeline/benchmark"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/metrics"
	"github.com/relevit/relevit/pipeline/picture"
)

// The pictures that MeasureBackground makes of each.
const (
	replacedMean  = iota // the background, by its mean colour
	replacedBlur         // by itself, blurred
	replacedNoise        // by noise
	replacedOther        // by that of a picture of another class
	replacedSame         // by that of another picture of its class
	removedMean          // the object, by the background's mean colour
	removedBlur          // by the blurred background
	variants
)

// variantNames are those of the report, of the first kind and of the second.
var variantNames = [variants]string{"mean", "blur", "noise", "other", "same-class", "mean", "blur"}

// Background is how much a model's predictions rest on the background: how often
// it is right where that is replaced, and where there is nothing else. Pictures
// whose masks show no object, or nothing but one, are left out. Without labels,
// what a model says of the whole picture counts as right.
type Background struct {
	Images   int            `json:"images"`
	Original VariantScore   `json:"original"`
	Replaced []VariantScore `json:"replaced"` // the background
	Removed  []VariantScore `json:"removed"`  // the object
	// ObjectOnly is the mean of the noise and the other background, which alone leave
	// nothing of the own one, not its colours either; BackgroundOnly is that of
	// Removed, and Gap by how much more often the model is right by the object than by
	// the background.
	ObjectOnly     Estimate `json:"object_only"`
	BackgroundOnly Estimate `json:"background_only"`
	Gap            Estimate `json:"gap"`
	Mixed          *Mixed   `json:"mixed,omitempty"` // where classes have several pictures
}

// VariantScore is the accuracy on pictures that were changed in one way.
type VariantScore struct {
	With   string `json:"with"`
	Images int    `json:"images"`
	Right1 int    `json:"right1"`
	Top1   Number `json:"top1"`
	Low    Number `json:"low"` // of 95 % of bootstrap resamples
	High   Number `json:"high"`
}

// Estimate is a mean over pictures, with 95 % of its bootstrap resamples.
type Estimate struct {
	Value Number `json:"value"`
	Low   Number `json:"low"`
	High  Number `json:"high"`
}

// Mixed compares backgrounds of the own class with those of others, on the
// pictures that have both: the BG-gap of Xiao et al., "Noise or Signal: The Role
// of Image Backgrounds in Object Recognition" (ICLR 2021). Theirs draws the
// other background from all classes, the own one included.
type Mixed struct {
	Images int      `json:"images"`
	Same   Estimate `json:"same"`
	Other  Estimate `json:"other"`
	Gap    Estimate `json:"gap"` // Same less Other
}

// backgrounds makes the pictures of MeasureBackground and remembers which of
// them could be made.
type backgrounds struct {
	scenes *scenes
	made   [][variants]bool // of each sample; written before its batch is done
}

func newBackgrounds(set *benchmark.Set, seed uint64) *backgrounds {
	return &backgrounds{scenes: newScenes(set, seed), made: make([][variants]bool, len(set.Samples))}
}

// vary makes a sample's pictures, none where it has no mask or that is of no use.
func (b *backgrounds) vary(sample int, p *picture.RGB, m *picture.Gray, put func(int, *picture.RGB) error) error {
	if m == nil {
		return nil
	}
	cut, err := background.New(p, m, background.Edge)
	if err != nil {
		return nil
	}
	other, same := b.scenes.ofAnother(sample), b.scenes.ofItsClass(sample)
	for kind := range variants {
		var made *picture.RGB
		switch kind {
		case replacedMean:
			made = cut.MeanReplaced()
		case replacedBlur:
			made = cut.BlurReplaced()
		case replacedNoise:
			made = cut.NoiseReplaced(dataset.Random(b.scenes.seed, "noise", uint64(sample), 0))
		case replacedOther:
			made, err = cut.OtherReplaced(other)
		case replacedSame:
			made, err = cut.OtherReplaced(same)
		case removedMean:
			made = cut.MeanRemoved()
		case removedBlur:
			made = cut.BlurRemoved()
		}
		switch {
		case err != nil:
			return err
		case made == nil:
			continue
		}
		if err := put(kind, made); err != nil {
			return err
		}
		b.made[sample][kind] = true
	}
	return nil
}

// varied is whether a model was right about the pictures made of one: 1 or 0,
// and no number where one couldn't be made.
type varied struct {
	original float64
	right    [variants]float64
}

// predictVaried judges a model's predictions for the pictures made of a batch,
// whose own predictions are the last verdicts.
func (r *evaluating) predictVaried(c *contender, l *dataset.Loader, batch *dataset.Batch) error {
	if r.backgrounds == nil || !slices.Contains(batch.Replaced, false) {
		return nil
	}
	at := map[int]int{} // place in c.varied by sample
	for _, v := range c.verdicts[max(0, len(c.verdicts)-batch.Count):] {
		if r.backgrounds.made[v.sample] == [variants]bool{} || !slices.Contains(batch.Samples, v.sample) {
			continue
		}
		of := varied{original: 1} // without labels what the model says of the picture itself is right
		if !r.set.Unlabelled {
			of.original = score(v)
		}
		for kind := range of.right {
			of.right[kind] = math.NaN()
		}
		at[v.sample] = len(c.varied)
		c.varied = append(c.varied, of)
	}
	return c.predictor.Predict(l.Varied(batch, c.view), batch.Count*variants, func(i int, logits []float32) error {
		sample, kind := batch.Samples[i/variants], i%variants
		if !batch.Replaced[i/variants] && r.backgrounds.made[sample][kind] {
			c.varied[at[sample]].right[kind] = score(r.judgeChanged(c, sample, logits))
		}
		return nil
	})
}

// judgeChanged judges a prediction for a picture made of a sample, whose own has
// been judged: without labels it is right to say the same.
func (r *evaluating) judgeChanged(c *contender, sample int, logits []float32) verdict {
	if !r.set.Unlabelled {
		return r.judge(sample, logits)
	}
	v := judge(logits, []int{c.said(sample).predicted}, r.set.Among)
	v.sample = sample
	return v
}

// said is what a model said of a sample; its number is below zero where it wasn't
// asked.
func (c *contender) said(sample int) verdict {
	i, ok := slices.BinarySearchFunc(c.verdicts, sample, func(v verdict, sample int) int { return v.sample - sample })
	if !ok {
		return verdict{sample: -1}
	}
	return c.verdicts[i]
}

// score is 1 for a right prediction, and 0 for a wrong one.
func score(v verdict) float64 {
	if v.rank < 1 {
		return 1
	}
	return 0
}

// measuredBackground computes what varied pictures say of a model. Resamples are of
// pictures, each with all that was made of it.
func measuredBackground(of []varied, seed uint64) *Background {
	n := len(of)
	columns := make([][]float64, variants+1) // the last is the originals'
	for c := range columns {
		columns[c] = make([]float64, n)
	}
	add := func(value func(v varied) float64) int {
		column := make([]float64, n)
		for i, v := range of {
			column[i] = value(v)
		}
		columns = append(columns, column)
		return len(columns) - 1
	}
	for i, v := range of {
		for kind, right := range v.right {
			columns[kind][i] = right
		}
		columns[variants][i] = v.original
	}
	object := add(func(v varied) float64 { return metrics.Mean(v.right[replacedNoise : replacedOther+1]) })
	behind := add(func(v varied) float64 { return metrics.Mean(v.right[removedMean:]) })
	gap := add(func(v varied) float64 {
		return metrics.Mean(v.right[replacedNoise:replacedOther+1]) - metrics.Mean(v.right[removedMean:])
	})
	// A sum of what is no number is none.
	same := add(func(v varied) float64 { return v.right[replacedSame] + 0*v.right[replacedOther] })
	other := add(func(v varied) float64 { return v.right[replacedOther] + 0*v.right[replacedSame] })
	between := add(func(v varied) float64 { return v.right[replacedSame] - v.right[replacedOther] })
	intervals := metrics.Means(columns, seed)
	estimate := func(c int) Estimate {
		return Estimate{Number(metrics.Mean(columns[c])), Number(intervals[c].Low), Number(intervals[c].High)}
	}
	variant := func(c int, with string) VariantScore {
		e := estimate(c)
		s := VariantScore{With: with, Top1: e.Value, Low: e.Low, High: e.High}
		for _, right := range columns[c] {
			if right == right {
				s.Images++
				s.Right1 += int(right)
			}
		}
		return s
	}
	b := &Background{Images: n, Original: variant(variants, "original"), ObjectOnly: estimate(object), BackgroundOnly: estimate(behind), Gap: estimate(gap)}
	for kind := range variants {
		s := variant(kind, variantNames[kind])
		switch {
		case s.Images == 0: // such as pictures of classes that have just one
		case kind >= removedMean:
			b.Removed = append(b.Removed, s)
		default:
			b.Replaced = append(b.Replaced, s)
		}
	}
	if s := variant(same, ""); s.Images > 0 {
		b.Mixed = &Mixed{Images: s.Images, Same: estimate(same), Other: estimate(other), Gap: estimate(between)}
	}
	return b
}

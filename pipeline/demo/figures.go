package demo

import (
	"encoding/json"
	"math/rand/v2"
	"slices"

	"github.com/relevit/relevit/pipeline/report"
)

// Interval is a mean with the interval that holds 95 % of its bootstrap
// resamples: of the test pictures, and of the seeds where there are several.
type Interval struct{ Mean, Low, High float64 }

// MarshalJSON writes a mean and its interval.
func (v Interval) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"mean": v.Mean, "interval": [2]float64{v.Low, v.High}})
}

// Comparison is one figure on one set of test pictures, in [0,1].
type Comparison struct {
	Pictures string `json:"pictures"` // a set of test pictures
	Measure  string `json:"measure"`

	Before       Interval  `json:"before"`
	After        Interval  `json:"after"`         // finetuned with masks
	NoMasks      Interval  `json:"without_masks"` // finetuned on the class alone
	Change       Interval  `json:"change"`        // After - Before
	ByMasks      Interval  `json:"change_by_masks"`
	BySeed       []float64 `json:"after_by_seed"`
	NoMaskBySeed []float64 `json:"without_masks_by_seed"`
}

// measures are what is read off verdicts, in the order in which it is shown.
var measures = []struct {
	name string
	of   func(*verdicts) []float64
}{
	{"accuracy", func(v *verdicts) []float64 { return v.correct }},
	{"relevance on the foreground", func(v *verdicts) []float64 { return v.share }},
	{"IoU of mask and relevance", func(v *verdicts) []float64 { return v.iou }},
}

// compare sums up what was found on one set before finetuning and after it by
// each seed.
func compare(set, measure string, before []float64, after, plain [][]float64) Comparison {
	c := Comparison{Pictures: set, Measure: measure}
	first := repeat(before, len(after))
	c.Before = bootstrap([][]float64{before})
	c.After, c.NoMasks = bootstrap(after), bootstrap(plain)
	c.Change, c.ByMasks = bootstrap(differences(after, first)), bootstrap(differences(after, plain))
	for i := range after {
		c.BySeed, c.NoMaskBySeed = append(c.BySeed, mean(after[i])), append(c.NoMaskBySeed, mean(plain[i]))
	}
	return c
}

func repeat(v []float64, n int) [][]float64 {
	out := make([][]float64, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func differences(a, b [][]float64) [][]float64 {
	out := make([][]float64, len(a))
	for i := range a {
		out[i] = make([]float64, len(a[i]))
		for j := range a[i] {
			out[i][j] = a[i][j] - b[i][j]
		}
	}
	return out
}

// resamples is how many times the bootstrap draws.
const resamples = 1000

// bootstrap is the mean of values (seeds, pictures) with the interval that a
// new draw of both, with replacement, leaves it in 95 times of 100. The
// pictures are the same for all seeds and are drawn together.
func bootstrap(values [][]float64) Interval {
	rng := rand.New(rand.NewPCG(1, 0))
	means := make([]float64, resamples)
	seeds, pictures := len(values), len(values[0])
	drawn := make([]int, pictures)
	for r := range means {
		for i := range drawn {
			drawn[i] = rng.IntN(pictures)
		}
		for range seeds {
			of := values[rng.IntN(seeds)]
			sum := 0.0
			for _, i := range drawn {
				sum += of[i]
			}
			means[r] += sum / float64(pictures*seeds)
		}
	}
	slices.Sort(means)
	out := Interval{Low: means[resamples/40], High: means[resamples-1-resamples/40]}
	for _, v := range values {
		out.Mean += mean(v) / float64(seeds)
	}
	return out
}

func (v Interval) report() report.Interval { return report.Interval(v) }

package pipeline

import (
	"math"

	"github.com/relevit/relevit/pipeline/metrics"
)

// Interval is a 95 % interval by the percentile bootstrap over pictures.
type Interval struct {
	Low  Number `json:"low"`
	High Number `json:"high"`
}

// Intervals are those of a model's accuracies.
type Intervals struct {
	Top1 Interval `json:"top1"`
	Top5 Interval `json:"top5"`
}

// Calibration compares the probabilities of predictions with how often they are
// right.
type Calibration struct {
	ECE        Number `json:"ece"` // expected calibration error
	Confidence Number `json:"mean_confidence"`
	Bins       []Bin  `json:"bins"`
}

// Bin holds the predictions whose probability is above Low and at most High.
type Bin struct {
	Low        Number `json:"low"`
	High       Number `json:"high"`
	Count      int    `json:"count"`
	Confidence Number `json:"confidence"`
	Accuracy   Number `json:"accuracy"`
}

// Pair compares two models on the same pictures. Differences are the second's
// less the first's.
type Pair struct {
	First  string `json:"first"`
	Second string `json:"second"`

	Top1    *Difference `json:"top1,omitempty"`
	Top5    *Difference `json:"top5,omitempty"`
	McNemar *McNemar    `json:"mcnemar,omitempty"` // of top-1

	Relevance map[string]Difference `json:"relevance,omitempty"` // of RelevanceQuality's measures
}

// Difference has its interval by the paired bootstrap.
type Difference struct {
	Difference Number `json:"difference"`
	Low        Number `json:"low"`
	High       Number `json:"high"`
}

// McNemar counts on how many pictures which of two models is right, and tests
// whether they are equally good.
type McNemar struct {
	Both       int    `json:"both"`
	OnlyFirst  int    `json:"only_first"`
	OnlySecond int    `json:"only_second"`
	Neither    int    `json:"neither"`
	Statistic  Number `json:"statistic"` // chi-squared, with Edwards's correction
	P          Number `json:"p"`         // exact
}

func (v verdict) right(k int) bool { return v.rank < k }

// intervals are those of the accuracies.
func (r *evaluating) intervals(c *contender) *Intervals {
	if !r.opt.measures(MeasureAccuracy) {
		return nil
	}
	counts := make([]int, 3) // the largest logit is right, one of the next four is, none is
	for _, v := range c.verdicts {
		switch {
		case v.right(1):
			counts[0]++
		case v.right(5):
			counts[1]++
		default:
			counts[2]++
		}
	}
	n := float64(len(c.verdicts))
	of := func(statistic func(counts []int) float64) Interval {
		i := metrics.Outcomes(counts, r.opt.Seed, statistic)
		return Interval{Low: Number(i.Low), High: Number(i.High)}
	}
	return &Intervals{Top1: of(func(c []int) float64 { return float64(c[0]) / n }), Top5: of(func(c []int) float64 { return float64(c[0]+c[1]) / n })}
}

// calibration is that of the probabilities among the classes that predictions
// are restricted to.
func (r *evaluating) calibration(c *contender) *Calibration {
	if !r.opt.measures(MeasureAccuracy) {
		return nil
	}
	confidence, right := make([]float64, len(c.verdicts)), make([]bool, len(c.verdicts))
	for i, v := range c.verdicts {
		confidence[i], right[i] = v.probability, v.right(1)
	}
	ece, mean, bins := metrics.Calibrate(confidence, right)
	out := &Calibration{ECE: Number(ece), Confidence: Number(mean)}
	for _, b := range bins {
		out.Bins = append(out.Bins, Bin{Low: Number(b.Low), High: Number(b.High), Count: b.Count, Confidence: Number(b.Confidence), Accuracy: Number(b.Accuracy)})
	}
	return out
}

// pairs compares each model with each later one.
func (r *evaluating) pairs() (out []Pair) {
	for i, first := range r.contenders {
		for _, second := range r.contenders[i+1:] {
			p := Pair{First: first.path, Second: second.path}
			if r.opt.measures(MeasureAccuracy) {
				r.compareAccuracy(&p, first, second)
			}
			if r.opt.measures(MeasureRelevance) {
				p.Relevance = r.compareRelevance(first, second)
			}
			out = append(out, p)
		}
	}
	return out
}

func (r *evaluating) compareAccuracy(p *Pair, first, second *contender) {
	of := func(k int) (a metrics.Agreement, d *Difference) {
		for i, v := range first.verdicts {
			a.Add(v.right(k), second.verdicts[i].right(k))
		}
		v, i := a.Difference(r.opt.Seed)
		return a, &Difference{Number(v), Number(i.Low), Number(i.High)}
	}
	_, p.Top5 = of(5)
	a, d := of(1)
	p.Top1 = d
	statistic, exact := a.McNemar()
	p.McNemar = &McNemar{a.Both, a.OnlyFirst, a.OnlySecond, a.Neither, Number(statistic), Number(exact)}
}

// compareRelevance takes the pictures for which both models have a value.
func (r *evaluating) compareRelevance(first, second *contender) map[string]Difference {
	a, b := first.columns(), second.columns()
	for i := range a {
		for j := range a[i] {
			a[i][j] = b[i][j] - a[i][j]
		}
	}
	out := map[string]Difference{}
	intervals := metrics.Means(a, r.opt.Seed)
	for i, name := range Qualities() {
		if mean := metrics.Mean(a[i]); !math.IsNaN(mean) {
			out[name] = Difference{Number(mean), Number(intervals[i].Low), Number(intervals[i].High)}
		}
	}
	return out
}

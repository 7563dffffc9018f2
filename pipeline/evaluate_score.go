package pipeline

import (
	"math"
	"slices"

	"github.com/relevit/relevit/pipeline/benchmark"
)

// verdict is what a model said of one picture.
type verdict struct {
	sample      int // in the set's list
	predicted   int // the class with the largest logit, of those that predictions are restricted to
	probability float64
	rank        int // how many classes have larger logits than any that is right
}

// judge reads a prediction off logits (C).
func (r *evaluating) judge(sample int, logits []float32) verdict {
	var right []int
	if !r.set.Unlabelled {
		right = r.set.Classes[r.set.ClassOf[sample]].Targets
	}
	v := judge(logits, right, r.set.Among)
	v.sample = sample
	return v
}

// judge counts the classes among those given, nil for all, whose logits exceed
// those of every right class. The first of equal logits counts as the larger,
// and a prediction with logits that aren't numbers as wrong.
func judge(logits []float32, right, among []int) verdict {
	if among == nil {
		among = make([]int, len(logits))
		for i := range among {
			among[i] = i
		}
	}
	chosen := make([]float32, len(among))
	for i, class := range among {
		chosen[i] = logits[class]
	}
	at := top1(chosen)
	v := verdict{predicted: among[at], probability: probabilities(chosen)[at], rank: len(among)}
	if slices.ContainsFunc(chosen, func(x float32) bool { return math.IsNaN(float64(x)) }) {
		v.probability = math.NaN()
		return v
	}
	for i, class := range among {
		if !slices.Contains(right, class) {
			continue
		}
		above := 0
		for j, x := range chosen {
			if x > chosen[i] || x == chosen[i] && j < i {
				above++
			}
		}
		v.rank = min(v.rank, above)
	}
	return v
}

// Score counts how often a model is right.
type Score struct {
	Images int    `json:"images"`
	Right1 int    `json:"right1"` // the largest logit is that of a right class
	Right5 int    `json:"right5"` // one of the five largest is
	Top1   Number `json:"top1"`   // shares of Images
	Top5   Number `json:"top5"`
}

func (s *Score) add(v verdict) {
	s.Images++
	if v.rank < 1 {
		s.Right1++
	}
	if v.rank < 5 {
		s.Right5++
	}
	s.Top1, s.Top5 = Number(float64(s.Right1)/float64(s.Images)), Number(float64(s.Right5)/float64(s.Images))
}

// PartScore is the score on a part of a data set.
type PartScore struct {
	Part string `json:"part"`
	Score
}

// ClassScore is the score on one class.
type ClassScore struct {
	Class   string `json:"class"` // as the data set has it: a folder's name or a label
	Name    string `json:"name"`
	Targets []int  `json:"targets"` // the model's classes that it stands for
	Score
}

// scores counts verdicts: of all pictures, by part and by class. Classes of
// which no picture was evaluated are left out.
func scores(set *benchmark.Set, verdicts []verdict) (all Score, parts []PartScore, classes []ClassScore) {
	for _, p := range set.Parts {
		parts = append(parts, PartScore{Part: p})
	}
	for _, c := range set.Classes {
		classes = append(classes, ClassScore{Class: c.Name, Name: c.Title, Targets: c.Targets})
	}
	for _, v := range verdicts {
		all.add(v)
		classes[set.ClassOf[v.sample]].add(v)
		if p := set.Part(v.sample); p >= 0 {
			parts[p].add(v)
		}
	}
	return all, parts, slices.DeleteFunc(classes, func(c ClassScore) bool { return c.Images == 0 })
}

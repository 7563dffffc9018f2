package dataset

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
)

// Split says which samples are held out for validation.
type Split string

// The splits, named as in configurations.
const (
	SplitClasses  Split = "classes"  // the classes that are not trained on, as published
	SplitFraction Split = "fraction" // a random part of the samples
	SplitTail     Split = "tail"     // the last part of the samples in sorted order
	SplitNone     Split = "none"
)

// Plan selects training and validation samples.
type Plan struct {
	Seed              uint64
	Classes           int // how many classes to train on; 0: all
	Samples           int // how many images of each; 0: all
	Split             Split
	Fraction          float64 // held out, for SplitFraction and SplitTail
	ValidationSamples int     // of each held-out class, for SplitClasses; 0: all
}

// Partition applies a plan. Classes and images are drawn by the seed, each
// class on its own, so that adding one does not change another's images; a
// class with fewer images than asked for gives all. Samples without classes
// (flat folders) are all taken. Both lists are sorted by class and ID.
func (p Plan) Partition(samples []Sample) (train, validation []Sample, err error) {
	if len(samples) == 0 {
		return nil, nil, &Error{Kind: ErrEmpty, Found: "no samples to select from"}
	}
	samples = slices.Clone(samples)
	slices.SortStableFunc(samples, func(a, b Sample) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.ID, b.ID))
	})
	names := classNames(samples)
	if len(names) == 1 && names[0] == "" {
		if p.Split == SplitClasses {
			return nil, nil, &Error{Kind: ErrTooFew, Found: "validation on other classes, but the data has no classes", Advice: "use split: fraction or none"}
		}
		return p.hold(samples)
	}
	chosen, err := p.choose(names)
	if err != nil {
		return nil, nil, err
	}
	byClass := map[string][]Sample{}
	for _, s := range samples {
		byClass[s.Class] = append(byClass[s.Class], s)
	}
	for _, name := range names {
		if chosen[name] {
			train = append(train, p.draw(byClass[name], p.Samples)...)
		} else if p.Split == SplitClasses {
			validation = append(validation, p.draw(byClass[name], p.ValidationSamples)...)
		}
	}
	if p.Split == SplitClasses {
		return train, validation, nil
	}
	return p.hold(train)
}

// choose draws the classes to train on.
func (p Plan) choose(names []string) (map[string]bool, error) {
	want := p.Classes
	if want > len(names) {
		return nil, &Error{Kind: ErrTooFew, Found: fmt.Sprintf("%d classes asked for, the data has %d", want, len(names)),
			Advice: fmt.Sprintf("set classes to at most %d, or to 0 for all", len(names))}
	}
	if want == 0 {
		want = len(names)
	}
	if p.Split == SplitClasses && want == len(names) {
		return nil, &Error{Kind: ErrTooFew, Found: fmt.Sprintf("all %d classes are trained on, so none is left to validate on", want),
			Advice: "set classes lower, or use split: fraction or none"}
	}
	chosen := map[string]bool{}
	for _, i := range permutation(len(names), Random(p.Seed, "classes", 0, 0))[:want] {
		chosen[names[i]] = true
	}
	return chosen, nil
}

// draw picks n of one class's samples, or all for 0, in sorted order.
func (p Plan) draw(samples []Sample, n int) []Sample {
	if n == 0 || n >= len(samples) {
		return samples
	}
	h := fnv.New64a()
	h.Write([]byte(samples[0].Class))
	return take(samples, permutation(len(samples), Random(p.Seed, "samples", h.Sum64(), 0))[:n])
}

func take(samples []Sample, at []int) []Sample {
	slices.Sort(at)
	out := make([]Sample, len(at))
	for i, k := range at {
		out[i] = samples[k]
	}
	return out
}

// hold splits the samples themselves.
func (p Plan) hold(samples []Sample) (train, validation []Sample, err error) {
	n := len(samples)
	var order []int
	switch p.Split {
	case SplitNone, "":
		return samples, nil, nil
	case SplitFraction:
		order = permutation(n, Random(p.Seed, "validation", 0, 0))
	case SplitTail:
		order = make([]int, n)
		for i := range order {
			order[i] = i
		}
	default:
		return nil, nil, fmt.Errorf("data set: split %q is unknown: use classes, fraction, tail or none", p.Split)
	}
	if !(p.Fraction > 0 && p.Fraction < 1) {
		return nil, nil, fmt.Errorf("data set: the held-out fraction %v must lie between 0 and 1", p.Fraction)
	}
	if n < 2 {
		return nil, nil, &Error{Kind: ErrTooFew, Found: fmt.Sprintf("%d image cannot be split for validation", n), Advice: "add images, or use split: none"}
	}
	held := min(max(int(math.Round(float64(n)*p.Fraction)), 1), n-1)
	return take(samples, order[:n-held]), take(samples, order[n-held:]), nil
}

package dataset

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"testing"
)

// listed is a list of samples, each class with as many as its number plus two.
func listed(classes int) []Sample {
	var samples []Sample
	for c := range classes {
		for i := range c + 2 {
			class := fmt.Sprintf("c%02d", c)
			samples = append(samples, Sample{ID: fmt.Sprintf("%s/%02d", class, i), Class: class, Label: NoLabel})
		}
	}
	return samples
}

func ids(samples []Sample) (out []string) {
	for _, s := range samples {
		out = append(out, s.ID)
	}
	return out
}

func TestPublishedSplitTrainsOnSomeClassesAndValidatesOnTheOthers(t *testing.T) {
	p := Plan{Seed: 3, Classes: 5, Samples: 3, Split: SplitClasses, ValidationSamples: 1}
	train, validation, err := p.Partition(listed(12))
	if err != nil {
		t.Fatal(err)
	}
	perClass, held := map[string]int{}, map[string]int{}
	for _, s := range train {
		perClass[s.Class]++
	}
	for _, s := range validation {
		held[s.Class]++
	}
	if len(perClass) != 5 || len(held) != 7 || len(validation) != 7 {
		t.Errorf("%d training classes, %d validation classes with %d images", len(perClass), len(held), len(validation))
	}
	for c, n := range perClass {
		want := 3
		if c == "c00" {
			want = 2
		}
		if n != want || held[c] != 0 {
			t.Errorf("class %s: %d training, %d validation images", c, n, held[c])
		}
	}
}

func TestPartitionDependsOnSeedAloneNotOnOrder(t *testing.T) {
	samples := listed(9)
	reversed := make([]Sample, len(samples))
	for i, s := range samples {
		reversed[len(samples)-1-i] = s
	}
	for _, split := range []Split{SplitClasses, SplitFraction, SplitTail, SplitNone} {
		p := Plan{Seed: 11, Classes: 4, Samples: 2, Split: split, Fraction: 0.4, ValidationSamples: 1}
		train, validation, err := p.Partition(samples)
		if err != nil {
			t.Fatal(err)
		}
		train2, validation2, err := p.Partition(reversed)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(train, train2) || !reflect.DeepEqual(validation, validation2) {
			t.Errorf("%s: the order of the samples matters", split)
		}
		p.Seed = 12
		if other, _, _ := p.Partition(samples); reflect.DeepEqual(train, other) {
			t.Errorf("%s: the seed does not matter", split)
		}
	}
}

// The drawing is part of what a seed means: a run of an older version must be
// repeatable. The digest is of the IDs.
func TestPartitionNeverChangesFromVersionToVersion(t *testing.T) {
	p := Plan{Seed: 1, Classes: 6, Samples: 3, Split: SplitClasses, ValidationSamples: 1}
	train, validation, err := p.Partition(listed(20))
	if err != nil {
		t.Fatal(err)
	}
	h := fnv.New64a()
	fmt.Fprint(h, ids(train), ids(validation), permutation(10, Random(1, "order", 2, 3)))
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != "d0924a90646261e1" {
		t.Errorf("digest %s", got)
	}
}

func TestFractionsSplitEverySample(t *testing.T) {
	for _, split := range []Split{SplitFraction, SplitTail} {
		samples := listed(8)
		p := Plan{Seed: 5, Split: split, Fraction: 0.5}
		train, validation, err := p.Partition(samples)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, id := range append(ids(train), ids(validation)...) {
			seen[id] = true
		}
		if len(train) != len(samples)/2 || len(seen) != len(samples) {
			t.Errorf("%s: %d and %d of %d, %d distinct", split, len(train), len(validation), len(samples), len(seen))
		}
		if split == SplitTail && validation[len(validation)-1].ID != samples[len(samples)-1].ID {
			t.Errorf("the tail ends with %s", validation[len(validation)-1].ID)
		}
	}
	// Samples without classes are all used, whatever the plan says of classes.
	flat := []Sample{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	train, validation, err := Plan{Classes: 500, Samples: 1, Split: SplitFraction, Fraction: 0.01}.Partition(flat)
	if err != nil || len(train) != 2 || len(validation) != 1 {
		t.Errorf("flat: %d and %d (%v)", len(train), len(validation), err)
	}
}

func TestPlansThatDoNotFitSayWhatToSet(t *testing.T) {
	partition := func(p Plan, samples []Sample) error {
		_, _, err := p.Partition(samples)
		return err
	}
	fails(t, partition(Plan{Classes: 50}, listed(3)), ErrTooFew, "50 classes", "has 3", "at most 3")
	fails(t, partition(Plan{Split: SplitClasses}, listed(3)), ErrTooFew, "all 3 classes", "fraction")
	fails(t, partition(Plan{Split: SplitClasses}, []Sample{{ID: "a"}}), ErrTooFew, "no classes")
	fails(t, partition(Plan{Split: SplitFraction, Fraction: .5}, listed(1)[:1]), ErrTooFew, "1 image")
	fails(t, partition(Plan{}, nil), ErrEmpty)
	if partition(Plan{Split: SplitFraction, Fraction: 1}, listed(3)) == nil {
		t.Error("fraction 1 was accepted")
	}
	if partition(Plan{Split: "half"}, listed(3)) == nil {
		t.Error("an unknown split was accepted")
	}
}

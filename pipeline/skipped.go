package pipeline

import (
	"errors"
	"slices"
	"sync"

	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

// SkippedPicture is a picture that couldn't be read or decoded.
type SkippedPicture struct {
	Picture string `json:"picture"`
	Reason  string `json:"reason"`
}

// skips collects the pictures that a loader leaves out.
type skips struct {
	told func(path, why string) // of each; may be nil
	mu   sync.Mutex
	list []SkippedPicture
}

// add notes a picture.
func (s *skips) add(c dataset.Corrupt) {
	why := c.Err
	if e := (*picture.Error)(nil); errors.As(why, &e) {
		why = e.Err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.list, func(p SkippedPicture) bool { return p.Picture == c.Sample.ImagePath }) { // by an earlier process
		return
	}
	s.list = append(s.list, SkippedPicture{c.Sample.ImagePath, why.Error()})
	if s.told != nil {
		s.told(c.Sample.ImagePath, why.Error())
	}
}

// of lists those of some samples.
func (s *skips) of(samples []dataset.Sample) (list []SkippedPicture) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.list {
		if slices.ContainsFunc(samples, func(sample dataset.Sample) bool { return sample.ImagePath == p.Picture }) {
			list = append(list, p)
		}
	}
	return list
}

// sorted lists the pictures in the order of the samples; several goroutines
// come upon them.
func (s *skips) sorted(samples []dataset.Sample) []SkippedPicture {
	place := map[string]int{}
	for i, sample := range samples {
		place[sample.ImagePath] = i
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.list, func(a, b SkippedPicture) int { return place[a.Picture] - place[b.Picture] })
	return s.list
}

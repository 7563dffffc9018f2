//go:build bench

package pipeline

import (
	"slices"
	"time"
)

// rounds times jobs by turns, each beside the one that it is compared with, so
// that other work on the machine counts for both.
type rounds struct {
	b       *bench
	seconds map[string][]float64
	ratios  map[string][]float64
	newest  string // what was timed last
	warmed  bool
}

func newRounds(b *bench) *rounds {
	return &rounds{b: b, seconds: map[string][]float64{}, ratios: map[string][]float64{}}
}

// timed runs a job, and says how long it took.
func (r *rounds) timed(what string, f func() error) float64 {
	r.b.Helper()
	start := time.Now()
	if err := f(); err != nil {
		r.b.Fatal(err)
	}
	return r.took(what, time.Since(start).Seconds())
}

// took notes what a job took.
func (r *rounds) took(what string, seconds float64) float64 {
	r.seconds[what] = append(r.seconds[what], seconds)
	r.newest = what
	return seconds
}

// beside runs a job between two of another. Where that has just been run, it
// isn't run again before.
func (r *rounds) beside(base string, f func() error, what string, g func() error) {
	r.b.Helper()
	if r.newest != base {
		r.timed(base, f)
	}
	before := last(r.seconds[base])
	took := r.timed(what, g)
	after := r.timed(base, f)
	r.ratio(what+"/"+base, 2*took/(before+after))
}

func (r *rounds) ratio(name string, v float64) { r.ratios[name] = append(r.ratios[name], v) }

// divide notes how what was timed last of two jobs compares.
func (r *rounds) divide(what, by string) {
	r.ratio(what+"/"+by, last(r.seconds[what])/last(r.seconds[by]))
}

// warm forgets the first round.
func (r *rounds) warm() {
	if !r.warmed {
		r.warmed, r.newest = true, ""
		clear(r.seconds)
		clear(r.ratios)
	}
}

// report puts the medians into the job's result.
func (r *rounds) report() {
	for what, list := range r.seconds {
		r.b.r.Seconds[what] = median(list)
	}
	for what, list := range r.ratios {
		r.b.r.Ratio[what] = median(list)
	}
	r.b.r.PeakMB = peak(r.b.T)
}

func last[T any](v []T) T { return v[len(v)-1] }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

package tokencut

import (
	"fmt"
	"math"
)

// Sides of a split that can become the mask.
const (
	// SeedSide is the published rule: the component of the token with the
	// largest entry of the eigenvector.
	SeedSide = ""
	// BorderSide is the side that touches the picture's border less, and of it
	// the largest component. Supervised models have outlier tokens in the
	// corners, on which the published seed falls.
	BorderSide = "border"
)

// mostTokens keeps the graph within 128 MB.
const mostTokens = 1 << 15

// Options of Cut; the zero value is the published procedure.
type Options struct {
	Tau  float64 // cosine above which two tokens are neighbours; 0: 0.2
	Side string  // SeedSide or BorderSide
	// Weighted makes neighbours the nearer the more their cosine is above tau:
	// A is that excess, plus 1e-5. The split then depends less on tau.
	Weighted bool
}

// Split is a bipartition of N = rows*columns tokens, row by row.
type Split struct {
	Mask        []bool     // (N): the chosen connected component
	Bipartition []bool     // (N): the chosen side
	Vector      []float64  // (N): second eigenvector v with vᵀDv = 1, larger on the chosen side
	Values      [3]float64 // the smallest eigenvalues; the first is 0
	Gap         float64    // (third - second) / second eigenvalue; near 0 the vector is one of many
	Seed        int        // the token of Mask with the largest entry of Vector
}

// Cut splits tokens by the second smallest solution of (D-A)v = λDv. features
// is (rows*columns, width), row by row, of any length; A is 1 where the cosine
// of two tokens is above tau and 1e-5 elsewhere, D its row sums. The sides are
// the tokens above and below the mean of v; components have 4 neighbours.
func Cut(features []float32, rows, columns int, o Options) (*Split, error) {
	width, err := o.check(len(features), rows, columns)
	if err != nil {
		return nil, err
	}
	link := newGraph
	if o.Weighted {
		link = newWeightedGraph
	}
	g, err := link(features, rows*columns, width, o.Tau)
	if err != nil {
		return nil, err
	}
	s := new(Split)
	if s.Values, s.Vector, err = g.secondVector(); err != nil {
		return nil, err
	}
	s.Gap = max(0, (s.Values[2]-s.Values[1])/s.Values[1])
	if o.Side == BorderSide {
		s.takeBorderSide(rows, columns)
	} else {
		s.takeSeedSide(rows, columns)
	}
	return s, nil
}

// check fills in defaults and returns the features' width.
func (o *Options) check(features, rows, columns int) (width int, err error) {
	if o.Tau == 0 {
		o.Tau = 0.2
	}
	if rows < 1 || columns < 1 || rows > mostTokens || columns > mostTokens || rows*columns < 3 || rows*columns > mostTokens {
		return 0, fmt.Errorf("cannot cut a grid of %dx%d tokens: expected 3 to %d tokens", rows, columns, mostTokens)
	}
	switch n := rows * columns; {
	case features == 0 || features%n != 0:
		return 0, fmt.Errorf("cannot cut %d feature values: expected a multiple of %d, the tokens of a %dx%d grid",
			features, n, rows, columns)
	case !(math.Abs(o.Tau) < 1):
		return 0, fmt.Errorf("tau is %v, expected a cosine between -1 and 1", o.Tau)
	case o.Side != SeedSide && o.Side != BorderSide:
		return 0, fmt.Errorf("unknown side %q, expected %q or %q", o.Side, SeedSide, BorderSide)
	}
	return features / (rows * columns), nil
}

// takeSeedSide chooses the side and the component of the entry that is largest
// in magnitude.
func (s *Split) takeSeedSide(rows, columns int) {
	magnitude := make([]float64, len(s.Vector))
	for i, v := range s.Vector {
		magnitude[i] = math.Abs(v)
	}
	s.Seed = firstLargest(magnitude, nil)
	if s.Vector[s.Seed] < 0 {
		s.flip()
	}
	s.Bipartition = aboveMean(s.Vector)
	r := findRuns(s.Bipartition, true, rows, columns)
	s.Mask = r.paint(r.rootAt(s.Seed/columns, s.Seed%columns))
}

// takeBorderSide chooses the side with fewer tokens on the grid's border, of
// equals the smaller, of equals the one without the first corner, and its
// largest component.
func (s *Split) takeBorderSide(rows, columns int) {
	s.Bipartition = aboveMean(s.Vector)
	border, all := 0, 0 // tokens of this side, less those of the other
	for i, in := range s.Bipartition {
		vote := -1
		if in {
			vote = 1
		}
		all += vote
		if y, x := i/columns, i%columns; y == 0 || x == 0 || y == rows-1 || x == columns-1 {
			border += vote
		}
	}
	if border > 0 || border == 0 && (all > 0 || all == 0 && s.Bipartition[0]) {
		s.flip()
		s.Bipartition = aboveMean(s.Vector)
	}
	r := findRuns(s.Bipartition, true, rows, columns)
	s.Mask = r.paint(r.largest())
	s.Seed = firstLargest(s.Vector, s.Mask)
}

func (s *Split) flip() {
	for i := range s.Vector {
		s.Vector[i] = -s.Vector[i]
	}
}

// firstLargest is the first of the largest values, of those in mask unless it
// is nil. Equal up to rounding is equal: the tokens of a clique have one entry.
func firstLargest(v []float64, mask []bool) int {
	best := -1
	for i, x := range v {
		if (mask == nil || mask[i]) && (best < 0 || x > v[best]+1e-9*math.Abs(v[best])) {
			best = i
		}
	}
	return best
}

func aboveMean(v []float64) []bool {
	mean := 0.0
	for _, x := range v {
		mean += x
	}
	mean /= float64(len(v))
	above := make([]bool, len(v))
	for i, x := range v {
		above[i] = x > mean
	}
	return above
}

package pipeline

import (
	"math"
	"slices"

	"github.com/relevit/relevit/pipeline/picture"
	"github.com/relevit/relevit/pipeline/tokencut"
)

// defaultConfidence is what a mask's confidence is at least, by method;
// others keep all. An auto mask below it is a guess between an object and its
// surroundings.
var defaultConfidence = map[string]float64{MethodAuto: 0.05}

// tokenCutDrawer is the published procedure.
type tokenCutDrawer struct{ tau float64 }

func (d tokenCutDrawer) draw(_ sitter, p *picture.RGB, features [][]float32, grid [2]int) (*sketch, error) {
	cut, err := tokencut.Cut(sideBySide(features, grid), grid[0], grid[1], tokencut.Options{Tau: d.tau})
	if err != nil {
		return nil, err
	}
	coarse := tokencut.UpscaleNearest(cut.Mask, grid[0], grid[1], p.H, p.W)
	_, mask, flipped, err := tokencut.Refine(p.Pix, p.H, p.W, coarse, tokencut.SolverOptions{})
	if err != nil {
		return nil, err
	}
	s := &sketch{mask: mask, coarse: newGridMask(cut.Mask, grid[0], grid[1]), gap: cut.Gap, flipped: flipped}
	s.confidence = overlapOf(mask, coarse) * (1 - onBorder(cut.Mask, grid))
	return s, nil
}

// sideBySide joins features (P,D) of several blocks, each token at unit length,
// so that none outweighs the others; a single block's stay as they are.
func sideBySide(features [][]float32, grid [2]int) []float32 {
	if len(features) == 1 {
		return features[0]
	}
	patches, width := grid[0]*grid[1], 0
	for _, f := range features {
		width += len(f) / patches
	}
	out := make([]float32, 0, patches*width)
	for i := range patches {
		for _, f := range features {
			d := len(f) / patches
			token := f[i*d:][:d]
			sum := 0.0
			for _, v := range token {
				sum += float64(v) * float64(v)
			}
			scale := 1 / math.Max(math.Sqrt(sum), 1e-12)
			for _, v := range token {
				out = append(out, float32(float64(v)*scale))
			}
		}
	}
	return out
}

// autoDrawer cuts the tokens by keys and by values of the later blocks, and of
// the sides of both cuts takes the one on which the model's evidence lies and
// which touches the border less.
type autoDrawer struct {
	keys, values int // how many blocks of each
}

// The cosines above which tokens are neighbours, of keys and of values, and how
// a mask's share of the border counts beside its correlation with the
// evidence. Chosen on 25 of the 50 pets.
const (
	autoKeysTau   = 0.2
	autoValuesTau = 0.1
	autoBorder    = 0.5
)

// autoSolver refines more finely than published: the mask that comes in is
// smooth already. The spatial width grows with the picture.
func autoSolver(p *picture.RGB) tokencut.SolverOptions {
	return tokencut.SolverOptions{Spatial: max(1, math.Round(8*math.Sqrt(float64(p.W*p.H))/224)), Luma: 8, Chroma: 4}
}

// largestMargin is by how much correlation two masks can differ: confidence is
// the share of it by which the mask is ahead of the best one that shows
// something else.
const largestMargin = 2

// newAuto returns the drawer and what it wants of a model of so many blocks: to
// cut, keys of the last 5 of 12 and values of the last 6 of 12; as evidence the
// relevance of the predicted class or, without a classifier, the attention of
// the last 4.
func newAuto(depth int, classifies bool) (d drawer, cut, evidence []Feature) {
	last := func(kind string, twelfths int) (list []Feature) {
		n := max(1, (depth*twelfths+6)/12)
		for i := depth - n; i < depth; i++ {
			list = append(list, Feature{kind, i})
		}
		return list
	}
	keys, values := last(Keys, 5), last(Values, 6)
	if evidence = last(Attention, 4); classifies {
		evidence = []Feature{{Relevance, 0}}
	}
	return autoDrawer{keys: len(keys), values: len(values)}, append(keys, values...), evidence
}

// field is a cut's vector about its mean, above zero on the side taken.
type field struct {
	values []float64 // (P)
	mask   []bool    // (P): the largest component above zero
	gap    float64
	score  float64
}

func (d autoDrawer) draw(_ sitter, p *picture.RGB, features [][]float32, grid [2]int) (*sketch, error) {
	evidence := evidenceOf(features[d.keys+d.values:])
	var fields []field
	for _, c := range []struct {
		features [][]float32
		tau      float64
	}{{features[:d.keys], autoKeysTau}, {features[d.keys:][:d.values], autoValuesTau}} {
		cut, err := tokencut.Cut(sideBySide(c.features, grid), grid[0], grid[1], tokencut.Options{Tau: c.tau, Weighted: true, Side: tokencut.BorderSide})
		if err != nil {
			return nil, err
		}
		for _, sign := range []float64{1, -1} {
			fields = append(fields, newField(cut, sign, grid, evidence))
		}
	}
	best := slices.MaxFunc(fields, func(a, b field) int {
		switch {
		case a.score > b.score:
			return 1
		case a.score < b.score:
			return -1
		}
		return 0
	})
	margin := math.Inf(1)
	for _, f := range fields {
		if overlapOf(f.mask, best.mask) < 0.5 {
			margin = min(margin, best.score-f.score)
		}
	}
	s := &sketch{coarse: newGridMask(best.mask, grid[0], grid[1]), gap: best.gap, confidence: min(margin/largestMargin, 1)}
	smooth := tokencut.Largest(enlarge(best.values, grid, p.H, p.W), p.H, p.W)
	_, mask, flipped, err := tokencut.Refine(p.Pix, p.H, p.W, smooth, autoSolver(p))
	if err != nil {
		return nil, err
	}
	if s.mask = mask; flipped { // the solver has lost the object
		s.mask = smooth
	}
	return s, nil
}

func newField(cut *tokencut.Split, sign float64, grid [2]int, evidence []float64) field {
	f := field{values: make([]float64, len(cut.Vector)), gap: cut.Gap}
	mean := 0.0
	for _, v := range cut.Vector {
		mean += v
	}
	mean /= float64(len(cut.Vector))
	above := make([]bool, len(cut.Vector))
	for i, v := range cut.Vector {
		f.values[i] = sign * (v - mean)
		above[i] = f.values[i] > 0
	}
	f.mask = tokencut.Largest(above, grid[0], grid[1])
	inside := make([]float64, len(f.mask))
	for i, in := range f.mask {
		if in {
			inside[i] = 1
		}
	}
	f.score = correlation(inside, evidence) - autoBorder*onBorder(f.mask, grid)
	return f
}

// evidenceOf is where the model looks: the mean of maps (P), of which the root
// is taken and the highest twentieth cut off, so that the face doesn't outweigh
// the body.
func evidenceOf(maps [][]float32) []float64 {
	out := make([]float64, len(maps[0]))
	for _, m := range maps {
		for i, v := range m {
			out[i] += max(0, float64(v))
		}
	}
	for i, v := range out {
		out[i] = math.Sqrt(v)
	}
	sorted := slices.Sorted(slices.Values(out))
	top := sorted[len(sorted)*19/20]
	for i := range out {
		out[i] = min(out[i], top)
	}
	return out
}

// correlation is Pearson's; 0 where one of both is constant.
func correlation(x, y []float64) float64 {
	var mx, my float64
	for i := range x {
		mx, my = mx+x[i], my+y[i]
	}
	mx, my = mx/float64(len(x)), my/float64(len(y))
	var xx, xy, yy float64
	for i := range x {
		a, b := x[i]-mx, y[i]-my
		xx, xy, yy = xx+a*a, xy+a*b, yy+b*b
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}

// onBorder is the share of the grid's border that a mask touches.
func onBorder(mask []bool, grid [2]int) float64 {
	all, touched := 0, 0
	for i, in := range mask {
		if y, x := i/grid[1], i%grid[1]; y == 0 || x == 0 || y == grid[0]-1 || x == grid[1]-1 {
			all++
			if in {
				touched++
			}
		}
	}
	return float64(touched) / float64(all)
}

// enlarge interpolates values (P) bilinearly to h x w pixels and says where they
// are above zero.
func enlarge(values []float64, grid [2]int, h, w int) []bool {
	small := picture.NewGray(grid[1], grid[0])
	for i, v := range values {
		small.Pix[i] = float32(v)
	}
	large := small.Resize(w, h)
	out := make([]bool, h*w)
	for i, v := range large.Pix {
		out[i] = v > 0
	}
	return out
}

// relevanceDrawer takes where the relevance of the predicted class is above its
// mean.
type relevanceDrawer struct{}

func (relevanceDrawer) draw(_ sitter, p *picture.RGB, features [][]float32, grid [2]int) (*sketch, error) {
	mean, values := 0.0, make([]float64, len(features[0]))
	for _, v := range features[0] {
		mean += float64(v) / float64(len(values))
	}
	above := make([]bool, len(values))
	inside := make([]float64, len(values))
	relevance := make([]float64, len(values))
	for i, v := range features[0] {
		relevance[i] = float64(v)
		values[i] = relevance[i] - mean
		if above[i] = values[i] > 0; above[i] {
			inside[i] = 1
		}
	}
	s := &sketch{coarse: newGridMask(above, grid[0], grid[1]), gap: math.NaN(), mask: enlarge(values, grid, p.H, p.W)}
	if s.confidence = correlation(inside, relevance); s.confidence == 0 {
		s.none = "no relevance: the map is constant"
	}
	return s, nil
}

// overlapOf is the intersection over the union of two masks, 0 where both are
// empty.
func overlapOf(a, b []bool) float64 {
	both, either := 0, 0
	for i, in := range a {
		if in && b[i] {
			both++
		}
		if in || b[i] {
			either++
		}
	}
	if either == 0 {
		return 0
	}
	return float64(both) / float64(either)
}

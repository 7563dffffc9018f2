package pipeline

import (
	"math"
	"slices"

	"github.com/relevit/relevit/pipeline/picture"
	"github.com/relevit/relevit/pipeline/tokencut"
)

// DefaultConfidence is what a mask's confidence is at least, by method;
// others keep all. Chosen on 25 of the 50 pets, so that of the masks with an
// IoU below 0.3 fewer than 5 % stay.
var DefaultConfidence = map[string]float64{MethodAuto: 0.05}

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
	score  float64 // how well the mask fits the evidence
	clear  float64 // how clearly there are two sides, and the mask is all of one; 0 to 1
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
	smooth := tokencut.Largest(enlarge(best.values, grid, p.H, p.W), p.H, p.W)
	_, mask, flipped, err := tokencut.Refine(p.Pix, p.H, p.W, smooth, autoSolver(p))
	if err != nil {
		return nil, err
	}
	s := &sketch{mask: mask, coarse: newGridMask(best.mask, grid[0], grid[1]), gap: best.gap}
	s.confidence = min(max(0, best.score)*best.clear*overlapOf(mask, smooth)*contrast(evidence), 1)
	if flipped { // the solver has lost the object
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
	f.score = correlation(indicator(f.mask), evidence) - autoBorder*onBorder(f.mask, grid)
	apart := correlation(indicator(above), f.values) // its square is Otsu's share of variance between the sides
	f.clear = apart * apart * overlapOf(f.mask, above)
	return f
}

// indicator is 1 where a mask is true.
func indicator(mask []bool) []float64 {
	out := make([]float64, len(mask))
	for i, in := range mask {
		if in {
			out[i] = 1
		}
	}
	return out
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

// contrast is the standard deviation over the mean; 0 of nothing but zeros. A
// model that looks everywhere says nothing of an object.
func contrast(evidence []float64) float64 {
	mean, squares := 0.0, 0.0
	for _, v := range evidence {
		mean += v / float64(len(evidence))
		squares += v * v / float64(len(evidence))
	}
	if mean == 0 {
		return 0
	}
	return math.Sqrt(max(0, squares-mean*mean)) / mean
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
	relevance := make([]float64, len(values))
	for i, v := range features[0] {
		relevance[i] = float64(v)
		values[i] = relevance[i] - mean
		above[i] = values[i] > 0
	}
	s := &sketch{coarse: newGridMask(above, grid[0], grid[1]), gap: math.NaN(), mask: enlarge(values, grid, p.H, p.W)}
	if s.confidence = correlation(indicator(above), relevance); s.confidence == 0 {
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

package tokencut

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// denseAffinity is A by its definition, in float64.
func denseAffinity(features []float32, n int, tau float64) *mat.SymDense {
	width := len(features) / n
	unit := mat.NewDense(n, width, nil)
	for i := range n {
		for k := range width {
			unit.Set(i, k, float64(features[i*width+k]))
		}
		if length := mat.Norm(unit.RowView(i), 2); length > 0 {
			row := unit.RawRowView(i)
			for k := range row {
				row[k] /= length
			}
		}
	}
	a := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range i + 1 {
			a.SetSym(i, j, 1e-5)
			if mat.Dot(unit.RowView(i), unit.RowView(j)) > tau {
				a.SetSym(i, j, 1)
			}
		}
	}
	return a
}

// nearTau reports whether rounding decides if two tokens are connected: their
// similarity is within a float32 error of tau.
func nearTau(features []float32, n int, tau float64) bool {
	above, below := denseAffinity(features, n, tau+1e-6), denseAffinity(features, n, tau-1e-6)
	return !mat.Equal(above, below)
}

// denseCut solves the eigenproblem by a full decomposition.
func denseCut(t testing.TB, features []float32, n int, tau float64) (values [3]float64, vector []float64) {
	t.Helper()
	a := denseAffinity(features, n, tau)
	scale := make([]float64, n)
	for i := range n {
		for j := range n {
			scale[i] += a.At(i, j)
		}
		scale[i] = 1 / math.Sqrt(scale[i])
	}
	laplacian := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range i + 1 {
			v := -a.At(i, j) * scale[i] * scale[j]
			if i == j {
				v++
			}
			laplacian.SetSym(i, j, v)
		}
	}
	var e mat.EigenSym
	if !e.Factorize(laplacian, true) {
		t.Fatal("no convergence")
	}
	copy(values[:], e.Values(nil))
	var vectors mat.Dense
	e.VectorsTo(&vectors)
	vector = mat.Col(nil, 1, &vectors)
	for i := range vector {
		vector[i] *= scale[i]
	}
	return values, vector
}

// noise makes features without structure.
func noise(n, width int, seed uint64) []float32 {
	random := rand.New(rand.NewPCG(seed, 1))
	features := make([]float32, n*width)
	for i := range features {
		features[i] = float32(random.NormFloat64())
	}
	return features
}

// parted makes noise of which every third token lies to one side.
func parted(n, width int) []float32 {
	features := noise(n, width, 11)
	for i := range n {
		features[i*width] += 3
		if i%3 == 0 {
			features[i*width] -= 6
		}
	}
	return features
}

// tokens makes features of unit vectors: token i points along axis axes[i].
func tokens(width int, axes ...int) []float32 {
	features := make([]float32, len(axes)*width)
	for i, a := range axes {
		features[i*width+a] = float32(i%3 + 1)
	}
	return features
}

// arc makes n tokens along part of a circle, neighbours of the nearest only.
func arc(n int, angle float64) []float32 {
	var features []float32
	for i := range n {
		s, c := math.Sincos(angle * float64(i) / float64(n))
		features = append(features, float32(c), float32(s))
	}
	return features
}

// repeat is n times v.
func repeat(v, n int) []int {
	return slices.Repeat([]int{v}, n)
}

func TestEigenpairsEqualAFullDecomposition(t *testing.T) {
	distinct := make([]int, 40)
	for i := range distinct {
		distinct[i] = i
	}
	for _, c := range []struct {
		name          string
		features      []float32
		rows, columns int
		tau           float64
	}{
		{"scene", scene(14, 64, 1), 14, 14, 0.2},
		{"noisy scene", scene(14, 64, 3), 14, 14, 0.2},
		{"large scene", scene(20, 64, 2), 20, 20, 0.3},
		{"no structure", noise(150, 16, 1), 10, 15, 0.2},
		{"a chain, whose eigenvalues are close", arc(300, math.Pi), 15, 20, math.Cos(3.5 * math.Pi / 300)},
		{"a ring, whose second value is double", arc(300, 2*math.Pi), 15, 20, math.Cos(7 * math.Pi / 300)},
		{"two parts, and below them noise", parted(300, 16), 15, 20, 0.2},
		{"negative tau", noise(150, 16, 3), 10, 15, -0.3},
		{"three tokens", noise(3, 5, 4), 1, 3, 0.2},
		{"three tokens, two alike", tokens(2, 0, 0, 1), 3, 1, 0.2},
		{"four tokens", noise(4, 3, 5), 2, 2, 0.1},
		{"eleven tokens", noise(11, 8, 6), 11, 1, 0.2},
		{"all alike", tokens(2, repeat(1, 30)...), 5, 6, 0.2},
		{"none alike", tokens(40, distinct...), 5, 8, 0.2},
		{"two cliques", tokens(2, append(repeat(0, 20), repeat(1, 15)...)...), 5, 7, 0.2},
		{"three equal cliques", tokens(3, slices.Concat(repeat(0, 12), repeat(1, 12), repeat(2, 12))...), 6, 6, 0.2},
		{"a clique and one apart", tokens(2, append(repeat(0, 35), 1)...), 6, 6, 0.2},
		{"a clique and some apart", tokens(40, append(repeat(39, 100), 0, 1, 2, 3, 4, 5, 6, 7)...), 9, 12, 0.2},
		{"tokens of length zero", append(noise(30, 8, 7), make([]float32, 6*8)...), 6, 6, 0.2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Cut(c.features, c.rows, c.columns, Options{Tau: c.tau})
			if err != nil {
				t.Fatal(err)
			}
			n := c.rows * c.columns
			values, vector := denseCut(t, c.features, n, c.tau)
			for i, want := range values {
				if !(math.Abs(s.Values[i]-want) <= 1e-9) {
					t.Errorf("eigenvalues %v, expected %v", s.Values, values)
				}
			}
			a := denseAffinity(c.features, n, c.tau)
			if off := residual(a, s.Vector, s.Values[1]); !(off <= 1e-8) {
				t.Errorf("the vector is no eigenvector: (D-A)v - λDv is %.2g long", off)
			}
			if gap := (values[2] - values[1]) / values[1]; gap > 0.05 {
				if off := min(farthest(s.Vector, vector, 1), farthest(s.Vector, vector, -1)); off > 1e-6 {
					t.Errorf("eigenvector off by %.2g", off)
				}
				if math.Abs(s.Gap-gap) > 1e-4*gap {
					t.Errorf("gap %v, expected %v", s.Gap, gap)
				}
			}
		})
	}
}

// residual is the length of D^-½((D-A)v - λDv) for vᵀDv = 1, or infinite.
func residual(a *mat.SymDense, v []float64, lambda float64) float64 {
	n, norm, sum := len(v), 0.0, 0.0
	for i := range n {
		degree, product := 0.0, 0.0
		for j := range n {
			degree += a.At(i, j)
			product += a.At(i, j) * v[j]
		}
		r := degree*v[i] - product - lambda*degree*v[i]
		sum += r * r / degree
		norm += degree * v[i] * v[i]
	}
	if !(math.Abs(norm-1) < 1e-9) {
		return math.Inf(1)
	}
	return math.Sqrt(sum)
}

func TestNeighboursEqualTheExactCosines(t *testing.T) {
	// Cosines of 3/5 exactly, and a float32 step to either side of it.
	up, down := math.Nextafter32(3, 4), math.Nextafter32(3, 2)
	features := []float32{1, 0, 3, 4, up, 4, down, 4, -3, 4, 6e30, 8e30, 3e-6, 4e-6}
	for _, tau := range []float64{0.6, 0.2, -0.6, 0.99} {
		g, err := newGraph(features, 7, 2, tau)
		if err != nil {
			t.Fatal(err)
		}
		want := denseAffinity(features, 7, tau)
		for i := range 7 {
			for j := range 7 {
				if near := g.near[j/8*7+i]>>(j%8)&1 == 1; near != (want.At(i, j) == 1) {
					t.Errorf("tau %v: tokens %d and %d are neighbours: %v", tau, i, j, near)
				}
			}
		}
	}
}

// blocks makes features from a drawing: equal letters are equal tokens.
func blocks(drawing string) (features []float32, rows, columns int) {
	lines := strings.Fields(drawing)
	var axes []int
	for _, line := range lines {
		for _, letter := range line {
			axes = append(axes, int(letter-'a'))
		}
	}
	return tokens(26, axes...), len(lines), len(lines[0])
}

func draw(mask []bool, columns int) string {
	var b strings.Builder
	for i, in := range mask {
		if i > 0 && i%columns == 0 {
			b.WriteByte(' ')
		}
		b.WriteByte(".#"[map[bool]int{true: 1}[in]])
	}
	return b.String()
}

func TestTheSideIsChosenByTheSeedOrByTheBorder(t *testing.T) {
	for _, c := range []struct {
		name, tokens, side, bipartition, mask string
		seed                                  int
	}{
		{"the smaller part has the larger entries", "aaaa abba aaaa", SeedSide,
			".... .##. ....", ".... .##. ....", 5},
		{"only the seed's component, and diagonals part", "baaa abaa aaab", SeedSide,
			"#... .#.. ...#", "#... .... ....", 0},
		{"an object amid the ground", "bbbbb baaab baaab bbbbb", SeedSide,
			"..... .###. .###. .....", "..... .###. .###. .....", 6},
		{"the seed on a frame that is smaller than the object", "bbbbbbb baaaaaa baaaaaa baaaaaa", SeedSide,
			"####### #...... #...... #......", "####### #...... #...... #......", 0},
		{"the border votes for the inside", "bbbbbb baaaab baaaab baaaab baaaab bbbbbb", BorderSide,
			"...... .####. .####. .####. .####. ......", "...... .####. .####. .####. .####. ......", 7},
		{"the largest component of the inside", "bbbbbbb bababab bababaa bbbbbbb", BorderSide,
			"....... .#.#.#. .#.#.## .......", "....... .....#. .....## .......", 12},
		{"at a tie the smaller side", "aaab aaab", BorderSide, "...# ...#", "...# ...#", 3},
	} {
		features, rows, columns := blocks(c.tokens)
		s, err := Cut(features, rows, columns, Options{Side: c.side})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := draw(s.Bipartition, columns); got != c.bipartition {
			t.Errorf("%s: bipartition %s, expected %s", c.name, got, c.bipartition)
		}
		if got := draw(s.Mask, columns); got != c.mask || s.Seed != c.seed {
			t.Errorf("%s: mask %s from %d, expected %s from %d", c.name, got, s.Seed, c.mask, c.seed)
		}
	}
}

func TestTheSignOfTheEigenvectorChangesNothing(t *testing.T) {
	for _, v := range [][]float64{
		{-1, -1, -1, 3, -1, -1, -1, 3},
		{3, -1, -1, -1, 3, -1, -1, -1},
		{-0.5, -0.5, 1, 1, -2, 1, -0.5, 1.5},
	} {
		for _, take := range []func(*Split, int, int){(*Split).takeSeedSide, (*Split).takeBorderSide} {
			a, b := &Split{Vector: slices.Clone(v)}, &Split{Vector: slices.Clone(v)}
			b.flip()
			take(a, 2, 4)
			take(b, 2, 4)
			if !slices.Equal(a.Vector, b.Vector) || !slices.Equal(a.Mask, b.Mask) || a.Seed != b.Seed {
				t.Errorf("%v: mask %s from %d, negated %s from %d", v, draw(a.Mask, 4), a.Seed, draw(b.Mask, 4), b.Seed)
			}
		}
	}
}

func TestEqualFeaturesGiveEqualBits(t *testing.T) {
	features := noise(400, 32, 9)
	first, err := Cut(features, 20, 20, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s, err := Cut(features, 20, 20, Options{})
		if err != nil || !slices.Equal(s.Vector, first.Vector) || s.Values != first.Values {
			t.Fatalf("another result (%v)", err)
		}
	}
}

func TestCutRefusesWhatHasNoSplit(t *testing.T) {
	spoilt := func(v float64) []float32 {
		f := noise(12, 4, 1)
		f[22] = float32(v)
		return f
	}
	for _, c := range []struct {
		features      []float32
		rows, columns int
		o             Options
		want          string
	}{
		{noise(12, 4, 1), 5, 3, Options{}, "cannot cut 48 feature values: expected a multiple of 15, the tokens of a 5x3 grid"},
		{nil, 3, 4, Options{}, "cannot cut 0 feature values: expected a multiple of 12, the tokens of a 3x4 grid"},
		{noise(2, 4, 1), 1, 2, Options{}, "cannot cut a grid of 1x2 tokens: expected 3 to 32768 tokens"},
		{noise(12, 4, 1), -3, -4, Options{}, "cannot cut a grid of -3x-4 tokens: expected 3 to 32768 tokens"},
		{noise(12, 4, 1), 1 << 62, 4, Options{}, "cannot cut a grid of 4611686018427387904x4 tokens: expected 3 to 32768 tokens"},
		{spoilt(math.NaN()), 3, 4, Options{}, "cannot cut: the features of token 5 are not finite"},
		{spoilt(math.Inf(-1)), 3, 4, Options{}, "cannot cut: the features of token 5 are not finite"},
		{noise(12, 4, 1), 3, 4, Options{Tau: 1}, "tau is 1, expected a cosine between -1 and 1"},
		{noise(12, 4, 1), 3, 4, Options{Tau: math.NaN()}, "tau is NaN, expected a cosine between -1 and 1"},
		{noise(12, 4, 1), 3, 4, Options{Side: "left"}, `unknown side "left", expected "" or "border"`},
	} {
		if _, err := Cut(c.features, c.rows, c.columns, c.o); err == nil || err.Error() != c.want {
			t.Errorf("error %v, expected %s", err, c.want)
		}
	}
}

// FuzzCut takes grids of any shape with features of few different values, so
// that equal, opposite and zero tokens are common.
func FuzzCut(f *testing.F) {
	f.Add(uint8(3), uint8(1), 0.2, false, []byte{1, 2, 3, 4, 5, 6})
	f.Add(uint8(4), uint8(5), 0.5, true, []byte("tokens of a grid, row by row, four by five."))
	f.Add(uint8(2), uint8(2), -0.9, true, make([]byte, 12))
	f.Fuzz(func(t *testing.T, rows, columns uint8, tau float64, border bool, values []byte) {
		n := int(rows) * int(columns)
		if n == 0 || n > 150 || len(values) < n {
			return
		}
		features := make([]float32, len(values)/n*n)
		for i := range features {
			features[i] = float32(int8(values[i]) / 16)
		}
		o := Options{Tau: tau}
		if border {
			o.Side = BorderSide
		}
		s, err := Cut(features, int(rows), int(columns), o)
		if err != nil {
			if n >= 3 && math.Abs(tau) < 1 {
				t.Fatal(err)
			}
			return
		}
		if o.Tau == 0 {
			o.Tau = 0.2
		}
		if nearTau(features, n, o.Tau) {
			return
		}
		want, _ := denseCut(t, features, n, o.Tau)
		for i, v := range s.Values {
			if !(math.Abs(v-want[i]) < 1e-6) {
				t.Fatalf("eigenvalues %v, expected %v", s.Values, want)
			}
		}
		if !s.Mask[s.Seed] || !(s.Gap >= 0) {
			t.Fatalf("seed %d is outside of its mask, or the gap %v is none", s.Seed, s.Gap)
		}
		for i, in := range s.Mask {
			if in && !s.Bipartition[i] {
				t.Fatalf("token %d is in the mask but not on its side", i)
			}
		}
	})
}

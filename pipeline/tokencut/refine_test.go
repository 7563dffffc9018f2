package tokencut

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// denseSolver follows the paper's definitions with full matrices: the picture's
// bilateral grid, bistochastised, and the preconditioned conjugate gradients.
func denseSolver(rgb []uint8, coarse []bool, w int, o SolverOptions) []float64 {
	type place [5]int
	index := map[place]int{}
	var places []place
	var vertexOf []int
	for i := range coarse {
		r, g, b := float64(rgb[3*i]), float64(rgb[3*i+1]), float64(rgb[3*i+2])
		cell := func(v, size float64) int { return int(v/size + 1e-9) } // on an edge: the upper cell
		p := place{cell(float64(i%w), o.Spatial), cell(float64(i/w), o.Spatial),
			cell(0.299*r+0.587*g+0.114*b, o.Luma),
			cell(128-0.168736*r-0.331264*g+0.5*b, o.Chroma),
			cell(128+0.5*r-0.418688*g-0.081312*b, o.Chroma)}
		if _, seen := index[p]; !seen {
			index[p] = len(places)
			places = append(places, p)
		}
		vertexOf = append(vertexOf, index[p])
	}
	size := len(places)
	blur := mat.NewDense(size, size, nil)
	for i, p := range places {
		for j, q := range places {
			distance := 0
			for axis := range p {
				distance += max(p[axis]-q[axis], q[axis]-p[axis])
			}
			if distance == 0 {
				blur.Set(i, j, 10)
			} else if distance == 1 {
				blur.Set(i, j, 1)
			}
		}
	}
	counts, target := make([]float64, size), mat.NewVecDense(size, nil)
	for i, v := range vertexOf {
		counts[v]++
		if coarse[i] {
			target.SetVec(v, target.AtVec(v)+0.999)
		}
	}
	n, blurred := mat.NewVecDense(size, nil), mat.NewVecDense(size, nil)
	for v := range size {
		n.SetVec(v, 1)
	}
	for range 10 {
		blurred.MulVec(blur, n)
		for v := range size {
			n.SetVec(v, math.Sqrt(n.AtVec(v)*counts[v]/blurred.AtVec(v)))
		}
	}
	blurred.MulVec(blur, n)
	a := mat.NewDense(size, size, nil)
	for i := range size {
		for j := range size {
			a.Set(i, j, -o.Lambda*n.AtVec(i)*blur.At(i, j)*n.AtVec(j))
		}
		a.Set(i, i, a.At(i, i)+o.Lambda*n.AtVec(i)*blurred.AtVec(i)+0.999*counts[i])
	}

	y, r, z, p, q := mat.NewVecDense(size, nil), mat.NewVecDense(size, nil), mat.NewVecDense(size, nil),
		mat.NewVecDense(size, nil), mat.NewVecDense(size, nil)
	for v := range size {
		y.SetVec(v, target.AtVec(v)/(0.999*counts[v]))
	}
	r.MulVec(a, y)
	r.SubVec(target, r)
	before := 1.0
	for range o.Steps {
		if mat.Norm(r, 2) <= 1e-5*mat.Norm(target, 2) {
			break
		}
		for v := range size {
			z.SetVec(v, r.AtVec(v)/max(a.At(v, v), 1e-5))
		}
		now := mat.Dot(r, z)
		p.AddScaledVec(z, now/before, p)
		q.MulVec(a, p)
		y.AddScaledVec(y, now/mat.Dot(p, q), p)
		r.AddScaledVec(r, -now/mat.Dot(p, q), q)
		before = now
	}
	soft := make([]float64, len(coarse))
	for i, v := range vertexOf {
		soft[i] = min(max(y.AtVec(v), 0), 1)
	}
	return soft
}

// patches makes a picture (h,w,3) of coloured patches with some noise, and a
// coarse mask of it.
func patches(h, w int, spread float64) (rgb []uint8, coarse []bool) {
	random := rand.New(rand.NewPCG(uint64(h), uint64(w)))
	for i := range h * w {
		y, x := i/w, i%w
		for c := range 3 {
			v := 40 + float64((y/9*5+x/7*3+c*4)%8)*22 + spread*random.NormFloat64()
			rgb = append(rgb, uint8(min(max(v, 0), 255)))
		}
		coarse = append(coarse, y > h/4 && x > w/3 && y < 3*h/4)
	}
	return rgb, coarse
}

func TestSolverEqualsItsDefinition(t *testing.T) {
	for _, c := range []struct {
		h, w   int
		spread float64
		o      SolverOptions
	}{
		{23, 37, 6, SolverOptions{}},
		{48, 32, 6, SolverOptions{}},
		{40, 40, 0, SolverOptions{}},
		{17, 16, 30, SolverOptions{}},
		{31, 29, 5, SolverOptions{Spatial: 5.5, Luma: 7.3, Chroma: 20, Lambda: 4, Steps: 60}},
		{20, 33, 9, SolverOptions{Spatial: 1e6, Luma: 300, Chroma: 2, Lambda: 64, Steps: 3}},
		{12, 15, 20, SolverOptions{Spatial: 1, Luma: 1, Chroma: 1}},
		{24, 24, 1e6, SolverOptions{Spatial: 1, Luma: 255, Chroma: 128}}, // cells at both ends of each axis
		{24, 24, 1e6, SolverOptions{Spatial: 2, Luma: 64, Chroma: 85}},
		{1, 60, 10, SolverOptions{}},
		{60, 1, 10, SolverOptions{}},
		{1, 1, 0, SolverOptions{}},
	} {
		rgb, coarse := patches(c.h, c.w, c.spread)
		soft, _, _, err := Refine(rgb, c.h, c.w, coarse, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.o.check(); err != nil {
			t.Fatal(err)
		}
		for i, want := range denseSolver(rgb, coarse, c.w, c.o) {
			if !(math.Abs(float64(soft[i])-want) <= 1e-7) { // half of float32's step, and some
				t.Errorf("%dx%d %+v: pixel %d is %v, expected %v", c.h, c.w, c.o, i, soft[i], want)
				break
			}
		}
	}
}

func TestGreysFallIntoOneCellOfChroma(t *testing.T) {
	for level := range 256 {
		if _, u, v := yuv(uint8(level), uint8(level), uint8(level)); u != 128e6 || v != 128e6 {
			t.Errorf("grey %d has chroma %v, %v", level, u, v)
		}
	}
}

func TestRefineFindsTheEdges(t *testing.T) {
	const h, w = 96, 112
	rgb, coarse, object := make([]uint8, h*w*3), make([]bool, h*w), make([]bool, h*w)
	for i := range h * w {
		y, x := i/w, i%w
		object[i] = y >= 21 && y < 70 && x >= 37 && x < 90
		coarse[i] = y >= 16 && y < 64 && x >= 32 && x < 80
		colour := [3]uint8{60, 90, 60}
		if object[i] {
			colour = [3]uint8{200, 120, 40}
		}
		copy(rgb[3*i:], colour[:])
	}
	_, mask, flipped, err := Refine(rgb, h, w, coarse, SolverOptions{})
	if err != nil || flipped {
		t.Fatalf("inverted: %v, error %v", flipped, err)
	}
	if n := differences(mask, object); n != 0 {
		t.Errorf("%d pixels differ from the object, %d did before", n, differences(coarse, object))
	}
}

// Where the solver says nothing of the picture, its answer is the coarse mask.
func TestTheSmallestPicturesAreRefined(t *testing.T) {
	for _, c := range []struct {
		name    string
		h, w    int
		rgb     []uint8
		coarse  []bool
		mask    []bool
		flipped bool
	}{
		{"one pixel of an object", 1, 1, []uint8{9, 9, 9}, []bool{true}, []bool{true}, false},
		// Nothing is above 0.5, so everything is the mask, and that overlaps too little.
		{"one pixel of ground", 1, 1, []uint8{9, 9, 9}, []bool{false}, []bool{false}, true},
		{"two unlike pixels", 1, 2, []uint8{0, 0, 0, 255, 255, 255}, []bool{false, true}, []bool{false, true}, false},
		{"three unlike pixels, upright", 3, 1, []uint8{0, 0, 0, 255, 255, 255, 0, 0, 255}, []bool{false, true, true},
			[]bool{false, true, true}, false},
	} {
		soft, mask, flipped, err := Refine(c.rgb, c.h, c.w, c.coarse, SolverOptions{})
		if err != nil || !slices.Equal(mask, c.mask) || flipped != c.flipped {
			t.Errorf("%s: mask %v, inverted %v, error %v", c.name, mask, flipped, err)
		}
		for i, in := range c.coarse {
			if in != (soft[i] > 0.5) {
				t.Errorf("%s: soft is %v", c.name, soft)
			}
		}
	}
}

func TestTheMaskIsThePrincipalPartOrItsInverse(t *testing.T) {
	// Without smoothing to speak of, soft is the coarse mask.
	o := SolverOptions{Spatial: 1, Lambda: 1e-6}
	for _, c := range []struct {
		name, coarse, mask string
		flipped            bool
	}{
		{"holes are filled", "..... .###. .#.#. .###. .....", "..... .###. .###. .###. .....", false},
		{"the largest part stays", "##... ##..# ##..# ..... .....", "##... ##... ##... ..... .....", false},
		{"too small a part is inverted", "#.#.# ..... #.#.# ..... #.#.#", ".#### ##### ##### ##### #####", true},
	} {
		var coarse []bool
		for _, letter := range c.coarse {
			if letter != ' ' {
				coarse = append(coarse, letter == '#')
			}
		}
		_, mask, flipped, err := Refine(make([]uint8, 75), 5, 5, coarse, o)
		if got := draw(mask, 5); err != nil || got != c.mask || flipped != c.flipped {
			t.Errorf("%s: mask %s, inverted %v, error %v; expected %s", c.name, got, flipped, err, c.mask)
		}
	}
}

func TestRefineRefusesWhatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		rgb, h, w, coarse int
		o                 SolverOptions
		want              string
	}{
		{35, 3, 4, 12, SolverOptions{}, "cannot refine a mask of 12 pixels on a picture of 35 values: expected 12 and 36 for 3x4"},
		{36, 3, 4, 11, SolverOptions{}, "cannot refine a mask of 11 pixels on a picture of 36 values: expected 12 and 36 for 3x4"},
		{0, 0, 4, 0, SolverOptions{}, "cannot refine a mask of 0x4 pixels: expected 1 to 65535 a side"},
		{0, -3, -4, 12, SolverOptions{}, "cannot refine a mask of -3x-4 pixels: expected 1 to 65535 a side"},
		{36, 3, 4, 12, SolverOptions{Luma: 0.5}, "the solver's luma is 0.5, expected 1 to 1e9"},
		{36, 3, 4, 12, SolverOptions{Spatial: math.NaN()}, "the solver's spatial is NaN, expected 1 to 1e9"},
		{36, 3, 4, 12, SolverOptions{Chroma: math.Inf(1)}, "the solver's chroma is +Inf, expected 1 to 1e9"},
		{36, 3, 4, 12, SolverOptions{Lambda: -1}, "the solver's lambda is -1, expected 1e-06 to 1e9"},
		{36, 3, 4, 12, SolverOptions{Steps: -1}, "the solver's steps are -1, expected at least 1"},
	} {
		_, _, _, err := Refine(make([]uint8, c.rgb), c.h, c.w, make([]bool, c.coarse), c.o)
		if err == nil || err.Error() != c.want {
			t.Errorf("error %v, expected %s", err, c.want)
		}
	}
}

// FuzzRefine takes pictures of any shape, whose bytes hold colours and the
// coarse mask, and any options.
func FuzzRefine(f *testing.F) {
	f.Add(uint8(1), uint8(1), 0.0, 0.0, 0.0, 0.0, []byte{1, 2, 3, 1})
	f.Add(uint8(3), uint8(2), 1.0, 1.0, 1.0, 1e9, []byte("three by two pixels of text"))
	f.Add(uint8(5), uint8(4), 2.5, 300.0, 7.0, 1e-6, make([]byte, 80))
	f.Fuzz(func(t *testing.T, h8, w8 uint8, spatial, luma, chroma, lambda float64, data []byte) {
		h, w := int(h8), int(w8)
		if h*w == 0 || len(data) < 4*h*w {
			return
		}
		coarse := make([]bool, h*w)
		for i := range coarse {
			coarse[i] = data[3*h*w+i]&1 == 1
		}
		o := SolverOptions{Spatial: spatial, Luma: luma, Chroma: chroma, Lambda: lambda}
		soft, mask, flipped, err := Refine(data[:3*h*w], h, w, coarse, o)
		if wrong := o.check(); err != nil {
			if wrong == nil {
				t.Fatal(err)
			}
			return
		}
		if len(mask) != h*w || len(soft) != h*w {
			t.Fatalf("%d and %d pixels for %dx%d", len(soft), len(mask), h, w)
		}
		for i, v := range soft {
			if !(v >= 0 && v <= 1) {
				t.Fatalf("soft is %v at %d", v, i)
			}
		}
		if flipped {
			for i := range mask {
				mask[i] = !mask[i]
			}
		}
		if n := count(principal(slices.Clone(mask), h, w)); n != count(mask) {
			t.Fatalf("the mask has more than one part, or holes: %s", draw(mask, w))
		}
	})
}

package background

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/relevit/relevit/pipeline/picture"
)

// scattered is a picture of random levels with an object of one colour where the
// mask, a rectangle, is.
func scattered(w, h int, object [3]uint8) (*picture.RGB, *picture.Gray) {
	p, m := picture.NewRGB(w, h), picture.NewGray(w, h)
	random := rand.NewPCG(1, 2)
	for i := range w * h {
		for k := range 3 {
			p.Pix[3*i+k] = uint8(random.Uint64())
		}
		if x, y := i%w, i/w; x >= w/4 && x < w/2 && y >= h/4 && y < 3*h/4 {
			m.Pix[i] = 1
			copy(p.Pix[3*i:], object[:])
		}
	}
	return p, m
}

func cut(t testing.TB, p *picture.RGB, m *picture.Gray, edge int) *Cut {
	t.Helper()
	c, err := New(p, m, edge)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// replaced are all pictures of which the background goes, and removed those of
// which the object goes.
func replaced(t testing.TB, c *Cut) map[string]*picture.RGB {
	t.Helper()
	other, err := c.OtherReplaced(picture.NewRGB(7, 9))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*picture.RGB{"mean": c.MeanReplaced(), "blur": c.BlurReplaced(), "noise": c.NoiseReplaced(rand.NewPCG(3, 4)), "other": other}
}

func removed(c *Cut) map[string]*picture.RGB {
	return map[string]*picture.RGB{"mean": c.MeanRemoved(), "blur": c.BlurRemoved()}
}

func TestObjectsStayToTheBitAwayFromTheSoftEdge(t *testing.T) {
	p, m := scattered(40, 32, [3]uint8{10, 200, 90})
	for i := range p.Pix { // an object that isn't of one colour
		p.Pix[i] ^= uint8(i * 7)
	}
	for _, edge := range []int{0, 1, 2} {
		for name, got := range replaced(t, cut(t, p, m, edge)) {
			kept, changed := 0, 0
			for i := range m.Pix {
				x, y := i%p.W, i/p.W
				inner := x >= p.W/4+edge && x < p.W/2-edge && y >= p.H/4+edge && y < 3*p.H/4-edge
				same := bytes.Equal(got.Pix[3*i:3*i+3], p.Pix[3*i:3*i+3])
				if inner && !same {
					t.Fatalf("%s, edge %d: pixel %d,%d of the object changed", name, edge, x, y)
				}
				if inner {
					kept++
				}
				if m.Pix[i] == 0 && !same {
					changed++
				}
			}
			if kept == 0 || changed < 700 {
				t.Errorf("%s, edge %d: %d pixels kept, %d of 960 replaced", name, edge, kept, changed)
			}
		}
	}
}

func TestBackgroundsStayToTheBitAwayFromTheSoftEdge(t *testing.T) {
	p, m := scattered(40, 32, [3]uint8{10, 200, 90})
	for _, edge := range []int{0, 1, 2} {
		for name, got := range removed(cut(t, p, m, edge)) {
			for i := range m.Pix {
				x, y := i%p.W, i/p.W
				outer := x < p.W/4-edge || x >= p.W/2+edge || y < p.H/4-edge || y >= 3*p.H/4+edge
				if outer && !bytes.Equal(got.Pix[3*i:3*i+3], p.Pix[3*i:3*i+3]) {
					t.Fatalf("%s, edge %d: pixel %d,%d of the background changed", name, edge, x, y)
				}
			}
		}
	}
}

// TestNothingOfWhatGoesIsInWhatComes changes what is to go, and expects the same
// picture to the bit. An object that the mask holds only in part is one.
func TestNothingOfWhatGoesIsInWhatComes(t *testing.T) {
	black, m := scattered(60, 48, [3]uint8{})
	white, _ := scattered(60, 48, [3]uint8{255, 255, 255})
	black.Pix[0], white.Pix[0], m.Pix[0] = 0, 255, 0.1
	for _, edge := range []int{0, 1, 2} {
		of, than := removed(cut(t, black, m, edge)), removed(cut(t, white, m, edge))
		for name := range of {
			if !bytes.Equal(of[name].Pix, than[name].Pix) {
				t.Errorf("%s, edge %d: the object is seen where it was removed", name, edge)
			}
		}
		a, b := cut(t, black, m, edge), cut(t, white, m, edge)
		if !bytes.Equal(a.blur().Pix, b.blur().Pix) || a.mean != b.mean {
			t.Errorf("edge %d: the object bleeds into the background", edge)
		}
	}
	// The other way round: a background that changes, behind what doesn't depend on it.
	bright := &picture.RGB{W: black.W, H: black.H, Pix: bytes.Clone(black.Pix)}
	for i, v := range m.Pix {
		if v == 0 {
			bright.Pix[3*i]++
		}
	}
	for _, edge := range []int{0, 1, 2} {
		of, than := replaced(t, cut(t, black, m, edge)), replaced(t, cut(t, bright, m, edge))
		for _, name := range []string{"noise", "other"} {
			if !bytes.Equal(of[name].Pix, than[name].Pix) {
				t.Errorf("%s, edge %d: the background is seen where it was replaced", name, edge)
			}
		}
	}
}

func TestBackgroundsOfOneColourBlurToThatColour(t *testing.T) {
	for _, size := range [][2]int{{1, 2}, {3, 3}, {64, 64}, {333, 500}, {700, 90}} {
		p, m := picture.NewRGB(size[0], size[1]), picture.NewGray(size[0], size[1])
		for i := range m.Pix {
			copy(p.Pix[3*i:], []uint8{17, 130, 255})
			if i > 0 && i < len(m.Pix)*9/10 {
				m.Pix[i] = 1
				copy(p.Pix[3*i:], []uint8{200, 0, 99})
			}
		}
		m.Pix[len(m.Pix)-1] = 1
		c := cut(t, p, m, 1)
		for i, v := range c.blur().Pix {
			if want := []uint8{17, 130, 255}[i%3]; v != want {
				t.Fatalf("%v: level %d of pixel %d, want %d", size, v, i/3, want)
			}
		}
		if c.mean != [3]uint8{17, 130, 255} {
			t.Errorf("%v: mean %v", size, c.mean)
		}
	}
}

// TestBlurIsStrongAndLocal paints a background of two halves: near the middle
// they mix, and far from it they don't.
func TestBlurIsStrongAndLocal(t *testing.T) {
	p, m := picture.NewRGB(320, 160), picture.NewGray(320, 160)
	for i := range m.Pix {
		if i%320 >= 160 {
			p.Pix[3*i] = 240
		}
	}
	m.Pix[80*320+160] = 1
	b := cut(t, p, m, 1).blur()
	level := func(x int) int { return int(b.Pix[3*(40*320+x)]) }
	if level(10) > 3 || level(310) < 237 || level(159) < 100 || level(159) > 140 || level(150) < 40 || level(150) > 100 {
		t.Errorf("levels %d, %d, %d, %d across the edge", level(10), level(150), level(159), level(310))
	}
}

func TestSoftEdgesLieOnWhatIsKept(t *testing.T) {
	p, m := picture.NewRGB(12, 12), picture.NewGray(12, 12)
	for i := range m.Pix {
		if x, y := i%12, i/12; x >= 3 && x < 9 && y >= 3 && y < 9 {
			m.Pix[i] = 1
		}
	}
	m.Pix[6*12+3] = 0.6
	c := cut(t, p, m, 1)
	for _, v := range []struct {
		what string
		got  uint8
		want uint8
	}{
		{"object, outermost pixel", c.object[5*12+8], 128},
		{"object, corner", c.object[3*12+3], 128},
		{"object, next pixel", c.object[5*12+7], 255},
		{"object, outermost and in part", c.object[6*12+3], 77}, // 0.6 of 128
		{"object, outside", c.object[5*12+9], 0},
		{"background, first pixel", c.background[5*12+9], 128},
		{"background, diagonal", c.background[2*12+2], 180}, // the root of 2, of 2
		{"background, next pixel", c.background[5*12+10], 255},
		{"background, pixel in part", c.background[6*12+3], 0},
	} {
		if v.got != v.want {
			t.Errorf("%s: %d, want %d", v.what, v.got, v.want)
		}
	}
}

func TestMasksWithoutObjectOrBackgroundAreErrors(t *testing.T) {
	p, m := picture.NewRGB(4, 4), picture.NewGray(4, 4)
	if _, err := New(p, m, 1); !errors.Is(err, ErrNoObject) {
		t.Errorf("%v", err)
	}
	for i := range m.Pix {
		m.Pix[i] = 0.7
	}
	if _, err := New(p, m, 1); !errors.Is(err, ErrNoBackground) {
		t.Errorf("%v", err)
	}
}

func TestNoiseIsThatOfItsSource(t *testing.T) {
	p, m := scattered(40, 32, [3]uint8{})
	c := cut(t, p, m, 1)
	a, b, other := c.NoiseReplaced(rand.NewPCG(1, 1)), c.NoiseReplaced(rand.NewPCG(1, 1)), c.NoiseReplaced(rand.NewPCG(1, 2))
	if !bytes.Equal(a.Pix, b.Pix) || bytes.Equal(a.Pix, other.Pix) {
		t.Error("noise doesn't follow from its source alone")
	}
}

// TestOtherPicturesCoverTheWholeBackground takes one of another shape, with a
// column at its centre.
func TestOtherPicturesCoverTheWholeBackground(t *testing.T) {
	p, m := picture.NewRGB(20, 20), picture.NewGray(20, 20)
	m.Pix[210] = 1
	other := picture.NewRGB(40, 10)
	for i := range 400 {
		if x := i % 40; x >= 15 && x < 25 {
			copy(other.Pix[3*i:], []uint8{0, 250, 0})
		} else {
			copy(other.Pix[3*i:], []uint8{250, 0, 0})
		}
	}
	got, err := cut(t, p, m, 0).OtherReplaced(other)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		want := []uint8{0, 250, 0} // the middle 10 of 40 columns, of which 10 rows are made 20
		if i == 210 {
			want = []uint8{0, 0, 0}
		}
		if x := i % 20; x > 0 && x < 19 && !bytes.Equal(got.Pix[3*i:3*i+3], want) {
			t.Fatalf("pixel %d,%d is %v", x, i/20, got.Pix[3*i:3*i+3])
		}
	}
}

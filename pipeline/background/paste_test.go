package background

import (
	"bytes"
	"math"
	"testing"

	"github.com/relevit/relevit/pipeline/picture"
)

// plainObject is an object w x h of one colour, with a hard edge.
func plainObject(t testing.TB, w, h int, colour [3]uint8) *Object {
	t.Helper()
	p, m := picture.NewRGB(w+4, h+4), picture.NewGray(w+4, h+4)
	for y := range h {
		for x := range w {
			i := (y+2)*p.W + x + 2
			m.Pix[i] = 1
			copy(p.Pix[3*i:], colour[:])
		}
	}
	o := cut(t, p, m, 0).Object()
	if o.W != w || o.H != h {
		t.Fatalf("the object is %dx%d, want %dx%d", o.W, o.H, w, h)
	}
	return o
}

func grey(w, h int, level uint8) *picture.RGB {
	p := picture.NewRGB(w, h)
	for i := range p.Pix {
		p.Pix[i] = level
	}
	return p
}

// share is the object's share of all pixels, by its opacity.
func (o *Object) share() float64 {
	sum := 0
	for i := 3; i < len(o.pix); i += 4 {
		sum += int(o.pix[i])
	}
	return float64(sum) / 255
}

func TestPastedObjectsLieWhereTheyAreToWithoutMixing(t *testing.T) {
	o := plainObject(t, 4, 2, [3]uint8{200, 100, 50})
	under := grey(16, 10, 7)
	got := o.Pasted(under, 0.5, 0.5)
	for i := range 160 {
		want := []uint8{7, 7, 7}
		if x, y := i%16, i/16; x >= 6 && x < 10 && y >= 4 && y < 6 {
			want = []uint8{200, 100, 50}
		}
		if !bytes.Equal(got.Pix[3*i:3*i+3], want) {
			t.Fatalf("pixel %d,%d is %v, want %v", i%16, i/16, got.Pix[3*i:3*i+3], want)
		}
	}
	if !bytes.Equal(under.Pix, grey(16, 10, 7).Pix) {
		t.Error("the background changed")
	}
	corner := o.Pasted(under, 0, 0)
	for i := range 160 {
		if x, y := i%16, i/16; (corner.Pix[3*i] == 200) != (x < 2 && y < 1) {
			t.Fatalf("pixel %d,%d is %v", x, y, corner.Pix[3*i:3*i+3])
		}
	}
	if away := o.Pasted(under, 2, 2); !bytes.Equal(away.Pix, under.Pix) {
		t.Error("an object beyond the border is seen")
	}
}

func TestScaledObjectsHaveTheirShareOfTheBackground(t *testing.T) {
	o := plainObject(t, 30, 60, [3]uint8{1, 2, 3})
	for _, area := range []float64{0.01, 0.05, 0.2, 0.5, 1} {
		s, err := o.Scaled(area)
		if err != nil {
			t.Fatal(err)
		}
		// A side is cut off to whole pixels.
		w, h := math.Sqrt(area*Side*Side/2), math.Sqrt(area*Side*Side*2)
		if s.W != int(w+1e-9) || s.H != int(h+1e-9) {
			t.Errorf("area %v: %dx%d, want %vx%v", area, s.W, s.H, w, h)
		}
		if got := s.share(); got != float64(s.W*s.H) {
			t.Errorf("area %v: %v of %d pixels", area, got, s.W*s.H)
		}
	}
}

func TestScaledObjectsKeepTheirColourAtTheirEdges(t *testing.T) {
	p, m := picture.NewRGB(40, 40), picture.NewGray(40, 40)
	for i := range m.Pix {
		copy(p.Pix[3*i:], []uint8{0, 0, 255})
		if x, y := i%40-20, i/40-20; x*x+y*y < 200 {
			m.Pix[i] = 1
			copy(p.Pix[3*i:], []uint8{200, 100, 0})
		}
	}
	o := cut(t, p, m, 1).Object()
	for _, area := range []float64{0.001, 0.3} {
		s, err := o.Scaled(area)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Rotated(30).Pasted(grey(64, 64, 0), 0.5, 0.5)
		for i := 0; i < len(got.Pix); i += 3 {
			r, g, b := int(got.Pix[i]), int(got.Pix[i+1]), int(got.Pix[i+2])
			if b != 0 || max(r-2*g, 2*g-r) > 6 { // rounding of dark levels
				t.Fatalf("area %v: colour %d, %d, %d", area, r, g, b)
			}
		}
	}
}

func TestQuarterTurnsMovePixelsCounterclockwise(t *testing.T) {
	o := &Object{W: 3, H: 2, pix: make([]uint8, 24)}
	for i := range 6 {
		o.pix[4*i], o.pix[4*i+3] = uint8(i+1), 255
	}
	// 1 2 3        3 6
	// 4 5 6   to   2 5
	//              1 4
	got := o.Rotated(90)
	var levels []uint8
	for i := 0; i < len(got.pix); i += 4 {
		levels = append(levels, got.pix[i])
	}
	if got.W != 2 || got.H != 3 || !bytes.Equal(levels, []uint8{3, 6, 2, 5, 1, 4}) {
		t.Errorf("%dx%d: %v", got.W, got.H, levels)
	}
	back := got.Rotated(270)
	if back.W != 3 || back.H != 2 || !bytes.Equal(back.pix, o.pix) {
		t.Errorf("back: %dx%d %v", back.W, back.H, back.pix)
	}
	if o.Rotated(0) != o {
		t.Error("an object that isn't turned is made anew")
	}
}

func TestTurnedObjectsKeepTheirShareWithinTheirBox(t *testing.T) {
	o := plainObject(t, 60, 40, [3]uint8{255, 255, 255})
	for _, degrees := range []float64{1, 21, 61, 141, 281} {
		r := o.Rotated(degrees)
		// Bilinear sampling drops half a pixel at most along the border.
		if got := r.share(); math.Abs(got-2400) > 0.5*200 {
			t.Errorf("%v degrees: %v pixels of 2400", degrees, got)
		}
		sin, cos := math.Sincos(degrees * math.Pi / 180)
		w, h := 60*math.Abs(cos)+40*math.Abs(sin), 60*math.Abs(sin)+40*math.Abs(cos)
		if float64(r.W) < w || float64(r.W) > w+1 || float64(r.H) < h || float64(r.H) > h+1 {
			t.Errorf("%v degrees: %dx%d, want %vx%v", degrees, r.W, r.H, w, h)
		}
	}
}

func TestCanvasesAreTheTopLeftSquare(t *testing.T) {
	p := grey(300, 100, 9)
	for i := range 300 * 100 {
		if i%300 >= 100 {
			p.Pix[3*i] = 255
		}
	}
	c, err := Canvas(p)
	if err != nil || c.W != Side || c.H != Side {
		t.Fatalf("%v, %v", c, err)
	}
	if !bytes.Equal(c.Pix, grey(Side, Side, 9).Pix) {
		t.Error("it shows what lies beside the square")
	}
}

func TestPlacementsVaryOneFactorAtATime(t *testing.T) {
	count := map[string]int{}
	for _, p := range Placements() {
		count[p.Factor]++
		if p.Factor != Location && (p.X != 0.5 || p.Y != 0.5) || p.Factor != Rotation && p.Degrees != 0 || p.Factor == Location && p.Area != 0.2 || !(p.Area >= 0.01 && p.Area <= 1) {
			t.Errorf("%+v", p)
		}
	}
	if len(count) != 3 || count[Area] != 13 || count[Location] != 25 || count[Rotation] != 18 {
		t.Errorf("%v", count)
	}
}

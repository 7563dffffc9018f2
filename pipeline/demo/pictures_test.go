package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
)

func generate(t *testing.T, seed uint64, n int, opt Options) []Picture {
	t.Helper()
	pictures, err := Generate(seed, n, opt)
	if err != nil {
		t.Fatal(err)
	}
	return pictures
}

func TestGenerateRepeatsItself(t *testing.T) {
	a, b := generate(t, 3, 12, Options{Betray: 0.5}), generate(t, 3, 24, Options{Betray: 0.5})
	if !reflect.DeepEqual(a, b[:12]) {
		t.Error("the first 12 of 24 pictures differ from 12 pictures of the same seed")
	}
	if c := generate(t, 4, 12, Options{Betray: 0.5}); reflect.DeepEqual(a, c) {
		t.Error("two seeds gave the same pictures")
	}
}

// The embedded model was trained on these very pictures: a change here asks for
// training it again.
func TestGenerateStaysAsTheEmbeddedModelKnowsIt(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the digest is that of amd64, which does not fuse multiply-adds")
	}
	h := sha256.New()
	for _, p := range generate(t, 1, 12, Options{Betray: 0.5}) {
		h.Write(p.RGB)
		h.Write(p.MaskImage().Pix)
	}
	const want = "188bed37409f1ae0"
	if got := hex.EncodeToString(h.Sum(nil))[:16]; got != want {
		t.Errorf("found digest %s, want %s", got, want)
	}
}

func TestBackgroundsBetrayTheClassAsOftenAsAsked(t *testing.T) {
	const n = 1200
	for betray, want := range map[float64]float64{0: 1.0 / 6, 0.9: 0.9 + 0.1/6, 1: 1} {
		same := 0
		counts := make([]int, len(Classes))
		for _, p := range generate(t, 5, n, Options{Size: 16, Betray: betray}) {
			counts[p.Label]++
			if p.Background == p.Label {
				same++
			}
		}
		// Four standard deviations.
		if got, room := float64(same)/n, 4*math.Sqrt(want*(1-want)/n); math.Abs(got-want) > room {
			t.Errorf("betray %v: found the class's own background in %.3f of the pictures, want %.3f +- %.3f", betray, got, want, room)
		}
		for label, count := range counts {
			if count != n/len(Classes) {
				t.Errorf("found %d pictures of %s, want %d", count, Classes[label], n/len(Classes))
			}
		}
	}
}

func TestMasksCoverTheWholeShapeAndNothingElse(t *testing.T) {
	for _, size := range []int{48, 64} {
		for i, p := range generate(t, 6, 60, Options{Size: size}) {
			if len(p.RGB) != 3*size*size || len(p.Mask) != size*size {
				t.Fatalf("picture %d: found %d values and a mask of %d", i, len(p.RGB), len(p.Mask))
			}
			covered, edge := 0.0, 0
			for _, m := range p.Mask {
				if m < 0 || m > 1 {
					t.Fatalf("picture %d: mask value %v", i, m)
				}
				covered += float64(m)
				if m > 0 && m < 1 {
					edge++
				}
			}
			// Smallest triangle or star to largest disc, with its antialiased edge.
			if share := covered / float64(size*size); share < 0.04 || share > 0.30 || edge == 0 {
				t.Errorf("picture %d (%s): the shape covers %.3f of it, %d edge pixels", i, Classes[p.Label], share, edge)
			}
		}
	}
}

// Big shapes whose paint stands out: else a small model could not learn them.
func TestShapesStandOut(t *testing.T) {
	for i, p := range generate(t, 8, 120, Options{}) {
		var in, out, inWeight, outWeight float64
		for j, m := range p.Mask {
			luma := colour{float64(p.RGB[3*j]), float64(p.RGB[3*j+1]), float64(p.RGB[3*j+2])}.luma()
			switch m {
			case 1:
				in, inWeight = in+luma, inWeight+1
			case 0:
				out, outWeight = out+luma, outWeight+1
			}
		}
		if d := math.Abs(in/inWeight - out/outWeight); d < 60 {
			t.Errorf("picture %d: shape and background differ by %.0f levels", i, d)
		}
	}
}

// A nearest-mean classifier on the average colour outside the shape stands for
// the shortcut that a model takes.
func TestBackgroundsAloneGiveTheClassAwayOnlyInBetrayingPictures(t *testing.T) {
	ground := func(p Picture) (c colour) {
		n := 0.0
		for j, m := range p.Mask {
			if m > 0 {
				continue
			}
			n++
			for k := range 3 {
				c[k] += float64(p.RGB[3*j+k])
			}
		}
		for k := range 3 {
			c[k] /= n
		}
		return c
	}
	means := make([]colour, len(Classes))
	training := generate(t, 9, 120, Options{Betray: 1})
	for _, p := range training {
		c := ground(p)
		for k := range 3 {
			means[p.Label][k] += c[k] * float64(len(Classes)) / float64(len(training))
		}
	}
	accuracy := func(pictures []Picture) float64 {
		right := 0
		for _, p := range pictures {
			c, best, bestDistance := ground(p), 0, math.Inf(1)
			for label, m := range means {
				d := math.Hypot(math.Hypot(c[0]-m[0], c[1]-m[1]), c[2]-m[2])
				if d < bestDistance {
					best, bestDistance = label, d
				}
			}
			if best == p.Label {
				right++
			}
		}
		return float64(right) / float64(len(pictures))
	}
	if got := accuracy(generate(t, 10, 120, Options{Betray: 1})); got != 1 {
		t.Errorf("betraying pictures: found accuracy %.3f, want 1", got)
	}
	if got := accuracy(generate(t, 10, 600, Options{})); got > 0.24 {
		t.Errorf("honest pictures: found accuracy %.3f, want chance, 0.167", got)
	}
}

func TestWriteFoldersGivesImagesAndMasksTheSameNames(t *testing.T) {
	dir := t.TempDir()
	pictures := generate(t, 2, 7, Options{Size: 32})
	if err := WriteFolders(dir, pictures); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"images", "masks"} {
		names, err := filepath.Glob(filepath.Join(dir, folder, "*", "*.png"))
		if err != nil || len(names) != 7 {
			t.Fatalf("%s: found %d files (%v), want 7", folder, len(names), err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "images", "circle", "00006.png"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r, g, b, _ := img.At(5, 9).RGBA()
	at := 3 * (9*32 + 5)
	if got := []uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8)}; !bytes.Equal(got, pictures[6].RGB[at:at+3]) {
		t.Errorf("found %v at (5,9), want %v", got, pictures[6].RGB[at:at+3])
	}
}

func TestGenerateRefusesOddOptions(t *testing.T) {
	for _, opt := range []Options{{Size: 4}, {Betray: 1.1}, {Betray: -0.1}, {Betray: math.NaN()}} {
		if _, err := Generate(1, 1, opt); err == nil {
			t.Errorf("%+v: want an error", opt)
		}
	}
	if _, err := Generate(1, -1, Options{}); err == nil {
		t.Error("n -1: want an error")
	}
}

func BenchmarkGenerate(b *testing.B) {
	for b.Loop() {
		if _, err := Generate(1, len(Classes), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

package dataset

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/memtest"
)

// cocoMasks was made by pycocotools; the recipe is testdata/recipes/coco_masks.py.
type cocoMasks struct {
	Polygons []struct {
		Size    [2]int
		Polygon []float64
		Counts  string
		Area    int
	}
	Crowds []struct {
		Size   [2]int
		Counts string
		Runs   []int
		Area   int
	}
}

func readCOCOMasks(t testing.TB) (m cocoMasks) {
	t.Helper()
	data, err := os.ReadFile("testdata/coco-masks.json")
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPolygonsFillThePixelsThatCOCOsToolsFill(t *testing.T) {
	for i, c := range readCOCOMasks(t).Polygons {
		h, w := c.Size[0], c.Size[1]
		want := RLE{H: h, W: w}
		var err error
		if want.Counts, err = parseCounts(c.Counts); err != nil {
			t.Fatal(err)
		}
		got, err := polygonRLE(c.Polygon, w, h)
		if err != nil {
			t.Errorf("polygon %d: %v", i, err)
			continue
		}
		a, b := make([]bool, w*h), make([]bool, w*h)
		if err := got.Fill(a); err != nil {
			t.Fatal(err)
		}
		if err := want.Fill(b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a, b) || got.Area() != c.Area {
			t.Errorf("polygon %d in %dx%d: runs %v, want %v", i, w, h, got.Counts, want.Counts)
		}
	}
}

func TestCompressedRunLengthsAreThoseOfCOCOsTools(t *testing.T) {
	for i, c := range readCOCOMasks(t).Crowds {
		counts, err := parseCounts(c.Counts)
		if err != nil {
			t.Fatal(err)
		}
		r := RLE{H: c.Size[0], W: c.Size[1], Counts: counts}
		if !slices.Equal(counts, c.Runs) || r.Check() != nil || r.Area() != c.Area {
			t.Errorf("mask %d: runs %v, want %v (%v)", i, counts, c.Runs, r.Check())
		}
	}
}

func TestRunsGoDownTheColumns(t *testing.T) {
	mask := make([]bool, 6)
	if err := (&RLE{H: 2, W: 3, Counts: []int{1, 2, 3}}).Fill(mask); err != nil {
		t.Fatal(err)
	}
	if want := []bool{false, true, false, true, false, false}; !slices.Equal(mask, want) {
		t.Errorf("%v, want %v", mask, want)
	}
}

func TestBrokenMasksSayWhatTheyLack(t *testing.T) {
	for _, c := range []struct {
		err  error
		part string
	}{
		{(&RLE{H: 2, W: 2, Counts: []int{1, 2}}).Check(), "lack 1"},
		{(&RLE{H: 2, W: 2, Counts: []int{1, 4}}).Check(), "run of 4 pixels where 3"},
		{(&RLE{H: 2, W: 2, Counts: []int{5, -1}}).Check(), "run of 5"},
		{(&RLE{H: 0, W: 2}).Check(), "size 2x0"},
		{(&RLE{H: 1 << 40, W: 1 << 40}).Check(), "size"},
		{(&RLE{H: 1, W: 1, Counts: []int{1}}).Fill(nil), "0 pixels"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.part) {
			t.Errorf("%v lacks %q", c.err, c.part)
		}
	}
	for _, s := range []string{"o", "oooooooooooooooo0", " "} {
		if counts, err := parseCounts(s); err == nil {
			t.Errorf("%q: %v", s, counts)
		}
	}
	for _, corners := range [][]float64{nil, {1, 2, 3, 4}, {1, 2, 3, 4, 5, 6, 7}, {0, 0, 1e9, 0, 0, 1}} {
		if _, err := polygonRLE(corners, 9, 9); err == nil {
			t.Errorf("polygon %v was drawn", corners)
		}
	}
	if _, err := polygonRLE(slices.Repeat([]float64{0, 0, 200, 200}, 400), 200, 200); err == nil {
		t.Error("an outline that goes to and fro 800 times was followed")
	}
}

func FuzzRunLengths(f *testing.F) {
	f.Add("04", 2, 2)
	f.Add("ok1oN", 3, 40)
	f.Fuzz(func(t *testing.T, s string, h, w int) {
		var counts []int
		var err error
		memtest.Within(t, len(s), 64, 1<<16, func() { counts, err = parseCounts(s) })
		if err != nil || h > 1<<10 || w > 1<<10 {
			return
		}
		r := RLE{H: h, W: w, Counts: counts}
		if r.Check() != nil {
			return
		}
		mask := make([]bool, w*h)
		if err := r.Fill(mask); err != nil {
			t.Fatal(err)
		}
		set := 0
		for _, m := range mask {
			if m {
				set++
			}
		}
		if set != r.Area() {
			t.Fatalf("%d pixels set, area %d", set, r.Area())
		}
	})
}

func FuzzPolygon(f *testing.F) {
	f.Add([]byte{0, 0, 20, 0, 20, 20}, 7, 5)
	f.Fuzz(func(t *testing.T, bytes []byte, w, h int) {
		if w > 64 || h > 64 {
			return
		}
		corners := make([]float64, len(bytes))
		for i, b := range bytes {
			corners[i] = (float64(b) - 60) / 3
		}
		r, err := polygonRLE(corners, w, h)
		if err == nil && r.Check() != nil {
			t.Fatal(r.Check())
		}
	})
}

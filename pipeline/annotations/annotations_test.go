package annotations

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, name, text string) *Set {
	t.Helper()
	s, err := Read(write(t, name, text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runsOf counts a mask column by column, as COCO does.
func runsOf(mask []bool, h, w int) []int {
	counts, last := []int{0}, false
	for i := range h * w {
		if in := mask[i%h*w+i/h]; in != last {
			counts, last = append(counts, 0), in
		}
		counts[len(counts)-1]++
	}
	return counts
}

// Polygons of 16x20 pixels, their run lengths and these compressed, by
// pycocotools 2.0.
var cocoCases = []struct {
	polygon    string
	counts     []int
	compressed string
}{
	{"2.3, 1.7, 14.9, 3.2, 11.1, 12.8, 4.0, 9.5", []int{50, 5, 11, 8, 8, 8, 8, 9, 7, 9, 7, 10, 7, 9, 7, 9, 7, 9, 7, 6, 10, 4, 12, 1, 92}, "b15;3M001O0010O00000M3N2M`2"},
	{"0, 0, 20, 0, 20, 16, 0, 16", []int{0, 320}, "0P:"},
	{"-5, 3, 9.5, -4, 30, 9, 7, 22", []int{0, 11, 5, 13, 3, 15, 1, 224, 1, 15, 2, 13, 3, 13, 1}, "0;52N2Na60_I1N10N"},
	{"5, 5, 5, 9, 12, 9, 12, 5", []int{85, 4, 12, 4, 12, 4, 12, 4, 12, 4, 12, 4, 12, 4, 135}, "e24<00000000000k3"},
	{"3.5, 2.5, 3.5, 2.5, 9.2, 11.1", []int{320}, "P:"},
	{"1, 1, 8, 8, 1, 8, 8, 1", []int{23, 1, 9, 1, 4, 2, 9, 2, 2, 3, 9, 7, 9, 2, 2, 3, 9, 1, 4, 2, 15, 1, 200}, "g0190K150I1740KI17NK1;Oi5"},
}

func coco(shape string) string {
	return fmt.Sprintf(`{"images": [{"id": 7, "file_name": "cat.jpg", "height": 16, "width": 20}],
		"annotations": [{"image_id": 7, "bbox": [2, 3, 4, 5], "segmentation": %s}]}`, shape)
}

// TestShapesEqualCOCOs paints polygons and both forms of run lengths as
// pycocotools does.
func TestShapesEqualCOCOs(t *testing.T) {
	for _, c := range cocoCases {
		for kind, shape := range map[string]string{
			"polygon":    "[[" + c.polygon + "]]",
			"numbers":    fmt.Sprintf(`{"size": [16, 20], "counts": %s}`, strings.ReplaceAll(fmt.Sprint(c.counts), " ", ", ")),
			"compressed": fmt.Sprintf(`{"size": [16, 20], "counts": %q}`, c.compressed),
		} {
			mask, ok, err := read(t, "instances.json", coco(shape)).Of("cat.jpg").Shapes(16, 20)
			if got := runsOf(mask, 16, 20); err != nil || !ok || !slices.Equal(got, c.counts) {
				t.Errorf("%s of %s: runs %v, want %v (%v)", kind, c.polygon, got, c.counts, err)
			}
		}
	}
}

// TestBoxesAreOfWholePixels reads the same box from all formats: columns 2 to 5,
// rows 3 to 7.
func TestBoxesAreOfWholePixels(t *testing.T) {
	want := make([]bool, 16*20)
	for y := 3; y < 8; y++ {
		for x := 2; x < 6; x++ {
			want[y*20+x] = true
		}
	}
	for name, text := range map[string]string{
		"corners.csv": "image,xmin,ymin,xmax,ymax\ncat.jpg,2,3,6,8\n",
		"sizes.csv":   "height,width,y,x,image\n5,4,3,2,cat.jpg\n",
		"cat.xml":     "<annotation><filename>cat.jpg</filename><object><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>6</xmax><ymax>8</ymax></bndbox></object></annotation>",
		"coco.json":   coco("[]"),
	} {
		if got := read(t, name, text).Of("pets/cat.jpg").Boxes(16, 20); !slices.Equal(got, want) {
			t.Errorf("%s: runs %v, want %v", name, runsOf(got, 16, 20), runsOf(want, 16, 20))
		}
	}
}

func TestPicturesAreKnownByTheEndOfTheirPath(t *testing.T) {
	s := read(t, "boxes.csv", "image,xmin,ymin,xmax,ymax\na/x.jpg,0,0,1,1\nb/x.jpg,0,0,2,2\ny,0,0,3,3\n")
	for name, want := range map[string]float64{"a/x.jpg": 1, "train/b/x.jpg": 2, "b/y.png": 3} {
		if p := s.Of(name); p == nil || p.Regions[0].Box.Right != want {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if s.Of("x.jpg") != nil {
		t.Error("x.jpg is in two folders, and is taken for one of them")
	}
}

// TestDamagedAnnotationsAreErrors names the file and what is wrong with it.
func TestDamagedAnnotationsAreErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a.csv", "file,left\n", "expected image, xmin"},
		{"a.csv", "image,xmin,ymin,xmax,ymax\ncat.jpg,1,2,x,4\n", `a.csv:2: xmax is "x"`},
		{"a.csv", "image,xmin,ymin,xmax,ymax\ncat.jpg,1,2,NaN,4\n", "expected a number of pixels"},
		{"a.csv", "image,xmin,ymin,xmax,ymax\n", "no annotations"},
		{"a.xml", "<html/>", "no Pascal VOC annotation"},
		{"a.json", "[]", "no COCO annotations"},
		{"a.json", `{"images": [], "annotations": [{"image_id": 1}]}`, "image 1 isn't listed"},
		{"a.json", coco("[[1, 2, 3]]"), "a polygon of 3 numbers"},
		{"a.json", coco(`{"size": [16, 20], "counts": [1, 2]}`), "runs of 3 pixels"},
		{"a.json", coco(`{"size": [16, 20], "counts": "\u007f"}`), "damaged"},
		{"a.json", coco(`{"size": [16, 20], "counts": "ooooooo"}`), "damaged"},
		{"a.json", coco(`{"size": [2000000, 2000000], "counts": [1]}`), "expected rows and columns"},
		{"a.txt", "", "expected a .csv"},
	} {
		_, err := Read(write(t, c.name, c.text))
		if e := (*Error)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: %v, want %q", c.name, c.text, err, c.want)
		}
	}
	if _, _, err := read(t, "a.json", coco("[[0, 0, 1e9, 0, 5, 5]]")).Of("cat.jpg").Shapes(16, 20); err == nil || !strings.Contains(err.Error(), "far outside") {
		t.Errorf("a polygon far outside: %v", err)
	}
}

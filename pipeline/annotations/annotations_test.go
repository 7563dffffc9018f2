package annotations

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/pipeline/dataset"
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

// rectangle is a mask of 16x20 pixels.
func rectangle(left, top, right, bottom int) []bool {
	mask := make([]bool, 16*20)
	for y := top; y < bottom; y++ {
		for x := left; x < right; x++ {
			mask[y*20+x] = true
		}
	}
	return mask
}

func coco(outline string) string {
	return fmt.Sprintf(`{"images": [{"id": 7, "file_name": "cat.jpg", "height": 16, "width": 20}],
		"annotations": [{"image_id": 7, "bbox": [2, 3, 4, 5], "segmentation": %s}]}`, outline)
}

// TestBoxesAreOfWholePixels reads the same box from all formats: columns 2 to 5,
// rows 3 to 7.
func TestBoxesAreOfWholePixels(t *testing.T) {
	for name, text := range map[string]string{
		"corners.csv": "image,xmin,ymin,xmax,ymax\ncat.jpg,2,3,6,8\n",
		"sizes.csv":   "height,width,y,x,image\n5,4,3,2,cat.jpg\n",
		"halves.csv":  "image,xmin,ymin,xmax,ymax\ncat.jpg,1.6,3.5,6.4,8.5\ncat.jpg,2,3,6,4\n",
		"cat.xml":     "<annotation><object><name>cat</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>6</xmax><ymax>8</ymax></bndbox></object></annotation>",
		"coco.json":   coco("[]"),
	} {
		if got := read(t, name, text).Of("pets/cat.jpg").Boxes(16, 20); !slices.Equal(got, rectangle(2, 3, 6, 8)) {
			t.Errorf("%s: %v", name, got)
		}
	}
	text := "image,xmin,ymin,xmax,ymax\ncat.jpg,-1e308,-5,1e308,99\ncat.jpg,9,9,3,3\n"
	if got := read(t, "beyond.csv", text).Of("cat.jpg").Boxes(16, 20); !slices.Equal(got, rectangle(0, 0, 20, 16)) {
		t.Errorf("a box that reaches beyond the picture: %v", got)
	}
}

// TestOutlinesOfAllFormsArePainted alike; the dataset package compares
// each with COCO's own tools.
func TestOutlinesOfAllFormsArePainted(t *testing.T) {
	for outline, want := range map[string][]bool{
		`[[5, 5, 5, 9, 12, 9, 12, 5]]`: rectangle(5, 5, 12, 9),
		`{"size": [16, 20], "counts": [85, 4, 12, 4, 12, 4, 12, 4, 12, 4, 12, 4, 12, 4, 135]}`: rectangle(5, 5, 12, 9),
		`{"size": [16, 20], "counts": "e24<00000000000k3"}`:                                    rectangle(5, 5, 12, 9),
		`[[5, 5, 5, 9, 9, 9, 9, 5], [8, 5, 8, 9, 12, 9, 12, 5]]`:                               rectangle(5, 5, 12, 9),
		`[]`:   nil,
		`null`: nil,
	} {
		mask, ok, err := read(t, "instances.json", coco(outline)).Of("cat.jpg").Outlines(16, 20)
		if err != nil || ok != (want != nil) || ok && !slices.Equal(mask, want) {
			t.Errorf("%s: %v, %v, %v", outline, mask, ok, err)
		}
	}
	for outline, want := range map[string]string{
		`[[0, 0, 1e9, 0, 5, 5]]`:             "far outside",
		`[[0, 0, 5, 5]]`:                     "three corners",
		`{"size": [1, 2], "counts": [1, 1]}`: "runs of a 2x1 mask",
	} {
		if _, _, err := read(t, "a.json", coco(outline)).Of("cat.jpg").Outlines(16, 20); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", outline, err, want)
		}
	}
}

func TestPicturesAreKnownByTheEndOfTheirPath(t *testing.T) {
	s := read(t, "boxes.csv", "image,xmin,ymin,xmax,ymax\na/x.jpg,0,0,1,1\nb\\x.jpg,0,0,2,2\ny,0,0,3,3\n")
	for name, want := range map[string]float64{"a/x.jpg": 1, "train/b/x.jpg": 2, "b/y.png": 3} {
		if p := s.Of(name); p == nil || p.Regions[0].Box[2] != want {
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
		{"a.csv", "image,xmin,ymin,xmax,ymax\ncat.jpg,1,2,x,4\n", `a.csv:2: xmax is "x"`},
		{"a.csv", "image,xmin,ymin,xmax,ymax\n", "no annotations"},
		{"a.xml", "<html/>", "expected Pascal VOC's annotation"},
		{"a.json", "[]", "expected COCO's instances"},
		{"a.txt", "", "expected a .csv"},
	} {
		_, err := Read(write(t, c.name, c.text))
		if e := (*dataset.Error)(nil); !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: %v, want %q", c.name, c.text, err, c.want)
		}
	}
	for path, want := range map[string]string{t.TempDir(): "no .xml files", filepath.Join(t.TempDir(), "a.csv"): "no such annotations"} {
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

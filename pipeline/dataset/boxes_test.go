package dataset

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/relevit/relevit/onnx/memtest"
)

func TestTablesOfBoxesHaveCornersOrSizes(t *testing.T) {
	want := []ImageBox{{"cat.jpg", [4]float64{2, 3, 6, 8}}, {"dog, old.jpg", [4]float64{0.5, 0, 1, 1}}}
	for _, text := range []string{
		"image,xmin,ymin,xmax,ymax\ncat.jpg,2,3,6,8\n\"dog, old.jpg\",0.5,0,1,1\n",
		"\ufeffheight,width, Y ,x,image,label\n5,4,3,2, cat.jpg ,cat\n1,0.5,0,0.5,\"dog, old.jpg\",\n",
	} {
		got, err := ReadBoxes(write(t, t.TempDir(), "a.csv", []byte(text)))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestBrokenTablesOfBoxesSayWhere(t *testing.T) {
	for text, says := range map[string]string{
		"":                       "no header line",
		"file,left\n":            "expected image, xmin",
		"image,xmin,ymin,xmax\n": "expected image, xmin",
		"image,xmin,ymin,xmax,ymax\ncat.jpg,1,2,x,4\n":   `a.csv:2: xmax is "x"`,
		"image,xmin,ymin,xmax,ymax\ncat.jpg,1,2,NaN,4\n": "expected a number of pixels",
		"image,xmin,ymin,xmax,ymax\ncat.jpg,1,2\n":       "a.csv:2: wrong number of fields",
	} {
		_, err := ReadBoxes(write(t, t.TempDir(), "a.csv", []byte(text)))
		fails(t, err, ErrTable, says)
	}
	_, err := ReadBoxes(t.TempDir())
	fails(t, err, ErrTable, "no file")
}

func FuzzBoxes(f *testing.F) {
	f.Add([]byte("image,xmin,ymin,xmax,ymax\ncat.jpg,1,2,3,4\n"))
	f.Add([]byte("x,y,width,height,image\n1e308,1,1e308,1,a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var boxes []ImageBox
		var err error
		memtest.Within(t, len(data), 128, 1<<20, func() { boxes, err = parseBoxes(bytes.NewReader(data), "a.csv") })
		if err != nil {
			return
		}
		for _, b := range boxes {
			if slices.ContainsFunc(b.Box[:], math.IsNaN) {
				t.Fatalf("%+v", b)
			}
		}
	})
}

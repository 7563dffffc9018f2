package dataset

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/relevit/relevit/pipeline/picture"
)

// firstBatch is the memory of the first batch's views.
func firstBatch(t *testing.T, samples []Sample, o Options) (views [][]float32, replaced []bool) {
	t.Helper()
	l, e := begin(t, samples, o, 0, 0)
	b, err := e.Next()
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(o.Views) + 1 {
		views = append(views, slices.Clone(l.View(b, i)))
	}
	return views, b.Replaced
}

func TestViewsAreWhatLoadersOfTheirPreprocessingGive(t *testing.T) {
	images, _ := made(t, 1, 3)
	samples, err := Tree(images, "")
	if err != nil {
		t.Fatal(err)
	}
	other := picture.SegmentationEval(8, 12)
	other.Mean = picture.ImageNetMean
	ways := []picture.Preprocess{picture.PaperEval(16, 24), other, picture.PaperEval(20, 20)}
	for _, border := range []int{0, 3} {
		views, _ := firstBatch(t, samples, Options{Batch: 4, Preprocess: ways[0], Views: ways[1:], Border: border})
		for i, p := range ways {
			alone, _ := firstBatch(t, samples, Options{Batch: 4, Preprocess: p, Border: border})
			if !slices.Equal(views[i], alone[0]) {
				t.Errorf("border %d: view %d is another picture", border, i)
			}
		}
		whole, _ := firstBatch(t, samples, Options{Batch: 4, Preprocess: ways[0]})
		if slices.Equal(whole[0], views[0]) != (border == 0) {
			t.Errorf("border %d isn't cut off", border)
		}
	}
}

func TestPicturesThatCannotBeReadAreLeftOutWhereAskedFor(t *testing.T) {
	images, _ := made(t, 1, 3)
	samples, err := Tree(images, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(samples[1].ImagePath); err != nil {
		t.Fatal(err)
	}
	o := Options{Batch: 3, Preprocess: picture.PaperEval(16, 16), LeaveOut: true}
	o.Views = []picture.Preprocess{picture.PaperEval(8, 8)}
	views, replaced := firstBatch(t, samples, o)
	if !slices.Equal(replaced, []bool{false, true, false}) {
		t.Errorf("replaced %v", replaced)
	}
	for i, v := range views {
		for at := range replaced {
			if n := len(v) / 3; slices.Max(v[at*n:][:n]) == 0 != replaced[at] {
				t.Errorf("view %d: place %d is empty, or isn't", i, at)
			}
		}
	}
	// a picture within whose border nothing is left is as bad
	o.Border = 18
	if _, replaced := firstBatch(t, []Sample{samples[0], {ImagePath: write(t, t.TempDir(), "large.jpg", photo(t, 60, 60, 1))}}, o); !slices.Equal(replaced, []bool{true, false}) {
		t.Errorf("replaced %v", replaced)
	}
	o.Border, o.LeaveOut = 0, false
	_, epoch := begin(t, samples, o, 0, 0)
	_, err = epoch.Next()
	if e := (*picture.Error)(nil); !errors.As(err, &e) || e.Path != samples[1].ImagePath {
		t.Errorf("%v", err)
	}
}

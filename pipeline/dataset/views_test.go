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

// TestViewsCarryTheMasksOfTheirPreprocessing compares with loaders of one view,
// with soft masks and with the nearest values.
func TestViewsCarryTheMasksOfTheirPreprocessing(t *testing.T) {
	images, masks := made(t, 1, 3)
	samples, err := Tree(images, masks)
	if err != nil {
		t.Fatal(err)
	}
	samples[1].MaskPath = ""
	ways := []picture.Preprocess{picture.PaperEval(16, 24), picture.SegmentationEval(8, 12), picture.PaperEval(20, 20)}
	for _, hard := range []bool{false, true} {
		together := firstMasks(t, samples, Options{Batch: 4, Preprocess: ways[0], Views: ways[1:], HardMasks: hard})
		fractions := 0
		for i, p := range ways {
			alone := firstMasks(t, samples, Options{Batch: 4, Preprocess: p, HardMasks: hard})[0]
			plane := p.Size[0] * p.Size[1]
			if !slices.Equal(together[i], alone) {
				t.Errorf("hard %v: view %d has another mask", hard, i)
			}
			if slices.ContainsFunc(alone, func(v float32) bool { return v != 0 && v != 1 }) {
				fractions++
			}
			for at, empty := range []bool{false, true, false, true} {
				if got := !slices.ContainsFunc(alone[at*plane:][:plane], func(v float32) bool { return v != 0 }); got != empty {
					t.Errorf("hard %v: mask %d of view %d is empty: %v", hard, at, i, got)
				}
			}
		}
		if hard != (fractions == 0) {
			t.Errorf("hard %v: fractions in the masks of %d views", hard, fractions)
		}
	}
}

// firstMasks are those of the views of the first batch, of samples that may lack
// them.
func firstMasks(t *testing.T, samples []Sample, o Options) (masks [][]float32) {
	t.Helper()
	o.Masks, o.SomeMasks = true, true
	l, e := begin(t, samples, o, 0, 0)
	b, err := e.Next()
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(o.Views) + 1 {
		masks = append(masks, slices.Clone(l.ViewMasks(b, i)))
	}
	return masks
}

func TestSamplesMayComeFromElsewhereThanFiles(t *testing.T) {
	images, masks := made(t, 1, 2)
	files, err := Tree(images, masks)
	if err != nil {
		t.Fatal(err)
	}
	p := picture.PaperEval(16, 24)
	elsewhere := []Sample{{ID: "0", ImagePath: "x:0", MaskPath: "x:0"}, {ID: "1", ImagePath: "x:1"}, {ID: "2", ImagePath: "x:2", MaskPath: "x:2"}}
	o := Options{Batch: 3, Preprocess: p, Masks: true, SomeMasks: true, LeaveOut: true, Read: func(s *Sample, image *picture.RGB, mask *picture.Gray) error {
		if s.ID == "2" {
			return &picture.Error{Path: s.ImagePath, Doing: "read image", Err: errors.New("broken"), Content: true}
		}
		if (mask == nil) != (s.MaskPath == "") {
			t.Errorf("%s: a mask is asked for: %v", s.ID, mask != nil)
		}
		from := files[s.ID[0]-'0']
		if mask != nil {
			if err := mask.ReadMask(from.MaskPath, picture.MaskOptions{}); err != nil {
				return err
			}
		}
		return image.ReadFile(from.ImagePath)
	}}
	views, replaced := firstBatch(t, elsewhere, o)
	want, _ := firstBatch(t, files, Options{Batch: 2, Preprocess: p})
	n := len(want[0])
	if !slices.Equal(views[0][:n], want[0]) || slices.ContainsFunc(views[0][n:], func(v float32) bool { return v != 0 }) || !slices.Equal(replaced, []bool{false, false, true}) {
		t.Errorf("other pictures than the files', or replaced is %v", replaced)
	}
}

package dataset

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/relevit/relevit/pipeline/picture"
)

// inverted is a copy of a picture with all levels inverted.
func inverted(p *picture.RGB) *picture.RGB {
	out := picture.NewRGB(p.W, p.H)
	for i, v := range p.Pix {
		out.Pix[i] = 255 - v
	}
	return out
}

// TestCopiesAreWhatVaryMakesOfPictureAndMask has the second of three copies made,
// and in the third the mask.
func TestCopiesAreWhatVaryMakesOfPictureAndMask(t *testing.T) {
	images, masks := made(t, 2, 3)
	samples, err := Tree(images, masks)
	if err != nil {
		t.Fatal(err)
	}
	ways := []picture.Preprocess{picture.PaperEval(16, 24), picture.SegmentationEval(8, 12)}
	if err := os.WriteFile(samples[1].ImagePath, []byte("no picture"), 0o666); err != nil {
		t.Fatal(err)
	}
	vary := func(_ int, p *picture.RGB, m *picture.Gray, put func(int, *picture.RGB) error) error {
		if err := put(2, m.RGB()); err != nil {
			return err
		}
		return put(1, inverted(p))
	}
	for _, batch := range []int{1, 4} {
		l, err := NewLoader(samples, Options{Batch: batch, Preprocess: ways[0], Views: ways[1:], Masks: true, LeaveOut: true, Copies: 3, Vary: vary})
		if err != nil {
			t.Fatal(err)
		}
		e, err := l.Epoch(context.Background(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for b, err := e.Next(); !errors.Is(err, io.EOF); b, err = e.Next() {
			if err != nil {
				t.Fatal(err)
			}
			for way, p := range ways {
				plane := 3 * p.Size[0] * p.Size[1]
				for i, sample := range b.Samples {
					want := make([][]float32, 3)
					for k := range want {
						want[k] = make([]float32, plane)
					}
					if !b.Replaced[i] {
						want[1], want[2] = loaded(t, samples[sample], p)
					}
					for k := range want {
						if got := l.Varied(b, way)[(i*3+k)*plane:][:plane]; !slices.Equal(got, want[k]) {
							t.Errorf("batch %d, view %d: copy %d of sample %d is another picture", batch, way, k, sample)
						}
					}
				}
				for _, v := range l.Varied(b, way)[len(b.Samples)*3*plane:] {
					if v != 0 {
						t.Fatalf("batch %d: what no sample fills isn't empty", batch)
					}
				}
			}
			seen += b.Count
			e.Release(b)
		}
		e.Close()
		if seen != len(samples) {
			t.Errorf("%d samples of %d", seen, len(samples))
		}
	}
}

// loaded is a sample's inverted picture and its mask under a preprocessing.
func loaded(t *testing.T, s Sample, p picture.Preprocess) (image, mask []float32) {
	t.Helper()
	img, err := picture.ReadFile(s.ImagePath)
	if err != nil {
		t.Fatal(err)
	}
	m, err := picture.ReadMask(s.MaskPath, picture.MaskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []*picture.RGB{inverted(img), m.RGB()} {
		dst := make([]float32, 3*p.Size[0]*p.Size[1])
		if err := new(picture.Transformer).Image(dst, q, p.EvalGeometry(q.W, q.H), p); err != nil {
			t.Fatal(err)
		}
		image, mask = mask, dst
	}
	return image, mask
}

func TestCopiesAndTheirMakerGoTogether(t *testing.T) {
	samples := []Sample{{ImagePath: "a"}}
	p := picture.PaperEval(8, 8)
	for _, o := range []Options{{Copies: 2}, {Copies: -1}, {Vary: func(int, *picture.RGB, *picture.Gray, func(int, *picture.RGB) error) error { return nil }}} {
		o.Batch, o.Preprocess = 1, p
		if _, err := NewLoader(samples, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

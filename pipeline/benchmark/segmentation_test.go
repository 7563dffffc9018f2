package benchmark

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/pipeline/benchmark/benchmarktest"
	"github.com/relevit/relevit/pipeline/picture"
)

// TestImageNetSegmentationEqualsThePublishedReader holds pictures and masks, and
// these at two sizes, against what h5py and PIL make of the miniature.
func TestImageNetSegmentationEqualsThePublishedReader(t *testing.T) {
	var want []struct {
		Rows, Columns                      int
		Image, Mask, Nearest16, Nearest224 string
	}
	data, err := os.ReadFile(filepath.Join("hdf5", "testdata", "gtsegs.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	s, err := Open(filepath.Join("hdf5", "testdata", "gtsegs.mat"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Layout != ImageNetSegmentation || !s.Unlabelled || len(s.Samples) != len(want) || !strings.HasSuffix(s.Found, "5 pictures") {
		t.Fatalf("%+v", s)
	}
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:])
	}
	levels := func(values []float32) (out []byte) {
		for _, v := range values {
			out = append(out, byte(v))
		}
		return out
	}
	for i, w := range want {
		var image picture.RGB
		var mask picture.Gray
		if err := s.Read(&s.Samples[i], &image, &mask); err != nil {
			t.Fatal(err)
		}
		if image.W != w.Columns || image.H != w.Rows || digest(image.Pix) != w.Image || digest(levels(mask.Pix)) != w.Mask {
			t.Errorf("%s: %dx%d pixels, picture or mask differ", s.Samples[i].ID, image.W, image.H)
		}
		for size, hash := range map[int]string{16: w.Nearest16, 224: w.Nearest224} {
			out := make([]float32, size*size)
			if err := new(picture.Transformer).HardMask(out, &mask, picture.SegmentationEval(size, size).EvalGeometry(mask.W, mask.H)); err != nil {
				t.Fatal(err)
			}
			if digest(levels(out)) != hash {
				t.Errorf("%s: its mask at %d pixels differs from PIL's", s.Samples[i].ID, size)
			}
		}
		if err := s.Read(&s.Samples[i], &image, nil); err != nil {
			t.Error(err)
		}
	}
	s.Limit(2)
	if len(s.Samples) != 2 {
		t.Errorf("%d samples after a limit of 2", len(s.Samples))
	}
}

func TestPicturesWithoutLabelsAreReadWhereStated(t *testing.T) {
	dir := written(t, "pets", benchmarktest.Set{Pictures: []benchmarktest.Picture{{Path: "b.png"}, {Path: "a.png"}}, Texts: map[string]string{"notes.txt": ""}})
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("they are guessed")
	}
	s, err := Open(dir, Options{Layout: Flat})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Unlabelled || len(s.Samples) != 2 || s.Samples[0].ID != "a.png" {
		t.Errorf("%+v", s)
	}
}

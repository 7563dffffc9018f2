package pipeline

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestGraphsOfOneSizeAreResized holds the features of a converted file, made
// larger as a graph, against those of the checkpoint built larger.
func TestGraphsOfOneSizeAreResized(t *testing.T) {
	orttest.Need(t)
	for _, zoo := range []string{"ckpt-token", "ckpt-mean", "ckpt-rectangles", "ckpt-registers"} {
		source := filepath.Join("testdata/zoo", zoo, "model.safetensors")
		converted := filepath.Join(t.TempDir(), zoo+".onnx")
		if _, err := Convert(context.Background(), source, converted, ConvertOptions{}); err != nil {
			t.Fatal(err)
		}
		var got [2][]float32
		size := [2]int{20, 32}
		for i, path := range []string{source, converted} {
			m, err := (&MaskOptions{Model: path}).sized(size)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			f := openFeatures(t, m, 1, Feature{Keys, 1})
			if f.Size != size {
				t.Fatalf("%s: pictures of %v", path, f.Size)
			}
			pixels := make([]float32, 3*size[0]*size[1])
			for j := range pixels {
				pixels[j] = float32(math.Sin(float64(j * j)))
			}
			featuresOf(t, f, onnx.FloatTensor(pixels, 1, 3, int64(size[0]), int64(size[1])))
			got[i] = f.Of(0)[0]
		}
		if len(got[0]) != len(got[1]) {
			t.Fatalf("%s: %d values, want %d", zoo, len(got[1]), len(got[0]))
		}
		if e := off(wide(got[1]), wide(got[0]), nil); !(e < 1e-5) {
			t.Errorf("%s: the resized graph's keys are off by %.2g", zoo, e)
		}
	}
}

// TestGraphsThatCantBeResizedSayWhy has positions in every attention.
func TestGraphsThatCantBeResizedSayWhy(t *testing.T) {
	for zoo, want := range map[string]string{"hf-beit-17": "position embedding wasn't found"} {
		models, err := filepath.Glob(filepath.Join("testdata/zoo", zoo, "model*.onnx"))
		if err != nil || len(models) != 1 {
			t.Fatal(models, err)
		}
		if _, err := (&MaskOptions{Model: models[0]}).sized([2]int{48, 48}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", zoo, err, want)
		}
	}
}

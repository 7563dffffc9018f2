//go:build e2e

package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/picture"
)

// TestAutoMasksFitThePets makes masks of the 50 pets by models that know nothing
// of masks, and compares them with the trimaps, the edge counted as foreground,
// at 224x224. The method's numbers were chosen on the even half of the sorted
// list with ViT-Ti and DeiT-Ti; the odd half tells.
func TestAutoMasksFitThePets(t *testing.T) {
	orttest.Need(t)
	for _, model := range []string{vitTiny, deitTiny} {
		out := filepath.Join(t.TempDir(), "masks")
		opt := MaskOptions{Images: shared(t, "data", "pets", "images"), Output: out, Model: shared(t, "data", "models", model), MinConfidence: all}
		makeMasks(t, opt)
		records := maskRecords(t, out)
		files, err := os.ReadDir(opt.Images)
		if err != nil {
			t.Fatal(err)
		}
		var sums, kept [2]float64
		var pictures, certain [2]int
		bad := 0
		for i, f := range files {
			r := records[f.Name()]
			iou := petOverlap(t, filepath.Join(out, r.Mask), strings.TrimSuffix(f.Name(), ".jpg"))
			sums[i%2] += iou
			pictures[i%2]++
			if float64(r.Confidence) < DefaultConfidence[MethodAuto] {
				continue
			}
			kept[i%2] += iou
			certain[i%2]++
			if iou < 0.3 {
				bad++
			}
		}
		odd := sums[1] / float64(pictures[1])
		t.Logf("%s: mean IoU %.4f on the even half, %.4f on the odd; of the %d and %d that are kept %.4f and %.4f, %d below 0.3", model,
			sums[0]/float64(pictures[0]), odd, certain[0], certain[1], kept[0]/float64(certain[0]), kept[1]/float64(certain[1]), bad)
		if n := certain[0] + certain[1]; pictures[1] != 25 || !(odd >= 0.81) || n < 40 || 20*bad >= n {
			t.Errorf("%s: mean IoU %.4f on the odd half, want 0.81; %d of %d masks are kept, %d of these below 0.3", model, odd, n, len(files), bad)
		}
	}
}

// petOverlap is a mask's IoU with a pet's trimap.
func petOverlap(t *testing.T, mask, name string) float64 {
	t.Helper()
	trimap, err := picture.ReadMask(shared(t, "data", "pets", "trimaps", name+".png"), picture.MaskOptions{Encoding: picture.Trimap})
	if err != nil {
		t.Fatal(err)
	}
	return maskOverlap(t, mask, trimap)
}

// maskOverlap is the IoU of a mask in a file with another, both at 224x224 by
// nearest pixels.
func maskOverlap(t *testing.T, path string, truth *picture.Gray) float64 {
	t.Helper()
	mask, err := picture.ReadMask(path, picture.MaskOptions{Encoding: picture.Binary})
	if err != nil {
		t.Fatal(err)
	}
	var at [2][]bool
	for i, m := range []*picture.Gray{mask, truth} {
		for _, v := range m.ResizeNearest(224, 224).Pix {
			at[i] = append(at[i], v > 0.5)
		}
	}
	return overlapOf(at[0], at[1])
}

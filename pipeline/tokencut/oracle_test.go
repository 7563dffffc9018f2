package tokencut

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/pipeline/picture"
)

// shared is the folder of reference vectors beside the project's root.
func shared(t testing.TB, names ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{"..", "..", "..", "shared"}, names...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no reference data: %v", err)
	}
	return path
}

// reference is one picture of the published procedure's results.
type reference struct {
	File string
	Seed int     `json:"seed_patch"`
	Gap  float64 `json:"gap"`
	IoU  float64 `json:"iou_coarse_refined"`

	tensors *safetensors.File
}

func references(t testing.TB) []reference {
	t.Helper()
	text, err := os.ReadFile(shared(t, "oracle", "pipeline", "images.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []reference
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("images.json lists no pictures")
	}
	for i := range all {
		if all[i].tensors, err = safetensors.Open(shared(t, "oracle", "pipeline", fmt.Sprintf("%02d.safetensors", i))); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func (r reference) tensor(t testing.TB, name string) *onnx.Tensor {
	t.Helper()
	tensor, err := r.tensors.Tensor("tokencut." + name)
	if err != nil {
		t.Fatal(err)
	}
	return tensor
}

func (r reference) values(t testing.TB, name string) []float64 {
	t.Helper()
	v, err := r.tensor(t, name).Float64s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (r reference) keys(t testing.TB) []float32 {
	t.Helper()
	v, err := r.tensor(t, "keys").Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// mask is a mask at the picture's size.
func (r reference) mask(t testing.TB, name string) (mask []bool, h, w int) {
	t.Helper()
	tensor := r.tensor(t, name)
	v, err := tensor.Int64s()
	if err != nil {
		t.Fatal(err)
	}
	mask = make([]bool, len(v))
	for i, x := range v {
		mask[i] = x != 0
	}
	return mask, int(tensor.Dims[0]), int(tensor.Dims[1])
}

func (r reference) picture(t testing.TB) *picture.RGB {
	t.Helper()
	p, err := picture.ReadFile(shared(t, r.File))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCutEqualsThePublishedProcedure(t *testing.T) {
	for _, r := range references(t) {
		s, err := Cut(r.keys(t), 14, 14, Options{})
		if err != nil {
			t.Errorf("%s: %v", r.File, err)
			continue
		}
		for i, want := range r.values(t, "eigenvalues") {
			if off := math.Abs(s.Values[i] - want); !(off <= 1e-6) {
				t.Errorf("%s: eigenvalue %d is %v, expected %v", r.File, i, s.Values[i], want)
			}
		}
		if off := math.Abs(s.Gap - r.Gap); !(off <= 1e-5) {
			t.Errorf("%s: gap %v, expected %v", r.File, s.Gap, r.Gap)
		}
		if r.Gap <= 0.05 {
			continue
		}
		want := r.values(t, "eigenvector")
		worst := math.Inf(1)
		for _, sign := range []float64{1, -1} {
			worst = min(worst, farthest(s.Vector, want, sign))
		}
		if worst > 1e-4 {
			t.Errorf("%s: eigenvector off by %.2g", r.File, worst)
		}
		if s.Seed != r.Seed {
			t.Errorf("%s: seed %d, expected %d", r.File, s.Seed, r.Seed)
		}
		coarse, h, w := r.mask(t, "coarse")
		if n := differences(UpscaleNearest(s.Mask, 14, 14, h, w), coarse); n != 0 {
			t.Errorf("%s: the coarse mask differs in %d of %d pixels", r.File, n, h*w)
		}
	}
}

func TestRefineEqualsThePublishedProcedure(t *testing.T) {
	for _, r := range references(t) {
		coarse, h, w := r.mask(t, "coarse")
		p := r.picture(t)
		soft, mask, flipped, err := Refine(p.Pix, h, w, coarse, SolverOptions{})
		if err != nil {
			t.Errorf("%s: %v", r.File, err)
			continue
		}
		mean := 0.0
		for i, want := range r.values(t, "soft") {
			mean += math.Abs(float64(soft[i])-want) / float64(h*w)
		}
		if !(mean <= 1e-3) {
			t.Errorf("%s: the solver's output is off by %.2g on average", r.File, mean)
		}
		if flipped != (r.IoU < 0.5) {
			t.Errorf("%s: inverted is %v at an IoU of %.3f with the coarse mask", r.File, flipped, r.IoU)
		}
		if flipped { // the reference is the mask before that
			for i := range mask {
				mask[i] = !mask[i]
			}
		}
		want, _, _ := r.mask(t, "refined")
		if iou := overlap(mask, want); iou < 0.99 {
			t.Errorf("%s: refined masks have an IoU of %.4f", r.File, iou)
		}
	}
}

// farthest is the largest difference between a and sign*b.
func farthest(a, b []float64, sign float64) float64 {
	worst := 0.0
	for i := range a {
		off := math.Abs(a[i] - sign*b[i])
		if math.IsNaN(off) {
			return math.Inf(1)
		}
		worst = max(worst, off)
	}
	return worst
}

func differences(a, b []bool) int {
	n := 0
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/passes"
	"github.com/relevit/relevit/pipeline/picture"
	"github.com/relevit/relevit/pipeline/tokencut"
)

// openFeatures derives and opens a model's features.
func openFeatures(t *testing.T, m *Model, batch int64, wanted ...Feature) *Features {
	t.Helper()
	fg, err := m.NewFeatureGraph(batch, wanted)
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFeatures(fg, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// featuresOf runs pictures (B,3,H,W).
func featuresOf(t *testing.T, f *Features, images *onnx.Tensor) {
	t.Helper()
	in, err := ort.BufferFrom(images)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	if err := f.Run(in); err != nil {
		t.Fatal(err)
	}
}

// TestTokenCutEqualsTheOracleThroughTheModel makes whole pictures of 224x224 into
// keys of ViT-Ti's block 8, cuts these and refines the cut, and compares all of
// it with the published procedure on PyTorch's keys. Of their float32 deviation
// the oracle knows that of attention maps, which are made of keys.
func TestTokenCutEqualsTheOracleThroughTheModel(t *testing.T) {
	orttest.Need(t)
	c := openOracle(t, "vit-tiny")
	converted := filepath.Join(t.TempDir(), "model.onnx")
	if _, err := Convert(context.Background(), c.weights, converted, ConvertOptions{Opset: 14}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{c.weights, converted} {
		m, err := OpenModel(path, ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		compareCuts(t, m, 10*c.deviation["attn"])
	}
}

func compareCuts(t *testing.T, m *Model, limit float64) {
	t.Helper()
	f := openFeatures(t, m, 1, Feature{Keys, 8})
	text, err := os.ReadFile(shared(t, "oracle", "pipeline", "images.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		File string
		Gap  float64
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for i, entry := range list {
		expected, err := safetensors.Open(shared(t, "oracle", "pipeline", fmt.Sprintf("%02d.safetensors", i)))
		if err != nil {
			t.Fatal(err)
		}
		p, err := picture.ReadFile(shared(t, strings.Split(entry.File, "/")...))
		if err != nil {
			t.Fatal(err)
		}
		whole := wholePicture(m.Preprocess, [2]int{224, 224})
		pixels := make([]float32, 3*224*224)
		if err := new(picture.Transformer).Image(pixels, p, whole.EvalGeometry(p.W, p.H), whole); err != nil {
			t.Fatal(err)
		}
		featuresOf(t, f, onnx.FloatTensor(pixels, 1, 3, 224, 224))
		keys := f.Of(0)[0]
		if e := off(wide(keys), values(t, expected, "tokencut.keys"), nil); !(e <= limit) {
			t.Errorf("%s: the keys are off by %.2g, more than %.2g", entry.File, e, limit)
		}
		cut, err := tokencut.Cut(keys, 14, 14, tokencut.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for j, want := range values(t, expected, "tokencut.eigenvalues") {
			if !(math.Abs(cut.Values[j]-want) <= 1e-6) {
				t.Errorf("%s: eigenvalue %d is %v, expected %v", entry.File, j, cut.Values[j], want)
			}
		}
		if entry.Gap <= 0.05 { // the vector is ill-conditioned, and with it the masks
			continue
		}
		vector := values(t, expected, "tokencut.eigenvector")
		worst := [2]float64{}
		for j, want := range vector {
			worst = [2]float64{max(worst[0], math.Abs(cut.Vector[j]-want)), max(worst[1], math.Abs(cut.Vector[j]+want))}
		}
		if !(min(worst[0], worst[1]) <= 1e-4) {
			t.Errorf("%s: the eigenvector is off by %.2g", entry.File, min(worst[0], worst[1]))
		}
		drawn, err := tokenCutDrawer{}.draw(sitter{}, p, f.Of(0), [2]int{14, 14})
		if err != nil {
			t.Fatal(err)
		}
		coarse := tokencut.UpscaleNearest(drawn.coarse.mask(), 14, 14, p.H, p.W)
		refined, inside := slices.Clone(drawn.mask), make([]bool, p.W*p.H)
		for j, want := range values(t, expected, "tokencut.refined") {
			inside[j] = want != 0
			refined[j] = refined[j] != drawn.flipped // the reference is the mask before it is inverted
		}
		if iou := overlapOf(refined, inside); !(iou >= 0.99) {
			t.Errorf("%s: the refined masks have an IoU of %.4f", entry.File, iou)
		}
		for j, want := range values(t, expected, "tokencut.coarse") {
			if coarse[j] != (want != 0) {
				t.Errorf("%s: the coarse masks differ at pixel %d", entry.File, j)
				break
			}
		}
	}
}

// TestFeaturesMakeTheZoosMaps holds queries and keys of every spelling against
// the attention maps, which equal PyTorch's: up to a scale, the difference of
// two entries of a row of the map's logarithm is that of the scores. What is
// added to the scores of any picture, such as a bias, is taken out by the
// difference of two pictures.
func TestFeaturesMakeTheZoosMaps(t *testing.T) {
	orttest.Need(t)
	for _, c := range zoo(t) {
		t.Run(c.name, func(t *testing.T) { checkZooFeatures(t, c) })
	}
}

func checkZooFeatures(t *testing.T, c zooCase) {
	const batch = 2
	image, err := c.expected.Tensor("image")
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(c.source, ModelOptions{Find: models.FindOptions{ImageSize: [2]int64(image.Dims[2:])}})
	if err != nil {
		t.Fatal(err)
	}
	found, err := models.Find(m.Graph, m.Find)
	if err != nil {
		t.Fatal(err)
	}
	pixels := make([]float32, batch*3*int(found.Image.Shape[2].N*found.Image.Shape[3].N))
	for i := range pixels {
		pixels[i] = float32(math.Sin(float64(i * i)))
	}
	images := onnx.FloatTensor(pixels, batch, 3, found.Image.Shape[2].N, found.Image.Shape[3].N)
	last := found.Attention[len(found.Attention)-1]
	var maps []models.Attention // of the last block
	for _, a := range found.Attention {
		if a.Block == last.Block {
			maps = append(maps, a)
		}
	}
	kinds := map[string][]float32{}
	for _, kind := range []string{Queries, Keys} {
		f := openFeatures(t, m, batch, Feature{kind, last.Block})
		featuresOf(t, f, images)
		for i := range batch {
			kinds[kind] = append(kinds[kind], f.Of(i)[0]...)
		}
	}
	patches, heads := int(found.Grid[0]*found.Grid[1]), int(last.Heads)
	width := len(kinds[Keys]) / batch / patches / len(maps)
	for j, a := range maps {
		A := mapValues(t, m, a, images)
		at := func(kind string, picture, token, head, channel int) float64 {
			return float64(kinds[kind][((picture*patches+token)*len(maps)+j)*width+head*(width/heads)+channel])
		}
		logs := func(picture, head, from, to int) float64 {
			n := int(a.Tokens)
			from, to = n-patches+from, n-patches+to
			if a.Transposed {
				from, to = to, from
			}
			return math.Log(float64(A[((picture*heads+head)*n+from)*n+to]))
		}
		for head := range heads {
			var score, seen []float64
			for i := range patches {
				for to := 1; to < patches; to++ {
					var s, l float64
					for picture, sign := range []float64{1, -1} {
						l += sign * (logs(picture, head, i, to) - logs(picture, head, i, 0))
						for ch := range width / heads {
							s += sign * at(Queries, picture, i, head, ch) * (at(Keys, picture, to, head, ch) - at(Keys, picture, 0, head, ch))
						}
					}
					score, seen = append(score, s), append(seen, l)
				}
			}
			if r := cosineOf(score, seen); !(r > 1-1e-6) {
				t.Errorf("%s, head %d: scores from queries and keys and the map's logarithm correlate by %v", a.Value.Name, head, r)
			}
		}
	}
}

// mapValues runs a model as far as one attention map.
func mapValues(t *testing.T, m *Model, a models.Attention, images *onnx.Tensor) []float32 {
	t.Helper()
	g, copies := m.Graph.Clone()
	g.Outputs = []*onnx.Value{copies[a.Value]}
	g.Prune()
	if err := passes.Specialize(g, images.Dims[0]); err != nil {
		t.Fatal(err)
	}
	data, err := Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ort.NewSession(data, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in, err := ort.BufferFrom(images)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := s.Call(map[string]*ort.Buffer{m.Focus.Input: in})
	if err != nil {
		t.Fatal(err)
	}
	defer out[g.Outputs[0].Name].Close()
	return slices.Clone(out[g.Outputs[0].Name].Float32s())
}

// cosineOf is the cosine between two series, which have no mean to take out.
func cosineOf(x, y []float64) float64 {
	var xx, xy, yy float64
	for i := range x {
		xx, xy, yy = xx+x[i]*x[i], xy+x[i]*y[i], yy+y[i]*y[i]
	}
	return xy / math.Sqrt(xx*yy)
}

// headlessModel is a checkpoint with its classifier's tensors left out.
func headlessModel(t *testing.T) string {
	t.Helper()
	f, err := safetensors.Open("testdata/zoo/ckpt-token/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	var kept []safetensors.Named
	for _, name := range f.Names() {
		if tensor, err := f.Tensor(name); err != nil {
			t.Fatal(err)
		} else if !strings.HasPrefix(name, "head") {
			kept = append(kept, safetensors.Named{Name: name, Tensor: tensor})
		}
	}
	headless := filepath.Join(t.TempDir(), "model.safetensors")
	if err := safetensors.Write(headless, kept, nil); err != nil {
		t.Fatal(err)
	}
	return headless
}

// TestFeaturesNeedNoClassifier takes features from a checkpoint without a head,
// as DINO's are, and they equal those with it.
func TestFeaturesNeedNoClassifier(t *testing.T) {
	orttest.Need(t)
	source, headless := "testdata/zoo/ckpt-token/model.safetensors", headlessModel(t)
	open := ModelOptions{Convert: models.Options{Heads: 2}}
	var got [2][][]float32
	for i, path := range []string{source, headless} {
		m, err := OpenModel(path, open)
		if err != nil {
			t.Fatal(err)
		}
		x := openFeatures(t, m, 1, Feature{Values, 0}, Feature{Attention, 1})
		pixels := make([]float32, 3*x.Size[0]*x.Size[1])
		for j := range pixels {
			pixels[j] = float32(math.Sin(float64(j)))
		}
		featuresOf(t, x, onnx.FloatTensor(pixels, 1, 3, int64(x.Size[0]), int64(x.Size[1])))
		got[i] = x.Of(0)
		if len(got[i]) != 2 {
			t.Fatalf("%d features, want 2", len(got[i]))
		}
	}
	for j := range got[0] {
		if !slices.Equal(got[0][j], got[1][j]) {
			t.Errorf("feature %d differs without a classifier", j)
		}
	}
}

// TestFeaturesRefuseBlocksThatArentThere says which there are.
func TestFeaturesRefuseBlocksThatArentThere(t *testing.T) {
	m, err := OpenModel("testdata/zoo/ckpt-token/model.safetensors", ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range []int{2, -1} {
		_, err := m.NewFeatureGraph(1, []Feature{{Keys, block}})
		if e := (*models.Error)(nil); !errors.As(err, &e) || !e.Usage || !strings.Contains(err.Error(), "0 to 1") {
			t.Errorf("block %d: %v", block, err)
		}
	}
}

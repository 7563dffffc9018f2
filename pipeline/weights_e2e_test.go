//go:build e2e

package pipeline

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/dataset"
	"github.com/relevit/relevit/pipeline/picture"
)

const (
	vitTiny  = "vit_tiny_patch16_224.safetensors"
	deitTiny = "deit_tiny_patch16_224.safetensors"
)

// converted converts a real checkpoint and opens the file.
func converted(t *testing.T, checkpoint string) *Model {
	t.Helper()
	out := filepath.Join(t.TempDir(), "model.onnx")
	if _, err := Convert(context.Background(), shared(t, "data", "models", checkpoint), out, ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(out, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// logitsOf runs a file on images (B,3,H,W) in a session that knows nothing
// else of the model, and returns (B,C).
func logitsOf(t *testing.T, s *ort.Session, images *onnx.Tensor) []float32 {
	t.Helper()
	in, err := ort.BufferFrom(images)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := s.Call(map[string]*ort.Buffer{s.Inputs()[0].Name: in})
	if err != nil {
		t.Fatal(err)
	}
	logits := out[s.Outputs()[0].Name]
	defer logits.Close()
	return slices.Clone(logits.Float32s())
}

func openFile(t *testing.T, path string) *ort.Session {
	t.Helper()
	s, err := ort.Open(path, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// timmPictures are the reference's pictures, each resized and cropped by PIL,
// normalised for a model, with what PyTorch's ViT-Ti says of them.
func timmPictures(t *testing.T, p picture.Preprocess) (images []*onnx.Tensor, logits [][]float64) {
	t.Helper()
	files, err := filepath.Glob(shared(t, "oracle", "pipeline") + "/*.safetensors")
	if err != nil || len(files) == 0 {
		t.Fatalf("reference pictures: %v, %v", files, err)
	}
	for _, path := range files {
		pixels := tensorIn(t, path, "image.timm") // (H,W,3)
		plane := len(pixels.Raw) / 3
		values := make([]float32, len(pixels.Raw))
		for i, v := range pixels.Raw {
			c := i % 3
			values[c*plane+i/3] = (float32(v)/255 - p.Mean[c]) / p.Std[c]
		}
		images = append(images, onnx.FloatTensor(values, 1, 3, pixels.Dims[0], pixels.Dims[1]))
		logits = append(logits, float64sIn(t, path, "logits.timm"))
	}
	return images, logits
}

func tensorIn(t *testing.T, path, name string) *onnx.Tensor {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	tensor, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	return tensor
}

func float64sIn(t *testing.T, path, name string) []float64 {
	t.Helper()
	values, err := tensorIn(t, path, name).Float64s()
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func float64s(values []float32) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

// TestConvertedWeightsGivePyTorchsLogits compares ViT-Ti with PyTorch's run.
func TestConvertedWeightsGivePyTorchsLogits(t *testing.T) {
	orttest.Need(t)
	m := converted(t, vitTiny)
	s := openFile(t, m.Path)
	images, want := timmPictures(t, m.Preprocess)
	images = append(images, tensorIn(t, shared(t, "oracle", "vit-tiny", "inputs.safetensors"), "image"))
	want = append(want, float64sIn(t, shared(t, "oracle", "vit-tiny", "expected.safetensors"), "logits"))
	worst := 0.0
	for i, image := range images {
		e := off(float64s(logitsOf(t, s, image)), want[i], nil)
		worst = math.Max(worst, e)
		if e > 1e-4 {
			t.Errorf("the logits of batch %d are off by %.2g of the largest", i, e)
		}
	}
	t.Logf("%d batches, the logits are off by at most %.2g of the largest", len(images), worst)
}

// TestConvertedDeiTGivesItsLogits compares with a float64 forward pass written
// in NumPy from timm's source, which agrees with PyTorch's logits of ViT-Ti to
// 7.5e-7; its five largest logits of the first three reference pictures.
func TestConvertedDeiTGivesItsLogits(t *testing.T) {
	orttest.Need(t)
	m := converted(t, deitTiny)
	s := openFile(t, m.Path)
	images, _ := timmPictures(t, m.Preprocess)
	for i, want := range []struct {
		classes []int64
		logits  []float64
		sum     float64 // of all logits
	}{
		{[]int64{285, 287, 281, 282, 284}, []float64{8.07654, 6.30135, 6.0837, 5.96894, 5.33712}, -62.56227},
		{[]int64{285, 281, 282, 287, 289}, []float64{9.87788, 7.28259, 6.15366, 5.49371, 4.70998}, -14.81917},
		{[]int64{284, 287, 356, 286, 285}, []float64{9.56238, 4.08544, 2.70021, 2.1926, 2.17862}, -46.71692},
	} {
		got := float64s(logitsOf(t, s, images[i]))
		sum := 0.0
		for _, v := range got {
			sum += v
		}
		if e := off(got, want.logits, want.classes); e > 1e-5 || math.Abs(sum-want.sum) > 1e-3 || top(got) != int(want.classes[0]) {
			t.Errorf("picture %d: the largest logits are off by %.2g, class %d, sum %.5f", i, e, top(got), sum)
		}
	}
}

// sampleImages lists ../shared/data's ImageNet pictures with their classes.
func sampleImages(t *testing.T) []dataset.Sample {
	t.Helper()
	samples, err := dataset.Tree(shared(t, "data", "imagenet-samples"), "")
	if err != nil {
		t.Fatal(err)
	}
	classes, err := dataset.ReadClasses(shared(t, "data", "imagenet-classes.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	if err := dataset.Label(samples, dataset.LabelsClassesFile, classes, 1000); err != nil {
		t.Fatal(err)
	}
	return samples
}

// accuracyOf decodes and preprocesses the samples as relevit does and counts.
func accuracyOf(t *testing.T, m *Model, p picture.Preprocess, samples []dataset.Sample) Accuracy {
	t.Helper()
	predictor, err := NewPredictor(m, 20, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer predictor.Close()
	l, err := dataset.NewLoader(samples, dataset.Options{Batch: predictor.Batch, Preprocess: p, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := predictor.Accuracy(context.Background(), l)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestTop1OfRealWeights counts on all 500 sample images, preprocessed as the
// converted model's metadata say, and ViT-Ti also as the data's README says.
//
// The expected counts were measured in Python: the same ONNX files in
// onnxruntime 1.32.0, pictures by Pillow 13 (decoded and converted to RGB, shorter
// side resized bicubically to 248 or 256, centre crop of 224), normalised in
// NumPy. 0.2 points of 500 pictures are one picture.
func TestTop1OfRealWeights(t *testing.T) {
	orttest.Need(t)
	samples := sampleImages(t)
	if len(samples) != 500 {
		t.Fatalf("%d sample images", len(samples))
	}
	for _, c := range []struct {
		checkpoint string
		shorter    int // side to resize to
		want       Accuracy
	}{
		{vitTiny, 248, Accuracy{500, 413, 478}},
		{vitTiny, 256, Accuracy{500, 416, 479}},
		{deitTiny, 248, Accuracy{500, 396, 474}},
	} {
		name, _, _ := strings.Cut(c.checkpoint, "_patch")
		t.Run(fmt.Sprintf("%s/%d", name, c.shorter), func(t *testing.T) {
			m := converted(t, c.checkpoint)
			p := m.Preprocess
			if c.shorter == 256 {
				p.CropPct = 224.0 / 256
			}
			got := accuracyOf(t, m, p, samples)
			t.Logf("top-1 %.1f %%, top-5 %.1f %%", 100*float64(got.Top1)/500, 100*float64(got.Top5)/500)
			if got.Pictures != 500 || max(got.Top1-c.want.Top1, c.want.Top1-got.Top1) > 1 || max(got.Top5-c.want.Top5, c.want.Top5-got.Top5) > 1 {
				t.Errorf("%+v, in Python %+v", got, c.want)
			}
		})
	}
}

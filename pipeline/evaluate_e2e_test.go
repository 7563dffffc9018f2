//go:build e2e

package pipeline

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/benchmark"
)

// TestEvaluateEqualsPyTorchOnRealWeights evaluates ViT-Ti and DeiT-Ti together,
// on the 500 sample images and on those 96 whose classes ImageNet-A has too.
//
// The expected counts were measured in Python: timm's models in PyTorch 2.15
// with these weights, pictures by Pillow and torchvision's Resize, CenterCrop
// and Normalize. A picture whose two largest logits are as good as equal may go
// either way, so a count may differ by one.
func TestEvaluateEqualsPyTorchOnRealWeights(t *testing.T) {
	orttest.Need(t)
	samples := shared(t, "data", "imagenet-samples")
	a := filepath.Join(t.TempDir(), "imagenet-a")
	if err := os.Mkdir(a, 0o777); err != nil {
		t.Fatal(err)
	}
	linked := 0
	for _, wnid := range wnidsOfImageNetA(t) {
		if _, err := os.Stat(filepath.Join(samples, wnid)); err != nil {
			continue
		}
		from, err := filepath.Abs(filepath.Join(samples, wnid))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(a, wnid)); err != nil {
			t.Fatal(err)
		}
		linked++
	}
	if linked != 96 {
		t.Fatalf("%d classes", linked)
	}
	for _, c := range []struct {
		data     string
		layout   benchmark.Layout
		protocol string
		images   int
		right    [2][2]int // ViT-Ti's and DeiT-Ti's top-1 and top-5; top-5 0: unknown
	}{
		{samples, benchmark.ImageNet, ProtocolStandard, 500, [2][2]int{{413, 478}, {396, 474}}},
		{samples, benchmark.ImageNet, ProtocolPaper, 500, [2][2]int{{411, 477}, {377, 463}}},
		{a, benchmark.ImageNetA, ProtocolStandard, 96, [2][2]int{{92, 0}, {93, 0}}},
		{a, benchmark.ImageNetA, ProtocolPaper, 96, [2][2]int{{86, 0}, {78, 0}}},
	} {
		t.Run(string(c.layout)+"/"+c.protocol, func(t *testing.T) {
			e, err := Evaluate(context.Background(), EvaluateOptions{Data: c.data, Protocol: c.protocol, Strict: true,
				Models: []string{shared(t, "data", "models", vitTiny), shared(t, "data", "models", deitTiny)}})
			if err != nil {
				t.Fatal(err)
			}
			if e.Layout != string(c.layout) || e.Images != c.images {
				t.Errorf("%s with %d images", e.Layout, e.Images)
			}
			for i, m := range e.Models {
				t.Logf("%s: %d and %d of %d, %.1f images a second", filepath.Base(m.Model), m.Right1, m.Right5, m.Images, float64(e.Rate))
				if want := c.right[i]; max(m.Right1-want[0], want[0]-m.Right1) > 1 || want[1] > 0 && max(m.Right5-want[1], want[1]-m.Right5) > 1 {
					t.Errorf("%s: %d and %d right, in Python %v", m.Model, m.Right1, m.Right5, want)
				}
			}
		})
	}
}

func wnidsOfImageNetA(t *testing.T) (out []string) {
	t.Helper()
	data, err := os.ReadFile(shared(t, "data", "class-lists", "imagenet-a.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		out = append(out, strings.Split(line, "\t")[1])
	}
	return out
}

// TestMapsOfRealWeightsPassTheirSanityChecks measures ViT-Ti's maps of 8 pets.
// Pixels that matter bring the class back early and take it away early, and maps
// become unlike themselves block after block.
func TestMapsOfRealWeightsPassTheirSanityChecks(t *testing.T) {
	orttest.Need(t)
	e, err := Evaluate(context.Background(), EvaluateOptions{Models: []string{shared(t, "data", "models", vitTiny)}, Data: shared(t, "data", "pets", "images"), Layout: string(benchmark.Flat),
		Masks: shared(t, "data", "pets", "trimaps"), Limit: 8, Steps: 7, Measure: []string{MeasureSegmentation, MeasureRelevance, MeasureRandomisation}})
	if err != nil {
		t.Fatal(err)
	}
	m := e.Models[0]
	for _, q := range Qualities() {
		t.Logf("%s %.3f", q, float64(m.Relevance.Measures[q].Value))
	}
	of := func(q string) float64 { return float64(m.Relevance.Measures[q].Value) }
	if of(InsertionBlur) < of(DeletionBlur)+0.1 || of(InsertionZero) < of(DeletionZero)+0.1 {
		t.Error("insertion doesn't exceed deletion")
	}
	if iou := float64(m.Segmentation.MeanIoU.Value); iou < 0.5 {
		t.Errorf("mean IoU %.3f", iou)
	}
	stages := m.Randomisation.Stages
	if len(stages) != 13 || stages[12].Parameters != 5717416 {
		t.Fatalf("%d stages, %+v", len(stages), stages)
	}
	likeness := func(from, to int) float64 {
		sum := 0.0
		for _, s := range stages[from:to] {
			t.Logf("random down to block %d: %.3f", s.Block, float64(s.Similarity.Value))
			sum += float64(s.Similarity.Value)
		}
		return sum / float64(to-from)
	}
	if first, last := likeness(0, 4), likeness(9, 13); !(first > last) || math.Abs(last) > 0.3 {
		t.Errorf("maps are alike by %.3f first and %.3f last", first, last)
	}
}

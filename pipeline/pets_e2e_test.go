//go:build e2e

package pipeline

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/dataset"
)

// petsConfig trains a model on half of the 50 pets with their trimaps, as
// published but for the labels, which are the model's own top-1.
func petsConfig(t *testing.T, model string) *configs.Config {
	t.Helper()
	cfg, err := configs.Load([]string{"vit-tiny"}, []string{"model=" + model,
		"data.layout=flat", "data.images=" + shared(t, "data", "pets", "images"), "data.masks=" + shared(t, "data", "pets", "trimaps"),
		"data.mask_encoding=trimap", "data.labels=top1", "data.classes=0", "data.samples=0",
		"data.validation.split=fraction", "data.validation.fraction=0.5", "epochs=10", "lr=3e-6"})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func finetunePets(t *testing.T, cfg *configs.Config) (dir string, result *FinetuneResult) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "run")
	result, err := Finetune(context.Background(), FinetuneOptions{Config: cfg, Dir: dir, Hooks: Hooks{
		OnEpoch: func(r EpochRecord) { t.Logf("epoch %d: loss %.4f, held out %+v", r.Epoch, r.Loss, *r.Validation) },
		OnStart: func(p Plan) { t.Logf("%+v", p) }}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("before %+v\nafter %+v\n%.2f s a step", *result.Before, *result.After, result.Seconds/float64(result.Steps))
	return dir, result
}

// TestFinetuningMovesRelevanceOntoPets is the main job on real weights, from
// the checkpoint: train ViT-Ti on 25 of the 50 pets, measure the other 25,
// export, and look at the exported file from outside.
func TestFinetuningMovesRelevanceOntoPets(t *testing.T) {
	orttest.Need(t)
	cfg := petsConfig(t, shared(t, "data", "models", vitTiny))
	dir, result := finetunePets(t, cfg)
	if result.After.ForegroundShare <= result.Before.ForegroundShare {
		t.Errorf("the foreground's share of the relevance went from %.4f to %.4f", result.Before.ForegroundShare, result.After.ForegroundShare)
	}
	if result.After.IoU <= result.Before.IoU {
		t.Errorf("the IoU went from %.4f to %.4f", result.Before.IoU, result.After.IoU)
	}
	robust := filepath.Join(t.TempDir(), "robust.onnx")
	if _, err := Export(context.Background(), dir, robust, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Run("the exported file gives the run's logits", func(t *testing.T) { testExportedLogits(t, dir, robust) })
	t.Run("the exported file is the original with other numbers", func(t *testing.T) {
		testOnlyNumbersChanged(t, filepath.Join(dir, artifactsName, sourceArtifact), robust)
	})
	t.Run("accuracy stays", func(t *testing.T) {
		testAccuracyStays(t, filepath.Join(dir, artifactsName, sourceArtifact), robust)
	})
	t.Run("finetuning the converted file gives the same", func(t *testing.T) {
		original := converted(t, vitTiny).Path
		again, _ := finetunePets(t, petsConfig(t, original))
		second := filepath.Join(t.TempDir(), "robust.onnx")
		if _, err := Export(context.Background(), again, second, ExportOptions{}); err != nil {
			t.Fatal(err)
		}
		testOnlyNumbersChanged(t, original, second)
		v, err := Verify(context.Background(), robust, second, VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if v.Verdict != VerdictIdentical {
			t.Errorf("the verdict on both runs' exports is %q, %d initializers differ, %q", v.Verdict, len(v.Changed), v.Structure)
		}
	})
}

// testExportedLogits runs the exported file on the held-out pictures, one by
// one, in a session on the file alone, and compares with the run's own logits
// with its best parameters.
func testExportedLogits(t *testing.T, dir, robust string) {
	plain := openFile(t, robust)
	run, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, l := evaluateBest(t, run)
	worst, scale, pictures := 0.0, 0.0, 0
	err = e.Each(context.Background(), l, func(p Evaluated) error {
		pictures++
		got := logitsOf(t, plain, onnx.FloatTensor(p.Image, 1, 3, int64(e.size[0]), int64(e.size[1])))
		for i, v := range p.Logits {
			worst = math.Max(worst, math.Abs(float64(got[i]-v)))
			scale = math.Max(scale, math.Abs(float64(v)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pictures, the logits are off by %.2g of the largest", pictures, worst/scale)
	if pictures != 25 || !(worst <= 1e-5*scale) {
		t.Errorf("the logits of %d pictures are off by %.2g, the largest is %.3g", pictures, worst, scale)
	}
}

// evaluateBest opens a run's evaluator with its best parameters, and a loader
// of its held-out pictures.
func evaluateBest(t *testing.T, run *Run) (*Evaluator, *dataset.Loader) {
	t.Helper()
	m, s, e := openEvaluator(t, run.Config)
	setParameters(t, s, run, Best)
	_, held, _, err := readSplits(run)
	if err != nil {
		t.Fatal(err)
	}
	return e, evaluationLoader(t, run.Config, m, e, held)
}

// openEvaluator opens a configuration's model for evaluation, as it is before
// training. The evaluator shares the stepper's parameters.
func openEvaluator(t *testing.T, cfg *configs.Config) (*Model, *Stepper, *Evaluator) {
	t.Helper()
	m, err := OpenModel(cfg.Model, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gs, err := m.NewGraphs(int64(cfg.Batch), ObjectiveOf(cfg), AdamWOf(cfg), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStepper(gs, int64(cfg.Batch), ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	e, err := NewEvaluator(gs, s, ort.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return m, s, e
}

// setParameters gives a stepper those of a run's checkpoint.
func setParameters(t *testing.T, s *Stepper, run *Run, which string) {
	t.Helper()
	c, err := run.LoadParameters(which)
	if err != nil {
		t.Fatal(err)
	}
	tensors := byName(c.Parameters)
	for i, p := range s.Params {
		copy(s.Weights[i].Bytes(), tensors[p.Name].Raw)
	}
}

// evaluationLoader streams samples with their masks into an evaluator.
func evaluationLoader(t *testing.T, cfg *configs.Config, m *Model, e *Evaluator, samples []dataset.Sample) *dataset.Loader {
	t.Helper()
	o := dataset.Options{Batch: cfg.Batch, Slots: e.Slots(), Masks: true, Strict: true}
	var err error
	if o.Preprocess, err = preprocessFor(cfg, m, int64(e.size[0]), int64(e.size[1])); err != nil {
		t.Fatal(err)
	}
	if o.Mask, err = maskOptions(cfg); err != nil {
		t.Fatal(err)
	}
	l, err := dataset.NewLoader(samples, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// testOnlyNumbersChanged puts the exported file's initializers and metadata
// into the original's document: if that is the exported file byte for byte,
// nothing else differs. Then it asks Verify.
func testOnlyNumbersChanged(t *testing.T, original, exported string) {
	after, _, err := onnx.ReadModel(exported)
	if err != nil {
		t.Fatal(err)
	}
	d, err := onnx.ReadDocument(original)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range after.Graph.Inits {
		if err := d.SetInitializer(v.Name, v.Data); err != nil {
			t.Fatal(err)
		}
	}
	for _, kv := range after.Metadata {
		d.SetMetadata(kv.Key, kv.Value)
	}
	written, err := os.ReadFile(exported)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.Bytes(), written) {
		t.Error("the exported file differs from the original in more than initializers and metadata")
	}
	v, err := Verify(context.Background(), original, exported, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d of %d initializers have other numbers, the logits differ by %.2g of the largest", v.Verdict, len(v.Changed), v.Initializers, v.Outputs[0].MaxRel)
	if v.Verdict != VerdictRetrained || len(v.Structure) > 0 || len(v.Changed) == 0 {
		t.Errorf("the verdict is %q, faults %q, structure %q", v.Verdict, v.Faults, v.Structure)
	}
}

// testAccuracyStays counts on the 500 sample images, none of which is trained on.
func testAccuracyStays(t *testing.T, original, exported string) {
	samples := sampleImages(t)
	var counts []Accuracy
	for _, path := range []string{original, exported} {
		m, err := OpenModel(path, ModelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, accuracyOf(t, m, m.Preprocess, samples))
	}
	t.Logf("before %+v, after %+v", counts[0], counts[1])
	if n := len(samples); counts[1].Pictures != n || counts[0].Top1-counts[1].Top1 > n/100 {
		t.Errorf("top-1 of %d pictures went from %d to %d", n, counts[0].Top1, counts[1].Top1)
	}
}

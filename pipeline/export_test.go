package pipeline

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// trainedRun is a run whose checkpoint best doubles head.weight, and last
// triples it.
func trainedRun(t *testing.T) (run *Run, base string) {
	t.Helper()
	run, base = newRun(t), tinyModel(t, 1, 17)
	data, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(run.Artifact(sourceArtifact), data, 0o666); err != nil {
		t.Fatal(err)
	}
	for which, factor := range map[string]float32{Best: 2, Last: 3} {
		p := safetensors.Named{Name: "head.weight", Tensor: scaled(t, base, "head.weight", factor)}
		c := &Checkpoint{Parameters: []safetensors.Named{p}, State: State{Epoch: int(factor)}}
		if err := run.SaveCheckpoint(which, c); err != nil {
			t.Fatal(err)
		}
	}
	return run, base
}

// scaled returns an initializer of a model times a factor.
func scaled(t *testing.T, path, name string, factor float32) *onnx.Tensor {
	t.Helper()
	m, _, err := onnx.ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	v := m.Graph.Find(name)
	values, err := v.Data.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	for i := range values {
		values[i] *= factor
	}
	return onnx.FloatTensor(values, v.Data.Dims...)
}

func export(t *testing.T, source, name string, opt ExportOptions) *Exported {
	t.Helper()
	e, err := Export(context.Background(), source, filepath.Join(t.TempDir(), name), opt)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestExportChangesTrainedParametersAndNothingElse(t *testing.T) {
	run, base := trainedRun(t)
	for which, factor := range map[string]float32{"": 2, Last: 3} {
		e := export(t, run.Dir, "out.onnx", ExportOptions{Checkpoint: which, Version: "v1"})
		if e.Epoch != int(factor) || e.Parameters != 1 {
			t.Errorf("exported %+v, want epoch %v", e, factor)
		}
		before, _, err := onnx.ReadModel(base)
		if err != nil {
			t.Fatal(err)
		}
		after, _, err := onnx.ReadModel(e.Path)
		if err != nil {
			t.Fatal(err)
		}
		if d := structureDifferences(before, after); d != nil {
			t.Errorf("the structure changed: %q", d)
		}
		for i, v := range after.Graph.Inits {
			want := before.Graph.Inits[i].Data
			if v.Name == "head.weight" {
				want = scaled(t, base, v.Name, factor)
			}
			if !bytes.Equal(v.Data.Raw, want.Raw) {
				t.Errorf("initializer %s has other numbers", v.Name)
			}
		}
		if err := checkMetadata(before, after); err != nil {
			t.Error(err)
		}
	}
}

// checkMetadata checks that everything is stated that is known, and that what
// the model stated itself stays.
func checkMetadata(before, after *onnx.Model) error {
	for _, kv := range before.Metadata {
		if got, _ := after.Meta(kv.Key); got != kv.Value && kv.Key != models.MetaVersion {
			return errors.New("lost " + kv.Key)
		}
	}
	recipe, _ := after.Meta(MetaRecipe)
	c, err := configs.Parse(MetaRecipe, []byte(recipe))
	if err != nil {
		return err
	}
	if c.LR == 0 || strings.Contains(recipe, "#") {
		return errors.New("recipe:\n" + recipe)
	}
	for key, want := range map[string]string{models.MetaVersion: "v1", models.MetaPreprocess: "crop_pct", MetaCheckpoint: "epoch"} {
		if got, _ := after.Meta(key); !strings.Contains(got, want) {
			return errors.New(key + ": " + got)
		}
	}
	return nil
}

func TestExportStatesSourceAndPreprocessingOfForeignModels(t *testing.T) {
	run, base := trainedRun(t)
	m, _, err := onnx.ReadModel(base)
	if err != nil {
		t.Fatal(err)
	}
	m.Metadata = nil
	if err := onnx.WriteModel(run.Artifact(sourceArtifact), m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	sum, _, err := fileSum(run.Artifact(sourceArtifact))
	if err != nil {
		t.Fatal(err)
	}
	after, _, err := onnx.ReadModel(export(t, run.Dir, "out.onnx", ExportOptions{}).Path)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := after.Meta(models.MetaSourceSum); got != sum {
		t.Errorf("source's SHA-256 %q, want %q", got, sum)
	}
	p := models.PreprocessOf(after)
	if p == nil || p.InputSize != [3]int{3, 16, 16} || !slices.Equal(p.Mean, []float64{0.5, 0.5, 0.5}) {
		t.Errorf("preprocessing %+v", p)
	}
}

func TestExportKeepsStoredTypes(t *testing.T) {
	run, base := trainedRun(t)
	m, _, err := onnx.ReadModel(base)
	if err != nil {
		t.Fatal(err)
	}
	v := m.Graph.Find("head.weight")
	if v.Data, err = v.Data.As(onnx.Float16); err != nil {
		t.Fatal(err)
	}
	v.Type = onnx.Float16
	if err := onnx.WriteModel(run.Artifact(sourceArtifact), m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	want, err := scaled(t, base, "head.weight", 2).As(onnx.Float16)
	if err != nil {
		t.Fatal(err)
	}
	after, _, err := onnx.ReadModel(export(t, run.Dir, "out.onnx", ExportOptions{}).Path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(export(t, run.Dir, "out.safetensors", ExportOptions{}).Path)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := f.Tensor("head.weight")
	if err != nil {
		t.Fatal(err)
	}
	for format, got := range map[string]*onnx.Tensor{FormatONNX: after.Graph.Find("head.weight").Data, FormatSafetensors: alone} {
		if got.Type != onnx.Float16 || !bytes.Equal(got.Raw, want.Raw) {
			t.Errorf("%s holds %v, want the new numbers in float16", format, got.Type)
		}
	}
}

func TestExportedSafetensorsConvertBackToTheSameModel(t *testing.T) {
	run, base := trainedRun(t)
	e := export(t, run.Dir, "out.safetensors", ExportOptions{})
	m, err := models.Convert(e.Path, models.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before, _, err := onnx.ReadModel(base)
	if err != nil {
		t.Fatal(err)
	}
	if d := structureDifferences(before, m); len(d) > 0 {
		t.Errorf("the structure changed: %q", d)
	}
	for i, v := range m.Graph.Inits {
		want := before.Graph.Inits[i].Data
		if v.Name == "head.weight" {
			want = scaled(t, base, v.Name, 2)
		}
		if !bytes.Equal(v.Data.Raw, want.Raw) {
			t.Errorf("initializer %s has other numbers", v.Name)
		}
	}
}

func TestExportOverwritesOnlyWhenTold(t *testing.T) {
	run, _ := trainedRun(t)
	out := filepath.Join(t.TempDir(), "out.onnx")
	if err := os.WriteFile(out, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	var exists *ExistsError
	if _, err := Export(context.Background(), run.Dir, out, ExportOptions{}); !errors.As(err, &exists) {
		t.Errorf("error %v, want an *ExistsError", err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "mine" {
		t.Errorf("the file is %q (%v) now", got, err)
	}
	if _, err := Export(context.Background(), run.Dir, out, ExportOptions{Force: true}); err != nil {
		t.Error(err)
	}
}

func TestExportRefusesWhatItCannotWrite(t *testing.T) {
	run, base := trainedRun(t)
	for _, c := range []struct {
		name, source, out string
		opt               ExportOptions
		want              string
	}{
		{"no format", run.Dir, "out.dat", ExportOptions{}, "give the file the suffix .onnx, .safetensors or .pth"},
		{"contradiction", run.Dir, "out.onnx", ExportOptions{Format: FormatSafetensors}, "give it that suffix"},
		{"unknown format", run.Dir, "out", ExportOptions{Format: "tflite"}, `"tflite"`},
		{"no folder", run.Dir, "no/such/out.onnx", ExportOptions{}, "no such file or directory"},
		{"unknown checkpoint", run.Dir, "out.onnx", ExportOptions{Checkpoint: "middle"}, "no such checkpoint"},
		{"no source", base + "x", "out.onnx", ExportOptions{}, "no such file"},
	} {
		_, err := Export(context.Background(), c.source, filepath.Join(t.TempDir(), c.out), c.opt)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.name, err, c.want)
		}
	}
}

func TestModelsExportWithoutARun(t *testing.T) {
	c, _ := tinyCheckpoint(t, 3)
	checkpoint := filepath.Join(t.TempDir(), "c.safetensors")
	if err := c.Save(checkpoint); err != nil {
		t.Fatal(err)
	}
	onnxFile := export(t, checkpoint, "out.onnx", ExportOptions{}).Path
	copied := export(t, onnxFile, "copy.onnx", ExportOptions{})
	if sum, _, err := fileSum(onnxFile); err != nil || sum != copied.SHA256 {
		t.Errorf("a copy has SHA-256 %s, want %s (%v)", copied.SHA256, sum, err)
	}
	back, err := safetensors.Open(export(t, onnxFile, "out.safetensors", ExportOptions{}).Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Names() {
		got, err := back.Tensor(name)
		if err != nil || !bytes.Equal(got.Raw, c.Tensor(name).Raw) {
			t.Errorf("%s differs (%v)", name, err)
		}
	}
}

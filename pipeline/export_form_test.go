package pipeline

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/passes"
)

func TestExportedFormsAreThoseAskedFor(t *testing.T) {
	orttest.Need(t)
	run, _ := trainedRun(t)
	e := export(t, run.Dir, "out.onnx", ExportOptions{Precision: Float16, Opset: 14, Batch: 2, Data: DataOutside, Run: true})
	m, d, err := onnx.ReadModel(e.Path)
	if err != nil {
		t.Fatal(err)
	}
	in := m.Graph.Inputs[0]
	if in.Type != onnx.Float16 || !in.Shape[0].Is(2) || m.OpsetVersion("") != 14 || m.IRVersion != 7 || !d.HasExternalData() {
		t.Errorf("input %v, opset %d, IR version %d", in, m.OpsetVersion(""), m.IRVersion)
	}
	if recipe, _ := m.Meta(MetaRecipe); recipe == "" {
		t.Error("the recipe is lost")
	}
	if e.Half == nil || e.Half.Kept == 0 || e.Opset != 14 || e.Check == nil || !e.Check.Ran || e.Check.Pictures != 2 {
		t.Errorf("exported %+v", e)
	}
	back := export(t, e.Path, "back.onnx", ExportOptions{Precision: Float32, Batch: DynamicBatch, Data: DataInside, Run: true})
	m, d, err = onnx.ReadModel(back.Path)
	if err != nil {
		t.Fatal(err)
	}
	if in := m.Graph.Inputs[0]; in.Type != onnx.Float || in.Shape[0].Known() || d.HasExternalData() || back.Check.MaxRel > 5e-3 {
		t.Errorf("back: input %v, %+v", in, back.Check)
	}
}

func TestFinetunedFloat16ModelsExportInFloat32(t *testing.T) {
	source := exportVariants(t, "testdata/zoo/timm-torchscript-17/model.onnx")["float16"]
	run, trained := finetunedRun(t, source)
	c, err := run.LoadParameters(Best)
	if err != nil {
		t.Fatal(err)
	}
	now := initializersOf(t, export(t, run.Dir, "out.onnx", ExportOptions{Precision: Float32}).Path)
	for _, p := range c.Parameters {
		if got := now[p.Name]; got.Type != onnx.Float || string(got.Raw) != string(p.Tensor.Raw) {
			t.Errorf("%s is %v, or not what was trained", p.Name, got.Type)
		}
	}
	if len(c.Parameters) == 0 || len(trained) != len(c.Parameters) {
		t.Errorf("%d parameters", len(c.Parameters))
	}

	p := c.Parameters[0]
	huge := make([]float32, p.Tensor.Count())
	huge[1] = 1e6
	p.Tensor = onnx.FloatTensor(huge, p.Tensor.Dims...)
	if err := run.SaveCheckpoint(Best, &Checkpoint{Parameters: []safetensors.Named{p}}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	_, err = Export(context.Background(), run.Dir, filepath.Join(dir, "out.onnx"), ExportOptions{})
	if err == nil || !strings.Contains(err.Error(), "parameter "+p.Name+": element 1, 1e+06, is too big for float16; export with precision fp32") {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v stays behind (%v)", entries, err)
	}
	if _, err := Export(context.Background(), run.Dir, filepath.Join(dir, "out.onnx"), ExportOptions{Precision: Float32}); err != nil {
		t.Error(err)
	}
}

func TestFormsThatMakeNoSenseAreRefused(t *testing.T) {
	model := tinyModel(t, 1, 17)
	for _, c := range []struct {
		out  string
		opt  ExportOptions
		want string
	}{
		{"a.pth", ExportOptions{Precision: Float16}, "are of ONNX models"},
		{"a.safetensors", ExportOptions{Opset: 13}, "are of ONNX models"},
		{"a.onnx", ExportOptions{Precision: "int8"}, `precision "int8"`},
		{"a.onnx", ExportOptions{KeepIO: true}, "where the precision is fp16"},
		{"a.onnx", ExportOptions{Opset: 10}, "11 to 24"},
		{"a.onnx", ExportOptions{Batch: -7}, "a size or dynamic"},
	} {
		_, err := Export(context.Background(), model, filepath.Join(t.TempDir(), c.out), c.opt)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want one that says %q", c.opt, err, c.want)
		}
	}
}

func TestWhatIsInTheWayOfAFormIsNamed(t *testing.T) {
	orttest.Need(t)
	base := tinyModel(t, 1, 17)
	m, _, err := onnx.ReadModel(base)
	if err != nil {
		t.Fatal(err)
	}
	v := m.Graph.Find("head.bias")
	v.Data = onnx.FloatTensor([]float32{1, 2, 3, 4, 80000}, 5)
	big := filepath.Join(t.TempDir(), "big.onnx")
	if err := onnx.WriteModel(big, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var precision *passes.PrecisionError
	if _, err := Export(context.Background(), big, filepath.Join(dir, "out.onnx"), ExportOptions{Precision: Float16}); !errors.As(err, &precision) ||
		!strings.Contains(err.Error(), "head.bias") {
		t.Errorf("error %v", err)
	}
	var lower *passes.LowerError
	if _, err := Export(context.Background(), "testdata/zoo/jax-flax-einsum/model.onnx", filepath.Join(dir, "out.onnx"), ExportOptions{Opset: 11}); !errors.As(err, &lower) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Export(ctx, base, filepath.Join(dir, "out.onnx"), ExportOptions{Precision: Float16}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v stays behind (%v)", entries, err)
	}
}

func TestExportedModelsThatComputeSomethingElseAreRefused(t *testing.T) {
	orttest.Need(t)
	path := tinyModel(t, 1, 17)
	for change, want := range map[float32]string{0: "", 0.5: "computes something else", float32(math.NaN()): "aren't finite"} {
		before, err := ort.Open(path, ort.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer before.Close()
		other := path
		if change != 0 {
			other = edited(t, path, change)
		}
		after, err := ort.Open(other, ort.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer after.Close()
		c := comparison{before: before, after: after, size: [2]int64{16, 16}}
		if err = c.run(); err == nil {
			err = c.judge(false)
		}
		if err != nil && want == "" || err == nil && want != "" || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("changed by %g: error %v, want one that says %q", change, err, want)
		}
	}
}

func TestDataFilesOfOthersStay(t *testing.T) {
	model := tinyModel(t, 1, 17)
	dir := t.TempDir()
	mine := filepath.Join(dir, "out.onnx.data")
	if err := os.WriteFile(mine, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Export(context.Background(), model, filepath.Join(dir, "out.onnx"), ExportOptions{Data: DataOutside})
	if err == nil || !strings.Contains(err.Error(), "belongs to another model") {
		t.Errorf("error %v", err)
	}
	if got, err := os.ReadFile(mine); err != nil || string(got) != "mine" {
		t.Errorf("the file holds %q (%v)", got, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v)", entries, err)
	}
}

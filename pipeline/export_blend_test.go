package pipeline

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// initializersOf reads a file's initializers.
func initializersOf(t *testing.T, path string) map[string]*onnx.Tensor {
	t.Helper()
	m, _, err := onnx.ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	return constantsOf(m.Graph)
}

func TestBlendsLieBetweenTheOriginalAndTheFinetunedModel(t *testing.T) {
	for name, source := range exportVariants(t, "testdata/zoo/timm-torchscript-17/model.onnx") {
		t.Run(name, func(t *testing.T) {
			if name == "external" {
				t.Skip("several files can't share one data file; see the test below")
			}
			run, trained := finetunedRun(t, source)
			e := export(t, run.Dir, "robust.onnx", ExportOptions{Blend: []float64{0, 0.25, 1}})
			finetuned := initializersOf(t, export(t, run.Dir, "out.onnx", ExportOptions{}).Path)
			original := initializersOf(t, run.Artifact(sourceArtifact))
			var names []string
			for _, f := range e.Files {
				names = append(names, filepath.Base(f.Path))
			}
			if want := []string{"robust-0.onnx", "robust-0.25.onnx", "robust-1.onnx"}; !slices.Equal(names, want) {
				t.Fatalf("wrote %v, want %v", names, want)
			}
			for parameter := range trained {
				for i, want := range []*onnx.Tensor{0: original[parameter], 2: finetuned[parameter]} {
					if got := initializersOf(t, e.Files[i].Path)[parameter]; want != nil && !bytes.Equal(got.Raw, want.Raw) {
						t.Errorf("%s: %s has other bits", names[i], parameter)
					}
				}
			}
			blended := initializersOf(t, e.Files[1].Path)
			c, err := run.LoadParameters(Best)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range c.Parameters {
				x, _ := original[p.Name].Float64s()
				y, _ := p.Tensor.Float64s()
				for i := range x {
					x[i] = 0.75*x[i] + 0.25*y[i]
				}
				want, err := onnx.DoubleTensor(x, p.Tensor.Dims...).As(original[p.Name].Type)
				if err != nil || !bytes.Equal(blended[p.Name].Raw, want.Raw) {
					t.Errorf("%s isn't blended in float64 and rounded once (%v)", p.Name, err)
				}
			}
			m, _, err := onnx.ReadModel(e.Files[1].Path)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := m.Meta(MetaBlend); got != "0.25" {
				t.Errorf("metadata say %q", got)
			}
		})
	}
}

func TestBlendsWithDataFilesGetTheirOwn(t *testing.T) {
	source := exportVariants(t, "testdata/zoo/timm-torchscript-17/model.onnx")["external"]
	run, _ := finetunedRun(t, source)
	dir := t.TempDir()
	e, err := Export(context.Background(), run.Dir, filepath.Join(dir, "r.onnx"), ExportOptions{Blend: []float64{0.25, 0.5}, Data: DataOutside})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range e.Files {
		if _, err := os.Stat(f.Path + ".data"); err != nil {
			t.Error(err)
		}
	}
	_, err = Export(context.Background(), run.Dir, filepath.Join(dir, "s.onnx"), ExportOptions{Blend: []float64{0.25, 0.5}})
	if err == nil || !strings.Contains(err.Error(), "belongs to another model") {
		t.Errorf("two models with one data file: %v", err)
	}
}

func TestBlendsOfWeightsAlone(t *testing.T) {
	run, base := trainedRun(t) // doubles head.weight
	e := export(t, run.Dir, "robust.pth", ExportOptions{Blend: []float64{0.5}})
	if filepath.Base(e.Path) != "robust.pth" || e.Blend == nil || *e.Blend != 0.5 {
		t.Errorf("wrote %+v", e)
	}
	converted := export(t, e.Path, "again.onnx", ExportOptions{})
	got, err := initializersOf(t, converted.Path)["head.weight"].Float64s()
	if err != nil {
		t.Fatal(err)
	}
	want, err := scaled(t, base, "head.weight", 1.5).Float64s()
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-7*math.Abs(want[i]) {
			t.Fatalf("element %d is %g, want %g", i, got[i], want[i])
		}
	}
}

func TestAModelBlendsWithItsOriginal(t *testing.T) {
	run, base := trainedRun(t)
	finetuned := export(t, run.Dir, "finetuned.onnx", ExportOptions{}).Path
	byRun := export(t, run.Dir, "a.onnx", ExportOptions{Blend: []float64{0.3}})
	alone := export(t, finetuned, "b.onnx", ExportOptions{Blend: []float64{0.3}, BlendWith: base})
	a, b := initializersOf(t, byRun.Path), initializersOf(t, alone.Path)
	for name := range a {
		if !bytes.Equal(a[name].Raw, b[name].Raw) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestBlendsThatMakeNoSenseAreRefused(t *testing.T) {
	run, base := trainedRun(t)
	other := "testdata/zoo/timm-torchscript-17/model.onnx"
	for _, c := range []struct {
		source string
		opt    ExportOptions
		want   string
	}{
		{run.Dir, ExportOptions{Blend: []float64{1.5}}, "between 0 and 1"},
		{run.Dir, ExportOptions{Blend: []float64{math.NaN()}}, "between 0 and 1"},
		{run.Dir, ExportOptions{Blend: []float64{0.5, 0.5}}, "each given once"},
		{run.Dir, ExportOptions{BlendWith: base}, "needs the shares"},
		{run.Dir, ExportOptions{Blend: []float64{0.5}, BlendWith: base}, "knows its original"},
		{base, ExportOptions{Blend: []float64{0.5}}, "needs its original"},
		{base, ExportOptions{Blend: []float64{0.5}, BlendWith: other}, "can't be the original"},
	} {
		dir := t.TempDir()
		_, err := Export(context.Background(), c.source, filepath.Join(dir, "out.onnx"), c.opt)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want one that says %q", c.opt.Blend, err, c.want)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%v: %v stays behind (%v)", c.opt.Blend, entries, err)
		}
	}
}

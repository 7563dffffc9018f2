package pipeline

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// TestWeightsInBranchesAreExportedInEveryForm sets weights that the file keeps
// in a branch within a branch, or outside and reads there.
func TestWeightsInBranchesAreExportedInEveryForm(t *testing.T) {
	orttest.Need(t)
	const name = "model.head.weight"
	for _, source := range []string{"branches-17", "branch-weights-17"} {
		run, trained := finetunedRun(t, filepath.Join("testdata", "zoo", source, "model.onnx"))
		if !trained[name] {
			t.Fatalf("%s: %s isn't trained", source, name)
		}
		m, _, err := onnx.ReadModel(run.Artifact(sourceArtifact))
		if err != nil {
			t.Fatal(err)
		}
		before, err := constantsOf(m.Graph)[name].Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for form, c := range map[string]struct {
			file  string
			opt   ExportOptions
			share float32
		}{
			"own graph":   {"out.onnx", ExportOptions{}, 0.75},
			"data file":   {"out.onnx", ExportOptions{Data: DataOutside}, 0.75},
			"opset":       {"out.onnx", ExportOptions{Opset: 18}, 0.75},
			"relevance":   {"out.onnx", ExportOptions{WithRelevance: true}, 0.75},
			"blend":       {"out.onnx", ExportOptions{Blend: []float64{0.5}}, 0.875},
			"safetensors": {"out.safetensors", ExportOptions{}, 0.75},
		} {
			path := export(t, run.Dir, c.file, c.opt).Path
			got, err := tensorOf(path, name)
			if err != nil {
				t.Errorf("%s, %s: %v", source, form, err)
				continue
			}
			for i := range before {
				if want := before[i] * c.share; math.Abs(float64(got[i]-want)) > 0x1p-22*math.Abs(float64(want)) {
					t.Errorf("%s, %s: element %d is %g, expected %g times %g", source, form, i, got[i], c.share, before[i])
					break
				}
			}
		}
		alone, err := tensorOf(export(t, run.Artifact(sourceArtifact), "out.safetensors", ExportOptions{}).Path, name)
		if err != nil || !slices.Equal(alone, before) {
			t.Errorf("%s: the untrained model's tensors lack %s (%v)", source, name, err)
		}
	}
}

// TestWeightsOfUntakenBranchesAreNamed gives the size that the head's branch
// asks for another value.
func TestWeightsOfUntakenBranchesAreNamed(t *testing.T) {
	m, _, err := onnx.ReadModel("testdata/zoo/branch-weights-17/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	at := m.Graph.Outputs[0].Node.Inputs[0]
	for !at.Is("Equal") {
		at = at.Node.Inputs[0]
	}
	for _, v := range at.Node.Inputs {
		if v.Is("Constant") {
			v.Node.SetAttr("value", onnx.Int64Tensor([]int64{9}, onnx.ConstantTensor(v.Node).Dims...))
		}
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnx.WriteModel(path, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	opened, err := OpenModel(path, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if w := strings.Join(opened.Warnings, "\n"); !strings.Contains(w, "2 weights within If nodes keep their values (model.head.weight first)") {
		t.Errorf("warnings %q", w)
	}
}

// tensorOf reads a tensor of an ONNX or safetensors file.
func tensorOf(path, name string) ([]float32, error) {
	if strings.HasSuffix(path, ".safetensors") {
		f, err := safetensors.Open(path)
		if err != nil {
			return nil, err
		}
		t, err := f.Tensor(name)
		if err != nil {
			return nil, err
		}
		return t.Float32s()
	}
	m, _, err := onnx.ReadModel(path)
	if err != nil {
		return nil, err
	}
	return constantsOf(m.Graph)[name].Float32s()
}

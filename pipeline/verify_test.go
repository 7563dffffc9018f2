package pipeline

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/pipeline/picture"
)

// tinyCheckpoint is a Vision Transformer of 16x16 pixels with random weights.
func tinyCheckpoint(t testing.TB, seed uint64) (*models.Checkpoint, *models.Architecture) {
	t.Helper()
	a, err := models.NewArchitecture(`{"img_size":16,"patch_size":8,"embed_dim":16,"depth":2,"num_heads":2,"num_classes":5}`)
	if err != nil {
		t.Fatal(err)
	}
	c, err := models.RandomCheckpoint(a, seed)
	if err != nil {
		t.Fatal(err)
	}
	return c, a
}

// tinyModel writes such a model as ONNX.
func tinyModel(t testing.TB, seed uint64, opset int64) string {
	t.Helper()
	c, a := tinyCheckpoint(t, seed)
	m, err := models.Build(c, a, models.BuildOptions{Opset: opset, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnx.WriteModel(path, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// edited writes a copy of a model with one number changed.
func edited(t testing.TB, path string, change float32) string {
	t.Helper()
	m, d, err := onnx.ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range m.Graph.Inits {
		if v.Name != "head.bias" {
			continue
		}
		values, err := v.Data.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		values[2] += change
		if err := d.SetInitializer(v.Name, onnx.FloatTensor(values, v.Data.Dims...)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "edited.onnx")
	if err := d.WriteFile(out); err != nil {
		t.Fatal(err)
	}
	return out
}

func verify(t *testing.T, a, b string) *Verification {
	t.Helper()
	v, err := Verify(context.Background(), a, b, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Faults) > 0 {
		t.Errorf("faults %q", v.Faults)
	}
	text, err := json.Marshal(v)
	if err != nil || !strings.Contains(string(text), `"verdict"`) {
		t.Errorf("as JSON: %s %v", text, err)
	}
	return v
}

func TestVerdictTellsWhatChanged(t *testing.T) {
	orttest.Need(t)
	model := tinyModel(t, 1, 17)
	for _, c := range []struct {
		name, other string
		want        string
		changed     int
		structure   string
	}{
		{"itself", model, VerdictIdentical, 0, ""},
		{"one number", edited(t, model, 0.25), VerdictRetrained, 1, ""},
		{"one number hardly", edited(t, model, 1e-9), VerdictEquivalent, 1, ""},
		{"another opset", tinyModel(t, 1, 21), VerdictEquivalent, 0, "operator sets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verify(t, model, c.other)
			if v.Verdict != c.want || len(v.Changed) != c.changed {
				t.Errorf("verdict %q with %d changed initializers, want %q with %d: %+v", v.Verdict, len(v.Changed), c.want, c.changed, v.Outputs)
			}
			if got := strings.Join(v.Structure, "; "); !strings.Contains(got, c.structure) || (c.structure == "") != (got == "") {
				t.Errorf("structure %q, want %q", got, c.structure)
			}
			if len(v.Outputs) == 0 || v.Models[0].ReadTwice < 20 {
				t.Errorf("%d outputs compared, %d initializers read twice (not read: %q)", len(v.Outputs), v.Models[0].ReadTwice, v.Models[0].Unread)
			}
		})
	}
}

func TestVerifyNamesTheChangedInitializerAndItsDrift(t *testing.T) {
	orttest.Need(t)
	model := tinyModel(t, 1, 17)
	v := verify(t, model, edited(t, model, 0.25))
	c := v.Changed[0]
	if c.Name != "head.bias" || c.Elements != 1 || c.MaxAbs != 0.25 {
		t.Errorf("changed %+v", c)
	}
	if d := v.Outputs[0]; math.Abs(float64(d.MaxAbs)-0.25) > 1e-6 || d.Rows != verifiedBatch {
		t.Errorf("drift %+v, want 0.25 over %d rows", d, verifiedBatch)
	}
}

func TestVerifyFindsNaN(t *testing.T) {
	orttest.Need(t)
	model := tinyModel(t, 1, 17)
	v, err := Verify(context.Background(), model, edited(t, model, float32(math.NaN())), VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v.Verdict != VerdictFaulty || v.Err() == nil || !strings.Contains(v.Err().Error(), "NaN") {
		t.Errorf("verdict %q, faults %q", v.Verdict, v.Faults)
	}
}

func TestVerifyComparesPictures(t *testing.T) {
	orttest.Need(t)
	model := tinyModel(t, 1, 17)
	file := filepath.Join(t.TempDir(), "p.png")
	if err := picture.NewRGB(40, 30).SavePNG(file); err != nil {
		t.Fatal(err)
	}
	m, _, err := onnx.ReadModel(model)
	if err != nil {
		t.Fatal(err)
	}
	m.Metadata = nil
	silent := filepath.Join(t.TempDir(), "foreign.onnx")
	if err := onnx.WriteModel(silent, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, first := range []string{model, silent} {
		v, err := Verify(context.Background(), first, model, VerifyOptions{Images: []string{file}})
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Outputs) != 2 || v.Outputs[1].Inputs != file || *v.Outputs[1].SameTop1 != 1 {
			t.Errorf("outputs %+v", v.Outputs)
		}
	}
	if _, err := Verify(context.Background(), silent, silent, VerifyOptions{Images: []string{file}}); err == nil || !strings.Contains(err.Error(), models.MetaPreprocess) {
		t.Errorf("without any preprocessing: %v", err)
	}
}

// The second reader must notice what the first would have to get wrong.
func TestSecondReaderReadsTheBytesThemselves(t *testing.T) {
	model := tinyModel(t, 1, 17)
	m, _, err := onnx.ReadModel(model)
	if err != nil {
		t.Fatal(err)
	}
	read, err := readAgain(model)
	if err != nil {
		t.Fatal(err)
	}
	if len(read) != len(m.Graph.Inits) {
		t.Errorf("%d initializers, want %d", len(read), len(m.Graph.Inits))
	}
	for _, init := range m.Graph.Inits {
		r := read[init.Name]
		if r == nil || r.skipped != "" || r.differs(init.Data) {
			t.Fatalf("%s: %+v", init.Name, r)
		}
		other := *init.Data
		other.Raw = append([]byte{}, other.Raw...)
		other.Raw[0] ^= 1
		if !r.differs(&other) {
			t.Errorf("%s: a flipped bit went unnoticed", init.Name)
		}
	}
}

func TestSecondReaderAgreesOnForeignFiles(t *testing.T) {
	shared := filepath.Join("..", "..", "shared", "oracle")
	files, _ := filepath.Glob(filepath.Join(shared, "*", "model.onnx"))
	if len(files) == 0 {
		t.Skipf("needs %s", shared)
	}
	for _, path := range files {
		v := &Verification{}
		if err := v.read(0, path); err != nil {
			t.Fatal(err)
		}
		m := v.Models[0]
		t.Logf("%s: %d initializers read twice, not read: %q", path, m.ReadTwice, m.Unread)
		if len(v.Faults) > 0 || m.ReadTwice == 0 {
			t.Errorf("%s: faults %q", path, v.Faults)
		}
	}
}

package pipeline

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
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
	for i, batch := range openBatches {
		d := v.Outputs[i]
		if math.Abs(float64(d.MaxAbs)-0.25) > 1e-6 || math.Abs(float64(d.MeanAbs)-0.05) > 1e-6 || int64(d.Rows) != batch || d.Batch != batch {
			t.Errorf("drift %+v, want 0.25 and 0.05 on average over %d rows", d, batch)
		}
		if cos := float64(d.Cosine); cos > 0.9999 || cos < 0.5 {
			t.Errorf("cosine %v of outputs that differ", cos)
		}
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

func TestVerifyComparesPicturesAndFilesOfInputs(t *testing.T) {
	orttest.Need(t)
	model := tinyModel(t, 1, 17)
	pictures := t.TempDir()
	for _, name := range []string{"a.png", "b.png"} {
		if err := picture.NewRGB(40, 30).SavePNG(filepath.Join(pictures, name)); err != nil {
			t.Fatal(err)
		}
	}
	batch := filepath.Join(t.TempDir(), "batch.safetensors")
	images := safetensors.Named{Name: "image", Tensor: onnx.FloatTensor(make([]float32, 4*3*16*16), 4, 3, 16, 16)}
	if err := safetensors.Write(batch, []safetensors.Named{images}, nil); err != nil {
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
	opt := VerifyOptions{Images: []string{pictures, filepath.Join(pictures, "a.png")}, Inputs: []string{batch}}
	for _, first := range []string{model, silent} {
		v, err := Verify(context.Background(), first, model, opt)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Outputs) != 4 || v.Outputs[2].Inputs != batch || *v.Outputs[2].SameTop1 != 4 || v.Outputs[3].Inputs != "images" || *v.Outputs[3].SameTop1 != 3 {
			t.Errorf("outputs %+v", v.Outputs)
		}
		if r := v.Models[0].Reference; len(r) != 3 || r[2].Inputs != "images" {
			t.Errorf("reference %+v", r)
		}
	}
	if _, err := Verify(context.Background(), silent, silent, opt); err == nil || !strings.Contains(err.Error(), models.MetaPreprocess) {
		t.Errorf("without any preprocessing: %v", err)
	}
	images.Tensor = onnx.FloatTensor(make([]float32, 3*16*15), 1, 3, 16, 15)
	if err := safetensors.Write(batch, []safetensors.Named{images}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(context.Background(), model, "", VerifyOptions{Inputs: []string{batch}}); err == nil || !strings.Contains(err.Error(), "doesn't fit") {
		t.Errorf("with inputs of another shape: %v", err)
	}
}

func TestOneModelIsVerifiedAlone(t *testing.T) {
	orttest.Need(t)
	v := verify(t, tinyModel(t, 1, 17), "")
	m := v.Models[0]
	if v.Verdict != VerdictSound || !v.Same() || len(v.Models) != 1 || len(v.Outputs) != 0 {
		t.Errorf("%+v", v)
	}
	if len(m.Reference) != 1 || m.Reference[0].MaxRel > 1e-4 || m.Reference[0].MaxAbs == 0 || *m.Reference[0].SameTop1 != 1 {
		t.Errorf("reference %+v (%s): float32 is near float64, and not at it", m.Reference, m.ReferenceSkipped)
	}
	v, err := Verify(context.Background(), m.Path, "", VerifyOptions{Reference: ReferenceNever})
	if err != nil || len(v.Models[0].Reference) != 0 || v.Models[0].ReferenceSkipped == "" {
		t.Errorf("without reference: %+v, %v", v, err)
	}
}

// A checkpoint is its own conversion, and a model in float16 is near its
// original.
func TestCheckpointsAndFloat16AreCompared(t *testing.T) {
	orttest.Need(t)
	c, _ := tinyCheckpoint(t, 1)
	checkpoint := filepath.Join(t.TempDir(), "vit.safetensors")
	if err := c.Save(checkpoint); err != nil {
		t.Fatal(err)
	}
	model := tinyModel(t, 1, 17)
	v, err := Verify(context.Background(), checkpoint, model, VerifyOptions{Open: ModelOptions{Convert: models.Options{Heads: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	if v.Verdict != VerdictIdentical || v.Models[0].Kind != kindCheckpoint {
		t.Errorf("checkpoint and conversion: %q, %v", v.Verdict, v.Structure)
	}
	m, _, err := onnx.ReadModel(model)
	if err != nil {
		t.Fatal(err)
	}
	for _, init := range m.Graph.Inits {
		if init.Name != "head.weight" {
			continue
		}
		half, err := init.Data.As(onnx.Float16)
		if err != nil {
			t.Fatal(err)
		}
		m.Graph.Replace(init, castOf(m.Graph, half))
	}
	smaller := filepath.Join(t.TempDir(), "half.onnx")
	if err := onnx.WriteModel(smaller, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	v = verify(t, model, smaller)
	if d := v.Outputs[0]; v.Verdict != VerdictDifferent || d.MaxRel == 0 || d.MaxRel > 1e-2 || d.Cosine < 0.999 {
		t.Errorf("%q, %+v", v.Verdict, d)
	}
	if !slices.ContainsFunc(v.Models[1].Unread, func(s string) bool { return strings.Contains(s, "float16") }) {
		t.Errorf("the second reader reads no float16, and says %q", v.Models[1].Unread)
	}
}

// castOf gives the graph a first node that casts an initializer to float32.
func castOf(g *onnx.Graph, t *onnx.Tensor) *onnx.Value {
	init := g.AddInit("head.weight.half", t)
	n := &onnx.Node{Op: "Cast", Inputs: []*onnx.Value{init}, Attrs: []onnx.Attr{{Name: "to", Value: int64(onnx.Float)}}}
	out := &onnx.Value{Name: g.Fresh("head.weight.cast"), Type: onnx.Float, Shape: init.Shape, Node: n}
	n.Outputs = []*onnx.Value{out}
	g.Nodes = slices.Insert(g.Nodes, 0, n)
	return out
}

// TestReferenceNoticesAWrongEvaluation makes the evaluator's copy of the graph
// another one than the runtime's.
func TestReferenceNoticesAWrongEvaluation(t *testing.T) {
	orttest.Need(t)
	model := tinyModel(t, 1, 17)
	v := &Verification{Models: make([]VerifiedModel, 1)}
	defer v.close()
	if err := v.read(context.Background(), 0, model, VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, init := range v.Models[0].subject.graph.Inits {
		if init.Name == "head.bias" {
			init.Data = onnx.FloatTensor([]float32{1, 2, 3, 4, 5}, 5)
		}
	}
	if err := v.run(context.Background(), VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
	if v.judge(0); v.Verdict != VerdictFaulty || !strings.Contains(v.Faults[0], "float64 evaluator") {
		t.Errorf("%q, %q", v.Verdict, v.Faults)
	}
}

// The second reader must notice what the first would have to get wrong.
func TestSecondReaderReadsTheBytesThemselves(t *testing.T) {
	model := tinyModel(t, 1, 17)
	m, _, err := onnx.ReadModel(model)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	read, err := readAgain(data)
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
		v := &Verification{Models: make([]VerifiedModel, 1)}
		if err := v.read(context.Background(), 0, path, VerifyOptions{}); err != nil {
			t.Fatal(err)
		}
		m := v.Models[0]
		t.Logf("%s: %d initializers read twice, not read: %q", path, m.ReadTwice, m.Unread)
		if len(v.Faults) > 0 || m.ReadTwice == 0 {
			t.Errorf("%s: faults %q", path, v.Faults)
		}
	}
}

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
	"github.com/relevit/relevit/onnx/passes"
)

// traced is everything that a trace of a model with two steps gives.
func traced(t *testing.T, model, arch, inputs string, cfg *configs.Config) *safetensors.File {
	t.Helper()
	// what a checkpoint's tensors don't tell
	open := ModelOptions{Convert: models.Options{Arch: arch}}
	opt := TraceOptions{Open: open, Model: model, Inputs: inputs, Output: filepath.Join(t.TempDir(), "out.safetensors"), Config: cfg, Steps: 2}
	if _, err := Trace(context.Background(), opt); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Open(opt.Output)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestForeignFileTracesAsItsCheckpoint compares every quantity of a trace of an
// exporter's file with that of the checkpoint it was made of: also gradients and
// trained values of weights that the exporter renamed and transposed.
func TestForeignFileTracesAsItsCheckpoint(t *testing.T) {
	orttest.Need(t)
	for name, arch := range map[string]string{
		"timm-torchscript-17": `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":2,"num_heads":2,"mlp_ratio":2,"num_classes":5}`,
		"timm-dynamo-18":      `{"img_size":12,"patch_size":4,"embed_dim":8,"depth":2,"num_heads":2,"num_classes":5}`,
	} {
		dir := filepath.Join("testdata", "zoo", name)
		t.Run(name, func(t *testing.T) {
			cfg, err := configs.Load([]string{"vit-tiny"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			compareForeign(t, filepath.Join(dir, "weights.safetensors"), arch, filepath.Join(dir, "model.onnx"),
				filepath.Join(dir, "case.safetensors"), cfg, 1e-6)
		})
	}
	for _, name := range []string{"micro", "micro-rect", "micro-deep"} {
		t.Run(name, func(t *testing.T) {
			c := openOracle(t, name)
			worst := 0.0
			for _, d := range c.deviation {
				worst = max(worst, d)
			}
			compareForeign(t, c.weights, "", filepath.Join(c.folder, "model.onnx"), filepath.Join(c.folder, "inputs.safetensors"), c.config, worst)
		})
	}
}

func compareForeign(t *testing.T, checkpoint, arch, foreign, inputs string, cfg *configs.Config, deviation float64) {
	want, got := traced(t, checkpoint, arch, inputs, cfg), traced(t, foreign, "", inputs, cfg)
	for _, key := range want.Names() {
		if !slices.Contains(got.Names(), key) {
			t.Errorf("the foreign file's trace lacks %s", key)
			continue
		}
		limit := 10 * deviation
		if strings.HasPrefix(key, "after.") && strings.HasSuffix(key, "qkv.bias") {
			limit = 2 * 2 * cfg.LR / largest(values(t, want, key)) // the keys' part moves by rounding noise, see the oracle
		}
		if e := off(values(t, got, key), values(t, want, key), nil); e > max(limit, 10*deviation) {
			t.Errorf("%s is off by %.2g, more than %.2g", key, e, limit)
		}
	}
}

func largest(v []float64) float64 {
	most := 0.0
	for _, x := range v {
		most = max(most, x, -x)
	}
	return most
}

// TestFinetuneKeepsFloat16 trains files of 16 bits for two steps: the export
// holds what was trained, rounded to float16 again, and is otherwise the file.
func TestFinetuneKeepsFloat16(t *testing.T) {
	orttest.Need(t)
	for _, name := range []string{"fp16-17", "fp16-io-14", "fp16-islands-20"} {
		t.Run(name, func(t *testing.T) {
			source := filepath.Join("testdata", "zoo", name, "model.onnx")
			dir := t.TempDir()
			trainTwoSteps(t, source, filepath.Join(dir, "run"), dir)
			e := export(t, filepath.Join(dir, "run"), "out.onnx", ExportOptions{Checkpoint: Last})
			changed := changedFields(t, source, e.Path)
			if len(changed) < 20 {
				t.Errorf("%d tensors have new values", len(changed))
			}
			m, _, err := onnx.ReadModel(e.Path)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range m.Graph.Inits {
				if changed[v.Name] && v.Type != onnx.Float16 && name != "fp16-islands-20" {
					t.Errorf("%v was trained and isn't float16", v)
				}
			}
		})
	}
}

// bfloat16File writes a model of the zoo with all its numbers in bfloat16.
func bfloat16File(t *testing.T) string {
	t.Helper()
	m, _, err := onnx.ReadModel("testdata/zoo/timm-torchscript-17/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if m.Graph, err = passes.Raised(m); err != nil {
		t.Fatal(err)
	}
	setOpset(m, 22) // the first whose Conv takes bfloat16
	narrow := func(old *onnx.Tensor) *onnx.Tensor {
		if old == nil || old.Type != onnx.Float {
			return old
		}
		out, err := old.As(onnx.BFloat16)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	m.Graph.Each(func(v *onnx.Value) {
		if v.Type == onnx.Float {
			v.Type, v.Data = onnx.BFloat16, narrow(v.Data)
		}
	})
	for _, n := range m.Graph.Nodes {
		if n.Op == "Constant" {
			n.Attrs = []onnx.Attr{{Name: "value", Value: narrow(onnx.ConstantTensor(n))}}
		}
		if n.Op == "Cast" && n.Int("to", 0) == int64(onnx.Float) {
			n.SetAttr("to", int64(onnx.BFloat16))
		}
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnx.WriteModel(path, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFinetuneKeepsBfloat16 trains a file that ONNX Runtime's CPU can't run: the
// copy that is trained is float32, and the export holds its numbers rounded to
// bfloat16 and is otherwise the file.
func TestFinetuneKeepsBfloat16(t *testing.T) {
	orttest.Need(t)
	source, dir := bfloat16File(t), t.TempDir()
	trainTwoSteps(t, source, filepath.Join(dir, "run"), dir)
	e := export(t, filepath.Join(dir, "run"), "out.onnx", ExportOptions{Checkpoint: Last})
	if changed := changedFields(t, source, e.Path); len(changed) < 20 {
		t.Errorf("%d tensors have new values", len(changed))
	}
	run, err := ReadRun(filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := run.LoadParameters(Last)
	if err != nil {
		t.Fatal(err)
	}
	now := initializersOf(t, e.Path)
	for _, p := range c.Parameters {
		want, err := p.Tensor.As(onnx.BFloat16)
		if err != nil {
			t.Fatal(err)
		}
		if got := now[p.Name]; got.Type != onnx.BFloat16 || string(got.Raw) != string(want.Raw) {
			t.Errorf("%s is %v, or not what was trained", p.Name, got.Type)
		}
	}
	_, err = Verify(t.Context(), source, e.Path, VerifyOptions{})
	if err == nil || !strings.Contains(err.Error(), "computes in bfloat16") || !strings.Contains(err.Error(), "--precision fp32") {
		t.Errorf("verifying it gives %v", err)
	}
	e = export(t, filepath.Join(dir, "run"), "run.onnx", ExportOptions{Checkpoint: Last, Opset: 23, Run: true})
	if k := e.Check; k.Ran || !strings.Contains(k.Reason, "--precision fp32") {
		t.Errorf("checked %+v", k)
	}
	wide := export(t, filepath.Join(dir, "run"), "wide.onnx", ExportOptions{Checkpoint: Last, Precision: Float32, Run: true})
	if _, err := Verify(t.Context(), wide.Path, "", VerifyOptions{}); err != nil {
		t.Error(err)
	}
	if k := wide.Check; k.Ran || !strings.Contains(k.Reason, "the source computes in bfloat16") {
		t.Errorf("checked %+v", k)
	}
}

// trainTwoSteps finetunes a model on noise; dir takes the pictures.
func trainTwoSteps(t *testing.T, model, run, dir string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, folder := range []string{"images", "masks"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o777); err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			picture := image.NewGray(image.Rect(0, 0, 16, 16))
			for j := range picture.Pix {
				if picture.Pix[j] = uint8(rng.IntN(256)); folder == "masks" {
					picture.Pix[j] = uint8(j / 128 * 255)
				}
			}
			f, err := os.Create(filepath.Join(dir, folder, fmt.Sprintf("%d.png", i)))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(png.Encode(f, picture), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg, err := configs.Load([]string{"vit-tiny"}, []string{"model=" + model, "data.layout=flat", "data.labels=top1",
		"data.images=" + filepath.Join(dir, "images"), "data.masks=" + filepath.Join(dir, "masks"), "data.classes=0", "data.samples=0",
		"data.validation.split=fraction", "data.validation.fraction=0.5", "batch=2", "epochs=1", "steps=2", "lr=0.01"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Finetune(context.Background(), FinetuneOptions{Config: cfg, Dir: run}); err != nil {
		t.Fatal(err)
	}
}

// TestStorageFormsTraceAlike traces one graph whose weights lie in initializers,
// inputs, Constant nodes, a data file or typed fields, and whose nodes aren't
// sorted.
func TestStorageFormsTraceAlike(t *testing.T) {
	orttest.Need(t)
	const dir = "testdata/zoo/timm-torchscript-17"
	cfg, err := configs.Load([]string{"vit-tiny"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := traced(t, filepath.Join(dir, "model.onnx"), "", filepath.Join(dir, "case.safetensors"), cfg)
	forms := exportVariants(t, filepath.Join(dir, "model.onnx"))
	delete(forms, "float16")
	forms["typed"] = rewritten(t, filepath.Join(dir, "model.onnx"), 5, typedData)
	forms["unsorted"] = rewritten(t, filepath.Join(dir, "model.onnx"), 0, nil)
	for form, path := range forms {
		t.Run(form, func(t *testing.T) {
			got := traced(t, path, "", filepath.Join(dir, "case.safetensors"), cfg)
			for _, key := range want.Names() {
				if strings.HasPrefix(key, "after.") || strings.Contains(key, "onnx::") {
					continue // rounding noise, and names that a form changes
				}
				if e := off(values(t, got, key), values(t, want, key), nil); e > 1e-5 {
					t.Errorf("%s is off by %.2g", key, e)
				}
			}
		})
	}
}

// rewritten writes a file anew whose graph's fields of a number are changed, or
// whose nodes are in reverse order where change is nil.
func rewritten(t *testing.T, source string, num protowire.Number, change func(t *testing.T, tensor []byte) []byte) string {
	t.Helper()
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for _, f := range protoFields(t, data) {
		if f.num != 7 {
			out = append(out, f.raw...)
			continue
		}
		var graph, nodes []byte
		for _, g := range protoFields(t, f.val) {
			switch {
			case change == nil && g.num == 1:
				nodes = slices.Concat(g.raw, nodes)
			case change != nil && g.num == num:
				graph = protowire.AppendBytes(protowire.AppendTag(graph, num, protowire.BytesType), change(t, g.val))
			default:
				graph = append(graph, g.raw...)
			}
		}
		out = protowire.AppendBytes(protowire.AppendTag(out, 7, protowire.BytesType), append(nodes, graph...))
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, out, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// typedData moves a float32 tensor's numbers from raw_data to float_data.
func typedData(t *testing.T, tensor []byte) []byte {
	var out []byte
	float := false
	for _, f := range protoFields(t, tensor) {
		float = float || f.num == 2 && f.raw[len(f.raw)-1] == byte(onnx.Float)
	}
	for _, f := range protoFields(t, tensor) {
		if float && f.num == 9 {
			out = protowire.AppendBytes(protowire.AppendTag(out, 4, protowire.BytesType), f.val)
			continue
		}
		out = append(out, f.raw...)
	}
	return out
}

// TestOpenModelSaysThatDoublesAreTooWide: such a file would be trained in
// another precision than it computes in.
func TestOpenModelSaysThatDoublesAreTooWide(t *testing.T) {
	b := onnx.NewBuilder(onnx.NewGraph("doubles"))
	x := b.Graph.AddInput("image", onnx.Double, onnx.ShapeOf(1, 3, 2, 2))
	w := b.Graph.AddInit("w", onnx.DoubleTensor(make([]float64, 24), 12, 2))
	b.Graph.Outputs = append(b.Graph.Outputs, b.MatMul(b.Op("Flatten", nil, x), w))
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnx.WriteModel(path, &onnx.Model{Opsets: []onnx.Opset{{Version: onnx.Dialect}}, Graph: b.Graph}, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	var e *models.Error
	if _, err := OpenModel(path, ModelOptions{}); !errors.As(err, &e) || !strings.Contains(err.Error(), "export the model in float32") {
		t.Errorf("got %v", err)
	}
}

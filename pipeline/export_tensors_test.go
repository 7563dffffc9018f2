package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// smallCheckpoint saves a checkpoint of timm's with random weights.
func smallCheckpoint(t *testing.T, arch string, change func(c *models.Checkpoint, tensors []safetensors.Named) []safetensors.Named) string {
	t.Helper()
	a, err := models.NewArchitecture(arch)
	if err != nil {
		t.Fatal(err)
	}
	c, err := models.RandomCheckpoint(a, 5)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []safetensors.Named
	for _, name := range c.Names() {
		tensors = append(tensors, safetensors.Named{Name: name, Tensor: c.Tensor(name)})
	}
	if change != nil {
		tensors = change(c, tensors)
	}
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	if err := safetensors.Write(path, tensors, c.Metadata); err != nil {
		t.Fatal(err)
	}
	return path
}

const smallArch = `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":2,"num_heads":2,"num_classes":5}`

// onlyModel converts a checkpoint to a model in a folder of its own, away from
// the checkpoint.
func onlyModel(t *testing.T, checkpoint string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "model.onnx")
	if _, err := Convert(context.Background(), checkpoint, out, ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	return out
}

// sameState fails unless two files of weights hold the same tensors, bit by bit.
func sameState(t *testing.T, want, got string) {
	t.Helper()
	a, err := models.OpenCheckpoint(want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := models.OpenCheckpoint(got)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(slices.Sorted(slices.Values(a.Names())), slices.Sorted(slices.Values(b.Names()))) {
		t.Fatalf("tensors %v became %v", a.Names(), b.Names())
	}
	for _, name := range a.Names() {
		x, y := a.Tensor(name), b.Tensor(name)
		if x.Type != y.Type || !slices.Equal(x.Dims, y.Dims) || !bytes.Equal(x.Raw, y.Raw) {
			t.Errorf("%s is %v%v and was %v%v, or has other bits", name, y.Type, y.Dims, x.Type, x.Dims)
		}
	}
}

func TestWeightsComeBackAsTheyWere(t *testing.T) {
	for name, arch := range map[string]string{
		"small":     smallArch,
		"one class": `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":1}`,
		"distilled": `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":3,"distilled":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			checkpoint := smallCheckpoint(t, arch, nil)
			model := onlyModel(t, checkpoint)
			sameState(t, checkpoint, export(t, model, "out.safetensors", ExportOptions{}).Path)
			sameState(t, checkpoint, export(t, checkpoint, "out.safetensors", ExportOptions{}).Path)
			for _, suffix := range []string{"pth", "pt", "bin"} {
				e := export(t, model, "out."+suffix, ExportOptions{})
				if e.Format != FormatPyTorch {
					t.Errorf("%s is %s", suffix, e.Format)
				}
				sameState(t, checkpoint, e.Path)
			}
		})
	}
}

func TestWeightsComeInTheOrderOfTheirCheckpoint(t *testing.T) {
	checkpoint := smallCheckpoint(t, smallArch, func(c *models.Checkpoint, tensors []safetensors.Named) []safetensors.Named {
		slices.Reverse(tensors)
		c.Metadata = map[string]string{"author": "somebody"}
		return tensors
	})
	model := onlyModel(t, checkpoint)
	beside := filepath.Join(filepath.Dir(model), filepath.Base(checkpoint))
	data, err := os.ReadFile(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(beside, data, 0o666); err != nil {
		t.Fatal(err)
	}
	want, err := safetensors.Open(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	got, err := safetensors.Open(export(t, model, "out.safetensors", ExportOptions{}).Path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Names(), want.Names()) || got.Metadata["author"] != "somebody" || got.Metadata["format"] != "pt" {
		t.Errorf("names %v, metadata %v", got.Names(), got.Metadata)
	}
}

func TestTensorsThatTheModelLeavesOutComeFromItsCheckpoint(t *testing.T) {
	checkpoint := smallCheckpoint(t, smallArch, nil)
	source, err := models.OpenCheckpoint(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	bias := onnx.FloatTensor([]float32{1, 2, 3, 4, 5}, 5)
	got := asIn(source, []safetensors.Named{{Name: "new", Tensor: bias}, {Name: "head.bias", Tensor: bias}})
	if len(got) != len(source.Names())+1 || got[len(got)-1].Name != "new" {
		t.Errorf("%d tensors, the last is %s", len(got), got[len(got)-1].Name)
	}
	for _, g := range got {
		if want := source.Tensor(g.Name); g.Name == "head.bias" && g.Tensor != bias || want != nil && g.Name != "head.bias" && g.Tensor != want {
			t.Errorf("%s is another tensor", g.Name)
		}
	}
	e := &exporter{files: []string{checkpoint}, model: &onnx.Model{Metadata: []onnx.KV{{Key: models.MetaArchitecture, Value: "{}"},
		{Key: models.MetaSource, Value: "weights.safetensors"}, {Key: models.MetaSourceSum, Value: source.SHA256}}}}
	if e.sourceCheckpoint() == nil {
		t.Error("the checkpoint isn't found")
	}
	e.model.Metadata[2].Value = "another"
	if e.sourceCheckpoint() != nil {
		t.Error("a checkpoint with another checksum is taken")
	}
}

// halfRun is a run of a model made of a checkpoint with head.weight in float16
// and pos_embed in bfloat16, whose head.weight is scaled.
func halfRun(t *testing.T, factor float32) *Run {
	t.Helper()
	run, base := newRun(t), tinyModel(t, 1, 17)
	m, _, err := onnx.ReadModel(base)
	if err != nil {
		t.Fatal(err)
	}
	setMeta(m, onnx.KV{Key: models.MetaSourceTypes, Value: `{"head.weight":"F16","pos_embed":"BF16"}`})
	pos := m.Graph.Find("pos_embed")
	short, err := pos.Data.As(onnx.BFloat16)
	if err != nil {
		t.Fatal(err)
	}
	if pos.Data, err = short.As(onnx.Float); err != nil {
		t.Fatal(err)
	}
	if err := onnx.WriteModel(run.Artifact(sourceArtifact), m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	p := safetensors.Named{Name: "head.weight", Tensor: scaled(t, base, "head.weight", factor)}
	if err := run.SaveCheckpoint(Best, &Checkpoint{Parameters: []safetensors.Named{p}}); err != nil {
		t.Fatal(err)
	}
	return run
}

func TestWeightsComeBackInTheirCheckpointsTypes(t *testing.T) {
	run := halfRun(t, 2)
	for _, name := range []string{"out.safetensors", "out.pth"} {
		c, err := models.OpenCheckpoint(export(t, run.Dir, name, ExportOptions{}).Path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := scaled(t, run.Artifact(sourceArtifact), "head.weight", 2).As(onnx.Float16)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Tensor("head.weight"); got.Type != onnx.Float16 || !bytes.Equal(got.Raw, want.Raw) {
			t.Errorf("%s: head.weight is %v, or has other numbers", name, got.Type)
		}
		if got := c.Tensor("pos_embed").Type; got != onnx.BFloat16 {
			t.Errorf("%s: pos_embed is %v", name, got)
		}
		if got := c.Tensor("head.bias").Type; got != onnx.Float {
			t.Errorf("%s: head.bias is %v", name, got)
		}
	}
	_, err := Export(context.Background(), halfRun(t, 1e9).Dir, filepath.Join(t.TempDir(), "out.safetensors"), ExportOptions{})
	if err == nil || !strings.Contains(err.Error(), "parameter head.weight") || !strings.Contains(err.Error(), "too big for float16") {
		t.Errorf("an overflow gives %v", err)
	}
}

func TestForeignWeightsGetTheirLayersNames(t *testing.T) {
	const source = "testdata/zoo/hf-vit-eager-17/model.onnx"
	e := export(t, source, "out.safetensors", ExportOptions{})
	f, err := safetensors.Open(e.Path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenModel(source, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	renamed := m.layerWeights()
	if len(renamed) == 0 {
		t.Fatal("the case has no renamed weights")
	}
	for own, layer := range renamed {
		got, err := f.Tensor(layer)
		if err != nil {
			t.Error(err)
			continue
		}
		data := m.Graph.Find(own).Data
		values, err := data.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		want := onnx.FloatTensor(transposed(values, data.Dims[0], data.Dims[1]), data.Dims[1], data.Dims[0])
		if !slices.Equal(got.Dims, want.Dims) || !bytes.Equal(got.Raw, want.Raw) {
			t.Errorf("%s isn't the transpose of %s", layer, own)
		}
	}
	for _, name := range f.Names() {
		if strings.Contains(name, "::") {
			t.Errorf("%s keeps its name", name)
		}
	}
	e = export(t, "testdata/zoo/openclip-17/model.onnx", "out.safetensors", ExportOptions{})
	if len(e.Notes) != 1 || !strings.Contains(e.Notes[0], "onnx::MatMul_457") {
		t.Errorf("notes %q", e.Notes)
	}
}

func TestFoldersHoldWhatLibrariesLoad(t *testing.T) {
	checkpoint := smallCheckpoint(t, smallArch, nil)
	e := export(t, onlyModel(t, checkpoint), "timm", ExportOptions{Format: FormatHub})
	sameState(t, checkpoint, filepath.Join(e.Path, hubWeights))
	var config struct {
		Architecture string         `json:"architecture"`
		Args         map[string]any `json:"model_args"`
		Classes      int            `json:"num_classes"`
		Pretrained   struct {
			Mean []float64 `json:"mean"`
		} `json:"pretrained_cfg"`
	}
	readJSON(t, filepath.Join(e.Path, hubConfig), &config)
	if config.Architecture != "vit_base_patch16_224" || config.Args["embed_dim"] != 16.0 || config.Classes != 5 || len(config.Pretrained.Mean) != 3 {
		t.Errorf("config.json says %+v", config)
	}
	sum, _, err := fileSum(filepath.Join(e.Path, hubWeights))
	if err != nil || e.SHA256 != sum {
		t.Errorf("SHA-256 %s, want %s (%v)", e.SHA256, sum, err)
	}
}

func TestFoldersKeepTheConfigurationOfTransformers(t *testing.T) {
	base := tinyModel(t, 1, 17)
	m, _, err := onnx.ReadModel(base)
	if err != nil {
		t.Fatal(err)
	}
	const config = `{"model_type": "vit", "image_size": 16, "hidden_size": 16}`
	setMeta(m, onnx.KV{Key: models.MetaConfig, Value: config})
	same := filepath.Join(t.TempDir(), "same.onnx")
	if err := onnx.WriteModel(same, m, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	e := export(t, same, "hub", ExportOptions{Format: FormatHub})
	if got, err := os.ReadFile(filepath.Join(e.Path, hubConfig)); err != nil || string(got) != config {
		t.Errorf("config.json became %s (%v)", got, err)
	}
	var processor struct {
		Size map[string]int `json:"size"`
		Crop map[string]int `json:"crop_size"`
		Mean []float64      `json:"image_mean"`
	}
	readJSON(t, filepath.Join(e.Path, hubPreprocessor), &processor)
	if processor.Size["shortest_edge"] != 17 || processor.Crop["height"] != 16 || !slices.Equal(processor.Mean, []float64{0.5, 0.5, 0.5}) {
		t.Errorf("preprocessor_config.json says %+v", processor)
	}

	larger, err := timmResized([]byte(`{"architecture": "x", "pretrained_cfg": {"input_size": [3, 16, 16], "mean": 1}}`), &models.Architecture{Channels: 3, ImageSize: [2]int{32, 32}})
	if want := `{"architecture":"x","model_args":{"img_size":32},"pretrained_cfg":{"input_size":[3,32,32],"mean":1}}`; err != nil || compact(t, larger) != want {
		t.Errorf("with another image size, timm's says %s (%v)", compact(t, larger), err)
	}
	got, err := resized([]byte(`{"vision_config": {"image_size": 224, "a": 1}, "b": 2}`), [2]int{32, 48})
	if want := `{"b":2,"vision_config":{"a":1,"image_size":[32,48]}}`; err != nil || compact(t, got) != want {
		t.Errorf("with another image size it says %s (%v)", compact(t, got), err)
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func compact(t *testing.T, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFoldersThatCannotBeWrittenSayWhy(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	model := tinyModel(t, 1, 17)
	foreign := "testdata/zoo/timm-torchscript-17/model.onnx"
	for _, c := range []struct{ source, out, want string }{
		{model, full, "exists"},
		{model, filepath.Join(full, "out.safetensors"), "without the suffix of a file"},
		{foreign, filepath.Join(full, "hub"), "isn't known: export the weights as safetensors or pth"},
	} {
		_, err := Export(context.Background(), c.source, c.out, ExportOptions{Format: FormatHub})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", c.out, err, c.want)
		}
	}
	if entries, err := os.ReadDir(full); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v)", entries, err)
	}
	empty := t.TempDir()
	if _, err := Export(context.Background(), model, empty, ExportOptions{Format: FormatHub}); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestOnlyWhatTimmLoadsIsTimms(t *testing.T) {
	for name, c := range map[string]struct{ arch, tensor, want string }{
		"plain":       {`{}`, "blocks.0.attn.qkv.weight", ""},
		"prefix":      {`{}`, "module.cls_token", "module.cls_token"},
		"DeiT III":    {`{"init_values": 1e-5}`, "blocks.0.gamma_1", "blocks.0.gamma_1"},
		"LayerScale":  {`{"init_values": 1e-5}`, "blocks.0.ls1.gamma", ""},
		"BEiT":        {`{"class": "Beit", "init_values": 0.1, "use_rel_pos_bias": true}`, "blocks.0.gamma_1", ""},
		"BEiT's bias": {`{"class": "Beit", "use_rel_pos_bias": true}`, "blocks.0.attn.v_bias", ""},
		"packed":      {`{"mlp_layer": "SwiGLUPacked"}`, "blocks.0.mlp.fc1.weight", ""},
		"DINOv2":      {`{"mlp_layer": "SwiGLUPacked"}`, "blocks.0.mlp.w12.weight", "blocks.0.mlp.w12.weight"},
	} {
		a, err := models.NewArchitecture(c.arch)
		if err != nil {
			t.Fatal(err)
		}
		if got := notTimms(a, []safetensors.Named{{Name: "cls_token"}, {Name: c.tensor}}); got != c.want {
			t.Errorf("%s: %q isn't timm's, want %q", name, got, c.want)
		}
	}
}

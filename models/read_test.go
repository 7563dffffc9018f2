package models

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// small are architectures of every kind, small enough for any test.
var small = map[string]string{
	"vit":        `{"img_size":32,"patch_size":8,"embed_dim":32,"depth":2,"num_heads":2,"num_classes":5}`,
	"rectangles": `{"img_size":[16,24],"patch_size":[8,4],"embed_dim":48,"depth":1,"num_heads":3,"num_classes":5,"mlp_ratio":3,"in_chans":1}`,
	"distilled":  `{"img_size":32,"patch_size":8,"embed_dim":48,"depth":2,"num_heads":3,"num_classes":5,"distilled":true}`,
	"mean":       `{"img_size":24,"patch_size":8,"embed_dim":32,"depth":2,"num_heads":2,"num_classes":5,"class_token":false,"global_pool":"avg","qk_norm":true,"init_values":1e-5,"qkv_bias":false}`,
	"registers":  `{"img_size":32,"patch_size":8,"embed_dim":32,"depth":2,"num_heads":2,"num_classes":5,"reg_tokens":4,"no_embed_class":true,"pre_norm":true,"global_pool":"avg","act_layer":"quick_gelu"}`,
	"tanh":       `{"img_size":32,"patch_size":8,"embed_dim":32,"depth":1,"num_heads":2,"num_classes":5,"act_layer":"gelu_tanh","proj_bias":false}`,
}

// kinds are architectures of other classes and blocks than small's.
var kinds = map[string]string{
	"post":     `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":5,"block_fn":"ResPostBlock","init_values":1e-5}`,
	"scaling":  `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":5,"block_fn":"ParallelScalingBlock","qkv_bias":false}`,
	"things":   `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":2,"num_heads":2,"num_classes":5,"block_fn":"ParallelThingsBlock","init_values":1e-5}`,
	"gated":    `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":5,"mlp_layer":"SwiGLU","norm_layer":"rmsnorm","scale_mlp_norm":true}`,
	"packed":   `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":5,"mlp_layer":"GluMlp"}`,
	"map":      `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":5,"class_token":false,"global_pool":"map"}`,
	"beit":     `{"class":"Beit","img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":5,"use_abs_pos_emb":false,"use_rel_pos_bias":true,"use_shared_rel_pos_bias":true,"init_values":0.1}`,
	"eva02":    `{"class":"Eva","img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":5,"swiglu_mlp":true,"scale_mlp":true,"use_rot_pos_emb":true,"ref_feat_shape":16,"qkv_fused":false}`,
	"mixed":    `{"class":"Eva","img_size":16,"patch_size":8,"embed_dim":16,"depth":2,"num_heads":2,"num_classes":5,"use_rot_pos_emb":true,"rope_type":"mixed","attn_type":"rope","global_pool":"token"}`,
	"dinov3":   `{"class":"Eva","img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":5,"use_abs_pos_emb":false,"use_rot_pos_emb":true,"rope_type":"dinov3","rope_rotate_half":true,"num_reg_tokens":4,"init_values":1e-5,"qkv_bias":false}`,
	"headless": `{"img_size":16,"patch_size":8,"embed_dim":16,"depth":1,"num_heads":2,"num_classes":0}`,
}

// everyKind are small and kinds.
func everyKind() map[string]string {
	all := maps.Clone(small)
	maps.Copy(all, kinds)
	return all
}

func random(t testing.TB, spec string) (*Checkpoint, *Architecture) {
	t.Helper()
	a, err := NewArchitecture(spec)
	if err != nil {
		t.Fatal(err)
	}
	c, err := RandomCheckpoint(a, 7)
	if err != nil {
		t.Fatal(err)
	}
	return c, a
}

func TestArchitectureIsReadOffTensors(t *testing.T) {
	for name, spec := range everyKind() {
		c, want := random(t, spec)
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := c.Save(path); err != nil {
			t.Fatal(err)
		}
		back, err := OpenCheckpoint(path)
		if err != nil {
			t.Fatal(err)
		}
		if back.SHA256 != c.SHA256 {
			t.Errorf("%s: checksum %s after saving, %s before", name, back.SHA256, c.SHA256)
		}
		got, err := ReadArchitecture(back, Options{Arch: spec})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want.Classes == 0 {
			got.Warnings = nil
		}
		for _, text := range unlike(got, want) {
			t.Errorf("%s: %s", name, text)
		}
		beside := filepath.Join(filepath.Dir(path), "config.json")
		if err := os.WriteFile(beside, []byte(`{"architecture":"custom","model_args":`+spec+`,"pretrained_cfg":{"mean":[0.1,0.2,0.3],"std":[1,1,1],"crop_pct":0.8}}`), 0o666); err != nil {
			t.Fatal(err)
		}
		if got, err = ReadArchitecture(back, Options{}); err != nil || got.Heads != want.Heads || got.ImageSize != want.ImageSize || got.Activation != want.Activation || got.Name != "custom" {
			t.Errorf("%s: with a description beside it read %+v, %v", name, got, err)
		} else if got.Preprocess.CropPct != 0.8 || (want.Channels == 3) != (got.Preprocess.Mean[0] == 0.1) {
			t.Errorf("%s: preprocessing %+v", name, got.Preprocess)
		}
	}
}

func TestArchitectureOfRealCheckpoints(t *testing.T) {
	imagenet := []float64{0.485, 0.456, 0.406}
	for name, mean := range map[string][]float64{"vit_tiny_patch16_224": half, "deit_tiny_patch16_224": imagenet} {
		c, err := OpenCheckpoint(shared(t, "data", "models", name+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := ReadArchitecture(c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		p := a.Preprocess
		if a.Title() != name || a.Heads != 3 || a.Depth != 12 || a.Grid() != [2]int{14, 14} || len(a.Warnings) != 0 || c.Parameters() != 5717416 {
			t.Errorf("%s: %+v", name, *a)
		}
		if p.InputSize != [3]int{3, 224, 224} || p.CropPct != 0.9 || p.Interpolation != "bicubic" || !reflect.DeepEqual(p.Mean, mean) {
			t.Errorf("%s: preprocessing %+v", name, p)
		}
	}
}

func TestHeadsAndGridComeFromTheMostReliableSource(t *testing.T) {
	c, _ := random(t, `{"img_size":[16,24],"patch_size":8,"embed_dim":192,"depth":1,"num_heads":3,"num_classes":5}`)
	if _, err := ReadArchitecture(c, Options{}); err == nil || !strings.Contains(err.Error(), "--image-size HxW") {
		t.Errorf("an unstated rectangle gives %v", err)
	}
	a, err := ReadArchitecture(c, Options{ImageSize: [2]int{24, 16}})
	if err != nil || a.Grid() != [2]int{3, 2} || a.Heads != 3 || len(a.Warnings) != 1 || !strings.Contains(a.Warnings[0], "leave open") {
		t.Errorf("with --image-size: %+v, %v", a, err)
	}
	a, err = ReadArchitecture(c, Options{ImageSize: [2]int{16, 24}, Heads: 6, Arch: `{"num_heads":12}`})
	if err != nil || a.Heads != 6 {
		t.Errorf("options must win: %+v, %v", a, err)
	}
	a, err = ReadArchitecture(c, Options{Arch: `{"img_size":[16,24],"num_heads":12}`})
	if err != nil || a.Heads != 12 {
		t.Errorf("--arch must win over the table: %+v, %v", a, err)
	}
	rectangle, _ := random(t, `{"img_size":[24,40],"patch_size":8,"embed_dim":192,"depth":1,"num_heads":3,"num_classes":5}`)
	a, err = ReadArchitecture(rectangle, Options{})
	if err != nil || a.Grid() != [2]int{4, 4} || len(a.Warnings) != 2 || !strings.Contains(a.Warnings[0], "img_size") {
		t.Errorf("3x5 patches and a class token, or 4x4 patches: %+v, %v", a, err)
	}
	guessed, _ := random(t, `{"img_size":32,"patch_size":8,"embed_dim":64,"depth":1,"num_heads":8,"num_classes":5}`)
	a, err = ReadArchitecture(guessed, Options{})
	if err != nil || a.Heads != 4 || len(a.Warnings) != 2 || !strings.Contains(a.Warnings[0], "a guess") || !strings.Contains(a.Warnings[0], "--arch") {
		t.Errorf("an unknown width: %+v, %v", a, err)
	}
	guessed.Metadata["architecture"] = "vit_base_patch16_224"
	a, err = ReadArchitecture(guessed, Options{})
	if err != nil || a.Name != "" || len(a.Warnings) != 3 || !strings.Contains(a.Warnings[0], "embed_dim is 768 there, the tensors say 64") {
		t.Errorf("metadata of another model: %+v, %v", a, err)
	}
}

func TestTimmNamesAreUnderstood(t *testing.T) {
	for name, want := range map[string]string{
		"vit_tiny_patch16_224":                      "vit 192 12 3 16 224 768",
		"vit_base_patch16_384.augreg_in21k_ft_in1k": "vit 768 12 12 16 384 3072",
		"timm/vit_large_patch14_224":                "vit 1024 24 16 14 224 4096",
		"deit_small_distilled_patch16_224":          "deit 384 12 6 16 224 1536 distilled",
		"vit_giant_patch14_224":                     "vit 1408 40 16 14 224 6144",
	} {
		a, err := NewArchitecture(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, v := range []any{a.Family, a.Width, a.Depth, a.Heads, a.Patch[0], a.ImageSize[0], a.Hidden} {
			text, _ := json.Marshal(v)
			got = append(got, strings.Trim(string(text), `"`))
		}
		if a.DistToken {
			got = append(got, "distilled")
		}
		if strings.Join(got, " ") != want || a.Title() != name {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
	for _, bad := range []string{"vit_enormous_patch16_224", "resnet50", `{"img_size":"big"}`, `{"img_size":10}`, `{"num_heads":7}`, `{"global_pool":"mean"}`, `{"act_layer":"swish"}`, `{"depth":0}`} {
		var e *Error
		if _, err := NewArchitecture(bad); !errors.As(err, &e) || e.ExitCode() != 2 {
			t.Errorf("%s gives %v, want a usage error", bad, err)
		}
	}
}

// edit returns a checkpoint with tensors replaced (nil: removed) or added.
func edit(c *Checkpoint, changes map[string]*onnx.Tensor) *Checkpoint {
	out := &Checkpoint{Path: "dir/x.safetensors", tensors: map[string]*onnx.Tensor{}}
	for _, n := range c.names {
		out.tensors[n] = c.tensors[n]
		out.names = append(out.names, n)
	}
	for n, v := range changes {
		if _, ok := out.tensors[n]; !ok {
			out.names = append(out.names, n)
		}
		out.tensors[n] = v
	}
	for i := len(out.names) - 1; i >= 0; i-- {
		if out.tensors[out.names[i]] == nil {
			delete(out.tensors, out.names[i])
			out.names = append(out.names[:i], out.names[i+1:]...)
		}
	}
	return out
}

func TestCheckpointsThatDontFitAreRefusedByName(t *testing.T) {
	c, _ := random(t, small["vit"])
	f := func(dims ...int64) *onnx.Tensor {
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		return onnx.FloatTensor(make([]float32, n), dims...)
	}
	for _, v := range []struct {
		name string
		c    *Checkpoint
		want string
		code int
	}{
		{"missing", edit(c, map[string]*onnx.Tensor{"blocks.1.norm2.weight": nil}), "1 tensor missing: blocks.1.norm2.weight [32]", 3},
		{"missing many", edit(c, map[string]*onnx.Tensor{"norm.weight": nil, "norm.bias": nil, "blocks.0.norm1.bias": nil, "blocks.0.norm1.weight": nil, "head.bias": nil, "blocks.1.mlp.fc2.weight": nil}), "and 1 more", 3},
		{"shape", edit(c, map[string]*onnx.Tensor{"norm.weight": f(31)}), "norm.weight [31] (expected [32])", 3},
		{"type", edit(c, map[string]*onnx.Tensor{"norm.weight": onnx.Int64Tensor(make([]int64, 32), 32)}), "norm.weight of type int64", 3},
		{"unknown", edit(c, map[string]*onnx.Tensor{"blocks.0.attn.rel_pos": f(3)}), "not understood: blocks.0.attn.rel_pos [3]", 3},
		{"rank", edit(c, map[string]*onnx.Tensor{"pos_embed": f(17, 32)}), "expected (1,tokens,width), found [17 32]", 3},
		{"scalar", edit(c, map[string]*onnx.Tensor{"patch_embed.proj.weight": f()}), "expected (width,channels,rows,columns)", 3},
		{"empty", edit(c, map[string]*onnx.Tensor{"patch_embed.proj.weight": f(32, 0, 8, 8)}), "found [32 0 8 8]", 3},
		{"numbering", edit(c, map[string]*onnx.Tensor{"blocks.1000000000.x": f(1)}), "numbered up to 1000000000", 3},
		{"nothing", edit(&Checkpoint{}, nil), "no tensors at all", 3},
	} {
		_, err := ReadArchitecture(v.c, Options{})
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != v.code || !strings.Contains(err.Error(), v.want) || !strings.HasPrefix(err.Error(), "dir/x.safetensors: ") {
			t.Errorf("%s: %v, want %q", v.name, err, v.want)
		}
	}
	for want, opt := range map[string]Options{
		"are no multiple of the patches' 8x8":        {ImageSize: [2]int{33, 33}},
		"5 heads don't divide the width 32":          {Heads: 5},
		"embed_dim is 192 there, the tensors say 32": {Arch: "vit_tiny_patch16_224"},
		"num_classes is 10 there, the tensors say 5": {Arch: `{"num_classes":10}`},
		"is no known architecture":                   {Arch: "my_vit"},
	} {
		var e *Error
		if _, err := ReadArchitecture(c, opt); !errors.As(err, &e) || e.ExitCode() != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", opt, err, want)
		}
	}
}

func TestOpenCheckpointErrors(t *testing.T) {
	folder := t.TempDir()
	if _, err := OpenCheckpoint(filepath.Join(folder, "none.safetensors")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	odd := filepath.Join(folder, "x.h5")
	if err := os.WriteFile(odd, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := OpenCheckpoint(odd); !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), `".h5"`) {
		t.Errorf("an unknown suffix gives %v", err)
	}
	cut := filepath.Join(folder, "cut.safetensors")
	c, _ := random(t, small["vit"])
	if err := c.Save(cut); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(cut, 20000); err != nil {
		t.Fatal(err)
	}
	var s *safetensors.Error
	if _, err := OpenCheckpoint(cut); !errors.As(err, &s) || s.ExitCode() != 3 || !strings.Contains(err.Error(), cut) {
		t.Errorf("a truncated file gives %v", err)
	}
}

package models

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/memtest"
)

// knows reports whether an error knows its exit code: 2 or 3.
func knows(err error) bool {
	var e interface{ ExitCode() int }
	return errors.As(err, &e) && (e.ExitCode() == 2 || e.ExitCode() == 3)
}

// FuzzDescriptions puts texts beside good weights: config.json and
// preprocessor_config.json of transformers, and OpenCLIP's configuration.
func FuzzDescriptions(f *testing.F) {
	f.Add(`{"model_type":"vit","num_attention_heads":2,"image_size":32,"patch_size":[8,8],"id2label":{"0":"a","1":"b"}}`,
		`{"size":{"height":32,"width":32},"image_mean":[0.5,0.5,0.5],"image_std":[0.5,0.5,0.5],"resample":2,"rescale_factor":0.004}`, "")
	f.Add(`{"model_type":"clip","vision_config":{"num_attention_heads":1000000000000000000,"image_size":-1}}`, `{"size":224,"crop_size":0}`, "")
	f.Add(`{"architecture":"vit_tiny_patch16_224","num_classes":6,"pretrained_cfg":{"mean":[0],"std":[0],"crop_pct":-1}}`, "null", "")
	f.Add("", "", `{"model_cfg":{"vision_cfg":{"image_size":32,"layers":2,"width":32,"patch_size":8}},"preprocess_cfg":{"mean":[1e400]}}`)
	f.Add(`{"model_type":"dinov3_vit","rope_theta":0,"num_attention_heads":0}`, "{}", "")
	a, err := NewArchitecture(`{"img_size":32,"patch_size":8,"embed_dim":32,"depth":1,"num_heads":2,"num_classes":2}`)
	if err != nil {
		f.Fatal(err)
	}
	weights, err := RandomCheckpoint(a, 1)
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, config, processor, openCLIP string) {
		for name, text := range map[string]string{"config.json": config, "preprocessor_config.json": processor, "open_clip_config.json": openCLIP} {
			path := filepath.Join(dir, name)
			err := os.Remove(path)
			if text != "" {
				err = os.WriteFile(path, []byte(text), 0o666)
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		c := *weights
		c.Path = dir
		var err error
		memtest.Within(t, len(config)+len(processor)+len(openCLIP), 256, 8<<20, func() {
			var a *Architecture
			if a, err = ReadArchitecture(&c, Options{}); err == nil {
				_, err = Build(&c, a, BuildOptions{})
			}
		})
		if err != nil && !knows(err) {
			t.Fatalf("%v knows no exit code", err)
		}
	})
}

// FuzzArch states architectures, as --arch and files do: timm's names and
// constructor arguments.
func FuzzArch(f *testing.F) {
	for _, s := range []string{"vit_tiny_patch16_224", "vit_base_patch16_224.augreg_in21k", "", "[]", "null", `{"num_heads":0}`, `{"img_size":[32,-1]}`,
		`{"embed_dim":192,"depth":1000000000,"num_heads":3}`, `{"arch":{"arch":{"depth":1}},"depth":2}`, `{"class":"Eva","rope_type":"axial","ref_feat_shape":[0,0]}`,
		`{"mlp_ratio":1e300}`, `{"patch_size":0}`, `{"in_chans":-3,"global_pool":"map","reg_tokens":-9}`, `{"swiglu_align_to":0,"swiglu_mlp":true}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		var a *Architecture
		var err error
		memtest.Within(t, len(spec), 256, 1<<20, func() { a, err = NewArchitecture(spec) })
		if err != nil && !knows(err) {
			t.Fatalf("%v knows no exit code", err)
		}
		if err == nil && a.Validate() != nil {
			t.Fatalf("%q is an architecture that isn't valid: %v", spec, a.Validate())
		}
	})
}

// FuzzTensors makes checkpoints of names and sizes, a tensor a line, and tells
// their architecture.
func FuzzTensors(f *testing.F) {
	for _, spec := range []string{`{"img_size":32,"patch_size":8,"embed_dim":32,"depth":2,"num_heads":2,"num_classes":6}`,
		`{"img_size":32,"patch_size":8,"embed_dim":32,"depth":1,"num_heads":2,"num_classes":0,"reg_tokens":4,"init_values":1,"qk_norm":true,"swiglu_mlp":true}`,
		`{"class":"Beit","img_size":32,"patch_size":8,"embed_dim":32,"depth":1,"num_heads":2,"use_rel_pos_bias":true,"use_abs_pos_emb":false}`} {
		a, err := NewArchitecture(spec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(listed(a.asTimm()))
	}
	f.Add("module.cls_token 1 1 32\nmodule.patch_embed.proj.weight 32 3 8 8\nmodule.head.weight 0 32")
	f.Add("vit.embeddings.patch_embeddings.projection.weight 32 3 8 8\nvit.embeddings.position_embeddings 1 17 32")
	f.Add("Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel 32 2 16\nembedding/kernel 8 8 3 32")
	f.Add("conv_proj.weight 32 3 8 8\nencoder.layers.encoder_layer_0.self_attention.in_proj_weight 96 32")
	f.Fuzz(func(t *testing.T, list string) {
		c := &Checkpoint{tensors: map[string]*onnx.Tensor{}, Metadata: map[string]string{}}
		elements := int64(0)
		for line := range strings.Lines(list) {
			words := strings.Fields(line)
			if len(words) == 0 || len(words) > 9 || c.tensors[words[0]] != nil || len(c.names) == 200 {
				continue
			}
			dims, n := []int64{}, int64(1)
			for _, w := range words[1:] {
				d, err := strconv.ParseInt(w, 10, 64)
				if err != nil || d < 0 || d > 1<<18 || n*d > 1<<18 {
					return
				}
				dims, n = append(dims, d), n*d
			}
			if elements += n; elements > 1<<20 {
				return
			}
			c.names = append(c.names, words[0])
			c.tensors[words[0]] = &onnx.Tensor{Type: onnx.Float, Dims: dims, Raw: make([]byte, 4*n)}
		}
		a, err := ReadArchitecture(c, Options{})
		if err == nil {
			_, err = Build(c, a, BuildOptions{})
		}
		if err != nil && !knows(err) {
			t.Fatalf("%v knows no exit code", err)
		}
	})
}

func listed(specs []spec) string {
	var s strings.Builder
	for _, t := range specs {
		s.WriteString(t.name)
		for _, d := range t.dims {
			s.WriteString(" " + strconv.FormatInt(d, 10))
		}
		s.WriteString("\n")
	}
	return s.String()
}

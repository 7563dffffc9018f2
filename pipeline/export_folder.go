package pipeline

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/atomic"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/pipeline/picture"
)

// Files of a folder as model hubs have it.
const (
	hubWeights      = "model.safetensors"
	hubConfig       = "config.json"
	hubPreprocessor = "preprocessor_config.json"
)

// writeFolder writes a folder that the library loads which the model's
// checkpoint came from: weights, configuration and preprocessing.
func (e *exporter) writeFolder(dir string, values []safetensors.Named, metadata []onnx.KV) error {
	tensors, source, err := e.state(values)
	if err != nil {
		return err
	}
	config, preprocessor, err := e.hubFiles(source, tensors)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	path := filepath.Join(dir, hubWeights)
	if err := safetensors.Write(path, tensors, e.tensorMetadata(source, metadata)); err != nil {
		return err
	}
	for name, text := range map[string][]byte{hubConfig: config, hubPreprocessor: preprocessor} {
		if text == nil {
			continue
		}
		err := atomic.Write(filepath.Join(dir, name), func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
		if err != nil {
			return err
		}
	}
	return reread(path, tensors)
}

// hubFiles are the configuration and the preprocessing: those that came with
// the checkpoint, or, for one of timm's that came without, timm's.
func (e *exporter) hubFiles(source *models.Checkpoint, tensors []safetensors.Named) (config, preprocessor []byte, err error) {
	a := &models.Architecture{}
	text, converted := e.model.Meta(models.MetaArchitecture)
	if !converted {
		return nil, nil, &configs.Error{Msg: fmt.Sprintf(
			"%s was not made from a checkpoint by relevit, so the configuration of its library isn't known: export the weights as %s or %s",
			e.source, FormatSafetensors, FormatPyTorch)}
	}
	if err := json.Unmarshal([]byte(text), a); err != nil {
		return nil, nil, fmt.Errorf("metadata %s: %w", models.MetaArchitecture, err)
	}
	stated := func(key string, file func(*models.Checkpoint) []byte) []byte {
		if text, ok := e.model.Meta(key); ok {
			return []byte(text)
		}
		if source != nil {
			return file(source)
		}
		return nil
	}
	config = stated(models.MetaConfig, func(c *models.Checkpoint) []byte { return c.Config })
	preprocessor = stated(models.MetaProcessor, func(c *models.Checkpoint) []byte { return c.Preprocessor })
	var kind struct {
		Transformers string `json:"model_type"`
		Timm         string `json:"architecture"`
	}
	if config != nil {
		if err := json.Unmarshal(config, &kind); err != nil {
			return nil, nil, fmt.Errorf("the checkpoint's %s: %w", hubConfig, err)
		}
	}
	switch {
	case kind.Transformers != "":
		before := string(config)
		config, err = resized(config, a.ImageSize)
		if err == nil && (preprocessor == nil || string(config) != before) {
			preprocessor, err = e.imageProcessor()
		}
	case kind.Timm != "":
		config, err = timmResized(config, a)
	case notTimms(a, tensors) != "":
		err = &configs.Error{Msg: fmt.Sprintf("%s came without a %s, and its tensor %s isn't named as timm's, so no library is known that loads a folder of it: "+
			"export the weights as %s or %s", e.source, hubConfig, notTimms(a, tensors), FormatSafetensors, FormatPyTorch)}
	default:
		config, err = e.timmConfig(a)
	}
	return config, preprocessor, err
}

// resized states another image size in transformers' configuration, where the
// positions were resampled to one.
func resized(config []byte, size [2]int) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, err
	}
	if vision, ok := all["vision_config"]; ok && string(vision) != "null" {
		inner, err := resized(vision, size)
		if err != nil || string(inner) == string(vision) {
			return config, err
		}
		all["vision_config"] = inner
		return json.MarshalIndent(all, "", "  ")
	}
	const usual = 224 // where nothing is stated
	stated, found := all["image_size"]
	pair, ok := [2]int{usual, usual}, true
	if found {
		pair, ok = sizeOf(stated)
	}
	if !ok || pair == size {
		return config, nil
	}
	all["image_size"] = sides(size)
	return json.MarshalIndent(all, "", "  ")
}

// timmResized does the same in timm's configuration.
func timmResized(config []byte, a *models.Architecture) ([]byte, error) {
	var all struct {
		Pretrained struct {
			Input [3]int `json:"input_size"`
		} `json:"pretrained_cfg"`
		Args map[string]json.RawMessage `json:"model_args"`
	}
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, err
	}
	input := [3]int{a.Channels, a.ImageSize[0], a.ImageSize[1]}
	stated, ok := sizeOf(all.Args["img_size"])
	if all.Args["img_size"] == nil {
		stated, ok = [2]int(all.Pretrained.Input[1:]), true
	}
	if ok && stated == a.ImageSize {
		return config, nil
	}
	var whole map[string]any
	if err := json.Unmarshal(config, &whole); err != nil {
		return nil, err
	}
	for _, change := range []struct {
		in, key string
		value   any
	}{{"model_args", "img_size", sides(a.ImageSize)}, {"pretrained_cfg", "input_size", input}} {
		inner, ok := whole[change.in].(map[string]any)
		if !ok {
			inner = map[string]any{}
			whole[change.in] = inner
		}
		inner[change.key] = change.value
	}
	return json.MarshalIndent(whole, "", "  ")
}

// sizeOf reads an image size: a number, or rows and columns.
func sizeOf(text json.RawMessage) (size [2]int, ok bool) {
	var side int
	if json.Unmarshal(text, &side) == nil {
		return [2]int{side, side}, true
	}
	return size, json.Unmarshal(text, &size) == nil
}

// sides is an image size as configurations write it: a number, or rows and
// columns.
func sides(size [2]int) json.RawMessage {
	if size[0] == size[1] {
		return json.RawMessage(fmt.Sprint(size[0]))
	}
	return json.RawMessage(fmt.Sprintf("[%d,%d]", size[0], size[1]))
}

// resamplings are interpolations by PIL's number.
var resamplings = []string{"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"}

// imageProcessor writes the preprocessing in transformers' words.
func (e *exporter) imageProcessor() ([]byte, error) {
	p := models.PreprocessOf(e.model)
	if p == nil {
		return nil, nil
	}
	rows, columns := p.InputSize[1], p.InputSize[2]
	out := map[string]any{
		"image_processor_type": "ViTImageProcessor", "do_resize": true, "do_rescale": true, "do_normalize": true,
		"size":     map[string]int{"height": rows, "width": columns},
		"resample": max(0, slices.Index(resamplings, p.Interpolation)), "rescale_factor": 1.0 / 255, "image_mean": p.Mean, "image_std": p.Std,
	}
	if e.cropMode() == picture.ResizeShorter && rows == columns {
		out["image_processor_type"] = "BitImageProcessor"
		out["size"] = map[string]int{"shortest_edge": int(float64(rows) / p.CropPct)}
		out["do_center_crop"], out["crop_size"] = true, map[string]int{"height": rows, "width": columns}
	}
	return json.MarshalIndent(out, "", "  ")
}

// cropMode is how pictures are resized before they are cropped.
func (e *exporter) cropMode() picture.ResizeMode {
	text, _ := e.model.Meta(models.MetaPreprocess)
	p := struct {
		Mode picture.ResizeMode `json:"crop_mode"`
	}{picture.ResizeShorter}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return picture.ResizeShorter
	}
	return p.Mode
}

// Names that timm has for the same tensors in other classes and layers: of
// LayerScale in Eva and Beit, and of a gated MLP whose halves are one.
var (
	layerScale = strings.NewReplacer(".gamma_1", ".ls1.gamma", ".gamma_2", ".ls2.gamma")
	packed     = strings.NewReplacer(".mlp.fc1.", ".mlp.fc1_g.")
)

// notTimms is the first tensor that timm's model doesn't load under its name,
// empty for none.
func notTimms(a *models.Architecture, tensors []safetensors.Named) string {
	known := a.TimmNames()
	for _, t := range tensors {
		name := t.Name
		if a.Rotary != nil || a.Family == "eva" || a.Family == "beit" {
			name = layerScale.Replace(name)
		}
		if a.MLP != "Mlp" {
			name = packed.Replace(name)
		}
		if !slices.Contains(known, name) {
			return t.Name
		}
	}
	return ""
}

// timmConfig describes the model as timm's own folders do: its name there, what
// differs from the model of that name, and the preprocessing.
func (e *exporter) timmConfig(a *models.Architecture) ([]byte, error) {
	name, _, _ := strings.Cut(a.Name, ".")
	args := map[string]any{"img_size": sides(a.ImageSize)}
	if name == "" {
		var err error
		if name, err = timmArgs(a, args); err != nil {
			return nil, err
		}
	}
	pretrained := map[string]any{"num_classes": a.Classes, "classifier": "head", "first_conv": "patch_embed.proj",
		"pool_size": nil, "fixed_input_size": true}
	if p := models.PreprocessOf(e.model); p != nil {
		pretrained["input_size"], pretrained["interpolation"], pretrained["crop_pct"] = p.InputSize, p.Interpolation, p.CropPct
		pretrained["crop_mode"], pretrained["mean"], pretrained["std"] = e.cropMode(), p.Mean, p.Std
	}
	if a.DistHead {
		pretrained["classifier"] = []string{"head", "head_dist"}
	}
	config := map[string]any{"architecture": name, "num_classes": a.Classes, "num_features": a.Width,
		"global_pool": a.Pool, "model_args": args, "pretrained_cfg": pretrained}
	if text, ok := e.model.Meta(models.MetaLabels); ok {
		config["label_names"] = json.RawMessage(text)
	}
	return json.MarshalIndent(config, "", "  ")
}

// timmArgs adds the constructor's arguments of a model that has no name of its
// own in timm, and returns the name of one with the same class.
func timmArgs(a *models.Architecture, args map[string]any) (string, error) {
	const usualEps = 1e-6 // no argument states another
	if a.Rotary != nil || a.RelBias || a.SharedRelBias || a.MLP != "Mlp" || a.Block != "Block" || a.Eps != usualEps || a.QKVBias != a.KeyBias ||
		a.OnlyClassEmb || a.Pool == "token_avg" || a.PreLogits > 0 || a.AttnGate || a.AttnScale || a.EmbedNorm || a.AttnWidth != a.Width {
		return "", &configs.Error{Msg: "timm's name of the model isn't known: convert the checkpoint with its name (arch)"}
	}
	args["patch_size"], args["in_chans"], args["embed_dim"] = sides(a.Patch), a.Channels, a.Width
	args["depth"], args["num_heads"], args["mlp_ratio"] = a.Depth, a.Heads, float64(a.Hidden)/float64(a.Width)
	args["qkv_bias"], args["qk_norm"], args["proj_bias"], args["pre_norm"] = a.QKVBias, a.QKNorm, a.ProjBias, a.PreNorm
	args["scale_attn_norm"], args["scale_mlp_norm"] = a.AttnNorm, a.MLPNorm
	args["global_pool"], args["class_token"], args["no_embed_class"] = a.Pool, a.ClassToken, a.NoEmbedClass
	args["reg_tokens"], args["fc_norm"], args["final_norm"] = a.Registers, a.FCNorm, a.FinalNorm || a.FCNorm
	if a.PoolPrefix {
		args["pool_include_prefix"] = true
	}
	if a.LayerScale {
		args["init_values"] = 1e-5
	}
	if a.Activation != "gelu" {
		args["act_layer"] = a.Activation
	}
	if a.Norm != "layernorm" {
		args["norm_layer"] = a.Norm
	}
	if a.DistToken {
		for _, key := range []string{"global_pool", "class_token"} {
			delete(args, key)
		}
		return "deit_base_distilled_patch16_224", nil
	}
	return "vit_base_patch16_224", nil
}

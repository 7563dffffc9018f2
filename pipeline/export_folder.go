package pipeline

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/relevit/relevit/configs"
	"github.com/relevit/relevit/models"
	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
)

// Files of a folder as model hubs have it.
const (
	hubWeights      = "model.safetensors"
	hubConfig       = "config.json"
	hubPreprocessor = "preprocessor_config.json"
)

// timmPatches is a tensor of every model of timm's.
const timmPatches = "patch_embed.proj.weight"

// described is what the metadata of a converted model say of its architecture,
// by timm's names.
type described struct {
	Name       string  `json:"architecture"`
	Family     string  `json:"family"`
	ImageSize  [2]int  `json:"img_size"`
	Patch      [2]int  `json:"patch_size"`
	Channels   int     `json:"in_chans"`
	Classes    int     `json:"num_classes"`
	Width      int     `json:"embed_dim"`
	Depth      int     `json:"depth"`
	Heads      int     `json:"num_heads"`
	Ratio      float64 `json:"mlp_ratio"`
	Hidden     int     `json:"mlp_hidden"`
	QKVBias    bool    `json:"qkv_bias"`
	QKNorm     bool    `json:"qk_norm"`
	PreNorm    bool    `json:"pre_norm"`
	Pool       string  `json:"global_pool"`
	ClassToken bool    `json:"class_token"`
	DistToken  bool    `json:"dist_token"`
	DistHead   bool    `json:"dist_head"`
	NoEmbed    bool    `json:"no_embed_class"`
	Registers  int     `json:"reg_tokens"`
	FCNorm     bool    `json:"fc_norm"`
	LayerScale bool    `json:"layer_scale"`
	Activation string  `json:"act_layer"`
	RelBias    bool    `json:"use_rel_pos_bias"`
	SharedBias bool    `json:"use_shared_rel_pos_bias"`
	Rope       string  `json:"rope_type"`
	MLP        string  `json:"mlp_layer"`
	Block      string  `json:"block_fn"`
}

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
		err := WriteFile(filepath.Join(dir, name), func(w io.Writer) error {
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
	var a described
	text, converted := e.model.Meta(models.MetaArchitecture)
	if !converted {
		return nil, nil, &configs.Error{Msg: fmt.Sprintf(
			"%s was not made from a checkpoint by relevit, so the configuration of its library isn't known: export the weights as %s or %s",
			e.source, FormatSafetensors, FormatPyTorch)}
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
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
		config, err = resized(config, a.ImageSize)
		if preprocessor == nil && err == nil {
			preprocessor, err = e.imageProcessor()
		}
	case kind.Timm != "":
	case byName(tensors)[timmPatches] == nil:
		err = &configs.Error{Msg: fmt.Sprintf("%s doesn't have the %s of the checkpoint that it was made of, and that isn't timm's: "+
			"export the weights as %s or %s", e.source, hubConfig, FormatSafetensors, FormatPyTorch)}
	default:
		config, err = e.timmConfig(&a)
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
	if vision, ok := all["vision_config"]; ok {
		inner, err := resized(vision, size)
		if err != nil || string(inner) == string(vision) {
			return config, err
		}
		all["vision_config"] = inner
		return json.MarshalIndent(all, "", "  ")
	}
	side, pair := 0, [2]int{}
	stated, ok := all["image_size"]
	switch {
	case !ok:
		return config, nil
	case json.Unmarshal(stated, &side) == nil:
		pair = [2]int{side, side}
	case json.Unmarshal(stated, &pair) != nil:
		return config, nil
	}
	if pair == size {
		return config, nil
	}
	all["image_size"] = sides(size)
	return json.MarshalIndent(all, "", "  ")
}

// sides is an image size as configurations write it: a number, or rows and
// columns.
func sides(size [2]int) json.RawMessage {
	if size[0] == size[1] {
		return json.RawMessage(fmt.Sprint(size[0]))
	}
	return json.RawMessage(fmt.Sprintf("[%d,%d]", size[0], size[1]))
}

// imageProcessor writes the preprocessing in transformers' words.
func (e *exporter) imageProcessor() ([]byte, error) {
	p := models.PreprocessOf(e.model)
	if p == nil {
		return nil, nil
	}
	resample := map[string]int{"nearest": 0, "bilinear": 2, "bicubic": 3}[p.Interpolation]
	return json.MarshalIndent(map[string]any{
		"image_processor_type": "ViTImageProcessor", "do_resize": true, "do_rescale": true, "do_normalize": true,
		"size":     map[string]int{"height": p.InputSize[1], "width": p.InputSize[2]},
		"resample": resample, "rescale_factor": 1.0 / 255, "image_mean": p.Mean, "image_std": p.Std,
	}, "", "  ")
}

// timmConfig describes the model as timm's own folders do: its name there, what
// differs from the model of that name, and the preprocessing.
func (e *exporter) timmConfig(a *described) ([]byte, error) {
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
		pretrained["mean"], pretrained["std"] = p.Mean, p.Std
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
func timmArgs(a *described, args map[string]any) (string, error) {
	if a.Rope != "" || a.RelBias || a.SharedBias || a.MLP != "Mlp" && a.MLP != "" || a.Block != "Block" && a.Block != "" {
		return "", &configs.Error{Msg: "timm's name of the model isn't known: convert the checkpoint with its name (arch)"}
	}
	args["patch_size"], args["in_chans"], args["embed_dim"] = sides(a.Patch), a.Channels, a.Width
	args["depth"], args["num_heads"] = a.Depth, a.Heads
	if args["mlp_ratio"] = a.Ratio; a.Hidden > 0 {
		args["mlp_ratio"] = float64(a.Hidden) / float64(a.Width)
	}
	args["qkv_bias"], args["qk_norm"], args["pre_norm"] = a.QKVBias, a.QKNorm, a.PreNorm
	args["global_pool"], args["class_token"], args["no_embed_class"] = a.Pool, a.ClassToken, a.NoEmbed
	args["reg_tokens"], args["fc_norm"] = a.Registers, a.FCNorm
	if a.LayerScale {
		args["init_values"] = 1e-5
	}
	if a.Activation != "" && a.Activation != "gelu" {
		args["act_layer"] = a.Activation
	}
	if a.DistToken {
		delete(args, "global_pool")
		delete(args, "class_token")
		return "deit_base_distilled_patch16_224", nil
	}
	return "vit_base_patch16_224", nil
}

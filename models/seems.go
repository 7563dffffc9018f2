package models

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/relevit/relevit/onnx"
)

// What to do with models whose attention isn't what relevance needs, or is,
// but in a model that isn't built from a checkpoint.
const (
	otherModel = "relevance needs attention between all patches: take a ViT, DeiT, BEiT, EVA, DINO, CLIP or SigLIP"
	otherFile  = "give its ONNX export, in which attention is found by structure"
)

// likeliness is what a checkpoint seems to be by a tensor's name.
type likeliness struct {
	name         *regexp.Regexp
	what, advice string
}

// lookalikes are models that aren't built as Vision Transformers. The first that
// fits counts.
var lookalikes = []likeliness{
	{regexp.MustCompile(`(^|\.)lora_|adapter_(down|up)|\.base_layer\.`),
		"an adapter (LoRA), alone or not merged", "merge it into its model, as peft's merge_and_unload does, and save that"},
	{regexp.MustCompile(`exp_avg|momentum_buffer|^optimizer\b|^param_groups`),
		"the state of an optimizer", "give the file of the model's weights"},
	{regexp.MustCompile(`adaLN_modulation|time_embed|time_mlp|diffusion_model\.|down_blocks\.|mid_block\.`),
		"a diffusion model", otherModel},
	{regexp.MustCompile(`attn\.(pool|norm)_k\.`),
		"an MViT, whose keys are pooled", otherModel},
	{regexp.MustCompile(`rel_pos_[hw]$|^image_encoder\.`),
		"the image encoder of SAM or ViTDet, most of whose blocks attend within windows", otherModel},
	{regexp.MustCompile(`layers\.\d+\.blocks\.\d+\.|features\.\d+\.\d+\.attn\.relative_position_bias_table`),
		"a Swin Transformer, whose attention is within windows", otherModel},
	{regexp.MustCompile(`attn_grid|\.attn_block\.|window_attention`),
		"a MaxViT, whose attention is within windows and grids", otherModel},
	{regexp.MustCompile(`stages\.\d+\.blocks\.\d+\.attn\.rel_pos\.`),
		"a CoAtNet or GCViT, which attends within windows or over what convolutions leave", otherModel},
	{regexp.MustCompile(`levels\.\d+\.transformer_encoder\.`),
		"a NesT, which attends within blocks of the picture", otherModel},
	{regexp.MustCompile(`attention_biases`),
		"a LeViT, TinyViT or EfficientFormer, whose grid of patches shrinks from stage to stage", otherModel},
	{regexp.MustCompile(`(attn|attention\.self)\.sr\.`),
		"a pyramid Transformer (PVT, Twins, SegFormer), whose keys are fewer than its patches", otherModel},
	{regexp.MustCompile(`mobilevit|stages\.\d+\.\d+\.transformer\.`),
		"a MobileViT, which attends within grids", otherModel},
	{regexp.MustCompile(`transformers\.\d+\.blocks\.`),
		"a PiT, whose grid of patches shrinks from stage to stage", otherModel},
	{regexp.MustCompile(`blocks\.\d+\.(fusion|blocks)\.`),
		"a CrossViT, which has two grids of patches", otherModel},
	{regexp.MustCompile(`network\.\d+\.\d+\.attn\.|crpe|stages\.\d+\.blocks\.\d+\.\d+\.attn\.`),
		"a VOLO, CoaT or DaViT, whose attention is local or between channels", otherModel},
	{regexp.MustCompile(`blocks\.0\.attn\.temperature`),
		"an XCiT, whose attention is between channels", otherModel},
	{regexp.MustCompile(`blocks_token_only|gating_param|attn_in\.|blocks\.\d+\.attn\.rel_pos\.`),
		"a CaiT, ConViT, TNT or ViT with computed relative positions", otherFile},
	{regexp.MustCompile(`mlp_tokens|linear_tokens|mlp_channels|MixerBlock_|token_mixer\.`),
		"an MLP-Mixer or a like, which has no attention", otherModel},
	{regexp.MustCompile(`patch_embed\.backbone\.|patch_embeddings\.backbone\.`),
		"a hybrid, whose patches are a CNN's features", otherFile},
	{regexp.MustCompile(`detection_tokens|bbox_embed|class_embed\.|query_embed|(^|\.)rpn\.|roi_heads|mask_head|decode_head`),
		"a detector or a segmenter, which has no classes of whole pictures", "take the classifier that it was made of"},
	{regexp.MustCompile(`^(decoder_blocks|decoder_embed|decoder_pos_embed)`),
		"the decoder of a masked autoencoder", "take the encoder"},
	{regexp.MustCompile(`word_embeddings|embed_tokens|token_embedding|\bwte\.|tok_embeddings`),
		"a text model", "relevit reads pictures: take the image tower's weights"},
	{regexp.MustCompile(`conv_dw|dwconv|depthwise`),
		"a CNN (ConvNeXt, EfficientNet, MobileNet), which has no attention between patches", otherModel},
	{regexp.MustCompile(`layer1\.0\.conv1|encoder\.stages\.0\.layers\.0\.layer\.0\.convolution`),
		"a ResNet, which has no attention", otherModel},
	{regexp.MustCompile(`running_mean`),
		"a CNN or a mixture of one with attention", otherModel},
}

// loosely are names that Vision Transformers have, too.
var loosely = []likeliness{
	{regexp.MustCompile(`blocks\.0\.attn`),
		"a Transformer whose patches are embedded in another way", otherFile},
	{regexp.MustCompile(`encoder\.layers?\.|transformer\.`),
		"a Transformer of another family", otherFile},
	{regexp.MustCompile(`(^|\.)conv|^features\.\d+\.`),
		"a CNN, which has no attention", otherModel},
}

// seems guesses what has tensors of these names and no patch embedding.
func seems(names []string) (what, advice string) {
	if len(names) == 0 {
		return "it has no tensors at all", ""
	}
	if what, advice, ok := lookalike(names, slices.Concat(lookalikes, loosely)); ok {
		return what, advice
	}
	return "its tensors have names such as " + strings.Join(names[:min(4, len(names))], ", "), otherFile
}

// lookalike finds the first kind of model that has a tensor of these names.
func lookalike(names []string, kinds []likeliness) (what, advice string, ok bool) {
	for _, l := range kinds {
		for _, name := range names {
			if l.name.MatchString(name) {
				return fmt.Sprintf("it seems to be %s (tensor %s)", l.what, name), l.advice, true
			}
		}
	}
	return "", "", false
}

// doubt replaces an error about a checkpoint that seems to be another kind of
// model by one that says so.
func (r *reading) doubt(err error) error {
	if e := (*Error)(nil); !errors.As(err, &e) || e.Usage {
		return err
	}
	var names []string
	for _, name := range r.c.names {
		if !slices.Contains(r.view.unused, name) {
			names = append(names, name)
		}
	}
	if what, advice, ok := lookalike(names, lookalikes); ok {
		return r.fail(advice, "this is no Vision Transformer that relevit builds: %s", what)
	}
	return err
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// quantisers are tools that store weights as small integers with scales, by
// what they call these.
var quantisers = []struct {
	name *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`\.(SCB|weight_format)$`), "bitsandbytes, 8 bit"},
	{regexp.MustCompile(`\.(absmax|quant_map|nested_absmax|quant_state\.bitsandbytes__\w+)$`), "bitsandbytes, 4 bit"},
	{regexp.MustCompile(`\.(qweight|qzeros|g_idx)$`), "GPTQ or AWQ"},
	{regexp.MustCompile(`\.(weight_scale|weight_scale_inv|weight_zero_point|weight_packed|input_scale)$`), "compressed-tensors or a like"},
	{regexp.MustCompile(`(\._packed_params|\._packed_params\..*|\.zero_point)$`), "PyTorch"},
}

// quantised refuses weights that are stored as small integers.
func quantised(c *Checkpoint) error {
	fail := func(name, by string) error {
		return &Error{Path: c.Path, Problem: fmt.Sprintf("the weights are quantised (%s: tensor %s), and relevit computes and trains in floating point", by, name),
			Advice: "take the model's float32, float16 or bfloat16 weights"}
	}
	for _, name := range c.names {
		for _, q := range quantisers {
			if q.name.MatchString(name) {
				return fail(name, q.by)
			}
		}
		t := c.tensors[name]
		small := t.Type == onnx.Int8 || t.Type == onnx.Uint8 || strings.HasPrefix(t.Type.String(), "float8")
		if small && len(t.Dims) > 1 && strings.HasSuffix(name, "weight") {
			return fail(name, "type "+t.Type.String())
		}
	}
	return nil
}

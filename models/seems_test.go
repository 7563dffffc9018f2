package models

import (
	"errors"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
)

// TestOtherModelsAreRefusedByKind gives names that timm's, torchvision's,
// transformers' and other models have.
func TestOtherModelsAreRefusedByKind(t *testing.T) {
	for name, want := range map[string]string{
		"layers.0.blocks.0.attn.relative_position_bias_table":                          "a Swin Transformer",
		"swin.encoder.layers.0.blocks.0.attention.self.relative_position_bias_table":   "a Swin Transformer",
		"features.1.0.attn.relative_position_bias_table":                               "a Swin Transformer",
		"layers.0.blocks.0.attn.cpb_mlp.0.bias":                                        "a Swin Transformer",
		"stages.0.blocks.0.attn_block.attn.rel_pos.relative_position_bias_table":       "a MaxViT",
		"stages.2.blocks.0.attn.rel_pos.relative_position_bias_table":                  "a CoAtNet",
		"levels.0.transformer_encoder.0.attn.qkv.weight":                               "a NesT",
		"stages.0.blocks.0.attn.attention_biases":                                      "a LeViT",
		"segformer.encoder.block.0.0.attention.self.sr.weight":                         "a pyramid Transformer",
		"stages.0.blocks.0.attn.sr.weight":                                             "a pyramid Transformer",
		"stages.0.blocks.0.attn.norm_k.weight":                                         "an MViT",
		"mobilevit.encoder.layer.0.downsampling_layer.conv.convolution.weight":         "a MobileViT",
		"stages.2.1.transformer.0.attn.qkv.weight":                                     "a MobileViT",
		"transformers.0.blocks.0.attn.qkv.weight":                                      "a PiT",
		"blocks.0.blocks.0.0.attn.qkv.weight":                                          "a CrossViT",
		"blocks.0.attn.temperature":                                                    "an XCiT",
		"cls_attn_blocks.0.attn.k.weight":                                              "a Transformer whose",
		"blocks_token_only.0.attn.k.weight":                                            "a CaiT",
		"blocks.0.mlp_tokens.fc1.weight":                                               "an MLP-Mixer",
		"patch_embed.backbone.conv.weight":                                             "a hybrid",
		"blocks.0.attn.rel_pos_h":                                                      "the image encoder of SAM",
		"image_encoder.blocks.0.attn.qkv.weight":                                       "the image encoder of SAM",
		"stages.0.blocks.0.conv_dw.weight":                                             "a CNN (ConvNeXt",
		"layer1.0.conv1.weight":                                                        "a ResNet",
		"body.3.running_mean":                                                          "a CNN",
		"features.0.weight":                                                            "a CNN",
		"bert.embeddings.word_embeddings.weight":                                       "a text model",
		"transformer.wte.weight":                                                       "a text model",
		"down_blocks.0.resnets.0.conv1.weight":                                         "a diffusion model",
		"blocks.0.adaLN_modulation.1.weight":                                           "a diffusion model",
		"vit.embeddings.detection_tokens":                                              "a detector",
		"model.query_embed.weight":                                                     "a detector",
		"decoder_blocks.0.attn.qkv.weight":                                             "the decoder of a masked autoencoder",
		"base_model.model.vit.encoder.layer.0.attention.attention.query.lora_A.weight": "an adapter (LoRA)",
		"state.0.exp_avg":                                                              "the state of an optimizer",
		"my.own.tensor":                                                                "its tensors have names such as my.own.tensor",
	} {
		c := checkpointOf(map[string][]int64{name: {1}})
		c.Path = "dir/x.safetensors"
		_, err := ReadArchitecture(c, Options{})
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != 3 || e.Advice == "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s gives %v, want %q", name, err, want)
		}
	}
}

func TestATowerWithAStrangersTensorsIsNamed(t *testing.T) {
	c, _ := random(t, small["vit"])
	c = edit(c, map[string]*onnx.Tensor{"blocks.0.attn.gating_param": onnx.FloatTensor([]float32{1}, 1)})
	if _, err := ReadArchitecture(c, Options{}); err == nil || !strings.Contains(err.Error(), "ConViT") {
		t.Errorf("error %v", err)
	}
}

func TestQuantisedWeightsAreRefused(t *testing.T) {
	whole, _ := random(t, small["vit"])
	small := func(dtype onnx.DType) *onnx.Tensor {
		return &onnx.Tensor{Type: dtype, Dims: []int64{2, 2}, Raw: make([]byte, 4)}
	}
	for name, add := range map[string]struct {
		tensor *onnx.Tensor
		by     string
	}{
		"blocks.0.attn.qkv.SCB":                   {onnx.FloatTensor([]float32{1}, 1), "bitsandbytes, 8 bit"},
		"blocks.0.attn.qkv.weight.absmax":         {onnx.FloatTensor([]float32{1}, 1), "bitsandbytes, 4 bit"},
		"blocks.0.attn.qkv.qweight":               {onnx.FloatTensor([]float32{1}, 1), "GPTQ or AWQ"},
		"blocks.0.attn.qkv.weight_scale":          {onnx.FloatTensor([]float32{1}, 1), "compressed-tensors"},
		"blocks.0.mlp.fc1._packed_params.dtype":   {onnx.FloatTensor([]float32{1}, 1), "PyTorch"},
		"blocks.0.attn.qkv.weight":                {small(onnx.Int8), "type int8"},
		"blocks.1.attn.qkv.weight":                {small(17), "type float8"},
		"vit.encoder.layer.0.output.dense.weight": {small(onnx.Uint8), "type uint8"},
	} {
		_, err := ReadArchitecture(edit(whole, map[string]*onnx.Tensor{name: add.tensor}), Options{})
		var e *Error
		if !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), "quantised ("+add.by) || !strings.Contains(e.Advice, "float32") {
			t.Errorf("%s gives %v, want %q", name, err, add.by)
		}
	}
}

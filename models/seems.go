package models

import (
	"fmt"
	"strings"
)

// lookalikes tells by a part of tensors' names what a checkpoint that is no
// timm Vision Transformer seems to be. The first that fits counts.
var lookalikes = []struct{ part, what string }{
	{"relative_position_bias_table", "a Swin Transformer, whose attention is within windows"},
	{"vit.encoder.layer.", "a Hugging Face ViT: its names aren't timm's"},
	{"deit.encoder.layer.", "a Hugging Face DeiT: its names aren't timm's"},
	{"encoder.layers.encoder_layer_", "a torchvision ViT: its names aren't timm's"},
	{"visual.transformer.resblocks.", "an OpenCLIP model: its names aren't timm's"},
	{"vision_model.encoder.layers.", "a Hugging Face CLIP or SigLIP: its names aren't timm's"},
	{"module.blocks.", "a Vision Transformer saved from DataParallel: names begin with module."},
	{"model.blocks.", "a Vision Transformer inside another module: names begin with model."},
	{"attn_pool.", "a ViT with attention pooling"},
	{"encoder.layer.", "a Transformer of another family"},
	{"layer1.0.conv1", "a convolutional ResNet, which has no attention"},
	{"stages.0.blocks.0.conv_dw", "a ConvNeXt, which has no attention"},
	{"features.0.", "a convolutional network, which has no attention"},
	{"running_mean", "a convolutional network, which has no attention"},
	{"blocks.0.attn", "a Transformer whose patches are embedded in another way"},
	{"conv", "a convolutional network, which has no attention"},
}

// seems guesses what a checkpoint is.
func seems(c *Checkpoint) string {
	if len(c.names) == 0 {
		return "it has no tensors at all"
	}
	for _, l := range lookalikes {
		for _, name := range c.names {
			if strings.Contains(name, l.part) {
				return fmt.Sprintf("it seems to be %s (tensor %s)", l.what, name)
			}
		}
	}
	return fmt.Sprintf("its %d tensors begin with %s", len(c.names), strings.Join(c.names[:min(4, len(c.names))], ", "))
}

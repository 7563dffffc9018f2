"""Image classifiers of Hugging Face transformers as both exporters and Optimum write them."""
import os
import sys

import torch
import transformers as hf

sys.path.insert(0, os.path.dirname(__file__))
from exporters import Logits, dynamo, strip, torchscript  # noqa: E402
from reference import case, randomize  # noqa: E402
from timm_vit import folder  # noqa: E402

IMAGE = (3, 8, 12)
OPTIMUM = ("pixel_values", ["logits"])


def small(kind, config, **kw):
    args = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=IMAGE[1:], patch_size=4)
    args.update(kw)
    c = config(**args, num_labels=5)
    return lambda attention: Logits(randomize(load(kind, c, attention)))


def load(kind, config, attention):
    config._attn_implementation = attention
    return kind(config).eval()


def write(name, make, export, attention="eager", prefix=1, pool="token", image=IMAGE, size=None, **kw):
    """image is what the model is exported with, size what it is traced with."""
    model = make(attention)
    d = folder(name)
    case(model, d + "/case.safetensors", prefix=prefix, pool=pool, image=size or image)
    export(model, d + "/model.onnx", image, **kw)


def save(make, name):
    """Writes the checkpoint of a case's file beside it."""
    make("eager").model.save_pretrained(folder(name) + "/weights")


class Pair(torch.nn.Module):
    """A whole CLIP model, as Optimum exports it for zero-shot classification."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, pixel_values, attention_mask):
        o = self.model(input_ids=input_ids, pixel_values=pixel_values, attention_mask=attention_mask)
        return o.logits_per_image, o.logits_per_text, o.text_embeds, o.image_embeds


class Embedded(torch.nn.Module):
    """The image tower of a CLIP model."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return torch.nn.functional.normalize(self.model.visual_projection(self.model.vision_model(image).pooler_output), dim=-1)


def write_pair(name, image=(3, 12, 12)):
    """Two towers, with the reference of the image's alone."""
    tower = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    config = hf.CLIPConfig(vision_config=dict(**tower, image_size=12, patch_size=4), text_config=dict(**tower, vocab_size=16, max_position_embeddings=6,
                           eos_token_id=2), projection_dim=5)
    model = randomize(load(hf.CLIPModel, config, "eager"))
    d = folder(name)
    case(Embedded(model), d + "/case.safetensors", image=image)
    names = ["input_ids", "pixel_values", "attention_mask"], ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"]
    ids = torch.tensor([[1, 5, 7, 2]] * 3)
    sizes = {"input_ids": {0: "text_batch_size", 1: "sequence_length"}, "attention_mask": {0: "text_batch_size", 1: "sequence_length"},
             "pixel_values": {0: "image_batch_size"}}
    torch.onnx.export(Pair(model).eval(), (ids, torch.zeros(2, *image), torch.ones_like(ids)), d + "/model.onnx", dynamo=False, opset_version=17,
                      input_names=names[0], output_names=names[1], dynamic_axes=sizes)
    strip(d + "/model.onnx")


class Resampled(torch.nn.Module):
    """A model that takes pictures of any size, by resampling its positions."""

    def __init__(self, logits):
        super().__init__()
        self.model = logits.model

    def forward(self, image):
        return self.model(image, interpolate_pos_encoding=True).logits


if __name__ == "__main__":
    vit = small(hf.ViTForImageClassification, hf.ViTConfig)
    write("hf-vit-eager-17", vit, torchscript, opset=17, names=OPTIMUM)
    save(vit, "hf-vit-eager-17")
    write("hf-vit-sdpa-14", vit, torchscript, "sdpa", opset=14, names=OPTIMUM)
    write("hf-vit-eager-dynamo-18", vit, dynamo, names=OPTIMUM)
    write("hf-vit-sdpa-dynamo-23", vit, dynamo, "sdpa", opset=23, names=OPTIMUM)
    write("hf-vit-sdpa-dynamo-24", vit, dynamo, "sdpa", names=OPTIMUM, opset=24)
    square = small(hf.ViTForImageClassification, hf.ViTConfig, image_size=12)
    write("hf-vit-anysize-14", lambda attention: Resampled(square(attention)), torchscript, image=(3, 12, 12), size=(3, 16, 20),
          opset=14, names=OPTIMUM, anysize=True)
    deit = small(hf.DeiTForImageClassificationWithTeacher, hf.DeiTConfig)
    write("hf-deit-teacher-17", deit, torchscript, "sdpa", opset=17, prefix=2)
    beit = small(hf.BeitForImageClassification, hf.BeitConfig, image_size=12, use_relative_position_bias=True, layer_scale_init_value=0.1)
    write("hf-beit-17", beit, torchscript, image=(3, 12, 12), pool="avg")
    save(beit, "hf-beit-17")
    write("hf-beit-dynamo-18", beit, dynamo, image=(3, 12, 12), pool="avg", dynamic=False)
    dino2 = small(hf.Dinov2ForImageClassification, hf.Dinov2Config, image_size=12, mlp_ratio=2)
    write("hf-dinov2-17", dino2, torchscript, "sdpa", image=(3, 12, 12))
    write("hf-dinov2-anysize-17", dino2, torchscript, image=(3, 12, 12), size=(3, 20, 16), names=OPTIMUM, anysize=True)
    regs = small(hf.Dinov2WithRegistersForImageClassification, hf.Dinov2WithRegistersConfig, image_size=12, mlp_ratio=2, num_register_tokens=2)
    write("hf-dinov2-registers-dynamo-18", regs, dynamo, image=(3, 12, 12), prefix=3)

    def clip(attention):
        c = hf.CLIPConfig(vision_config=dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=12,
                                             patch_size=4), text_config=dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                             intermediate_size=16), num_labels=5)
        return Logits(randomize(load(hf.CLIPForImageClassification, c, attention)))

    def siglip(attention):
        c = hf.SiglipConfig(vision_config=dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=12,
                                               patch_size=4), text_config=dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                               intermediate_size=16), num_labels=5)
        return Logits(randomize(load(hf.SiglipForImageClassification, c, attention)))

    write("hf-clip-17", clip, torchscript, image=(3, 12, 12), pool="avg", prefix=1)
    save(clip, "hf-clip-17")
    write("hf-clip-sdpa-dynamo-18", clip, dynamo, "sdpa", image=(3, 12, 12), pool="avg", prefix=1)
    write("hf-siglip-17", siglip, torchscript, image=(3, 12, 12), pool="avg", prefix=0)
    write_pair("../towers/hf-clip-17")

"""ViTs of timm: a checkpoint, and what torch.onnx makes of it."""
import os
import sys

import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

sys.path.insert(0, os.path.dirname(__file__))
from reference import case, inputs, randomize  # noqa: E402

ZOO = os.path.join(os.path.dirname(__file__), "..", "zoo")


def folder(name):
    path = os.path.join(ZOO, name)
    os.makedirs(path, exist_ok=True)
    return path


def small(**kw):
    args = dict(img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2, mlp_ratio=2, num_classes=5)
    args.update(kw)
    return args, randomize(VisionTransformer(**args))


if __name__ == "__main__":
    args, model = small()
    d = folder("timm-torchscript-17")
    case(model, d + "/case.safetensors")
    torch.onnx.export(model, (inputs()[0],), d + "/model.onnx", dynamo=False, opset_version=17, input_names=["image"],
                      output_names=["logits"], dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})

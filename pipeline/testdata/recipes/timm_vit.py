"""ViTs of timm, and what torch.onnx makes of them. weights.safetensors is the checkpoint of the file beside it."""
import os
import sys

import timm
import torch
from safetensors.torch import save_file
from timm.layers import RmsNorm
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer

sys.path.insert(0, os.path.dirname(__file__))
from exporters import dynamo, torchscript  # noqa: E402
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


TINY = dict(img_size=12, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=5)
IMAGE = (3, 12, 12)


def tiny(kind=VisionTransformer, **kw):
    return randomize(kind(**{**TINY, **kw}))


def unfused(model):
    for block in model.blocks:
        block.attn.fused_attn = False
    return model


def write(name, model, export, opset, image=IMAGE, size=IMAGE, prefix=1, pool="token", batch=2, **kw):
    """image is what the model is exported with, size what it is traced with."""
    d = folder(name)
    case(model, d + "/case.safetensors", prefix=prefix, pool=pool, image=size, batch=batch)
    export(model, d + "/model.onnx", image, opset=opset, **kw)


if __name__ == "__main__":
    args, model = small()
    d = folder("timm-torchscript-17")
    case(model, d + "/case.safetensors")
    torch.onnx.export(model, (inputs()[0],), d + "/model.onnx", dynamo=False, opset_version=17, input_names=["image"],
                      output_names=["logits"], dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}})
    save_file(model.state_dict(), d + "/weights.safetensors", metadata={"num_heads": "2"})
    write("timm-dynamo-18", tiny(), dynamo, 18)
    save_file(tiny().state_dict(), folder("timm-dynamo-18") + "/weights.safetensors", metadata={"num_heads": "2"})
    write("timm-one-dynamo-18", tiny(), dynamo, 18, pictures=1)
    write("timm-one-dynamo-24", tiny(), dynamo, 24, pictures=1, batch=3)
    write("timm-anysize-dynamo-18", tiny(dynamic_img_size=True), dynamo, 18, size=(3, 20, 8), anysize=True)
    write("timm-map-17", tiny(global_pool="map", class_token=False), torchscript, 17, prefix=0, pool="avg")
    write("timm-split4-17", tiny(block_fn=ParallelScalingBlock, qk_norm=True), torchscript, 17)
    write("timm-rms-dynamo-23", tiny(norm_layer=RmsNorm), dynamo, 23)
    write("timm-quickgelu-13", unfused(tiny(act_layer="quick_gelu", pre_norm=True)), torchscript, 13)
    write("timm-tanh-20", tiny(act_layer="gelu_tanh", reg_tokens=2, init_values=0.1), torchscript, 20, prefix=3)
    eva = tiny(Eva, use_rot_pos_emb=True, ref_feat_shape=(3, 3), swiglu_mlp=True, scale_mlp=True, qkv_fused=False)
    write("timm-eva02-dynamo-18", eva, dynamo, 18, pool="avg")
    dino3 = randomize(timm.create_model("vit_small_patch16_dinov3", **TINY))
    write("timm-dinov3-dynamo-23", dino3, dynamo, 23, prefix=5, pool="avg")

"""Checkpoints of every kind of ViT that timm builds, with what its classes are told in config.json.

    python architectures.py [NAME ...]

writes zoo/ckpt-NAME for all of them, or for those named, and resized/ckpt-NAME. Weights are stored in half precision (and
are so in the reference, too) where a case doesn't say otherwise, to keep the files small.
"""
import json
import os
import sys
from collections import OrderedDict
from functools import partial

import torch
from safetensors.torch import save_file
from timm.layers import GluMlp, LayerNorm, RmsNorm, SwiGLU, SwiGLUPacked
from timm.models.beit import Beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models import vision_transformer as vt

sys.path.insert(0, os.path.dirname(__file__))
from reference import case, randomize  # noqa: E402
from timm_vit import folder  # noqa: E402

SMALL = dict(img_size=12, patch_size=4, embed_dim=16, depth=2, num_heads=2, mlp_ratio=2, num_classes=5)


class WithPreLogits(vt.VisionTransformer):
    """What timm's VisionTransformer was before version 0.6: a layer between the class token and the head."""

    def __init__(self, representation_size, **kw):
        super().__init__(**kw)
        self.pre_logits = torch.nn.Sequential(OrderedDict(fc=torch.nn.Linear(kw["embed_dim"], representation_size), act=torch.nn.Tanh()))
        self.head = torch.nn.Linear(representation_size, kw["num_classes"])

    def forward_head(self, x, pre_logits=False):
        return self.head(self.pre_logits(x[:, 0]))


CLASSES = {"VisionTransformer": vt.VisionTransformer, "VisionTransformerDistilled": VisionTransformerDistilled, "WithPreLogits": WithPreLogits, "Eva": Eva, "Beit": Beit}
LAYERS = {"SwiGLU": SwiGLU, "SwiGLUPacked": SwiGLUPacked, "GluMlp": GluMlp, "ResPostBlock": vt.ResPostBlock,
          "ParallelScalingBlock": vt.ParallelScalingBlock, "ParallelThingsBlock": vt.ParallelThingsBlock}

# constructor arguments that differ from SMALL; "norm" is norm_layer by timm's name, "class" the class's
CASES = {
    "token": dict(dtype="float32", batch=2),
    "mean": dict(class_token=False, global_pool="avg", dtype="bfloat16"),
    "mean-with-class": dict(global_pool="avg"),
    "mean-of-all": dict(global_pool="avg", pool_include_prefix=True, reg_tokens=1),
    "max": dict(global_pool="max", final_norm=False),
    "avgmax": dict(global_pool="avgmax", class_token=False),
    "map": dict(global_pool="map", class_token=False, act_layer="gelu_tanh"),
    "map-gated": dict(global_pool="map", class_token=False, mlp_layer="SwiGLU"),
    "distilled": {"class": "VisionTransformerDistilled"},
    "pre-logits": {"class": "WithPreLogits", "representation_size": 10},
    "registers": dict(reg_tokens=4, no_embed_class=True, init_values=1e-5),
    "registers-embedded": dict(reg_tokens=3, fc_norm=True),
    "scaled": dict(init_values=1e-5, qk_norm=True, qkv_bias=False, proj_bias=False),
    "scale-norms": dict(scale_attn_norm=True, scale_mlp_norm=True, act_layer="relu"),
    "clip": dict(pre_norm=True, act_layer="quick_gelu", norm="layernorm", eps=1e-5, patch_size=8, img_size=24),
    "patch14": dict(patch_size=14, img_size=[14, 28], embed_dim=8),
    "patch32": dict(patch_size=32, img_size=[32, 64], embed_dim=4),
    "rectangles": dict(patch_size=[4, 8], img_size=[16, 24]),
    "rest": dict(img_size=[11, 14], global_pool="avg", class_token=False),
    "swiglu": dict(mlp_layer="SwiGLU"),
    "swiglu-packed": dict(mlp_layer="SwiGLUPacked"),
    "swiglu-silu": dict(mlp_layer="SwiGLUPacked", act_layer="silu"),
    "glu": dict(mlp_layer="GluMlp"),
    "rms": dict(norm="rmsnorm", embed_norm="rmsnorm", mlp_layer="SwiGLU", qkv_bias=False, proj_bias=False, eps=1e-5),
    "post": dict(block_fn="ResPostBlock", init_values=1e-5, global_pool="avg", class_token=False),
    "parallel-scaling": dict(block_fn="ParallelScalingBlock", qk_norm=True, qkv_bias=False),
    "parallel-scaling-bias": dict(block_fn="ParallelScalingBlock", init_values=1e-5, fc_norm=False),
    "parallel-things": dict(block_fn="ParallelThingsBlock", init_values=1e-5, depth=1, blocks=[0, 0]),
    "no-positions": {"class": "Eva", "use_abs_pos_emb": False, "use_rot_pos_emb": True, "img_size": [12, 16]},
    "beit": {"class": "Beit", "use_abs_pos_emb": False, "use_rel_pos_bias": True, "init_values": 0.1, "img_size": [12, 16]},
    "beit-shared": {"class": "Beit", "use_shared_rel_pos_bias": True, "global_pool": "token"},
    "beit-both": {"class": "Beit", "use_rel_pos_bias": True, "use_shared_rel_pos_bias": True, "swiglu_mlp": True, "scale_mlp": True, "qkv_bias": False,
                  "img_size": 8},
    "eva": {"class": "Eva"},
    "eva02": {"class": "Eva", "swiglu_mlp": True, "scale_mlp": True, "use_rot_pos_emb": True, "ref_feat_shape": [16, 16], "qkv_fused": False},
    "eva02-clip": {"class": "Eva", "swiglu_mlp": True, "use_rot_pos_emb": True, "ref_feat_shape": 8, "scale_attn_inner": True, "global_pool": "token"},
    "eva-post": {"class": "Eva", "use_post_norm": True, "global_pool": "token"},
    "eva-map": {"class": "Eva", "class_token": False, "global_pool": "map", "use_pre_transformer_norm": True, "use_rot_pos_emb": True,
                "rope_grid_offset": 1.0, "rope_grid_indexing": "xy", "attn_type": "rope", "use_fc_norm": False, "attn_pool_num_heads": 4,
                "attn_pool_mlp_ratio": 1.5},
    "eva-gated": {"class": "Eva", "attn_type": "rope", "qk_norm": True, "num_reg_tokens": 2, "no_embed_class": True, "init_values": 0.1,
                  "attn_only_layer_scale": True, "use_rot_pos_emb": True, "qkv_fused": False, "qkv_bias": False},
    "rope-mixed": {"class": "Eva", "attn_type": "rope", "use_rot_pos_emb": True, "rope_type": "mixed", "rope_temperature": 10.0,
                   "rope_grid_indexing": "xy", "qkv_bias": True, "init_values": 1e-5, "global_pool": "token", "use_fc_norm": False,
                   "no_embed_class": True, "img_size": [12, 16]},
    "dinov3": {"class": "Eva", "use_abs_pos_emb": False, "use_rot_pos_emb": True, "rope_type": "dinov3", "rope_temperature": 100, "rope_rotate_half": True,
               "num_reg_tokens": 4, "init_values": 1e-5, "use_fc_norm": False, "global_pool": "token", "qkv_bias": False, "eps": 1e-5,
               "img_size": [16, 12]},
    "dinov3-swiglu": {"class": "Eva", "use_abs_pos_emb": False, "use_rot_pos_emb": True, "rope_type": "dinov3", "rope_temperature": 100,
                      "rope_rotate_half": True, "num_reg_tokens": 4, "init_values": 1e-5, "use_fc_norm": False, "swiglu_mlp": True, "swiglu_align_to": 8,
                      "eps": 1e-5, "mlp_ratio": 1.5},
}
# checkpoints that are used at another image size, to which timm brings them
RESIZED = {"registers-embedded": [16, 12], "registers": [8, 12], "mean": [20, 16], "beit": [16, 12], "beit-both": [12, 16], "eva02": [16, 20],
           "rope-mixed": [16, 8], "dinov3": [12, 20]}


def norm_layer(name, eps):
    return partial({"layernorm": LayerNorm, "rmsnorm": RmsNorm}[name], eps=eps)


def build(args):
    """The model of a case, and what its config.json says."""
    args = dict(SMALL) | dict(args)
    say = {k: v for k, v in args.items() if k not in ("dtype", "blocks", "batch", "norm", "eps", "embed_norm")}
    cls = say.setdefault("class", args.pop("class", "VisionTransformer"))
    for key in ("class", "dtype", "blocks", "batch"):
        args.pop(key, None)
    if cls in ("VisionTransformerDistilled", "WithPreLogits"):
        say["class"], say["distilled"] = "VisionTransformer", cls == "VisionTransformerDistilled"
    for key in ("mlp_layer", "block_fn"):
        if key in args:
            args[key] = LAYERS[args[key]]
    for key, value in args.items():
        if isinstance(value, list):
            args[key] = tuple(value)
    norm, eps = args.pop("norm", "layernorm"), args.pop("eps", 1e-6)
    args["norm_layer"], say["norm_eps"] = norm_layer(norm, eps), eps
    if norm != "layernorm":
        say["norm_layer"] = norm
    if "embed_norm" in args:
        say["embed_norm_layer"] = args["embed_norm"]
        args["embed_norm_layer"] = norm_layer(args.pop("embed_norm"), eps)
    return randomize(CLASSES[cls](**args)), say


def write(name, args, resized=None):
    model, say = build(args)
    dtype = getattr(torch, args.get("dtype", "float16"))
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype))
    d = folder(("../resized/" if resized else "") + "ckpt-" + name)
    save_file({k: v.to(dtype).contiguous() for k, v in model.state_dict().items()}, d + "/model.safetensors", metadata={"format": "pt"})
    with open(d + "/config.json", "w") as f:
        json.dump({"architecture": "custom", "model_args": say}, f, indent=1)
        f.write("\n")
    size = say["img_size"] if isinstance(say["img_size"], list) else [say["img_size"]] * 2
    if resized:
        size = resized
        model.set_input_size(tuple(resized))
    pool = "token" if model.global_pool == "token" else "avg"
    case(model, d + "/case.safetensors", prefix=model.num_prefix_tokens, pool=pool, image=(3, *size), blocks=args.get("blocks"),
         batch=args.get("batch", 1))


if __name__ == "__main__":
    for name, args in CASES.items():
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            write(name, args)
            if name in RESIZED:
                write(name, args, RESIZED[name])

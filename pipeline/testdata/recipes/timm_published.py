"""Constructor arguments, preprocessing and parameter counts of timm's published ViTs.

    python timm_published.py MODELS_FOLDER

writes MODELS_FOLDER/published.json, which the program embeds, and
MODELS_FOLDER/testdata/published_parameters.json, the number of classes and of
parameters, for the tests. Models are made
on the meta device, so nothing is downloaded or allocated. Left out are those that relevit doesn't
build: hybrid stems, differential attention, fewer heads of keys than of queries.
"""
import functools
import inspect
import json
import os
import sys
import warnings

import timm
import torch
from timm.models import beit, deit, eva, vision_transformer

MODULES = ["vision_transformer", "eva", "beit", "deit"]
CLASSES = [vision_transformer.VisionTransformer, eva.Eva, beit.Beit]
IGNORED = {"weight_init", "dynamic_img_size", "rope_rescale_coords", "fix_init", "num_classes", "in_chans"}
CFG = ["mean", "std", "interpolation", "crop_pct", "crop_mode"]

seen = {}


def record(cls):
    """Notes the arguments of the next construction."""
    plain = cls.__init__
    names = list(inspect.signature(plain).parameters)[1:]

    def init(self, *args, **kwargs):
        seen.update(zip(names, args))
        seen.update(kwargs)
        seen["class"] = cls.__name__
        seen["distilled"] = isinstance(self, deit.VisionTransformerDistilled)
        plain(self, *args, **kwargs)

    cls.__init__ = init
    return {k: p.default for k, p in inspect.signature(plain).parameters.items()}


def word(value):
    """A layer or function by the name that the program knows."""
    if isinstance(value, functools.partial):
        if value.keywords.get("gate_last") is False:
            return "SwiGLUPacked"
        value = value.func
    name = value if isinstance(value, str) else value.__name__
    return {"SiLU": "silu", "GELU": "gelu", "LayerNorm": "layernorm", "RmsNorm": "rmsnorm", "QuickGELU": "quick_gelu"}.get(name, name)


def describe(model, defaults):
    """The model's arguments that differ from its class's defaults; None if relevit doesn't build it."""
    out = {}
    for key, value in seen.items():
        if key == "img_size":
            value = value[0] if isinstance(value, tuple) and value[0] == value[1] else value
        elif key in IGNORED or value is None or (key in defaults and value == defaults[key]):
            continue
        if key in ("embed_layer", "attn_layer", "num_kv_heads"):
            return None
        if key in ("norm_layer", "embed_norm_layer", "act_layer", "mlp_layer", "block_fn"):
            value = word(value)
        out[key] = list(value) if isinstance(value, tuple) else value
    if out.get("block_fn") == "DiffParallelScalingBlock":
        return None
    out["class"] = seen["class"]
    if not seen["distilled"]:
        out.pop("distilled", None)
    norms = [m for n, m in model.named_modules() if n.split(".")[-1] in ("norm1", "norm", "in_norm") and hasattr(m, "eps")]
    out["norm_eps"] = norms[0].eps
    if out.get("norm_layer") == "layernorm":
        del out["norm_layer"]
    return out


def main(folder):
    warnings.simplefilter("ignore")
    defaults = {cls.__name__: record(cls) for cls in CLASSES}
    cfgs, models, counts = [], {}, {}
    for name in sorted(n for module in MODULES for n in timm.list_models(module=module)):
        seen.clear()
        with torch.device("meta"):
            model = timm.create_model(name)
        args = describe(model, defaults[seen["class"]])
        if args is None:
            continue
        tags = {}
        default = timm.models.get_pretrained_cfg(name)
        for full in [default.architecture + "." + default.tag if default.tag else name] + timm.list_pretrained(name):
            cfg = timm.models.get_pretrained_cfg(full)
            if cfg is None:
                continue
            values = {k: getattr(cfg, k) for k in CFG}
            if values not in cfgs:
                cfgs.append(values)
            tags[full.partition(".")[2]] = cfgs.index(values)
        if default.tag:
            tags[""] = tags[default.tag]
        models[name] = {"args": args, "cfg": tags}
        counts[name] = [model.num_classes, sum(p.numel() for p in model.parameters())]
    with open(os.path.join(folder, "published.json"), "w") as f:
        rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in models.items())
        f.write('{"cfgs": ' + json.dumps(cfgs) + ',\n"models": {\n' + rows + "\n}}\n")
    os.makedirs(os.path.join(folder, "testdata"), exist_ok=True)
    with open(os.path.join(folder, "testdata", "published_parameters.json"), "w") as f:
        f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {v}" for k, v in counts.items()) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])

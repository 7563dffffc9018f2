"""Checkpoints as libraries and releases write them, with PyTorch's numbers.

    python checkpoints.py [NAME ...]

writes zoo/NAME for all of them, or for those whose name begins so: a file or folder "model..." and
case.safetensors. Where a release's own code isn't at hand, its names and layouts are timm's renamed,
and timm's reader of that release has to give the same model back. case.json states what no tensor
tells, as a user would by --arch.
"""
import argparse
import functools
import json
import os
import re
import shutil
import sys
from collections import OrderedDict

import numpy
import open_clip
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from timm import create_model
from timm.models import beit, eva, save_for_hf
from timm.models import vision_transformer as vt
from timm.models.deit import VisionTransformerDistilled
from torchvision.models.vision_transformer import VisionTransformer as Torchvision

sys.path.insert(0, os.path.dirname(__file__))
from exporters import Logits  # noqa: E402
from reference import case, randomize  # noqa: E402
from timm_vit import folder  # noqa: E402

IMAGE = (3, 12, 12)
RECTANGLE = (3, 8, 12)
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, patch_size=4)
TEXT = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=20, max_position_embeddings=5)
TIMM = dict(img_size=12, patch_size=4, embed_dim=16, depth=2, num_heads=2, mlp_ratio=1.5, num_classes=5)
HEADS = {"num_heads": 2}

recipes = {}


def recipe(f):
    recipes[f.__name__.replace("_", "-")] = f
    return f


class Head(torch.nn.Module):
    """A backbone that gives features, or an object with them, and a classifier."""

    def __init__(self, backbone, head, features=lambda y: y):
        super().__init__()
        self.backbone, self.head, self.features = backbone, head, features

    def forward(self, x):
        return self.head(self.features(self.backbone(x)))


class Method(torch.nn.Module):
    """One method of a model."""

    def __init__(self, model, method):
        super().__init__()
        self.model, self.method = model, method

    def forward(self, x):
        return self.method(self.model, x)


# Hugging Face


def transformer(kind, config, image=RECTANGLE, labels=None, **kw):
    labels = labels or ["tench", "goldfish", "shark", "ray", "cock"]
    args = dict(SIZES, image_size=image[1:] if image[1] != image[2] else image[1], id2label=dict(enumerate(labels)), label2id={v: k for k, v in enumerate(labels)})
    args.update(kw)
    c = config(**args)
    c._attn_implementation = "eager"
    return randomize(kind(c))


def hub(name, model, processor=None, image=RECTANGLE, forward=Logits, dtype=None, **kw):
    """A folder as save_pretrained leaves it."""
    if dtype:
        model = model.to(dtype)
    d = folder(name)
    shutil.rmtree(d + "/model", ignore_errors=True)
    model.save_pretrained(d + "/model")
    if processor:
        processor.save_pretrained(d + "/model")
    case(forward(model.float()), d + "/case.safetensors", image=image, **kw)
    return d + "/model/"


@recipe
def hub_vit():
    p = hf.ViTImageProcessor(size=dict(height=8, width=12), image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6])
    hub("hub-vit", transformer(hf.ViTForImageClassification, hf.ViTConfig), p)


@recipe
def hub_vit_fp16():
    hub("hub-vit-fp16", transformer(hf.ViTForImageClassification, hf.ViTConfig), dtype=torch.float16)


@recipe
def hub_vit_sharded():
    d = hub("hub-vit-sharded", transformer(hf.ViTForImageClassification, hf.ViTConfig))
    tensors = load_file(d + "model.safetensors")
    shard(d, tensors, "model-{:05d}-of-00003.safetensors", "model.safetensors.index.json", lambda t, p: save_file(t, p, metadata={"format": "pt"}))


@recipe
def hub_vit_bin():
    d = hub("hub-vit-bin", transformer(hf.ViTForImageClassification, hf.ViTConfig), dtype=torch.bfloat16)
    torch.save(OrderedDict(load_file(d + "model.safetensors")), d + "pytorch_model.bin")
    os.remove(d + "model.safetensors")


@recipe
def hub_vit_bin_sharded():
    d = hub("hub-vit-bin-sharded", transformer(hf.ViTForImageClassification, hf.ViTConfig))
    tensors = load_file(d + "model.safetensors")
    shard(d, tensors, "pytorch_model-{:05d}-of-00003.bin", "pytorch_model.bin.index.json", lambda t, p: torch.save(OrderedDict(t), p))


def shard(d, tensors, pattern, index, save):
    names, files = sorted(tensors), {}
    for i in range(3):
        part = names[i::3]
        file = pattern.format(i + 1)
        save({k: tensors[k] for k in part}, d + file)
        files.update({k: file for k in part})
    with open(d + index, "w") as f:
        json.dump({"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": files}, f, indent=1, sort_keys=True)
    os.remove(d + "model.safetensors")


@recipe
def hub_deit():
    p = hf.DeiTImageProcessor(size=dict(height=16, width=16), crop_size=dict(height=12, width=12))
    hub("hub-deit", transformer(hf.DeiTForImageClassification, hf.DeiTConfig, IMAGE), p, IMAGE, prefix=2)


@recipe
def hub_deit_teacher():
    hub("hub-deit-teacher", transformer(hf.DeiTForImageClassificationWithTeacher, hf.DeiTConfig), prefix=2)


@recipe
def hub_dinov2():
    hub("hub-dinov2", transformer(hf.Dinov2ForImageClassification, hf.Dinov2Config, IMAGE, mlp_ratio=2), image=IMAGE)


@recipe
def hub_dinov2_swiglu():
    hub("hub-dinov2-swiglu", transformer(hf.Dinov2ForImageClassification, hf.Dinov2Config, IMAGE, mlp_ratio=2, use_swiglu_ffn=True), image=IMAGE)


@recipe
def hub_dinov2_registers():
    m = transformer(hf.Dinov2WithRegistersForImageClassification, hf.Dinov2WithRegistersConfig, IMAGE, mlp_ratio=2, num_register_tokens=3)
    hub("hub-dinov2-registers", m, image=IMAGE, prefix=4)


@recipe
def hub_dinov3():
    """DINOv3ViT has no classifier in transformers; users put one beside it."""
    m = transformer(hf.DINOv3ViTModel, hf.DINOv3ViTConfig, IMAGE, num_register_tokens=4, key_bias=False)
    head = randomize(torch.nn.Linear(16, 5), seed=1)
    d = hub("hub-dinov3", m, image=IMAGE, prefix=5, forward=lambda m: Head(m, head, lambda y: y.pooler_output))
    tensors = load_file(d + "model.safetensors")
    save_file({**tensors, "classifier.weight": head.weight.data, "classifier.bias": head.bias.data}, d + "model.safetensors", metadata={"format": "pt"})


@recipe
def hub_dinov3_gated():
    m = transformer(hf.DINOv3ViTModel, hf.DINOv3ViTConfig, RECTANGLE, num_register_tokens=4, use_gated_mlp=True, hidden_act="silu")
    head = randomize(torch.nn.Linear(16, 5), seed=1)
    d = hub("hub-dinov3-gated", m, image=RECTANGLE, prefix=5, forward=lambda m: Head(m, head, lambda y: y.pooler_output))
    tensors = load_file(d + "model.safetensors")
    save_file({**tensors, "classifier.weight": head.weight.data, "classifier.bias": head.bias.data}, d + "model.safetensors", metadata={"format": "pt"})


@recipe
def hub_ijepa():
    hub("hub-ijepa", transformer(hf.IJepaForImageClassification, hf.IJepaConfig), pool="avg", prefix=0)


@recipe
def hub_timm():
    """A folder as timm pushes it to a hub."""
    args = {k: v for k, v in TIMM.items() if k != "num_classes"}
    m = randomize(create_model("vit_tiny_patch16_224", num_classes=5, pretrained_cfg_overlay=dict(mean=(0.1, 0.2, 0.3), crop_pct=1.0), **args))
    d = folder("hub-timm")
    save_for_hf(m, d + "/model", model_args=args, safe_serialization=True)
    case(m, d + "/case.safetensors", image=IMAGE)


@recipe
def hub_beit():
    m = transformer(hf.BeitForImageClassification, hf.BeitConfig, IMAGE, use_relative_position_bias=True, layer_scale_init_value=0.1)
    hub("hub-beit", m, hf.BeitImageProcessor(), IMAGE, pool="avg")


@recipe
def hub_beit_shared():
    m = transformer(hf.BeitForImageClassification, hf.BeitConfig, IMAGE, use_shared_relative_position_bias=True, use_mean_pooling=False,
                    use_absolute_position_embeddings=True, layer_scale_init_value=0.1)
    hub("hub-beit-shared", m, image=IMAGE)


@recipe
def hub_data2vec():
    m = transformer(hf.Data2VecVisionForImageClassification, hf.Data2VecVisionConfig, IMAGE, use_relative_position_bias=True)
    hub("hub-data2vec", m, image=IMAGE, pool="avg")


@recipe
def hub_msn():
    """save_pretrained of transformers 5.24 leaves the blocks' vit. out, which published files have."""
    d = hub("hub-msn", transformer(hf.ViTMSNForImageClassification, hf.ViTMSNConfig))
    tensors = load_file(d + "model.safetensors")
    save_file({k if k.startswith(("vit.", "classifier.")) else "vit." + k: v for k, v in tensors.items()}, d + "model.safetensors", metadata={"format": "pt"})


def tower(kind, config, **kw):
    vision = dict(SIZES, image_size=12)
    c = config(vision_config=vision, text_config=TEXT, num_labels=5, **kw)
    for x in (c, c.vision_config):
        x._attn_implementation = "eager"
    return randomize(kind(c))


@recipe
def hub_clip():
    hub("hub-clip", tower(hf.CLIPForImageClassification, hf.CLIPConfig), hf.CLIPImageProcessor(size=dict(shortest_edge=12), crop_size=12),
        IMAGE, pool="avg")


@recipe
def hub_clip_projection():
    c = hf.CLIPVisionConfig(**SIZES, image_size=12, projection_dim=6)
    c._attn_implementation = "eager"
    m = randomize(hf.CLIPVisionModelWithProjection(c))
    hub("hub-clip-projection", m, image=IMAGE, forward=lambda m: Method(m, lambda m, x: m(x).image_embeds))


@recipe
def hub_clip_full():
    m = tower(hf.CLIPModel, hf.CLIPConfig, projection_dim=6)
    embed = lambda m, x: m.visual_projection(m.vision_model(x).pooler_output)  # noqa: E731
    hub("hub-clip-full", m, image=IMAGE, forward=lambda m: Method(m, embed))


@recipe
def hub_siglip():
    p = hf.SiglipImageProcessor(size=dict(height=12, width=12))
    hub("hub-siglip", tower(hf.SiglipForImageClassification, hf.SiglipConfig), p, IMAGE, pool="avg", prefix=0)


@recipe
def hub_siglip_tower():
    """The logits are the embedding of the picture, which attention pooling gives."""
    c = hf.SiglipVisionConfig(**SIZES, image_size=12)
    c._attn_implementation = "eager"
    m = randomize(hf.SiglipVisionModel(c))
    hub("hub-siglip-tower", m, image=IMAGE, pool="avg", prefix=0, forward=lambda m: Method(m, lambda m, x: m(x).pooler_output))


# timm's names


def timm(**kw):
    return randomize(vt.VisionTransformer(**dict(TIMM, **kw)))


def release(name, content, model, file="model.pth", says=HEADS, legacy=False, image=IMAGE, **kw):
    """A file of torch.save, and what the user states."""
    d = folder(name)
    torch.save(content, f"{d}/{file}", _use_new_zipfile_serialization=not legacy)
    describe(d, says)
    case(model, d + "/case.safetensors", image=image, **kw)


def describe(d, says):
    with open(d + "/case.json", "w") as f:
        json.dump(says, f)
        f.write("\n")


def prefixed(prefix, tensors):
    return OrderedDict((prefix + k, v) for k, v in tensors.items())


def same(a, b, image=IMAGE):
    x = torch.randn(2, *image)
    with torch.no_grad():
        torch.testing.assert_close(a(x), b(x))


def renamed(tensors, *rules):
    out = OrderedDict()
    for k, v in tensors.items():
        for old, new in rules:
            k = re.sub(old, new, k)
        out[k] = v
    return out


def trained(model, /, **more):
    """What training scripts save beside the weights."""
    optimizer = torch.optim.AdamW(model.parameters())
    args = argparse.Namespace(lr=1e-3, betas=(0.9, 0.95), output_dir=None, drop_path=0.1)
    return dict(optimizer=optimizer.state_dict(), epoch=7, args=args, **more)


@recipe
def release_deit():
    m = timm()
    release("release-deit", trained(m, model=m.state_dict()), m)


@recipe
def release_deit_distilled():
    m = randomize(VisionTransformerDistilled(**TIMM))
    m.set_distilled_training(False)
    release("release-deit-distilled", {"model": OrderedDict((k, torch.nn.Parameter(v)) for k, v in m.state_dict().items())}, m, prefix=2)


@recipe
def release_deit3():
    m = timm(no_embed_class=True, init_values=0.1)
    weights = renamed(m.state_dict(), (r"ls(\d)\.gamma", r"gamma_\1"))
    release("release-deit3", {"model": weights}, m)


@recipe
def release_mae():
    m = timm(global_pool="avg", fc_norm=True)
    release("release-mae", trained(m, model=m.state_dict(), scaler={"scale": 65536.0}), m, pool="avg")


def moco(m):
    query = prefixed("module.base_encoder.", m.state_dict())
    key = prefixed("module.momentum_encoder.", timm().state_dict())
    return {**query, **{k: v + 1 for k, v in key.items()}, "module.predictor.0.weight": torch.zeros(4, 5)}


@recipe
def release_moco():
    m = timm()
    release("release-moco", {"epoch": 300, "arch": "vit_small", "state_dict": moco(m), "optimizer": {}, "scaler": {}}, m, "model.pth.tar")


@recipe
def release_moco_linear():
    m = timm()
    release("release-moco-linear", {"epoch": 90, "arch": "vit_small", "state_dict": prefixed("module.", m.state_dict()),
                                    "best_acc1": torch.tensor(76.5)}, m, "model.pth.tar")


@recipe
def release_robustvit():
    m = timm()
    release("release-robustvit", {"epoch": 3, "arch": "vit_base_patch16_224", "state_dict": m.state_dict(), "best_loss": 0.5,
                                  "optimizer": torch.optim.AdamW(m.parameters()).state_dict()}, m, "model.tar")


@recipe
def release_robustvit_legacy():
    m = timm()
    release("release-robustvit-legacy", {"epoch": 3, "arch": "vit_base_patch16_224", "state_dict": prefixed("module.", m.state_dict()),
                                         "best_loss": 0.5}, m, "model.tar", legacy=True)


@recipe
def release_dino():
    """Pretraining's file, with a linear head on the teacher's class token."""
    m = timm()
    weights = m.state_dict()
    teacher = prefixed("backbone.", {k: v for k, v in weights.items() if not k.startswith("head")})
    teacher.update({"head.mlp.0.weight": torch.zeros(4, 16), "head.last_layer.weight_g": torch.ones(6, 1), "linear.weight": weights["head.weight"],
                    "linear.bias": weights["head.bias"]})
    student = prefixed("module.", {k: v + 1 for k, v in teacher.items()})
    release("release-dino", trained(m, teacher=teacher, student=student, dino_loss={"center": torch.zeros(1, 6)}), m, says={"num_heads": 2, "family": "dino"})


def dinov2(m):
    """DINOv2's names, its blocks in chunks, and positions for the class token but not for registers."""
    weights = m.state_dict()
    out = OrderedDict(mask_token=torch.zeros(1, 16))
    if "reg_token" in weights:
        out["register_tokens"] = weights.pop("reg_token")
        first = 0.1 * torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(5))
        out["pos_embed"] = torch.cat([first, weights.pop("pos_embed")], 1)
        out["cls_token"] = weights.pop("cls_token") - first
    out.update(renamed(weights, (r"^blocks\.(\d+)\.mlp\.fc1", r"blocks.\1.mlp.w12" if m.blocks[0].mlp.__class__.__name__ != "Mlp" else r"blocks.\1.mlp.fc1"),
                       (r"mlp\.fc2", "mlp.w3" if m.blocks[0].mlp.__class__.__name__ != "Mlp" else "mlp.fc2")))
    back = vt.VisionTransformer(**m.args).eval()
    back.load_state_dict(vt._convert_dinov2(dict(out), back))
    same(m, back)
    return out


@recipe
def release_dinov2_registers():
    args = dict(TIMM, reg_tokens=4, no_embed_class=True, init_values=0.1)
    m = timm(**args)
    m.args = args
    weights = renamed(dinov2(m), (r"^blocks\.(\d+)", r"blocks.0.\1"))
    release("release-dinov2-registers", weights, m, prefix=5, says={"num_heads": 2, "family": "dino"})


@recipe
def release_dinov2_swiglu():
    """The backbone beside the released linear head, which reads class token and mean of patches."""
    args = dict(TIMM, mlp_layer=vt.SwiGLUPacked, act_layer=torch.nn.SiLU, mlp_ratio=3, init_values=0.1)
    m = timm(**args)
    m.args = args
    weights = prefixed("backbone.", {k: v for k, v in dinov2(m).items() if not k.startswith("head")})
    head = randomize(torch.nn.Linear(32, 5), seed=1)
    weights.update({"linear_head.weight": head.weight.data, "linear_head.bias": head.bias.data})
    both = Head(Method(m, lambda m, x: m.forward_features(x)), head, lambda y: torch.cat([y[:, 0], y[:, 1:].mean(1)], 1))
    release("release-dinov2-swiglu", weights, both, says={"num_heads": 2, "family": "dino"})


def eva_model(**kw):
    args = dict(TIMM, **kw)
    m = randomize(eva.Eva(**args))
    return m, args


def checked(weights, m, args, build=eva.Eva, read=eva.checkpoint_filter_fn):
    """timm's reader must make the same model of a release's tensors."""
    back = build(**args).eval()
    back.load_state_dict(read({k: v.clone() for k, v in weights.items()}, back), strict=False)
    same(m, back)
    return weights


@recipe
def release_dinov3():
    m, args = eva_model(use_abs_pos_emb=False, use_rot_pos_emb=True, rope_type="dinov3", rope_temperature=100, rope_rotate_half=True, num_reg_tokens=4,
                        init_values=0.1, use_fc_norm=False, global_pool="token", qkv_bias=True, norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-5))
    weights = OrderedDict(mask_token=torch.zeros(1, 16))
    weights["rope_embed.periods"] = torch.ones(2)
    for k, v in m.state_dict().items():
        k = k.replace("reg_token", "storage_tokens").replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
        if k.endswith("v_bias"):
            continue
        if k.endswith("q_bias"):
            k = k.replace("q_bias", "qkv.bias")
            other = m.state_dict()[k.replace("qkv.bias", "v_bias")]
            v = torch.cat([v, torch.full_like(v, 3.0), other])  # what the mask hides
            weights[k + "_mask"] = torch.cat([torch.ones(16), torch.zeros(16), torch.ones(16)])
        weights[k] = v
    release("release-dinov3", checked(weights, m, args), m, prefix=5, says={"num_heads": 2, "family": "dino", "img_size": 12})


@recipe
def release_eva02():
    m, args = eva_model(swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True, use_rot_pos_emb=True, ref_feat_shape=(16, 16), qkv_fused=False)
    weights = renamed(m.state_dict(), (r"attn\.norm\.", "attn.inner_attn_ln."), (r"attn\.q_proj\.bias", "attn.q_bias"), (r"attn\.v_proj\.bias", "attn.v_bias"),
                      (r"mlp\.fc1_g", "mlp.w1"), (r"mlp\.fc1_x", "mlp.w2"), (r"mlp\.norm", "mlp.ffn_ln"), (r"mlp\.fc2", "mlp.w3"))
    buffer = torch.zeros(9, 8)
    for at in ("rope.", "blocks.0.attn.rope.", "blocks.1.attn.rope."):
        weights[at + "freqs_cos"] = weights[at + "freqs_sin"] = buffer
    back = {k: v for k, v in weights.items()}
    checked(renamed(back, (r"attn\.q_bias", "attn.q_proj.bias"), (r"attn\.v_bias", "attn.v_proj.bias")), m, args)
    release("release-eva02", {"module": weights}, m, "model.pt", pool="avg")


def beit_release(name, key, **kw):
    args = dict(TIMM, init_values=0.1, use_abs_pos_emb=False, **kw)
    m = randomize(beit.Beit(**args))
    weights = m.state_dict()
    index = beit.gen_relative_position_index((3, 3))
    tables = [k for k in weights if k.endswith("relative_position_bias_table")]
    weights.update({k.replace("bias_table", "index"): index for k in tables})
    checked(weights, m, args, beit.Beit, beit.checkpoint_filter_fn)
    release(name, {key: weights}, m, pool=kw.get("global_pool", "avg"))


@recipe
def release_beit():
    beit_release("release-beit", "model", use_rel_pos_bias=True)


@recipe
def release_beit_shared():
    beit_release("release-beit-shared", "module", use_shared_rel_pos_bias=True, global_pool="token")


# wrappers


@recipe
def wrapped_ema():
    m = timm()
    other = {k: v + 1 for k, v in m.state_dict().items()}
    release("wrapped-ema", trained(m, state_dict=other, state_dict_ema=m.state_dict()), m, "model.pth.tar")


@recipe
def wrapped_model_ema():
    m = timm()
    release("wrapped-model-ema", trained(m, model={k: v + 1 for k, v in m.state_dict().items()}, model_ema=m.state_dict()), m)


@recipe
def wrapped_lightning():
    m = timm()
    content = {"epoch": 3, "global_step": 99, "pytorch-lightning_version": "2.5.0", "state_dict": prefixed("model.", m.state_dict()), "loops": {},
               "callbacks": {}, "optimizer_states": [], "lr_schedulers": [], "hyper_parameters": {"lr": 1e-3}}
    release("wrapped-lightning", content, m, "model.ckpt")


@recipe
def wrapped_compiled():
    m = timm()
    d = folder("wrapped-compiled")
    save_file(prefixed("_orig_mod.module.", m.state_dict()), d + "/model.safetensors")
    describe(d, HEADS)
    case(m, d + "/case.safetensors", image=IMAGE)


@recipe
def wrapped_backbone_bf16():
    m = timm().bfloat16()
    weights = m.state_dict()
    content = prefixed("backbone.", {k: v for k, v in weights.items() if not k.startswith("head")})
    content.update({"fc.weight": weights["head.weight"], "fc.bias": weights["head.bias"].float()})
    release("wrapped-backbone-bf16", content, m.float())


# torchvision


@recipe
def torchvision_file():
    m = randomize(Torchvision(image_size=12, patch_size=4, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=24, num_classes=5))
    release("torchvision-file", m.state_dict(), m)


@recipe
def torchvision_file_v1():
    """The MLP's names before version 0.13, as in the published files."""
    m = randomize(Torchvision(image_size=12, patch_size=4, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=24, num_classes=5, representation_size=10))
    weights = renamed(m.state_dict(), (r"mlp\.0\.", "mlp.linear_1."), (r"mlp\.3\.", "mlp.linear_2."))
    back = Torchvision(image_size=12, patch_size=4, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=24, num_classes=5, representation_size=10).eval()
    weights._metadata = OrderedDict()  # of the first version
    back.load_state_dict(weights)
    same(m, back)
    release("torchvision-file-v1", OrderedDict(weights), m)


# CLIP


def clip(quick):
    vision = dict(image_size=12, patch_size=4, width=16, layers=2, head_width=8, mlp_ratio=1.5)
    text = dict(context_length=5, vocab_size=20, width=8, heads=2, layers=1)
    return randomize(open_clip.CLIP(6, vision, text, quick_gelu=quick)), vision, text


@recipe
def openclip_file():
    """A folder of OpenCLIP's: both towers, and its own configuration."""
    m, vision, text = clip(False)
    d = folder("openclip-file")
    os.makedirs(d + "/model", exist_ok=True)
    save_file(m.state_dict(), d + "/model/open_clip_model.safetensors", metadata={"format": "pt"})
    with open(d + "/model/open_clip_config.json", "w") as f:
        json.dump({"model_cfg": {"embed_dim": 6, "vision_cfg": vision, "text_cfg": text},
                   "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bicubic", "resize_mode": "squash"}}, f, indent=1)
    case(Method(m, lambda m, x: m.visual(x)), d + "/case.safetensors", image=IMAGE)


@recipe
def openai_clip():
    """The state dict of OpenAI's archives: half precision but for some, and sizes beside the weights."""
    m, _, _ = clip(True)
    weights = OrderedDict((k, v.half() if v.dim() > 1 else v) for k, v in m.state_dict().items() if k != "attn_mask")
    m.load_state_dict(weights, strict=False)
    weights.update(input_resolution=torch.tensor(12), context_length=torch.tensor(5), vocab_size=torch.tensor(20))
    release("openai-clip", weights, Method(m, lambda m, x: m.visual(x)), "model.pt")


@recipe
def openclip_timm():
    """OpenCLIP around a trunk of timm's, whose embedding has no bias."""
    m = timm(num_classes=0)
    proj = randomize(torch.nn.Linear(16, 6, bias=False), seed=1)
    weights = prefixed("visual.trunk.", m.state_dict())
    weights.update({"visual.head.proj.weight": proj.weight.data, "logit_scale": torch.tensor(2.0), "text.text_projection": torch.zeros(4, 6)})
    release("openclip-timm", weights, Head(m, proj))


# JAX


def flax(m, generation, stacked=False):
    """timm's _load_weights, the other way round."""
    attention, mlp, norm2 = {"google": (1, 3, 2), "big_vision": (0, 0, 1)}[generation]
    w, out = {k: v.numpy() for k, v in m.state_dict().items()}, {}
    heads = m.blocks[0].attn.num_heads
    size = w["blocks.0.attn.proj.weight"].shape[0] // heads

    def norm(to, at):
        out[to + "/scale"], out[to + "/bias"] = w[at + ".weight"], w[at + ".bias"]

    def dense(to, at):
        out[to + "/kernel"], out[to + "/bias"] = w[at + ".weight"].T, w[at + ".bias"]

    def attend(to, weights, biases, proj):
        for part, weight, bias in zip(("query", "key", "value"), weights, biases):
            out[f"{to}/{part}/kernel"], out[f"{to}/{part}/bias"] = weight.T.reshape(-1, heads, size), bias.reshape(heads, size)
        out[to + "/out/kernel"], out[to + "/out/bias"] = w[proj + ".weight"].T.reshape(heads, size, -1), w[proj + ".bias"]

    out["embedding/kernel"], out["embedding/bias"] = w["patch_embed.proj.weight"].transpose(2, 3, 1, 0), w["patch_embed.proj.bias"]
    out["pos_embedding" if generation == "big_vision" else "Transformer/posembed_input/pos_embedding"] = w["pos_embed"]
    if "cls_token" in w:
        out["cls"] = w["cls_token"]
    for i in range(len(m.blocks)):
        to, at = f"Transformer/encoderblock_{i}/", f"blocks.{i}."
        norm(to + "LayerNorm_0", at + "norm1")
        norm(to + f"LayerNorm_{norm2}", at + "norm2")
        attend(to + f"MultiHeadDotProductAttention_{attention}", numpy.split(w[at + "attn.qkv.weight"], 3), numpy.split(w[at + "attn.qkv.bias"], 3), at + "attn.proj")
        dense(to + f"MlpBlock_{mlp}/Dense_0", at + "mlp.fc1")
        dense(to + f"MlpBlock_{mlp}/Dense_1", at + "mlp.fc2")
    norm("Transformer/encoder_norm", "norm")
    if "attn_pool.latent" in w:
        to, at = "MAPHead_0/", "attn_pool."
        out[to + "probe"] = w[at + "latent"]
        attend(to + "MultiHeadDotProductAttention_0", [w[at + "q.weight"], *numpy.split(w[at + "kv.weight"], 2)],
               [w[at + "q.bias"], *numpy.split(w[at + "kv.bias"], 2)], at + "proj")
        norm(to + "LayerNorm_0", at + "norm")
        dense(to + "MlpBlock_0/Dense_0", at + "mlp.fc1")
        dense(to + "MlpBlock_0/Dense_1", at + "mlp.fc2")
    dense("head", "head")
    if stacked:
        blocks = sorted({k.partition("/encoderblock_0/")[2] for k in out if "/encoderblock_0/" in k})
        for k in blocks:
            out["Transformer/encoderblock/" + k] = numpy.stack([out.pop(f"Transformer/encoderblock_{i}/{k}") for i in range(len(m.blocks))])
    return out


def numpy_file(name, m, arrays, **kw):
    d = folder(name)
    numpy.savez(d + "/model.npz", **arrays)
    back = vt.VisionTransformer(**m.args).eval()
    with torch.no_grad():
        vt._load_weights(back, d + "/model.npz")
    same(m, back)
    case(m, d + "/case.safetensors", image=IMAGE, **kw)


def jax_model(**kw):
    args = dict(TIMM, **kw)
    m = timm(**args)
    m.args = args
    return m


@recipe
def jax_augreg():
    m = jax_model()
    numpy_file("jax-augreg", m, flax(m, "google"))


class PreLogits(torch.nn.Module):
    """The released ViTs of ImageNet-21k: a layer with tanh before the classifier."""

    def __init__(self, m):
        super().__init__()
        self.m, self.pre, self.head = m, torch.nn.Linear(16, 10), torch.nn.Linear(10, 5)

    def forward(self, x):
        return self.head(self.pre(self.m.forward_features(x)[:, 0]).tanh())


@recipe
def jax_in21k():
    m = jax_model()
    both = randomize(PreLogits(m))
    arrays = flax(m, "google")
    for to, layer in (("pre_logits", both.pre), ("head", both.head)):
        arrays[to + "/kernel"], arrays[to + "/bias"] = layer.weight.detach().numpy().T, layer.bias.detach().numpy()
    d = folder("jax-in21k")
    numpy.savez(d + "/model.npz", **{"opt/target/" + k: v for k, v in arrays.items()})
    case(both, d + "/case.safetensors", image=IMAGE)


@recipe
def jax_bigvision():
    m = jax_model(class_token=False, global_pool="avg", fc_norm=False)
    numpy_file("jax-bigvision", m, {"params/" + k: v for k, v in flax(m, "big_vision").items()}, pool="avg", prefix=0)


@recipe
def jax_bigvision_stacked():
    m = jax_model(class_token=False, global_pool="map", act_layer="gelu_tanh")
    arrays = {"params/img/" + k: v for k, v in flax(m, "big_vision", stacked=True).items()}
    arrays.update({"params/t": numpy.float32([2.3]), "params/b": numpy.float32([-10]), "params/txt/head/kernel": numpy.zeros((4, 4), numpy.float32)})
    numpy_file("jax-bigvision-stacked", m, arrays, pool="avg", prefix=0)


if __name__ == "__main__":
    for name, make in recipes.items():
        if len(sys.argv) == 1 or any(name.startswith(a) for a in sys.argv[1:]):
            print(name)
            make()

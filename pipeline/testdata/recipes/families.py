"""What `relevit inspect` is shown in docs/inspect.md: the tensors of published checkpoints by name and
shape, and small ONNX files of models that can't be finetuned.

    python families.py REPOSITORY

writes into cmd/relevit/testdata/families: families.json, where # in a tensor's name stands for the
number of a block; imagenet.txt, the names of ImageNet's classes; swin.onnx, resnet.onnx, xcit.onnx and
quantised.onnx. Models are made on the meta device, with the published arguments: nothing is downloaded.
"""
import io, json, os, re, sys, warnings
import onnx, onnxsim, timm, torch, torchvision, transformers as hf
from timm.data import ImageNetInfo

warnings.filterwarnings("ignore")
out = os.path.join(sys.argv[1], "cmd/relevit/testdata/families")
os.makedirs(out, exist_ok=True)
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def tensors(state, rename=lambda n: n):
    """Names and shapes, those of all blocks together."""
    list, depth = {}, 0
    for name, t in state.items():
        if not t.is_floating_point():
            continue
        m = re.search(r"(?<=[./_])\d+(?=[./])", name)
        if m and re.search(r"(blocks|layer|layers|encoder_layer_|encoderblock_)[./]?$", name[: m.start()]):
            depth = max(depth, int(m.group()) + 1)
            name = name[: m.start()] + "#" + name[m.end():]
        list[name] = [*t.shape]
    return {"depth": depth, "tensors": list}


def hub(name, cls, config, **preprocess):
    """A folder as transformers saves it. ImageNet's names are filled in by the test."""
    with torch.device("meta"):
        model = cls(config)
    text = config.to_diff_dict()
    text.update(architectures=[cls.__name__], model_type=config.model_type)
    text.pop("transformers_version", None)
    if text.get("id2label") or getattr(config, "num_labels", 0) == 1000 and hasattr(model, "classifier") or hasattr(model, "cls_classifier"):
        text["id2label"] = "imagenet"
        text.pop("label2id", None)
    files = {"config.json": text}
    if preprocess:
        files["preprocessor_config.json"] = dict(do_resize=True, do_normalize=True, **preprocess)
    return {"path": name, "format": "safetensors", "files": files, **tensors(model.state_dict())}


def timm_state(name, **kw):
    with torch.device("meta"):
        return timm.create_model(name, **kw)


def jax(model):
    """Names and shapes of Google's release of a timm model."""
    d, h = model.embed_dim, model.blocks[0].attn.num_heads
    p, n = model.patch_embed.patch_size[0], model.pos_embed.shape[1]
    s = {"embedding/kernel": [p, p, 3, d], "embedding/bias": [d], "cls": [1, 1, d],
         "Transformer/posembed_input/pos_embedding": [1, n, d],
         "Transformer/encoder_norm/scale": [d], "Transformer/encoder_norm/bias": [d],
         "head/kernel": [d, 1000], "head/bias": [1000]}
    b = "Transformer/encoderblock_#/"
    for norm in ("LayerNorm_0", "LayerNorm_2"):
        s[b + norm + "/scale"], s[b + norm + "/bias"] = [d], [d]
    for part in ("query", "key", "value"):
        s[b + f"MultiHeadDotProductAttention_1/{part}/kernel"] = [d, h, d // h]
        s[b + f"MultiHeadDotProductAttention_1/{part}/bias"] = [h, d // h]
    s[b + "MultiHeadDotProductAttention_1/out/kernel"], s[b + "MultiHeadDotProductAttention_1/out/bias"] = [h, d // h, d], [d]
    s[b + "MlpBlock_3/Dense_0/kernel"], s[b + "MlpBlock_3/Dense_0/bias"] = [d, 4 * d], [4 * d]
    s[b + "MlpBlock_3/Dense_1/kernel"], s[b + "MlpBlock_3/Dense_1/bias"] = [4 * d, d], [d]
    return {"depth": len(model.blocks), "tensors": s}


def hub_timm(name):
    """A folder as timm pushes it to a hub."""
    model = timm_state(name)
    cfg = {k: v for k, v in model.pretrained_cfg.items() if k in ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std")}
    config = {"architecture": name.split(".")[0], "num_classes": model.num_classes, "num_features": model.num_features,
              "global_pool": model.global_pool, "pretrained_cfg": cfg}
    return {"path": name, "format": "safetensors", "files": {"config.json": config}, **tensors(model.state_dict())}


VIT = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072, image_size=224, patch_size=16)
TINY = dict(hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768, image_size=224, patch_size=16)
half = dict(size={"height": 224, "width": 224}, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2)
crop = lambda resample, mean, std, edge=256: dict(do_center_crop=True, size={"shortest_edge": edge}, crop_size={"height": 224, "width": 224}, resample=resample, image_mean=mean, image_std=std)

families = [
    {"path": "vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors", "format": "safetensors", **tensors(timm_state("vit_tiny_patch16_224").state_dict())},
    {"path": "deit_tiny_patch16_224-a1311bcf.pth", "format": "pth", **tensors(timm_state("deit_tiny_patch16_224").state_dict())},
    hub("deit-tiny-distilled-patch16-224", hf.DeiTForImageClassificationWithTeacher, hf.DeiTConfig(**TINY, num_labels=1000), **dict(crop(3, IMAGENET_MEAN, IMAGENET_STD), size=256)),
    hub("dinov2-with-registers-small-imagenet1k-1-layer", hf.Dinov2WithRegistersForImageClassification,
        hf.Dinov2WithRegistersConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14, num_register_tokens=4, num_labels=1000),
        **crop(3, IMAGENET_MEAN, IMAGENET_STD)),
    hub("dinov3-vits16-pretrain-lvd1689m", hf.DINOv3ViTModel,
        hf.DINOv3ViTConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, image_size=224, patch_size=16, num_register_tokens=4),
        size={"height": 224, "width": 224}, resample=2, image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD),
    hub_timm("eva02_tiny_patch14_336.mim_in22k_ft_in1k"),
    {"path": "Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_224.npz", "format": "npz", **jax(timm_state("vit_tiny_patch16_224"))},
    hub("vit-base-patch16-224", hf.ViTForImageClassification, hf.ViTConfig(**VIT, num_labels=1000), **half),
    hub("beit-base-patch16-224", hf.BeitForImageClassification,
        hf.BeitConfig(**VIT, num_labels=1000, use_absolute_position_embeddings=False, use_relative_position_bias=True, use_shared_relative_position_bias=False, layer_scale_init_value=0.1, use_mean_pooling=True), **half),
    hub("clip-vit-base-patch32", hf.CLIPVisionModelWithProjection,
        hf.CLIPVisionConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224, patch_size=32, projection_dim=512),
        **crop(3, CLIP_MEAN, CLIP_STD, 224)),
    hub("siglip-base-patch16-224-finetuned", hf.SiglipForImageClassification, hf.SiglipConfig(vision_config=VIT, num_labels=1000), **half),
    {"path": "vit_b_16-c867db91.pth", "format": "pth", **tensors(torchvision.models.vit_b_16(weights=None).state_dict())},
]
for f in families:
    f["parameters"] = sum(int(torch.tensor(s).prod()) * (f["depth"] if "#" in n else 1) for n, s in f["tensors"].items())
    print(f["path"], f["depth"], f["parameters"])
with open(os.path.join(out, "families.json"), "w") as file:
    lines = []
    for f in families:
        body = ",\n".join("   " + json.dumps(n) + ": " + json.dumps(s) for n, s in f.pop("tensors").items())
        lines.append(json.dumps(f)[:-1] + ', "tensors": {\n' + body + "}}")
    file.write("[" + ",\n".join(lines) + "]\n")
with open(os.path.join(out, "imagenet.txt"), "w") as file:
    file.write("\n".join(ImageNetInfo().label_descriptions()) + "\n")


def export(name, model, size, dynamic=True):
    buffer = io.BytesIO()
    torch.onnx.export(model.eval(), torch.zeros(1, 3, size, size), buffer, dynamo=False, opset_version=17, input_names=["image"],
                      output_names=["logits"], dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}} if dynamic else None)
    with open(os.path.join(out, name), "wb") as file:
        file.write(buffer.getvalue())


torch.manual_seed(0)
export("swin.onnx", timm.create_model("swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=4, depths=(2, 1), num_heads=(1, 1), num_classes=5), 32, dynamic=False)
swin = os.path.join(out, "swin.onnx")
onnx.save(onnxsim.simplify(swin)[0], swin)  # folds the masks of windows
export("resnet.onnx", timm.models.resnet.ResNet(timm.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5, channels=(4, 4, 4, 4), stem_width=4), 64)
export("xcit.onnx", timm.create_model("xcit_nano_12_p16_224", img_size=64, depth=1, cls_attn_layers=1, embed_dim=8, num_heads=2, num_classes=5), 64)
plain = os.path.join(out, "plain.onnx")
export("plain.onnx", timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=1, embed_dim=16, num_heads=2, num_classes=5), 32)
from onnxruntime.quantization import QuantType, quantize_dynamic
quantize_dynamic(plain, os.path.join(out, "quantised.onnx"), weight_type=QuantType.QInt8)
os.remove(plain)

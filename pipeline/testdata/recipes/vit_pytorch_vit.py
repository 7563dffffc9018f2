"""Models of vit-pytorch, whose patches are a rearranged picture and a Linear layer (einops)."""
import os
import sys

from vit_pytorch import SimpleViT, ViT
from vit_pytorch.parallel_vit import ViT as ParallelViT

sys.path.insert(0, os.path.dirname(__file__))
from exporters import dynamo, torchscript  # noqa: E402
from reference import case, randomize  # noqa: E402
from timm_vit import folder  # noqa: E402

IMAGE = (3, 8, 12)
ARGS = dict(image_size=IMAGE[1:], patch_size=4, num_classes=5, dim=8, depth=2, heads=2, mlp_dim=16, dim_head=4)


def write(name, model, export, opset, prefix=1, pool="token", **kw):
    d = folder(name)
    case(model, d + "/case.safetensors", prefix=prefix, pool=pool, image=IMAGE, **kw)
    export(model, d + "/model.onnx", IMAGE, opset=opset)


if __name__ == "__main__":
    write("vit-pytorch-17", randomize(ViT(**ARGS)), torchscript, 17)
    write("vit-pytorch-mean-dynamo-18", randomize(ViT(pool="mean", **ARGS)), dynamo, 18, prefix=0, pool="avg")
    write("vit-pytorch-simple-dynamo-18", randomize(SimpleViT(**ARGS)), dynamo, 18, prefix=0, pool="avg")
    write("vit-pytorch-parallel-dynamo-18", randomize(ParallelViT(num_parallel_branches=2, **ARGS)), dynamo, 18, blocks=[0, 0, 1, 1])

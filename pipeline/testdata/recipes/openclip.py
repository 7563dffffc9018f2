"""open_clip's vision tower with its classifier: text embeddings as a constant, as zero-shot classifiers are exported."""
import os
import sys

import torch
from open_clip.transformer import VisionTransformer
from safetensors.torch import save_file

sys.path.insert(0, os.path.dirname(__file__))
from exporters import dynamo, torchscript  # noqa: E402
from reference import case, randomize  # noqa: E402
from timm_vit import folder  # noqa: E402

IMAGE = (3, 12, 12)


class ZeroShot(torch.nn.Module):
    """Cosines with the classes' embeddings, times the learned scale."""

    def __init__(self, **kw):
        super().__init__()
        self.visual = VisionTransformer(image_size=12, patch_size=4, width=8, layers=2, heads=2, mlp_ratio=2, output_dim=6, **kw)
        self.text = torch.nn.Parameter(torch.zeros(6, 5))
        self.logit_scale = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image):
        x = torch.nn.functional.normalize(self.visual(image), dim=-1)
        return self.logit_scale.exp() * x @ self.text


if __name__ == "__main__":
    for name, export, opset, kw in (("openclip-17", torchscript, 17, {}), ("openclip-dynamo-18", dynamo, 18, {}),
                                    ("openclip-avg-14", torchscript, 14, {"pool_type": "avg"})):
        model = randomize(ZeroShot(**kw))
        d = folder(name)
        case(model, d + "/case.safetensors", image=IMAGE, pool="avg" if kw else "token")
        export(model, d + "/model.onnx", IMAGE, opset=opset)
    model = randomize(ZeroShot())
    save_file(model.state_dict(), folder("openclip-17") + "/weights.safetensors", metadata={"num_heads": "2"})
    d = folder("openclip-one-dynamo-20")
    case(model, d + "/case.safetensors", image=IMAGE)
    dynamo(model, d + "/model.onnx", IMAGE, opset=20, pictures=1)

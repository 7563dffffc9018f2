"""torchvision's VisionTransformer, whose nn.MultiheadAttention works on (tokens, batch, width), by both exporters."""
import os
import sys

from safetensors.torch import save_file
from torchvision.models.vision_transformer import VisionTransformer

sys.path.insert(0, os.path.dirname(__file__))
from exporters import dynamo, torchscript  # noqa: E402
from reference import case, randomize  # noqa: E402
from timm_vit import folder  # noqa: E402

IMAGE = (3, 12, 12)

if __name__ == "__main__":
    model = randomize(VisionTransformer(image_size=12, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=5))
    for name, export, opset in (("torchvision-17", torchscript, 17), ("torchvision-dynamo-18", dynamo, 18)):
        d = folder(name)
        case(model, d + "/case.safetensors", image=IMAGE)
        export(model, d + "/model.onnx", IMAGE, opset=opset)
    save_file(model.state_dict(), folder("torchvision-17") + "/weights.safetensors", metadata={"num_heads": "2"})
    d = folder("torchvision-one-17")
    case(model, d + "/case.safetensors", image=IMAGE, batch=3)
    torchscript(model, d + "/model.onnx", IMAGE, opset=17, pictures=1)

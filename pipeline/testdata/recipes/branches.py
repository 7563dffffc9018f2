"""Exports that choose between graphs by sizes which the exporter didn't know: If nodes, one within another."""
import os
import sys

import onnx
import torch

sys.path.insert(0, os.path.dirname(__file__))
from exporters import torchscript  # noqa: E402
from reference import case  # noqa: E402
from timm_vit import IMAGE, folder, tiny  # noqa: E402


@torch.jit.script
def head(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor):
    if x.shape[1] == 8:
        if x.shape[1] < 9:
            y = torch.nn.functional.linear(x, weight, bias)
        else:
            y = x + 1
    else:
        y = x
    return y


class Branched(torch.nn.Module):
    """The class token is cut out and squeezed by sizes; the head is scripted."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        x = self.model.forward_features(image)
        return head(x[:, :x.shape[1] - 9].squeeze(1), self.model.head.weight, self.model.head.bias)


def inward(graph, names):
    """Moves initializers into the innermost branch that reads them, where exporters of other frameworks leave them."""
    for node in graph.node:
        for attr in node.attribute:
            if attr.HasField("g"):
                inward.stack.append(attr.g)
                inward(attr.g, names)
                inward.stack.pop()
        for name in set(node.input) & set(names):
            if inward.stack:
                inward.stack[-1].initializer.append(names.pop(name))


inward.stack = []


if __name__ == "__main__":
    model = Branched(tiny())
    for name in ["branches-17", "branch-weights-17"]:
        d = folder(name)
        case(model, d + "/case.safetensors", image=IMAGE)
        torchscript(model, d + "/model.onnx", IMAGE)
    m = onnx.load(d + "/model.onnx")
    moved = {t.name: t for t in m.graph.initializer if "head" in t.name}
    inward(m.graph, dict(moved))
    for t in moved.values():
        m.graph.initializer.remove(t)
    onnx.checker.check_model(m)
    onnx.save(m, d + "/model.onnx")

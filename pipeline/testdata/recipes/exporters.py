"""Writes models as PyTorch's two exporters do, without source locations and other annotations."""
import onnx
import torch


def rename(graph, short):
    """Gives what a subgraph reads of the graphs around it the names that are short."""
    for node in graph.node:
        node.input[:] = [short.get(x, x) for x in node.input]
        for a in node.attribute:
            rename(a.g, short)


def strip(path):
    """Takes out what no runtime reads: documentation, metadata, names of nodes, shapes and long names of values in between."""
    m = onnx.load(path)
    m.ClearField("doc_string")
    m.ClearField("metadata_props")
    m.graph.ClearField("doc_string")
    m.graph.ClearField("metadata_props")
    m.graph.ClearField("value_info")
    parts = [m.graph.node, m.graph.initializer, m.graph.input, m.graph.output]
    for f in m.functions:
        f.ClearField("doc_string")
        f.ClearField("metadata_props")
        f.ClearField("value_info")
        parts.append(f.node)
    short = {v.name: v.name for v in m.graph.output}
    for node in m.graph.node:
        node.ClearField("name")
        node.input[:] = [short.get(x, x) for x in node.input]
        for x in node.output:
            short.setdefault(x, x if len(x) < 12 else f"{node.op_type}.{len(short)}")
        node.output[:] = [short[x] for x in node.output]
        for a in node.attribute:
            rename(a.g, short)
    for part in parts:
        for x in part:
            x.ClearField("doc_string")
            if "metadata_props" in x.DESCRIPTOR.fields_by_name:
                x.ClearField("metadata_props")
    onnx.save(m, path)


class Logits(torch.nn.Module):
    """A model of which only the logits come out, as Optimum exports image classifiers."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, image):
        return self.model(image).logits


def torchscript(model, path, image, opset=17, names=("image", ["logits"]), dynamic=True, pictures=2, **kw):
    """pictures=1 fixes the batch at one picture."""
    batch = {n: {0: "batch"} for n in [names[0], *names[1]]} if dynamic and pictures > 1 else None
    if kw.pop("anysize", False):
        batch[names[0]] = {0: "batch_size", 1: "num_channels", 2: "height", 3: "width"}  # as Optimum
    torch.onnx.export(model.eval(), (torch.zeros(pictures, *image),), path, dynamo=False, opset_version=opset,
                      input_names=[names[0]], output_names=names[1], dynamic_axes=batch, **kw)
    strip(path)


def dynamo(model, path, image, opset=18, names=("image", ["logits"]), dynamic=True, pictures=2, anysize=False, **kw):
    sizes = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO} if anysize else {}
    shapes = ({0: torch.export.Dim("batch", min=1, max=64), **sizes},) if dynamic and pictures > 1 else None
    torch.onnx.export(model.eval(), (torch.zeros(pictures, *image),), path, dynamo=True, opset_version=opset, external_data=False,
                      input_names=[names[0]], output_names=names[1], dynamic_shapes=shapes, verbose=False, **kw)
    strip(path)

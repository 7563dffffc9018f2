"""One ViT as ONNX Runtime's optimizers, onnxsim, onnxslim, model-local functions, old opsets and float16 spell it."""
import os
import sys
import tempfile

import onnx
import onnxruntime as ort
import onnxsim
import onnxslim
import torch
from onnx import helper
from onnxruntime.transformers import float16, optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

sys.path.insert(0, os.path.dirname(__file__))
from reference import case, inputs  # noqa: E402
from exporters import torchscript  # noqa: E402
from timm_vit import IMAGE, folder, small, tiny  # noqa: E402


def export(model, path, opset=17, **kw):
    torch.onnx.export(model, (inputs()[0],), path, dynamo=False, opset_version=opset, input_names=["image"],
                      output_names=["logits"], dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}}, **kw)


def optimized(source, path, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = path
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def functions(source, path):
    """Makes every Add a call of a function that calls another one, with an attribute."""
    model = onnx.load(source)
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    cast = helper.make_node("Cast", ["z"], ["y"])
    cast.attribute.append(onnx.AttributeProto(name="to", type=onnx.AttributeProto.INT, ref_attr_name="kind"))
    inner = helper.make_function("local", "Sum", ["a", "b"], ["y"], [helper.make_node("Add", ["a", "b"], ["z"]), cast],
                                 opset, attributes=["kind"])
    outer = helper.make_function("local", "Residual", ["x", "z"], ["y"],
                                 [helper.make_node("Sum", ["x", "z"], ["y"], domain="local", kind=1)], opset)
    for node in model.graph.node:
        if node.op_type == "Add":
            node.op_type, node.domain = "Residual", "local"
    model.functions.extend([inner, outer])
    model.opset_import.append(helper.make_opsetid("local", 1))
    onnx.save(model, path)


if __name__ == "__main__":
    _, model = small()
    with tempfile.TemporaryDirectory() as temp:
        source = os.path.join(temp, "model.onnx")
        export(model, source)
        d = folder("ort-extended")
        case(model, d + "/case.safetensors")
        optimized(source, d + "/model.onnx", ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
        d = folder("ort-transformers-vit")
        case(model, d + "/case.safetensors")
        optimizer.optimize_model(source, model_type="vit", num_heads=2, hidden_size=16).save_model_to_file(d + "/model.onnx")
        d = folder("local-functions")
        case(model, d + "/case.safetensors")
        functions(source, d + "/model.onnx")
        for block in model.blocks:
            block.attn.fused_attn = False
        for opset in (9, 12):
            d = folder(f"timm-eager-{opset}")
            case(model, d + "/case.safetensors")
            export(model, d + "/model.onnx", opset, do_constant_folding=False, keep_initializers_as_inputs=opset == 9)

    def tool(name, opset, change, model=None):
        """What a tool makes of a tiny ViT."""
        model = model or tiny()
        d = folder(name)
        case(model, d + "/case.safetensors", image=IMAGE)
        with tempfile.TemporaryDirectory() as temp:
            source = os.path.join(temp, "model.onnx")
            torchscript(model, source, IMAGE, opset=opset)
            change(source, d + "/model.onnx")

    def mha(source, path):
        options = FusionOptions("vit")
        options.use_multi_head_attention = True
        optimizer.optimize_model(source, model_type="vit", num_heads=2, hidden_size=8, optimization_options=options).save_model_to_file(path)

    def half(source, path, **kw):
        onnx.save(float16.convert_float_to_float16(onnx.load(source), **kw), path)

    tool("onnxsim-20", 20, lambda source, path: onnx.save(onnxsim.simplify(onnx.load(source))[0], path))
    tool("onnxslim-14", 14, lambda source, path: onnx.save(onnxslim.slim(onnx.load(source)), path))
    tool("ort-basic-17", 17, lambda source, path: optimized(source, path, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC))
    tool("ort-transformers-mha", 17, mha)
    # Numbers and constants that are float16's, sqrt(scale) = 0.5 among them: the reference is that of the very file.
    for name, opset, act, kw in (("fp16-17", 17, "relu", {}), ("fp16-io-14", 14, "relu", {"keep_io_types": True}),
                                 ("fp16-islands-20", 20, "gelu", {"keep_io_types": True, "op_block_list": ["LayerNormalization", "Softmax", "Gelu"]})):
        model = tiny(embed_dim=16, num_heads=1, mlp_ratio=2, act_layer=act).half().float()
        tool(name, opset, lambda source, path: half(source, path, **kw), model)

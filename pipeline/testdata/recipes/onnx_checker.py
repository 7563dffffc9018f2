"""Writes ../checked: small models, most of them broken in one place, and
in verdicts.tsv what onnx.checker, with full_check, says of each."""
import os
import re

import onnx
from onnx import TensorProto, helper
from onnx.helper import make_attribute, make_graph, make_model, make_node, make_opsetid, make_tensor, make_tensor_value_info

OUT = os.path.join(os.path.dirname(__file__), "..", "checked")
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def info(name, kind=FLOAT, shape=(2, 3)):
    return make_tensor_value_info(name, kind, shape)


def model(nodes, inputs=None, outputs=None, inits=(), opset=17, ir=8, domains=(), functions=(), infos=()):
    graph = make_graph(nodes, "small", inputs or [info("x")], outputs or [info("y")], list(inits), value_info=list(infos))
    return make_model(graph, opset_imports=[make_opsetid("", opset)] + [make_opsetid(d, 1) for d in domains],
                      ir_version=ir, functions=list(functions))


def with_attribute(node, name, value):
    node.attribute.append(make_attribute(name, value))
    return node


def branch(name, output, nodes):
    return make_graph(nodes, name, [], [make_tensor_value_info(output, FLOAT, [2, 3])])


def choice(then):
    """A model with an If whose first branch is as given."""
    other = branch("other", "e", [make_node("Neg", ["x"], ["e"])])
    return model([make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
                 [info("x"), info("c", TensorProto.BOOL, [])])


def function(nodes, opsets=(("", 17),), inputs=("a",), outputs=("b",), name="twice"):
    return helper.make_function("local", name, list(inputs), list(outputs), nodes, [make_opsetid(*o) for o in opsets])


def call(f, **kw):
    return model([make_node("twice", ["x"], ["y"], domain="local")], domains=["local"], functions=[f], **kw)


def edited(m, change):
    change(m)
    return m


RELU = make_node("Relu", ["x"], ["y"])
W = make_tensor("w", FLOAT, [3, 3], [0.5] * 9)

CASES = {
    "sound": model([RELU]),
    "sound-optional-input": model([make_node("Clip", ["x", "", "m"], ["y"])], inits=[make_tensor("m", FLOAT, [], [1])]),
    "sound-variadic": model([make_node("Sum", ["x", "x", "x"], ["y"])]),
    "sound-function": call(function([make_node("Add", ["a", "a"], ["b"])])),
    "sound-subgraph": choice(branch("then", "t", [make_node("Abs", ["x"], ["t"])])),
    "sound-cast": model([make_node("Cast", ["x"], ["i"], to=INT64), make_node("Cast", ["i"], ["y"], to=FLOAT)]),
    "no-such-operator": model([make_node("Rectify", ["x"], ["y"])]),
    "operator-of-the-future": model([make_node("Gelu", ["x"], ["y"])]),
    "operator-of-the-past": model([make_node("Upsample", ["x", "s"], ["y"])], inits=[make_tensor("s", FLOAT, [2], [1, 1])]),
    "too-many-inputs": model([make_node("Relu", ["x", "x"], ["y"])]),
    "too-few-inputs": model([make_node("MatMul", ["x"], ["y"])]),
    "too-many-outputs": model([make_node("Relu", ["x"], ["y", "z"])]),
    "needed-input-left-out": model([make_node("MatMul", ["", "w"], ["y"])], inits=[W]),
    "needed-output-left-out": model([make_node("TopK", ["x", "k"], ["", "i"]), RELU], inits=[make_tensor("k", INT64, [1], [1])]),
    "unknown-attribute": model([make_node("Relu", ["x"], ["y"], slope=0.5)]),
    "attribute-of-another-opset": model([make_node("Squeeze", ["x"], ["s"], axes=[0]), RELU]),
    "attribute-of-another-kind": model([make_node("Softmax", ["x"], ["y"], axis=1.0)]),
    "attribute-missing": model([make_node("Concat", ["x", "x"], ["y"])]),
    "attribute-twice": model([with_attribute(make_node("Softmax", ["x"], ["y"], axis=1), "axis", 0)]),
    "internal-attribute": model([make_node("Relu", ["x"], ["y"], __note=1)]),
    "unsorted": model([make_node("Neg", ["r"], ["y"]), make_node("Relu", ["x"], ["r"])]),
    "cycle": model([make_node("Add", ["x", "b"], ["a"]), make_node("Neg", ["a"], ["b"]), RELU]),
    "input-from-nowhere": model([make_node("Relu", ["z"], ["y"])]),
    "output-from-nowhere": model([make_node("Relu", ["x"], ["z"])]),
    "value-twice": model([RELU, make_node("Neg", ["x"], ["y"])]),
    "value-as-an-input": model([make_node("Neg", ["x"], ["x"]), RELU]),
    "domain-not-imported": model([make_node("Relu", ["x"], ["y"], domain="elsewhere")]),
    "domain-unknown": model([make_node("Relu", ["x"], ["y"], domain="elsewhere")], domains=["elsewhere"]),
    "opset-none": edited(model([RELU]), lambda m: m.ClearField("opset_import")),
    "opset-twice": edited(model([RELU]), lambda m: m.opset_import.append(make_opsetid("", 16))),
    "ir-of-the-future": model([RELU], ir=99),
    "ir-3-with-a-free-initializer": model([make_node("MatMul", ["x", "w"], ["y"])], inits=[W], ir=3, opset=8),
    "wrong-type-declared": model([RELU], outputs=[info("y", INT64)]),
    "wrong-type-inside": model([make_node("Shape", ["x"], ["s"]), make_node("Cast", ["s"], ["y"], to=FLOAT)],
                               outputs=[info("y", FLOAT, [2])], infos=[info("s", FLOAT, [2])]),
    "wrong-shape-declared": model([RELU], outputs=[info("y", FLOAT, [2, 4])]),
    "shapes-do-not-fit": model([make_node("MatMul", ["x", "x"], ["y"])], outputs=[info("y", FLOAT, [2, 3])]),
    "type-not-taken": model([make_node("Softmax", ["x"], ["y"])], [info("x", INT64)], [info("y", INT64)]),
    "types-mixed": model([make_node("Add", ["x", "i"], ["y"])], inits=[make_tensor("i", INT64, [1], [1])]),
    "initializer-too-short": edited(model([make_node("MatMul", ["x", "w"], ["y"])], inits=[W]),
                                    lambda m: m.graph.initializer[0].float_data.pop()),
    "initializer-twice": model([make_node("MatMul", ["x", "w"], ["y"])], inits=[W, W]),
    "graph-without-a-name": edited(model([RELU]), lambda m: m.graph.ClearField("name")),
    "node-name-twice": model([make_node("Relu", ["x"], ["r"], name="n"), make_node("Neg", ["r"], ["y"], name="n")]),
    "subgraph-hides-a-value": choice(branch("then", "t", [make_node("Abs", ["x"], ["c"]), make_node("Neg", ["c"], ["t"])])),
    "subgraph-unsorted": choice(branch("then", "t", [make_node("Neg", ["a"], ["t"]), make_node("Abs", ["x"], ["a"])])),
    "subgraph-without-such-an-operator": choice(branch("then", "t", [make_node("Rectify", ["x"], ["t"])])),
    "function-without-such-an-operator": call(function([make_node("Rectify", ["a"], ["b"])])),
    "function-without-opset": call(function([make_node("Neg", ["a"], ["b"])], opsets=())),
    "function-that-calls-itself": call(function([make_node("twice", ["a"], ["b"], domain="local")], opsets=(("local", 1),))),
    "function-with-too-many-inputs": model([make_node("twice", ["x", "x"], ["y"], domain="local")], domains=["local"],
                                           functions=[function([make_node("Neg", ["a"], ["b"])])]),
}

if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    for name in os.listdir(OUT):
        os.remove(os.path.join(OUT, name))
    lines = []
    for name, m in CASES.items():
        path = os.path.join(OUT, name + ".onnx")
        m.producer_name = ""
        with open(path, "wb") as f:
            f.write(m.SerializeToString(deterministic=True))
        try:
            onnx.checker.check_model(path, full_check=True)
            verdict = "sound"
        except Exception as e:
            verdict = re.sub(r"\s+", " ", str(e).replace(path, "FILE").split("==>")[0]).strip()[:160]
        lines.append("%s\t%s\n" % (name, verdict))
    with open(os.path.join(OUT, "verdicts.tsv"), "w") as f:
        f.writelines(lines)

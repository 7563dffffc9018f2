"""Writes onnx/operators.tsv: what the operators of ai.onnx (by onnx) and of
com.microsoft (by onnxruntime) take and give in every version.

Columns, apart by tabs: domain, operator, first version, "x" if deprecated,
inputs, outputs, attributes, types. An input is its type, with "?" if it may be
left out, "*" if it repeats any number of times or "*N" at least N times, then
"~" if the repetitions may differ in type. Its type is a letter or word of the
column types, or the types themselves: a hexadecimal set of bits numbered as in
TensorProto.DataType, where bit 0 stands for everything that is no tensor. An
attribute is its name, ":" and a letter for its kind, "!" if it must be there.
Where an operator is as in the version before, it has no row."""
import os
import re
import sys

import onnx
from onnx import TensorProto, defs
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

KINDS = {"FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "FLOATS": "F", "INTS": "I", "STRINGS": "S",
         "TENSORS": "T", "GRAPHS": "G", "SPARSE_TENSOR": "p", "TYPE_PROTO": "y", "SPARSE_TENSORS": "P", "TYPE_PROTOS": "Y"}
NUMBERS = {"tensor(%s)" % name.lower(): number for name, number in TensorProto.DataType.items()}


def bits(types):
    found = 0
    for t in types:
        found |= 1 << NUMBERS.get(t.lower(), 0)
    return "%x" % found


def either(value, *names):
    return next(getattr(value, n) for n in names if hasattr(value, n))


def formals(list, least):
    out = []
    for i, p in enumerate(list):
        text = either(p, "type_str", "typeStr")
        if "(" in text:
            text = "0x" + bits([text])
        option = p.option.name
        if option == "Optional":
            text += "?"
        elif option == "Variadic":
            text += "*%s" % (least - i if least > i else "")
            if not either(p, "is_homogeneous", "isHomogeneous"):
                text += "~"
        out.append(text)
    return ",".join(out)


def row(s):
    attributes = ["%s:%s%s" % (name, KINDS[a.type.name], "!" * a.required) for name, a in sorted(s.attributes.items())]
    types = ["%s=%s" % (t.type_param_str, bits(t.allowed_type_strs)) for t in s.type_constraints]
    return [s.domain, s.name, str(s.since_version), "x" * s.deprecated, formals(s.inputs, s.min_input),
            formals(s.outputs, s.min_output), ",".join(attributes), ",".join(types)]


def main():
    rows = [row(s) for s in defs.get_all_schemas_with_history() if s.domain == "" and s.support_level.name != "EXPERIMENTAL"]
    standard = {r[1] for r in rows}
    for s in runtime.get_all_operator_schema():
        if s.domain == "com.microsoft" or s.domain == "" and s.name not in standard:
            rows.append(row(s))
    rows.sort(key=lambda r: (r[0], r[1], int(r[2])))
    kept = []
    for r in rows:
        if kept and kept[-1][:2] == r[:2] and kept[-1][3:] == r[3:]:
            continue
        kept.append(r)
    path = os.path.join(os.path.dirname(__file__), "..", "..", "operators.tsv")
    with open(path, "w") as f:
        f.write("# onnx %s, ai.onnx up to %d; written by testdata/recipes/operators.py\n" % (
            re.match(r"[0-9.]+", onnx.__version__)[0], defs.onnx_opset_version()))
        for r in kept:
            f.write("\t".join(r) + "\n")


if __name__ == "__main__":
    sys.exit(main())

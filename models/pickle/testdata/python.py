"""Prints what Python's pickle makes of some values, in all its protocols: a line holds the value's
name, the protocol, and the pickle in Base64.

    python python.py > python.txt
"""
import argparse
import base64
import collections
import datetime
import pathlib
import pickle

import numpy
import torch

values = {
    "plain": {"a": [1, -2, 2**40, 2**70, -(2**70), 255, -129], "f": [1.5, float("inf")], "n": None, "b": (True, False),
              "s": "é\u4e16\U0001F600\n\\", "by": b"\x00\xff", "set": {1}, "fs": frozenset([2]), "e": (), "t4": (1, 2, 3, 4)},
    "namespace": argparse.Namespace(lr=0.1, model="vit_base", path=pathlib.PurePosixPath("/x/y")),
    "ordered": collections.OrderedDict(a=1, b=2),
    "default": collections.defaultdict(list, {"a": [1]}),
    "numpy": {"acc": numpy.float64(1.5), "array": numpy.arange(3.0)},
    "torch": {"size": torch.Size([1, 2]), "dtype": torch.float16, "device": torch.device("cpu")},
    "when": datetime.datetime(2020, 1, 1),
}
for name, value in values.items():
    for protocol in range(6):
        print(name, protocol, base64.b64encode(pickle.dumps(value, protocol=protocol)).decode())

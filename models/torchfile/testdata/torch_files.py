"""Small files of torch.save, and their tensors as safetensors beside them (NAME.expected.safetensors).

    python torch_files.py
"""
import argparse
import datetime
import decimal
import os
import pathlib
import random
import uuid
from collections import Counter, OrderedDict, deque
from types import SimpleNamespace

import numpy
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

torch.manual_seed(0)
here = os.path.dirname(os.path.abspath(__file__))
base = torch.randn(6, 4)
types = OrderedDict((str(t).split(".")[1], (torch.randn(3, 2) * 9).to(t)) for t in (
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool))
views = OrderedDict(
    whole=base, transposed=base.T, rows=base[2:4], column=base[:, 1], strided=base[::2, ::3], permuted=torch.randn(2, 3, 4).permute(2, 0, 1),
    expanded=torch.randn(3, 1).expand(3, 4), scalar=torch.tensor(2.5), empty=torch.zeros(0, 3), tied=base)
model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
weights = model.state_dict()
parameters = OrderedDict((k, torch.nn.Parameter(v) if v.is_floating_point() else v) for k, v in weights.items())
optimizer = torch.optim.AdamW(model.parameters())
model(torch.randn(4, 3)).sum().backward()
optimizer.step()
args = argparse.Namespace(arch="vit_tiny_patch16_224", lr=1e-3, betas=(0.9, 0.95), output_dir=None)

# what training scripts keep beside the weights, none of which can run code
options = {
    "torch": torch.__version__, "config": OmegaConf.create({"lr": 0.1, "model": {"name": "vit", "layers": [1, 2]}, "resume": None}),
    "namespace": SimpleNamespace(a=1), "path": pathlib.Path("/runs/1"), "losses": deque([1.0, 0.5], maxlen=9), "counts": Counter("aab"),
    "when": [datetime.datetime(2022, 6, 2, tzinfo=datetime.timezone.utc), datetime.date(2022, 6, 2), datetime.timedelta(1), datetime.time(1)],
    "numbers": [numpy.float32(1.5), numpy.int64(3), numpy.bool_(True), numpy.arange(3), numpy.dtype("float32"), decimal.Decimal("0.5"), 1j, range(3)],
    "random": [random.Random(0).getstate(), numpy.random.RandomState(0).get_state(), torch.Generator().manual_seed(0).get_state()],
    "id": uuid.UUID(int=7), "device": torch.device("cuda:0"), "dtype": torch.float16, "size": torch.Size([1, 2]),
}

files = {
    "types": (types, types),
    "views": (views, views),
    "deit": ({"model": weights, "optimizer": optimizer.state_dict(), "epoch": 9, "args": args}, weights),
    "robustvit": ({"epoch": 3, "arch": "vit_base_patch16_224", "state_dict": {"module." + k: v for k, v in weights.items()},
                   "best_acc1": torch.tensor(77.5), "optimizer": optimizer.state_dict()}, {"module." + k: v for k, v in weights.items()}),
    "dino": ({"student": {"module.x": base}, "teacher": {"backbone." + k: v for k, v in parameters.items()}, "epoch": 1,
              "best_acc": numpy.float64(0.5), "curve": numpy.arange(3.0)}, {"backbone." + k: v for k, v in weights.items()}),
    "options": ({"state_dict": weights, **options}, weights),
    "ema": ({"state_dict": {"x": base}, "state_dict_ema": weights, "model_ema": None}, weights),
}
for name, (content, expected) in files.items():
    torch.save(content, f"{here}/{name}.pth")
    torch.save(content, f"{here}/{name}-legacy.pth", _use_new_zipfile_serialization=False)
    save_file({k: v.contiguous().clone() for k, v in expected.items()}, f"{here}/{name}.expected.safetensors")

wide = OrderedDict((str(t).split(".")[1], torch.arange(6, dtype=torch.uint8).view(t)) for t in (torch.uint16, torch.float8_e4m3fn, torch.float8_e5m2))
torch.save(wide, f"{here}/untyped.pth")
save_file(dict(wide), f"{here}/untyped.expected.safetensors")
torch.save({"a": base}, f"{here}/protocol4.pth", pickle_protocol=4)
save_file({"a": base}, f"{here}/protocol4.expected.safetensors")

torch.save(model, f"{here}/refused-module.pth")
torch.save(base, f"{here}/refused-single.pth")
torch.save({"q": torch.quantize_per_tensor(base, 0.1, 0, torch.qint8)}, f"{here}/refused-quantised.pth")
torch.save({"s": base.to_sparse()}, f"{here}/refused-sparse.pth")
torch.save({"m": base.to("meta")}, f"{here}/refused-meta.pth")
torch.save({"a": {"x": base}, "b": {"y": base}}, f"{here}/refused-several.pth")
torch.save({"epoch": 3, "lr": [0.1]}, f"{here}/refused-none.pth")
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), f"{here}/refused-torchscript.pth")

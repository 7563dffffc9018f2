"""Positions that timm brings from one grid of patches to another.

    python resampling.py

writes models/testdata/resampling.safetensors: for each case N its input and output as timm stores
them, and in the metadata N: {"kind": ..., "prefix": ..., "from": [rows, columns], "to": ...}.
"""
import json
import os

import torch
from safetensors.torch import save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.layers.pos_embed_rel import resize_rel_pos_bias_table

OUT = os.path.join(os.path.dirname(__file__), "..", "..", "..", "models", "testdata", "resampling.safetensors")

# prefix tokens, from, to
POSITIONS = {"up": (1, (3, 3), (5, 5)), "down": (0, (7, 7), (3, 3)), "five": (5, (4, 4), (6, 3)), "rectangle": (0, (2, 5), (5, 2)),
             "one-axis": (1, (4, 6), (4, 9)), "transposed": (1, (2, 6), (6, 2)), "single": (2, (1, 1), (2, 3))}
DISTANCES = {"up": ((3, 3), (5, 5)), "down": ((6, 6), (3, 3)), "rectangle": ((2, 5), (4, 3)), "one-axis": ((4, 4), (4, 6)),
             "far": ((3, 3), (12, 12))}

if __name__ == "__main__":
    g = torch.Generator().manual_seed(0)
    data, meta = {}, {}
    for name, (prefix, old, new) in POSITIONS.items():
        x = torch.randn(1, prefix + old[0] * old[1], 4, generator=g)
        name = "positions-" + name
        data[name + ".in"], data[name + ".out"] = x, resample_abs_pos_embed(x, new, old, prefix).contiguous()
        meta[name] = json.dumps({"kind": "positions", "prefix": prefix, "from": old, "to": new})
    for name, (old, new) in DISTANCES.items():
        count = lambda w: (2 * w[0] - 1) * (2 * w[1] - 1) + 3  # noqa: E731
        x = torch.randn(count(old), 3, generator=g)
        name = "distances-" + name
        data[name + ".in"] = x
        data[name + ".out"] = resize_rel_pos_bias_table(x, new, (count(new), 3), old).contiguous()
        meta[name] = json.dumps({"kind": "distances", "prefix": 0, "from": old, "to": new})
    save_file(data, OUT, metadata=meta)

"""Writes a case from the results of a framework other than PyTorch, given as numpy arrays."""
import json

import numpy as np
from safetensors.numpy import save_file

from_seed = np.random.default_rng


def inputs(image, classes, batch=2, seed=0):
    """image (B,3,H,W), mask (B,1,H,W), label (B)."""
    g = from_seed(seed)
    x = g.standard_normal((batch, *image)).astype(np.float32)
    return x, (g.random((batch, 1, *image[1:])) > 0.5).astype(np.float32), g.integers(0, classes, batch)


def weights(shapes, seed=0):
    """Values that matter for shapes: those of one axis near 1 or 0 (by name), the others by their fan-in."""
    g = from_seed(seed)
    out = []
    for name, shape in shapes:
        x = g.standard_normal(shape)
        if len(shape) < 2:
            x = 0.2 * x + (1 if "gamma" in name or "scale" in name else 0)
        else:
            x = x * 0.7 / np.sqrt(np.prod(shape[:-1]))
        out.append(x.astype(np.float32))
    return out


def rollout(maps, grads, prefix, pool):
    n = maps[0].shape[-1]
    r = np.zeros((maps[0].shape[0], n))
    if pool == "avg":
        r[:, prefix:] = 1 / (n - prefix)
    else:
        r[:, 0] = 1
    for a, g in reversed(list(zip(maps, grads))):
        r = r + np.einsum("bn,bnm->bm", r, np.clip(a * g, 0, None).mean(1))
    return r[:, prefix:]


def case(path, run, image, classes=5, prefix=1, pool="token"):
    """run(image, label, dtype) gives logits, attention maps (B,H,queries,keys) and the gradients of the labels' logits."""
    x, mask, label = inputs(image, classes)
    results = []
    for dtype in ("float64", "float32"):
        logits, maps, grads = run(x, label, dtype)
        d = {"logits": logits, "relevance": rollout(maps, grads, prefix, pool)}
        for i in range(len(maps)):
            d[f"attn.{i}"], d[f"attn_grad.{i}"] = maps[i], grads[i]
        results.append(d)
    hi, lo = results
    deviation = {}
    for key, v in hi.items():
        group = key.split(".")[0]
        off = float(np.abs(lo[key].astype(np.float64) - v).max() / np.abs(v).max())
        deviation[group] = max(deviation.get(group, 0), off, 1.2e-7)
    data = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in hi.items()}
    data.update(image=x, mask=mask, label=label.astype(np.int64))
    save_file(data, path, metadata={"float32_deviation": json.dumps(deviation), "prefix_tokens": str(prefix), "pool": pool})

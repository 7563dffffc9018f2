"""Measures of evaluation by scikit-learn, SciPy and NumPy, on small random maps and predictions.

    python metrics.py ../../metrics/testdata/metrics.json

Segmentation follows the definitions of the published evaluation (Transformer-Explainability:
baselines/ViT/imagenet_seg_eval.py, utils/metrices.py), localisation and sparseness those of Quantus,
insertion's blur and area those of RISE. Needs numpy, scipy and scikit-learn.
"""
import json
import sys

import numpy as np
from scipy.ndimage import correlate, gaussian_filter
from scipy.stats import binomtest, spearmanr
from sklearn.metrics import average_precision_score


def segmentation(res, target):
    one, zero = res > res.mean(), res <= res.mean()
    found = np.argmax(np.stack([zero, one]).astype(int), 0)
    inter = [int(((found == c) & (target == c)).sum()) for c in (0, 1)]
    union = [int(((found == c) | (target == c)).sum()) for c in (0, 1)]
    if res.max() == res.min():  # scaling gives NaN there, which become 0
        scores = np.zeros((2, *res.shape), np.float32)
    else:
        scores = np.stack([1 - res, res])
    labels = np.stack([target == 0, target == 1]).astype(int)
    return {"correct": int((found == target).sum()), "intersection": inter, "union": union,
            "ap": float(average_precision_score(labels.reshape(-1), scores.reshape(-1)))}


def localisation(res, target):
    a, s = res.reshape(-1), np.where(target.reshape(-1))[0]
    out = {"gini": gini(a)}
    if len(s):
        top = np.argsort(a, kind="stable")[-len(s):]
        out |= {"share": float(a[s].astype(float).sum() / a.astype(float).sum()),
                "rank": len(np.intersect1d(s, top)) / len(s),
                "pointing": float(np.argmax(a) in s)}
    return out


def gini(a):
    a = np.sort(a.astype(np.float64) + 0.0000001)
    n = len(a)
    return float(np.sum((2 * np.arange(1, n + 1) - n - 1) * a) / (n * np.sum(a)))


def ece(confidence, right, bins=15):
    edges, total = np.linspace(0, 1, bins + 1), 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(total)


def blur(picture):
    dirac = np.zeros((11, 11))
    dirac[5, 5] = 1
    kernel = gaussian_filter(dirac, 5).astype(np.float32)
    return np.stack([correlate(c.astype(np.float64), kernel.astype(np.float64), mode="constant") for c in picture])


def main(path):
    rng = np.random.default_rng(7)
    maps = []
    for h, w, levels in [(9, 12, 0), (9, 12, 5), (1, 7, 0), (20, 20, 0), (20, 20, 9), (6, 6, 2)]:
        res = rng.uniform(size=(h, w))
        if levels:
            res = np.round(res * levels) / levels
        res = res.astype(np.float32)
        res = (res - res.min()) / (res.max() - res.min())
        target = (res + rng.normal(0, 0.4, (h, w)) > 0.7).astype(int)
        case = {"map": res, "mask": target, **segmentation(res, target), **localisation(res, target)}
        if levels:  # the order of equal values is argsort's there
            case.pop("rank", None), case.pop("pointing", None)
        maps.append(case)
    flat = np.zeros((4, 5), np.float32)
    half = np.tile([0, 0, 1, 1, 1], (4, 1))
    maps.append({"map": flat, "mask": half, **segmentation(flat, half)})
    empty = np.zeros((9, 12), int)
    maps.append({"map": maps[0]["map"], "mask": empty, **segmentation(maps[0]["map"], empty), **localisation(maps[0]["map"], empty)})
    for case in maps:
        case["map"], case["mask"] = [float(v) for v in case["map"].reshape(-1)], [int(v) for v in case["mask"].reshape(-1)]

    ranked = []
    for levels in (0, 3):
        a, b = rng.uniform(-1, 1, 40), rng.uniform(-1, 1, 40)
        b += a
        if levels:
            a, b = np.round(a * levels), np.round(b * levels)
        a, b = a.astype(np.float32), b.astype(np.float32)
        ranked.append({"a": a.tolist(), "b": b.tolist(), "rho": float(spearmanr(a, b).statistic)})

    confidence = np.concatenate([rng.beta(5, 1.5, 200), [0.2, 0.4, 1.0, 1 / 15, 0.0001]])
    right = rng.uniform(size=205) < confidence ** 1.5
    counts = [[0, 0], [1, 0], [3, 9], [9, 3], [25, 25], [40, 71], [500, 620]]
    picture = rng.normal(size=(2, 13, 16)).astype(np.float32)
    json.dump({
        "maps": maps, "ranked": ranked,
        "calibration": {"confidence": confidence.tolist(), "right": right.tolist(), "ece": ece(confidence, right), "mean": float(confidence.mean())},
        "mcnemar": [{"b": b, "c": c, "p": binomtest(b, b + c, 0.5).pvalue if b + c else 1.0} for b, c in counts],
        "blur": {"picture": picture.reshape(-1).tolist(), "out": blur(picture).reshape(-1).tolist()},
        "percentiles": {"values": (v := rng.normal(size=33)).tolist(), "low": float(np.percentile(v, 2.5)), "high": float(np.percentile(v, 97.5))},
    }, open(path, "w"))


if __name__ == "__main__":
    main(sys.argv[1])

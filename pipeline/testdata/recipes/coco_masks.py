"""Polygons and run lengths with the masks that COCO's own tools (pycocotools) make of them.

    python coco_masks.py ../../dataset/testdata/coco-masks.json
"""
import json
import sys

import numpy as np
from pycocotools import mask


def polygon(rng, w, h, corners, spread):
    """A star-shaped outline around a random middle; spread > 1 leaves the picture."""
    middle = rng.uniform(0.2, 0.8, 2) * (w, h)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(0.1, 1, corners) * spread / 2
    points = middle + np.stack([np.cos(angles) * w * radius, np.sin(angles) * h * radius], 1)
    return points


def main(path):
    rng = np.random.default_rng(5)
    polygons, crowds = [], []

    def add(points, w, h):
        points = [round(float(v), 2) for v in np.asarray(points).reshape(-1)]
        (rle,) = mask.frPyObjects([points], h, w)
        polygons.append({"size": [h, w], "polygon": points, "counts": rle["counts"].decode(), "area": int(mask.area(rle))})

    for w, h in [(1, 1), (7, 5), (40, 31), (64, 64), (33, 90)]:
        for corners in (3, 4, 9, 40):
            for spread in (0.3, 0.9, 1.6):
                add(polygon(rng, w, h, corners, spread), w, h)
        add(rng.uniform(-0.4, 1.4, (12, 2)) * (w, h), w, h)  # crossing itself
        add([(0, 0), (w, 0), (w, h), (0, h)], w, h)
        add([(1, 1), (1, 1), (w / 2, 1), (w / 2, h / 2), (1, 1)], w, h)  # repeated corners, closed
        add([(1.5, 2.5), (w - 1.5, 2.5), (w / 3, 2.5)], w, h)  # flat
    for w, h in [(1, 1), (5, 7), (40, 31), (300, 200)]:
        for share in (0.0, 0.02, 0.5, 1.0):
            m = (rng.uniform(size=(h, w)) < share).astype(np.uint8)
            if h > 100:
                m = np.kron((rng.uniform(size=(h // 50, w // 50)) < share).astype(np.uint8), np.ones((50, 50), np.uint8))
            rle = mask.encode(np.asfortranarray(m))
            flat = m.reshape(-1, order="F")
            edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist() + [flat.size]
            crowds.append({"size": [h, w], "counts": rle["counts"].decode(), "runs": np.diff([0] + edges).tolist(), "area": int(m.sum())})
    with open(path, "w") as f:
        json.dump({"polygons": polygons, "crowds": crowds}, f, separators=(",", ":"))
        f.write("\n")


main(sys.argv[1])

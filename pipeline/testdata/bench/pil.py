"""Reads the pictures named by its arguments, as ImageNet's evaluation does with
PIL: for every line of its input, `decode` or `both`, it prints the seconds that a
picture took to decode, or to decode, resize, crop and normalise."""

import io
import sys
import time

import numpy as np
import PIL
from PIL import Image, features

pictures = []
for path in sys.argv[1:]:
    with open(path, "rb") as f:
        pictures.append(f.read())


def decode(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def both(data):
    picture = decode(data)
    w, h = picture.size
    w, h = (256, 256 * h // w) if w <= h else (256 * w // h, 256)
    left, top = round((w - 224) / 2), round((h - 224) / 2)
    picture = picture.resize((w, h), Image.BILINEAR).crop((left, top, left + 224, top + 224))
    levels = np.asarray(picture).transpose(2, 0, 1)
    return (np.ascontiguousarray(levels).astype(np.float32) / 255 - 0.5) / 0.5


print(f"PIL {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}", flush=True)
for line in sys.stdin:
    work = {"decode": decode, "both": both}[line.strip()]
    start = time.perf_counter()
    for data in pictures:
        work(data)
    print((time.perf_counter() - start) / len(pictures), flush=True)

"""A miniature of gtsegs_ijcv.mat (MATLAB 7.3, which is HDF5), with what the published reader and PIL
make of it.

    python imagenet_segmentation.py ../../benchmark/hdf5/testdata

writes gtsegs.mat and gtsegs.json. As in the original, /value/img and /value/gt are columns of object
references; that of gt leads to a cell, whose first reference leads to the mask. MATLAB writes a user
block of 512 bytes and HDF5's earliest format, as this does. Needs h5py, numpy and pillow.
"""
import hashlib
import json
import os
import sys

import h5py
import numpy as np
from PIL import Image

SIZES = [(20, 31), (17, 12), (40, 24), (9, 9), (33, 18)]  # rows, columns


def main(folder):
    rng = np.random.default_rng(11)
    path = os.path.join(folder, "gtsegs.mat")
    # how MATLAB may store an array: as it is, or in deflated chunks
    forms = [{}, {"compression": "gzip", "compression_opts": 3}, {"chunks": True, "compression": "gzip", "shuffle": True},
             {"chunks": True, "fletcher32": True}, {"compression": "gzip", "chunks": (1, 2, 4)}]
    pictures = []
    with h5py.File(path, "w", userblock_size=512, libver="earliest") as f:
        refs, value = f.create_group("#refs#"), f.create_group("value")
        img, gt = np.zeros((len(SIZES), 1), h5py.ref_dtype), np.zeros((len(SIZES), 1), h5py.ref_dtype)
        for i, ((h, w), form) in enumerate(zip(SIZES, forms)):
            y, x = np.mgrid[:h, :w]
            pixels = np.stack([x * 8 % 256, y * 6 % 256, rng.integers(0, 9, (h, w)) + 40 * i], 2).astype(np.uint8)
            mask = (((y / h - 0.5) ** 2 + (x / w - 0.4) ** 2) < 0.1).astype(np.uint8)
            image = refs.create_dataset(f"i{i}", data=pixels.transpose(2, 1, 0), **form)
            flat = {k: v for k, v in form.items() if k != "chunks"} | ({"chunks": (5, 4)} if "chunks" in form else {})
            target = refs.create_dataset(f"t{i}", data=mask.transpose(1, 0), **flat)
            cell = refs.create_dataset(f"c{i}", data=np.array([[target.ref]], h5py.ref_dtype))
            for d, kind in ((image, "uint8"), (target, "uint8"), (cell, "cell")):
                d.attrs["MATLAB_class"] = np.bytes_(kind)
            img[i, 0], gt[i, 0] = image.ref, cell.ref
        value.create_dataset("img", data=img).attrs["MATLAB_class"] = np.bytes_("cell")
        value.create_dataset("gt", data=gt, chunks=(2, 1), compression="gzip").attrs["MATLAB_class"] = np.bytes_("cell")
        value.attrs["MATLAB_class"] = np.bytes_("struct")
        # kinds of data that the reader doesn't know
        odd = f.create_group("odd")
        odd.create_dataset("scalar", data=1.5)
        odd.create_dataset("text", data="text")
        odd.create_dataset("empty", shape=(0, 3), dtype=np.uint8)
    with open(path, "r+b") as f:
        f.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64 HDF5 schema 1.00 .".ljust(116) + bytes(8) + b"\x00\x02IM")

    with h5py.File(path, "r") as f:
        for i in range(len(f["/value/img"])):
            image = np.array(f[f["/value/img"][i, 0]]).transpose((2, 1, 0))
            target = np.array(f[f[f["/value/gt"][i, 0]][0, 0]]).transpose((1, 0))
            small = np.array(Image.fromarray(target).resize((16, 16), Image.NEAREST))
            large = np.array(Image.fromarray(target).resize((224, 224), Image.NEAREST))
            digest = lambda a: hashlib.sha256(a.tobytes()).hexdigest()  # noqa: E731
            pictures.append({"rows": image.shape[0], "columns": image.shape[1], "image": digest(image), "mask": digest(target),
                             "nearest16": digest(small), "nearest224": digest(large)})
    json.dump(pictures, open(os.path.join(folder, "gtsegs.json"), "w"), indent=1)


if __name__ == "__main__":
    main(sys.argv[1])

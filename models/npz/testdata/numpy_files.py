"""Small files of NumPy, and their arrays as safetensors (expected.safetensors).

    python numpy_files.py
"""
import os

import numpy as np
from numpy.lib import format as npy
from safetensors.numpy import save_file

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(0)
numbers = rng.standard_normal((4, 3, 2)) * 50
arrays = {f"types/{t}": numbers.astype(t) for t in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")}
arrays["scalar"] = np.array(2.5, np.float32)
arrays["empty"] = np.zeros((0, 3), np.float32)
arrays["vector"] = numbers[0, :, 0].astype(np.float32)
special = {
    "big": numbers.astype(">f4"), "big16": numbers.astype(">f2"), "fortran": np.asfortranarray(numbers.astype(np.float32)),
    "fortran big": np.asfortranarray(numbers[:, :, 0].astype(">i4")),
}
everything = {**arrays, **special}
np.savez(f"{here}/stored.npz", **everything)
np.savez_compressed(f"{here}/deflated.npz", **everything)
for version in (1, 2, 3):
    with open(f"{here}/version{version}.npy", "wb") as f:
        npy.write_array(f, arrays["types/f4"], version=(version, 0))
np.savez(f"{here}/refused-objects.npz", x=np.array([{}, None], dtype=object))
np.savez(f"{here}/refused-texts.npz", x=np.array(["a", "b"]))
np.savez(f"{here}/refused-fields.npz", x=np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]))
save_file({k: np.ascontiguousarray(v.astype(v.dtype.newbyteorder("="))) .reshape(v.shape) for k, v in everything.items()}, f"{here}/expected.safetensors")

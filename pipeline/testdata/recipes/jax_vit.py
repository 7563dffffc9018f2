"""A ViT of Flax (JAX), pictures as (B,H,W,3), by jax2onnx."""
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax2onnx import to_onnx

sys.path.insert(0, os.path.dirname(__file__))
import arrays  # noqa: E402

ZOO = os.path.join(os.path.dirname(__file__), "..", "zoo")
IMAGE = (3, 8, 12)


class Attention(nnx.Module):
    """Self-attention by einsum. shift: what is added to each map, and where the maps go."""

    def __init__(self, width, heads, rngs):
        self.qkv = nnx.List([nnx.Linear(width, width, rngs=rngs) for _ in range(3)])
        self.out = nnx.Linear(width, width, rngs=rngs)
        self.heads = heads

    def __call__(self, x, shift=None):
        b, n, d = x.shape
        q, k, v = (f(x).reshape(b, n, self.heads, d // self.heads) for f in self.qkv)
        a = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q / np.sqrt(d // self.heads), k), axis=-1)
        if shift is not None:
            shift[1].append(a)
            a = a + shift[0].pop(0)
        return self.out(jnp.einsum("bhqk,bkhd->bqhd", a, v).reshape(b, n, d))


class Block(nnx.Module):
    def __init__(self, width, heads, rngs):
        self.norm1, self.norm2 = nnx.LayerNorm(width, rngs=rngs), nnx.LayerNorm(width, rngs=rngs)
        self.attention = Attention(width, heads, rngs)
        self.dense1, self.dense2 = nnx.Linear(width, 16, rngs=rngs), nnx.Linear(16, width, rngs=rngs)

    def __call__(self, x, shift=None):
        x = x + self.attention(self.norm1(x), shift)
        return x + self.dense2(nnx.gelu(self.dense1(self.norm2(x)), approximate=False))


class ViT(nnx.Module):
    def __init__(self, rngs, width=8, heads=2):
        self.patches = nnx.Conv(3, width, (4, 4), (4, 4), padding="VALID", rngs=rngs)
        self.token = nnx.Param(jnp.zeros((1, 1, width)))
        self.positions = nnx.Param(jnp.zeros((1, 7, width)))
        self.blocks = nnx.List([Block(width, heads, rngs) for _ in range(2)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, 5, rngs=rngs)

    def __call__(self, image, shift=None):
        x = self.patches(image)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        token = jnp.broadcast_to(self.token[...], (x.shape[0], 1, x.shape[-1]))
        x = jnp.concatenate([token, x], axis=1) + self.positions[...]
        for block in self.blocks:
            x = block(x, shift)
        return self.head(self.norm(x)[:, 0])


def small(dtype):
    model = ViT(nnx.Rngs(0))
    state = nnx.state(model, nnx.Param)
    leaves, tree = jax.tree_util.tree_flatten_with_path(state)
    values = arrays.weights([(jax.tree_util.keystr(p), v.shape) for p, v in leaves])
    nnx.update(model, jax.tree_util.tree_unflatten(tree, [jnp.asarray(v, dtype) for v in values]))
    for _, m in nnx.iter_modules(model):
        if hasattr(m, "param_dtype"):
            m.dtype = m.param_dtype = jnp.dtype(dtype)
    return model


def run(x, label, dtype):
    model, image = small(dtype), jnp.asarray(np.moveaxis(x, 1, 3), dtype)
    maps = []

    def target(shift):
        maps.clear()
        logits = model(image, (list(shift), maps))
        return jnp.take_along_axis(logits, jnp.asarray(label)[:, None], 1).sum(), (logits, list(maps))

    zero = [jnp.zeros((x.shape[0], 2, 7, 7), dtype) for _ in range(2)]
    grads, (logits, found) = jax.grad(target, has_aux=True)(zero)
    return np.asarray(logits), [np.asarray(m) for m in found], [np.asarray(g) for g in grads]


if __name__ == "__main__":
    d = os.path.join(ZOO, "jax-flax-einsum")
    os.makedirs(d, exist_ok=True)
    model = small("float32")
    to_onnx(model, [("B", IMAGE[1], IMAGE[2], 3)], return_mode="file", output_path=d + "/model.onnx", opset=21)
    jax.config.update("jax_enable_x64", True)
    arrays.case(d + "/case.safetensors", run, IMAGE)

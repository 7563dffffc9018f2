"""A ViT of Keras 3 (TensorFlow), pictures as (B,H,W,3), by tf2onnx.

The classifier's softmax is part of the model, as in Keras's applications.
"""
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf2onnx  # noqa: E402
from keras import layers  # noqa: E402

sys.path.insert(0, os.path.dirname(__file__))
import arrays  # noqa: E402

ZOO = os.path.join(os.path.dirname(__file__), "..", "zoo")
IMAGE = (3, 8, 12)


class Tokens(layers.Layer):
    """A class token and positions, as KerasHub's ViTPatchingAndEmbedding."""

    def __init__(self, prefix, **kw):
        super().__init__(**kw)
        self.prefix = prefix

    def build(self, shape):
        if self.prefix:
            self.token = self.add_weight(name="class_token", shape=(1, self.prefix, shape[-1]))
        self.positions = self.add_weight(name="positions", shape=(1, self.prefix + shape[1], shape[-1]))

    def call(self, x):
        if self.prefix:
            x = keras.ops.concatenate([keras.ops.tile(self.token, (keras.ops.shape(x)[0], 1, 1)), x], axis=1)
        return x + self.positions


def gelu(x):
    """Keras's own needs Erfc, which tf2onnx lacks."""
    return 0.5 * x * (1 + tf.math.erf(x / np.sqrt(2)))


def tanh_gelu(x):
    return keras.activations.gelu(x, approximate=True)


def vit(prefix=1, softmax=True, scores=False):
    image = keras.Input((IMAGE[1], IMAGE[2], 3), name="images")
    x = layers.Conv2D(8, 4, strides=4, name="patches")(image)
    x = layers.Reshape((-1, 8))(x)
    x = Tokens(prefix, name="tokens")(x)
    for i in range(2):
        y = layers.LayerNormalization(epsilon=1e-6, name=f"norm1_{i}")(x)
        y = layers.MultiHeadAttention(2, 4, name=f"attention_{i}")(y, y, return_attention_scores=scores)
        x = x + (y[0] if scores else y)
        y = layers.LayerNormalization(epsilon=1e-6, name=f"norm2_{i}")(x)
        y = layers.Dense(16, activation=gelu if prefix else tanh_gelu, name=f"dense1_{i}")(y)
        x = x + layers.Dense(8, name=f"dense2_{i}")(y)
    x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    x = x[:, 0] if prefix else layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, layers.Dense(5, activation="softmax" if softmax else None, name="head")(x))


def small(dtype, **kw):
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    model = vit(**kw)
    model.set_weights(arrays.weights([(w.path, w.shape) for w in model.weights]))
    return model


def results(softmax=True, **kw):
    def run(x, label, dtype):
        model = small(dtype, softmax=False, **kw)
        maps, plain = [], tf.nn.softmax

        def caught(scores, axis=-1):
            maps.append(plain(scores, axis=axis))
            return maps[-1]

        tf.nn.softmax = caught
        try:
            with tf.GradientTape() as tape:
                image = tf.constant(np.moveaxis(x, 1, 3), dtype)
                tape.watch(image)
                logits = model(image)
                total = tf.reduce_sum(tf.gather(logits, label, batch_dims=1))
            grads = tape.gradient(total, maps)
        finally:
            tf.nn.softmax = plain
        return logits.numpy(), [m.numpy() for m in maps], [g.numpy() for g in grads]

    return run


def write(name, opset, **kw):
    d = os.path.join(ZOO, name)
    os.makedirs(d, exist_ok=True)
    prefix = kw.get("prefix", 1)
    arrays.case(d + "/case.safetensors", results(**kw), IMAGE, prefix=prefix, pool="token" if prefix else "avg")
    model = small("float32", **kw)
    spec = (tf.TensorSpec((None, IMAGE[1], IMAGE[2], 3), tf.float32, name="images"),)
    tf2onnx.convert.from_function(tf.function(lambda images: model(images)), spec, opset=opset, output_path=d + "/model.onnx")


if __name__ == "__main__":
    write("keras-tf2onnx-17", 17)
    write("keras-tf2onnx-13", 13, scores=True)
    write("keras-mean-tf2onnx-15", 15, prefix=0, softmax=False)

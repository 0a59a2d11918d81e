"""What the tests of networks share: NumPy layers, random weights, counts."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.lib.stride_tricks import sliding_window_view


class OneKey(nnx.Rngs):
    """The same key each time: counting keys makes large models slow to trace."""

    def params(self):
        return jax.random.key(0)


ONE_KEY = OneKey(0)
CALL = nnx.jit(
    lambda encoder, x, train: encoder(x, train=train), static_argnames="train"
)


def images(shape, n=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


def filled(build, seed=0):
    """A module whose parameters and statistics are random, and these as a dict."""
    rng = np.random.default_rng(seed)

    def fill(leaf):
        if len(leaf.shape) == 1:
            return rng.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype)
        scale = math.sqrt(2 / math.prod(leaf.shape[:-1]))
        return (scale * rng.standard_normal(leaf.shape)).astype(leaf.dtype)

    graphdef, state = nnx.split(nnx.eval_shape(build))
    state = jax.tree.map(fill, state)
    module = nnx.merge(graphdef, jax.tree.map(jnp.asarray, state))
    return module, nnx.to_pure_dict(state)


def windows_by_hand(x, *, size, stride, padding, value):
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = np.pad(x, sides, constant_values=value)
    return sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]


def max_pool_by_hand(x, *, size, stride, padding):
    shape = {"size": size, "stride": stride, "padding": padding}
    return windows_by_hand(x, **shape, value=-np.inf).max((-2, -1))


def conv_by_hand(x, layer, *, stride=1, padding=None):
    kernel = layer["kernel"]
    size = len(kernel)
    padding = size // 2 if padding is None else padding
    shape = {"size": size, "stride": stride, "padding": padding}
    windows = windows_by_hand(x, **shape, value=0)
    y = np.tensordot(windows, kernel, ((4, 5, 3), (0, 1, 2)))
    return y + layer.get("bias", 0)


def norm_by_hand(x, norm):
    normal = (x - norm["mean"]) / np.sqrt(norm["var"] + 1e-5)
    return normal * norm["scale"] + norm["bias"]


def conv_norm_by_hand(x, block, stride=1):
    return norm_by_hand(conv_by_hand(x, block["linear"], stride=stride), block["norm"])


def assert_close(actual, expected, tolerance=1e-5):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


def parameters(build):
    state = nnx.state(nnx.eval_shape(build), nnx.Param)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state))

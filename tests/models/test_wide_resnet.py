"""Wide residual networks against NumPy, and against the counts of the paper."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import (
    CALL,
    ONE_KEY,
    assert_close,
    conv_by_hand,
    conv_norm_by_hand,
    filled,
    images,
    norm_by_hand,
    parameters,
)
from flax import nnx

from robustlabels.models import Encoder, Softmax, WideResNet, encoders


def build(rngs=ONE_KEY, **kw):
    return WideResNet((7, 6, 2), depth=10, widen=2, rngs=rngs, **kw)


def block_by_hand(x, block, stride):
    h = np.maximum(norm_by_hand(x, block["norm"]), 0)
    if "projection" in block:
        x = conv_by_hand(h, block["projection"], stride=stride)
    h = np.maximum(conv_norm_by_hand(h, block["first"], stride), 0)
    return x + conv_by_hand(h, block["second"])


def network_by_hand(x, arrays):
    named = [("stem", h := conv_by_hand(x, arrays["stem"]))]
    for i, stage in arrays["stages"]["blocks"].items():
        for j, block in stage.items():
            h = block_by_hand(h, block, 2 if i > 0 and j == 0 else 1)
            named.append((f"stage_{i + 1}_block_{j + 1}", h))
    h = np.maximum(norm_by_hand(h, arrays["norm"]), 0)
    return [*named, ("features", h), ("pooled", h.mean((1, 2)))]


def count_by_hand(depth, widen, classes):
    """Kernels of the convolutions, two numbers a channel of each norm, the head."""
    total, features = 27 * 16, 16
    for width in (16 * widen, 32 * widen, 64 * widen):
        for block in range((depth - 4) // 6):
            total += 2 * features + 9 * features * width
            total += 2 * width + 9 * width * width
            total += features * width if block == 0 and features != width else 0
            features = width
    return total + 2 * features + (features + 1) * classes


@pytest.mark.parametrize(
    ("depth", "widen", "classes", "count"),
    [
        (28, 10, 10, 36_479_194),
        (28, 10, 100, 36_536_884),
        (16, 4, 10, 2_748_890),
        (40, 2, 10, 2_243_546),
        (16, 8, 10, 10_961_370),
        (10, 1, 10, 77_850),
    ],
)
def test_parameters(depth, widen, classes, count):
    encoder = parameters(
        lambda: WideResNet((32, 32, 3), depth=depth, widen=widen, rngs=ONE_KEY)
    )
    head = parameters(lambda: Softmax(64 * widen, classes, rngs=ONE_KEY))
    assert encoder + head == count_by_hand(depth, widen, classes) == count


@pytest.mark.parametrize("size", [(32, 32), (31, 18), (1, 2)], ids=str)
def test_shapes(size):
    shape, x = (*size, 3), jnp.zeros((2, *size, 3))
    _, activations = nnx.eval_shape(
        lambda x: WideResNet(shape, depth=16, widen=2, rngs=ONE_KEY)(x), x
    )
    expected = {"stem": (2, *size, 16)}
    for stage, width in enumerate((32, 64, 128)):
        pixels = [math.ceil(side / 2**stage) for side in size]
        for block in (1, 2):
            expected[f"stage_{stage + 1}_block_{block}"] = (2, *pixels, width)
    expected["features"] = (2, *pixels, width)
    expected["pooled"] = (2, width)
    actual = [(name, value.shape) for name, value in activations.items()]
    assert actual == list(expected.items())


def test_it_matches_numpy():
    encoder, arrays = filled(build)
    assert isinstance(encoder, Encoder)
    x = images(encoder.image_shape)
    embedding, activations = CALL(encoder, jnp.asarray(x), train=False)
    expected = network_by_hand(x, arrays)
    assert embedding.shape == (2, encoder.out_features)
    np.testing.assert_array_equal(embedding, activations["pooled"])
    assert list(activations) == [key for key, _ in expected]
    for key, value in expected:
        assert_close(activations[key], value, 1e-4)


def test_training_moves_all_statistics_and_reaches_all_parameters():
    encoder, _ = filled(build)
    graphdef, params, stats = nnx.split(encoder, nnx.Param, nnx.BatchStat)
    x = jnp.asarray(images(encoder.image_shape, n=4))

    def energy(params):
        model = nnx.merge(graphdef, params, stats, copy=True)
        return (model(x, train=True)[0] ** 2).sum(), nnx.state(model, nnx.BatchStat)

    gradient, after = jax.jit(jax.grad(energy, has_aux=True))(params)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
        assert np.any(leaf)
    for old, new in zip(*map(jax.tree.leaves, (stats, after)), strict=True):
        assert (np.asarray(old) != np.asarray(new)).all()


def test_bfloat16_computes_in_bfloat16_and_learns_in_float32():
    def embed(x):
        encoder = build(dtype="bfloat16")
        return encoder(x)[1], nnx.state(encoder)

    activations, state = nnx.eval_shape(embed, jnp.zeros((1, 7, 6, 2)))
    assert all(value.dtype == jnp.bfloat16 for value in activations.values())
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 27}, r"depth=27 is not 6n \+ 4, .* take 22"),
        ({"depth": 4}, "depth=4 .* at least 10"),
        ({"widen": 0}, "widen=0 .* at least 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        WideResNet((8, 8, 3), **arguments, rngs=nnx.Rngs(0))


def test_configs_may_name_it():
    assert "WideResNet" in encoders.__all__

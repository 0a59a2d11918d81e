"""The label decoder against NumPy, against counts, and trained beside an encoder."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from by_hand import (
    CALL,
    ONE_KEY,
    assert_close,
    filled,
    images,
    norm_by_hand,
    parameters,
)
from flax import nnx
from jax.tree_util import Partial

from robustlabels import objective, training
from robustlabels.models import MLP, Head, LabelDecoder, Network, Prototypes, Softmax
from robustlabels.objective import core

RESNET_32, VGG_19 = 466_256, 20_035_392


@pytest.mark.parametrize(
    ("features", "shape", "count"),
    [
        (512, (64, 64), 142_889),
        (512, (64, 64), 20_178_281 - VGG_19),
        (512, (48, 48), 20_149_609 - VGG_19),
        (64, (64, 64), 113_321),
        (64, (64, 64), 579_577 - RESNET_32),
        (64, (48, 48), 550_905 - RESNET_32),
        (64, (50,), 64 * 50 + 50),
    ],
)
def test_parameters(features, shape, count):
    assert (
        parameters(lambda: LabelDecoder(features, shape=shape, rngs=ONE_KEY)) == count
    )


@pytest.mark.parametrize(
    "shape", [(1,), (7,), (1, 1), (16, 17), (64, 64), (3, 65), (224, 1)], ids=str
)
def test_any_shape_in_float32(shape):
    def labels(x):
        return LabelDecoder(4, shape=shape, rngs=ONE_KEY)(x)

    found = nnx.eval_shape(labels, jnp.zeros((2, 4), jnp.bfloat16))
    assert (found.shape, found.dtype) == ((2, *shape), jnp.float32)


def upsampled_by_hand(x, layer, *, stride, padding):
    kernel, (batch, height, width, _) = layer["kernel"], x.shape
    rows, columns, _, features = kernel.shape
    size = stride * (height - 1) + rows, stride * (width - 1) + columns
    y = np.zeros((batch, *size, features)) + layer["bias"]
    for i, j in np.ndindex(height, width):
        paint = np.tensordot(x[:, i, j], kernel, (1, 2))
        y[:, stride * i : stride * i + rows, stride * j : stride * j + columns] += paint
    return y[:, padding : size[0] - padding, padding : size[1] - padding]


def decoder_by_hand(x, arrays, shape, *, train=False):
    """The label, and the mean and variance that each norm saw."""
    seen, norms = [], list(arrays["norms"].values())

    def rectified(h, norm):
        axes = tuple(range(h.ndim - 1))
        seen.append((h.mean(axes), h.var(axes)))
        if train:
            norm = {**norm, "mean": seen[-1][0], "var": seen[-1][1]}
        h = norm_by_hand(h, norm)
        return np.where(h > 0, h, 0.01 * h)

    linear, layers = arrays["linear"], arrays["doublings"].values()
    h = rectified(x, norms[0]) @ linear["kernel"] + linear["bias"]
    h = upsampled_by_hand(h[:, None, None], arrays["start"], stride=1, padding=0)
    for norm, layer in zip(norms[1:], layers, strict=True):
        h = upsampled_by_hand(rectified(h, norm), layer, stride=2, padding=1)
    return h[:, : shape[0], : shape[1], 0], seen


@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
def test_a_matrix_is_drawn_as_numpy_draws_it(train):
    shape = (18, 9)
    decoder, arrays = filled(lambda: LabelDecoder(5, shape=shape, rngs=ONE_KEY))
    x = images((5,), n=6)
    expected, seen = decoder_by_hand(x, arrays, shape, train=train)
    assert_close(CALL(decoder, jnp.asarray(x), train=train), expected, 1e-4)
    kept = nnx.to_pure_dict(nnx.state(decoder, nnx.BatchStat))["norms"]
    for i, (mean, variance) in enumerate(seen):
        share = 0.1 if train else 0.0
        for name, now in (("mean", mean), ("var", variance)):
            old = arrays["norms"][i][name]
            assert_close(kept[i][name], (1 - share) * old + share * now, 1e-4)


TRANSFORMS = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "vmap": lambda f: lambda x: jax.vmap(lambda row: f(row[None])[0])(x),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_vector_is_affine(transform):
    head, arrays = filled(lambda: LabelDecoder(4, shape=(3,), rngs=ONE_KEY))
    x, linear = images((4,)), arrays["linear"]
    expected = x @ linear["kernel"] + linear["bias"]
    assert_close(transform(head)(jnp.asarray(x)), expected)


def test_it_is_a_head():
    assert isinstance(LabelDecoder(4, shape=(3,), rngs=ONE_KEY), Head)


@pytest.mark.parametrize("build", [Softmax, Prototypes])
def test_other_heads_do_the_same_while_training(build):
    head, x = build(4, 3, rngs=nnx.Rngs(0)), jnp.asarray(images((4,)))
    np.testing.assert_array_equal(head(x, train=True), head(x))


def test_kernels_start_with_the_variance_of_what_follows():
    decoder = LabelDecoder(400, shape=(48, 48), rngs=nnx.Rngs(0))
    gains = [1 / 400, 2 / 64, 2 / (64 * 4), 2 / (32 * 4), 2 / (16 * 4), 1 / (8 * 4)]
    layers = [decoder.linear, decoder.start, *decoder.doublings]
    for layer, gain in zip(layers, gains, strict=True):
        kernel = np.asarray(layer.kernel[...])
        noise = 4 * math.sqrt(2 / kernel.size)
        assert kernel.var() == pytest.approx(gain, rel=noise)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (0, 3)}, "entry of shape=0 .* at least 1"),
        ({"shape": (3, -1)}, "entry of shape=-1"),
        ({"shape": ()}, r"shape=\(\) has 0 axes; give \(size,\) for vectors"),
        ({"shape": (2, 3, 4)}, r"\(2, 3, 4\) has 3 axes"),
        ({"in_features": 0}, "in_features=0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    arguments = {"in_features": 4, **arguments}
    with pytest.raises(ValueError, match=message):
        LabelDecoder(**arguments, rngs=nnx.Rngs(0))


CODEBOOK = jnp.asarray(images((3, 2), n=3, seed=1))


def squared_error(outputs, labels, *, codebook):
    return ((outputs - codebook[labels]) ** 2).mean((1, 2))


def nearest(outputs, *, codebook):
    return -((outputs[:, None] - codebook[None]) ** 2).mean((2, 3))


def certain(outputs):
    return jnp.ones(len(outputs))


FAMILY = core.constant(
    objective.Objective(
        Partial(squared_error, codebook=CODEBOOK),
        Partial(nearest, codebook=CODEBOOK),
        Partial(certain),
    )
)


def network(seed=0):
    rngs = nnx.Rngs(seed)
    encoder, head = (
        MLP((4, 4, 1), widths=(6,), rngs=rngs),
        LabelDecoder(6, shape=(3, 2), rngs=rngs),
    )
    return Network(encoder, head, mean=(0.5,), std=(0.3,))


def test_training_steps_move_the_statistics_of_every_replica():
    optimizer, keys = optax.sgd(0.1), jax.random.split(jax.random.key(0), 2)
    replicas = [
        training.init_state(network(seed), FAMILY, optimizer, key)
        for seed, key in enumerate(keys)
    ]
    graphdef = replicas[0][0]
    state = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(s for _, s in replicas))
    step = training.make_step(graphdef, FAMILY, optimizer, num_steps=2)
    step = jax.jit(jax.vmap(step, (0, None, 0)))
    x = jnp.asarray(images((4, 4, 1), n=6))
    batch = training.Batch(x, jnp.arange(6) % 3, jnp.ones(6, bool))
    met = [jax.tree.leaves(state.statistics["head"])]
    for _ in range(2):
        state, metrics = step(state, batch, keys)
        assert np.isfinite(metrics.loss).all()
        met.append(jax.tree.leaves(state.statistics["head"]))
    assert len(met[0]) == 2 * 5  # the mean and the variance of five norms
    for before, then, now in zip(*met, strict=True):
        for old, new in ((before, then), (then, now)):
            moved = np.asarray(old) != np.asarray(new)
            assert moved.any(tuple(range(1, moved.ndim))).all()

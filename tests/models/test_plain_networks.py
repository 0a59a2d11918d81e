"""VGG and AlexNet against NumPy, and against the counts of the papers' code."""

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
    max_pool_by_hand,
    parameters,
)
from flax import nnx

from robustlabels.models import VGG, AlexNet, Encoder, Softmax, encoders


def pooled_by_hand(h, side):
    """Means over side x side cells, as PyTorch's adaptive pooling places them."""
    height, width = h.shape[1:3]
    cells = np.zeros((len(h), side, side, h.shape[-1]))
    for i, j in np.ndindex(side, side):
        rows = slice(i * height // side, -((i + 1) * -height // side))
        columns = slice(j * width // side, -((j + 1) * -width // side))
        cells[:, i, j] = h[:, rows, columns].mean((1, 2))
    return cells


def vgg_by_hand(x, arrays):
    h, named = x, []
    for i, stage in arrays["stages"].items():
        for j, block in stage.items():
            h = np.maximum(conv_norm_by_hand(h, block), 0)
            named.append((f"stage_{i + 1}_conv_{j + 1}", h))
        h = max_pool_by_hand(h, size=2, stride=2, padding=0)
    return [*named, ("pooled", h.mean((1, 2)))]


def alexnet_by_hand(x, arrays):
    layers = [arrays["stem"], *(each["linear"] for each in arrays["convs"].values())]
    h, named = x, []
    for i, layer in enumerate(layers, start=1):
        shape = {"stride": 4, "padding": 2} if i == 1 else {}
        h = np.maximum(conv_by_hand(h, layer, **shape), 0)
        named.append((f"conv_{i}", h))
        if i in (1, 2, 5):
            h = max_pool_by_hand(h, size=3, stride=2, padding=0)
    named.append(("pooled", h := pooled_by_hand(h, 6)))
    h = h.reshape(len(h), -1)
    for i, layer in arrays["dense"].items():
        h = np.maximum(h @ layer["linear"]["kernel"] + layer["linear"]["bias"], 0)
        named.append((f"dense_{i + 1}", h))
    return named


@pytest.mark.parametrize(
    ("depth", "classes", "count"),
    [
        (11, 10, 9_231_114),
        (13, 10, 9_416_010),
        (16, 10, 14_728_266),
        (19, 10, 20_040_522),
        (19, 100, 20_086_692),
    ],
)
def test_parameters_of_vgg(depth, classes, count):
    encoder = parameters(lambda: VGG((32, 32, 3), depth=depth, rngs=ONE_KEY))
    head = parameters(lambda: Softmax(512, classes, rngs=ONE_KEY))
    assert encoder + head == count


def test_parameters_of_alexnet():
    encoder = parameters(lambda: AlexNet((224, 224, 3), rngs=ONE_KEY))
    head = parameters(lambda: Softmax(4096, 1000, rngs=ONE_KEY))
    assert encoder + head == 61_100_840


@pytest.mark.parametrize("size", [(32, 32), (63, 40), (224, 224)], ids=str)
def test_shapes_of_vgg(size):
    shape, x = (*size, 3), jnp.zeros((2, *size, 3))
    _, activations = nnx.eval_shape(lambda x: VGG(shape, depth=16, rngs=ONE_KEY)(x), x)
    expected = {}
    stages = zip((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), strict=True)
    for stage, (width, number) in enumerate(stages):
        pixels = [side >> stage for side in size]
        for layer in range(number):
            expected[f"stage_{stage + 1}_conv_{layer + 1}"] = (2, *pixels, width)
    expected["pooled"] = (2, 512)
    actual = [(name, value.shape) for name, value in activations.items()]
    assert actual == list(expected.items())


@pytest.mark.parametrize(
    ("size", "last"), [((224, 224), (13, 13)), ((63, 63), (3, 3)), ((63, 300), (3, 17))]
)
def test_shapes_of_alexnet(size, last):
    shape, x = (*size, 3), jnp.zeros((2, *size, 3))
    _, activations = nnx.eval_shape(lambda x: AlexNet(shape, rngs=ONE_KEY)(x), x)
    assert activations["conv_5"].shape == (2, *last, 256)
    assert activations["pooled"].shape == (2, 6, 6, 256)
    assert activations["dense_2"].shape == (2, 4096)


@pytest.fixture
def small_dense_layers(monkeypatch):
    monkeypatch.setattr("robustlabels.models.alexnet._UNITS", 7)


NETWORKS = {
    "vgg": (lambda: VGG((65, 35, 2), depth=11, rngs=ONE_KEY), vgg_by_hand),
    "alexnet": (lambda: AlexNet((63, 95, 2), rngs=ONE_KEY), alexnet_by_hand),
}


@pytest.mark.usefixtures("small_dense_layers")
@pytest.mark.parametrize("name", NETWORKS)
def test_they_match_numpy(name):
    build, by_hand = NETWORKS[name]
    encoder, arrays = filled(build)
    assert isinstance(encoder, Encoder)
    x = images(encoder.image_shape)
    embedding, activations = CALL(encoder, jnp.asarray(x), train=False)
    expected = by_hand(x, arrays)
    assert embedding.shape == (2, encoder.out_features)
    np.testing.assert_array_equal(embedding, activations[expected[-1][0]])
    assert list(activations) == [key for key, _ in expected]
    for key, value in expected:
        assert_close(activations[key], value, 1e-4)


def test_training_moves_all_statistics_of_vgg():
    encoder, _ = filled(lambda: VGG((32, 32, 1), depth=11, rngs=ONE_KEY))
    before = jax.tree.leaves(nnx.state(encoder, nnx.BatchStat))
    CALL(encoder, jnp.asarray(images((32, 32, 1), n=4)), train=True)
    after = jax.tree.leaves(nnx.state(encoder, nnx.BatchStat))
    for old, new in zip(before, after, strict=True):
        assert np.isfinite(new).all()
        assert (np.asarray(old) != np.asarray(new)).all()


@pytest.mark.usefixtures("small_dense_layers")
@pytest.mark.parametrize("build", [VGG, AlexNet])
def test_bfloat16_computes_in_bfloat16_and_learns_in_float32(build):
    def embed(x):
        encoder = build((64, 64, 3), dtype="bfloat16", rngs=ONE_KEY)
        return encoder(x)[1], nnx.state(encoder)

    activations, state = nnx.eval_shape(embed, jnp.zeros((1, 64, 64, 3)))
    assert all(value.dtype == jnp.bfloat16 for value in activations.values())
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda r: VGG((32, 32, 3), depth=18, rngs=r), "one of 11, 13, 16, 19"),
        (
            lambda r: VGG((32, 28, 1), rngs=r),
            r"image_shape=\(32, 28, 1\) .* at least 32 x 32 pixels; enlarge",
        ),
        (
            lambda r: AlexNet((62, 224, 3), rngs=r),
            r"image_shape=\(62, 224, 3\) .* at least 63 x 63: enlarge",
        ),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build(nnx.Rngs(0))


def test_configs_may_name_them():
    assert {"AlexNet", "VGG"} <= set(encoders.__all__)

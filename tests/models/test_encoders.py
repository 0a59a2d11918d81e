import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from robustlabels.models import CNN, MLP, Encoder, LinearMap

SHAPE = (6, 5, 2)
ENCODERS = {
    "mlp": lambda rngs, **kw: MLP(SHAPE, widths=(7, 4), rngs=rngs, **kw),
    "cnn": lambda rngs, **kw: CNN(SHAPE, widths=(3, 4), features=4, rngs=rngs, **kw),
    "linear": lambda rngs, **kw: LinearMap(SHAPE, features=4, rngs=rngs, **kw),
}


def images(shape=SHAPE, n=3, seed=0):
    return np.random.default_rng(seed).uniform(size=(n, *shape)).astype(np.float32)


def size(module):
    return sum(x.size for x in jax.tree.leaves(nnx.state(module, nnx.Param)))


@pytest.mark.parametrize("name", ENCODERS)
def test_contract_of_every_encoder(name):
    encoder = ENCODERS[name](nnx.Rngs(0))
    assert isinstance(encoder, Encoder)
    embedding, activations = encoder(jnp.asarray(images()))
    assert embedding.shape == (3, encoder.out_features)
    assert embedding.dtype == jnp.float32
    assert encoder.image_shape == SHAPE
    np.testing.assert_array_equal(list(activations.values())[-1], embedding)


@pytest.mark.parametrize("name", ENCODERS)
def test_bfloat16_computes_in_bfloat16_and_learns_in_float32(name):
    encoder = ENCODERS[name](nnx.Rngs(0), dtype="bfloat16")
    exact = ENCODERS[name](nnx.Rngs(0))
    embedding, _ = encoder(jnp.asarray(images()))
    assert embedding.dtype == jnp.bfloat16
    leaves = jax.tree.leaves(nnx.state(encoder, nnx.Param))
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    expected, _ = exact(jnp.asarray(images()))
    scale = float(jnp.abs(expected).max())
    np.testing.assert_allclose(
        np.asarray(embedding, np.float32), expected, atol=0.03 * scale
    )


def test_mlp_matches_numpy():
    encoder = MLP(SHAPE, widths=(7, 5, 4), activation="tanh", rngs=nnx.Rngs(0))
    x = images()
    _, activations = encoder(jnp.asarray(x))
    expected = x.reshape(3, -1)
    assert list(activations) == ["dense_1", "dense_2", "dense_3"]
    for block, actual in zip(encoder.dense, activations.values(), strict=True):
        kernel, bias = (
            np.asarray(p[...]) for p in (block.linear.kernel, block.linear.bias)
        )
        expected = np.tanh(expected @ kernel + bias)
        np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_mlp_parameter_count(norm):
    encoder = MLP((28, 28, 1), norm=norm, rngs=nnx.Rngs(0))
    weights = 784 * 1200 + 1200 * 1200 + 1200 * 200
    per_unit = 1 if norm == "none" else 2  # a bias; or scale and bias of the norm
    assert size(encoder) == weights + per_unit * (1200 + 1200 + 200)
    assert encoder.out_features == 200


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (13, 9, 3)], ids=str)
def test_cnn_parameter_count_and_shapes(shape, norm):
    encoder = CNN(
        shape, widths=(4, 6), features=5, kernel_size=5, norm=norm, rngs=nnx.Rngs(0)
    )
    height, width, channels = shape
    pooled = (height // 2 // 2) * (width // 2 // 2) * 6
    weights = 25 * channels * 4 + 25 * 4 * 6 + pooled * 5
    assert size(encoder) == weights + (1 if norm == "none" else 2) * (4 + 6 + 5)
    _, activations = encoder(jnp.asarray(images(shape)))
    assert {k: v.shape[1:] for k, v in activations.items()} == {
        "conv_1": (height, width, 4),
        "conv_2": (height // 2, width // 2, 6),
        "dense_1": (5,),
    }


def test_cnn_matches_loops():
    encoder = CNN((4, 5, 2), widths=(3,), features=2, rngs=nnx.Rngs(1))
    x = images((4, 5, 2), n=2)
    kernel = np.asarray(encoder.convs[0].linear.kernel[...])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    hidden = np.zeros((2, 4, 5, 3))
    for n, i, j, o in np.ndindex(hidden.shape):
        window = padded[n, i : i + 3, j : j + 3]
        hidden[n, i, j, o] = max(0.0, (window * kernel[..., o]).sum())
    pooled = hidden[:, :4, :4].reshape(2, 2, 2, 2, 2, 3).max(axis=(2, 4))
    dense = np.asarray(encoder.dense.linear.kernel[...])
    expected = np.maximum(pooled.reshape(2, -1) @ dense, 0)
    np.testing.assert_allclose(encoder(jnp.asarray(x))[0], expected, atol=1e-5)


def test_cnn_takes_images_of_224_pixels():
    shape, widths = (224, 224, 3), (4, 4, 4, 4, 4)
    encoder, embedding = nnx.eval_shape(
        lambda: (
            encoder := CNN(shape, widths=widths, features=8, rngs=nnx.Rngs(0)),
            encoder(jnp.asarray(images(shape, n=1)))[0],
        )
    )
    assert embedding.shape == (1, 8)
    assert encoder.dense.linear.kernel.shape == (7 * 7 * 4, 8)


def test_linear_map_starts_as_the_identity():
    x = images()
    embedding, activations = LinearMap(SHAPE, rngs=nnx.Rngs(0))(jnp.asarray(x))
    np.testing.assert_array_equal(embedding, x.reshape(3, -1))
    assert list(activations) == ["omega"]


def test_linear_map_with_fewer_features_is_an_orthonormal_projection():
    encoder = LinearMap(SHAPE, features=7, use_bias=True, rngs=nnx.Rngs(0))
    omega = np.asarray(encoder.omega.kernel[...])
    assert omega.shape == (math.prod(SHAPE), 7)
    np.testing.assert_allclose(omega.T @ omega, np.eye(7), atol=1e-5)
    x = images()
    np.testing.assert_allclose(
        encoder(jnp.asarray(x))[0], x.reshape(3, -1) @ omega, atol=1e-5
    )
    assert size(encoder) == omega.size + 7


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda r: MLP(SHAPE, widths=(), rngs=r), "number of widths=0"),
        (lambda r: MLP(SHAPE, widths=(3, 0), rngs=r), "out_features=0"),
        (lambda r: MLP(SHAPE, norm="group", rngs=r), "'none', 'batch'"),
        (
            lambda r: CNN(SHAPE, widths=(2, 2, 2), rngs=r),
            r"halves the image 3 times, but 6 x 5 pixels allow 2",
        ),
        (lambda r: CNN(SHAPE, kernel_size=0, rngs=r), "kernel_size=0"),
        (lambda r: LinearMap(SHAPE, features=61, rngs=r), "An image has 60 pixels"),
        (lambda r: LinearMap(SHAPE, features=0, rngs=r), "features=0"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build(nnx.Rngs(0))

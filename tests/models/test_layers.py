import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx

from robustlabels.models import (
    ACTIVATIONS,
    Block,
    Constant,
    Normalize,
    activation,
    kernel_init,
    max_pool,
)

X = np.linspace(-3, 3, 13, dtype=np.float32)

BY_HAND = {
    "relu": np.maximum(X, 0),
    "leaky_relu": np.where(X > 0, X, 0.01 * X),
    "elu": np.where(X > 0, X, np.expm1(X)),
    "gelu": X * scipy.special.ndtr(X),
    "silu": X * scipy.special.expit(X),
    "softplus": np.log1p(np.exp(X)),
    "tanh": np.tanh(X),
    "sigmoid": scipy.special.expit(X),
    "identity": X,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_matches_its_definition(name):
    tolerance = 1e-3 if name == "gelu" else 1e-6  # the tanh form of the normal cdf
    actual = activation(name)(jnp.asarray(X))
    np.testing.assert_allclose(actual, BY_HAND[name], atol=tolerance)


def test_unknown_names_list_the_choices():
    with pytest.raises(ValueError, match=r"activation='rleu' .* 'relu', 'leaky_relu'"):
        activation("rleu")
    with pytest.raises(ValueError, match=r"norm='layer' .* 'none', 'batch'"):
        Block(2, 2, norm="layer", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="choose one of 'relu'"):
        Block(2, 2, activation="step", rngs=nnx.Rngs(0))


@pytest.mark.parametrize(("name", "gain"), [("relu", 2), ("silu", 2), ("tanh", 1)])
def test_kernels_start_with_the_variance_of_their_activation(name, gain):
    kernel = kernel_init(name)(jax.random.key(0), (400, 300), jnp.float32)
    assert np.var(kernel) * 400 == pytest.approx(gain, rel=0.03)


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (2, 3)], ids=str)
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_max_pool_matches_loops(size, transform):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    expected = np.zeros((2, size[0] // 2, size[1] // 2, 3), np.float32)
    for n, i, j, c in np.ndindex(expected.shape):
        expected[n, i, j, c] = x[n, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c].max()
    np.testing.assert_array_equal(transform(max_pool)(jnp.asarray(x)), expected)


def test_max_pool_passes_the_gradient_to_the_first_of_the_largest():
    x = jnp.array([[1.0, 3.0, 2.0, 2.0], [0.0, 2.0, 0.0, 1.0]]).reshape(1, 2, 4, 1)
    gradient = jax.grad(lambda x: max_pool(x).sum())(x)
    np.testing.assert_array_equal(gradient.reshape(2, 4), [[0, 1, 1, 0], [0, 0, 0, 0]])


def test_normalize_matches_numpy_and_is_not_trained():
    x = np.random.default_rng(0).uniform(size=(2, 3, 4, 3)).astype(np.float32)
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    layer = Normalize(mean, std)
    np.testing.assert_allclose(
        layer(jnp.asarray(x)), (x - np.array(mean)) / np.array(std), atol=1e-6
    )
    assert not nnx.to_flat_state(nnx.state(layer, nnx.Param))
    assert len(nnx.to_flat_state(nnx.state(layer, Constant))) == 2


def test_normalize_refuses_what_is_no_scale():
    with pytest.raises(ValueError, match=r"an entry of std=0.0 .* standard deviation"):
        Normalize((0.0, 0.0), (1.0, 0.0))
    with pytest.raises(ValueError, match="mean has 1 entries and std has 3"):
        Normalize((0.0,), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("use_bias", [None, False, True])
def test_a_block_has_a_bias_where_no_norm_has_one_or_where_it_is_told(norm, use_bias):
    block = Block(3, 2, norm=norm, use_bias=use_bias, rngs=nnx.Rngs(0))
    expected = norm == "none" if use_bias is None else use_bias
    assert (block.linear.bias is not None) == expected


@pytest.mark.parametrize("kernel_size", [None, 1])
def test_block_normalises_by_the_batch_and_keeps_running_averages(kernel_size):
    block = Block(3, 2, kernel_size=kernel_size, norm="batch", rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    mean, variance = np.zeros(2), np.ones(2)
    for _ in range(3):
        x = rng.normal(1.0, 2.0, size=(8, 5, 4, 3)).astype(np.float32)
        kernel = np.asarray(block.linear.kernel[...]).reshape(3, 2)
        linear = x @ kernel
        batch_mean, batch_variance = linear.mean((0, 1, 2)), linear.var((0, 1, 2))
        expected = (linear - batch_mean) / np.sqrt(batch_variance + 1e-5)
        actual = block(jnp.asarray(x), train=True)
        np.testing.assert_allclose(actual, np.maximum(expected, 0), atol=1e-4)
        mean = 0.9 * mean + 0.1 * batch_mean
        variance = 0.9 * variance + 0.1 * batch_variance
    np.testing.assert_allclose(block.norm.mean[...], mean, rtol=1e-4)
    np.testing.assert_allclose(block.norm.var[...], variance, rtol=1e-4)
    expected = np.maximum((linear - mean) / np.sqrt(variance + 1e-5), 0)
    np.testing.assert_allclose(block(jnp.asarray(x)), expected, atol=1e-4)
    np.testing.assert_allclose(block.norm.mean[...], mean, rtol=1e-4)

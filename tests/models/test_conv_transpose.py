"""The transposed convolution against its definition and against that of `lax`."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import assert_close
from flax import nnx

from robustlabels.models import ConvTranspose, conv_transpose

CASES = [  # height, width, rows, columns, stride, padding
    (4, 5, 4, 4, 2, 1),
    (1, 1, 3, 4, 1, 0),
    (1, 1, 3, 4, (3, 4), 0),
    (3, 2, 4, 6, (1, 2), 1),
    (3, 4, 6, 3, 3, 1),
    (2, 3, 2, 2, 2, 0),
    (5, 4, 1, 1, 1, 0),
]


def by_hand(x, kernel, stride, padding):
    """Each pixel paints a kernel."""
    down, right = (stride, stride) if isinstance(stride, int) else stride
    batch, height, width, _ = x.shape
    rows, columns, _, features = kernel.shape
    size = down * (height - 1) + rows, right * (width - 1) + columns
    y = np.zeros((batch, *size, features))
    for n, i, j in np.ndindex(batch, height, width):
        paint = np.tensordot(x[n, i, j], kernel, (0, 2))
        y[n, down * i : down * i + rows, right * j : right * j + columns] += paint
    return y[:, padding : size[0] - padding, padding : size[1] - padding]


def plain(x, kernel, stride, padding):
    sides = [(size - 1 - padding,) * 2 for size in kernel.shape[:2]]
    strides = (stride, stride) if isinstance(stride, int) else stride
    layout = ("NHWC", "HWIO", "NHWC")
    flipped = kernel[::-1, ::-1]
    return jax.lax.conv_transpose(x, flipped, strides, sides, dimension_numbers=layout)


def ours(x, kernel, stride, padding):
    return conv_transpose(x, kernel, stride=stride, padding=padding)


def arrays(height, width, rows, columns):
    rng = np.random.default_rng(0)
    shapes = (3, height, width, 2), (rows, columns, 2, 4)
    return tuple(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes)


def value_and_gradients(upsample, stride, padding):
    def both(x, kernel):
        y, back = jax.vjp(lambda *a: upsample(*a, stride, padding), x, kernel)
        weights = jnp.sin(jnp.arange(y.size)).reshape(y.shape)
        return y, back(weights)

    return both


def assert_all_close(actual, expected):
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    jax.tree.map(assert_close, actual, expected)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_the_definition_and_that_of_lax(case):
    *sizes, stride, padding = case
    x, kernel = arrays(*sizes)
    actual = jax.jit(value_and_gradients(ours, stride, padding))(x, kernel)
    expected = by_hand(np.asarray(x), np.asarray(kernel), stride, padding)
    assert_close(actual[0], expected)
    assert_all_close(
        actual, jax.jit(value_and_gradients(plain, stride, padding))(x, kernel)
    )


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)], ids=str)
def test_vmap(axes):
    x, kernel = (jnp.stack([a, a + 1, a**2]) for a in arrays(3, 2, 4, 4))
    inputs = [
        a if axis == 0 else a[0] for a, axis in zip((x, kernel), axes, strict=True)
    ]
    mapped = jax.jit(jax.vmap(value_and_gradients(ours, 2, 1), axes))(*inputs)
    one = jax.jit(value_and_gradients(plain, 2, 1))
    for i in range(3):
        rows = [a[i] if axis == 0 else a for a, axis in zip(inputs, axes, strict=True)]
        assert_all_close(jax.tree.map(lambda leaf, i=i: leaf[i], mapped), one(*rows))


def test_inside_of_a_scan():
    x, kernel = arrays(3, 2, 4, 4)

    def descend(upsample):
        def step(kernel, _):
            gradient = jax.grad(lambda k: (upsample(x, k, 2, 1) ** 2).mean())
            return kernel - 0.1 * gradient(kernel), None

        return jax.jit(lambda k: jax.lax.scan(step, k, None, length=4)[0])

    assert_close(descend(ours)(kernel), descend(plain)(kernel))


def test_gradients_hold_no_convolution():
    """What keeps them fast in loops on a CPU."""
    x, kernel = arrays(4, 4, 4, 4)

    def energy(x, kernel):
        return (conv_transpose(x, kernel, stride=2, padding=1) ** 2).sum()

    traced = str(jax.make_jaxpr(jax.grad(energy, (0, 1)))(x, kernel))
    assert "conv_general_dilated" not in traced
    assert "dot_general" in traced


def test_layer_is_a_transposed_convolution_plus_bias():
    layer = ConvTranspose(2, 3, kernel_size=(4, 2), stride=(2, 1), rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.arange(3.0)
    x, _ = arrays(3, 2, 1, 1)
    expected = by_hand(np.asarray(x), np.asarray(layer.kernel[...]), (2, 1), 0)
    assert_close(layer(x), expected + np.arange(3))
    assert set(nnx.to_pure_dict(nnx.state(layer))) == {"kernel", "bias"}


def test_the_variance_of_outputs_is_that_of_a_convolution():
    layer = ConvTranspose(64, 64, kernel_size=4, stride=2, padding=1, rngs=nnx.Rngs(0))
    assert np.var(layer.kernel[...]) == pytest.approx(2 / (4 * 64), rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 0}, "stride=0 is not a whole number of at least 1"),
        ({"stride": (1, 0)}, "stride=0"),
        ({"stride": 3}, "4 pixels is no multiple of stride=3; take 6 pixels"),
        ({"padding": 2}, r"padding=2 is outside \[0, 1\]. Each pixel keeps"),
        ({"padding": -1}, "padding=-1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    x, kernel = arrays(2, 2, 4, 4)
    with pytest.raises(ValueError, match=message):
        conv_transpose(x, kernel, **arguments)
    with pytest.raises(ValueError, match=message):
        ConvTranspose(1, 1, kernel_size=4, **arguments, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="kernel_size=0"):
        ConvTranspose(1, 1, kernel_size=0, rngs=nnx.Rngs(0))

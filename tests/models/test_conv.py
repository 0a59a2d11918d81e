"""`conv` against autodiff of the plain convolution, and against loops."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.models import Conv, conv


def plain(x, kernel, stride, padding):
    strides = (stride, stride) if isinstance(stride, int) else stride
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=layout
    )


def ours(x, kernel, stride, padding):
    return conv(x, kernel, stride=stride, padding=padding)


def derivatives(convolve, stride, padding):
    """Value, both gradients and the directional derivative, of one jitted function."""

    def all_of_them(x, kernel, dx, dkernel):
        def value(x, kernel):
            return convolve(x, kernel, stride, padding)

        y, back = jax.vjp(value, x, kernel)
        weights = jnp.sin(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype)
        _, forward = jax.jvp(value, (x, kernel), (dx, dkernel))
        return y, back(weights), forward

    return all_of_them


def arrays(shape, kernel_shape, dtype=jnp.float32, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (shape, kernel_shape, shape, kernel_shape)
    return tuple(jnp.asarray(rng.normal(size=s), dtype) for s in shapes)


def assert_same(actual, expected, tolerance):
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


PAIRS = ((2, 1), (0, 3))
CASES = [  # height, width, rows, columns, stride, padding
    (8, 8, 3, 3, 1, "SAME"),
    (9, 8, 3, 3, 2, "SAME"),
    (8, 7, 1, 1, 2, "VALID"),
    (9, 9, 1, 1, 1, "SAME"),
    (7, 8, 2, 2, 1, "SAME"),
    (8, 8, 2, 2, 2, "VALID"),
    (8, 9, 5, 5, 2, "SAME"),
    (9, 8, 5, 5, 1, "VALID"),
    (16, 15, 7, 7, 2, "SAME"),
    (8, 8, 7, 7, 1, "SAME"),
    (8, 9, 3, 5, (1, 2), "SAME"),
    (9, 10, 2, 3, (2, 1), "VALID"),
    (8, 8, 3, 3, 2, PAIRS),
    (6, 7, 1, 2, (1, 2), PAIRS),
    (4, 4, 7, 7, 2, "SAME"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_conv_equals_the_plain_one_in_value_and_derivatives(case):
    height, width, rows, columns, stride, padding = case
    inputs = arrays((3, height, width, 2), (rows, columns, 2, 4))
    actual = jax.jit(derivatives(ours, stride, padding))(*inputs)
    expected = jax.jit(derivatives(plain, stride, padding))(*inputs)
    assert_same(actual, expected, 1e-6)


@settings(deadline=None, max_examples=8, derandomize=True)
@given(
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    window=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["SAME", "VALID", ((0, 0), (1, 2)), ((3, 0), (4, 4))]),
)
def test_conv_equals_the_plain_one_for_any_shape(size, window, stride, padding):
    inputs = arrays((2, *size, 1), (*window, 1, 2))
    actual = jax.jit(derivatives(ours, stride, padding))(*inputs)
    expected = jax.jit(derivatives(plain, stride, padding))(*inputs)
    assert_same(actual, expected, 1e-6)


def test_bfloat16_keeps_its_dtype_and_its_accuracy():
    inputs = arrays((3, 9, 8, 4), (3, 3, 4, 5), jnp.bfloat16)
    actual = jax.jit(derivatives(ours, 2, "SAME"))(*inputs)
    expected = jax.jit(derivatives(plain, 2, "SAME"))(*inputs)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(actual))
    assert_same(actual, expected, 2e-2)


@pytest.mark.parametrize(
    "axes", [(0, None, 0, None), (None, 0, None, 0), (0, 0, 0, 0)], ids=str
)
def test_conv_under_vmap(axes):
    x, kernel, dx, dkernel = arrays((3, 2, 7, 8, 2), (3, 3, 3, 2, 4))
    inputs = tuple(
        a if axis == 0 else a[0]
        for a, axis in zip((x, kernel, dx, dkernel), axes, strict=True)
    )
    actual = jax.jit(jax.vmap(derivatives(ours, 2, "SAME"), axes))(*inputs)
    expected = jax.jit(jax.vmap(derivatives(plain, 2, "SAME"), axes))(*inputs)
    assert_same(actual, expected, 1e-6)


def test_conv_inside_of_a_scan():
    x, kernel, _, _ = arrays((3, 8, 8, 2), (3, 3, 2, 2))

    def descend(convolve):
        def step(kernel, _):
            gradient = jax.grad(lambda k: (convolve(x, k, 2, "SAME") ** 2).mean())
            return kernel - 0.1 * gradient(kernel), None

        return jax.jit(lambda k: jax.lax.scan(step, k, None, length=4)[0])

    assert_same(descend(ours)(kernel), descend(plain)(kernel), 1e-5)


def test_second_derivatives():
    x, kernel, dx, _ = arrays((2, 5, 6, 1), (3, 3, 1, 2))

    def penalty(convolve):
        def energy(x, kernel):
            return (convolve(x, kernel, 2, "SAME") ** 3).sum()

        return jax.grad(lambda k: (jax.grad(energy)(x, k) * dx).sum())

    actual, expected = jax.jit(penalty(ours))(kernel), jax.jit(penalty(plain))(kernel)
    assert_same(actual, expected, 1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_hold_plain_convolutions_only(stride):
    """What keeps them fast in loops on a CPU; three: the value and two gradients."""
    x, kernel, _, _ = arrays((2, 8, 8, 3), (3, 3, 3, 4))
    plain_layout = "lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2)"

    def layouts(convolve, argnums):
        def energy(x, kernel):
            return (convolve(x, kernel, stride, "SAME") ** 2).sum()

        traced = jax.make_jaxpr(jax.grad(energy, argnums))(x, kernel)
        return re.findall(r"ConvDimensionNumbers\((.*)\)", str(traced))

    assert layouts(ours, (0, 1)) == [plain_layout] * 3
    assert layouts(ours, 0) == [plain_layout] * 2
    assert layouts(ours, 1) == [plain_layout] * 2
    assert len(layouts(plain, (0, 1))) == 3
    assert layouts(plain, (0, 1)).count(plain_layout) == 1


def test_conv_equals_loops():
    x, kernel, _, _ = map(np.asarray, arrays((2, 5, 4, 2), (3, 2, 2, 3)))
    padded = np.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))
    expected = np.zeros((2, 2, 4, 3))
    for n, i, j, o in np.ndindex(expected.shape):
        window = padded[n, 2 * i : 2 * i + 3, j : j + 2]
        expected[n, i, j, o] = (window * kernel[..., o]).sum()
    actual = conv(
        jnp.asarray(x), jnp.asarray(kernel), stride=(2, 1), padding=((1, 0), (0, 1))
    )
    assert_same(actual, expected.astype(np.float32), 1e-6)


def test_layer_is_a_convolution_plus_bias():
    layer = Conv(2, 3, kernel_size=(3, 2), stride=(2, 1), rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.arange(3.0)
    x = arrays((2, 6, 6, 2), (1, 1, 1, 1))[0]
    expected = np.asarray(plain(x, layer.kernel[...], (2, 1), "SAME")) + np.arange(3)
    assert_same(layer(x), expected.astype(np.float32), 1e-6)
    assert set(nnx.to_pure_dict(nnx.state(layer))) == {"kernel", "bias"}


def test_layer_without_bias_computes_in_its_dtype():
    layer = Conv(
        2, 3, kernel_size=3, use_bias=False, dtype="bfloat16", rngs=nnx.Rngs(0)
    )
    assert layer(jnp.ones((1, 4, 4, 2))).dtype == jnp.bfloat16
    assert layer.kernel.dtype == jnp.float32
    assert set(nnx.to_pure_dict(nnx.state(layer))) == {"kernel"}


def test_kernels_start_with_he_variance():
    layer = Conv(64, 64, kernel_size=3, rngs=nnx.Rngs(0))
    assert np.var(layer.kernel[...]) == pytest.approx(2 / (9 * 64), rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 0}, "stride=0 is not a whole number of at least 1"),
        ({"stride": (1, 0)}, "stride=0 is not a whole number of at least 1"),
        ({"padding": "CIRCULAR"}, "choose one of 'SAME', 'VALID'"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    x, kernel, _, _ = arrays((1, 4, 4, 1), (3, 3, 1, 1))
    with pytest.raises(ValueError, match=message):
        conv(x, kernel, **arguments)
    with pytest.raises(ValueError, match="kernel_size=0"):
        Conv(1, 1, kernel_size=0, rngs=nnx.Rngs(0))

"""Projection, steepest ascent and sampling against what defines them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from robustlabels.attacks import geometry

NORMS = {
    "linf": lambda x: np.max(abs(x), axis=-1),
    "l2": lambda x: np.sqrt(np.sum(np.asarray(x, np.float64) ** 2, axis=-1)),
}
PROJECT = {name: jax.jit(geometry.NORMS[name].project) for name in NORMS}
ASCEND = {name: jax.jit(geometry.NORMS[name].ascent) for name in NORMS}
SIZE = st.one_of(st.just(0.0), st.floats(2**-20, 2, width=32))


@pytest.mark.parametrize("norm", NORMS)
@settings(deadline=None, max_examples=40, derandomize=True)
@given(seed=st.integers(0, 2**31 - 1), epsilon=SIZE, spread=st.floats(1e-3, 1e3))
def test_the_projection_is_the_nearest_point_of_the_ball(norm, seed, epsilon, spread):
    rng = np.random.default_rng(seed)
    delta = (spread * rng.normal(size=(4, 5))).astype(np.float32)
    projected = np.asarray(PROJECT[norm](delta, np.full((4, 1), epsilon, np.float32)))
    assert np.all(NORMS[norm](projected) <= epsilon * (1 + 1e-6))
    others = rng.normal(size=(200, 4, 5))
    others *= epsilon * rng.uniform(size=(200, 4, 1)) / NORMS[norm](others)[..., None]
    nearest = NORMS["l2"](projected - delta)
    assert np.all(nearest <= NORMS["l2"](others - delta) * (1 + 1e-5) + 1e-6)
    inside = NORMS[norm](delta) < epsilon
    np.testing.assert_allclose(projected[inside], delta[inside], rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@settings(deadline=None, max_examples=40, derandomize=True)
@given(seed=st.integers(0, 2**31 - 1), per_entry=st.booleans())
def test_no_step_of_the_same_size_ascends_more(norm, seed, per_entry):
    rng = np.random.default_rng(seed)
    gradient = rng.normal(size=(4, 5)).astype(np.float32)
    size = rng.uniform(0.1, 2, (4, 5 if per_entry else 1)).astype(np.float32)
    size = np.broadcast_to(size, (4, 5))
    step = np.asarray(ASCEND[norm](gradient, size))
    np.testing.assert_allclose(NORMS[norm](step / size), 1, rtol=1e-5)
    others = rng.normal(size=(200, 4, 5))
    others *= size / NORMS[norm](others)[..., None]
    gain = np.sum(gradient * others, -1)
    assert np.all(gain <= np.sum(gradient * step, -1) + 1e-5)


def test_a_radius_per_entry_is_an_ellipsoid():
    epsilon = np.array([[0.0, 0.5, 2.0]], np.float32)
    delta = np.array([[3.0, 3.0, 4.0], [1.0, 0.1, 0.2]], np.float32)
    projected = np.asarray(PROJECT["l2"](delta, epsilon))
    length = np.hypot(3.0 / 0.5, 4.0 / 2.0)
    expected = [[0, 3 / length, 4 / length], [0, 0.1, 0.2]]
    np.testing.assert_allclose(projected, expected, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1.0, 1e25, 1e37])
def test_lengths_neither_overflow_nor_vanish(scale):
    gradient = jnp.array([[3.0, 4.0], [0.0, 0.0]]) * scale
    step = ASCEND["l2"](gradient, jnp.full((2, 1), 0.01))
    np.testing.assert_allclose(step, [[0.006, 0.008], [0, 0]], rtol=1e-5)


@pytest.mark.parametrize(("wrong", "threshold"), [(1.0, None), (0.95, 1e-6)])
def test_samples_are_uniform_in_the_ball(wrong, threshold):
    """Kolmogorov-Smirnov; the wrong scale has to be noticed."""
    x = jnp.zeros((4000, 2, 3))
    box = wrong * np.asarray(geometry.random_in_ball(jax.random.key(0), x, "linf"))
    ball = wrong * np.asarray(geometry.random_in_ball(jax.random.key(1), x, "l2"))
    ball = ball.reshape(4000, 6)
    radius = NORMS["l2"](ball)
    direction = ball / radius[:, None]
    p_values = [
        scipy.stats.kstest(box.reshape(-1), scipy.stats.uniform(-1, 2).cdf).pvalue,
        scipy.stats.kstest(radius, lambda r: np.clip(r, 0, 1) ** 6).pvalue,
    ]
    if threshold is not None:
        assert max(p_values) < threshold
        return
    assert min(p_values) > 1e-3
    # A coordinate of a uniform direction in 6 dimensions: (1 + u) / 2 ~ Beta(5/2, 5/2).
    marginal = scipy.stats.beta(2.5, 2.5, loc=-1, scale=2).cdf
    for coordinate in direction.T:
        assert scipy.stats.kstest(coordinate, marginal).pvalue > 1e-3
    correlation = np.corrcoef(np.c_[direction, radius, box.reshape(4000, 6)].T)
    assert abs(correlation - np.eye(13)).max() < 5 / np.sqrt(4000)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_half_the_radius_holds_a_share_of_two_to_minus_the_dimension(dimensions):
    n = 20000
    x = jnp.zeros((n, dimensions))
    radius = NORMS["l2"](geometry.random_in_ball(jax.random.key(2), x, "l2"))
    share = 2.0**-dimensions
    tolerance = 4 * np.sqrt(share * (1 - share) / n)
    assert abs(np.mean(radius <= 0.5) - share) < tolerance


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), (5, 1, 1, 1)),
        ((5,), (5, 1, 1, 1)),
        ((1,), (5, 1, 1, 1)),
        ((3,), (5, 1, 1, 3)),
        ((4, 1), (5, 1, 4, 1)),
        ((2, 4, 3), (5, 2, 4, 3)),
        ((5, 1, 1, 1), (5, 1, 1, 1)),
        ((1, 2, 1, 1), (5, 2, 1, 1)),
    ],
)
def test_sizes_get_the_batch_in_front_and_broadcast(shape, expected):
    size = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    x = jnp.zeros((5, 2, 4, 3))
    result = geometry.per_image(size, x, name="epsilon")
    assert result.shape == expected
    wanted = size.reshape(5, 1, 1, 1) if shape == (5,) else size
    np.testing.assert_array_equal(
        np.broadcast_to(result, x.shape), np.broadcast_to(wanted, x.shape)
    )


def test_sizes_take_the_type_of_the_images():
    x = jnp.zeros((2, 2, 2, 1), jnp.bfloat16)
    assert geometry.per_image(0.1, x, name="epsilon").dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "shape", [(4,), (2,), (5, 1), (5, 3), (5, 2, 4, 3, 1), (2, 1, 1, 1)]
)
def test_sizes_that_fit_nothing_are_refused(shape):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        geometry.per_image(np.zeros(shape), jnp.zeros((5, 2, 4, 3)), name="radius")
    assert str(error.value).startswith(
        f"radius of shape {shape} fits neither 5 examples nor images of shape (2, 4, 3)"
    )


def test_a_size_for_as_many_examples_as_channels_is_refused():
    with pytest.raises(ValueError, match=r"could be one an example or one a channel"):
        geometry.per_image(np.zeros(3), jnp.zeros((3, 2, 2, 3)), name="epsilon")
    single = geometry.per_image(np.zeros(1), jnp.zeros((1, 2, 2, 1)), name="epsilon")
    assert single.shape == (1, 1, 1, 1)


def test_one_key_is_folded_with_the_index():
    key = jax.random.key(3)
    keys = geometry.per_example_keys(key, 4)
    for i in range(4):
        assert keys[i] == jax.random.fold_in(key, i)
    assert jnp.all(geometry.per_example_keys(keys, 4) == keys)


def test_wrong_keys_are_refused():
    keys = jax.random.split(jax.random.key(0), 3)
    with pytest.raises(ValueError, match=r"key of shape \(3,\): .* each of the 4 ex"):
        geometry.per_example_keys(keys, 4)
    old = jax.random.PRNGKey(0)
    with pytest.raises(TypeCheckError, match="parameter 'key'"):
        geometry.per_example_keys(old, 2)
    with pytest.raises(ValueError, match=r"uint32 is no typed key: .*jax\.random\.key"):
        geometry.per_example_keys.__wrapped__(old, 2)


def test_images_within_rounding_of_the_bounds_pass():
    geometry.check_images(jnp.array([[-5e-7, 1 + 5e-7]]), (0.0, 1.0))
    geometry.check_images(jnp.array([[-1e30, 1e30]]), (-np.inf, np.inf))
    geometry.check_images(jnp.zeros((0, 3)), (0.0, 1.0))


@pytest.mark.parametrize("pixel", [-2e-6, 1 + 2e-6, np.nan, np.inf])
def test_images_outside_of_the_bounds_are_refused(pixel):
    with pytest.raises(
        ValueError, match=r"a pixel of x=.* is outside \[0, 1\]\. Divid"
    ):
        geometry.check_images(jnp.array([[0.5, pixel]]), (0.0, 1.0))


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_traced_images_pass_and_concrete_ones_are_checked(transform):
    def check(x):
        geometry.check_images(jnp.atleast_2d(x), (0.0, 1.0))
        return x

    constant = jnp.array([[255.0]])

    def check_constant(x):
        geometry.check_images(constant, (0.0, 1.0))
        return x

    x = jnp.array([255.0]) if transform is jax.vmap else 255.0
    transform(check)(x)
    with pytest.raises(ValueError, match=r"a pixel of x=255\.0 is outside"):
        transform(check_constant)(x)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.5, 0.5), (np.nan, 1.0)])
def test_bounds_out_of_order_are_refused(bounds):
    for check in [
        lambda: geometry.check_bounds(bounds),
        lambda: geometry.check_images(jnp.full((1, 1), 0.5), bounds),
        lambda: geometry.check_epsilon(0.1, bounds, "linf"),
        lambda: geometry.check_epsilon(0.1, bounds, "l2"),
    ]:
        with pytest.raises(ValueError, match=r"bounds=\(.*\) must be \(low, high\)"):
            check()


def test_an_epsilon_may_be_as_wide_as_the_bounds():
    geometry.check_epsilon(255.0, (0.0, 255.0), "linf")
    geometry.check_epsilon(2.0, (-1.0, 1.0), "linf")
    geometry.check_epsilon(1e6, (-np.inf, np.inf), "linf")
    geometry.check_epsilon(30.0, (0.0, 1.0), "l2")
    with pytest.raises(ValueError, match=r"^epsilon=2\.1 is outside \[0, 2\]"):
        geometry.check_epsilon(2.1, (-1.0, 1.0), "linf")


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e-37])
def test_a_constant_gradient_in_a_program_keeps_its_direction(scale):
    """XLA may reorder arithmetic on constants until squares underflow."""
    signs = np.sign(np.random.default_rng(0).normal(size=(2, 3, 4, 1)))
    gradient = jnp.asarray(scale * signs, jnp.float32)
    step = jax.jit(lambda: geometry.NORMS["l2"].ascent(gradient, 0.01))()
    np.testing.assert_allclose(step, 0.01 * signs / np.sqrt(12), rtol=1e-5)

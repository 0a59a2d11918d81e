"""Noise against the distributions it claims, by tests that notice a wrong scale."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from robustlabels import attacks

UNBOUNDED = (-np.inf, np.inf)
KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 3, 3, 2)), jnp.float32)
TABLE = {
    "gaussian": attacks.gaussian_noise,
    "uniform linf": attacks.uniform_noise,
    "uniform l2": functools.partial(attacks.uniform_noise, norm="l2"),
}
JITTED = {name: jax.jit(noise) for name, noise in TABLE.items()}


@functools.cache
def sample(name, epsilon):
    x = jnp.full((2000, 2, 2, 1), 0.5)
    noisy = TABLE[name](x, epsilon=epsilon, key=KEY, bounds=UNBOUNDED)
    return np.asarray(noisy - x, np.float64).reshape(2000, 4)


def significance(name, distribution):
    return scipy.stats.kstest(sample(name, 0.2).reshape(-1), distribution.cdf).pvalue


@pytest.mark.parametrize("name", ["gaussian", "uniform linf"])
def test_pixels_are_independent(name):
    correlation = np.corrcoef(sample(name, 0.2).T)
    assert abs(correlation - np.eye(4)).max() < 5 / np.sqrt(2000)


def test_gaussian_noise_is_gaussian_with_epsilon_as_standard_deviation():
    assert significance("gaussian", scipy.stats.norm(scale=0.2)) > 1e-2
    for wrong in [scipy.stats.norm(scale=0.22), scipy.stats.norm(0.02, 0.2)]:
        assert significance("gaussian", wrong) < 1e-3


def test_uniform_noise_is_uniform_within_epsilon():
    assert significance("uniform linf", scipy.stats.uniform(-0.2, 0.4)) > 1e-2
    for wrong in [scipy.stats.uniform(-0.22, 0.44), scipy.stats.uniform(-0.18, 0.4)]:
        assert significance("uniform linf", wrong) < 1e-3


def test_half_the_l2_radius_holds_a_share_of_two_to_minus_the_dimension():
    n, dimensions = 20000, 3
    x = jnp.full((n, dimensions), 0.5)
    noisy = attacks.uniform_noise(x, epsilon=0.4, key=KEY, norm="l2")
    radius = np.linalg.norm(noisy - x, axis=-1)
    share = 2.0**-dimensions
    tolerance = 4 * np.sqrt(share * (1 - share) / n)
    assert abs(np.mean(radius <= 0.2) - share) < tolerance
    assert abs(np.mean(radius <= 0.19) - share) > tolerance
    assert radius.max() <= 0.4 + 1e-6


@pytest.mark.parametrize("name", TABLE)
@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    epsilon=st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5),
    seed=st.integers(0, 2**31 - 1),
)
def test_noise_stays_in_the_box_and_uniform_noise_in_the_ball(name, epsilon, seed):
    epsilon = np.array(epsilon, np.float32)
    noisy = np.asarray(JITTED[name](X, epsilon=epsilon, key=jax.random.key(seed)))
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    delta = (noisy.astype(np.float64) - X).reshape(5, -1)
    np.testing.assert_array_equal(delta[epsilon == 0], 0)
    if name != "gaussian":
        order = 2 if name == "uniform l2" else np.inf
        length = np.linalg.norm(delta, order, axis=-1)
        assert np.all(length <= epsilon * (1 + 1e-5) + 1e-6)


@pytest.mark.parametrize("name", TABLE)
def test_noise_is_the_clipped_sum_and_its_size_scales_it(name):
    unbounded = jax.jit(functools.partial(TABLE[name], bounds=UNBOUNDED))
    unit = np.asarray(unbounded(X, epsilon=jnp.ones(5), key=KEY) - X)
    assert np.any(abs(X + unit - 0.5) > 0.5)
    for shape in [(2,), (5,)]:
        epsilon = np.linspace(0, 1, shape[0], dtype=np.float32)
        size = epsilon.reshape(5, 1, 1, 1) if shape == (5,) else epsilon
        expected = np.clip(np.asarray(X) + size * unit, 0, 1)
        noisy = JITTED[name](X, epsilon=jnp.asarray(epsilon), key=KEY)
        np.testing.assert_allclose(noisy, expected, atol=1e-6)


@pytest.mark.parametrize("name", TABLE)
def test_an_example_has_noise_of_its_own_key(name):
    noise = functools.partial(JITTED[name], epsilon=jnp.full(5, 0.2))
    same = jnp.broadcast_to(X[:1], X.shape)
    noisy = noise(same, key=KEY)
    assert len({np.asarray(row).tobytes() for row in noisy}) == 5
    keys = jnp.stack([jax.random.fold_in(KEY, i) for i in range(5)])
    chex.assert_trees_all_equal(noise(same, key=keys), noisy)
    chex.assert_trees_all_equal(noise(same, key=keys[::-1]), noisy[::-1])
    assert not np.array_equal(noise(same, key=jax.random.key(1)), noisy)


def test_no_gradient_flows_through_noise():
    gradient = jax.grad(
        lambda x: jnp.sum(attacks.uniform_noise(x, epsilon=0.1, key=KEY))
    )(X)
    chex.assert_trees_all_equal(gradient, jnp.zeros_like(X))


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": -0.1}, r"epsilon=-0\.1 is outside \[0, "),
        ({"epsilon": np.nan}, r"epsilon=nan is outside \[0, "),
        ({"epsilon": np.inf}, r"epsilon=inf is outside \[0, "),
        ({"epsilon": np.full(4, 0.1)}, r"epsilon of shape \(4,\) fits neither 5"),
        ({"x": 255 * X}, r"a pixel of x=.* is outside \[0, 1\]"),
        ({"bounds": (1.0, 0.0)}, r"bounds=\(1\.0, 0\.0\) must be"),
        ({"key": jax.random.split(KEY, 4)}, r"key of shape \(4,\): .* each of the 5"),
    ],
)
def test_bad_input_is_refused(name, change, message):
    with pytest.raises(ValueError, match=message):
        TABLE[name](**({"x": X, "epsilon": 0.1, "key": KEY} | change))


def test_uniform_noise_knows_its_norms_and_the_width_of_the_box():
    with pytest.raises(
        ValueError, match="norm='l1' is unknown; choose one of 'linf', "
    ):
        attacks.uniform_noise(X, epsilon=0.1, key=KEY, norm="l1")
    with pytest.raises(ValueError, match=r"epsilon=8 is outside \[0, 1\].*write 8/255"):
        attacks.uniform_noise(X, epsilon=8, key=KEY)


@pytest.mark.parametrize("name", TABLE)
def test_noise_needs_a_typed_key(name):
    with pytest.raises(TypeError, match="key"):
        TABLE[name](X, epsilon=0.1)
    with pytest.raises(TypeCheckError, match="parameter 'key'"):
        TABLE[name](X, epsilon=0.1, key=jax.random.PRNGKey(0))

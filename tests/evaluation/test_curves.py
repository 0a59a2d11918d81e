"""Curves against a loop over epsilons, and gradients against finite differences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_classifier import batch, classifier

from robustlabels.evaluation import (
    budgets,
    robustness_curve,
    stands,
    worst_case,
    zero_gradients,
)

ATTACKS = {
    "fgsm": budgets.fgsm(),
    "pgd": budgets.pgd(num_steps=2, relative_step_size=0.7),
    "gaussian": budgets.gaussian_noise(),
}


@pytest.fixture(scope="module")
def curve_of():
    """Compiled curves by the name of the attack."""

    @functools.cache
    def of(name):
        return jax.jit(
            lambda x, y, epsilons, key: robustness_curve(
                classifier.scores,
                ATTACKS[name],
                classifier.loss,
                x,
                y,
                epsilons=epsilons,
                key=key,
            )
        )

    return of


@pytest.mark.parametrize("name", ATTACKS)
def test_a_curve_is_a_loop_that_remembers_who_fell(name, curve_of):
    epsilons, key = [0.0, 0.03, 0.06, 0.2, 0.9], jax.random.key(1)
    attack = jax.jit(
        lambda e: ATTACKS[name](classifier.loss, *batch, epsilon=e, key=key)
    )
    upright, expected, single = np.ones(23, bool), [], []
    for epsilon in epsilons:
        scores = np.asarray(classifier.scores(attack(epsilon)))
        single.append(scores.argmax(1) == np.asarray(batch[1]))
        upright = upright & single[-1]
        expected.append(upright)
    curve = curve_of(name)(*batch, jnp.asarray(epsilons), key)
    np.testing.assert_array_equal(curve, expected)
    assert 0 < np.sum(expected[-1]) + 1 < np.sum(expected[0])
    flags = jax.jit(
        lambda e: stands(
            classifier.scores,
            ATTACKS[name],
            classifier.loss,
            *batch,
            epsilon=e,
            key=key,
        )
    )
    np.testing.assert_array_equal(flags(0.2), single[3])


def test_noise_can_spare_at_a_larger_epsilon_who_fell_before(curve_of):
    """So the memory of a curve is needed, and is tested above."""
    key, epsilons = jax.random.key(1), jnp.asarray([0.0, 0.2, 0.5, 0.9, 1.5])
    alone = [curve_of("gaussian")(*batch, jnp.full(5, e), key)[0] for e in epsilons]
    assert np.any(np.diff(np.array(alone, int), axis=0) > 0)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    epsilons=st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5).map(sorted),
    seed=st.integers(0, 1000),
    name=st.sampled_from(sorted(ATTACKS)),
)
def test_who_fell_never_stands_again(epsilons, seed, name, curve_of):
    key = jax.random.key(seed)
    curve = np.asarray(curve_of(name)(*batch, jnp.asarray(epsilons), key), int)
    assert np.all(np.diff(curve, axis=0) <= 0)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(seed=st.integers(0, 1000), count=st.integers(1, 4))
def test_the_worst_case_stands_against_all(seed, count):
    flags = np.random.default_rng(seed).random((count, 3, 4)) < 0.7
    expected = np.logical_and.reduce(list(flags))
    np.testing.assert_array_equal(worst_case(*map(jnp.asarray, flags)), expected)


def test_zero_gradients_are_where_no_pixel_moves_the_loss():
    x, y = batch
    means = np.sort(np.asarray(x).mean((1, 2, 3)))
    level = float((means[11] + means[12]) / 2)  # of no image

    def loss(x, y):
        return jax.nn.relu(x.mean((1, 2, 3)) - level) ** 2 * (1.0 + y)

    found = jax.jit(lambda x, y: zero_gradients(loss, x, y))(x, y)
    pixels, moved = np.asarray(x, np.float64).reshape(23, -1), np.zeros(23, bool)
    for pixel in range(pixels.shape[1]):
        for change in (-1e-4, 1e-4):
            near = pixels.copy()
            near[:, pixel] += change
            now, then = (np.maximum(p.mean(1) - level, 0) ** 2 for p in (near, pixels))
            moved |= now != then
    np.testing.assert_array_equal(found, ~moved)
    assert 0 < moved.sum() < 23


def test_one_pixel_with_a_gradient_is_enough():
    x, y = batch
    found = zero_gradients(lambda x, y: 1e-30 * x[:, 3, 2, 0], x, y)
    assert not np.any(found)
    assert np.all(zero_gradients(lambda x, y: 0.0 * x[:, 3, 2, 0], x, y))

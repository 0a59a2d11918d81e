"""The margin and the targeted ratio against loops, and their guarantees."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels import losses


def example(seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(6, 4)).astype(np.float32)
    return scores, rng.integers(0, 4, 6).astype(np.int32)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), shift=st.floats(-10, 10))
def test_margin_is_the_best_wrong_score_minus_the_own(seed, shift):
    scores, labels = example(seed)
    expected = [
        max(np.delete(row, label)) - row[label]
        for row, label in zip(scores, labels, strict=True)
    ]
    value = losses.margin(jnp.array(scores), jnp.array(labels))
    chex.assert_trees_all_close(value, np.array(expected), rtol=1e-6)
    assert np.array_equal(value > 0, scores.argmax(-1) != labels)
    shifted = losses.margin(jnp.array(scores) + shift, jnp.array(labels))
    chex.assert_trees_all_close(value, shifted, atol=1e-5)


def test_margin_is_the_same_under_jit_and_vmap():
    scores, labels = map(jnp.array, example(0))
    plain = losses.margin(scores, labels)
    chex.assert_trees_all_equal(jax.jit(losses.margin)(scores, labels), plain)
    mapped = jax.vmap(losses.margin)(scores[:, None], labels[:, None])[:, 0]
    chex.assert_trees_all_equal(mapped, plain)


def test_margin_has_gradient_one_on_each_of_two_scores():
    gradient = jax.grad(lambda s: losses.margin(s, jnp.array([1])).sum())(
        jnp.array([[2.0, 5.0, 1.0]])
    )
    chex.assert_trees_all_equal(gradient, jnp.array([[1.0, -1.0, 0.0]]))


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_targeted_dlr_is_the_difference_over_the_spread_of_the_largest(classes):
    rng = np.random.default_rng(classes)
    scores = rng.normal(size=(30, classes)).astype(np.float32)
    labels = rng.integers(0, classes, 30)
    targets = (labels + rng.integers(1, classes, 30)) % classes
    expected = []
    for row, own, target in zip(
        scores.astype(np.float64), labels, targets, strict=True
    ):
        first, *rest = sorted(row, reverse=True)
        last = (rest[1] + rest[2]) / 2 if classes > 3 else rest[-1]
        expected.append(-(row[own] - row[target]) / (first - last))

    @jax.jit
    def evaluated(scores):
        def loss(scores):
            return losses.targeted_dlr(
                scores, jnp.asarray(labels), jnp.asarray(targets)
            )

        gradient = jax.grad(lambda scores: loss(scores).sum())(scores)
        return loss(scores), gradient, loss(3 * scores + 5), loss(jnp.ones_like(scores))

    value, gradient, scaled, of_equals = evaluated(jnp.asarray(scores))
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    each = np.arange(30)
    reached = scores[each, targets] > scores[each, labels]
    np.testing.assert_array_equal(value > 0, reached)
    np.testing.assert_allclose(scaled, value, rtol=1e-3)
    np.testing.assert_array_equal(of_equals, 0)
    assert np.all(abs(gradient[each, targets]) > 1e-3)


def test_targeted_dlr_is_differentiated_through_the_spread_from_four_classes_on():
    labels, targets = jnp.array([0]), jnp.array([1])

    @jax.jit
    @jax.grad
    def gradient(scores):
        return losses.targeted_dlr(scores, labels, targets).sum()

    few = gradient(jnp.array([[3.0, 1.0, 0.0]]))
    chex.assert_trees_all_close(few, jnp.array([[-1.0, 1.0, 0.0]]) / 3)
    # (z₁ - z₀) / (z₀ - (z₂ + z₃) / 2), which is -2 / 3 with a spread of 3.
    many = gradient(jnp.array([[3.0, 1.0, 0.5, -0.5]]))
    expected = np.array([[-1 / 3 + 2 / 9, 1 / 3, -1 / 9, -1 / 9]])
    chex.assert_trees_all_close(many, expected, rtol=1e-6)

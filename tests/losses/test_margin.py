"""The margin against a loop, and its two guarantees."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
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

"""Cross-entropy against SciPy, scikit-learn and its closed-form gradient."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn.metrics import log_loss

from robustlabels import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(8, 5)).astype(np.float32) * 4
LABELS = RNG.integers(0, 5, 8).astype(np.int32)
TRANSFORMS = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "vmap": lambda f: lambda s, y: jax.vmap(f)(s[:, None], y[:, None])[:, 0],
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_cross_entropy_matches_scipy_and_sklearn(transform):
    value = transform(losses.cross_entropy)(jnp.array(LOGITS), jnp.array(LABELS))
    expected = -scipy.special.log_softmax(LOGITS, -1)[np.arange(8), LABELS]
    chex.assert_trees_all_close(value, expected, rtol=1e-5)
    probabilities = scipy.special.softmax(LOGITS.astype(np.float64), -1)
    np.testing.assert_allclose(
        value.mean(), log_loss(LABELS, probabilities, labels=range(5)), rtol=1e-5
    )


def test_the_gradient_is_probability_minus_target():
    gradient = jax.grad(lambda s: losses.cross_entropy(s, jnp.array(LABELS)).sum())(
        jnp.array(LOGITS)
    )
    expected = scipy.special.softmax(LOGITS, -1) - np.eye(5, dtype=np.float32)[LABELS]
    chex.assert_trees_all_close(gradient, expected, atol=1e-6)


def test_large_logits_stay_finite():
    value = losses.cross_entropy(jnp.array([[1e4, 0.0]]), jnp.array([1]))
    chex.assert_trees_all_close(value, jnp.array([1e4]))


def test_a_label_out_of_range_is_loud():
    value = losses.cross_entropy(jnp.array([[1.0, 0.0]]), jnp.array([2]))
    assert jnp.isnan(value).all()

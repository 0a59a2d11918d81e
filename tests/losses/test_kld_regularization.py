"""KLD regularisation against the explicit mixture and Optax."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from robustlabels import losses

TRANSFORMS = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "vmap": lambda f: jax.jit(lambda *a: jax.vmap(f)(*(x[:, None] for x in a))[:, 0]),
}
CLASSES = 5
RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(8, CLASSES)) * 3, jnp.float32)
REFERENCE = jnp.asarray(RNG.normal(size=(8, CLASSES)) * 3, jnp.float32)
LABELS = jnp.asarray([0, 1, 2, 3, 4, 4, 0, 2], jnp.int32)
CROSS_ENTROPY = jax.jit(losses.cross_entropy)


def log_softmax(logits):
    return scipy.special.log_softmax(np.asarray(logits, np.float64), axis=-1)


def kld(logits, labels, reference, rho=0.3):
    return losses.kld_regularized_cross_entropy(
        logits, labels, reference_logits=reference, rho=rho
    )


KLD = {name: transform(kld) for name, transform in TRANSFORMS.items()}


@pytest.mark.parametrize("how", KLD)
def test_it_is_cross_entropy_with_the_explicit_mixture(how):
    found = KLD[how](LOGITS, LABELS, REFERENCE)
    expected = []
    for z, y, r in zip(LOGITS, np.asarray(LABELS), REFERENCE, strict=True):
        q = 0.7 * np.eye(CLASSES)[y] + 0.3 * np.exp(log_softmax(r))
        expected.append(-q @ log_softmax(z))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_it_adds_the_divergence_from_the_reference():
    reference = scipy.special.softmax(np.asarray(REFERENCE), axis=-1)
    divergence = optax.losses.kl_divergence(jax.nn.log_softmax(LOGITS), reference)
    both = 0.7 * CROSS_ENTROPY(LOGITS, LABELS) + 0.3 * divergence
    entropy = scipy.special.entr(reference).sum(axis=-1)
    found = KLD["jit"](LOGITS, LABELS, REFERENCE)
    np.testing.assert_allclose(found, both + 0.3 * entropy, rtol=1e-5, atol=1e-5)


def test_it_leaves_the_reference_alone():
    gradient = jax.jit(jax.grad(lambda z, r: kld(z, LABELS, r).sum(), (0, 1)))
    by_logits, by_reference = gradient(LOGITS, REFERENCE)
    f, r = (scipy.special.softmax(x, -1) for x in (LOGITS, REFERENCE))
    q = 0.7 * np.eye(CLASSES)[np.asarray(LABELS)] + 0.3 * r
    np.testing.assert_allclose(by_logits, f - q, atol=1e-6)
    np.testing.assert_array_equal(by_reference, 0)


def test_it_runs_from_the_label_to_the_reference():
    of_rhos = jax.jit(jax.vmap(kld, (None, None, None, 0)))
    label, reference = of_rhos(LOGITS, LABELS, REFERENCE, jnp.array([0.0, 1.0]))
    chex.assert_trees_all_close(
        label, CROSS_ENTROPY(LOGITS, LABELS), rtol=1e-5, atol=1e-6
    )
    expected = optax.softmax_cross_entropy(LOGITS, jax.nn.softmax(REFERENCE))
    chex.assert_trees_all_close(reference, expected, rtol=1e-5)


def test_extreme_logits_stay_finite():
    extreme = 1e4 * jnp.eye(8, CLASSES)
    found = KLD["jit"](extreme, jnp.full(8, 1, jnp.int32), extreme[::-1])
    reference = scipy.special.softmax(np.asarray(extreme[::-1], np.float64), axis=-1)
    q = 0.7 * np.eye(CLASSES)[1] + 0.3 * reference
    expected = [-row @ log_softmax(z) for row, z in zip(q, extreme, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("rho", [2.0, -0.1, float("nan")])
def test_a_share_out_of_range_is_refused(rho):
    message = rf"rho={rho} is outside \[0, 1\]\. It is the share of the reference\."
    with pytest.raises(ValueError, match=message):
        kld(LOGITS, LABELS, REFERENCE, rho)

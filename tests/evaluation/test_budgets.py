"""Every attack of the harness is the public attack, called with its parameters."""

import jax
import numpy as np
import pytest
from small_classifier import batch, classifier

from robustlabels import attacks
from robustlabels.evaluation import budgets

KEY = jax.random.key(3)
EPSILON = 0.25
PGD = {"num_steps": 3, "step_size": 0.5 * EPSILON}
SHORT = {"num_steps": 3, "relative_step_size": 0.5}
CASES = {
    "fgsm": (
        budgets.fgsm(),
        lambda f, x, y: attacks.fgsm(f, x, y, epsilon=EPSILON),
    ),
    "pgd": (
        budgets.pgd(**SHORT),
        lambda f, x, y: attacks.pgd(f, x, y, epsilon=EPSILON, key=KEY, **PGD),
    ),
    "pgd without a random start": (
        budgets.pgd(**SHORT, random_start=False),
        lambda f, x, y: attacks.pgd(f, x, y, epsilon=EPSILON, **PGD),
    ),
    "pgd along accumulated gradients": (
        budgets.pgd(**SHORT, random_start=False, accumulate=True),
        lambda f, x, y: attacks.pgd(f, x, y, epsilon=EPSILON, accumulate=True, **PGD),
    ),
    "fgsm on a normalised image": (
        budgets.fgsm(unit="std").in_pixels(np.array([0.5], np.float32)),
        lambda f, x, y: attacks.fgsm(f, x, y, epsilon=EPSILON / 2),
    ),
    "pgd in l2": (
        budgets.pgd(**SHORT, norm="l2", random_start=False),
        lambda f, x, y: attacks.pgd(f, x, y, epsilon=EPSILON, norm="l2", **PGD),
    ),
    "gaussian": (
        budgets.gaussian_noise(),
        lambda f, x, y: attacks.gaussian_noise(x, epsilon=EPSILON, key=KEY),
    ),
    "uniform": (
        budgets.uniform_noise(),
        lambda f, x, y: attacks.uniform_noise(x, epsilon=EPSILON, key=KEY),
    ),
    "uniform in l2": (
        budgets.uniform_noise(norm="l2"),
        lambda f, x, y: attacks.uniform_noise(x, epsilon=EPSILON, key=KEY, norm="l2"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_harness_calls_the_public_attack(name):
    attack, public = CASES[name]
    expected = jax.jit(lambda x, y: public(classifier.loss, x, y))(*batch)
    traced = jax.jit(lambda x, y, e, k: attack(classifier.loss, x, y, epsilon=e, key=k))
    np.testing.assert_allclose(traced(*batch, EPSILON, KEY), expected, atol=1e-6)
    assert not np.array_equal(expected, batch[0])


def test_the_defaults_are_those_that_are_documented():
    expected = jax.jit(
        lambda x, y: attacks.pgd(
            classifier.loss, x, y, epsilon=0.1, num_steps=40, step_size=0.01, key=KEY
        )
    )
    found = jax.jit(
        lambda x, y: budgets.pgd()(classifier.loss, x, y, epsilon=0.1, key=KEY)
    )
    np.testing.assert_allclose(found(*batch), expected(*batch), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "follows_loss", "unit_range"),
    [
        ("fgsm", True, True),
        ("pgd", True, True),
        ("pgd in l2", True, False),
        ("gaussian", False, False),
        ("uniform", False, True),
        ("uniform in l2", False, False),
    ],
)
def test_what_an_attack_follows_and_what_its_epsilon_means(
    name, follows_loss, unit_range
):
    attack, _ = CASES[name]
    assert (attack.follows_loss, attack.unit_range) == (follows_loss, unit_range)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: budgets.pgd(num_steps=0), "num_steps=0 is not a whole number of at"),
        (lambda: budgets.pgd(relative_step_size=0.0), "relative_step_size=0.0 is outs"),
        (lambda: budgets.pgd(relative_step_size=-1.0), "relative_step_size=-1.0 is"),
        (lambda: budgets.pgd(norm="l1"), "norm='l1' is unknown; choose one of 'linf'"),
        (lambda: budgets.uniform_noise(norm="linfty"), "norm='linfty' is unknown"),
    ],
)
def test_values_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()

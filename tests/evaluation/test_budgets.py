"""Every attack of the harness is the public attack, called with its parameters."""

import jax
import numpy as np
import pytest
from small_classifier import batch, classifier, split

from robustlabels import attacks, parallel
from robustlabels.evaluation import Record, budgets, measure
from robustlabels.evaluation.ascended import STAGES

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
    "pgd from three starts": (
        budgets.pgd(**SHORT, num_restarts=3),
        lambda f, x, y: attacks.run(
            attacks.restarted(
                lambda key, epsilon: attacks.pgd_iteration(
                    f, epsilon=epsilon, key=key, **PGD
                ),
                classifier.margin,
                num_restarts=3,
                key=KEY,
                epsilon=EPSILON,
            ),
            x,
            y,
        ),
    ),
    "mi_fgsm": (
        budgets.mi_fgsm(num_steps=4, momentum=0.5),
        lambda f, x, y: attacks.mi_fgsm(
            f, x, y, epsilon=EPSILON, num_steps=4, momentum=0.5
        ),
    ),
    "apgd": (
        budgets.apgd(num_steps=7),
        lambda f, x, y: attacks.apgd(f, x, y, epsilon=EPSILON, num_steps=7, key=KEY),
    ),
    "apgd in l2 from the image": (
        budgets.apgd(num_steps=7, norm="l2", random_start=False),
        lambda f, x, y: attacks.apgd(f, x, y, epsilon=EPSILON, num_steps=7, norm="l2"),
    ),
    "square": (
        budgets.square(num_steps=20, p_init=0.5),
        lambda f, x, y: attacks.square(
            classifier.margin, x, y, epsilon=EPSILON, key=KEY, num_steps=20, p_init=0.5
        ),
    ),
    "minimum_distortion": (
        budgets.minimum_distortion(num_steps=9, num_searches=4, num_targets=1),
        lambda f, x, y: (
            attacks.minimum_distortion(
                f, classifier.scores, x, y, num_steps=9, num_searches=4, num_targets=1
            ).x_adv
        ),
    ),
    "ddn": (
        budgets.ddn(num_steps=5, levels=256),
        lambda f, x, y: (
            attacks.ddn(f, classifier.scores, x, y, num_steps=5, levels=256).x_adv
        ),
    ),
    "fmn": (
        budgets.fmn(num_steps=5, norm="l2"),
        lambda f, x, y: (
            attacks.fmn(classifier.scores, x, y, num_steps=5, norm="l2").x_adv
        ),
    ),
    "deepfool": (
        budgets.deepfool(num_steps=5, candidates=2, norm="linf"),
        lambda f, x, y: (
            attacks.deepfool(
                classifier.scores, x, y, num_steps=5, candidates=2, norm="linf"
            ).x_adv
        ),
    ),
    "carlini_wagner": (
        budgets.carlini_wagner(num_steps=5, num_searches=7),
        lambda f, x, y: (
            attacks.carlini_wagner(
                classifier.scores, x, y, num_steps=5, num_searches=7
            ).x_adv
        ),
    ),
    "fab": (
        budgets.fab(num_steps=5, norm="l2"),
        lambda f, x, y: (
            attacks.fab(classifier.scores, x, y, num_steps=5, norm="l2").x_adv
        ),
    ),
    "hop_skip_jump": (
        budgets.hop_skip_jump(num_steps=2, num_queries=5),
        lambda f, x, y: (
            attacks.hop_skip_jump(
                classifier.scores, x, y, num_steps=2, num_queries=5, key=KEY
            ).x_adv
        ),
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
    traced = jax.jit(
        lambda x, y, e, k: attack(
            classifier.loss, x, y, epsilon=e, key=k, scores_fn=classifier.scores
        )
    )
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
        ("mi_fgsm", True, True),
        ("apgd", True, True),
        ("apgd in l2 from the image", True, False),
        ("square", False, True),
        ("minimum_distortion", True, False),
        ("ddn", True, False),
        ("fab", False, False),
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
        (lambda: budgets.pgd(num_restarts=0), "num_restarts=0 is not a whole number"),
        (
            lambda: budgets.apgd(num_restarts=2, random_start=False),
            "num_restarts=2 without a random start would be the same again",
        ),
        (lambda: budgets.mi_fgsm(momentum=-1.0), "momentum=-1.0 is outside"),
        (lambda: budgets.square(p_init=2.0), r"p_init=2.0 is outside \[1e-30, 1\]"),
        (lambda: budgets.fmn(norm="l1"), "norm='l1' is unknown"),
        (lambda: budgets.standard(num_targets=0), "num_targets=0 is not a whole"),
        (lambda: budgets.pgd(norm="l1"), "norm='l1' is unknown; choose one of 'linf'"),
        (lambda: budgets.uniform_noise(norm="linfty"), "norm='linfty' is unknown"),
    ],
)
def test_values_out_of_range_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_targeted_attacks_go_towards_the_best_wrong_classes():
    """Three classes: the two wrong ones, tried one after the other."""
    x, y = batch
    ranked = np.argsort(-np.asarray(classifier.scores(x)), axis=1)
    wrong = np.array(
        [[c for c in row if c != t] for row, t in zip(ranked, y, strict=True)]
    )

    both = [
        attacks.fab(
            classifier.scores,
            x,
            jax.numpy.asarray(wrong[:, n]),
            num_steps=6,
            targeted=True,
        )
        for n in range(2)
    ]
    first = (both[0].distortion <= both[1].distortion).reshape(-1, 1, 1, 1)
    nearest = np.where(first, both[0].x_adv, both[1].x_adv)
    assert 0 < np.mean(first) < 1
    made = budgets.fab_targeted(num_steps=6, num_targets=2)
    found = made(
        classifier.loss, x, y, epsilon=0.0, key=KEY, scores_fn=classifier.scores
    )
    np.testing.assert_allclose(found, nearest, atol=1e-5)

    made = budgets.apgd_targeted(num_steps=6, num_targets=2)
    found = made(
        classifier.loss, x, y, epsilon=0.1, key=KEY, scores_fn=classifier.scores
    )
    assert np.all(np.abs(found - x) <= 0.1 + 1e-6)
    once = budgets.apgd_targeted(num_steps=6, num_targets=1)
    first = once(
        classifier.loss, x, y, epsilon=0.1, key=KEY, scores_fn=classifier.scores
    )
    gains = classifier.margin(found, y) - classifier.margin(first, y)
    assert np.all(gains >= -1e-6)
    assert np.any(gains > 1e-3)


def test_the_standard_ensemble_leaves_no_more_than_its_stages():
    small = budgets.standard(num_steps=10, num_targets=2, num_queries=30)
    assert list(small.stages) == list(STAGES)
    assert small.unit_range is False
    assert [s.gradient for s in small.stages.values()] == [
        "cross_entropy",
        "dlr",
        "margin",
        None,
        "own",
        "margin",
    ]
    pairs, epsilons = [({"seed": 1}, classifier)], {"0.05": 0.05}
    found = list(
        measure(
            pairs,
            split,
            {"standard": (small, {})},
            epsilons=epsilons,
            mesh=parallel.make_mesh(jax.devices()[:1]),
        )
    )
    left = [r.value for r in found if isinstance(r, Record)]
    assert left == sorted(left, reverse=True)
    assert left[-1] < left[0]
    # What FAB sees of an ensemble is no sample of distances.
    assert not [f for f in found if getattr(f, "kind", "") == "minimum_distortion"]

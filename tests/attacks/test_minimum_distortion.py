"""Box-constrained L-BFGS against SciPy's, image by image, and in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from robustlabels import attacks

BATCH, PIXELS, HIDDEN, CLASSES = 8, 40, 15, 5
RNG = np.random.default_rng(0)
WEIGHTS = [
    RNG.normal(size=(PIXELS, HIDDEN)).astype(np.float32),
    RNG.normal(size=(HIDDEN, CLASSES)).astype(np.float32),
]
X = np.clip(RNG.uniform(-0.3, 1.3, (BATCH, PIXELS)), 0, 1).astype(np.float32)
CENTRE = X.mean(0)


def scores(x):
    return 2 * jax.nn.sigmoid(x @ WEIGHTS[0] - (CENTRE @ WEIGHTS[0])[None]) @ WEIGHTS[1]


def loss(x, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(scores(x)), y[:, None], 1)[:, 0]


Y = np.asarray(scores(X)).argmax(-1).astype(np.int32)
TARGETS = (Y + RNG.integers(1, CLASSES, BATCH).astype(np.int32)) % CLASSES


@functools.cache
def found(targeted, **options):
    run = functools.partial(
        attacks.minimum_distortion, loss, scores, targeted=targeted, **options
    )
    return jax.device_get(jax.jit(run)(X, TARGETS if targeted else Y))


def by_hand(z, target):
    """Cross-entropy of a class, its gradient, and the decision, in doubles."""
    a, c = (leaf.astype(np.float64) for leaf in WEIGHTS)
    hidden = 1 / (1 + np.exp(-(z - CENTRE) @ a))
    logits = 2 * hidden @ c
    highest = logits.max()
    total = np.exp(logits - highest).sum()
    share = np.exp(logits - highest) / total
    share[target] -= 1
    gradient = a @ (hidden * (1 - hidden) * (c @ (2 * share)))
    loss = np.log(total) + highest - logits[target]
    return loss, gradient, logits.argmax()


@functools.cache
def nearest_by_scipy(index, target):
    """Distance by SciPy's L-BFGS-B and 18 halvings of c, of all it comes by."""
    x, nearest = X[index].astype(np.float64), np.inf
    low, high, c = 0.0, np.inf, 1.0
    for _ in range(18):

        def whole(z, c=c):
            nonlocal nearest
            loss, gradient, decision = by_hand(z, target)
            away = z - x
            if decision == target:
                nearest = min(nearest, np.linalg.norm(away))
            return loss + c * away @ away, gradient + 2 * c * away

        z = scipy.optimize.minimize(
            whole, x, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * PIXELS
        ).x
        if by_hand(z, target)[2] == target:
            low = c
        else:
            high = c
        known = low > 0 and high < np.inf
        c = np.sqrt(low * high) if known else 4 * low or high / 4
    return nearest


def test_towards_a_class_it_is_as_near_as_scipy():
    theirs = np.array([nearest_by_scipy(i, t) for i, t in enumerate(TARGETS)])
    ours = found(targeted=True)
    assert np.all(ours.success)
    for image, target in zip(ours.x_adv, TARGETS, strict=True):
        assert by_hand(image, target)[2] == target
    ratios = ours.distortion / theirs
    assert np.mean(ratios) < 1.003
    assert np.all(ratios < 1.02)
    assert np.mean(ours.steps) < 60


def test_without_a_target_it_is_the_nearest_of_all_classes():
    ours = found(targeted=False)
    theirs = [
        min(nearest_by_scipy(i, k) for k in set(range(CLASSES)) - {y})
        for i, y in enumerate(Y)
    ]
    ratios = ours.distortion / np.array(theirs)
    assert np.mean(ratios) < 1.003
    assert np.all(ratios < 1.02)
    assert np.all(ours.distortion <= found(targeted=True).distortion * 1.02)


def test_fewer_targets_are_those_with_the_best_scores():
    one, all_of_them = (found(targeted=False, num_targets=n) for n in (1, 9))
    second = np.argsort(np.asarray(scores(X)), axis=-1)[:, -2]
    best = np.array([nearest_by_scipy(i, k) for i, k in enumerate(second)])
    # An image on the way may be of yet another class.
    assert np.all(one.distortion < 1.05 * best)
    assert np.all(one.distortion > 0.999 * all_of_them.distortion)
    assert one.steps.mean() < all_of_them.steps.mean()


def test_a_finer_tolerance_comes_nearer_and_costs_more():
    coarse, fine = (found(targeted=True, tolerance=t) for t in (1e-1, 1e-4))
    assert fine.steps.mean() > 1.5 * coarse.steps.mean()
    assert fine.distortion.mean() <= coarse.distortion.mean()


def test_without_bounds_it_is_nearer_and_leaves_the_box():
    free = found(targeted=True, bounds=(-np.inf, np.inf))
    assert free.x_adv.min() < 0
    assert free.distortion.mean() < found(targeted=True).distortion.mean()


def test_a_budget_of_steps_and_searches_is_kept():
    few = found(targeted=False, num_steps=7)
    assert few.steps.max() <= 7 * (CLASSES - 1)
    assert found(targeted=True, num_steps=7).steps.max() <= 7
    once = found(targeted=True, num_searches=1)
    assert once.steps.mean() < found(targeted=True).steps.mean()


def test_the_root_mean_square_is_the_distortion_by_the_pixels():
    ours = found(targeted=True)
    expected = np.sqrt(np.mean((ours.x_adv.astype(np.float64) - X) ** 2, axis=1))
    rms = attacks.root_mean_square(ours.x_adv, X)
    np.testing.assert_allclose(rms, expected, rtol=1e-5)
    np.testing.assert_allclose(ours.distortion / np.sqrt(PIXELS), expected, rtol=1e-5)


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_a_loss_without_a_gradient_finds_nothing_and_ends(constant):
    def flat(x, y):
        return jnp.sum(0 * x, axis=1) + constant

    y = jnp.asarray(TARGETS)
    result = attacks.minimum_distortion(
        flat, scores, jnp.asarray(X), y, targeted=True, num_steps=20
    )
    assert not np.any(result.success)
    assert np.all(np.isinf(result.distortion))
    np.testing.assert_array_equal(result.x_adv, X)

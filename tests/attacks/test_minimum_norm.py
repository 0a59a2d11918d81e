"""Searches for the nearest adversarial image against closed forms, peers, each other.

One program per search serves nets that are linear, smooth or piecewise linear, for
their weights are its arguments: most of the time here goes into compiling.
"""

import functools
import importlib
import inspect
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from foolbox_oracle import foolbox_model, of_foolbox
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, PartitionSpec
from jax.tree_util import Partial

from robustlabels import attacks
from robustlabels.attacks.deepfool import nearest_boundary

BATCH, SHAPE, PIXELS, CLASSES, HIDDEN = 16, (3, 3, 2), 18, 4, 12
NORM = {
    "minimum_distortion": "l2",
    "ddn": "l2",
    "fmn linf": "linf",
    "fmn l2": "l2",
    "deepfool linf": "linf",
    "deepfool l2": "l2",
    "carlini_wagner": "l2",
    "fab linf": "linf",
    "fab l2": "l2",
}
ONE_EACH = [
    "minimum_distortion",
    "ddn",
    "fmn l2",
    "deepfool l2",
    "carlini_wagner",
    "fab linf",
]
OF_A_LOSS = "ddn", "minimum_distortion"
OPTIONS = {"carlini_wagner": {"num_steps": 300, "step_size": 0.02}}
ORDER, DUAL = {"linf": np.inf, "l2": 2}, {"linf": 1, "l2": 2}


class Net(NamedTuple):
    """h σ(s h) c, where h = x a + b: linear if s is 0, rectifiers if it is large."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    s: np.ndarray

    def scores(self, x):
        hidden = x.reshape(len(x), -1) @ self.a + self.b[None]
        return hidden * jax.nn.sigmoid(self.s * hidden) @ self.c

    def by_hand(self, image):
        """Scores and their gradients [classes, pixels] for one image, in doubles."""
        a, b, c, s = (np.asarray(leaf, np.float64) for leaf in self)
        hidden = np.asarray(image, np.float64).reshape(-1) @ a + b
        on = scipy.special.expit(s * hidden)
        slope = on + s * hidden * on * (1 - on)
        return (hidden * on) @ c, (a * slope @ c).T

    def decisions(self, x):
        return np.int32([self.by_hand(image)[0].argmax() for image in x])


def net(seed, s=2.0, *, pixels=PIXELS):
    """Random weights, none for pixels beyond the first ones."""
    rng = np.random.default_rng(seed)
    a, c = rng.normal(size=(PIXELS, HIDDEN)), rng.normal(size=(HIDDEN, CLASSES))
    a[pixels:] = 0
    b = 0.1 * rng.normal(size=HIDDEN) - 0.5 * a.sum(0)
    return Net(*(np.float32(leaf) for leaf in (a, b, c, s)))


def loss_with(net, x, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(net.scores(x)), y[:, None], 1)[:, 0]


def iteration(name, net, **options):
    attack, *norm = name.split()
    options = OPTIONS.get(name, {}) | options | ({"norm": norm[0]} if norm else {})
    functions = [Partial(loss_with, net)] if attack in OF_A_LOSS else []
    functions.append(net.scores)
    return getattr(attacks, f"{attack}_iteration")(*functions, **options)


@functools.cache
def search(name):
    return jax.jit(lambda net, x, y: attacks.run(iteration(name, net), x, y))


@functools.cache
def targeted_steps(name):
    """`init` and `step` of the targeted search, for whoever steps it by himself."""

    def init(net, x, y):
        return iteration(name, net, targeted=True).init(x, y)

    def step(net, state):
        return iteration(name, net, targeted=True).step(state)

    return jax.jit(init), jax.jit(step)


def targeted_search(name, net, x, y):
    init, step = targeted_steps(name)
    made, state = iteration(name, net, targeted=True), init(net, x, y)
    for _ in range(made.num_steps):
        state = step(net, state)
    return made.result(state)


X = np.random.default_rng(0).uniform(size=(BATCH, *SHAPE)).astype(np.float32)
SMOOTH = net(2)
Y = SMOOTH.decisions(X)
NEXT = (Y + 1) % CLASSES


def length(delta, norm):
    delta = np.asarray(delta, np.float64).reshape(len(delta), -1)
    return np.linalg.norm(delta, ORDER[norm], axis=-1)


def least_in_box(x, gap, w, norm):
    """Exact distance to gap + ⟨w, δ⟩ = 0 within [0, 1], by bisection on its length."""
    x, w = x.reshape(-1).astype(np.float64), -np.sign(gap) * w
    speed = np.ones_like(w) if norm == "linf" else abs(w)
    room = np.where(w > 0, 1 - x, x)
    low, high = 0.0, 100.0
    for _ in range(60):
        time = (low + high) / 2
        enough = abs(w) @ np.minimum(time * speed, room) >= abs(gap)
        low, high = (low, time) if enough else (time, high)
    return np.linalg.norm(np.minimum(high * speed, room), ORDER[norm])


def with_classes_that_never_win(net, *classes):
    """One hidden unit, constant and large, lowers their scores."""
    a, b, c = (leaf.copy() for leaf in net[:3])
    a[:, 0], b[0], c[0], c[0, list(classes)] = 0, 10, 0, -100
    return Net(a, b, c, net.s)


@functools.cache
def near_a_linear_boundary(norm, inside):
    """A net of two classes, images, and their distances with or without the box."""
    model = with_classes_that_never_win(net(3, 0.0), 2, 3)
    _, gradients = model.by_hand(X[0])
    w = gradients[1] - gradients[0]
    pool = np.random.default_rng(3).uniform(size=(600, *SHAPE))
    pool = 0.35 + 0.3 * pool if inside else np.clip(1.6 * pool - 0.3, 0, 1)
    x, least = [], []
    for image in pool.astype(np.float32):
        scores, _ = model.by_hand(image)
        gap = scores[1] - scores[0]
        distance = least_in_box(image, gap, w, norm)
        without_box = abs(gap) / np.linalg.norm(w, DUAL[norm])
        boxed = distance > 1.0001 * without_box
        if boxed != inside and 0.05 < np.linalg.norm(gap) / np.linalg.norm(w) < 0.5:
            x.append(image)
            least.append(without_box if inside else distance)
    return model, np.array(x[:BATCH]), np.array(least[:BATCH])


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "at the box"])
@pytest.mark.parametrize("name", NORM)
def test_on_a_linear_classifier_it_is_the_margin_over_the_dual_norm(name, inside):
    model, x, least = near_a_linear_boundary(NORM[name], inside)
    y = model.decisions(x)
    result = search(name)(model, x, y)
    assert np.all(result.success)
    np.testing.assert_array_equal(model.decisions(result.x_adv), 1 - y)
    excess = np.asarray(result.distortion) / least - 1
    assert np.all(excess > -1e-3)
    assert np.all(excess < 0.04)
    if "deepfool" in name and inside:
        overshot = 1.02 * (least + 1e-4)
        np.testing.assert_allclose(result.distortion, overshot, rtol=1e-4)
        np.testing.assert_array_equal(result.steps, 2)
    else:
        assert np.median(excess) < 0.006


@pytest.mark.parametrize("name", ONE_EACH)
def test_of_two_classes_to_reach_one_is_to_leave_the_other(name):
    """The one stepped from the host, the other by `run`."""
    model, x, _ = near_a_linear_boundary(NORM[name], True)
    y = model.decisions(x)
    reached = targeted_search(name, model, x, 1 - y)
    left = search(name)(model, x, y)
    if name == "minimum_distortion":  # It finds out about the two that never win.
        assert np.all(left.steps > reached.steps)
        left = left._replace(steps=reached.steps)
    chex.assert_trees_all_close(reached, left, atol=1e-5)


@pytest.mark.parametrize("name", ONE_EACH)
def test_it_runs_one_by_one_over_two_devices(name):
    def one(x, y):
        result = attacks.run(iteration(name, SMOOTH), x[None], y[None])
        return jax.tree.map(lambda leaf: leaf[0], result)

    mesh, data = Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data")
    spread = jax.shard_map(jax.vmap(one), mesh=mesh, in_specs=data, out_specs=data)
    expected = search(name)(SMOOTH, X, Y)
    if name == "deepfool l2":  # The others are traced, not compiled.
        chex.assert_trees_all_close(jax.jit(spread)(X, Y), expected, atol=1e-5)
    chex.assert_trees_all_equal_shapes_and_dtypes(
        jax.eval_shape(spread, X, Y), jax.eval_shape(lambda: expected)
    )


@pytest.mark.parametrize("name", ["deepfool linf", "deepfool l2", "fab linf", "fab l2"])
def test_of_several_linear_boundaries_it_is_the_nearest(name):
    model, x = net(4, 0.0), (0.4 + 0.2 * X).astype(np.float32)
    y, distances = model.decisions(x), np.full((BATCH, CLASSES), np.inf)
    for i, (image, own) in enumerate(zip(x, y, strict=True)):
        scores, gradients = model.by_hand(image)
        for other in set(range(CLASSES)) - {own}:
            slope = np.linalg.norm(gradients[other] - gradients[own], DUAL[NORM[name]])
            distances[i, other] = (scores[own] - scores[other]) / slope
    result, least = search(name)(model, x, y), distances.min(-1)
    excess = np.asarray(result.distortion) - least
    assert np.all(excess > -1e-6)
    assert np.all(excess < 0.022 * least + 2e-4)
    np.testing.assert_array_equal(model.decisions(result.x_adv), distances.argmin(-1))


@pytest.mark.parametrize(("candidates", "targeted"), [(3, False), (9, True)])
def test_the_nearest_boundary_is_among_the_candidates(candidates, targeted):
    boundary = jax.jit(
        lambda x, y: nearest_boundary(
            SMOOTH.scores, x, y, norm="l2", candidates=candidates, targeted=targeted
        )
    )(X, NEXT)
    for i, y in enumerate(NEXT):
        scores, gradients = SMOOTH.by_hand(X[i])
        best = [k for k in np.argsort(-scores) if k != y]
        best = best[: 1 if targeted else candidates - 1]
        gaps, slopes = scores[best] - scores[y], gradients[best] - gradients[y]
        distances = abs(gaps) / np.linalg.norm(slopes, axis=-1)
        nearest, sign = distances.argmin(), -1 if targeted else 1
        np.testing.assert_allclose(boundary.scores[i], scores, atol=1e-4)
        np.testing.assert_allclose(boundary.gap[i], sign * gaps[nearest], atol=1e-4)
        np.testing.assert_allclose(boundary.distance[i], distances[nearest], rtol=1e-3)
        gradient = boundary.gradient[i].reshape(-1)
        np.testing.assert_allclose(gradient, sign * slopes[nearest], atol=1e-4)


@functools.cache
def least_on_a_grid(norm, s):
    """A net that sees two pixels, and the nearest of the points of a grid of them."""
    model = net(6, s, pixels=2)
    ticks = np.linspace(0, 1, 201)
    grid = np.zeros((201 * 201, PIXELS), np.float32)
    grid[:, 0], grid[:, 1] = (axis.reshape(-1) for axis in np.meshgrid(ticks, ticks))
    decided, y = np.asarray(model.scores(grid)).argmax(-1), model.decisions(X)
    delta = grid[None, :, :2] - X.reshape(BATCH, 1, -1)[..., :2]
    distance = np.linalg.norm(delta, ORDER[norm], axis=-1)
    other = decided[None] != y[:, None]
    return model, y, np.min(distance, -1, where=other, initial=np.inf)


@pytest.mark.parametrize("s", [4.0, 1e4], ids=["smooth", "piecewise linear"])
@pytest.mark.parametrize("name", NORM)
def test_with_two_pixels_it_is_the_nearest_point_of_a_grid(name, s):
    model, y, least = least_on_a_grid(NORM[name], s)
    found = np.asarray(search(name)(model, X, y).distortion)
    assert np.all(found > least - 0.008)
    assert np.median(found - least) < (0.03 if "deepfool" in name else 0.004)


def test_searches_agree_on_a_smooth_net():
    median = {n: np.median(search(n)(SMOOTH, X, Y).distortion) for n in NORM}
    for name, other, tolerance in [
        ("minimum_distortion", "carlini_wagner", 0.01),
        ("minimum_distortion", "ddn", 0.01),
        ("ddn", "carlini_wagner", 0.01),
        ("ddn", "fmn l2", 0.01),
        ("ddn", "fab l2", 0.01),
        ("fmn linf", "fab linf", 0.01),
        ("deepfool l2", "ddn", 0.05),
        ("deepfool linf", "fmn linf", 0.05),
    ]:
        np.testing.assert_allclose(median[name], median[other], rtol=tolerance)


def fmn_by_hand(model, x, y, norm, *, towards=False):
    """Pintor et al. (2021), algorithm 1, as it is read here, for one image.

    Radius and best distortion after each step.
    """
    x = x.reshape(-1).astype(np.float64)
    delta, epsilon, best = np.zeros(PIXELS), 0.0, np.inf
    for step in range(100):
        scores, gradients = model.by_hand(x + delta)
        other = np.argmax(np.where(np.arange(CLASSES) == y, -np.inf, scores))
        sign = -1 if towards else 1
        gap = sign * (scores[other] - scores[y])
        w = sign * (gradients[other] - gradients[y])
        cosine = (1 + np.cos(np.pi * step / 100)) / 2
        gamma, alpha = 0.001 + 0.049 * cosine, 0.01 + 0.99 * cosine
        distance = np.linalg.norm(delta, ORDER[norm])
        if gap > 0:
            best = min(best, distance)
            epsilon = min(epsilon * (1 - gamma), best)
        elif np.isfinite(best):
            epsilon = epsilon * (1 + gamma)
        else:
            reach = distance - gap / np.linalg.norm(w, DUAL[norm])
            epsilon = max(epsilon, reach) * (1 + gamma)
        delta = delta + alpha * w / np.linalg.norm(w)
        if norm == "linf":
            delta = np.clip(delta, -epsilon, epsilon)
        else:
            delta = delta * min(1, epsilon / np.linalg.norm(delta))
        delta = np.clip(x + delta, 0, 1) - x
        yield epsilon, best


BOXED = np.clip(1.6 * X - 0.3, 0, 1)


@pytest.mark.parametrize("norm", ORDER)
def test_fmn_finds_what_its_algorithm_finds(norm):
    y = SMOOTH.decisions(BOXED)
    result = search(f"fmn {norm}")(SMOOTH, BOXED, y)
    for i in range(BATCH):
        *_, (_, best) = fmn_by_hand(SMOOTH, BOXED[i], y[i], norm)
        np.testing.assert_allclose(result.distortion[i], best, rtol=2e-3)


def test_fmn_has_the_radius_of_its_algorithm():
    y = (SMOOTH.decisions(BOXED) + 1) % CLASSES
    init, step = targeted_steps("fmn l2")
    state = init(SMOOTH, BOXED, y)
    by_hand = [
        fmn_by_hand(SMOOTH, BOXED[i], y[i], "l2", towards=True) for i in range(BATCH)
    ]
    for _ in range(15):
        state = step(SMOOTH, state)
        epsilon, best = np.transpose([next(steps) for steps in by_hand])
        np.testing.assert_allclose(state.epsilon, epsilon, rtol=1e-3)
        np.testing.assert_allclose(state.nearest.distortion, best, rtol=1e-3)


def test_ddn_may_keep_to_levels():
    def searched(x, y):
        scores = Partial(lambda x: SMOOTH.scores((x + 1) / 2))
        return attacks.ddn(
            lambda x, y: -scores(x)[jnp.arange(BATCH), y],
            scores,
            x,
            y,
            num_steps=40,
            levels=9,
            bounds=(-1.0, 1.0),
        )

    x = np.round(4 * (2 * X - 1)) / 4
    y = SMOOTH.decisions((x + 1) / 2)
    result = jax.jit(searched)(x, y)
    assert np.all(result.success)
    assert np.all(SMOOTH.decisions((result.x_adv + 1) / 2) != y)
    level = 4 * np.asarray(result.x_adv)
    np.testing.assert_array_equal(level, np.round(level))
    assert abs(level).max() == 4


def test_carlini_wagner_reaches_the_confidence_and_aborts_early():
    confidence = 0.5
    wanted = iteration("carlini_wagner", SMOOTH, confidence=confidence, num_steps=100)
    y = np.where(np.arange(BATCH) < 4, NEXT, Y)
    result = jax.jit(lambda x, y: attacks.run(wanted, x, y))(X, y)
    assert np.all(result.success)
    own = np.eye(CLASSES, dtype=bool)[y]

    def margins(x):
        scores = np.array([SMOOTH.by_hand(image)[0] for image in x])
        return np.where(own, -np.inf, scores).max(-1) - scores[own]

    reached, sure = margins(result.x_adv), margins(X) >= confidence
    assert np.any(sure)
    assert np.all(reached > confidence - 1e-5)
    assert np.all(reached[~sure] < confidence + 0.2)
    np.testing.assert_array_equal(np.asarray(result.distortion) == 0, sure)
    steps = np.asarray(result.steps)
    np.testing.assert_array_equal(steps[sure], 0)
    assert np.all(steps[~sure] >= 9 * 20)
    assert np.all(steps[~sure] < 9 * 100)
    np.testing.assert_array_equal(steps % 10, 0)


def by_foolbox(attack, scores, **options):
    """Foolbox's images, and whether they are adversarial."""
    with jax.numpy_rank_promotion("allow"), foolbox_model(scores) as (foolbox, model):
        attack = getattr(foolbox.attacks, attack)(**options)
        return of_foolbox(foolbox, attack, model, jnp.asarray(X), jnp.asarray(Y))


@pytest.mark.parametrize(
    ("name", "peer", "steps"),
    [
        ("ddn", "DDNAttack", 100),
        ("fmn linf", "LInfFMNAttack", 40),
        ("deepfool linf", "LinfDeepFoolAttack", 50),
        ("deepfool l2", "L2DeepFoolAttack", 50),
    ],
)
def test_images_and_their_median_distortion_are_those_of_foolbox(name, peer, steps):
    images, success = by_foolbox(peer, jax.jit(SMOOTH.scores), steps=steps)
    result = search(name)(SMOOTH, X, Y)
    theirs = np.median(length(images - X, NORM[name]))
    assert np.all(success)
    if name == "fmn linf":
        np.testing.assert_allclose(np.median(result.distortion), theirs, rtol=0.005)
    else:
        np.testing.assert_allclose(np.median(result.distortion), theirs, rtol=1e-5)
        np.testing.assert_allclose(result.x_adv, images, atol=1e-4)


def test_with_scores_of_one_scale_carlini_wagner_is_that_of_foolbox():
    scores = np.array([SMOOTH.by_hand(image)[0] for image in X])
    own = np.eye(CLASSES, dtype=bool)[Y]
    margin = np.float32(scores[own] - np.where(own, -np.inf, scores).max(-1))[:, None]
    images, _ = by_foolbox(
        "L2CarliniWagnerAttack",
        jax.jit(lambda x: SMOOTH.scores(x) / margin),
        steps=20,
        binary_search_steps=3,
        stepsize=0.01,
        initial_const=0.02,
        abort_early=False,
    )
    success = images.any(axis=(1, 2, 3))  # Others are black.
    assert 0 < success.sum() < BATCH
    ours = iteration(
        "carlini_wagner",
        SMOOTH,
        num_steps=20,
        num_searches=3,
        step_size=0.01,
        initial_constant=0.02,
        abort_early=False,
    )
    result = jax.jit(lambda x, y: attacks.run(ours, x, y))(X, Y)
    np.testing.assert_array_equal(result.success, success)
    np.testing.assert_array_equal(result.steps, 60)
    found = np.asarray(result.x_adv)[success]
    np.testing.assert_allclose(found, images[success], atol=1e-4)


def check(result, net, x, y, *, norm, targeted):
    """What holds of every result; returns who succeeded."""
    x_adv, success = np.asarray(result.x_adv), np.asarray(result.success)
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    np.testing.assert_array_equal(np.isfinite(result.distortion), success)
    np.testing.assert_array_equal(x_adv[~success], x[~success])
    distortion = length(x_adv.astype(np.float64) - x, norm)[success]
    found = np.asarray(result.distortion)[success]
    np.testing.assert_allclose(found, distortion, rtol=1e-5, atol=1e-6)
    scores = np.array([net.by_hand(image)[0] for image in x_adv])
    own = np.eye(CLASSES, dtype=bool)[y]
    gap = np.where(own, -np.inf, scores).max(-1) - scores[own]
    rounding = 1e-5 * abs(scores).max(-1)
    assert np.all((-gap if targeted else gap)[success] > -rounding[success])
    return success


@pytest.mark.parametrize("name", NORM)
@settings(deadline=None, max_examples=5, derandomize=True)
@given(seed=st.integers(0, 2**31 - 1), s=st.sampled_from([0.0, 1.0, 1e4]))
def test_success_is_a_changed_decision_within_the_bounds(name, seed, s):
    rng, model = np.random.default_rng(seed), net(seed, s)
    x = np.clip(rng.uniform(-0.3, 1.3, X.shape), 0, 1).astype(np.float32)
    y = rng.integers(0, CLASSES, BATCH).astype(np.int32)
    result = search(name)(model, x, y)
    check(result, model, x, y, norm=NORM[name], targeted=False)
    wrong = model.decisions(x) != y
    np.testing.assert_array_equal(np.asarray(result.distortion) == 0, wrong)
    np.testing.assert_array_equal(np.asarray(result.steps) == 0, wrong)


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_class_that_is_never_decided_for_is_a_failure_and_others_are_reached(name):
    model = with_classes_that_never_win(SMOOTH, 3)
    y = np.arange(BATCH, dtype=np.int32) % CLASSES
    result = targeted_search(name, model, X, y)
    success = check(result, model, X, y, norm=NORM[name], targeted=True)
    assert not np.any(success[y == 3])
    assert np.mean(success[y != 3]) > 0.8
    there = model.decisions(X) == y
    assert np.any(there)
    np.testing.assert_array_equal(np.asarray(result.distortion) == 0, there)


@pytest.mark.parametrize("name", ONE_EACH)
def test_examples_at_different_steps_go_on_in_one_state(name):
    init, step = targeted_steps(name)
    states = [init(SMOOTH, X, NEXT)]
    for _ in range(12):
        states.append(step(SMOOTH, states[-1]))
    assert all(leaf.shape[:1] == (BATCH,) for leaf in jax.tree.leaves(states[0]))
    chex.assert_trees_all_equal_shapes_and_dtypes(*states[:2])
    order, half = np.random.default_rng(5).permutation(BATCH), BATCH // 2

    def put_together(early, late):
        return jnp.concatenate([early[order[:half]], late[order[half:]]])

    mixed = jax.tree.map(put_together, states[2], states[7])
    for _ in range(5):
        mixed = step(SMOOTH, mixed)
    made = iteration(name, SMOOTH, targeted=True)
    expected = jax.tree.map(put_together, *map(made.result, (states[7], states[12])))
    chex.assert_trees_all_close(made.result(mixed), expected, atol=1e-6)


@pytest.mark.parametrize("name", NORM)
def test_an_example_does_not_see_its_neighbours(name):
    result = search(name)(SMOOTH, X, Y)
    order, half = np.random.default_rng(6).permutation(BATCH), BATCH // 2
    y = np.where(np.arange(BATCH) < half, Y[order], NEXT[order])
    other = search(name)(SMOOTH, X[order], y)
    np.testing.assert_array_equal(other.distortion[half:], 0)
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf[:half], other),
        jax.tree.map(lambda leaf: leaf[order[:half]], result),
        atol=1e-6,
    )


@pytest.mark.parametrize("name", sorted(set(NORM) - set(OF_A_LOSS)))
def test_the_scale_of_the_scores_does_not_matter(name):
    scaled = SMOOTH._replace(c=SMOOTH.c * np.float32(2.0**-30))
    expected, result = (search(name)(model, X, Y) for model in (SMOOTH, scaled))
    chex.assert_trees_all_close(result, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "scales"),
    [("ddn", (1e-20, 1e20)), ("minimum_distortion", (2.0**-20, 2.0**20))],
)
def test_the_scale_of_the_loss_does_not_matter(name, scales):
    make = getattr(attacks, f"{name}_iteration")

    @jax.jit
    def searched(scale):
        def loss_fn(x, y):
            return scale * loss_with(SMOOTH, x, y)

        made = make(loss_fn, SMOOTH.scores, num_steps=20)
        return attacks.run(made, jnp.asarray(X), jnp.asarray(Y))

    expected = searched(1.0)
    assert np.any(expected.success)
    for scale in scales:
        chex.assert_trees_all_close(searched(scale), expected, atol=1e-4)


ATTACKS = sorted({name.split()[0] for name in NORM})
SCORES = Net.scores.__get__(SMOOTH)
FUNCTIONS = {name: (functools.partial(loss_with, SMOOTH), SCORES) for name in OF_A_LOSS}


def another(name, value):
    """A value of an argument that is not its default."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return {"linf": "l2", "l2": "linf"}[value]
    if value is None:
        return {"levels": 3, "key": jax.random.key(0), "initial_epsilon": 0.1}[name]
    return (-1.0, 2.0) if isinstance(value, tuple) else type(value)(value / 2)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_function_hands_its_arguments_to_its_iteration(attack, monkeypatch):
    module = importlib.import_module(f"robustlabels.attacks.{attack}")
    made = getattr(module, f"{attack}_iteration")
    parameters = inspect.signature(made).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    changed = {name: another(name, value) for name, value in options.items()}
    function = inspect.signature(getattr(attacks, attack)).parameters
    assert {name: function[name].default for name in options} == options
    received = {}

    def spy(*functions, **options):
        received.update(options)
        return attacks.Iteration(lambda x, y: x, lambda x: x, lambda x: functions, 1)

    monkeypatch.setattr(module, made.__name__, spy)
    functions = FUNCTIONS.get(attack, (SCORES,))
    x, y = jnp.asarray(X), jnp.asarray(Y)
    nearest = attacks.MinimumDistortion(x, x[:, 0, 0, 0], y > 0, y)
    monkeypatch.setattr(module, "run", lambda *_: nearest)
    assert getattr(attacks, attack)(*functions, x, y, **changed) is nearest
    assert received == changed


@pytest.mark.parametrize("attack", ATTACKS)
def test_numbers_may_be_traced(attack):
    function = getattr(attacks, attack)
    parameters = inspect.signature(function).parameters
    numbers = {k: p.default for k, p in parameters.items() if type(p.default) is float}
    run = functools.partial(function, *FUNCTIONS.get(attack, (SCORES,)))
    result = jax.eval_shape(lambda x, y, numbers: run(x, y, **numbers), X, Y, numbers)
    assert numbers
    assert result.x_adv.shape == X.shape


SHARED = {
    "num_steps=0": ({"num_steps": 0}, "num_steps=0 is not a whole number of at least"),
    "bounds": ({"bounds": (1.0, 0.0)}, r"bounds=\(1\.0, 0\.0\) must be \(low, high\)"),
    "bytes": (
        {"x": jnp.asarray(255 * X)},
        r"a pixel of x=2\d\d.* outside \[0, 1\]. Divide bytes",
    ),
}
NORMS = {"norm": ({"norm": "l1"}, "norm='l1' is unknown; choose one of 'linf', 'l2'")}
CANDIDATES = {"one": ({"candidates": 1}, "candidates=1 is not a whole .* at least 2")}
BAD = {
    "minimum_distortion": {
        "search": ({"num_searches": 0}, "num_searches=0 is not a whole number"),
        "target": ({"num_targets": 0}, "num_targets=0 is not a whole number"),
        "memory": ({"memory": 0}, "memory=0 is not a whole number of at least 1"),
        "tolerance": (
            {"tolerance": 0.5},
            r"tolerance=0\.5 is outside \[0, 0\.1\].* A share, such as 1e-3",
        ),
    },
    "ddn": {
        "gamma": ({"gamma": 1.5}, r"gamma=1\.5 is outside \[0, 1\]"),
        "radius": ({"initial_epsilon": 0.0}, r"initial_epsilon=0\.0 is outside"),
        "level": ({"levels": 1}, "levels=1 is not a whole number of at least 2"),
        "unbounded": (
            {"levels": 256, "bounds": (-np.inf, 1.0)},
            "an entry of bounds=-inf is outside .* Levels lie between",
        ),
    },
    "fmn": NORMS
    | {
        "gamma": ({"gamma": -0.5}, r"gamma=-0\.5 is outside \[0, 1\]"),
        "final gamma": ({"final_gamma": 2.0}, r"final_gamma=2\.0 is outside \[0, 1\]"),
        "step": ({"step_size": -1.0}, r"step_size=-1\.0 is outside \[0, inf\)"),
        "final step": ({"final_step_size": np.inf}, "final_step_size=inf is outside"),
    },
    "deepfool": NORMS
    | CANDIDATES
    | {"overshoot": ({"overshoot": -0.1}, r"overshoot=-0\.1 is outside \[0, inf\)")},
    "carlini_wagner": {
        "search": ({"num_searches": 0}, "num_searches=0 is not a whole number"),
        "step": ({"step_size": 0.0}, r"step_size=0\.0 is outside"),
        "constant": ({"initial_constant": 0.0}, r"initial_constant=0\.0 is outside"),
        "confidence": ({"confidence": -1.0}, r"confidence=-1\.0 is outside \[0, inf\)"),
        "unbounded": ({"bounds": (0.0, np.inf)}, "bounds=inf .* tanh needs finite"),
    },
    "fab": NORMS
    | CANDIDATES
    | {
        "alpha": ({"alpha_max": 1.5}, r"alpha_max=1\.5 is outside \[0, 1\]"),
        "beta": ({"beta": -0.5}, r"beta=-0\.5 is outside \[0, 1\]"),
        "eta": ({"eta": 0.5}, r"eta=0\.5 is outside \[1, inf\)"),
        "key": (
            {"key": jax.random.key(0)},
            "initial_epsilon=None with a key: a random start",
        ),
        "radius": (
            {"initial_epsilon": 0.1},
            r"initial_epsilon=0\.1 without a key: a random",
        ),
        "wide": (
            {"initial_epsilon": 8, "key": jax.random.key(0)},
            r"epsilon=8 is outside \[0, 1\]",
        ),
    },
}
CASES = {
    f"{attack} {label}": (attack, *case)
    for attack, own in BAD.items()
    for label, case in (SHARED | own).items()
}


@pytest.mark.parametrize(("attack", "change", "message"), CASES.values(), ids=CASES)
def test_bad_input_is_refused(attack, change, message):
    functions = FUNCTIONS.get(attack, (SCORES,))
    good = {"x": jnp.asarray(X), "y": jnp.asarray(Y)}
    with pytest.raises(ValueError, match=message):
        getattr(attacks, attack)(*functions, **(good | change))

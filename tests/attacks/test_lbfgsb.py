"""The box-constrained solver against SciPy's: problems of all kinds in one batch."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.attacks import lbfgsb

VARIABLES, MEMORY, BOX = 20, 10, (0.0, 1.0)
RNG = np.random.default_rng(0)


def rosenbrock(high, z):
    """Between -1.5 and `high`, seen from the unit box."""
    x = -1.5 + (high + 1.5) * z
    return scipy.optimize.rosen(x), (high + 1.5) * scipy.optimize.rosen_der(x)


def quadratic(matrix, top, z):
    gradient = matrix @ (z - top)
    return (z - top) @ gradient / 2, gradient


def ill_conditioned(condition):
    basis = np.linalg.qr(RNG.normal(size=(VARIABLES, VARIABLES)))[0]
    matrix = basis * np.geomspace(1, condition, VARIABLES) @ basis.T
    return functools.partial(quadratic, matrix, RNG.normal(0.5, 1, VARIABLES))


def logistic(features, signs, z):
    """Weights between -1/2 and 1/2, with a small decay."""
    weights = z - 0.5
    margins = signs * (features @ weights)
    slopes = -signs / (1 + np.exp(margins)) / len(signs)
    loss = np.mean(np.logaddexp(0, -margins)) + 1e-3 * weights @ weights
    return loss, features.T @ slopes + 2e-3 * weights


def regression(examples):
    features = RNG.normal(size=(examples, VARIABLES)) * np.geomspace(0.1, 3, VARIABLES)
    signs = np.sign(features @ RNG.normal(size=VARIABLES) + RNG.normal(size=examples))
    return functools.partial(logistic, features, signs)


PROBLEMS = {
    **{f"rosenbrock {h}": functools.partial(rosenbrock, h) for h in (0.6, 0.8, 0.9)},
    **{f"quadratic {10**p:g}": ill_conditioned(10**p) for p in (1, 2, 3, 4, 5)},
    **{f"regression {n}": regression(n) for n in (15, 40, 100, 300)},
}
NOT_CONVEX = 3  # The first ones; they have more than one minimum.
START = RNG.uniform(0.6, 0.95, (len(PROBLEMS), VARIABLES)).astype(np.float32)
PROPOSE = jax.jit(functools.partial(lbfgsb.propose, bounds=BOX))
OBSERVE = jax.jit(functools.partial(lbfgsb.observe, bounds=BOX))


def evaluate(points):
    """Of one point for each problem."""
    problems = zip(PROBLEMS.values(), np.float64(points), strict=True)
    values, gradients = zip(*(f(point) for f, point in problems), strict=True)
    return np.float32(values), np.float32(gradients)


def started(x, weight=0.0):
    """The first step is as long as SciPy's: one unit along the gradient."""
    slopes = evaluate(x)[1]
    scale = jnp.asarray(1 / np.linalg.norm(slopes, axis=1))
    weights = jnp.full(len(x), weight)
    return lbfgsb.start(jnp.asarray(x), memory=MEMORY, weight=weights, scale=scale)


def step(descent):
    trial = PROPOSE(descent)
    values, gradients = evaluate(np.asarray(trial))
    return OBSERVE(descent, trial, values, gradients)[0]


def course(descent, steps):
    """The descent afterwards, and the whole values on the way, [steps, problems]."""
    values = []
    for _ in range(steps):
        descent = step(descent)
        values.append(np.asarray(descent.whole_value()))
    return descent, np.stack(values)


@functools.cache
def whole_course():
    return course(started(START), 200)


def by_scipy(function, x, weight=0.0):
    """The lowest value after each evaluation, and the solution."""
    lowest = []

    def whole(z):
        away = z - x
        value, gradient = function(z)
        value += weight * away @ away
        lowest.append(min([value, *lowest[-1:]]))
        return value, gradient + 2 * weight * away

    options = {"maxcor": MEMORY, "ftol": 1e-12, "gtol": 1e-9, "maxiter": 2000}
    found = scipy.optimize.minimize(
        whole,
        np.float64(x),
        jac=True,
        method="L-BFGS-B",
        bounds=[BOX] * VARIABLES,
        options=options,
    )
    return np.asarray(lowest), found.x


def steps_to(values, threshold):
    """How many evaluations it takes to get below."""
    below = np.asarray(values) <= threshold
    assert below.any()
    return int(below.argmax()) + 1


def test_every_problem_comes_to_the_optimum_of_scipy_in_as_many_evaluations():
    descent, values = whole_course()
    ours, theirs = [], []
    for i, (name, problem) in enumerate(PROBLEMS.items()):
        lowest, x = by_scipy(problem, START[i])
        optimum = lowest[-1] + 1e-4 * abs(lowest[-1])
        ours.append(steps_to(values[:, i], optimum))
        theirs.append(steps_to(lowest, optimum))
        assert ours[-1] <= 2 * theirs[-1] + 10, name
        held = (x == 0) | (x == 1)
        if "1e+0" not in name:
            np.testing.assert_allclose(descent.x[i], x, atol=2e-2, err_msg=name)
            assert np.all((np.asarray(descent.x[i]) == x)[held]), name
    assert sum(ours) <= 1.2 * sum(theirs)


def test_the_quadratic_term_is_part_of_what_is_minimised():
    descent, values = course(started(START, weight=0.3), 100)
    for i, problem in enumerate(PROBLEMS.values()):
        if i < NOT_CONVEX:
            continue
        lowest, x = by_scipy(problem, START[i], weight=0.3)
        np.testing.assert_allclose(values[-1, i], lowest[-1], rtol=2e-4)
        np.testing.assert_allclose(descent.x[i], x, atol=1e-2)


def test_another_weight_between_two_steps_leads_to_its_own_optimum():
    descent, _ = course(started(START, weight=3.0), 20)
    descent = descent._replace(weight=jnp.full(len(START), 0.3), length=descent.length)
    _, values = course(descent, 100)
    for i, problem in enumerate(PROBLEMS.values()):
        if i < NOT_CONVEX:
            continue
        lowest, _ = by_scipy(problem, START[i], weight=0.3)
        np.testing.assert_allclose(values[-1, i], lowest[-1], rtol=2e-4)


def test_a_minimum_has_no_residual_and_its_value_never_rose():
    descent, values = whole_course()
    rounding = 1e-5 * np.abs(values[:-1]) + 1e-7
    assert np.all(np.diff(values, axis=0) <= rounding)
    ones = jnp.ones(len(START))
    before = lbfgsb.residual(step(started(START)), BOX, step_size=ones)
    after = lbfgsb.residual(descent, BOX, step_size=ones)
    assert np.all(after < 1e-2 * before)


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=20)
def test_no_trial_leaves_the_box(seed):
    x = np.random.default_rng(seed).uniform(0, 1, START.shape).astype(np.float32)
    x[x < 0.2] = 0.0
    x[x > 0.8] = 1.0
    descent = started(x)
    for _ in range(5):
        trial = np.asarray(PROPOSE(descent))
        assert trial.min() >= 0
        assert trial.max() <= 1
        descent = step(descent)


def test_without_curvature_it_follows_the_gradient_to_the_corner():
    slopes = jnp.array([[1.0, -2.0, 0.0]])
    descent = lbfgsb.start(
        jnp.full((1, 3), 0.5), memory=2, weight=jnp.zeros(1), scale=jnp.ones(1)
    )
    for _ in range(5):
        trial = lbfgsb.propose(descent, BOX)
        value = jnp.sum(slopes * trial, axis=1)
        descent, accepted = lbfgsb.observe(descent, trial, value, slopes, BOX)
        assert accepted.all()
    np.testing.assert_array_equal(descent.x, [[0.0, 1.0, 0.5]])


def test_some_begin_again_and_the_others_do_not_notice():
    descent, _ = course(started(START), 12)
    where = jnp.arange(len(START)) % 2 == 0
    mixed = lbfgsb.restart(descent, where)
    mixed = mixed._replace(scale=jnp.where(where, started(START).scale, mixed.scale))
    _, expected_again = course(started(START), 12)
    _, expected_on = course(descent, 12)
    _, found = course(mixed, 12)
    np.testing.assert_allclose(found[:, ::2], expected_again[:, ::2], rtol=1e-6)
    np.testing.assert_allclose(found[:, 1::2], expected_on[:, 1::2], rtol=1e-6)


def test_a_descent_under_vmap_is_that_of_its_batch():
    descent, _ = course(started(START), 3)
    single = jax.tree.map(lambda leaf: leaf[:, None], descent)
    found = jax.vmap(lambda one: lbfgsb.propose(one, BOX))(single)
    chex.assert_trees_all_close(found[:, 0], PROPOSE(descent), atol=1e-6)

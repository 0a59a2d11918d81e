"""FAB's projection against linear and quadratic programs, its steps against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels import attacks
from robustlabels.attacks.fab import onto_hyperplane

ORDER = {"linf": np.inf, "l2": 2}
BOX = (0.0, 1.0)
PROJECT = {
    norm: jax.jit(functools.partial(onto_hyperplane, norm=norm, bounds=BOX))
    for norm in ORDER
}


def problems(seed, pixels):
    """Four images at the bounds and between, normals with zeros, what is wanted."""
    rng = np.random.default_rng(seed)
    x = np.clip(rng.uniform(-0.5, 1.5, (4, pixels)), 0, 1).astype(np.float32)
    normal = rng.normal(size=(4, pixels)) * rng.integers(0, 2, (4, pixels))
    up = np.maximum(normal, 0) * (1 - x) - np.minimum(normal, 0) * x
    down = np.maximum(normal, 0) * x - np.minimum(normal, 0) * (1 - x)
    share = np.array([0.05, -0.3, 0.9, 1.5]) * rng.choice([-1, 1], 4)
    amount = share * np.where(share > 0, up.sum(-1), down.sum(-1))
    return x, normal.astype(np.float32), amount.astype(np.float32)


def by_linear_program(x, normal, amount):
    """Least t with |δ| ≤ t, ⟨normal, δ⟩ = amount, 0 ≤ x + δ ≤ 1."""
    n = len(x)
    eye, ones = np.eye(n), np.ones((n, 1))
    return scipy.optimize.linprog(
        [*[0] * n, 1],
        A_ub=np.block([[eye, -ones], [-eye, -ones]]),
        b_ub=np.zeros(2 * n),
        A_eq=[[*normal, 0]],
        b_eq=[amount],
        bounds=[*zip(-x, 1 - x, strict=True), (0, None)],
    )


def by_quadratic_program(x, normal, amount):
    """Least ‖δ‖ with ⟨normal, δ⟩ = amount, 0 ≤ x + δ ≤ 1."""
    return scipy.optimize.minimize(
        lambda delta: delta @ delta,
        np.zeros(len(x)),
        jac=lambda delta: 2 * delta,
        bounds=[*zip(-x, 1 - x, strict=True)],
        constraints={
            "type": "eq",
            "fun": lambda delta: normal @ delta - amount,
            "jac": lambda delta: normal,
        },
        method="SLSQP",
    )


@pytest.mark.parametrize("norm", ORDER)
@settings(deadline=None, max_examples=15, derandomize=True)
@given(seed=st.integers(0, 2**31 - 1), pixels=st.sampled_from([1, 6]))
def test_the_projection_solves_its_program(norm, seed, pixels):
    x, normal, amount = problems(seed, pixels)
    found = np.asarray(PROJECT[norm](x, normal, amount), np.float64)
    assert np.all((x + found >= -1e-6) & (x + found <= 1 + 1e-6))
    reached = np.sum(normal * found, -1)
    for delta, value, *problem in zip(found, reached, x, normal, amount, strict=True):
        image, w, wanted = (np.asarray(array, np.float64) for array in problem)
        ahead = np.sign(wanted) * w
        most = np.maximum(ahead * (1 - image), -ahead * image).sum()
        if most <= abs(wanted) * (1 + 1e-6):
            np.testing.assert_allclose(value, np.sign(wanted) * most, atol=1e-5)
            continue
        np.testing.assert_allclose(value, wanted, atol=1e-5)
        program = by_linear_program if norm == "linf" else by_quadratic_program
        solved = program(image, w, wanted)
        assert solved.success
        least = solved.fun if norm == "linf" else np.sqrt(solved.fun)
        np.testing.assert_allclose(np.linalg.norm(delta, ORDER[norm]), least, atol=1e-5)


@pytest.mark.parametrize("norm", ORDER)
def test_the_projection_is_that_of_a_free_space_without_bounds(norm):
    x, normal, amount = problems(0, 6)
    free = functools.partial(onto_hyperplane, norm=norm, bounds=(-np.inf, np.inf))
    project = jax.jit(free)
    found = project(x, normal, amount)
    dual = np.linalg.norm(normal, {"linf": 1, "l2": 2}[norm], axis=-1)
    direction = np.sign(normal) if norm == "linf" else normal / dual[:, None]
    expected = direction * (amount / dual)[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    for scale in [1e-30, 1e30]:
        scaled = project(x, np.float32(scale) * normal, np.float32(scale) * amount)
        np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=1e-6)
    still = project(x, np.zeros_like(x), amount)
    np.testing.assert_array_equal(still, 0)


CLASSES = 5
W1 = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)
W2 = np.random.default_rng(2).normal(size=(8, CLASSES)).astype(np.float32)
X = np.random.default_rng(3).uniform(0, 0.8, (8, 6)).astype(np.float32)


def scores(x):
    return jnp.tanh((x - 0.4) @ W1) @ W2


DECIDED = np.asarray(scores(X)).argmax(-1).astype(np.int32)


def by_hand(image):
    """Scores and their gradients [classes, pixels], in doubles."""
    hidden = np.tanh((image - 0.4) @ W1.astype(np.float64))
    return hidden @ W2, (W1 * (1 - hidden**2) @ W2).T


def onto_hyperplane_by_hand(x, w, amount, norm):
    """By bisection on the time for which pixels move."""
    w = np.sign(amount) * w
    room, speed = np.where(w > 0, 1 - x, x), np.ones(6) if norm == "linf" else abs(w)
    low, high = 0.0, 1e6
    for _ in range(200):
        time = (low + high) / 2
        enough = abs(w) @ np.minimum(time * speed, room) >= abs(amount)
        low, high = (low, time) if enough else (time, high)
    return np.sign(w) * np.minimum(high * speed, room)


def step_by_hand(last, x, y, norm, *, towards, found):
    """Croce & Hein (2020), algorithm 1, one step; the image, and where the next is."""
    values, gradients = by_hand(last)
    others = [k for k in range(CLASSES) if k != y]
    if towards:
        others = [max(others, key=values.__getitem__)]
    gaps, slopes = values[others] - values[y], gradients[others] - gradients[y]
    distances = abs(gaps) / np.linalg.norm(slopes, {"linf": 1, "l2": 2}[norm], axis=-1)
    gap, w = gaps[distances.argmin()], slopes[distances.argmin()]
    from_last = onto_hyperplane_by_hand(last, w, -gap, norm)
    from_x = onto_hyperplane_by_hand(x, w, -gap - w @ (x - last), norm)
    near, far = (np.linalg.norm(d, ORDER[norm]) for d in (from_last, from_x))
    alpha = 0 if towards and not found else min(near / (near + far), 0.1)
    image = (1 - alpha) * (last + 1.05 * from_last) + alpha * (x + 1.05 * from_x)
    image = np.clip(image, 0, 1)
    adversarial = (by_hand(image)[0].argmax() == y) == towards
    return image, adversarial, 0.1 * x + 0.9 * image if adversarial else image


@pytest.mark.parametrize(("norm", "towards"), [("linf", False), ("l2", True)])
def test_steps_are_those_of_the_algorithm(norm, towards):
    y = (DECIDED + 2 * towards) % CLASSES
    iteration = attacks.fab_iteration(scores, norm=norm, targeted=towards)
    step, state = jax.jit(iteration.step), jax.jit(iteration.init)(X, y)
    lasts, best = X.astype(np.float64), np.full(len(X), np.inf)
    for number in range(10):
        state = step(state)
        for i, (last, x) in enumerate(zip(lasts, np.float64(X), strict=True)):
            image, adversarial, lasts[i] = step_by_hand(
                last, x, y[i], norm, towards=towards, found=np.isfinite(best[i])
            )
            if adversarial:
                best[i] = min(best[i], np.linalg.norm(image - x, ORDER[norm]))
        np.testing.assert_allclose(state.x_adv, lasts, atol=1e-4)
        assert number > 0 or np.isinf(best).any()
    assert np.isfinite(best).all()
    np.testing.assert_allclose(iteration.result(state).distortion, best, rtol=1e-3)


def test_a_key_starts_anywhere_in_a_ball_of_the_radius():
    @jax.jit
    def start(key):
        iteration = attacks.fab_iteration(
            scores, norm="l2", key=key, initial_epsilon=0.2, bounds=(-1.0, 2.0)
        )
        return iteration.init(jnp.asarray(X), jnp.asarray(DECIDED))

    keys = jax.random.split(jax.random.key(0), 8)
    state = start(keys)
    distance = np.linalg.norm(state.x_adv - X, axis=-1)
    assert np.all(distance < 0.2)
    assert distance.max() > 0.15
    assert np.all(~np.isfinite(state.nearest.distortion))
    again = start(keys[::-1])
    np.testing.assert_allclose(again.x_adv - X, (state.x_adv - X)[::-1], atol=1e-6)

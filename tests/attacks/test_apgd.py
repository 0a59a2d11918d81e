"""Auto-PGD against its algorithm in NumPy, closed forms and PGD."""

import functools
from fractions import Fraction

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, PartitionSpec

from robustlabels import attacks
from robustlabels.attacks.apgd import apgd, apgd_iteration

BATCH, SHAPE, CLASSES = 8, (4, 4, 2), 4
NORMS = ["linf", "l2"]
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(BATCH, *SHAPE)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, CLASSES, BATCH), jnp.int32)
W1 = RNG.normal(size=(32, 16))
W2 = RNG.normal(size=(16, CLASSES))
KEYS = jax.random.split(jax.random.key(7), BATCH)
EPSILON = {"linf": 0.15, "l2": 0.6}


def loss_fn(x, y):
    logits = jnp.tanh(x.reshape(len(x), -1) @ W1.astype(x.dtype)) @ W2.astype(x.dtype)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)[:, 0]


def loss_and_gradient(x, y):
    """Of `loss_fn` for one image, in double precision."""
    hidden = np.tanh(x.reshape(-1) @ W1)
    logits = hidden @ W2
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    loss = -np.log(probabilities[y])
    probabilities[y] -= 1
    return loss, (W1 @ ((1 - hidden**2) * (W2 @ probabilities))).reshape(x.shape)


def unit(v, norm):
    return np.sign(v) if norm == "linf" else v / max(np.linalg.norm(v), 1e-30)


def checkpoints_by_hand(num_steps):
    """w_j = ⌈p_j N⌉ with p_0 = 0, p_1 = 0.22 and the published recursion."""
    p = [Fraction(0), Fraction(22, 100)]
    while p[-1] <= 1:
        gap = max(p[-1] - p[-2] - Fraction(3, 100), Fraction(6, 100))
        p.append(p[-1] + gap)
    return sorted({int(np.ceil(share * num_steps)) for share in p[:-1]})


def apgd_by_hand(x, y, epsilon, num_steps, norm, rho, alpha):
    """One image: step size and best loss after every step, and why it halved."""

    def project(z):
        delta = z - x
        if norm == "linf":
            delta = np.clip(delta, -epsilon, epsilon)
        else:
            delta = delta * min(1, epsilon / max(np.linalg.norm(delta), 1e-30))
        return np.clip(x + delta, 0, 1)

    checkpoints = checkpoints_by_hand(num_steps)
    eta, last, f_checked, reduced, rises = 2 * epsilon, 0, None, False, 0
    before = now = best = x
    f, g = loss_and_gradient(now, y)
    f_best = f_checked = f
    g_best = g
    etas, best_losses, reasons = [], [], []
    for k in range(1, num_steps + 1):
        z = project(now + eta * unit(g, norm))
        if k > 1:
            z = project(now + alpha * (z - now) + (1 - alpha) * (now - before))
        before, now = now, z
        f_old, (f, g) = f, loss_and_gradient(now, y)
        rises += f > f_old
        if f > f_best:
            best, f_best, g_best = now, f, g
        if k in checkpoints:
            first = rises < rho * (k - last)
            second = not reduced and f_best == f_checked
            reasons.append((bool(first), bool(second)))
            reduced = first or second
            if reduced:
                eta, now, f, g = eta / 2, best, f_best, g_best
            last, f_checked, rises = k, f_best, 0
        etas.append(eta)
        best_losses.append(f_best)
    return np.array(etas), np.array(best_losses), reasons


def traced(iteration, x, at_each_step):
    """What a function of the state says after every step: [steps, ...]."""

    def step(state, _):
        state = iteration.step(state)
        return state, at_each_step(state)

    start = iteration.init(x, Y[: len(x)])
    return jax.lax.scan(step, start, length=iteration.num_steps)[1]


@pytest.mark.parametrize("norm", NORMS)
def test_it_is_the_published_algorithm(norm):
    epsilon, num_steps, images = EPSILON[norm], 60, np.asarray(X, np.float64)

    @jax.jit
    def trace(x, rho, alpha):
        iteration = apgd_iteration(
            loss_fn,
            epsilon=epsilon,
            num_steps=num_steps,
            norm=norm,
            rho=rho,
            alpha=alpha,
        )
        return traced(iteration, x, lambda s: (s.step_size, s.best.loss))

    reasons = set()
    for rho, alpha in [(0.75, 0.75), (0.3, 0.9)]:
        with jax.enable_x64(True):
            sizes, losses = trace(jnp.asarray(images), rho, alpha)
        for i, (image, label) in enumerate(zip(images, np.asarray(Y), strict=True)):
            etas, best_losses, why = apgd_by_hand(
                image, label, epsilon, num_steps, norm, rho, alpha
            )
            reasons.update(why)
            np.testing.assert_allclose(sizes[:, i].ravel(), etas, rtol=1e-12)
            np.testing.assert_allclose(losses[:, i], best_losses, rtol=1e-9)
    assert len(reasons) == 4, "the example shows too little of the algorithm"


@pytest.mark.parametrize("num_steps", [3, 100])
def test_a_loss_that_never_rises_halves_the_step_at_every_checkpoint(num_steps):
    iteration = apgd_iteration(
        lambda x, y: jnp.zeros(len(x)), epsilon=0.5, num_steps=num_steps
    )
    sizes = traced(iteration, jnp.full((1, 2), 0.5), lambda s: s.step_size).ravel()
    checkpoints = np.array(checkpoints_by_hand(num_steps)[1:])
    passed = (np.arange(1, num_steps + 1)[:, None] >= checkpoints[None]).sum(1)
    np.testing.assert_array_equal(sizes, 0.5 ** passed.astype(np.float32))


WEIGHTS = RNG.normal(size=(1, *SHAPE)).astype(np.float32)


def linear(x, y):
    return jnp.sum(x * WEIGHTS, axis=(1, 2, 3))


def test_linf_reaches_the_corner_on_a_linear_loss():
    attack = functools.partial(apgd, linear, epsilon=0.3, num_steps=20)
    x_adv = jax.jit(attack)(X, Y)
    corner = np.clip(np.asarray(X) + 0.3 * np.sign(WEIGHTS), 0, 1)
    np.testing.assert_allclose(x_adv, corner, atol=1e-6)


def test_l2_reaches_the_steepest_point_on_a_linear_loss():
    x = 0.4 + 0.2 * X
    attack = functools.partial(apgd, linear, epsilon=0.35, num_steps=40, norm="l2")
    x_adv = jax.jit(attack)(x, Y)
    steepest = np.asarray(x) + 0.35 * WEIGHTS / np.linalg.norm(WEIGHTS)
    np.testing.assert_allclose(x_adv, steepest, atol=2e-4)


@functools.partial(jax.jit, static_argnames="norm")
def hundred_steps(x, epsilon, key, norm):
    return apgd(loss_fn, x, Y, epsilon=epsilon, norm=norm, key=key)


@pytest.mark.parametrize("norm", NORMS)
def test_it_finds_what_pgd_finds_with_any_step_size(norm):
    epsilon = jnp.full(BATCH, EPSILON[norm], jnp.float32)
    found = loss_fn(hundred_steps(X, epsilon, KEYS, norm), Y)
    pgd = functools.partial(attacks.pgd, loss_fn, num_steps=100, norm=norm)
    for share in [0.01, 0.03, 0.1, 0.25, 1.0]:
        other = jax.jit(pgd)(X, Y, epsilon=epsilon, step_size=share * epsilon, key=KEYS)
        assert np.mean(found - loss_fn(other, Y)) >= -1e-6
        assert np.all(found >= loss_fn(other, Y) - 2e-3)


def test_the_result_is_the_best_point_so_far_at_any_step():
    iteration = apgd_iteration(loss_fn, epsilon=0.3, num_steps=25)

    def losses_of(state):
        result = iteration.result(state)
        return loss_fn(state.here.x_adv, Y), loss_fn(result, Y), state.best.loss

    here, best, claimed = jax.jit(lambda x: traced(iteration, x, losses_of))(X)
    assert np.any(np.diff(here, axis=0) < 0)
    visited = np.concatenate([loss_fn(X, Y)[None], here])
    np.testing.assert_allclose(best, np.maximum.accumulate(visited)[1:], atol=1e-5)
    np.testing.assert_allclose(claimed, best, atol=1e-5)


def test_a_step_evaluates_the_loss_once():
    calls = []

    def counted(x, y):
        calls.append(x)
        return loss_fn(x, y)

    iteration = apgd_iteration(counted, epsilon=0.1)
    state = jax.eval_shape(iteration.init, X, Y)
    assert len(calls) == 1
    jax.eval_shape(iteration.step, state)
    assert len(calls) == 2
    jax.eval_shape(iteration.result, state)
    assert len(calls) == 2


@pytest.mark.parametrize("norm", NORMS)
@settings(deadline=None, max_examples=12, derandomize=True)
@given(
    epsilon=st.lists(
        st.one_of(st.just(0.0), st.floats(0, 1, width=32)),
        min_size=BATCH,
        max_size=BATCH,
    ),
    seed=st.integers(0, 2**31 - 1),
)
def test_it_stays_in_the_ball_and_the_box(norm, epsilon, seed):
    rng = np.random.default_rng(seed)
    x = np.clip(rng.uniform(-0.3, 1.3, X.shape), 0, 1).astype(np.float32)
    epsilon = np.array(epsilon, np.float32)
    keys = jax.random.split(jax.random.key(seed), BATCH)
    x_adv = np.asarray(hundred_steps(jnp.asarray(x), epsilon, keys, norm))
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    delta = (x_adv.astype(np.float64) - x).reshape(BATCH, -1)
    length = np.linalg.norm(delta, axis=1, ord=None if norm == "l2" else np.inf)
    assert np.all(length <= epsilon * (1 + 1e-5) + 1e-6)
    np.testing.assert_array_equal(x_adv[epsilon == 0], x[epsilon == 0])


def over_shards_one_by_one(attack):
    def single(x, y, epsilon, key):
        return attack(x[None], y[None], epsilon, key[None])[0]

    mesh, spec = Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data")
    return jax.shard_map(jax.vmap(single), mesh=mesh, in_specs=spec, out_specs=spec)


def test_steps_from_the_host_give_what_every_transform_gives():
    def attack(x, y, epsilon, key):
        return apgd(loss_fn, x, y, epsilon=epsilon, num_steps=9, key=key)

    epsilon = jnp.linspace(0.0, 0.4, BATCH)
    iteration = apgd_iteration(loss_fn, epsilon=epsilon, num_steps=9, key=KEYS)
    step, ages = jax.jit(iteration.step), [jax.jit(iteration.init)(X, Y)]
    for _ in range(9):
        ages.append(step(ages[-1]))
    found = jax.jit(over_shards_one_by_one(attack))(X, Y, epsilon, KEYS)
    np.testing.assert_allclose(found, iteration.result(ages[-1]), atol=2e-6)

    assert all(leaf.shape[:1] == (BATCH,) for leaf in jax.tree.leaves(ages[0]))
    chex.assert_trees_all_equal_shapes_and_dtypes(ages[0], ages[-1])
    # Examples of different ages, in another order, go on as they would.
    picks = [(2, 5), (0, 1), (4, 3), (3, 5), (1, 0), (4, 7), (2, 2), (0, 6)]
    ages = jax.device_get(ages)

    def picked(later):
        return jax.tree.map(
            lambda *leaves: np.stack([leaves[age + later][i] for age, i in picks]),
            *ages,
        )

    mixed = picked(later=0)
    for _ in range(5):
        mixed = step(mixed)
    chex.assert_trees_all_close(mixed, picked(later=5), atol=2e-6)


def test_images_keep_their_type():
    def attack(x):
        return apgd(
            lambda x, y: jnp.sum(x, axis=(1, 2, 3)),
            x,
            Y,
            epsilon=jnp.bfloat16(0.1),
            num_steps=2,
            alpha=jnp.float32(0.75),
            key=KEYS,
        )

    assert jax.eval_shape(attack, X.astype(jnp.bfloat16)).dtype == jnp.bfloat16


BAD = {
    "epsilon in bytes": ({"epsilon": 8}, r"epsilon=8 is outside \[0, 1\]. .* not 8"),
    "norm": ({"norm": "l1"}, "norm='l1' is unknown; choose one of 'linf', 'l2'"),
    "no step": ({"num_steps": 0}, "num_steps=0 is not a whole number of at least 1"),
    "rho": ({"rho": 1.5}, r"rho=1.5 is outside \[0, 1\]. The paper takes 0.75"),
    "alpha": ({"alpha": -0.1}, r"alpha=-0.1 is outside \[0, 1\]"),
    "bounds": ({"bounds": (1.0, 0.0)}, r"bounds=\(1.0, 0.0\) must be \(low, high\)"),
    "bytes": ({"x": 255 * X}, r"a pixel of x=2\d\d.* outside \[0, 1\]. Divide bytes"),
    "too few keys": ({"key": KEYS[:5]}, r"key of shape \(5,\): give one key, or one"),
    "epsilon's shape": ({"epsilon": jnp.full(5, 0.1)}, "fits neither 8 examples nor"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        apgd(loss_fn, **({"x": X, "y": Y, "epsilon": 0.1} | change))

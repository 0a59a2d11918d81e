"""Square attack against its schedule, its patterns in NumPy, closed forms and PGD."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import TypeCheckError

from robustlabels import attacks
from robustlabels.attacks.square import square, square_iteration

BATCH, SHAPE = 8, (6, 8, 2)
NORMS = ["linf", "l2"]
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(BATCH, *SHAPE)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, 3, BATCH), jnp.int32)
# Weights that are smooth, as those of nets for images are.
COARSE = RNG.normal(size=(2, 2, 2, 16)) / 8
W1 = COARSE.repeat(3, 0).repeat(4, 1).reshape(96, 16).astype(np.float32)
W2 = RNG.normal(size=(16, 3)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(3), BATCH)
EPSILON = jnp.linspace(0.0, 0.4, BATCH)
FREE = (-np.inf, np.inf)


def logits(x):
    return jnp.tanh(x.reshape(len(x), -1) @ W1) @ W2


def loss_fn(x, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits(x)), y[:, None], 1)[:, 0]


def flat(x, y):
    return jnp.zeros_like(x, shape=x.shape[:1])


def published_side(step, num_steps, area):
    """Of the square at p = 0.8, halved after the published shares of 10,000 queries."""
    halved = sum(
        step * 10_000 > after * num_steps
        for after in [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]
    )
    return round(np.sqrt(0.8 / 2**halved * area))


def moved_from(delta, steps, *, norm, epsilon, seed, num_steps=5000):
    """Changes, each after one step, which is kept: at such steps, from such changes."""
    iteration = square_iteration(
        flat,
        epsilon=epsilon,
        key=jax.random.key(seed),
        num_steps=num_steps,
        norm=norm,
        bounds=FREE,
    )

    @jax.jit
    def move(x, delta, steps):
        state = iteration.init(x, steps)
        state = state._replace(x_adv=x + delta, steps=steps, loss=state.loss - 1)
        return iteration.step(state).x_adv - x

    x = jnp.zeros(delta.shape, jnp.float32)
    return np.asarray(move(x, jnp.asarray(delta, jnp.float32), jnp.asarray(steps)))


EVENTFUL = [0, 5, 6, 25, 26, 100, 101, 250, 251, 500, 501, 1000, 1001, 2000, 2001]
EVENTFUL += [3000, 3001, 4000, 4001, 4999]


def test_linf_fills_a_square_of_the_published_size_channel_by_channel():
    shape, epsilon, many = (20, 24, 2), 0.5, 400
    steps = np.append(np.full(many, 4999), EVENTFUL).astype(np.int32)
    delta = moved_from(
        np.zeros((len(steps), *shape)), steps, norm="linf", epsilon=epsilon, seed=0
    )
    corners, signs = [], []
    for change, step in zip(delta, steps, strict=True):
        side = min(max(published_side(step, 5000, 480), 1), 20)
        rows, columns = np.nonzero(change[..., 0])
        top, left = rows.min(), columns.min()
        expected = np.zeros(shape)
        expected[top : top + side, left : left + side] = change[top, left]
        np.testing.assert_array_equal(abs(change[top, left]), epsilon)
        np.testing.assert_array_equal(change, expected)
        corners.append((top, left))
        signs.append(np.sign(change[top, left]))
    assert side == 1
    for axis, places in enumerate([20, 24]):  # χ², 0.999 of it below the limit.
        hits = np.bincount(np.array(corners)[:many, axis], minlength=places)
        limit = scipy.stats.chi2.ppf(0.999, places - 1)
        assert np.sum((hits - many / places) ** 2) / (many / places) < limit
    assert np.all(abs(np.sum(signs, axis=0)) < 4 * np.sqrt(len(signs)))
    assert abs(np.sum(np.prod(signs, axis=1))) < 4 * np.sqrt(len(signs))


def bump_by_hand(height, width):
    """η of equation 2: sums of 1 / (n + 1 - k)² up to M, n = ⌊h₁ / 2⌋, from 1."""
    n = height // 2
    eta = np.zeros((height, width))
    for r in range(1, height + 1):
        for s in range(1, width + 1):
            m = n - max(abs(r - height // 2 - 1), abs(s - width // 2 - 1))
            eta[r - 1, s - 1] = sum(1 / (n + 1 - k) ** 2 for k in range(m + 1))
    return eta


def pattern_by_hand(side):
    half = side // 2
    eta = np.hstack([bump_by_hand(side, half), -bump_by_hand(side, side - half)])
    return eta / np.linalg.norm(eta)


def test_l2_moves_what_two_squares_hold_and_what_is_unused_into_one():
    shape, epsilon = (20, 24, 3), 0.7
    steps = np.array(2 * EVENTFUL, np.int32)
    before = np.random.default_rng(1).normal(size=(len(steps), *shape))
    before *= 0.9 * epsilon / np.sqrt(np.sum(before**2, (1, 2, 3), keepdims=True))
    before[::3] = 0
    after = moved_from(before, steps, norm="l2", epsilon=epsilon, seed=2)
    turns, emptied = set(), []
    for old, new, step in zip(before, after, steps, strict=True):
        side = max(published_side(step, 5000, 480), 3)
        side = min(side + (side + 1) % 2, 20)
        assert np.linalg.norm(new) == pytest.approx(epsilon, abs=1e-5)
        unused = (epsilon**2 - np.sum(old**2)) / 3
        energy = np.sum(old**2, (0, 1)) + unused
        np.testing.assert_allclose(np.sum(new**2, (0, 1)), energy, atol=1e-5)
        touched = abs(new - old).max(-1) > 1e-6
        emptied.append(np.any((abs(new) < 1e-6) & (abs(old) > 1e-3)))
        rows, columns = np.nonzero(touched & (abs(new).max(-1) > 1e-6))
        top, left = rows.min(), columns.min()
        assert rows.max() < top + side
        assert columns.max() < left + side
        window = (slice(top, top + side), slice(left, left + side))
        assert np.sum(touched) <= 2 * side**2
        length = np.linalg.norm(old[window], axis=(0, 1))
        kept = old[window] / np.where(length > 0, length, 1)
        errors = {}
        for turned, eta in enumerate([pattern_by_hand(side), pattern_by_hand(side).T]):
            errors[turned] = 0.0
            for channel in range(3):
                found = new[window][..., channel]
                found = found / np.linalg.norm(found)
                candidates = [rho * eta + kept[..., channel] for rho in (-1, 1)]
                errors[turned] = max(
                    errors[turned],
                    min(abs(found - c / np.linalg.norm(c)).max() for c in candidates),
                )
        assert min(errors.values()) < 1e-4
        turns.add(min(errors, key=errors.get))
    assert turns == {0, 1}
    assert any(emptied)


def test_linf_starts_with_vertical_stripes():
    iteration = square_iteration(flat, epsilon=0.25, key=KEYS, bounds=FREE)
    delta = np.asarray(jax.jit(iteration.init)(X, Y).x_adv - X)
    np.testing.assert_allclose(abs(delta), 0.25, atol=1e-6)
    np.testing.assert_allclose(delta, delta[:, :1].repeat(6, 1), atol=1e-6)
    assert len({np.sign(stripes).tobytes() for stripes in delta[:, 0]}) == BATCH


def test_l2_starts_with_a_grid_of_bumps():
    iteration = square_iteration(
        flat, epsilon=2.0, key=KEYS, norm="l2", bounds=(0.0, 1.0)
    )
    x = jnp.full((BATCH, 22, 22, 2), 0.5)
    delta = np.asarray(jax.jit(iteration.init)(x, Y).x_adv - x)
    inner = delta[:, 1:21, 1:21].reshape(BATCH, 5, 4, 5, 4, 2)
    lengths = np.linalg.norm(delta.reshape(BATCH, -1), axis=1)
    np.testing.assert_allclose(lengths, 2.0, rtol=1e-5)
    np.testing.assert_allclose(np.sum(inner**2, (1, 2, 3, 4, 5)), 4.0, rtol=1e-5)
    eta = pattern_by_hand(4) * 2 / np.sqrt(50)
    kinds = np.stack([eta, -eta, eta.T, -eta.T])
    tiles = inner.transpose(0, 1, 3, 5, 2, 4).reshape(-1, 1, 4, 4)
    distance = abs(tiles - kinds).max((2, 3))
    np.testing.assert_allclose(distance.min(1), 0.0, atol=1e-5)
    assert np.all(np.bincount(distance.argmin(1), minlength=4) > 50)


WEIGHTS = RNG.normal(size=(1, 1, 1, 2)).astype(np.float32)


def linear(x, y):
    return jnp.sum(x * WEIGHTS, axis=(1, 2, 3))


def test_linf_climbs_to_the_corner_on_a_linear_loss():
    iteration = square_iteration(linear, epsilon=0.3, key=KEYS, num_steps=2000)

    @jax.jit
    def trace(x):
        def step(state, _):
            state = iteration.step(state)
            return state, (iteration.result(state), state.loss)

        return jax.lax.scan(step, iteration.init(x, Y), length=2000)[1]

    images, losses = map(np.asarray, trace(X))
    np.testing.assert_allclose(losses, (images * WEIGHTS).sum((2, 3, 4)), rtol=1e-4)
    risen = np.diff(losses, axis=0) > 0
    moved = np.any(images[1:] != images[:-1], axis=(2, 3, 4))
    np.testing.assert_array_equal(moved, risen)
    np.testing.assert_array_equal(losses, np.maximum.accumulate(losses))
    corner = np.clip(np.asarray(X) + 0.3 * np.sign(WEIGHTS), 0, 1)
    np.testing.assert_allclose(images[-1], corner, atol=1e-6)


@functools.partial(jax.jit, static_argnames="norm")
def jitted(x, y, epsilon, key, norm):
    return square(
        loss_fn, x, y, epsilon=epsilon, key=key, num_steps=150, p_init=0.5, norm=norm
    )


@pytest.mark.parametrize(
    ("norm", "epsilon", "slack"), [("linf", 0.15, 1.2), ("l2", 1.0, 3.5)]
)
def test_it_fools_whom_pgd_fools(norm, epsilon, slack):
    def fooled(x_adv):
        return np.argmax(logits(x_adv), axis=-1) != decided

    decided = np.argmax(logits(X), axis=-1).astype(np.int32)
    settings = {"epsilon": epsilon, "step_size": epsilon / 10, "num_steps": 40}
    pgd = jax.jit(functools.partial(attacks.pgd, loss_fn, norm=norm, **settings))
    by_pgd = fooled(pgd(X, decided))
    assert 5 <= by_pgd.sum() < BATCH
    assert not fooled(X).any()
    far = np.full(BATCH, slack * epsilon, np.float32)
    assert np.all(fooled(jitted(X, decided, far, KEYS, norm))[by_pgd])


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
    x_adv = np.asarray(jitted(x, Y, epsilon, keys, norm))
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
        return square(loss_fn, x, y, epsilon=epsilon, key=key, num_steps=12)

    iteration = square_iteration(loss_fn, epsilon=EPSILON, key=KEYS, num_steps=12)
    step, ages = jax.jit(iteration.step), [jax.jit(iteration.init)(X, Y)]
    for _ in range(12):
        ages.append(step(ages[-1]))
    found = jax.jit(over_shards_one_by_one(attack))(X, Y, EPSILON, KEYS)
    np.testing.assert_allclose(found, iteration.result(ages[-1]), atol=2e-6)

    assert all(leaf.shape[:1] == (BATCH,) for leaf in jax.tree.leaves(ages[0]))
    chex.assert_trees_all_equal_shapes_and_dtypes(ages[0], ages[-1])
    # Examples of different ages, in another order, go on as they would.
    picks = [(7, 5), (0, 1), (4, 3), (6, 5), (6, 7), (1, 2), (3, 3), (2, 6)]
    mixed = jax.jit(
        lambda ages: jax.tree.map(
            lambda *leaves: jnp.stack([leaves[age][i] for age, i in picks]), *ages
        )
    )(ages)
    for _ in range(5):
        mixed = step(mixed)
    expected = np.stack([np.asarray(ages[age + 5].x_adv)[i] for age, i in picks])
    np.testing.assert_allclose(mixed.x_adv, expected, atol=2e-6)


def test_a_step_takes_one_value_of_the_loss_and_no_gradient():
    calls = []

    @jax.custom_jvp
    def values_only(x, y):
        calls.append(x)
        return loss_fn(x, y)

    @values_only.defjvp
    def refuse(primals, tangents):
        raise AssertionError("a gradient was taken")

    iteration = square_iteration(values_only, epsilon=0.1, key=KEYS)
    state = jax.eval_shape(iteration.init, X, Y)
    assert len(calls) == 1
    jax.eval_shape(iteration.step, state)
    assert len(calls) == 2


BAD = {
    "epsilon in bytes": ({"epsilon": 8}, r"epsilon=8 is outside \[0, 1\]. .* not 8"),
    "norm": ({"norm": "l1"}, "norm='l1' is unknown; choose one of 'linf', 'l2'"),
    "no step": ({"num_steps": 0}, "num_steps=0 is not a whole number of at least 1"),
    "p_init": ({"p_init": 1.5}, r"p_init=1.5 is outside .* A share"),
    "no square": ({"p_init": 0.0}, r"p_init=0.0 is outside .* A share"),
    "bounds": ({"bounds": (1.0, 0.0)}, r"bounds=\(1.0, 0.0\) must be \(low, high\)"),
    "bytes": ({"x": 255 * X}, r"a pixel of x=2\d\d.* outside \[0, 1\]. Divide bytes"),
    "too few keys": ({"key": KEYS[:5]}, r"key of shape \(5,\): give one key, or one"),
    "vectors": ({"x": X.reshape(8, -1)}, r"x of shape \(8, 96\) has no squares: give"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(change, message):
    arguments = {"x": X, "epsilon": 0.1, "key": KEYS} | change
    x = arguments.pop("x")
    with pytest.raises(ValueError, match=message):
        square_iteration(flat, **arguments).init(x, Y)


def test_images_have_a_height_and_a_width():
    with pytest.raises(TypeCheckError, match="parameter 'x'"):
        square(flat, X.reshape(8, -1), Y, epsilon=0.1, key=KEYS)

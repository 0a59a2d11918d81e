"""HopSkipJump against the closed form of a sphere, a NumPy loop and Foolbox."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foolbox_oracle import foolbox_model, of_foolbox
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, PartitionSpec
from scipy.optimize import brentq

from robustlabels.attacks import geometry, hopskipjump

BATCH, SHAPE, NEVER = 8, (2, 3, 2), 2
STEPS, QUERIES, RADIUS = 50, 3, 0.9
NORMS = {"linf": np.inf, "l2": 2}
RNG = np.random.default_rng(0)
NEAR = RNG.uniform(-0.1, 0.1, size=(BATCH // 2, *SHAPE))
FAR = RNG.uniform(0.3, 0.4, size=NEAR.shape) * RNG.choice([-1, 1], size=NEAR.shape)
X = jnp.asarray(0.5 + np.concatenate([NEAR, FAR]), jnp.float32)
Y = jnp.arange(BATCH) // (BATCH // 2)
KEY = jax.random.key(3)
KEYS = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(BATCH))


def scores_by_hand(x):
    """Class 1 is outside of a sphere."""
    outside = ((np.reshape(x, (len(x), -1)) - 0.5) ** 2).sum(-1)
    return np.stack([np.full_like(outside, RADIUS**2), outside], axis=-1)


def scores_fn(x):
    """The same, with a class that is decided for nowhere."""
    outside = jnp.sum((x - 0.5) ** 2, axis=(1, 2, 3))
    inside, never = jnp.full_like(outside, RADIUS**2), jnp.full_like(outside, -1)
    return jnp.stack([inside, outside, never], axis=-1)


attack = functools.partial(
    hopskipjump.hop_skip_jump, scores_fn, num_steps=STEPS, num_queries=QUERIES
)


def iteration(norm, key=KEYS, **options):
    options = {"num_steps": STEPS, "num_queries": QUERIES} | options
    return hopskipjump.hop_skip_jump_iteration(scores_fn, key=key, norm=norm, **options)


@functools.cache
def jitted(norm):
    """The two functions of the iteration, each one program."""
    init = jax.jit(lambda x, y, key: iteration(norm, key).init(x, y))
    return init, jax.jit(iteration(norm).step)


def states_of(norm, x, y, key):
    init, step = jitted(norm)
    states = [init(x, y, key)]
    for _ in range(STEPS):
        states.append(step(states[-1]))
    return states


@functools.cache
def states(norm):
    return states_of(norm, X, Y, KEYS)


def result_of(states):
    return iteration("l2").result(states[-1])


def length(delta, norm):
    return np.linalg.norm(np.reshape(delta, (len(delta), -1)), NORMS[norm], axis=-1)


def exact_distance(norm):
    """Of each image to the sphere: in L∞, how far all values go, inwards up to 0."""
    size = abs(np.asarray(X, float).reshape(BATCH, -1) - 0.5)
    if norm == "l2":
        return abs(RADIUS - np.linalg.norm(size, axis=-1))

    def beyond(t, i):
        moved = size[i] + t if Y[i] == 0 else np.maximum(size[i] - t, 0)
        return np.linalg.norm(moved) - RADIUS

    return np.array([brentq(beyond, 0, 1, args=(i,)) for i in range(BATCH)])


@pytest.mark.parametrize("norm", NORMS)
def test_the_nearest_point_of_a_sphere_is_found(norm):
    result, exact = result_of(states(norm)), exact_distance(norm)
    assert np.all(result.success)
    ratio = np.asarray(result.distortion) / exact
    assert np.all(ratio >= 0.9999)
    assert np.all(ratio[Y == 1] < 1.02)
    # From within, each of the 2¹² diagonals of L∞ leads to a nearest point of its own.
    assert np.all(ratio[Y == 0] < {"linf": 1.4, "l2": 1.15}[norm])
    distortions = np.array([state.nearest.distortion for state in states(norm)])
    assert np.all(distortions[1:] <= distortions[:-1])
    assert np.mean(distortions[0] / exact) > 1.2


def step_by_hand(state, i, norm):
    """One step for one example, with the random points that the attack draws."""
    x, boundary = np.asarray(state.x[i]), np.asarray(state.boundary[i])
    t = int(state.steps[i]) + 1

    def adversarial(image):
        return np.argmax(scores_by_hand(image[None])) != state.y[i]

    def distance(image):
        return length((image - x)[None], norm)[0]

    offsets, answers = [], []
    key = jax.random.fold_in(state.key[i], t - 1)
    for b in range(math.floor(QUERIES * math.sqrt(t))):
        noise = np.asarray(jax.random.normal(jax.random.fold_in(key, b), SHAPE))
        radius = float(state.reach[i]) / x.size
        probe = np.clip(boundary + radius * noise / np.linalg.norm(noise), 0, 1)
        offsets.append(probe - boundary)
        answers.append(1.0 if adversarial(probe) else -1.0)
    answers = np.array(answers)
    if abs(answers.mean()) < 1:
        answers = answers - answers.mean()
    direction = np.tensordot(answers, np.array(offsets), 1)
    if norm == "linf":
        direction = np.sign(direction)
    else:
        direction = direction / np.linalg.norm(direction)
    size = distance(boundary) / math.sqrt(t)
    while not adversarial(np.clip(boundary + size * direction, 0, 1)):
        size /= 2
    image = np.clip(boundary + size * direction, 0, 1)
    inside, outside = 0.0, distance(image)
    while outside - inside > 1e-6:
        middle = (inside + outside) / 2
        if norm == "linf":
            between = np.clip(image, x - middle, x + middle)
        else:
            between = x + (image - x) * middle / distance(image)
        if adversarial(between):
            outside = middle
        else:
            inside = middle
    return outside, distance(image)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("t", [1, 2, 7])
def test_a_step_is_that_of_the_paper(norm, t):
    before, after = states(norm)[t - 1 : t + 1]
    reached = length(after.boundary - X, norm)
    for i in range(BATCH):
        outside, reach = step_by_hand(before, i, norm)
        np.testing.assert_allclose(reached[i], outside, atol=3e-5)
        np.testing.assert_allclose(after.reach[i], reach, atol=1e-5)


def test_the_boundary_is_probed_at_the_distance_of_the_paper():
    asked = []

    def remembering(x):
        jax.debug.callback(lambda image: asked.append(np.asarray(image)), x[0])
        return scores_fn(x)

    attacked = hopskipjump.hop_skip_jump_iteration(
        remembering, key=KEY, num_queries=QUERIES, num_halvings=1
    )
    state = states("l2")[1]
    jax.block_until_ready(jax.jit(attacked.step)(state))
    jax.effects_barrier()
    distance = length(np.array(asked) - np.asarray(state.boundary[0]), "l2")
    probed = np.isclose(distance, state.reach[0] / X[0].size, rtol=1e-4)
    assert probed.sum() == math.floor(QUERIES * math.sqrt(2))


@pytest.mark.parametrize("norm", NORMS)
def test_it_is_as_near_as_foolbox_after_as_many_queries(norm):
    steps, x, y = 12, np.asarray(X), np.asarray(Y)
    with foolbox_model(scores_by_hand) as (foolbox, _):
        model = foolbox.NumPyModel(scores_by_hand, bounds=(0, 1))
        peer = foolbox.attacks.HopSkipJumpAttack(
            steps=steps, initial_gradient_eval_steps=QUERIES, constraint=norm
        )
        np.random.seed(0)  # noqa: NPY002  It draws from NumPy's global generator.
        # One at a time: it divides a gradient by the length of the whole batch.
        alone = [
            of_foolbox(foolbox, peer, model, x[i : i + 1], y[i : i + 1])[0][0]
            for i in range(BATCH)
        ]
    theirs = np.median(length(np.array(alone) - x, norm))
    ours = [
        states_of(norm, X, Y, keys)[steps].nearest.distortion
        for keys in jax.random.split(KEY, (5, BATCH))
    ]
    np.testing.assert_allclose(np.median(np.mean(ours, axis=0)), theirs, rtol=0.25)


@pytest.mark.parametrize("norm", NORMS)
@settings(deadline=None, max_examples=8, derandomize=True)
@given(seed=st.integers(0, 2**31 - 1))
def test_what_is_returned_is_what_it_says(norm, seed):
    rng = np.random.default_rng(seed)
    x = np.clip(0.5 + rng.uniform(0.1, 0.8) * rng.uniform(-1, 1, X.shape), 0, 1)
    x = x.astype(np.float32)
    y = rng.integers(0, 2, BATCH).astype(np.int32)
    result = result_of(
        states_of(norm, x, y, jax.random.split(jax.random.key(seed), BATCH))
    )
    x_adv = np.asarray(result.x_adv)
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    right = np.argmax(scores_by_hand(x), -1) == y
    np.testing.assert_array_equal(result.distortion == 0, ~right)
    np.testing.assert_array_equal(result.success, np.isfinite(result.distortion))
    np.testing.assert_array_equal(
        result.steps, np.where(right & result.success, STEPS, 0)
    )
    scores = scores_by_hand(x_adv)
    margin = scores[range(BATCH), 1 - y] - scores[range(BATCH), y]
    assert np.all(margin[result.success] > -1e-5)
    found = np.isfinite(result.distortion)
    distortion = np.where(found, length(x_adv.astype(float) - x, norm), np.inf)
    np.testing.assert_allclose(result.distortion, distortion, rtol=1e-5, atol=1e-7)


def test_where_no_start_is_adversarial_none_is_found():
    target = jnp.array([1, 1, 0, NEVER, 0, 0, 1, NEVER])
    start = X[::-1].at[1].set(0.5)
    given = iteration("l2", targeted=True, start=start)
    state = jax.jit(given.init)(X, target)
    result = given.result(state)
    there, missed = np.array([2, 6]), np.array([1, 3, 7])
    assert np.all(result.distortion[there] == 0)
    assert np.all(result.distortion[missed] == np.inf)
    np.testing.assert_array_equal(result.success, result.distortion < np.inf)
    np.testing.assert_array_equal(given.finished(state), [0, 1, 1, 1, 0, 0, 1, 1])
    for i in (*there, *missed):
        chex.assert_trees_all_equal(result.x_adv[i], X[i])
    on_the_way = (result.x_adv - X) / (start - X)
    for i in (0, 4, 5):
        np.testing.assert_allclose(on_the_way[i], on_the_way[i].mean(), rtol=1e-3)
        np.testing.assert_allclose(
            np.linalg.norm(result.x_adv[i] - 0.5), RADIUS, atol=1e-5
        )


def test_noise_is_tried_as_often_as_is_allowed():
    def rare(x):
        """One image of noise out of sixteen is decided otherwise."""
        other = jnp.min(x.reshape(len(x), -1)[:, :4], axis=-1)
        return jnp.stack([jnp.full_like(other, 0.5), other], axis=-1)

    starts = hopskipjump.hop_skip_jump_iteration(
        rare, key=KEY, num_starts=8, num_halvings=1
    )
    n = 4000
    state = jax.jit(starts.init)(jnp.zeros((n, *SHAPE)), jnp.zeros(n, jnp.int32))
    share = np.mean(starts.result(state).success)
    expected = 1 - (15 / 16) ** np.arange(20)
    assert np.argmin(abs(share - expected)) == 8


def test_the_other_class_as_a_target_mapped_over_devices_gives_what_the_steps_give():
    towards = functools.partial(attack, targeted=True)
    mapped = jax.vmap(
        lambda x, target, key: jax.tree.map(
            lambda leaf: leaf[0], towards(x[None], target[None], key=key[None])
        )
    )
    mesh, spec = Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data")
    sharded = jax.shard_map(mapped, mesh=mesh, in_specs=spec, out_specs=spec)
    result = jax.jit(sharded)(X, 1 - Y, KEYS)
    chex.assert_trees_all_close(result, result_of(states("l2")), atol=1e-5)


def test_examples_of_several_steps_go_on_in_one_batch():
    earlier, now, later = states("l2")[2], states("l2")[3], states("l2")[9]
    leaves = jax.tree.leaves(now)
    assert all(leaf.shape[:1] == (BATCH,) for leaf in leaves)
    picked, advanced = jnp.array([4, 1, 5, 4, 4, 1, 5, 5]), jnp.arange(BATCH) % 2 == 0

    def mixed(first, second):
        both = geometry.choose(advanced, second, first)
        return jax.tree.map(lambda leaf: leaf[picked], both)

    after = jitted("l2")[1](mixed(earlier, later))
    expected = mixed(now, states("l2")[10])
    chex.assert_trees_all_close(after.boundary, expected.boundary, atol=1e-6)
    chex.assert_trees_all_close(after.nearest, expected.nearest, atol=1e-6)


BAD = {
    "steps": ({"num_steps": 0}, "num_steps=0 is not a whole number of at least 1"),
    "queries": ({"num_queries": 0}, "num_queries=0 is not a whole number"),
    "halvings": ({"num_halvings": 0}, "num_halvings=0 is not a whole number"),
    "starts": ({"num_starts": True}, "num_starts=True is not a whole number"),
    "norm": ({"norm": "l1"}, "norm='l1' is unknown; choose one of 'linf', 'l2'"),
    "bounds": ({"bounds": (1.0, 0.0)}, r"bounds=\(1.0, 0.0\) must be"),
    "no ends": (
        {"bounds": (-np.inf, np.inf)},
        r"an entry of bounds=-inf is outside .* give a start",
    ),
    "bytes": ({"x": 255 * X}, r"a pixel of x=\d+\.\d* is outside \[0, 1\]"),
    "bytes to start": ({"start": 255 * X}, r"a pixel of x=\d+\.\d* is outside"),
    "start": ({"start": X[:, :1]}, r"start of shape \(8, 1, 3, 2\) is to be of the"),
    "few keys": ({"key": KEYS[:5]}, r"key of shape \(5,\): give one key, or one"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        attack(**({"x": X, "y": Y, "key": KEY} | change))

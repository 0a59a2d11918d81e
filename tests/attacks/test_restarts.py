"""An attack begun anew against the same attack, run by run."""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, PartitionSpec

from robustlabels import attacks, losses
from robustlabels.attacks.apgd import apgd_iteration
from robustlabels.attacks.restarts import nth_wrong_class, restarted

BATCH, PIXELS, CLASSES, STEPS, RUNS = 6, 12, 5, 3, 4
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(BATCH, PIXELS)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, CLASSES, BATCH), jnp.int32)
W1 = RNG.normal(size=(PIXELS, 8)).astype(np.float32)
W2 = RNG.normal(size=(8, CLASSES)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(1), BATCH)
EPSILON = jnp.linspace(0.1, 0.4, BATCH)


def scores_fn(x):
    return jnp.sin(3 * x @ W1) @ W2


def loss_fn(x, y):
    return losses.margin(scores_fn(x), y)


def pgd(*, key, epsilon):
    """With steps so long that images get worse again on the way."""
    return attacks.pgd_iteration(
        loss_fn, epsilon=epsilon, num_steps=STEPS, step_size=epsilon, key=key
    )


RESTARTED = restarted(pgd, loss_fn, num_restarts=RUNS, key=KEYS, epsilon=EPSILON)


def keys_of(run):
    return jax.vmap(jax.random.fold_in, (0, None))(KEYS, run)


@functools.cache
def runs():
    """The images of each run on its own: [runs, batch, pixels]."""

    @jax.jit
    def single(keys):
        return attacks.run(pgd(key=keys, epsilon=EPSILON), X, Y)

    return np.stack([single(keys_of(run)) for run in range(RUNS)])


def best_of(images):
    found = np.stack([loss_fn(x, Y) for x in images])
    return images[found.argmax(0), np.arange(BATCH)], found.argmax(0)


def over_shards_one_by_one(attack):
    def single(x, y, epsilon, key):
        return attack(x[None], y[None], epsilon, key[None])[0]

    mesh, spec = Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data")
    return jax.shard_map(jax.vmap(single), mesh=mesh, in_specs=spec, out_specs=spec)


def test_it_returns_the_best_of_all_runs():
    def attack(x, y, epsilon, key):
        iteration = restarted(pgd, loss_fn, num_restarts=RUNS, key=key, epsilon=epsilon)
        return attacks.run(iteration, x, y)

    expected, best = best_of(runs())
    assert len(set(best)) >= 3
    found = jax.jit(over_shards_one_by_one(attack))(X, Y, EPSILON, KEYS)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_states_of_different_ages_go_on_together():
    step, ages = jax.jit(RESTARTED.step), [jax.jit(RESTARTED.init)(X, Y)]
    assert RESTARTED.num_steps == RUNS * STEPS
    for _ in range(RUNS * STEPS):
        ages.append(step(ages[-1]))
    assert all(leaf.shape[:1] == (BATCH,) for leaf in jax.tree.leaves(ages[0]))
    chex.assert_trees_all_equal_shapes_and_dtypes(ages[0], ages[-1])
    result = jax.jit(RESTARTED.result)
    np.testing.assert_allclose(result(ages[-1]), best_of(runs())[0], atol=1e-6)
    picks = [(2, 5), (0, 1), (4, 3), (7, 5), (3, 4), (6, 2)]
    mixed = jax.jit(
        lambda ages: jax.tree.map(
            lambda *leaves: jnp.stack([leaves[age][i] for age, i in picks]), *ages
        )
    )(ages)
    for more in range(1, 6):
        mixed = step(mixed)
        expected = [result(ages[age + more])[i] for age, i in picks]
        np.testing.assert_allclose(result(mixed), expected, atol=1e-6)


class Guess(NamedTuple):
    """A result that is more than images."""

    x_adv: jax.Array
    distance: jax.Array


def test_it_begins_again_only_when_a_run_has_ended_and_may_return_anything():
    begun = []

    def make(*, key):
        def init(x, y):
            jax.debug.callback(lambda: begun.append("again"))
            distance = jax.vmap(lambda k: jax.random.uniform(k))(key)
            return Guess(x, distance)

        return attacks.Iteration(init, lambda s: s, lambda s: s, num_steps=3)

    iteration = restarted(
        make, lambda guess, y: -guess.distance, num_restarts=5, key=KEYS
    )
    step, state = jax.jit(iteration.step), jax.jit(iteration.init)(X, Y)
    counts = []
    for _ in range(iteration.num_steps):
        state = step(state)
        jax.effects_barrier()
        counts.append(len(begun))
    assert counts == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]
    distances = [jax.vmap(jax.random.uniform)(keys_of(run)) for run in range(5)]
    np.testing.assert_allclose(
        iteration.result(state).distance, np.min(distances, 0), rtol=1e-6
    )


def test_multi_targeted_apgd_is_apgd_towards_one_class_after_another():
    def make(loss, *, key):
        return apgd_iteration(loss, epsilon=0.3, num_steps=10, key=key)

    @jax.jit
    def together(x):
        iteration = restarted(
            functools.partial(
                make, lambda x, labels: losses.targeted_dlr(scores_fn(x), *labels)
            ),
            loss_fn,
            num_restarts=CLASSES - 1,
            key=KEYS,
            labels_of=lambda x, y, n: (y, nth_wrong_class(scores_fn(x), y, n)),
        )
        return attacks.run(iteration, x, Y)

    @jax.jit
    def towards(target, keys):
        def loss(x, target):
            return losses.targeted_dlr(scores_fn(x), Y, target)

        return attacks.run(make(loss, key=keys), X, target)

    order = np.argsort(-np.asarray(scores_fn(X)), axis=-1)
    wrong = order[order != np.asarray(Y)[:, None]].reshape(BATCH, CLASSES - 1)
    images = np.stack(
        [towards(wrong[:, run], keys_of(run)) for run in range(CLASSES - 1)]
    )
    expected, best = best_of(images)
    assert len(set(best)) >= 2
    np.testing.assert_allclose(together(X), expected, atol=1e-5)


@settings(deadline=None, max_examples=10, derandomize=True)
@given(seed=st.integers(0, 2**31 - 1))
def test_the_nth_wrong_class_is_that_of_the_nth_wrong_score(seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(20, CLASSES)).astype(np.float32)
    y, n = rng.integers(0, CLASSES, 20), rng.integers(0, 3 * CLASSES, 20)
    expected = []
    for row, own, rank in zip(scores, y, n, strict=True):
        wrong = sorted(set(range(CLASSES)) - {own}, key=lambda c: -row[c])
        expected.append(wrong[rank % (CLASSES - 1)])
    found = nth_wrong_class(jnp.asarray(scores), jnp.asarray(y), jnp.asarray(n))
    np.testing.assert_array_equal(found, expected)


def nothing(*, key):
    return attacks.gaussian_noise_iteration(epsilon=0.1, key=key)


BAD = {
    "no restart": ({"num_restarts": 0}, "num_restarts=0 is not a whole number of at"),
    "no steps": ({"make": nothing}, "num_steps=0 is not a whole number of at least 1"),
    "too few keys": ({"key": KEYS[:5]}, r"key of shape \(5,\): give one key, or one"),
    "what make refuses": ({"make": pgd, "epsilon": 8}, "epsilon=8 is outside"),
    "a size": ({"make": pgd, "epsilon": jnp.ones(5)}, "epsilon of shape .5,. fits"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(change, message):
    arguments = {"make": pgd, "num_restarts": 2, "key": KEYS} | change
    if arguments["make"] is pgd:
        arguments = {"epsilon": 0.1} | arguments
    with pytest.raises(ValueError, match=message):
        restarted(loss_fn=loss_fn, **arguments).init(X, Y)

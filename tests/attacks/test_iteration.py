"""An attack stepped by hand, cut up and put together again, is still the same."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from robustlabels import attacks

BATCH = 6
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(BATCH, 3, 3, 2)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, 3, BATCH), jnp.int32)
W = jnp.asarray(RNG.normal(size=(18, 3)), jnp.float32)
KEYS = jax.random.split(jax.random.key(0), BATCH)
EPSILON = jnp.linspace(0.0, 0.3, BATCH)


def scores_with(w, x):
    return jnp.tanh(x.reshape(len(x), -1) @ w)


def loss_with(w, x, y):
    logits = scores_with(w, x)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)[:, 0]


def confidence_with(w, x):
    return jnp.max(jax.nn.softmax(5 * scores_with(w, x)), axis=-1)


LOSS = Partial(loss_with, W)
TABLE = {
    "pgd linf": lambda: attacks.pgd_iteration(
        LOSS, epsilon=EPSILON, num_steps=5, step_size=0.05, key=KEYS
    ),
    "pgd l2": lambda: attacks.pgd_iteration(
        LOSS, epsilon=EPSILON, num_steps=5, step_size=jnp.full(2, 0.1), norm="l2"
    ),
    "pgd, a number": lambda: attacks.pgd_iteration(
        LOSS, epsilon=0.1, num_steps=1, step_size=0.1, key=KEYS[0]
    ),
    "fooling": lambda: attacks.fooling_iteration(
        LOSS,
        Partial(scores_with, W),
        Partial(confidence_with, W),
        confidence=0.9,
        num_steps=5,
        step_size=0.2,
    ),
    "gaussian": lambda: attacks.gaussian_noise_iteration(epsilon=0.1, key=KEYS),
    "uniform": lambda: attacks.uniform_noise_iteration(
        epsilon=EPSILON, key=KEYS, norm="l2"
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_jitted_step_from_the_host_gives_what_run_gives(name):
    iteration = TABLE[name]()
    step = jax.jit(iteration.step)
    state = jax.jit(iteration.init)(X, Y)
    for _ in range(iteration.num_steps):
        state = step(state)
    expected = jax.jit(lambda x, y: attacks.run(iteration, x, y))(X, Y)
    chex.assert_trees_all_close(iteration.result(state), expected, atol=1e-6)
    images = expected.x if name == "fooling" else expected
    assert not np.array_equal(images, X)


def test_pgd_is_its_iteration():
    direct = attacks.pgd(
        LOSS, X, Y, epsilon=EPSILON, num_steps=5, step_size=0.05, key=KEYS
    )
    chex.assert_trees_all_equal(direct, attacks.run(TABLE["pgd linf"](), X, Y))


@pytest.mark.parametrize("name", TABLE)
def test_every_leaf_of_the_state_has_the_batch_in_front(name):
    iteration = TABLE[name]()
    state = jax.eval_shape(iteration.init, X, Y)
    after = jax.eval_shape(iteration.step, state)
    leaves = jax.tree.leaves(state)
    assert leaves
    assert all(leaf.shape[:1] == (BATCH,) for leaf in leaves)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )


@pytest.mark.parametrize("name", ["pgd linf", "pgd l2", "fooling"])
def test_a_state_can_be_cut_to_some_examples_and_go_on(name):
    iteration = TABLE[name]()
    step = jax.jit(iteration.step)
    left = np.array([4, 1, 5])
    whole = jax.jit(iteration.init)(X, Y)
    for _ in range(2):
        whole = step(whole)
    part = jax.tree.map(lambda leaf: leaf[left], whole)
    for _ in range(3):
        whole, part = step(whole), step(part)
    expected = jax.tree.map(lambda leaf: leaf[left], iteration.result(whole))
    chex.assert_trees_all_close(iteration.result(part), expected, atol=1e-6)


@pytest.mark.parametrize("num_steps", [0, 1, 2, 7])
def test_run_takes_exactly_as_many_steps_as_it_is_told(num_steps):
    iteration = attacks.Iteration(
        init=lambda x, y: (x, y),
        step=lambda state: (2 * state[0], state[1] + 1),
        result=lambda state: {"x": state[0], "steps": state[1]},
        num_steps=num_steps,
    )
    result = attacks.run(iteration, X, jnp.zeros(BATCH, jnp.int32))
    chex.assert_trees_all_equal(result["steps"], jnp.full(BATCH, num_steps))
    chex.assert_trees_all_equal(result["x"], X * 2**num_steps)


def test_no_gradient_flows_through_run():
    iteration = attacks.Iteration(
        lambda x, y: x, lambda state: 2 * state, lambda state: {"x": state}, 3
    )
    gradient = jax.grad(lambda x: jnp.sum(attacks.run(iteration, x, Y)["x"]))(X)
    chex.assert_trees_all_equal(gradient, jnp.zeros_like(X))


def test_targeted_lowers_the_loss_of_the_target_as_the_negated_loss_does():
    target = (Y + 1) % 3
    settings = {"epsilon": 0.2, "num_steps": 5, "step_size": 0.05}
    towards = attacks.pgd(attacks.targeted(LOSS), X, target, **settings)
    assert np.all(LOSS(towards, target) < LOSS(X, target))
    negated = attacks.pgd(lambda x, y: -LOSS(x, y), X, target, **settings)
    chex.assert_trees_all_equal(towards, negated)
    away = attacks.pgd(LOSS, X, target, **settings)
    assert np.all(LOSS(away, target) > LOSS(X, target))


def test_targeted_of_a_plain_function_is_its_negation():
    def loss(x, y):
        return jnp.sum(x, axis=(1, 2, 3)) * y

    chex.assert_trees_all_equal(attacks.targeted(loss)(X, Y), -loss(X, Y))


def test_a_targeted_partial_is_an_argument_of_jit():
    traces = []

    @jax.jit
    def attack(loss_fn, x, y):
        traces.append(loss_fn)
        return attacks.fgsm(loss_fn, x, y, epsilon=0.1)

    for w in [W, W[::-1]]:
        loss_fn = attacks.targeted(Partial(loss_with, w))
        assert jax.tree.leaves(loss_fn)[0] is w
        gradient = jax.grad(lambda x, w=w: loss_with(w, x, Y).sum())(X)
        expected = np.clip(X - 0.1 * np.sign(gradient), 0, 1)
        np.testing.assert_allclose(attack(loss_fn, X, Y), expected, atol=1e-6)
    assert len(traces) == 1

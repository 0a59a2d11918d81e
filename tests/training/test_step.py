"""The training step against NumPy, and a stretch of steps against single ones."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from small_runs import build, dataset

from robustlabels import data, losses, models, objective
from robustlabels.objective import Family, Objective
from robustlabels.training import (
    Batch,
    init_state,
    make_step,
    predictor,
    run_stretch,
)
from robustlabels.training.step import evaluated, masked_mean

KEY = jax.random.key(5)


class Affine(nnx.Module):
    """Logits of flat images, without normalisation."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.kernel = nnx.Param(jnp.asarray(rng.normal(size=(4, 3)), jnp.float32))
        self.bias = nnx.Param(jnp.asarray(rng.normal(size=3), jnp.float32))

    def __call__(self, x, *, train=False):
        return x.reshape(len(x), -1) @ self.kernel[...] + self.bias[None], {}


class Pixels(nnx.Module):
    """Shows a loss the images that the model gets."""

    def __init__(self):
        self.unused = nnx.Param(jnp.zeros(()))

    def __call__(self, x, *, train=False):
        return x.reshape(len(x), -1), {}


def family_of(loss, init=lambda key: {}, penalty=lambda params: jnp.zeros(())):
    """A family whose loss is a function of (params, progress, outputs)."""

    def at(params, progress):
        def losses_of(outputs, labels):
            return loss(params, progress, outputs)

        return Objective(losses_of, lambda outputs: outputs, lambda outputs: outputs)

    return Family(init, at, penalty, lambda params: {})


def batch_of(size, *, seed=0, shape=(2, 2, 1), counting=None):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.integers(0, 256, (size, *shape)), jnp.uint8)
    labels = jnp.asarray(rng.integers(0, 3, size), jnp.int32)
    return Batch(images, labels, jnp.arange(size) < (counting or size))


def start(model, family, optimizer, *, num_steps=4, average_decay=0.0, **options):
    graphdef, state = init_state(
        model, family, optimizer, KEY, average_decay=average_decay
    )
    step = make_step(
        graphdef,
        family,
        optimizer,
        num_steps=num_steps,
        average_decay=average_decay,
        **options,
    )
    return jax.jit(step), state


@pytest.mark.parametrize("dtype", [np.float32, bool])
def test_masked_mean_counts_what_it_is_told(dtype):
    values = np.array([1, 0, 1, 1], dtype)
    for mask in ([1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1]):
        mask = np.array(mask, bool)
        found = masked_mean(jnp.asarray(values), jnp.asarray(mask))
        assert found.dtype == jnp.float32
        assert float(found) == pytest.approx(values[mask].mean())


def test_masked_mean_never_looks_at_the_rest():
    mask = jnp.array([True, False])
    assert float(masked_mean(jnp.array([2.0, jnp.nan]), mask)) == 2.0


def test_a_step_of_a_linear_softmax_model_equals_numpy():
    model, batch = Affine(), batch_of(7, counting=5)
    kernel, bias = (np.asarray(p[...], np.float64) for p in (model.kernel, model.bias))
    step, state = start(model, objective.softmax(), optax.sgd(0.5))
    state, metrics = step(state, batch, KEY)

    x = np.asarray(batch.images[:5], np.float64).reshape(5, -1) / 255
    y = np.asarray(batch.labels[:5])
    logits = x @ kernel + bias
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    delta = (p - np.eye(3)[y]) / 5
    assert float(metrics.loss) == pytest.approx(-np.log(p[range(5), y]).mean(), 1e-5)
    assert float(metrics.accuracy) == pytest.approx((p.argmax(1) == y).mean())
    new = state.params["model"]
    np.testing.assert_allclose(new["kernel"], kernel - 0.5 * x.T @ delta, atol=1e-6)
    np.testing.assert_allclose(new["bias"], bias - 0.5 * delta.sum(0), atol=1e-6)
    assert int(state.step) == 1


@pytest.mark.parametrize("head", ["Softmax", "Prototypes"])
def test_examples_that_fill_a_batch_change_nothing(head):
    def model():
        return build(head=getattr(models, head))

    family = objective.softmax() if head == "Softmax" else objective.glvq([0, 1, 2])
    full = batch_of(8, shape=(4, 4, 1), counting=5)
    small = Batch(*(part[:5] for part in full))
    step, state = start(model(), family, optax.adam(0.1))
    filled, metrics = step(state, full, KEY)
    alone, expected = step(state, small, KEY)
    chex.assert_trees_all_close(metrics, expected, rtol=1e-6)
    chex.assert_trees_all_close(filled.params, alone.params, rtol=1e-4, atol=1e-5)


def test_running_statistics_move_towards_those_of_the_batch():
    model, batch = build(widths=(5,), norm="batch"), batch_of(9, shape=(4, 4, 1))
    pixels = np.asarray(batch.images, np.float64) / 255
    pixels = (pixels - dataset.mean) / dataset.std
    kernel = np.asarray(model.encoder.dense[0].linear.kernel[...], np.float64)
    hidden = pixels.reshape(9, -1) @ kernel
    step, state = start(model, objective.softmax(), optax.sgd(0.0))
    after = state
    for _ in range(2):
        after, _ = step(after, batch, KEY)
    old, new = (s.statistics["encoder"]["dense"][0]["norm"] for s in (state, after))
    for name, target in (("mean", hidden.mean(0)), ("var", hidden.var(0))):
        expected = 0.81 * np.asarray(old[name][...]) + 0.19 * target
        np.testing.assert_allclose(new[name], expected, rtol=1e-4, atol=1e-5)
    constants = [s.statistics["normalize"] for s in (state, after)]
    chex.assert_trees_all_equal(*constants)


def mean_power_of_noise(power, input_noise):
    """(step, key) -> mean power of what is added to black images."""
    family = family_of(lambda _, __, x: jnp.mean(x**power, axis=1))
    step, state = start(
        Pixels(), family, optax.sgd(0.1), input_noise=input_noise, num_steps=9
    )
    black = Batch(
        jnp.zeros((64, 16, 16, 1), jnp.uint8),
        jnp.zeros(64, jnp.int32),
        jnp.ones(64, bool),
    )

    def mean_power(number, key):
        at = state._replace(step=jnp.asarray(number, jnp.int32))
        return float(step(at, black, key)[1].loss)

    return mean_power


def test_input_noise_has_its_standard_deviation_and_changes_with_step_and_key():
    mean, square = (mean_power_of_noise(power, 0.3) for power in (1, 2))
    draws = [(step, jax.random.key(seed)) for step, seed in ((0, 0), (1, 0), (0, 1))]
    for draw in draws:  # within four standard errors of 64 · 256 draws
        assert abs(mean(*draw)) < 4 * 0.3 / 128
        assert abs(square(*draw) / 0.09 - 1) < 4 * np.sqrt(2) / 128
    assert len({mean(*draw) for draw in draws}) == 3
    assert mean(*draws[0]) == mean(*draws[0])
    assert mean_power_of_noise(2, 0.0)(*draws[0]) == 0.0


def test_noise_is_off_where_a_trained_model_predicts():
    graphdef, state = init_state(
        Pixels(), objective.softmax(), optax.sgd(0.1), KEY, average_decay=0.5
    )
    predict = predictor(graphdef, *evaluated(state))
    x = jnp.linspace(0.0, 1.0, 8).reshape(2, 2, 2, 1)
    np.testing.assert_array_equal(predict(x), x.reshape(2, -1))


def test_the_average_follows_its_recursion_and_keeps_constants_exactly():
    step, state = start(
        build(norm="batch"),
        objective.softmax(),
        optax.sgd(0.3),
        average_decay=0.75,
        input_noise=0.1,
    )
    chex.assert_trees_all_equal(
        state.average, (state.params["model"], state.statistics)
    )
    expected = jax.tree.map(np.asarray, state.average)
    constants = expected[1]["normalize"]
    for seed in range(4):
        state, _ = step(state, batch_of(6, seed=seed, shape=(4, 4, 1)), KEY)
        now = (state.params["model"], state.statistics)
        expected = jax.tree.map(
            lambda old, new: 0.75 * old + 0.25 * np.asarray(new), expected, now
        )
    chex.assert_trees_all_close(state.average, expected, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal(state.average[1]["normalize"], constants)
    chex.assert_trees_all_equal(evaluated(state), state.average)
    assert not np.array_equal(
        state.average[0]["head"]["linear"]["kernel"],
        state.params["model"]["head"]["linear"]["kernel"],
    )


def test_without_an_average_the_weights_as_they_are_are_evaluated():
    step, state = start(build(norm="batch"), objective.softmax(), optax.sgd(0.3))
    state, _ = step(state, batch_of(6, shape=(4, 4, 1)), KEY)
    assert state.average == ()
    chex.assert_trees_all_equal(
        evaluated(state), (state.params["model"], state.statistics)
    )


def stretch_of(num_steps, batch_size=4, size=10):
    rng = np.random.default_rng(3)
    images, labels, _ = batch_of(size, shape=(4, 4, 1))
    indices = rng.integers(0, size, (num_steps, batch_size)).astype(np.int32)
    mask = np.ones((num_steps, batch_size), bool)
    mask[-1, -1] = False
    return images, labels, jnp.asarray(indices), jnp.asarray(mask)


def test_a_stretch_equals_its_steps_one_by_one():
    step, state = start(
        build(norm="batch"),
        objective.softmax(),
        optax.adam(0.1),
        average_decay=0.5,
        input_noise=0.2,
    )
    images, labels, indices, mask = stretch_of(4)
    run = jax.jit(functools.partial(run_stretch, step))
    scanned, metrics = run(state, images, labels, indices, mask, KEY)
    shown = []
    for index, counts in zip(indices, mask, strict=True):
        state, one = step(state, Batch(images[index], labels[index], counts), KEY)
        shown.append(one)
    chex.assert_trees_all_close(scanned, state, rtol=1e-4, atol=1e-5)
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *shown)
    chex.assert_trees_all_close(metrics, expected, rtol=1e-5)


def test_donating_the_state_takes_nothing_from_the_model():
    model = build(norm="batch")
    images = jnp.full((2, 4, 4, 1), 0.5)
    before = np.asarray(model(images)[0])
    step, state = start(model, objective.softmax(), optax.adam(0.1), average_decay=0.5)
    leaves = [leaf for leaf in jax.tree.leaves(state) if leaf.size]
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)
    run = jax.jit(functools.partial(run_stretch, step), donate_argnums=0)
    after, _ = run(state, *stretch_of(2), KEY)
    assert all(leaf.is_deleted() for leaf in leaves)
    again, _ = run(after, *stretch_of(2), KEY)
    assert int(again.step) == 4
    np.testing.assert_array_equal(model(images)[0], before)


def test_a_bfloat16_encoder_trains_in_float32():
    dataset = data.load("fake", num_examples=30, num_classes=3, image_shape=(2, 2, 1))
    rngs = nnx.Rngs(0)
    encoder = models.MLP((2, 2, 1), widths=(8,), dtype="bfloat16", rngs=rngs)
    model = models.Network(
        encoder, models.Softmax(8, 3, rngs=rngs), mean=(0.5,), std=(0.2,)
    )
    step, state = start(model, objective.softmax(), optax.adam(0.03))
    images, labels = dataset.train
    batch = Batch(jnp.asarray(images), jnp.asarray(labels), jnp.ones(len(labels), bool))
    shown = []
    for _ in range(20):
        state, metrics = step(state, batch, KEY)
        shown.append(float(metrics.loss))
    assert metrics.loss.dtype == metrics.accuracy.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {
        jnp.dtype("float32")
    }
    assert shown[-1] < 0.5 * shown[0]


def test_seeds_are_mapped_as_they_are_trained_alone():
    options = {"input_noise": 0.1, "average_decay": 0.5}
    optimizer, family = optax.adam(0.05), objective.softmax()
    starts = [
        start(build(seed=s, norm="batch"), family, optimizer, **options) for s in (0, 1)
    ]
    step = starts[0][0]
    keys = jax.random.split(KEY, 2)
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(s for _, s in starts))
    batches = [batch_of(6, seed=seed, shape=(4, 4, 1)) for seed in range(3)]
    mapped = jax.jit(jax.vmap(step, in_axes=(0, None, 0)))
    alone = [state for _, state in starts]
    for batch in batches:
        states, metrics = mapped(states, batch, keys)
        both = [step(s, batch, k) for s, k in zip(alone, keys, strict=True)]
        alone = [state for state, _ in both]
        expected = jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *(shown for _, shown in both)
        )
        chex.assert_trees_all_close(metrics, expected, rtol=1e-5)
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    chex.assert_trees_all_close(states, expected, rtol=1e-5, atol=1e-6)
    kernels = states.params["model"]["head"]["linear"]["kernel"][...]
    assert not np.array_equal(kernels[0], kernels[1])


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_progress_runs_from_zero_to_one(num_steps):
    family = family_of(lambda _, progress, x: jnp.full(len(x), progress))
    step, state = start(Affine(), family, optax.sgd(0.1), num_steps=num_steps)
    shown = []
    for _ in range(num_steps):
        state, metrics = step(state, batch_of(3), KEY)
        shown.append(float(metrics.loss))
    np.testing.assert_allclose(shown, np.linspace(0, 1, num_steps), rtol=1e-6)


def test_tau_is_the_first_at_the_first_step_and_the_last_at_the_last():
    model = build(head=models.Prototypes)
    batch = batch_of(6, shape=(4, 4, 1))
    outputs, _ = model(data.as_float(batch.images))
    family = objective.sng([0, 1, 2], tau_start=0.2, tau_end=8.0)
    step, state = start(model, family, optax.sgd(0.0), num_steps=3)
    for tau in (0.2, 4.1, 8.0):
        state, metrics = step(state, batch, KEY)
        expected = losses.sng(
            outputs, batch.labels, prototype_labels=jnp.arange(3), tau=tau
        )
        assert float(metrics.loss) == pytest.approx(float(expected.mean()), rel=1e-5)


def test_what_a_family_learns_is_trained_on_loss_and_penalty():
    family = family_of(
        lambda params, _, x: params["s"] * jnp.mean(x, axis=1),
        init=lambda key: {"s": 2.0 + jax.random.uniform(key)},
        penalty=lambda params: 0.5 * (params["s"] - 7.0) ** 2,
    )
    batch = batch_of(5, counting=4)
    step, state = start(Pixels(), family, optax.sgd(0.1))
    s = 2.0 + float(jax.random.uniform(KEY))
    mean = float(np.mean(np.asarray(batch.images[:4]) / 255))
    for _ in range(3):
        state, metrics = step(state, batch, KEY)
        assert float(metrics.loss) == pytest.approx(s * mean, rel=1e-5)
        s -= 0.1 * (mean + s - 7.0)
        assert float(state.params["objective"]["s"]) == pytest.approx(s, rel=1e-5)

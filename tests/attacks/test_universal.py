"""Universal perturbations against closed forms and a NumPy loop."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.tree_util import Partial

from robustlabels.attacks import universal

BATCHES, BATCH, SHAPE, CLASSES = 3, 4, (2, 3, 2), 3
NORMS = ["linf", "l2"]
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(BATCHES, BATCH, *SHAPE)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, CLASSES, (BATCHES, BATCH)), jnp.int32)
W = RNG.normal(size=(12, CLASSES)).astype(np.float32)


def loss_with(w, x, y):
    logits = 3 * jnp.tanh(x.reshape(len(x), -1) @ w)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)[:, 0]


LOSS = Partial(loss_with, jnp.asarray(W))


def gradient_by_hand(image, label):
    """Back-propagation of `loss_with` for one image, in double precision."""
    hidden = np.tanh(image.reshape(-1) @ W.astype(np.float64))
    probabilities = np.exp(3 * hidden)
    probabilities /= probabilities.sum()
    probabilities[label] -= 1
    return (W @ (3 * (1 - hidden**2) * probabilities)).reshape(SHAPE)


def perturbation_by_hand(epsilon, num_epochs, step_size, norm):
    delta = np.zeros(SHAPE)
    for _ in range(num_epochs):
        for images, labels in zip(
            np.asarray(X, np.float64), np.asarray(Y), strict=True
        ):
            gradient = np.zeros(SHAPE)
            for image, label in zip(images, labels, strict=True):
                moved = image + delta
                inside = (moved > 0) & (moved < 1)
                gradient += inside * gradient_by_hand(np.clip(moved, 0, 1), label)
            if norm == "linf":
                delta = delta + step_size * np.sign(gradient)
                delta = np.clip(delta, -epsilon, epsilon)
            else:
                delta = delta + step_size * gradient / np.linalg.norm(gradient)
                delta = delta * min(1, epsilon / np.linalg.norm(delta))
    return delta


@functools.cache
def jitted(norm, num_epochs=4):
    attack = functools.partial(
        universal.universal_perturbation, LOSS, num_epochs=num_epochs, norm=norm
    )
    return jax.jit(attack)


@pytest.mark.parametrize(
    ("norm", "epsilon", "step_size"), [("linf", 0.3, 0.07), ("l2", 0.9, 0.2)]
)
def test_it_is_ascent_on_the_mean_loss_of_one_batch_after_the_other(
    norm, epsilon, step_size
):
    delta = jitted(norm)(X, Y, epsilon=epsilon, step_size=step_size)
    expected = perturbation_by_hand(epsilon, 4, step_size, norm)
    np.testing.assert_allclose(delta, expected, atol=1e-5)
    moved = np.asarray(X) + expected
    assert 0.1 < np.mean((moved < 0) | (moved > 1)) < 0.9

    def mean_loss(x):
        return jnp.mean(LOSS(x.reshape(-1, *SHAPE), Y.reshape(-1)))

    assert mean_loss(jnp.clip(X + delta[None, None], 0, 1)) > mean_loss(X) + 0.5


@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_model_has_a_closed_form(norm):
    slopes = jnp.asarray(RNG.normal(size=(CLASSES, *SHAPE)), jnp.float32)
    y = jnp.tile(jnp.array([0, 1, 1, 2]), (BATCHES, 1))
    mean_slope = np.asarray(slopes)[np.asarray(y[0])].mean(0)

    def loss(x, y):
        return jnp.sum(x * slopes[y], axis=(1, 2, 3))

    delta = universal.universal_perturbation(
        loss,
        0.4 + 0.2 * X,
        y,
        epsilon=0.3,
        num_epochs=2,
        step_size=0.15,
        norm=norm,
    )
    direction = {
        "linf": np.sign(mean_slope),
        "l2": mean_slope / np.linalg.norm(mean_slope),
    }
    np.testing.assert_allclose(delta, 0.3 * direction[norm], atol=1e-6)


def test_infinite_bounds_leave_perturbed_images_unclipped():
    def loss(x, y):
        return jnp.sum(x, axis=-1)

    step = functools.partial(
        universal.universal_step, loss, step_size=1.0, bounds=(-np.inf, np.inf)
    )
    delta = jnp.array([0.5, 2.0])
    delta = jax.jit(step)(delta, jnp.ones((3, 2)), jnp.zeros(3, int), epsilon=9.0)
    np.testing.assert_allclose(delta, [1.5, 3.0])


def test_an_epsilon_per_channel_is_a_box():
    epsilon = jnp.array([0.0, 0.2])
    step = jax.jit(functools.partial(universal.universal_step, LOSS))
    delta = step(jnp.zeros(SHAPE), X[0], Y[0], epsilon=epsilon, step_size=0.3)
    np.testing.assert_array_equal(abs(delta), jnp.broadcast_to(epsilon, SHAPE))


def test_steps_by_hand_and_over_two_devices_give_the_same():
    epsilon, step_size = 0.3, 0.07
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    spread = NamedSharding(mesh, PartitionSpec(None, "data"))
    x, y = jax.device_put(X, spread), jax.device_put(Y, spread)

    @jax.jit
    def step(delta, x, y):
        return universal.universal_step(
            LOSS, delta, x, y, epsilon=epsilon, step_size=step_size
        )

    delta = jnp.zeros(SHAPE)
    for _ in range(4):
        for images, labels in zip(x, y, strict=True):
            delta = step(delta, images, labels)
    expected = jitted("linf")(X, Y, epsilon=epsilon, step_size=step_size)
    chex.assert_trees_all_close(delta, expected, atol=1e-6)


def test_a_curve_of_traced_epsilons_is_that_of_concrete_ones():
    epsilons = jnp.array([0.05, 0.3])
    at = functools.partial(jitted("l2"), X, Y)
    curve = jax.vmap(lambda epsilon: at(epsilon=epsilon, step_size=0.1))(epsilons)
    for delta, epsilon in zip(curve, epsilons, strict=True):
        expected = at(epsilon=epsilon, step_size=0.1)
        chex.assert_trees_all_close(delta, expected, atol=1e-6)


SIZES = st.one_of(st.just(0.0), st.floats(0, 1, width=32))


@pytest.mark.parametrize("norm", NORMS)
@settings(deadline=None, max_examples=15, derandomize=True)
@given(epsilon=SIZES, step_size=SIZES, seed=st.integers(0, 2**31 - 1))
def test_the_perturbation_stays_in_the_ball(norm, epsilon, step_size, seed):
    rng = np.random.default_rng(seed)
    x = np.clip(rng.uniform(-0.3, 1.3, X.shape), 0, 1).astype(np.float32)
    delta = jitted(norm)(x, Y, epsilon=epsilon, step_size=step_size)
    order = {"linf": np.inf, "l2": 2}[norm]
    length = np.linalg.norm(np.asarray(delta, np.float64).reshape(-1), order)
    assert length <= epsilon * (1 + 1e-5) + 1e-6


def test_no_gradient_flows_through_the_perturbation():
    attack = functools.partial(jitted("linf"), X, Y, step_size=0.07)
    assert jax.grad(lambda epsilon: jnp.sum(attack(epsilon=epsilon)))(0.05) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 8}, r"epsilon=8 is outside \[0, 1\]. .* write 8/255, not 8"),
        ({"epsilon": -1.0, "norm": "l2"}, r"epsilon=-1.0 is outside \[0, inf\)"),
        ({"epsilon": np.full(4, 0.1)}, r"epsilon of shape \(4,\) fits neither"),
        ({"step_size": -0.1}, "step_size=-0.1 is outside .*targeted"),
        ({"num_epochs": 0}, "num_epochs=0 is not a whole number of at least 1"),
        ({"norm": "l1"}, "norm='l1' is unknown; choose one of 'linf', 'l2'"),
        ({"bounds": (1.0, 0.0)}, r"bounds=\(1.0, 0.0\) must be"),
        ({"x": 255 * X}, r"a pixel of x=2\d\d.* is outside \[0, 1\]"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"x": X, "y": Y, "epsilon": 0.1, "num_epochs": 1, "step_size": 0.1}
    with pytest.raises(ValueError, match=message):
        universal.universal_perturbation(LOSS, **(good | change))

"""Losses with their gradients, on arrays of the size of ImageNet's classes.

Each is the mean over the batch, with the gradient by what it compares. Softmax
cross-entropy is Optax's; the soft targets are those of label smoothing, as a full
matrix. Supervised neural gas is timed at several τ, for the smaller τ is, the more
ranks count; sorting is what one would write by hand.

A single call gets its temporary memory afresh from the system, which can cost more than
the arithmetic; a training stretch gets it once for hundreds of steps. So the losses are
timed inside of a scan too, for information.

Squared distances are timed against the matrix product that cancels, and against the
broadcast difference.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from timing import arguments, compare, report, stopwatch

from robustlabels import losses

BATCH_SIZE, CLASSES = 4096, 1000
GOAL, SOFT_GOAL = 2.0, 1.5
TAUS = (0.1, 1.0, 10.0)
DESCENTS = 5


def sng_by_sorting(distances, labels, *, prototype_labels, tau):
    """Supervised neural gas, with ranks from sorting twice."""
    own = prototype_labels[None, :] == labels[:, None]
    wrong = jax.lax.stop_gradient(jnp.where(own, jnp.inf, distances))
    rank = jnp.argsort(jnp.argsort(wrong, axis=-1), axis=-1)
    weights = jnp.where(own, 0.0, jnp.exp(-tau * rank))
    weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
    d_plus = jnp.min(jnp.where(own, distances, jnp.inf), axis=-1, keepdims=True)
    mu = (d_plus - distances) / (d_plus + distances)
    return jnp.sum(weights * mu, axis=-1)


def broadcast_distances(x, w):
    """All differences, squared and summed."""
    return jnp.sum((x[:, None, :] - w[None, :, :]) ** 2, axis=-1)


def product_distances(x, w):
    """|x|² - 2xw + |w|², which loses digits where x is close to w."""
    squares = jnp.sum(x**2, axis=-1)[:, None] + jnp.sum(w**2, axis=-1)[None, :]
    return squares - 2.0 * x @ w.T


def with_gradient(function, *arrays, by=(0,)):
    """The mean of a function and its gradient by some of its arguments."""
    mean = jax.jit(jax.value_and_grad(lambda *x: jnp.mean(function(*x)), by))
    return stopwatch(functools.partial(mean, *arrays))


def descending(loss, outputs, labels):
    """Outputs that follow the mean loss down, in one program."""

    @jax.jit
    def descend(outputs, labels):
        def body(outputs, _):
            mean_loss = jax.value_and_grad(lambda x: jnp.mean(loss(x, labels)))
            mean, gradient = mean_loss(outputs)
            return outputs - 1e-3 * gradient, mean

        return jax.lax.scan(body, outputs, length=DESCENTS)

    return stopwatch(functools.partial(descend, outputs, labels), units=DESCENTS)


def compare_losses(rounds):
    """Prototype losses and cross-entropies."""
    rng = np.random.default_rng(0)
    outputs = rng.uniform(0.5, 2.0, (BATCH_SIZE, CLASSES)).astype(np.float32)
    labels = rng.integers(0, CLASSES, BATCH_SIZE).astype(np.int32)
    outputs, labels = jax.device_put((outputs, labels))
    own = {"prototype_labels": jnp.arange(CLASSES)}
    cross_entropy = optax.losses.softmax_cross_entropy_with_integer_labels
    ours = {"losses.glvq": functools.partial(losses.glvq, **own)}
    for tau in TAUS:
        sng = functools.partial(losses.sng, tau=tau, **own)
        ours[f"losses.sng, τ = {tau:g}"] = sng
    targets = losses.smoothed_targets(CLASSES, 0.1)
    soft = functools.partial(losses.soft_target_cross_entropy, targets=targets)
    functions = {
        "cross-entropy of Optax": cross_entropy,
        "losses.cross_entropy": losses.cross_entropy,
        "losses.soft_target_cross_entropy": soft,
        **ours,
        "SNG by sorting twice": functools.partial(sng_by_sorting, tau=1.0, **own),
    }
    case = f"loss and gradient, {BATCH_SIZE} x {CLASSES}"
    rows = compare(
        case,
        {name: with_gradient(f, outputs, labels) for name, f in functions.items()},
        rounds=rounds,
        goals={"losses.soft_target_cross_entropy": SOFT_GOAL}
        | dict.fromkeys(ours, GOAL),
    )
    del functions["SNG by sorting twice"]
    return rows + compare(
        f"{case}, {DESCENTS} descents in a scan",
        {name: descending(f, outputs, labels) for name, f in functions.items()},
        rounds=rounds,
    )


def compare_distances(rounds, batch, prototypes, features):
    """Squared distances and their gradients."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, features)).astype(np.float32)
    w = rng.normal(size=(prototypes, features)).astype(np.float32)
    x, w = jax.device_put((x, w))
    functions = {
        "losses.squared_distances": losses.squared_distances,
        "matrix product, cancels": product_distances,
        "broadcast": broadcast_distances,
    }
    return compare(
        f"squared distances and gradients, {batch} x {prototypes} x {features}",
        {name: with_gradient(f, x, w, by=(0, 1)) for name, f in functions.items()},
        rounds=rounds,
    )


def main():
    """Times losses, then distances."""
    args = arguments(__doc__, rounds=7)
    rows = compare_losses(args.rounds)
    rows += compare_distances(args.rounds, 128, 100, 784)
    # Here the broadcast takes many seconds.
    rows += compare_distances(min(args.rounds, 2), 4096, 1000, 200)
    report("losses", rows, args)


if __name__ == "__main__":
    main()

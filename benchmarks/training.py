"""The harness's training step against a bare jitted one of the same network.

Bare is what one would write by hand: merge the network, loss, gradient and Adam in one
jitted function with donated buffers, called from a loop over batches that wait on the
device, cut and in float32. The harness runs stretches of steps in one program; it
gathers each batch from the whole data set in uint8, and takes loss and accuracy of
every step. `fit` is the second epoch of a whole run with all that comes with it: order,
metrics files, and validation on a single batch.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import workloads
from flax import nnx
from timing import arguments, compare, report, stepping, stopwatch

from robustlabels import losses, objective, training
from robustlabels.data import as_float

STEPS = 25
GOAL = 1.05


def bare(model, loss_fn, data):
    """A step by hand, from the host."""
    graphdef, params, statistics = nnx.split(model, nnx.Param, ...)
    optimizer = optax.adam(1e-3)
    index = np.arange(STEPS * workloads.BATCH_SIZE).reshape(STEPS, -1)
    batches = [
        jax.device_put((as_float(data.train.images[i]), data.train.labels[i]))
        for i in index
    ]

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, images, labels):
        params, before, optimizer_state = state

        def total(params):
            model = nnx.merge(graphdef, params, before, copy=True)
            outputs, _ = model(images, train=True)
            _, _, statistics = nnx.split(model, nnx.Param, ...)
            return jnp.mean(loss_fn(outputs, labels)), statistics

        gradient, statistics = jax.grad(total, has_aux=True)(params)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state)
        return optax.apply_updates(params, updates), statistics, optimizer_state

    def steps(state):
        for images, labels in batches:
            state = step(state, images, labels)
        return state

    state = (params, statistics, optimizer.init(params))
    return stopwatch(stepping(steps, state), units=STEPS)


def stretch(model, family, data):
    """The harness: steps in one program."""
    optimizer = training.optimizers.adam(1e-3)
    key = jax.random.key(0)
    graphdef, state = training.init_state(model, family, optimizer, key)
    step = training.make_step(graphdef, family, optimizer, num_steps=10_000)
    run = jax.jit(functools.partial(training.run_stretch, step), donate_argnums=0)
    images, labels = jax.device_put((data.train.images, data.train.labels))
    order = np.random.default_rng(0).permutation(len(labels)).astype(np.int32)
    index = order[: STEPS * workloads.BATCH_SIZE].reshape(STEPS, -1)
    mask = np.ones(index.shape, bool)

    def steps(state):
        return run(state, images, labels, index, mask, key)[0]

    return stopwatch(stepping(steps, state), units=STEPS)


def whole_fit(model, family, data):
    """A step of the second of two epochs of `fit`."""
    steps = math.ceil(len(data.train.labels) / workloads.BATCH_SIZE)
    return lambda: workloads.epoch_seconds(model, family, data) / steps


def main():
    """Times a multilayer perceptron with prototypes and a small CNN with a softmax."""
    args = arguments(__doc__, rounds=7)
    data = workloads.dataset(50 * workloads.BATCH_SIZE)
    prototype_labels = jnp.arange(workloads.NUM_CLASSES)
    sng = functools.partial(losses.sng, prototype_labels=prototype_labels, tau=1.0)
    neural_gas = objective.sng(prototype_labels)
    softmax = objective.softmax()
    rows = compare(
        "training step, MLP 784-1200-1200-200, batch norm, SNG",
        {
            "bare jitted step": bare(workloads.mlp(), sng, data),
            "scan of steps": stretch(workloads.mlp(), neural_gas, data),
            "fit": whole_fit(workloads.mlp(), neural_gas, data),
            "scan of steps, bfloat16": stretch(
                workloads.mlp(jnp.bfloat16), neural_gas, data
            ),
        },
        rounds=args.rounds,
        goals={"scan of steps": GOAL, "fit": GOAL},
    )
    rows += compare(
        "training step, CNN, softmax",
        {
            "bare jitted step": bare(workloads.cnn(), losses.cross_entropy, data),
            "scan of steps": stretch(workloads.cnn(), softmax, data),
            "fit": whole_fit(workloads.cnn(), softmax, data),
        },
        rounds=args.rounds,
        goals={"scan of steps": GOAL, "fit": GOAL},
    )
    report("training", rows, args)


if __name__ == "__main__":
    main()

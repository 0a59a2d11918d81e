"""A CNN in a loop on the device against the same steps from the host.

`models.Conv` has gradients that XLA computes equally fast inside and outside of a loop;
those that JAX derives of `lax.conv_general_dilated` fall into a slow kernel inside of
one on a CPU. The latter are timed in the same network, for information.
"""

import functools

import jax
import jax.numpy as jnp
import optax
import workloads
from flax import nnx
from timing import arguments, compare, report, stepping, stopwatch

from robustlabels import losses, models
from robustlabels.data import as_float

STEPS = 3
GOAL = 1.05


class PlainConv(models.Conv):
    """The same layer on JAX's convolution as it is."""

    def __call__(self, x):
        """Convolve a batch of feature maps."""
        y = jax.lax.conv_general_dilated(
            x,
            self.kernel[...],
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y if self.bias is None else y + self.bias[...]


def plain_cnn() -> models.Network:
    """`workloads.cnn` with plain convolutions."""
    model = workloads.cnn()
    assert isinstance(model.encoder, models.CNN)
    for block in model.encoder.convs:
        *_, channels, features = block.linear.kernel.shape
        block.linear = PlainConv(channels, features, kernel_size=3, rngs=nnx.Rngs(0))
    return model


def training_step(model, images, labels):
    """(params, optimiser's state) one step of Adam further, and where they start."""
    graphdef, params, constants = nnx.split(model, nnx.Param, ...)
    optimizer = optax.adam(1e-3)

    def step(state):
        params, optimizer_state = state

        def total(params):
            outputs, _ = nnx.merge(graphdef, params, constants)(images)
            return jnp.mean(losses.cross_entropy(outputs, labels))

        updates, optimizer_state = optimizer.update(
            jax.grad(total)(params), optimizer_state
        )
        return optax.apply_updates(params, updates), optimizer_state

    return step, (params, optimizer.init(params))


def attack_step(model, images, labels):
    """Images one step up the input gradient's sign, and where they start."""

    def total(x):
        outputs, _ = model(x)
        return jnp.sum(losses.cross_entropy(outputs, labels))

    return lambda x: x + 1e-3 * jnp.sign(jax.grad(total)(x)), images


def stepped(step, state):
    """Steps from the host."""
    jitted = jax.jit(step, donate_argnums=0)

    def steps(state):
        for _ in range(STEPS):
            state = jitted(state)
        return state

    return stopwatch(stepping(steps, state), units=STEPS)


def scanned(step, state):
    """Steps in one program."""

    @functools.partial(jax.jit, donate_argnums=0)
    def steps(state):
        return jax.lax.scan(lambda state, _: (step(state), None), state, length=STEPS)

    return stopwatch(stepping(lambda state: steps(state)[0], state), units=STEPS)


def main():
    """Times a training step and an attack's step on MNIST-shaped images."""
    args = arguments(__doc__, rounds=7)
    split = workloads.split(workloads.BATCH_SIZE)
    images, labels = jax.device_put((as_float(split.images[:]), split.labels))
    rows = []
    for what, step_of in (
        ("training step", training_step),
        ("input gradient step", attack_step),
    ):
        ours = step_of(workloads.cnn(), images, labels)
        plain = step_of(plain_cnn(), images, labels)
        rows += compare(
            f"{what}, CNN",
            {
                "stepped": stepped(*ours),
                "scan": scanned(*ours),
                "plain convolution, stepped": stepped(*plain),
                "plain convolution, scan": scanned(*plain),
            },
            rounds=args.rounds,
            goals={"scan": GOAL},
        )
    report("scan", rows, args)


if __name__ == "__main__":
    main()

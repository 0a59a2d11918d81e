"""Gradient attacks against their floor: steps x one jitted input gradient.

The floor is called from the host, once a step, and does nothing with the gradient. The
curve is for information: five steps at each of eight radii, traced, in one program.
Cost grows linearly: a step, an image and a radius cost what they do among fewer.
"""

import functools

import jax
import jax.numpy as jnp
import workloads
from flax import nnx
from timing import arguments, compare, report, stopwatch

from robustlabels import attacks, objective, training
from robustlabels.data import as_float
from robustlabels.evaluation import robustness_curve

STEPS, STEPS_A_RADIUS = 40, 5
GOAL = 1.10
NUMBERS_OF_STEPS, BATCHES, RADII = (10, 40, 160), (128, 256, 512), (2, 4, 8)


def classifier_of(model, family):
    """A network and an objective as a classifier, a pytree of arrays."""
    parts = nnx.split(model, nnx.Param, ...)
    return objective.bind(family.at({}, 1.0), training.predictor(*parts))


@jax.jit
def input_gradient(classifier, x, y):
    """The floor of one step."""
    return jax.grad(lambda x: jnp.sum(classifier.loss(x, y)))(x)


@jax.jit
def fgsm(classifier, x, y):
    """One step."""
    return attacks.fgsm(classifier.loss, x, y, epsilon=0.1)


@functools.partial(jax.jit, static_argnames="num_steps")
def pgd(classifier, x, y, num_steps=STEPS):
    """Forty steps, unless another number is given."""
    return attacks.pgd(
        classifier.loss, x, y, epsilon=0.1, num_steps=num_steps, step_size=0.01
    )


@jax.jit
def curve(classifier, x, y, epsilons):
    """Five steps for each radius."""

    def attack(loss_fn, x, y, *, epsilon, key):
        return attacks.pgd(
            loss_fn,
            x,
            y,
            epsilon=epsilon,
            num_steps=STEPS_A_RADIUS,
            step_size=epsilon / 4,
            key=key,
        )

    return robustness_curve(
        classifier.scores, attack, classifier.loss, x, y, epsilons=epsilons
    )


def images(number):
    """So many images and their classes, on the device."""
    split = workloads.split(number)
    return jax.device_put((as_float(split.images[:]), split.labels))


def compare_attacks(name, classifier, rounds):
    """One step, forty, and five for each of eight radii."""
    x, y = images(workloads.BATCH_SIZE)
    epsilons = jnp.linspace(0.025, 0.2, 8)

    def gradients():
        for _ in range(STEPS):
            input_gradient(classifier, x, y).block_until_ready()
        return x

    rows = compare(
        f"FGSM, {name}",
        {
            "one input gradient": stopwatch(lambda: input_gradient(classifier, x, y)),
            "attacks.fgsm": stopwatch(lambda: fgsm(classifier, x, y)),
        },
        rounds=rounds,
        goals={"attacks.fgsm": GOAL},
    )
    return rows + compare(
        f"PGD-{STEPS}, {name}",
        {
            f"{STEPS} input gradients": stopwatch(gradients),
            "attacks.pgd": stopwatch(lambda: pgd(classifier, x, y)),
            "PGD-5 at 8 epsilons, robustness_curve": stopwatch(
                lambda: curve(classifier, x, y, epsilons)
            ),
        },
        rounds=rounds,
        goals={"attacks.pgd": GOAL},
    )


def compare_growth(name, classifier, rounds):
    """What a step, an image and a radius cost among few and among many."""
    x, y = images(workloads.BATCH_SIZE)
    steps = {
        f"of {n}": stopwatch(functools.partial(pgd, classifier, x, y, n), units=n)
        for n in NUMBERS_OF_STEPS
    }
    batches = {
        f"of {n}": stopwatch(functools.partial(pgd, classifier, *images(n)), units=n)
        for n in BATCHES
    }
    radii = {
        f"of {n}": stopwatch(
            functools.partial(curve, classifier, x, y, jnp.linspace(0.025, 0.2, n)),
            units=n,
        )
        for n in RADII
    }
    cases = {
        f"a step of PGD, {name}": steps,
        f"an image of PGD-{STEPS}, {name}": batches,
        f"a radius of PGD-{STEPS_A_RADIUS}, {name}": radii,
    }
    rows = []
    for case, contestants in cases.items():
        most = list(contestants)[-1]
        rows += compare(case, contestants, rounds=rounds, goals={most: GOAL})
    return rows


def main():
    """Times the attacks on a batch of MNIST-shaped images."""
    args = arguments(__doc__, rounds=5)
    glvq = objective.glvq(range(workloads.NUM_CLASSES))
    mlp = classifier_of(workloads.mlp(), glvq)
    cnn = classifier_of(workloads.cnn(), objective.softmax())
    rows = compare_attacks("MLP, GLVQ", mlp, args.rounds)
    rows += compare_attacks("CNN, softmax", cnn, args.rounds)
    rows += compare_growth("CNN, softmax", cnn, args.rounds)
    report("attacks", rows, args)


if __name__ == "__main__":
    main()

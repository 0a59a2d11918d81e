"""Attacks on a whole test set, with their records, against the gradients they need.

`measure` runs PGD-20 by the classifier's own loss and by its margin. Its floor is one
jitted input gradient for each step, loss and batch, called from the host. There epsilon
is so small that nothing falls and no step can be spared; then a trained network, which
does fall, is attacked at one epsilon and at eight.
"""

import itertools
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import workloads
from timing import Row, arguments, compare, report, stopwatch

from robustlabels import objective
from robustlabels.data import Split, as_float
from robustlabels.evaluation import budgets, measure
from robustlabels.objective import Classifier

STEPS = 20
SIZE = 1000
BATCH_SIZE = 250
TINY = {"1e-6": 1e-6}
EPSILONS = {f"{i}/40": i / 40 for i in range(1, 9)}
MIDDLE = {"4/40": 0.1}


@jax.jit
def _gradient_of_loss(classifier, x, y):
    return jax.grad(lambda x: jnp.sum(classifier.loss(x, y)))(x)


@jax.jit
def _gradient_of_margin(classifier, x, y):
    return jax.grad(lambda x: jnp.sum(classifier.margin(x, y)))(x)


def gradients(classifier: Classifier, split: Split):
    """The floor: nothing but gradients, steps x losses x batches of them."""
    batches = [
        jax.device_put((as_float(split.images[i]), split.labels[i]))
        for i in np.arange(len(split.labels)).reshape(-1, BATCH_SIZE)
    ]

    def run():
        for (x, y), _ in itertools.product(batches, range(STEPS)):
            _gradient_of_loss(classifier, x, y).block_until_ready()
            _gradient_of_margin(classifier, x, y).block_until_ready()

    return stopwatch(run)


def measured(classifier: Classifier, split: Split, epsilons: dict[str, float]):
    """`measure` into a new folder: a clean record, three an epsilon, and images."""
    attacks = {"pgd": (budgets.pgd(num_steps=STEPS), {"name": "pgd"})}

    def run():
        with tempfile.TemporaryDirectory() as folder:
            found = measure(
                [({"seed": 0}, classifier)],
                split,
                attacks,
                epsilons=epsilons,
                batch_size=BATCH_SIZE,
                folder=folder,
            )
            assert len(list(found)) == 3 + 3 * len(epsilons)

    return stopwatch(run)


def trained(model, family) -> Classifier:
    """A network after two epochs on the synthetic data."""
    data = workloads.dataset(20 * workloads.BATCH_SIZE)
    return workloads.fit(model, family, data).classifier


def rightly_labelled(classifier: Classifier) -> Split:
    """Images under the labels that the classifier gives them, so that all are right."""
    images = workloads.split(SIZE).images
    decisions = jnp.argmax(classifier.scores(as_float(images)), axis=-1)
    return Split(images, np.asarray(decisions, np.int32))


def compare_evaluations(name: str, classifier: Classifier, rounds: int) -> list[Row]:
    """Where all stand, against the floor; where they fall, eight against one."""
    split = rightly_labelled(classifier)
    rows = compare(
        f"PGD-{STEPS} on {SIZE} images by both losses, nothing falls, {name}",
        {
            "steps x losses x input gradients": gradients(classifier, split),
            "measure, records written": measured(classifier, split, TINY),
        },
        rounds=rounds,
        goals={"measure, records written": 1.15},
    )
    return rows + compare(
        f"PGD-{STEPS} on {SIZE} images by both losses, {name}",
        {
            "one epsilon, 0.1": measured(classifier, split, MIDDLE),
            "eight epsilons, 0.025 to 0.2": measured(classifier, split, EPSILONS),
        },
        rounds=rounds,
        goals={"eight epsilons, 0.025 to 0.2": 3},
    )


def main():
    """Times a multilayer perceptron with prototypes and a small CNN with a softmax."""
    args = arguments(__doc__, rounds=3)
    glvq = objective.glvq(range(workloads.NUM_CLASSES))
    rows = []
    for name, model, family in (
        ("MLP, GLVQ", workloads.mlp(), glvq),
        ("CNN, softmax", workloads.cnn(), objective.softmax()),
    ):
        rows += compare_evaluations(name, trained(model, family), args.rounds)
    report("evaluation", rows, args)


if __name__ == "__main__":
    main()

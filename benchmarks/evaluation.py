"""Attacks on a whole split, with their records, against the gradients they need.

A replica is attacked by PGD-20 along its own loss and along its margin, and records,
images and ledgers are written. The floor is one jitted input gradient for each step,
loss and batch, called from the host. There epsilon is so small that nothing falls and
no step can be spared; then at the smallest of eight epsilons, and at all of them.
The networks are trained on the digits of scikit-learn for two epochs; the images are
those to train on, for there are more of them.
"""

import functools
import itertools
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import workloads
from flax import nnx
from timing import Row, arguments, compare, report, stopwatch

from robustlabels import data, models, objective, parallel
from robustlabels._stopping import never
from robustlabels.data import Split, as_float
from robustlabels.evaluation import budgets, make_attacker
from robustlabels.evaluation.curves import zero_gradients
from robustlabels.evaluation.programs import correct, of_images, over
from robustlabels.evaluation.replica import Book, Replica
from robustlabels.objective import Classifier

STEPS = 20
SIZE = 896
BATCH_SIZE = 128
TINY = {"1e-6": 1e-6}
EPSILONS = {f"{i}/20": i / 20 for i in range(1, 9)}
SMALLEST = {"1/20": 0.05}
DIGITS = data.load("digits")
LOSSES = {"own": lambda c: c.loss, "margin": lambda c: c.margin}


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


def attacked(classifier: Classifier, split: Split, epsilons: dict[str, float]):
    """What `measure` does to a replica once all is compiled, into a new folder."""
    mesh = parallel.make_mesh()
    common = {"mesh": mesh, "batch_size": BATCH_SIZE}
    attackers = {
        name: make_attacker(
            budgets.pgd(num_steps=STEPS), loss_of, cell=["pgd", name], **common
        )
        for name, loss_of in LOSSES.items()
    }
    programs = {name: of_images(_zeros(loss), mesh) for name, loss in LOSSES.items()}
    programs["clean"] = of_images(correct, mesh)

    def run():
        with tempfile.TemporaryDirectory() as folder:
            replica = Replica(
                classifier,
                identity={"seed": 0},
                seed=0,
                split=split,
                split_name="test",
                epsilons=epsilons,
                book=Book(folder),
                flags=functools.cache(
                    lambda name: over(programs[name], classifier, split, **common)
                ),
                advance=lambda steps, **figures: None,
                stop=never,
            )
            found = list(replica.attacked("pgd", {"name": "pgd"}, attackers))
            assert len(found) == 2 + 3 * len(epsilons)

    return stopwatch(run)


def _zeros(loss_of):
    return lambda classifier, x, y: zero_gradients(loss_of(classifier), x, y)


def trained(encoder, head, family) -> Classifier:
    """A network after two epochs on the digits."""
    mean, std = DIGITS.mean.tolist(), DIGITS.std.tolist()
    model = models.Network(encoder, head, mean=mean, std=std)
    return workloads.fit(model, family, DIGITS).classifier


def rightly_decided(classifier: Classifier) -> Split:
    """Images that are decided correctly, so that all of them are attacked."""
    split = DIGITS.train
    decisions = jnp.argmax(classifier.scores(as_float(split.images[:])), axis=-1)
    right = np.flatnonzero(np.asarray(decisions) == split.labels)[:SIZE]
    return Split(split.images[right], split.labels[right])


def compare_evaluations(name: str, classifier: Classifier, rounds: int) -> list[Row]:
    """Where all stand, against the floor; where they fall, eight against one."""
    split = rightly_decided(classifier)
    rows = compare(
        f"PGD-{STEPS} on {SIZE} images by both losses, nothing falls, {name}",
        {
            "steps x losses x input gradients": gradients(classifier, split),
            "the attacks, records written": attacked(classifier, split, TINY),
        },
        rounds=rounds,
        goals={"the attacks, records written": 1.15},
    )
    return rows + compare(
        f"PGD-{STEPS} on {SIZE} images by both losses, {name}",
        {
            "one epsilon, 0.05": attacked(classifier, split, SMALLEST),
            "eight epsilons, 0.05 to 0.4": attacked(classifier, split, EPSILONS),
        },
        rounds=rounds,
        goals={"eight epsilons, 0.05 to 0.4": 3},
    )


def main():
    """Times a multilayer perceptron with prototypes and a small CNN with a softmax."""
    args = arguments(__doc__, rounds=3)
    rngs, shape = nnx.Rngs(0), DIGITS.train.images.shape[1:]
    mlp = trained(
        models.MLP(shape, rngs=rngs),
        models.Prototypes(200, DIGITS.num_classes, rngs=rngs),
        objective.glvq(range(DIGITS.num_classes)),
    )
    cnn = trained(
        models.CNN(shape, rngs=rngs),
        models.Softmax(128, DIGITS.num_classes, rngs=rngs),
        objective.softmax(),
    )
    rows = [
        *compare_evaluations("MLP 64-1200-1200-200, GLVQ", mlp, args.rounds),
        *compare_evaluations("CNN, softmax", cnn, args.rounds),
    ]
    report("evaluation", rows, args)


if __name__ == "__main__":
    main()

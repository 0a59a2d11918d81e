"""Attacks beside those of Foolbox, torchattacks and ART: same weights, same images.

A small CNN of MNIST's shape and ResNet-20 of CIFAR's are trained for a moment on
patterns under noise; PyTorch twins get their weights. Every attack has the same budget
everywhere, all images take all steps, and beside the times is the share of images that
each fools. The floor is as many jitted input gradients as there are steps, called from
the host. Needs the extra `peers`; who is not installed is left out.
"""

import argparse
import importlib.util
import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import workloads
from attacks import classifier_of, input_gradient
from flax import nnx
from timing import Row, add_output, compare, report, stopwatch

from robustlabels import attacks, models, objective
from robustlabels.data import Dataset, Split, as_float

EPSILON, STEPS, QUERIES = 0.1, 40, 200
SEARCHES, SEARCH_STEPS = 3, 50
EPSILONS = [i / 40 for i in range(1, 9)]
DEPTH, SIDE = 20, 32


class Setting(NamedTuple):
    """A net as all of them know it, and images that it is right about."""

    name: str
    classifier: objective.Classifier
    twin: Any
    x: jax.Array
    y: jax.Array


def there(package: str) -> bool:
    """Whether a package is installed."""
    return importlib.util.find_spec(package) is not None


def trained(name: str, start: models.Network, data: Dataset, number: int) -> Setting:
    """A net after two epochs of Adam, and the first images that it is right about."""
    model: Any = workloads.fit(start, objective.softmax(), data).models[0]
    classifier = classifier_of(model, objective.softmax())
    x, y = as_float(data.test.images[:]), data.test.labels
    right = np.flatnonzero(np.asarray(classifier.scores(x)).argmax(1) == y)[:number]
    twin = None
    if there("torch"):
        import twins

        shape, classes = model.encoder.image_shape, len(data.class_names)
        if isinstance(model.encoder, models.CNN):
            body = twins.cnn(shape, classes=classes)
        else:
            body = twins.resnet(DEPTH, channels=shape[-1], classes=classes)
        twin = twins.twin(body, model)
        theirs = twin(twins.images(x[right])).numpy()
        np.testing.assert_allclose(theirs, classifier.scores(x[right]), atol=1e-3)
    return Setting(name, classifier, twin, *map(jnp.asarray, (x[right], y[right])))


def small() -> Setting:
    """The CNN and 64 images."""
    data = workloads.dataset(50 * workloads.BATCH_SIZE)
    data = data._replace(test=workloads.split(200))
    return trained("CNN", workloads.cnn(), data, 64)


def residual() -> Setting:
    """ResNet-20 and 32 images."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 128, (10, SIDE, SIDE, 3))
    labels = rng.integers(0, 10, 1280).astype(np.int32)
    noise = rng.integers(0, 128, (1280, SIDE, SIDE, 3))
    split = Split((patterns[labels] + noise).astype(np.uint8), labels)
    few = split.take(np.arange(128))
    data = workloads.dataset(1280)._replace(train=split, validation=few, test=few)
    encoder = models.CIFARResNet((SIDE, SIDE, 3), depth=DEPTH, rngs=nnx.Rngs(0))
    head = models.Softmax(encoder.out_features, 10, rngs=nnx.Rngs(1))
    model = models.Network(encoder, head, mean=(0.5,) * 3, std=(0.25,) * 3)
    return trained(f"ResNet-{DEPTH}", model, data, 32)


class Contestants:
    """What runs, by name, and what share of the images each fools."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.timed: dict[str, Callable[[], float]] = {}
        self.fooled: dict[str, float] = {}

    def add(self, name: str, run: Callable[[], Any]) -> None:
        """A function that returns images as ours have them, or flags of the fooled."""
        found = run()
        found = np.asarray(getattr(found, "x_adv", found))
        if found.dtype != bool:
            decisions = self.setting.classifier.scores(found).argmax(1)
            found = np.asarray(decisions != self.setting.y)
        self.fooled[name] = float(found.mean())
        self.timed[name] = stopwatch(run)

    def rows(self, case: str, rounds: int) -> list[Row]:
        """Times them all against the first."""
        rows = compare(f"{case}, {self.setting.name}", self.timed, rounds=rounds)
        for row in rows:
            row["fooled"] = self.fooled[row["contestant"]]
        return rows


def ours(setting: Setting, attack: Callable[..., Any]) -> Callable[[], Any]:
    """An attack (classifier, x, y) in one jitted program."""
    jitted = jax.jit(attack)
    return lambda: jax.block_until_ready(
        jitted(setting.classifier, setting.x, setting.y)
    )


def floor(setting: Setting, gradients: int) -> Callable[[], Any]:
    """Nothing but gradients."""

    def run():
        for _ in range(gradients):
            input_gradient(setting.classifier, setting.x, setting.y).block_until_ready()
        return setting.x

    return run


def by_foolbox(setting: Setting, attack: Any, epsilon: float | None) -> dict[str, Any]:
    """The same attack of Foolbox through its JAX and its PyTorch model."""
    import foolbox

    jax_model = foolbox.JAXModel(jax.jit(setting.classifier.scores), bounds=(0, 1))

    def through_jax():
        images, _, _ = attack(jax_model, setting.x, setting.y, epsilons=epsilon)
        return images.block_until_ready()

    runs = {"Foolbox, JAX": through_jax}
    if setting.twin is not None:
        x, y = for_torch(setting)
        model = foolbox.PyTorchModel(setting.twin, bounds=(0, 1), device="cpu")

        def through_torch():
            images, _, _ = attack(model, x, y, epsilons=epsilon)
            return of_torch(images)

        runs["Foolbox, PyTorch"] = through_torch
    return runs


def by_torchattacks(setting: Setting, name: str, **arguments: Any) -> dict[str, Any]:
    """An attack of torchattacks."""
    import torchattacks  # pyrefly: ignore[missing-import]

    attack = getattr(torchattacks, name)(setting.twin, **arguments)
    x, y = for_torch(setting)
    return {"torchattacks": lambda: of_torch(attack(x, y))}


def by_art(setting: Setting, name: str, **arguments: Any) -> dict[str, Any]:
    """An attack of ART through its PyTorch classifier."""
    import torch  # pyrefly: ignore[missing-import]
    from art.attacks import evasion  # pyrefly: ignore[missing-import]
    from art.estimators.classification import (  # pyrefly: ignore[missing-import]
        PyTorchClassifier,
    )

    x, y = for_torch(setting)
    model = PyTorchClassifier(
        setting.twin,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = getattr(evasion, name)(model, batch_size=len(x), **arguments)
    x, y = x.contiguous().numpy(), y.numpy()
    return {"ART": lambda: attack.generate(x, y).transpose(0, 2, 3, 1)}


def for_torch(setting: Setting) -> tuple[Any, Any]:
    """Images and labels as PyTorch has them."""
    import torch  # pyrefly: ignore[missing-import]
    import twins

    return twins.images(setting.x), torch.from_numpy(np.array(setting.y)).long()


def of_torch(images: Any) -> np.ndarray:
    """PyTorch's images as ours."""
    return images.detach().numpy().transpose(0, 2, 3, 1)


def fgsm(setting: Setting) -> dict[str, Callable]:
    """One step of 0.1."""
    runs = {
        "attacks.fgsm": ours(
            setting, lambda c, x, y: attacks.fgsm(c.loss, x, y, epsilon=EPSILON)
        ),
        "one input gradient": floor(setting, 1),
    }
    if there("foolbox"):
        import foolbox

        attack = foolbox.attacks.LinfFastGradientAttack(random_start=False)
        runs |= by_foolbox(setting, attack, EPSILON)
    if there("torchattacks"):
        runs |= by_torchattacks(setting, "FGSM", eps=EPSILON)
    if there("art"):
        runs |= by_art(setting, "FastGradientMethod", eps=EPSILON)
    return runs


def pgd(setting: Setting) -> dict[str, Callable]:
    """Forty steps of 0.01 from a random start."""
    step = EPSILON / 10
    runs = {
        "attacks.pgd": ours(
            setting,
            lambda c, x, y: attacks.pgd(
                c.loss,
                x,
                y,
                epsilon=EPSILON,
                num_steps=STEPS,
                step_size=step,
                key=jax.random.key(0),
            ),
        ),
        f"{STEPS} input gradients": floor(setting, STEPS),
    }
    if there("foolbox"):
        import foolbox

        attack = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=STEPS)
        runs |= by_foolbox(setting, attack, EPSILON)
    if there("torchattacks"):
        options = {"eps": EPSILON, "alpha": step, "steps": STEPS}
        runs |= by_torchattacks(setting, "PGD", **options)
    if there("art"):
        options = {"eps": EPSILON, "eps_step": step, "max_iter": STEPS}
        options |= {"num_random_init": 1, "verbose": False}
        runs |= by_art(setting, "ProjectedGradientDescentPyTorch", **options)
    return runs


def eight_epsilons(setting: Setting) -> dict[str, Callable]:
    """PGD at eight epsilons; who is fooled at the largest counts."""
    from robustlabels.evaluation import budgets, make_attacker
    from robustlabels.parallel import make_mesh

    attacker = make_attacker(
        budgets.pgd(num_steps=STEPS),
        lambda c: c.loss,
        mesh=make_mesh(),
        batch_size=len(setting.y),
    )
    split = Split(np.asarray(setting.x), np.asarray(setting.y))

    def whole_curve():
        right = np.ones(len(split.labels), bool)
        arguments = {"key": jax.random.key(0), "right": right}
        outcome = attacker(setting.classifier, split, EPSILONS, **arguments)
        return outcome.fallen < len(EPSILONS)

    runs: dict[str, Callable] = {"evaluation.Attacker": whole_curve}
    if there("foolbox"):
        import foolbox

        attack = foolbox.attacks.LinfPGD(rel_stepsize=0.1, steps=STEPS)
        model = foolbox.JAXModel(jax.jit(setting.classifier.scores), bounds=(0, 1))

        def by_epsilon():
            images, _, _ = attack(model, setting.x, setting.y, epsilons=EPSILONS)
            return images[-1].block_until_ready()

        runs["Foolbox, JAX"] = by_epsilon
    return runs


def apgd(setting: Setting) -> dict[str, Callable]:
    """A hundred steps along cross-entropy, one start."""
    runs = {
        "attacks.apgd": ours(
            setting,
            lambda c, x, y: attacks.apgd(
                c.loss, x, y, epsilon=EPSILON, key=jax.random.key(0)
            ),
        ),
        "101 input gradients": floor(setting, 101),
    }
    if there("torchattacks"):
        runs |= by_torchattacks(setting, "APGD", eps=EPSILON, steps=100)
    if there("art"):
        options = {"eps": EPSILON, "eps_step": 2 * EPSILON, "max_iter": 100}
        options |= {"nb_random_init": 1, "verbose": False}
        loss = "cross_entropy"
        attack = "AutoProjectedGradientDescent"
        runs |= by_art(setting, attack, loss_type=loss, **options)
    return runs


def square(setting: Setting) -> dict[str, Callable]:
    """Two hundred queries."""
    runs = {
        "attacks.square": ours(
            setting,
            lambda c, x, y: attacks.square(
                c.margin,
                x,
                y,
                epsilon=EPSILON,
                key=jax.random.key(0),
                num_steps=QUERIES,
            ),
        )
    }
    if there("torchattacks"):
        options = {"eps": EPSILON, "n_queries": QUERIES}
        runs |= by_torchattacks(setting, "Square", **options)
    if there("art"):
        options = {"eps": EPSILON, "max_iter": QUERIES, "verbose": False}
        runs |= by_art(setting, "SquareAttack", **options)
    return runs


def carlini_wagner(setting: Setting) -> dict[str, Callable]:
    """Three searches of fifty steps; Foolbox's schedule of the constant is ours."""
    steps = SEARCHES * SEARCH_STEPS
    runs = {
        "attacks.carlini_wagner": ours(
            setting,
            lambda c, x, y: attacks.carlini_wagner(
                c.scores,
                x,
                y,
                num_steps=SEARCH_STEPS,
                num_searches=SEARCHES,
                initial_constant=1.0,
                abort_early=False,
            ),
        ),
        f"{steps} input gradients": floor(setting, steps),
    }
    if there("foolbox"):
        import foolbox

        attack = foolbox.attacks.L2CarliniWagnerAttack(
            binary_search_steps=SEARCHES,
            steps=SEARCH_STEPS,
            initial_const=1.0,
            abort_early=False,
        )
        runs |= by_foolbox(setting, attack, None)
    return runs


def ddn(setting: Setting) -> dict[str, Callable]:
    """A hundred steps."""
    runs = {
        "attacks.ddn": ours(
            setting, lambda c, x, y: attacks.ddn(c.loss, c.scores, x, y)
        ),
        "100 input gradients": floor(setting, 100),
    }
    if there("foolbox"):
        import foolbox

        runs |= by_foolbox(setting, foolbox.attacks.DDNAttack(steps=100), None)
    return runs


CASES = {
    "FGSM": fgsm,
    f"PGD-{STEPS}": pgd,
    f"PGD-{STEPS} at 8 epsilons": eight_epsilons,
    "APGD-100": apgd,
    f"Square-{QUERIES}": square,
    f"C&W {SEARCHES} x {SEARCH_STEPS}": carlini_wagner,
    "DDN-100": ddn,
}


def main():
    """Times all attacks on both nets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="of all that is timed")
    parser.add_argument("--nets", nargs="+", default=["cnn", "resnet"])
    add_output(parser)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # Foolbox imports what SciPy deprecates.
    make = {"cnn": small, "resnet": residual}
    settings = [make[name]() for name in args.nets]
    rows = []
    for setting, (case, contestants) in itertools.product(settings, CASES.items()):
        timed = Contestants(setting)
        for name, run in contestants(setting).items():
            timed.add(name, run)
        rows += timed.rows(case, args.rounds)
    report("peers", rows, args)
    for row in rows:
        print(f"{row['case']}, {row['contestant']}: {100 * row['fooled']:.1f} % fooled")


if __name__ == "__main__":
    main()

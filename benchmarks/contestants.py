"""One attack on one net by whoever has it: ours, Foolbox's, torchattacks', ART's.

All of them get the same weights and the same images, on the same device, and answer
with images as ours are. Needs the extra `peers`; who is not installed is left out.
"""

import importlib.util
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import workloads
from attacks import classifier_of, input_gradient
from flax import nnx
from timing import Row, compare, stopwatch

from robustlabels import models, objective
from robustlabels.data import Dataset, Split, as_float
from robustlabels.evaluation import budgets, make_attacker
from robustlabels.parallel import make_mesh

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


def torch_device() -> str:
    """PyTorch's name for the device that JAX computes on."""
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


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
        twin = twins.twin(body, model).to(torch_device())
        images = twins.images(x[right]).to(torch_device())
        theirs = twin(images).cpu().numpy()
        np.testing.assert_allclose(theirs, classifier.scores(x[right]), atol=1e-3)
    return Setting(name, classifier, twin, *map(jnp.asarray, (x[right], y[right])))


def small(number: int) -> Setting:
    """The CNN and so many images."""
    data = workloads.dataset(50 * workloads.BATCH_SIZE)
    data = data._replace(test=workloads.split(2 * number))
    return trained("CNN", workloads.cnn(), data, number)


def residual(number: int) -> Setting:
    """ResNet-20 and so many images."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 128, (10, SIDE, SIDE, 3))
    labels = rng.integers(0, 10, 1280).astype(np.int32)
    noise = rng.integers(0, 128, (1280, SIDE, SIDE, 3))
    split = Split((patterns[labels] + noise).astype(np.uint8), labels)
    few = split.take(np.arange(128))
    data = workloads.dataset(1280)._replace(train=split, validation=few, test=split)
    encoder = models.CIFARResNet((SIDE, SIDE, 3), depth=DEPTH, rngs=nnx.Rngs(0))
    head = models.Softmax(encoder.out_features, 10, rngs=nnx.Rngs(1))
    model = models.Network(encoder, head, mean=(0.5,) * 3, std=(0.25,) * 3)
    return trained(f"ResNet-{DEPTH}", model, data, number)


class Contestants:
    """What runs, by name, what share of the images each fools, and its first call."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.timed: dict[str, Callable[[], float]] = {}
        self.found: dict[str, Row] = {}

    def add(self, name: str, run: Callable[[], Any]) -> None:
        """A function that returns images as ours have them, or flags of the fooled."""
        start = time.perf_counter()
        found = run()
        first = time.perf_counter() - start
        found = np.asarray(getattr(found, "x_adv", found))
        if found.dtype != bool:
            decisions = self.setting.classifier.scores(found).argmax(1)
            found = np.asarray(decisions != self.setting.y)
        self.found[name] = {
            "first_call_seconds": first,
            "fooled": float(found.mean()),
            "images": len(found),
        }
        self.timed[name] = stopwatch(run)

    def rows(self, case: str, rounds: int) -> list[Row]:
        """Times them all against the first."""
        rows = compare(f"{case}, {self.setting.name}", self.timed, rounds=rounds)
        return [row | self.found[row["contestant"]] for row in rows]


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


def by_harness(
    setting: Setting,
    budget: budgets.Attack,
    loss_of: Callable[[objective.Classifier], Callable],
    epsilons: Sequence[float],
) -> dict[str, Any]:
    """An attack of the harness on whoever stands, at one epsilon after the other."""
    attacker = make_attacker(
        budget, loss_of, mesh=make_mesh(), batch_size=len(setting.y)
    )
    split = Split(np.asarray(setting.x), np.asarray(setting.y))

    def run():
        right = np.ones(len(split.labels), bool)
        arguments = {"key": jax.random.key(0), "right": right}
        outcome = attacker(setting.classifier, split, epsilons, **arguments)
        return outcome.fallen < len(epsilons)

    return {"evaluation.Attacker": run}


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
        model = foolbox.PyTorchModel(setting.twin, bounds=(0, 1), device=torch_device())

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
        device_type="gpu" if torch_device() == "cuda" else "cpu",
    )
    attack = getattr(evasion, name)(model, batch_size=len(x), **arguments)
    x, y = x.contiguous().cpu().numpy(), y.cpu().numpy()
    return {"ART": lambda: attack.generate(x, y).transpose(0, 2, 3, 1)}


def for_torch(setting: Setting) -> tuple[Any, Any]:
    """Images and labels as PyTorch has them."""
    import torch  # pyrefly: ignore[missing-import]
    import twins

    y = torch.from_numpy(np.array(setting.y)).long()
    return twins.images(setting.x).to(torch_device()), y.to(torch_device())


def of_torch(images: Any) -> np.ndarray:
    """PyTorch's images as ours."""
    return images.detach().cpu().numpy().transpose(0, 2, 3, 1)

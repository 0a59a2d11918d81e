"""From a complete config to the objects it describes: the one place that knows all."""

import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx
from jax.tree_util import Partial

from robustlabels import _validate, data, models, objective, training
from robustlabels._stopping import Stop, never
from robustlabels.data import Dataset, Split
from robustlabels.evaluation import (
    Finding,
    Record,
    budgets,
    check_epsilons,
    examine,
    parse_epsilons,
)
from robustlabels.evaluation.budgets import Attack
from robustlabels.losses import transfer
from robustlabels.models import encoders, heads, prototype_init
from robustlabels.objective import Family
from robustlabels.sections import call, lookup, parameters_of
from robustlabels.training import optimizers, schedules

__all__ = [
    "attacks",
    "check",
    "dataset",
    "evaluate",
    "family",
    "fit",
    "networks",
    "restore",
]


def dataset(config: ml_collections.ConfigDict) -> Dataset:
    """The data set of a complete config."""
    return data.load(**config.data.to_dict())


def check(config: ml_collections.ConfigDict) -> None:
    """Raises for a value out of range in a complete config, before any work is done.

    Raises:
      ValueError: naming the value, the range and the fix.
    """
    check_epsilons(attacks(config), parse_epsilons(config.evaluation.epsilons))
    section = config.evaluation
    _validate.count(**{"evaluation.batch_size": section.batch_size})
    numbers = "num_examples", "noise_images", "fooling_images", "diagnosed_examples"
    for name in numbers:
        _validate.count(minimum=0, **{f"evaluation.{name}": section[name]})
    _validate.one_of(("float32", "bfloat16"), dtype=config.encoder.dtype)
    if "init" in config.head:
        lookup(prototype_init, config.head.init)
    training.check_options(**config.training.to_dict())
    _optimizer(config)(_schedule(config)(100))
    family(config, num_classes=2)


def networks(
    config: ml_collections.ConfigDict, dataset: Dataset
) -> list[models.Network]:
    """The untrained replicas of a complete config; the first has its seed.

    Args:
      config: complete.
      dataset: gives image shape, classes and normalisation.

    Raises:
      ValueError: for arguments that the layers refuse.
    """
    return [_network(config, dataset, seed) for seed in _seeds(config)]


def _seeds(config: ml_collections.ConfigDict) -> range:
    return range(config.seed, config.seed + config.num_seeds)


def _network(
    config: ml_collections.ConfigDict, dataset: Dataset, seed: int
) -> models.Network:
    rngs = nnx.Rngs(seed)
    encoder = call(
        encoders,
        config.encoder,
        image_shape=dataset.train.images.shape[1:],
        rngs=rngs,
    )
    head = call(
        heads,
        config.head,
        in_features=encoder.out_features,
        num_classes=dataset.num_classes,
        rngs=rngs,
    )
    mean, std = dataset.mean.tolist(), dataset.std.tolist()
    return models.Network(encoder, head, mean=mean, std=std)


def _initialise_prototypes(
    config: ml_collections.ConfigDict,
    model: models.Network,
    dataset: Dataset,
    seed: int,
) -> None:
    """Puts prototypes, if there are, where the encoder puts the training images."""
    head = model.head
    if not isinstance(head, heads.Prototypes):
        return
    embeddings = training.embeddings(
        model, dataset.train, batch_size=config.training.batch_size
    )
    head.prototypes[...] = jnp.asarray(
        lookup(prototype_init, config.head.init)(
            embeddings,
            dataset.train.labels,
            num_classes=dataset.num_classes,
            per_class=head.per_class,
            seed=seed,
        )
    )


def family(config: ml_collections.ConfigDict, *, num_classes: int) -> Family:
    """The objective of a complete config.

    Args:
      config: complete.
      num_classes: of the data set.

    Raises:
      ValueError: if the objective does not go with the head.
    """
    name, head = config.objective.name, config.head
    wants = "prototype_labels" in parameters_of(lookup(objective, name))
    if wants != (head.name == "Prototypes"):
        right = "Prototypes" if wants else "Softmax"
        raise ValueError(
            f"objective {name!r} needs the head {right!r}, not {head.name!r}: set "
            f"config.head.name={right}."
        )
    if not wants:
        return call(objective, config.objective)
    phi = config.objective.phi.to_dict()
    transfer_function = Partial(lookup(transfer, phi.pop("name")), **phi)
    transfer_function(jnp.zeros(()))
    return call(
        objective,
        config.objective,
        prototype_labels=np.repeat(np.arange(num_classes), head.per_class),
        phi=transfer_function,
    )


def _optimizer(config: ml_collections.ConfigDict) -> Callable[..., Any]:
    return functools.partial(call, optimizers, config.optimizer)


def _schedule(config: ml_collections.ConfigDict) -> Callable[..., Any]:
    def schedule(num_steps: int) -> Any:
        return call(schedules, config.learning_rate, num_steps=num_steps)

    return schedule


def fit(
    config: ml_collections.ConfigDict,
    models: Sequence[models.Network],
    dataset: Dataset,
    *,
    workdir: str | pathlib.Path | None = None,
    stop: Stop = never,
) -> training.Fitted:
    """Trains replicas as a complete config says; see `training.fit`.

    Args:
      config: complete.
      models: from `networks`; their prototypes are put where the data are.
      dataset: to train on.
      workdir: folder for metrics and checkpoints; None writes nothing.
      stop: asked now and then whether to end early.
    """
    for model, seed in zip(models, _seeds(config), strict=True):
        _initialise_prototypes(config, model, dataset, seed)
    return training.fit(
        models,
        family(config, num_classes=dataset.num_classes),
        dataset,
        optimizer=_optimizer(config),
        schedule=_schedule(config),
        seed=config.seed,
        workdir=workdir,
        stop=stop,
        **config.training.to_dict(),
    )


def restore(
    config: ml_collections.ConfigDict, dataset: Dataset, workdir: str | pathlib.Path
) -> training.Fitted:
    """The best models of a run, from its newest checkpoint.

    Args:
      config: complete, of the run.
      dataset: of the run.
      workdir: the run's folder.

    Raises:
      FileNotFoundError: if the run has no checkpoint.
    """
    made = family(config, num_classes=dataset.num_classes)
    return training.restore(networks(config, dataset), made, workdir)


def attacks(
    config: ml_collections.ConfigDict,
) -> dict[str, tuple[Attack, dict[str, Any]]]:
    """The attacks of a complete config by name, each with its parameters."""
    return {
        name: (call(budgets, section), section.to_dict())
        for name, section in config.evaluation.attacks.items()
    }


def evaluate(
    config: ml_collections.ConfigDict,
    dataset: Dataset,
    fitted: training.Fitted,
    *,
    workdir: str | pathlib.Path | None = None,
    stop: Stop = never,
) -> Iterator[Record | Finding]:
    """Examines trained models on the test split as a complete config says.

    Args:
      config: complete.
      dataset: its test split is used.
      fitted: from `fit` or `restore`.
      workdir: folder that keeps what is found; None writes nothing.
      stop: asked now and then whether to end early.
    """
    section, test = config.evaluation, dataset.test
    if section.num_examples:
        test = Split(*(part[: section.num_examples] for part in test))
    names = {n: config[n].name for n in ("data", "encoder", "head", "objective")}
    classifiers = []
    for seed, classifier, standing in zip(
        _seeds(config), fitted.classifiers, fitted.standings, strict=True
    ):
        identity = {
            **names,
            "seed": seed,
            "epoch": standing.best_epoch,
            "validation_error": standing.validation_error,
        }
        classifiers.append((identity, classifier))
    return examine(
        classifiers,
        test,
        attacks(config),
        epsilons=parse_epsilons(section.epsilons),
        class_names=dataset.class_names,
        batch_size=section.batch_size,
        noise_images=section.noise_images,
        fooling_images=section.fooling_images,
        diagnosed_examples=section.diagnosed_examples,
        folder=workdir,
        stop=stop,
    )

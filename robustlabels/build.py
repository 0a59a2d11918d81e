"""From a complete config to the objects it describes: the one place that knows all."""

import functools
import pathlib
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx
from jax.tree_util import Partial

from robustlabels import _validate, data, matrices, models, objective, training
from robustlabels._stopping import Stop, never
from robustlabels.config_file import load_run_config
from robustlabels.data import Dataset
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
from robustlabels.matrices import noise_matrices, similarities
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
    "trained",
]


def dataset(config: ml_collections.ConfigDict) -> Dataset:
    """The data set of a complete config."""
    return data.load(**config.data.to_dict())


def check(
    config: ml_collections.ConfigDict, workdir: str | pathlib.Path | None = None
) -> None:
    """Raises for a value out of range in a complete config, before any work is done.

    Args:
      config: complete.
      workdir: folder of the run, if it is kept; what it holds is not made again.

    Raises:
      ValueError: naming the value, the range and the fix.
      FileNotFoundError: for another run that is named and is not there.
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
    _check_objective(config, workdir)


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
    given = {
        "in_features": encoder.out_features,
        "num_classes": dataset.num_classes,
        "rngs": rngs,
    }
    taken = parameters_of(lookup(heads, config.head.name))
    given = {name: value for name, value in given.items() if name in taken}
    head = call(heads, config.head, **given)
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


def family(
    config: ml_collections.ConfigDict,
    dataset: Dataset,
    *,
    workdir: str | pathlib.Path | None = None,
) -> Family:
    """The objective of a complete config.

    Args:
      config: complete.
      dataset: gives classes, and what a similarity or a noise matrix is made of.
      workdir: folder that keeps such a matrix, made once; None keeps nothing.

    Raises:
      ValueError: if the objective does not go with the head, or a matrix cannot be
        made.
    """

    def matrix(name: str, module: types.ModuleType) -> Callable[[], np.ndarray]:
        section = config.objective.get(name)
        return lambda: matrices.kept(
            lambda: call(module, section, dataset, restored),
            dataset.class_names,
            section.to_dict(),
            path=None if workdir is None else pathlib.Path(workdir, f"{name}.npz"),
        )

    def restored(run: str) -> matrices.Trained:
        return trained(run, config)

    return _family(
        config,
        num_classes=lambda: dataset.num_classes,
        class_counts=lambda: np.bincount(dataset.train.labels),
        similarity=matrix("similarity", similarities),
        noise_matrix=matrix("noise_matrix", noise_matrices),
    )


def _family(config: ml_collections.ConfigDict, **makers: Callable[[], Any]) -> Family:
    """The objective, given what makes those of its arguments that no config has."""
    name, head = config.objective.name, config.head
    taken = parameters_of(lookup(objective, name))
    right = "Prototypes" if "prototype_labels" in taken else "Softmax"
    if head.name != right:
        raise ValueError(
            f"objective {name!r} needs the head {right!r}, not {head.name!r}: set "
            f"config.head.name={right}."
        )

    def prototype_labels() -> np.ndarray:
        return np.repeat(np.arange(makers["num_classes"]()), head.per_class)

    makers |= {
        "prototype_labels": prototype_labels,
        "phi": lambda: _transfer_function(config.objective.phi.to_dict()),
    }
    given = {key: make() for key, make in makers.items() if key in taken}
    return call(objective, config.objective, **given)


def _transfer_function(fields: dict[str, Any]) -> Partial:
    function = Partial(lookup(transfer, fields.pop("name")), **fields)
    function(jnp.zeros(()))
    return function


def _check_objective(
    config: ml_collections.ConfigDict, workdir: str | pathlib.Path | None
) -> None:
    """Raises for what can be seen to be wrong of an objective without any data."""
    _family(
        config,
        num_classes=lambda: 2,
        class_counts=lambda: np.ones(2, int),
        similarity=lambda: 1.0 - np.eye(2),
        noise_matrix=lambda: np.eye(2),
    )
    for name in ("similarity", "noise_matrix"):
        run = config.objective.get(name, {}).get("run")
        if workdir is not None and pathlib.Path(workdir, f"{name}.npz").exists():
            continue
        if run and not pathlib.Path(run, "config.json").exists():
            raise FileNotFoundError(
                f"config.objective.{name}.run={run} holds no run: train one there "
                "first, or name another folder."
            )


def trained(run: str, config: ml_collections.ConfigDict) -> matrices.Trained:
    """The best model of another run.

    Args:
      run: the folder of a run.
      config: complete; data sets are looked for where it says.

    Raises:
      FileNotFoundError: if the folder holds no run, or one without a checkpoint.
    """
    there = load_run_config(pathlib.Path(run))
    there.data.data_dir = config.data.data_dir
    data_there = dataset(there)
    fitted = restore(there, data_there, run)
    return matrices.Trained(fitted.models[0], fitted.classifier, data_there.class_names)


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
    made = family(config, dataset, workdir=workdir)
    for model, seed in zip(models, _seeds(config), strict=True):
        _initialise_prototypes(config, model, dataset, seed)
    fitted = training.fit(
        models,
        made,
        dataset,
        optimizer=_optimizer(config),
        schedule=_schedule(config),
        seed=config.seed,
        workdir=workdir,
        stop=stop,
        **config.training.to_dict(),
    )
    if workdir is not None:
        _keep_targets(config, dataset, fitted, pathlib.Path(workdir))
    return fitted


def _keep_targets(
    config: ml_collections.ConfigDict,
    dataset: Dataset,
    fitted: training.Fitted,
    workdir: pathlib.Path,
) -> None:
    """Writes what each class was asked for in the end, where that is a distribution."""
    bound = [getattr(o.loss, "keywords", {}) for o in fitted.objectives]
    targets = [keywords.get("targets") for keywords in bound]
    if any(each is None for each in targets):
        return
    matrices.keep(
        workdir / "targets.npz",
        dataset.class_names,
        config.objective.to_dict(),
        matrix=np.asarray(targets),
        seeds=np.array(_seeds(config)),
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
    made = family(config, dataset, workdir=workdir)
    return training.restore(networks(config, dataset), made, workdir)


def attacks(
    config: ml_collections.ConfigDict,
) -> dict[str, tuple[Attack, dict[str, Any]]]:
    """The attacks of a complete config by name, each with its parameters."""
    return {
        name: (call(budgets, section), section.to_dict())
        for name, section in config.evaluation.attacks.items()
    }


def _noise(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What a record says of swapped labels; nothing where there are none."""
    rate = config.data.swap_rate
    if not rate:
        return {}
    where = "swapped" if config.data.noisy_validation else "clean"
    return {"swap_rate": rate, "validation_labels": where}


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
        test = test.take(np.arange(len(test.labels))[: section.num_examples])
    names = {n: config[n].name for n in ("data", "encoder", "head", "objective")}
    classifiers = []
    for seed, classifier, standing in zip(
        _seeds(config), fitted.classifiers, fitted.standings, strict=True
    ):
        identity = {
            **names,
            **_noise(config),
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

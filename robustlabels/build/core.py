"""Data sets, networks, objectives and training of a complete config."""

import functools
import pathlib
import types
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx
from jax.tree_util import Partial
from jaxtyping import Float32

from robustlabels import data, labels, matrices, models, objective, training
from robustlabels._stopping import Stop, never
from robustlabels.config_file import load_run_config
from robustlabels.data import Dataset
from robustlabels.losses import transfer
from robustlabels.matrices import noise_matrices, similarities
from robustlabels.models import encoders, heads, prototype_init
from robustlabels.objective import Family
from robustlabels.sections import call, lookup, parameters_of
from robustlabels.training import optimizers, schedules

__all__ = [
    "codebook",
    "dataset",
    "family",
    "fit",
    "networks",
    "restore",
    "trained",
]


def dataset(config: ml_collections.ConfigDict) -> Dataset:
    """The data set of a complete config."""
    return data.load(**config.data.to_dict())


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
    return [_network(config, dataset, seed) for seed in seeds(config)]


def seeds(config: ml_collections.ConfigDict) -> range:
    """The seed of each replica."""
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

    def kept(name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        return matrices.kept(
            make,
            dataset.class_names,
            config.objective[name].to_dict(),
            path=None if workdir is None else pathlib.Path(workdir, f"{name}.npz"),
        )

    def matrix(name: str, module: types.ModuleType) -> Callable[[], np.ndarray]:
        section = config.objective.get(name)
        return lambda: kept(name, lambda: call(module, section, dataset, restored))

    def restored(run: str) -> matrices.Trained:
        return trained(run, config)

    return family_from(
        config,
        num_classes=lambda: dataset.num_classes,
        class_counts=lambda: np.bincount(dataset.train.labels),
        similarity=matrix("similarity", similarities),
        noise_matrix=matrix("noise_matrix", noise_matrices),
        codebook=lambda: kept("codebook", lambda: codebook(config, dataset)),
    )


def codebook(
    config: ml_collections.ConfigDict, dataset: Dataset
) -> Float32[np.ndarray, " classes *cells"]:
    """The label of each class that a complete config regresses.

    Args:
      config: complete, of the objective `label_regression`.
      dataset: gives classes and their names.

    Raises:
      ValueError: for another objective, or what the labels' function refuses.
      FileNotFoundError: for recordings, vectors or labels that are not there.
      ImportError: for an extra that is missing.
    """
    if "codebook" not in config.objective:
        raise ValueError(
            f"the objective {config.objective.name!r} has no label arrays: set "
            "config.objective.name=label_regression."
        )
    section = config.objective.codebook
    known = {"class_names": dataset.class_names, "num_classes": dataset.num_classes}
    taken = parameters_of(lookup(labels, section.name))
    return call(labels, section, **{k: v for k, v in known.items() if k in taken})


def family_from(
    config: ml_collections.ConfigDict, **makers: Callable[[], Any]
) -> Family:
    """The objective, given what makes those of its arguments that no config has."""
    name, head = config.objective.name, config.head
    taken = parameters_of(lookup(objective, name))
    heads_of = {"prototype_labels": "Prototypes", "codebook": "LabelDecoder"}
    right = next((heads_of[key] for key in heads_of if key in taken), "Softmax")
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
    if "codebook" in given:
        _check_shape(given["codebook"].shape[1:], tuple(head.shape))
    return call(objective, config.objective, **given)


def _check_shape(labels_have: tuple[int, ...], head_gives: tuple[int, ...]) -> None:
    if labels_have != head_gives:
        raise ValueError(
            f"the labels have the shape {labels_have}, and the head gives "
            f"{head_gives}: set config.head.shape={labels_have}, or the shape of the "
            "labels where they have one."
        )


def _transfer_function(fields: dict[str, Any]) -> Partial:
    function = Partial(lookup(transfer, fields.pop("name")), **fields)
    function(jnp.zeros(()))
    return function


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


def optimizer(config: ml_collections.ConfigDict) -> Callable[..., Any]:
    """(learning rate) -> the optimiser of a complete config."""
    return functools.partial(call, optimizers, config.optimizer)


def schedule(config: ml_collections.ConfigDict) -> Callable[..., Any]:
    """(number of steps) -> the learning rate of a complete config."""

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
    for model, seed in zip(models, seeds(config), strict=True):
        _initialise_prototypes(config, model, dataset, seed)
    fitted = training.fit(
        models,
        made,
        dataset,
        optimizer=optimizer(config),
        schedule=schedule(config),
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
        seeds=np.array(seeds(config)),
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

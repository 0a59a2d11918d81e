"""Attacks and evaluation of a complete config."""

import pathlib
from collections.abc import Iterator
from typing import Any

import ml_collections

from robustlabels import parallel, training
from robustlabels._stopping import Stop, never
from robustlabels.build.core import seeds
from robustlabels.data import Dataset, Split
from robustlabels.evaluation import (
    Finding,
    Keeper,
    Record,
    budgets,
    examine,
    parse_epsilons,
    views,
)
from robustlabels.evaluation.budgets import Attack, Ensemble
from robustlabels.sections import call

__all__ = ["attacks", "evaluate"]


def attacks(
    config: ml_collections.ConfigDict,
) -> dict[str, tuple[Attack | Ensemble, dict[str, Any]]]:
    """The attacks of a complete config by name, each with its parameters."""
    return {
        name: (call(budgets, section), section.to_dict())
        for name, section in config.evaluation.attacks.items()
    }


def _data(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What a record says of swapped labels, a part of the data and classes left out."""
    said = {}
    if rate := config.data.swap_rate:
        where = "swapped" if config.data.noisy_validation else "clean"
        said |= {"swap_rate": rate, "validation_labels": where}
    if (fraction := config.data.train_fraction) < 1:
        passes = config.training.passes
        equal = {0: "steps", 1: "epochs"}.get(passes, f"{passes} passes an epoch")
        said |= {"train_fraction": fraction, "equal": equal}
    if left_out := config.data.left_out:
        said["left_out"] = list(left_out)
    return said


def evaluate(
    config: ml_collections.ConfigDict,
    dataset: Dataset,
    fitted: training.Fitted,
    *,
    workdir: str | pathlib.Path | None = None,
    stop: Stop = never,
) -> Iterator[Record | Finding]:
    """Examines trained models on the split that a complete config names.

    Args:
      config: complete.
      dataset: its test or validation split is used, and its left-out images.
      fitted: from `fit` or `restore`.
      workdir: folder that keeps what is found; None writes nothing.
      stop: asked now and then whether to end early.
    """
    section = config.evaluation
    split = getattr(dataset, section.split)
    names = {n: config[n].name for n in ("data", "encoder", "head", "objective")}
    classifiers = []
    for seed, classifier, standing in zip(
        seeds(config), fitted.classifiers, fitted.standings, strict=True
    ):
        identity = {
            **names,
            **_data(config),
            "seed": seed,
            "epoch": standing.best_epoch,
            "validation_error": standing.validation_error,
        }
        classifiers.append((identity, classifier))
    yield from examine(
        classifiers,
        split,
        {
            name: (attack.in_pixels(dataset.std), parameters)
            for name, (attack, parameters) in attacks(config).items()
        },
        epsilons=parse_epsilons(section.epsilons),
        losses=section.losses,
        class_names=dataset.class_names,
        num_examples=section.num_examples,
        batch_size=section.batch_size,
        noise_images=section.noise_images,
        fooling_images=section.fooling_images,
        diagnosed_examples=section.diagnosed_examples,
        corrupted_examples=section.corrupted_examples,
        unknown=dataset.left_out,
        folder=workdir,
        split_name=section.split,
        stop=stop,
    )
    if section.shown_examples:
        (identity, _), *_ = classifiers
        yield from _views(config, split, fitted, identity, workdir, stop)


def _views(
    config: ml_collections.ConfigDict,
    split: Split,
    fitted: training.Fitted,
    identity: dict[str, Any],
    workdir: str | pathlib.Path | None,
    stop: Stop,
) -> Iterator[Finding]:
    """What the first replica looks like from inside."""
    shown = min(config.evaluation.shown_examples, len(split.labels))
    predict, objective = fitted.models[0], fitted.objectives[0]
    keep = Keeper(workdir, config.evaluation.split)
    if "codebook" in config.objective:
        yield keep.once(
            "outputs",
            identity,
            len(split.labels),
            lambda: views.outputs(
                predict,
                fitted.classifiers[0],
                split,
                shown=shown,
                identity=identity,
                split_name=config.evaluation.split,
                mesh=parallel.make_mesh(),
                batch_size=config.evaluation.batch_size,
                stop=stop,
            ),
        )
    if views.has_maps(predict, split):
        yield keep.once(
            "saliency",
            identity,
            shown,
            lambda: views.saliency(
                predict,
                objective,
                split,
                shown=shown,
                identity=identity,
                split_name=config.evaluation.split,
            ),
        )
    taken = [] if workdir is None else list(training.read_snapshots(workdir))
    if taken:
        labels = taken[0].labels
        yield Keeper(workdir, "validation").once(
            "features",
            identity,
            len(labels),
            lambda: views.features(
                [(each.epoch, each.features) for each in taken],
                labels,
                identity=identity,
            ),
        )

"""What can be seen to be wrong of a complete config before any work is done."""

import pathlib

import ml_collections
import numpy as np

from robustlabels import _validate, training
from robustlabels.build.core import family_from, optimizer, schedule
from robustlabels.build.evaluation import attacks
from robustlabels.evaluation import check_epsilons, check_losses, parse_epsilons
from robustlabels.models import prototype_init
from robustlabels.sections import lookup

__all__ = ["check"]


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
    check_losses(section.losses)
    _validate.one_of(("test", "validation"), **{"evaluation.split": section.split})
    _validate.count(**{"evaluation.batch_size": section.batch_size})
    numbers = "num_examples", "noise_images", "fooling_images"
    for name in (
        *numbers,
        "diagnosed_examples",
        "corrupted_examples",
        "shown_examples",
    ):
        _validate.count(minimum=0, **{f"evaluation.{name}": section[name]})
    _validate.one_of(("float32", "bfloat16"), dtype=config.encoder.dtype)
    if "init" in config.head:
        lookup(prototype_init, config.head.init)
    training.check_options(**config.training.to_dict())
    optimizer(config)(schedule(config)(100))
    _check_objective(config, workdir)


def _check_objective(
    config: ml_collections.ConfigDict, workdir: str | pathlib.Path | None
) -> None:
    """Raises for what can be seen to be wrong of an objective without any data."""
    family_from(
        config,
        num_classes=lambda: 2,
        class_counts=lambda: np.ones(2, int),
        similarity=lambda: 1.0 - np.eye(2),
        noise_matrix=lambda: np.eye(2),
        codebook=lambda: _two_labels(config),
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


def _two_labels(config: ml_collections.ConfigDict) -> np.ndarray:
    """Labels of the shape that the config asks for, or else the head's."""
    shape = tuple(config.objective.codebook.get("shape", config.head.shape))
    return np.stack([np.zeros(shape), np.ones(shape)])

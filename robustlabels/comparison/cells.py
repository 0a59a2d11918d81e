"""The runs that a comparison is made of, and what is chosen among the first of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ml_collections

from robustlabels import evaluation, run
from robustlabels.comparison.settings import Candidate, Comparison

__all__ = [
    "KINDS",
    "Cell",
    "choose",
    "configured",
    "is_over",
    "measured",
    "search_name",
    "searched",
    "validation_error",
    "why_failed",
]

# What a measured cell is trained on: all of the data, a share, swapped labels, fewer
# classes.
KINDS = ("all", "share", "swapped", "left_out")
_NOTHING_MORE = {
    "epsilons": "",
    "noise_images": 0,
    "fooling_images": 0,
    "diagnosed_examples": 0,
    "corrupted_examples": 0,
    "shown_examples": 0,
}


class Cell(NamedTuple):
    """A run of a comparison.

    Attributes:
      name: of its folder in that of the comparison.
      objective: by which it is trained.
      kind: one of `KINDS`, or "search".
      level: the share of data or of swapped labels; 0 where there is none.
      config: complete.
    """

    name: str
    objective: str
    kind: str
    level: float
    config: ml_collections.ConfigDict


def searched(comparison: Comparison) -> list[Cell]:
    """The runs of the search: one seed for each candidate, nothing but trained.

    Without a choice there is no search.
    """
    cells = []
    for objective, candidates in comparison.candidates.items():
        if len(candidates) > 1:
            for number, candidate in enumerate(candidates):
                config = _unattacked(_copy(candidate.config))
                config.evaluation.split = "validation"
                config.num_seeds = 1
                name = search_name(objective, number)
                cells.append(Cell(name, objective, "search", 0.0, config))
    return cells


def search_name(objective: str, number: int) -> str:
    """The folder of a candidate's run."""
    return f"search-{objective}-{number}"


def choose(objective: str, number: int, workdir: Path) -> tuple[int, float] | None:
    """The candidate with the smallest validation error, the first of equal ones.

    Args:
      objective: whose.
      number: how many candidates it has, two or more.
      workdir: the folder of the comparison, where the search has run.

    Returns:
      Its index and its error; None while the search goes on.

    Raises:
      ValueError: if all candidates failed.
    """
    folders = [workdir / search_name(objective, i) for i in range(number)]
    if not all(map(is_over, folders)):
        return None
    errors = list(map(validation_error, folders))
    there = [error for error in errors if error is not None]
    if not there:
        raise ValueError(
            f"every candidate of {objective} failed, the first one so: "
            f"{why_failed(folders[0])}"
        )
    return errors.index(min(there)), min(there)


def validation_error(folder: Path) -> float | None:
    """The smallest error on validation of a run that is over; None if it failed."""
    records = evaluation.read_records(folder)
    return min((r.classifier["validation_error"] for r in records), default=None)


def why_failed(folder: Path) -> str | None:
    """The reason that a run was marked with; None without a mark."""
    for name in ("failed.json", "diverged.json"):
        if (folder / name).exists():
            return str(json.loads((folder / name).read_text())["message"])
    return None


def is_over(folder: Path) -> bool:
    """Whether a run has nothing left to do, be it that it cannot be done."""
    return run.is_over(folder) or (folder / "failed.json").exists()


def measured(comparison: Comparison) -> Iterator[Cell]:
    """The runs that questions are answered by, with the first candidates' configs.

    Those of all of the data come first.
    """
    kinds = {
        "all": (0.0,),
        "share": comparison.train_fractions,
        "swapped": comparison.swap_rates,
        "left_out": (0.0,) if comparison.left_out else (),
    }
    for kind, levels in kinds.items():
        for level in levels:
            for objective, (candidate, *_) in comparison.candidates.items():
                name = (
                    f"{kind}-{level:g}-{objective}" if level else f"{kind}-{objective}"
                )
                cell = Cell(name, objective, kind, level, candidate.config)
                yield configured(cell, candidate, comparison)


def configured(cell: Cell, candidate: Candidate, comparison: Comparison) -> Cell:
    """A measured cell with the config of another candidate."""
    config = _copy(candidate.config)
    if cell.kind != "all":
        config = _unattacked(config)
    if cell.kind == "share":
        config.data.train_fraction = cell.level
        config.training.passes = 0  # As many steps as on all of the data.
    elif cell.kind == "swapped":
        config.data.swap_rate = cell.level
    elif cell.kind == "left_out":
        config.data.left_out = comparison.left_out
    return cell._replace(config=config)


def _unattacked(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The config, with nothing left to do after training but to count errors."""
    config.evaluation.attacks = ml_collections.ConfigDict()
    config.evaluation.update(_NOTHING_MORE)
    return config


def _copy(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    return config.copy_and_resolve_references()

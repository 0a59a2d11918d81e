"""A grid of runs: a config and what varies in it, each cell an ordinary run folder."""

import itertools
import json
import pathlib
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import ml_collections

from robustlabels import report, training
from robustlabels import run as run_
from robustlabels._files import whole
from robustlabels._progress import Progress
from robustlabels._stopping import Stop, never
from robustlabels.config_file import override
from robustlabels.evaluation import Finding, Record
from robustlabels.evaluation.table import aligned, calibration_figures

__all__ = ["Cell", "Outcome", "grid", "render_outcomes", "run"]


class Cell(NamedTuple):
    """One run of a sweep.

    Attributes:
      config: complete.
      varied: what is different in it, by name, as text.
    """

    config: ml_collections.ConfigDict
    varied: dict[str, str]


class Outcome(NamedTuple):
    """What became of a cell.

    Attributes:
      varied: as in the cell.
      found: of all its seeds; nothing if it failed.
      error: why it failed; None if it did not.
    """

    varied: dict[str, str]
    found: list[Record | Finding]
    error: str | None


def grid(base: ml_collections.ConfigDict, vary: Sequence[str]) -> dict[str, Cell]:
    """Every combination of values, by the name of its folder.

    Args:
      base: complete.
      vary: KEY=V1,V2,... each; commas within brackets or quotes belong to a value.

    Raises:
      ValueError: for a field that does not exist, a value of another type, or one that
        is given twice.

    >>> base = dict(
    ...     data=dict(name="digits"), encoder=dict(name="MLP"), training={},
    ...     head=dict(name="Softmax"), objective=dict(name="softmax"), evaluation={},
    ...     optimizer=dict(name="adam"), learning_rate=dict(name="constant", peak=0.1),
    ... )
    >>> cells = grid(
    ...     ml_collections.ConfigDict(base), ["seed=0,1", "encoder.widths=(8,),(8,4)"]
    ... )
    >>> list(cells)[1], cells["seed=1,encoder.widths=_8_4_"].config.encoder.widths
    ('seed=0,encoder.widths=_8_4_', (8, 4))
    """
    axes = [_axis(written) for written in vary]
    keys = [key for key, _ in axes]
    if len(set(keys)) < len(keys):
        raise ValueError(f"--vary names a field twice: {', '.join(keys)}.")
    cells = {}
    for values in itertools.product(*(values for _, values in axes)):
        varied = dict(zip(keys, values, strict=True))
        flags = [f"--config.{key}={value}" for key, value in varied.items()]
        parts = (f"{key}={_as_file(value)}" for key, value in varied.items())
        name = ",".join(parts)
        if name in cells:
            raise ValueError(f"--vary gives two cells the name {name}.")
        cells[name] = Cell(override(base, flags), varied)
    return cells


def _as_file(value: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", value)


def _axis(written: str) -> tuple[str, list[str]]:
    """A field and its values."""
    key, equals, values = written.partition("=")
    # A comma splits where no bracket is open: the next one, if any, opens first.
    found = [v.strip() for v in re.split(r",(?![^(\[{]*[)\]}])", values)]
    if not equals or not key or not all(found):
        raise ValueError(
            f"--vary={written} is not understood: write --vary=KEY=V1,V2, such as "
            "--vary=training.batch_size=50,100."
        )
    if len(set(found)) < len(found):
        raise ValueError(f"--vary={written} gives a value twice.")
    return key.removeprefix("config."), found


def run(
    cells: Mapping[str, Cell], workdir: str | pathlib.Path, *, stop: Stop = never
) -> list[Outcome]:
    """Runs cells one after another, or goes on where that was interrupted.

    A cell that diverges, or whose data do not allow its config, is marked and the rest
    goes on. Cells that the folder knows from before stay in its report.

    Args:
      cells: by the name of their folder in `workdir`.
      workdir: folder for all runs, and the report of the grid.
      stop: asked now and then whether to end early.

    Raises:
      ValueError: before any work, for a value out of range in any cell, or a folder
        that belongs to another config.
      Stopped: if `stop` says so, once everything is saved.
      OSError: if something cannot be written.
    """
    workdir = pathlib.Path(workdir)
    for name, cell in cells.items():
        try:
            run_.check(cell.config, workdir / name)
        except ValueError as error:
            raise ValueError(f"the cell {name}: {error}") from error
    _note_cells(workdir, cells)
    over = sum(run_.is_over(workdir / name) for name in cells)
    outcomes = []
    with Progress(total=len(cells), what="sweep", unit="runs", done=over) as progress:
        for name, cell in cells.items():
            folder = workdir / name
            was_over = run_.is_over(folder)
            found, error = [], None
            try:
                found = run_.train(cell.config, folder, stop=stop)
            except (ValueError, training.Diverged) as failure:
                error = str(failure)
            outcomes.append(Outcome(cell.varied, found, error))
            if not was_over:
                progress.advance(cell=name)
    report.write_report([workdir], workdir / "report.html")
    return outcomes


def _note_cells(workdir: pathlib.Path, cells: Mapping[str, Cell]) -> None:
    """Writes `sweep.json`: all cells of the folder, and what varies in them."""
    path = workdir / "sweep.json"
    known = json.loads(path.read_text())["cells"] if path.exists() else {}
    known |= {name: cell.varied for name, cell in cells.items()}
    vary: dict[str, list[str]] = {}
    for varied in known.values():
        for key, value in varied.items():
            if value not in vary.setdefault(key, []):
                vary[key].append(value)
    with whole(path) as file:
        file.write(json.dumps({"vary": vary, "cells": known}, indent=2).encode())


def render_outcomes(outcomes: Iterable[Outcome]) -> str:
    """A row a cell: what varies, clean accuracy, calibration, the worst of all attacks.

    Figures are means over seeds, accuracies in percent; calibration with deviations.

    Args:
      outcomes: of `run`.
    """
    outcomes = list(outcomes)
    keys = list(dict.fromkeys(key for o in outcomes for key in o.varied))
    records = [[f for f in o.found if isinstance(f, Record)] for o in outcomes]
    calibrations = [calibration_figures(outcome.found) for outcome in outcomes]
    figures = list(dict.fromkeys(name for each in calibrations for name in each))
    epsilons = sorted(
        {r.epsilon for of in records for r in of if r.attack != "none"}, key=Fraction
    )
    names = [*figures, *(f"epsilon {epsilon}" for epsilon in epsilons)]
    rows = [[*keys, "accuracy", *names]]
    failures = []
    for outcome, of, calibration in zip(outcomes, records, calibrations, strict=True):
        values = [outcome.varied.get(key, "") for key in keys]
        if outcome.error is not None:
            rows.append([*values, "failed", *("" for _ in names)])
            failures.append(f"{', '.join(values)}: {outcome.error}")
            continue
        clean = [r for r in of if r.attack == "none"]
        attacked = [r for r in of if r.attack != "none"]
        rows.append([*values, _mean_of_worst(clean)])
        rows[-1] += [calibration.get(name, "") for name in figures]
        for epsilon in epsilons:
            there = [r for r in attacked if r.epsilon == epsilon]
            rows[-1].append(_mean_of_worst(there))
    return "\n".join([*aligned(rows), *failures])


def _mean_of_worst(records: Sequence[Record]) -> str:
    """Mean over seeds of the smallest accuracy among records."""
    worst: dict[int, float] = {}
    for record in records:
        seed = record.classifier["seed"]
        worst[seed] = min(worst.get(seed, 1.0), record.value)
    return f"{100 * statistics.mean(worst.values()):.1f}" if worst else ""

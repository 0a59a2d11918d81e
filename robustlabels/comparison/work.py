"""Runs a comparison in its folder, or goes on with it there.

All of it is ordinary runs: what is done is not done again, any number of processes may
work on the same folder, and what there is can be tabulated at any time.
"""

import contextlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_collections
from jax.experimental.compilation_cache import compilation_cache

from robustlabels import build, evaluation, report, run, training
from robustlabels._files import whole
from robustlabels._progress import Progress
from robustlabels._stopping import Stop, Stopped, never
from robustlabels.comparison import cells, exports, page
from robustlabels.comparison.assembly import Place, tabulate
from robustlabels.comparison.cells import Cell
from robustlabels.comparison.settings import Comparison
from robustlabels.comparison.table import Table

__all__ = ["compare", "read_table", "write_table"]

_SECONDS_BETWEEN_LOOKS = 2.0
# Where JAX keeps programs, and which: those that took so long to compile.
_PROGRAMS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


def compare(
    comparison: Comparison,
    workdir: str | Path,
    *,
    share: tuple[int, int] = (1, 1),
    stop: Stop = never,
) -> Table:
    """Searches, trains and measures all objectives, and writes the table.

    A run that another process works in is left to it. A run that diverges, or that the
    data do not allow, is marked with its reason, and the rest goes on.

    Args:
      comparison: from `settings.read`.
      workdir: the folder for the runs, `comparison.json`, the table as table.json,
        table.csv and table.md, and report.html.
      share: (k, n) takes the k-th of n equal shares of the runs, for workers that
        share the folder; (1, 1) takes all.
      stop: asked now and then whether to end early.

    Raises:
      ValueError: before any work, for a config that is refused, or a folder that holds
        another comparison; and if not a single run could be finished.
      Stopped: if `stop` says so, once everything is saved.
      OSError: if something cannot be written.
    """
    workdir = Path(workdir)
    everything = [*cells.searched(comparison), *cells.measured(comparison)]
    for cell in everything:
        run.check(cell.config, workdir / "none")
    _claim(comparison, everything, workdir)
    number, of = share
    mine = everything[number - 1 :: of]
    for cell in mine:
        (workdir / cell.name / "failed.json").unlink(missing_ok=True)
    over = [cell for cell in mine if cells.is_over(workdir / cell.name)]
    left = [cell for cell in mine if cell not in over]
    _announce(comparison, everything, left, share)
    progress = Progress(total=len(mine), what="comparison", unit="runs", done=len(over))
    told: list[Cell] = []
    with _programs_shared(), progress:
        while left:
            waiting = []
            for cell in left:
                if _attempt(cell, comparison, workdir, stop):
                    progress.advance(run=cell.name)
                else:
                    waiting.append(cell)
            if len(waiting) == len(left):
                if waiting != told:
                    names = ", ".join(cell.name for cell in waiting[:3])
                    print(f"waiting for other workers: {names} ...", file=sys.stderr)
                told = waiting
                _pause(stop)
            left = waiting
    return write_table(workdir)


@contextlib.contextmanager
def _programs_shared() -> Iterator[None]:
    """Lets runs load what an earlier one compiled, unless JAX keeps programs anyway."""
    before = {name: getattr(jax.config, name) for name in _PROGRAMS}
    if before["jax_compilation_cache_dir"] is not None:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            _keep_programs(dict(zip(_PROGRAMS, (folder, 0.0), strict=True)))
            yield
        finally:
            _keep_programs(before)


def _keep_programs(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def _attempt(cell: Cell, comparison: Comparison, workdir: Path, stop: Stop) -> bool:
    """Whether a run is over now; False if it has to wait for another process."""
    folder = workdir / cell.name
    try:
        candidates = comparison.candidates[cell.objective]
        if cell.kind != "search" and len(candidates) > 1:
            chosen = cells.choose(cell.objective, len(candidates), workdir)
            if chosen is None:
                return False
            cell = cells.configured(cell, candidates[chosen[0]], comparison)
        run.train(cell.config, folder, stop=stop)
    except run.Busy:
        return False
    except training.Diverged as error:
        print(f"{cell.name}: {error}", file=sys.stderr)
    except (ValueError, ImportError, FileNotFoundError) as error:
        print(f"{cell.name} cannot be run: {error}", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "failed.json", {"message": str(error)})
    return True


def _pause(stop: Stop) -> None:
    """Sleeps for a moment, while other processes work."""
    until = time.monotonic() + _SECONDS_BETWEEN_LOOKS
    while time.monotonic() < until:
        if stop():
            raise Stopped("comparison stopped: the same command goes on")
        time.sleep(0.1)


def _announce(
    comparison: Comparison,
    everything: list[Cell],
    left: list[Cell],
    share: tuple[int, int],
) -> None:
    """Says what is to be done, and how long training takes by a short measurement."""
    objectives = len(comparison.candidates)
    searches = sum(cell.kind == "search" for cell in everything)
    print(
        f"{objectives} objectives: {searches} runs to search on validation data, "
        f"{len(everything) - searches} to measure; {len(left)} left"
        + (f" of share {share[0]}/{share[1]}" if share[1] > 1 else "")
        + ".",
        file=sys.stderr,
    )
    if not left:
        return
    first = left[0].config
    dataset = build.dataset(first)
    speed, overhead = _measured(first, dataset)
    examples = len(dataset.train.labels) / first.data.train_fraction
    steps = sum(_steps(cell.config, examples) for cell in left)
    minutes = (len(left) * overhead + steps / speed) / 60
    print(
        f"{steps:,} training steps at {speed:,.0f} a second and {overhead:.0f} seconds "
        f"of compilation a run: about {minutes:.1f} minutes of training in all. What "
        "attacks take is in the time left, once the first run has been attacked.",
        file=sys.stderr,
    )


def _steps(config: ml_collections.ConfigDict, examples: float) -> int:
    """Training steps of a run at most, of all its seeds, if the data are so many."""
    section = config.training
    a_pass = math.ceil(examples * config.data.train_fraction / section.batch_size)
    if section.passes:
        a_pass *= section.passes
    else:
        a_pass = math.ceil(examples / section.batch_size)
    return config.num_seeds * section.num_epochs * a_pass


def _measured(config: ml_collections.ConfigDict, dataset: Any) -> tuple[float, float]:
    """Steps a second, and seconds of everything else, of two epochs of a run."""
    short = config.copy_and_resolve_references()
    short.training.num_epochs, short.num_seeds = 2, 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        build.fit(short, build.networks(short, dataset), dataset, workdir=folder)
        (lines,) = report.read_metrics(folder).values()
    took = time.monotonic() - began
    there = len(dataset.train.labels)
    seconds = there * max(1, short.training.passes) / lines[-1]["examples_per_second"]
    steps = _steps(short, there / short.data.train_fraction) / 2
    return steps / seconds, max(0.0, took - 2 * seconds)


def _claim(comparison: Comparison, everything: list[Cell], workdir: Path) -> None:
    """Writes what is compared, or raises if the folder holds another comparison."""
    said = {
        "reference": comparison.reference,
        "num_resamples": comparison.num_resamples,
        "left_out": list(comparison.left_out),
        "candidates": {
            name: [
                {"chosen": c.chosen, "config": c.config.to_dict()} for c in candidates
            ]
            for name, candidates in comparison.candidates.items()
        },
        "cells": [
            {key: getattr(cell, key) for key in ("name", "objective", "kind", "level")}
            for cell in everything
        ],
    }
    said = json.loads(json.dumps(said))
    path = workdir / "comparison.json"
    if path.exists():
        if json.loads(path.read_text())["said"] != said:
            raise ValueError(
                f"--workdir={workdir} holds another comparison, and nothing is "
                "overwritten: choose another folder, or the config that it was begun "
                "with."
            )
        return
    workdir.mkdir(parents=True, exist_ok=True)
    _write(path, {"said": said, "provenance": evaluation.provenance()})


def read_table(workdir: str | Path) -> Table:
    """The table of what a comparison's folder holds by now.

    Args:
      workdir: the folder of a comparison.

    Raises:
      FileNotFoundError: if it is none.
      ValueError: if not a single run is finished yet.
    """
    workdir = Path(workdir)
    path = workdir / "comparison.json"
    if not path.exists():
        raise FileNotFoundError(
            f"--workdir={workdir} holds no comparison: begin one with --config=FILE."
        )
    said = json.loads(path.read_text())["said"]
    places: dict[str, list[Place]] = {name: [] for name in said["candidates"]}
    for cell in said["cells"]:
        if cell["kind"] != "search":
            place = Place(cell["kind"], cell["level"], workdir / cell["name"])
            places[cell["objective"]].append(place)
    return tabulate(
        places,
        reference=said["reference"],
        root=workdir,
        tuned={name: _tuned(said, name, workdir) for name in places},
        num_resamples=said["num_resamples"],
    )


def _tuned(said: Mapping[str, Any], name: str, workdir: Path) -> dict[str, Any]:
    """What was chosen for an objective, and by how many runs; nothing without one."""
    candidates = said["candidates"][name]
    if len(candidates) == 1:
        return {}
    try:
        chosen = cells.choose(name, len(candidates), workdir)
    except ValueError:  # The reason is with the runs that wait for it.
        chosen = None
    if chosen is None:
        return {}
    best, error = chosen
    return {
        **candidates[best]["chosen"],
        "validation error": f"{100 * error:.2f} %",
        "runs": len(candidates),
    }


def write_table(workdir: str | Path) -> Table:
    """Writes the table of what is there, in every form.

    Args:
      workdir: the folder of a comparison.

    Raises:
      FileNotFoundError, ValueError: as `read_table`.
      OSError: if something cannot be written.
    """
    workdir = Path(workdir)
    table = read_table(workdir)
    for name, form in (
        ("table.json", exports.to_json),
        ("table.csv", exports.to_csv),
        ("table.md", exports.to_markdown),
    ):
        with whole(workdir / name) as file:
            file.write(form(table).encode())
    page.write_page(table, workdir)
    return table


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with whole(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())

"""Runs a comparison in its folder, or goes on with it there.

All of it is ordinary runs: what is done is not done again, any number of processes may
work on the same folder, and what there is can be tabulated at any time.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from robustlabels import _validate, evaluation, run, training
from robustlabels._files import whole
from robustlabels._progress import Progress
from robustlabels._stopping import Signals, Stop, Stopped, never
from robustlabels.comparison import cells, exports, page
from robustlabels.comparison.assembly import Place, tabulate
from robustlabels.comparison.cells import Cell
from robustlabels.comparison.estimate import announce
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
    workers: int = 1,
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
      workers: how many processes of this machine work on them, this one among them; a
        script that asks for several calls this below `if __name__ == "__main__"`.
      stop: asked now and then whether to end early.

    Raises:
      ValueError: before any work, for a config that is refused, no worker, or a folder
        that holds another comparison; and if not a single run could be finished.
      Stopped: if `stop` says so, once everything is saved.
      OSError: if something cannot be written.
    """
    _validate.count(workers=workers)
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
    progress = Progress(total=len(mine), what="comparison", unit="runs", done=len(over))
    with _programs_shared() as programs:
        announce(comparison, everything, left, share)
        arguments = left, comparison, workdir
        with _helpers(workers - 1 if left else 0, (*arguments, programs)), progress:
            _work(*arguments, stop, lambda cell: progress.advance(run=cell.name))
    return write_table(workdir)


def _work(
    left: Sequence[Cell],
    comparison: Comparison,
    workdir: Path,
    stop: Stop,
    done: Callable[[Cell], None],
) -> None:
    """Attempts runs until all of them are over, whoever worked in them."""
    told: list[Cell] = []
    while left:
        waiting = []
        for cell in left:
            if _attempt(cell, comparison, workdir, stop):
                done(cell)
            else:
                waiting.append(cell)
        if len(waiting) == len(left):
            if waiting != told:
                names = ", ".join(cell.name for cell in waiting[:3])
                print(f"waiting for other workers: {names} ...", file=sys.stderr)
            told = waiting
            _pause(stop)
        left = waiting


@contextlib.contextmanager
def _helpers(number: int, arguments: tuple) -> Iterator[None]:
    """So many processes beside this one, which are told to stop at the end."""
    context = multiprocessing.get_context("spawn")
    helpers = []
    try:
        for _ in range(number):
            helper = context.Process(target=_help, args=arguments)
            helper.start()
            helpers.append(helper)
        yield
    finally:
        for helper in helpers:
            helper.terminate()
        for helper in helpers:
            helper.join()


def _help(
    left: Sequence[Cell],
    comparison: Comparison,
    workdir: Path,
    programs: Mapping[str, Any],
) -> None:
    """The work of a helper: silent, until it is done, told to stop, or left alone."""
    boss = os.getppid()
    with Path(os.devnull).open("w") as nowhere, Signals() as told:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the boss to tell.
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
        _keep_programs(programs)
        with contextlib.suppress(Stopped):
            _work(
                left,
                comparison,
                workdir,
                lambda: told() or os.getppid() != boss,
                lambda cell: None,
            )


@contextlib.contextmanager
def _programs_shared() -> Iterator[Mapping[str, Any]]:
    """Lets runs load what an earlier one compiled, unless JAX keeps programs anyway."""
    before = {name: getattr(jax.config, name) for name in _PROGRAMS}
    if before["jax_compilation_cache_dir"] is not None:
        yield before
        return
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # A program that another worker is at writing is compiled here as well.
        unread = "Error reading persistent compilation cache entry"
        warnings.filterwarnings("ignore", unread, UserWarning)
        here = dict(zip(_PROGRAMS, (folder, 0.0), strict=True))
        try:
            _keep_programs(here)
            yield here
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

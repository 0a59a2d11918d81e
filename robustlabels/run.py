"""One run in its folder: train, attack, report; what is done is not done again.

A run that was interrupted at any moment goes on, and ends as if it had not been.
"""

import contextlib
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from robustlabels import build, evaluation, report, training
from robustlabels._files import whole
from robustlabels._stopping import Stop, never
from robustlabels.config_file import load_run_config
from robustlabels.evaluation import Finding, Record

__all__ = ["Busy", "check", "evaluate", "is_over", "train"]


class Busy(OSError):
    """Another process works in the folder."""


def train(
    config: ml_collections.ConfigDict,
    workdir: str | pathlib.Path,
    *,
    stop: Stop = never,
) -> list[Record | Finding]:
    """Runs a complete config in a folder of its own, or goes on with it there.

    Args:
      config: complete.
      workdir: the run's folder; it is made once everything is known to be right.
      stop: asked now and then whether to end early.

    Returns:
      What was found of all seeds.

    Raises:
      ValueError: for a value out of range, or a folder that belongs to another config.
      training.Diverged: at a loss that is not finite; the folder is marked.
      Stopped: if `stop` says so, once everything is saved.
      OSError: if the folder cannot be written; `Busy` if another process works in it.
    """
    workdir = pathlib.Path(workdir)
    check(config, workdir)
    _stop_if_diverged(workdir)
    if is_over(workdir):
        _say(f"{workdir} holds this run, and it is finished.")
        return [
            *evaluation.read_records(workdir),
            *evaluation.read_findings(workdir),
        ]
    dataset = build.dataset(config)
    models = build.networks(config, dataset)
    with _claimed(workdir):
        if not (workdir / "config.json").exists():
            stored = {
                "config": config.to_dict(),
                "parameters": models[0].num_parameters,
                "provenance": evaluation.provenance(),
            }
            _write(workdir / "config.json", stored)
        sizes = " / ".join(str(len(split.labels)) for split in dataset[1:4])
        _say(
            f"{dataset.name}: {sizes} examples to train, validate and test on, "
            f"{dataset.num_classes} classes. Results go to {workdir}."
        )
        try:
            fitted = build.fit(config, models, dataset, workdir=workdir, stop=stop)
        except training.Diverged as error:
            marked = {"message": str(error), "step": error.step}
            _write(workdir / "diverged.json", marked)
            raise
        for replica, standing in enumerate(fitted.standings):
            which = f"Seed {config.seed + replica}: best" if replica else "Best"
            _say(
                f"{which} of {standing.epoch} epochs on validation: epoch "
                f"{standing.best_epoch}, error {100 * standing.validation_error:.2f} %."
            )
        found = _measured(config, dataset, fitted, workdir, stop)
        _write(workdir / "finished.json", evaluation.provenance())
        return found


def check(config: ml_collections.ConfigDict, workdir: str | pathlib.Path) -> None:
    """Raises where `train` would, before any work is done and any file written.

    Raises:
      ValueError: for a value out of range, or a folder that belongs to another config.
      OSError: if the folder cannot be written.
    """
    workdir = pathlib.Path(workdir)
    build.check(config, workdir)
    if (workdir / "config.json").exists():
        _check_same(workdir, config)
    else:
        _check_writable(workdir)


def is_over(workdir: str | pathlib.Path) -> bool:
    """Whether the run in a folder has nothing left to do: it finished, or diverged."""
    ends = (pathlib.Path(workdir, name) for name in ("finished.json", "diverged.json"))
    return any(end.exists() for end in ends)


def evaluate(
    config: ml_collections.ConfigDict,
    workdir: str | pathlib.Path,
    *,
    stop: Stop = never,
) -> list[Record | Finding]:
    """Attacks the best models of a run again, and adds the records to its folder.

    Args:
      config: complete, of the run but for its evaluation and `data.data_dir`.
      workdir: the run's folder.
      stop: asked now and then whether to end early.

    Raises:
      FileNotFoundError: if the folder holds no run, or one without a checkpoint.
      ValueError: if more of the config differs, or for a value out of range.
      Stopped, OSError: as `train`.
    """
    workdir = pathlib.Path(workdir)
    fix = "evaluate changes nothing but config.evaluation and config.data.data_dir"
    _check_same(workdir, config, but="evaluation", fix=fix)
    build.check(config, workdir)
    dataset = build.dataset(config)
    with _claimed(workdir):
        fitted = build.restore(config, dataset, workdir)
        return _measured(config, dataset, fitted, workdir, stop)


def _measured(config, dataset, fitted, workdir, stop) -> list[Record | Finding]:
    """Attacks the models, writes what is found as it comes, and the report."""
    found = list(build.evaluate(config, dataset, fitted, workdir=workdir, stop=stop))
    page = report.write_report([workdir], workdir / "report.html")
    _say(f"The report is {page}.")
    return found


def _write(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    with whole(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def _check_same(
    workdir: pathlib.Path,
    config: ml_collections.ConfigDict,
    *,
    but: str = "",
    fix: str = "choose another folder for another config",
) -> None:
    """Raises with the fields in which the folder's config differs."""
    there, here = (
        _flat(json.loads(json.dumps(c.to_dict())))
        for c in (load_run_config(workdir), config)
    )
    lines = [
        f"  config.{name}: {there.get(name)!r} there, {here.get(name)!r} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
        and name != "data.data_dir"
        and name.partition(".")[0] != but
    ]
    if lines:
        if all(line.startswith("  config.evaluation.") for line in lines):
            fix = "`robustlabels evaluate` changes the evaluation of a run"
        raise ValueError(
            f"--workdir={workdir} holds a run of another config, and nothing is "
            "overwritten:\n" + "\n".join([*lines, f"{fix[0].upper()}{fix[1:]}."])
        )


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _stop_if_diverged(workdir: pathlib.Path) -> None:
    path = workdir / "diverged.json"
    if path.exists():
        marked = json.loads(path.read_text())
        raise training.Diverged(
            f"{workdir} diverged before: {marked['message']}", marked["step"]
        )


def _check_writable(workdir: pathlib.Path) -> None:
    there = next(p for p in (workdir, *workdir.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise OSError(
            f"--workdir={workdir} cannot be written, for {there} is "
            f"{'read-only' if there.is_dir() else 'a file'}: choose another folder."
        )


@contextlib.contextmanager
def _claimed(workdir: pathlib.Path) -> Iterator[None]:
    """Makes the folder, and keeps other processes out while this one is in it."""
    import fcntl

    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"another process works in {workdir}: wait for it, or choose another "
                "folder."
            ) from None
        yield


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)

"""Run folders, read: whatever state a run is in, and where each number came from."""

import dataclasses
import json
import os
import pathlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from robustlabels.evaluation.records import Finding, Record

__all__ = ["Matrix", "Run", "Sourced", "find_runs", "flat", "read_runs"]

_MATRICES = "similarity", "noise_matrix", "targets", "codebook"

Content = TypeVar("Content", bound=Record | Finding)


@dataclasses.dataclass(frozen=True)
class Sourced(Generic[Content]):
    """A record or finding, the file that holds it, and the seed of its replica."""

    path: pathlib.Path
    seed: int
    content: Content


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A matrix over classes, one a seed, [seeds, classes, classes], or a codebook.

    Attributes:
      path: the file that holds it.
      values: the matrix.
      class_names: of rows and columns.
      source: how it was made, as the config says.
    """

    path: pathlib.Path
    values: np.ndarray
    class_names: tuple[str, ...]
    source: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run's folder holds.

    Attributes:
      folder: the folder.
      name: short, and another one for every run of a report.
      config: complete.
      provenance: versions, commit, device and time of training.
      records: of all replicas, in the order of their files.
      findings: likewise.
      metrics: the lines of each seed, an epoch a line.
      diverged: why and when training was given up; None if it was not.
      cell: what a sweep varied and set to which value; empty outside of sweeps.
      matrices: "similarity", "noise_matrix", "targets" and "codebook", as far as there
        are any.
    """

    folder: pathlib.Path
    name: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    records: tuple[Sourced[Record], ...]
    findings: tuple[Sourced[Finding], ...]
    metrics: dict[int, list[dict[str, Any]]]
    diverged: dict[str, Any] | None
    cell: dict[str, Any]
    matrices: dict[str, Matrix]

    def found(self, kind: str) -> list[Sourced[Finding]]:
        """The findings of a kind, one a seed: over the most examples, the latest."""
        one_a_seed = {}
        for found in sorted(self.findings, key=_weight):
            if found.content.kind == kind:
                one_a_seed[found.seed] = found
        return [one_a_seed[seed] for seed in sorted(one_a_seed)]

    def by_attack(self, kind: str) -> dict[tuple[str, str], list[Sourced[Finding]]]:
        """Findings of a kind by attack and loss, those of the most examples first.

        Args:
          kind: "adversarial", where the strongest is first, or "minimum_distortion".
        """
        groups: dict[tuple[str, str], dict[int, Sourced[Finding]]] = {}
        for found in sorted(self.findings, key=_weight):
            if found.content.kind == kind:
                parameters = found.content.parameters
                name = parameters["attack"], parameters["loss"]
                groups.setdefault(name, {})[found.seed] = found
        ordered = sorted(
            groups.items(),
            key=lambda group: -sum(f.content.n for f in group[1].values()),
        )
        return {name: [g[seed] for seed in sorted(g)] for name, g in ordered}

    def clean(self) -> list[Sourced[Record]]:
        """The clean accuracies, one a seed: over the most examples, the latest."""
        one_a_seed = {}
        for record in sorted(self.records, key=_weight):
            if record.content.attack == "none":
                one_a_seed[record.seed] = record
        return [one_a_seed[seed] for seed in sorted(one_a_seed)]

    def class_name(self, index: int) -> str:
        """What a class is called, or its number."""
        for found in self.found("clean"):
            names = found.content.values.get("class_names") or []
            if 0 <= index < len(names):
                return str(names[index])
        return str(index)


def _weight(sourced: Sourced) -> tuple[int, str]:
    return sourced.content.n, str(sourced.content.provenance.get("date", ""))


def find_runs(folders: Sequence[str | os.PathLike]) -> list[pathlib.Path]:
    """The run folders that are meant: each folder itself, or all runs below it.

    Args:
      folders: a folder with a `config.json` is a run; another stands for the runs below
        it, in the order of its `sweep.json` where it has one, else sorted.

    Raises:
      ValueError: for a folder without a run.

    Guarantees: no run comes twice.

    >>> find_runs(["nowhere"])
    Traceback (most recent call last):
    ValueError: nowhere holds no run: a run is a folder with a config.json, as \
`robustlabels train` leaves it.
    """
    runs: dict[pathlib.Path, pathlib.Path] = {}
    for folder in map(pathlib.Path, folders):
        below = list(_below(folder))
        if not below:
            raise ValueError(
                f"{folder} holds no run: a run is a folder with a config.json, as "
                "`robustlabels train` leaves it."
            )
        for run in below:
            runs.setdefault(run.resolve(), run)
    return list(runs.values())


def _below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    if (folder / "config.json").is_file():
        yield folder
    elif folder.is_dir():
        order = {name: index for index, name in enumerate(_cells(folder))}
        below = [p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()]
        for child in sorted(below, key=lambda p: (order.get(p.name, len(order)), p)):
            yield from _below(child)


def _cells(folder: pathlib.Path) -> Mapping[str, dict[str, Any]]:
    path = folder / "sweep.json"
    return _read(path).get("cells", {}) if path.is_file() else {}


def read_runs(folders: Sequence[str | os.PathLike]) -> list[Run]:
    """Reads all runs of some folders.

    Args:
      folders: as in `find_runs`.

    Raises:
      ValueError: naming a folder without a run, or a file that is damaged.
    """
    paths = find_runs(folders)
    absolute = [os.path.abspath(path) for path in paths]
    above = os.path.commonpath([os.path.dirname(path) for path in absolute])
    names = [os.path.relpath(path, above) for path in absolute]
    return [_read_run(p, name) for p, name in zip(paths, names, strict=True)]


def _read_run(folder: pathlib.Path, name: str) -> Run:
    written = _read(folder / "config.json")
    if not isinstance(written.get("config"), dict):
        raise ValueError(f"{folder / 'config.json'} holds no config.")
    config = written["config"]
    seed = config.get("seed", 0)
    records, findings = [], []
    for path in sorted((folder / "evaluation").glob("*.json")):
        fields = _read(path)
        kind = Finding if "kind" in fields else Record
        try:
            content = Finding(**fields) if "kind" in fields else _record(fields)
        except TypeError as error:
            raise ValueError(
                f"{path} holds no {kind.__name__.lower()} ({error}): delete it and "
                "evaluate again."
            ) from error
        sourced = Sourced(path, content.classifier.get("seed", seed), content)
        (findings if kind is Finding else records).append(sourced)
    diverged = folder / "diverged.json"
    return Run(
        folder=folder,
        name=name,
        config=config,
        provenance=written.get("provenance", {}),
        records=tuple(records),
        findings=tuple(findings),
        metrics=read_metrics(folder, seed),
        diverged=_read(diverged) if diverged.is_file() else None,
        cell=_cells(folder.parent).get(folder.name, {}),
        matrices={
            name: _read_matrix(path)
            for name in _MATRICES
            if (path := folder / f"{name}.npz").is_file()
        },
    )


def _read_matrix(path: pathlib.Path) -> Matrix:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = tuple(map(str, arrays["class_names"].tolist()))
            source = json.loads(str(arrays["source"]))
            return Matrix(path, arrays["matrix"], names, source)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}).") from error


def _record(fields: dict[str, Any]) -> Record:
    """A record, also one from before `fallen` was measured."""
    fields.setdefault("fallen", None)
    return Record(**fields)


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds no object.")
    return content


def read_metrics(
    folder: str | os.PathLike, seed: int = 0
) -> dict[int, list[dict[str, Any]]]:
    """The lines of metrics.jsonl by seed and in the order of epochs.

    A line half written is left, and without the file there is nothing.

    Args:
      folder: of a run.
      seed: of lines that name none.

    Raises:
      ValueError: naming a line that is damaged.
    """
    path = pathlib.Path(folder) / "metrics.jsonl"
    by_seed: dict[int, dict[int, dict[str, Any]]] = {}
    if not path.is_file():
        return {}
    *whole, _ = path.read_text().split("\n")
    for number, line in enumerate(whole, start=1):
        try:
            fields = json.loads(line)
            # A run that went on after a kill may have written an epoch twice.
            by_seed.setdefault(fields.get("seed", seed), {})[fields["epoch"]] = fields
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{path}, line {number}, is damaged ({error!r}).") from (
                error
            )
    return {
        seed: [lines[epoch] for epoch in sorted(lines)]
        for seed, lines in sorted(by_seed.items())
    }


def flat(config: Mapping[str, Any], above: Iterable[str] = ()) -> dict[str, Any]:
    """A config's fields by their dotted names.

    >>> flat({"seed": 0, "data": {"name": "mnist"}})
    {'seed': 0, 'data.name': 'mnist'}
    """
    fields = {}
    for name, value in config.items():
        path = (*above, name)
        if isinstance(value, Mapping):
            fields |= flat(value, path)
        else:
            fields[".".join(path)] = value
    return fields

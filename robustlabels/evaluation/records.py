"""One JSON file a cell or a finding: what was measured, how, and on what."""

import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import subprocess
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from robustlabels._files import whole
from robustlabels.data.npz import read_npz

__all__ = [
    "Finding",
    "Record",
    "interval",
    "provenance",
    "read_arrays",
    "read_findings",
    "read_records",
    "write_finding",
    "write_record",
]


@dataclasses.dataclass(frozen=True)
class Record:
    """Accuracy of one classifier under one attack at one epsilon.

    Attributes:
      classifier: what was attacked: the names of data, encoder, head and objective,
        and the epoch of the checkpoint.
      split: the split of the data set, such as "test".
      attack: name in the config; "none" is the clean accuracy.
      parameters: all of the attack's parameters but epsilon.
      loss: what was ascended, a name of `LOSSES`; "worst" of them all per example, or
        "none".
      epsilon: as it was written, such as "8/255".
      n: number of examples.
      value: share that is decided correctly.
      low: lower end of its 95 % interval.
      high: upper end of its 95 % interval.
      zero_gradients: share of examples whose input gradient is exactly zero; None where
        no gradient is followed.
      fallen: of the images by which examples fell that stood without the attack: their
        number `n`, the medians of their `confidence` and of their distances from the
        clean images, `l0` (pixels that changed), `l1`, `l2` and `linf`, and how many
        are still wrong when pixels are rounded to 8 bits, `survive_8_bits`. None for
        the clean accuracy and for "worst"; medians are None where none fell.
      seconds: what the attack took, compilation included.
      provenance: versions, commit, device, time, and in `digest` a hash of all that the
        figures depend on.
    """

    classifier: dict[str, Any]
    split: str
    attack: str
    parameters: dict[str, Any]
    loss: str
    epsilon: str
    n: int
    value: float
    low: float
    high: float
    zero_gradients: float | None
    fallen: dict[str, float | int | None] | None
    seconds: float
    provenance: dict[str, Any]

    @property
    def error(self) -> tuple[float, float, float]:
        """Share that is decided wrongly, and both ends of its 95 % interval."""
        return 1 - self.value, 1 - self.high, 1 - self.low


@dataclasses.dataclass(frozen=True)
class Finding:
    """What else was found about one classifier: calibration, confidence, signs.

    Attributes:
      kind: "clean", "noise", "left_out", "adversarial", "minimum_distortion",
        "fooling", "hidden_gradient", "corruptions", "outputs", "saliency" or
        "features".
      classifier: as in `Record`.
      split: the split of the data set, such as "test".
      parameters: of the measurement.
      n: number of examples or images.
      values: numbers, lists and text, as JSON can hold them.
      images: file beside the record, an npz of arrays, see `read_arrays`; None if there
        is none.
      seconds: what it took, compilation included.
      provenance: as in `Record`.
    """

    kind: str
    classifier: dict[str, Any]
    split: str
    parameters: dict[str, Any]
    n: int
    values: dict[str, Any]
    images: str | None
    seconds: float
    provenance: dict[str, Any]


def interval(correct: Bool[np.ndarray, " n"]) -> tuple[float, float, float]:
    """A share and its 95 % interval, Wilson (1927).

    By its formula: `scipy.stats` takes about a second to import.

    Args:
      correct: one flag an example, at least one.

    >>> value, low, high = interval(np.array([True] * 9 + [False]))
    >>> print(value, round(low, 3), round(high, 3))
    0.9 0.596 0.982
    """
    hits, size = int(np.sum(correct)), len(correct)
    share, z = hits / size, NormalDist().inv_cdf(0.975)
    centre = (2 * hits + z**2) / (2 * (size + z**2))
    half = z * math.sqrt(4 * hits * (1 - share) + z**2) / (2 * (size + z**2))
    low = centre - half if hits > 0 else 0.0
    high = centre + half if hits < size else 1.0
    return share, low, high


@functools.cache
def _commit() -> str | None:
    """The commit of the source, where it is a git checkout of its own."""
    file = pathlib.Path(__file__)

    def git(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=file.parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return answer.stdout.strip()

    try:
        # Fails where the repository around an installed package is somebody else's.
        git("ls-files", "--error-unmatch", file.name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def provenance() -> dict[str, Any]:
    """Versions of what the numbers depend on, commit, device and time.

    >>> sorted(provenance())
    ['commit', 'date', 'device', 'num_devices', 'versions']
    """
    packages = ("robustlabels", "jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "commit": _commit(),
        "device": jax.devices()[0].device_kind,
        "num_devices": jax.device_count(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write_record(workdir: str | os.PathLike, record: Record) -> pathlib.Path:
    """Writes a record into `WORKDIR/evaluation`, whole or not at all.

    The same cell of the same replica, measured again, replaces the older record; the
    same attack with other parameters is another cell.

    Args:
      workdir: the run's folder.
      record: what to write.

    Returns:
      The file.

    Raises:
      OSError: if it cannot be written; an older record stays as it was.
    """
    name = [record.attack, record.loss, record.epsilon.replace("/", "_")]
    cell = [record.split, record.parameters, record.n]
    return _write(workdir, record, name, cell)


def write_finding(
    workdir: str | os.PathLike,
    finding: Finding,
    images: Mapping[str, np.ndarray] | None = None,
) -> Finding:
    """Writes a finding into `WORKDIR/evaluation`, whole or not at all.

    The same finding on the same replica and as many examples replaces the older one.

    Args:
      workdir: the run's folder.
      finding: what to write.
      images: arrays by name; they go into an npz beside it, which it names then.

    Returns:
      The finding as it is read again.

    Raises:
      OSError: if it cannot be written; an older finding stays as it was.
    """
    name = [finding.kind]
    name += [
        finding.parameters[k] for k in ("attack", "loss") if k in finding.parameters
    ]
    size = finding.provenance.get("digest", finding.n)
    cell = [finding.split, finding.parameters, size]
    if images is not None:
        path = _path(workdir, finding, name, cell).with_suffix(".npz")
        with whole(path) as file:
            np.savez(file, allow_pickle=False, **dict(images))
        finding = dataclasses.replace(finding, images=path.name)
    _write(workdir, finding, name, cell)
    return finding


def read_records(workdir: str | os.PathLike) -> list[Record]:
    """All records of a run, in the order of their file names.

    Args:
      workdir: the run's folder.

    Raises:
      ValueError: naming a file that holds neither a record nor a finding.
    """
    return [found for found in _read(workdir) if isinstance(found, Record)]


def read_findings(workdir: str | os.PathLike) -> list[Finding]:
    """All findings of a run, in the order of their file names.

    Args:
      workdir: the run's folder.

    Raises:
      ValueError: naming a file that holds neither a record nor a finding.
    """
    return [found for found in _read(workdir) if isinstance(found, Finding)]


def read_arrays(workdir: str | os.PathLike, finding: Finding) -> dict[str, np.ndarray]:
    """The arrays that were written with a finding, by name; none if it names no file.

    Those of all examples, in the order of the split, or of all images:

    - "clean": `right`, whether it is decided correctly; `confidence` in the decision;
      `negative_log_likelihood` of its class.
    - "noise": `confidence`.
    - "left_out": `known` and `unknown`, the confidence in the images of either.
    - "corruptions": `right`, the share of all ways in which it is decided correctly.
    - "adversarial": `fallen`, the index of the smallest epsilon at which it fell, the
      number of epsilons if it stands at all, -1 if it is wrong without the attack.
    - "minimum_distortion": `distances` of the nearest image, l0, l1, l2 and linf;
      `decisions` on it; `labels`.

    All others are what the report shows.

    Args:
      workdir: the run's folder.
      finding: as it is read from there.

    Raises:
      ValueError: naming the file, if it is missing or damaged.
    """
    if finding.images is None:
        return {}
    path = pathlib.Path(workdir) / "evaluation" / finding.images
    try:
        return read_npz(path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is missing or damaged: delete {path.with_suffix('.json').name} "
            "beside it and evaluate again."
        ) from error


def _path(
    workdir: str | os.PathLike, found: Record | Finding, name: list, cell: list
) -> pathlib.Path:
    """The file of a cell: names and seed to be read, the rest as a digest."""
    text = json.dumps(cell, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    parts = [*name, f"seed{found.classifier.get('seed', 0)}", digest]
    return pathlib.Path(workdir) / "evaluation" / f"{'-'.join(parts)}.json"


def _write(
    workdir: str | os.PathLike, found: Record | Finding, name: list, cell: list
) -> pathlib.Path:
    path = _path(workdir, found, name, cell)
    text = json.dumps(dataclasses.asdict(found), indent=2) + "\n"
    with whole(path) as file:
        file.write(text.encode())
    return path


def _read(workdir: str | os.PathLike) -> Iterator[Record | Finding]:
    for path in sorted((pathlib.Path(workdir) / "evaluation").glob("*.json")):
        try:
            fields = json.loads(path.read_text())
            yield Finding(**fields) if "kind" in fields else Record(**fields)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path} holds no evaluation record ({error}): delete it and evaluate "
                "again."
            ) from error

"""Matrices in files: the user's own, and those that a run's folder keeps."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robustlabels._files import whole
from robustlabels.data.npz import read_npz

__all__ = ["keep", "kept", "read_matrix"]


def kept(
    make: Callable[[], np.ndarray],
    class_names: Sequence[str],
    source: Mapping[str, Any],
    *,
    path: Path | None,
) -> np.ndarray:
    """The matrix in a file, or else the one that is made, and kept there.

    Args:
      make: () -> [classes, classes].
      class_names: of rows and columns.
      source: how it is made, for the record.
      path: an npz file; None keeps nothing.

    Raises:
      ValueError: if the file is damaged.
      OSError: if it cannot be written.

    >>> print(kept(lambda: np.eye(1), ["only"], {}, path=None))
    [[1.]]
    """
    if path is None:
        return make()
    if not path.exists():
        keep(path, class_names, source, matrix=make())
    return read_npz(path)["matrix"]


def keep(
    path: Path,
    class_names: Sequence[str],
    source: Mapping[str, Any],
    **arrays: np.ndarray,
) -> None:
    """Writes matrices, whole or not at all, with the names of their classes.

    Args:
      path: an npz file; its folder is made if missing.
      class_names: of rows and columns.
      source: how they were made: literals.
      **arrays: by name.

    Raises:
      OSError: if it cannot be written.
    """
    everything: dict[str, Any] = {
        "class_names": np.array(list(class_names)),
        "source": np.array(json.dumps(dict(source))),
        **arrays,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as file:
        np.savez(file, **everything)


def read_matrix(path: str) -> np.ndarray:
    """A matrix from a file: .npy, or text with a row a line (spaces or commas).

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it holds no matrix of numbers.

    >>> read_matrix("mine.npy")
    Traceback (most recent call last):
    FileNotFoundError: path=mine.npy: there is no such file.
    """
    file = Path(path).expanduser()
    if not path or not file.is_file():
        raise FileNotFoundError(f"path={path}: there is no such file.")
    try:
        if file.suffix == ".npy":
            matrix = np.load(file, allow_pickle=False)
        else:
            lines = file.read_text().replace(",", " ").splitlines()
            rows = (line.split("#")[0].split() for line in lines)
            matrix = np.array([list(map(float, row)) for row in rows if row])
        matrix = np.asarray(matrix, np.float64)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"path={path} holds no matrix of numbers ({error}): write a .npy file, or "
            "a text with a row a line."
        ) from error
    return matrix

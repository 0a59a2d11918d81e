"""Codebooks: one array a class, which a network is asked to put out."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float32, Num

from robustlabels import _validate

__all__ = [
    "HIGHEST",
    "Codebook",
    "check_codebook",
    "checked_shape",
    "from_file",
    "rescale",
]

Codebook = Float32[np.ndarray, " classes *cells"]

HIGHEST = 80.0  # of labels, which start at 0


def check_codebook(codebook: Any, *, num_classes: int) -> Codebook:
    """The same codebook as float32, if every class has a label that is its own.

    Args:
      codebook: [classes, *cells] numbers, at least one cell.
      num_classes: how many classes there have to be, at least 2.

    Raises:
      ValueError: for another number of classes, labels without a cell, numbers that are
        not finite, or two labels that are equal.

    >>> check_codebook([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], num_classes=3)
    Traceback (most recent call last):
    ValueError: the labels of classes 0 and 2 are equal, so that no output tells these \
classes apart. Give each class a label of its own.
    """
    _validate.count(minimum=2, num_classes=num_classes)
    array = np.asarray(codebook)
    if array.dtype.kind not in "fiu" or array.ndim < 2 or not array[0:1].size:
        raise ValueError(
            f"a codebook of {array.dtype} and shape {array.shape} is not one array of "
            "numbers a class. Give floats of shape [classes, *cells]."
        )
    if len(array) != num_classes:
        raise ValueError(
            f"the codebook has {len(array)} labels for {num_classes} classes. Give one "
            "label a class, in the order of the class ids."
        )
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    cells = array.reshape(num_classes, -1) + 0.0  # which makes 0 of -0
    bad = np.flatnonzero(~np.isfinite(cells).all(axis=1))
    if bad.size:
        raise ValueError(
            f"the label of class {bad[0]} has NaN or infinite entries. Make all finite."
        )
    first: dict[bytes, int] = {}
    for i, label in enumerate(cells):
        twin = first.setdefault(label.tobytes(), i)
        if twin != i:
            raise ValueError(
                f"the labels of classes {twin} and {i} are equal, so that no output "
                "tells these classes apart. Give each class a label of its own."
            )
    return array


def checked_shape(shape: Sequence[int], *, sides: int | None = None) -> tuple[int, ...]:
    """The shape of a label as a tuple.

    Args:
      shape: whole numbers of at least 1.
      sides: how many there have to be; None for one or more.

    Raises:
      ValueError: for another shape.

    >>> checked_shape([64], sides=2)
    Traceback (most recent call last):
    ValueError: shape=(64,) has not the two sides of a matrix: (64, 64) is usual.
    """
    shape = tuple(shape)
    if sides == 2 and len(shape) != 2:
        raise ValueError(
            f"shape={shape} has not the two sides of a matrix: (64, 64) is usual."
        )
    if not shape:
        raise ValueError("shape=() has no cell: (64, 64) is usual.")
    for side in shape:
        _validate.count(a_side_of_shape=side)
    return shape


def rescale(
    codebook: Num[np.ndarray, " classes *cells"],
    *,
    low: float = 0.0,
    high: float = HIGHEST,
) -> Codebook:
    """The codebook, stretched as a whole so that it fills a range.

    Args:
      codebook: finite, and not one value all over.
      low: what its smallest entry becomes.
      high: what its largest entry becomes, above `low`.

    Raises:
      ValueError: for anything else.

    >>> print(rescale(np.array([[-1.0, 0.0], [0.5, 1.0]])))
    [[ 0. 40.]
     [60. 80.]]
    """
    fix = "Labels are in [0, 80]."
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"low={low} is not below high={high}, or not finite. {fix}")
    _validate.in_range(-np.inf, np.inf, codebook=codebook, fix="Give finite labels.")
    array = codebook.astype(np.float64)
    smallest, largest = array.min(), array.max()
    if smallest == largest:
        raise ValueError(
            f"all entries of the codebook are {smallest:g}, so that no scale helps. "
            "Give each class a label of its own."
        )
    shares = (array - smallest) / (largest - smallest)
    return (low + (high - low) * shares).astype(np.float32)


def from_file(num_classes: int, path: str | Path) -> Codebook:
    """The user's own labels, as they are: nothing is rescaled.

    Args:
      num_classes: at least 2.
      path: .npy of [classes, *cells]; or .npz with the array `codebook`, or only one.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged or holds no codebook of that many classes.

    >>> from_file(10, "mine.npy")
    Traceback (most recent call last):
    FileNotFoundError: path=mine.npy: there is no such file.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"path={path}: there is no such file.")
    try:
        with file.open("rb") as opened:
            codebook = _the_array(opened)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"path={path} holds no codebook ({error}). Write it with np.save, or with "
            "np.savez and the name codebook."
        ) from error
    return check_codebook(codebook, num_classes=num_classes)


def _the_array(file: BinaryIO) -> np.ndarray:
    loaded = np.load(file, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded as arrays:
        names = arrays.files
        if "codebook" in names or len(names) == 1:
            return arrays["codebook" if "codebook" in names else names[0]]
    raise ValueError(f"it has the arrays {', '.join(names)}")

"""Labelled examples, however they come, as chunks of one size."""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, Shaped

from robustlabels import _validate
from robustlabels._progress import Progress

__all__ = ["Chunk", "Chunks", "in_chunks"]

_MOST_FEATURES = 32_768
_LARGEST = 1e30  # float32 has it, and float64 its square


class Chunk(NamedTuple):
    """Some examples.

    Attributes:
      x: [size, d] their features, flat.
      labels: [size] class ids; -1 where zeros fill up the last chunk.
    """

    x: Shaped[np.ndarray, "size d"]
    labels: Int32[np.ndarray, " size"]


class Chunks(NamedTuple):
    """All examples, to be read once.

    Attributes:
      shape: of one example.
      chunks: one after the other.
    """

    shape: tuple[int, ...]
    chunks: Iterator[Chunk]


def in_chunks(
    features: Any, labels: Any = None, *, num_classes: int, size: int
) -> Chunks:
    """Reads the first batch, and the others as chunks are asked for.

    Args:
      features: [n, *shape] of uint8, float32 or float64; or an iterable of batches
        (features, labels) of any sizes.
      labels: [n] class ids; None for batches.
      num_classes: class ids are below it.
      size: examples a chunk.

    Raises:
      ValueError: for features of another type, not finite, or more than 32,768 an
        example; for labels that are not one class id per example; for no batch at all.

    Guarantees: the same chunks however the examples are cut into batches.

    >>> x, y = np.array([[0.5], [1.5], [2.5]]), np.array([0, 1, 1])
    >>> for chunk in in_chunks(x, y, num_classes=2, size=2).chunks:
    ...     print(chunk.x.ravel(), chunk.labels)
    [0.5 1.5] [0 1]
    [2.5 0. ] [ 1 -1]
    """
    _validate.count(batch_size=size)
    batches, total = _batches(features, labels, size)
    checked = (_checked(batch, num_classes) for batch in _shown(batches, total))
    first = next(checked, None)
    if first is None:
        raise ValueError(
            "there are no examples. An iterator can be read only once: give a new one."
        )
    batches = itertools.chain([first], checked)
    return Chunks(first[0].shape[1:], _filled(batches, first[0], size))


def _batches(features: Any, labels: Any, size: int) -> tuple[Iterable, int | None]:
    """Batches, and how many there are if that is known."""
    if labels is None:
        if hasattr(features, "shape"):
            raise ValueError(
                f"features of shape {features.shape} have no labels. Give one class id "
                "per example, or an iterable of batches (features, labels)."
            )
        return features, len(features) if hasattr(features, "__len__") else None
    labels = np.asarray(labels)
    if labels.ndim != 1 or np.shape(features)[:1] != labels.shape:
        raise ValueError(_not_paired(np.shape(features), labels.shape))
    spans = [slice(i, i + size) for i in range(0, len(labels), size)]
    return ((features[span], labels[span]) for span in spans), len(spans)


def _shown(batches: Iterable, total: int | None) -> Iterator:
    """The same batches, with progress if it is known how many there are."""
    if total is None:
        yield from batches
        return
    with Progress(total=total, what="class similarity", unit="batches") as progress:
        for batch in batches:
            yield batch
            progress.advance()


def _checked(batch: Any, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch as arrays; a memory map is not read."""
    features, labels = map(np.asarray, batch)
    if features.dtype not in (np.uint8, np.float32, np.float64):
        raise ValueError(
            f"features are {features.dtype}. Convert them to uint8, float32 or float64."
        )
    if features.ndim == 0 or labels.shape != features.shape[:1]:
        raise ValueError(_not_paired(features.shape, labels.shape))
    d = math.prod(features.shape[1:])
    if not 1 <= d <= _MOST_FEATURES:
        raise ValueError(
            f"examples of shape {features.shape[1:]} have {d:,} features; 1 to "
            f"{_MOST_FEATURES:,} are allowed: [d, d] numbers of float64 take "
            f"{8 * d * d / 2**30:,.1f} GiB. Use smaller images, or the activations of "
            "a trained network."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are {labels.dtype}. Give class ids, whole numbers.")
    fix = "Class ids count from 0, below num_classes."
    _validate.in_range(0, num_classes - 1, labels=labels, fix=fix)
    return features, labels


def _not_paired(features: tuple[int, ...], labels: tuple[int, ...]) -> str:
    return (
        f"features of shape {features} and labels of shape {labels} do not go "
        "together. Give one class id per example."
    )


def _filled(batches: Iterable, like: np.ndarray, size: int) -> Iterator[Chunk]:
    """Chunks in memory of their own: whoever got the last one may still read it."""
    shape, dtype = like.shape[1:], like.dtype
    x, y = np.empty(0), np.empty(0)
    read = filled = 0
    for features, labels in batches:
        if (features.shape[1:], features.dtype) != (shape, dtype):
            raise ValueError(
                f"a batch has {features.dtype} examples of shape {features.shape[1:]}, "
                f"the first one {dtype} of shape {shape}. Bring them into one form."
            )
        while len(labels):
            if not filled:
                x = np.zeros((size, math.prod(shape)), dtype)
                y = np.full(size, -1, np.int32)
            taken = min(size - filled, len(labels))
            own = slice(filled, filled + taken)
            x[own], y[own] = features[:taken].reshape(taken, -1), labels[:taken]
            _check_finite(x[own], read)
            features, labels = features[taken:], labels[taken:]
            read, filled = read + taken, (filled + taken) % size
            if not filled:
                yield Chunk(x, y)
    if filled:
        yield Chunk(x, y)


def _check_finite(x: Shaped[np.ndarray, "n d"], read: int) -> None:
    if x.dtype != np.uint8 and not max(-x.min(), x.max()) < _LARGEST:
        bad = np.flatnonzero(~(abs(x) < _LARGEST).all(axis=1))
        raise ValueError(
            f"features of example {read + bad[0]} are NaN, infinite or beyond "
            f"{_LARGEST:g}. Repair or remove it."
        )

"""Counts, sums and products of labelled examples, added up on the device."""

import functools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int64

from robustlabels.similarity.chunks import Chunk

__all__ = ["Moments", "add_up"]

# Products of bytes less 128 are at most 2^14: float32 sums 2^10 of them exactly.
_MIDDLE, _EXACT_ROWS = 128.0, 1024
_PANELS, _NARROWEST = 8, 256


class Moments(NamedTuple):
    """What is known of all examples x, less a shift that keeps digits.

    Attributes:
      counts: examples of each class.
      shift: of each feature.
      sums: of the examples of each class, less the shift.
      panels: blocks of rows of xᵀx, from the diagonal on: x[:, i:j]ᵀ x[:, i:].
    """

    counts: Int64[np.ndarray, " classes"]
    shift: Float64[np.ndarray, " d"]
    sums: Float64[Array, "classes d"]
    panels: list[Float64[Array, "_ _"]]


def add_up(chunks: Iterable[Chunk], num_classes: int) -> Moments:
    """Reads all examples, in memory that does not grow with their number.

    Args:
      chunks: all of one shape.
      num_classes: class ids are below it.

    Raises:
      ValueError: for a class without examples, and for no more examples than classes.

    Guarantees: exact if features are uint8, and float64 otherwise. JAX's own precision
    stays as it is, also while chunks are made.

    >>> x, labels = np.array([[0, 1], [2, 3], [4, 5]], np.uint8), np.array([0, 1, 1])
    >>> moments = add_up([Chunk(x, labels.astype(np.int32))], 2)
    >>> print(moments.counts, moments.sums[0], moments.panels[0][0])
    [1 2] [-128. -127.] [47636. 47258.]
    """
    counts = np.zeros(num_classes, np.int64)
    shift = np.empty(0)
    state: Any = None
    for x, labels in chunks:
        with jax.enable_x64(True):
            if state is None:
                shift, state = _shift(x[labels >= 0]), _zeros(num_classes, x.shape[1])
            jax.block_until_ready(state)  # so that no chunks queue up
            state = _add(state, x, labels, shift)
        counts += np.bincount(labels[labels >= 0], minlength=num_classes)
    _check_counts(counts)
    return Moments(counts, shift, *state)


def _shift(x: np.ndarray) -> Float64[np.ndarray, " d"]:
    if x.dtype == np.uint8:
        return np.full(x.shape[1], _MIDDLE)
    return x.mean(axis=0, dtype=np.float64)


def _zeros(num_classes: int, d: int) -> tuple[Array, list[Array]]:
    width = max(math.ceil(d / _PANELS), _NARROWEST)
    panels = [jnp.zeros((min(width, d - i), d - i)) for i in range(0, d, width)]
    return jnp.zeros((num_classes, d)), panels


@functools.partial(jax.jit, donate_argnums=0)
def _add(
    state: tuple[Array, list[Array]], x: Array, labels: Array, shift: Array
) -> tuple[Array, list[Array]]:
    """Sums and panels with one chunk more; what has no label does not count."""
    sums, panels = state
    if x.dtype == jnp.uint8:
        dtype, rows = jnp.float32, _EXACT_ROWS
    else:
        dtype, rows = jnp.float64, len(x)
    x = x.astype(dtype) - shift.astype(dtype)[None, :]
    x = jnp.where(labels[:, None] >= 0, x, 0.0)
    added = []
    for panel in panels:
        width, columns = panel.shape
        for i in range(0, len(x), rows):
            right = x[i : i + rows, -columns:]
            left = right[:, :width]
            panel += jnp.matmul(left.T, right, precision="highest")
        added.append(panel)
    return sums.at[labels].add(x), added


def _check_counts(counts: Int64[np.ndarray, " classes"]) -> None:
    missing = np.flatnonzero(counts == 0)
    if missing.size:
        named = ", ".join(f"class {c}" for c in missing[:5])
        raise ValueError(
            f"no example of {named}. Labels count from 0 without gaps: renumber them, "
            "or give more examples."
        )
    if counts.sum() <= len(counts):
        raise ValueError(
            f"{counts.sum()} examples of {len(counts)} classes do not scatter within "
            "the classes. Give more examples."
        )

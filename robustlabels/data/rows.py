"""Rows of an array that does not fit into memory."""

from typing import Any

import numpy as np
from jaxtyping import Int

_AT_ONCE = 256


class Rows:
    """Some rows of an array on disk, in an order of their own, read when asked for.

    A whole number, a slice, or an array of numbers or of flags chooses rows, and an
    ordinary array comes back. That is all that can be done with it.

    Guarantees: the array is read in its own order, whatever the order of the rows.

    Args:
      array: [m, ...], a memory map for one.
      ids: [n] rows of it; None is all of them.

    >>> rows = Rows(np.arange(10).reshape(5, 2), np.array([4, 0, 2]))
    >>> rows.shape, rows[:2].tolist(), rows[np.array([False, True, False])].tolist()
    ((3, 2), [[8, 9], [0, 1]], [[0, 1]])
    """

    def __init__(self, array: np.ndarray, ids: Int[np.ndarray, " n"] | None = None):
        self._array = array
        self._ids = np.arange(len(array)) if ids is None else ids
        self.shape = len(self._ids), *array.shape[1:]
        self.dtype = array.dtype
        self.ndim = array.ndim

    def take(self, ids: Int[np.ndarray, " k"]) -> "Rows":
        """Some of these rows, still to be read.

        >>> Rows(np.arange(5)).take(np.array([3, 1])).take(np.array([1]))[:]
        array([1])
        """
        return Rows(self._array, self._ids[ids])

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, key: Any) -> np.ndarray:
        chosen = self._ids[key]
        ids = np.ravel(chosen)
        rows = np.empty((len(ids), *self.shape[1:]), self.dtype)
        order = np.argsort(ids, kind="stable")
        for start in range(0, len(ids), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            rows[some] = self._array[ids[some]]
        return rows.reshape(np.shape(chosen) + self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("Rows are read from the disk, and that is a copy.")
        return self[:].astype(dtype or self.dtype, copy=False)

"""Label matrices of another size."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Num

from robustlabels.labels.codebooks import checked_shape

__all__ = ["resize"]


def resize(
    codebook: Num[np.ndarray, "classes rows columns"], shape: Sequence[int]
) -> Float32[np.ndarray, "classes new_rows new_columns"]:
    """Every label at another size, linear between the centres of its cells.

    What lies beyond the outermost centres is mirrored there, as scikit-image's `resize`
    does without anti-aliasing, by which the published labels were made.

    Args:
      codebook: of matrices.
      shape: rows and columns to have, each at least 1.

    Raises:
      ValueError: for another shape.

    Guarantees: no entry leaves the range of its label; the shape it has changes
    nothing.

    >>> print(resize(np.array([[[0.0, 80.0]]]), (1, 4)))
    [[[20. 20. 60. 60.]]]
    """
    for axis, size in zip((1, 2), checked_shape(shape, sides=2), strict=True):
        codebook = _resized(codebook, size, axis)
    return codebook.astype(np.float32)


def _resized(array: np.ndarray, size: int, axis: int) -> np.ndarray:
    last = array.shape[axis] - 1
    at = abs((np.arange(size) + 0.5) * ((last + 1) / size) - 0.5)
    at = np.clip(np.minimum(at, 2 * last - at), 0, last)
    below = at.astype(int)
    share = np.expand_dims(at - below, tuple(range(1, array.ndim - axis)))
    left = np.take(array, below, axis)
    return left + share * (np.take(array, np.minimum(below + 1, last), axis) - left)

"""Examples in batches of one size, none left out."""

import math

import numpy as np
from jaxtyping import Bool, Int

from robustlabels import _validate


def filled_batches(
    order: Int[np.ndarray, " n"], batch_size: int
) -> tuple[Int[np.ndarray, "steps batch"], Bool[np.ndarray, "steps batch"]]:
    """Cuts an order of examples into batches of one size, so that one compile serves.

    The last batch is filled up from the order's start; what fills it does not count.

    Args:
      order: ids of the examples, at least one.
      batch_size: at least 1; a batch is never larger than the order.

    Returns:
      The ids in each batch, and which of them count.

    Raises:
      ValueError: if there are no examples, or the batch size is below 1.

    >>> ids, counts = filled_batches(np.array([2, 0, 1]), 2)
    >>> print(ids.tolist(), counts.tolist())
    [[2, 0], [1, 2]] [[True, True], [True, False]]
    """
    _validate.count(batch_size=batch_size)
    size = len(order)
    if not size:
        raise ValueError("there are no examples: this split is empty.")
    batch_size = min(batch_size, size)
    shape = math.ceil(size / batch_size), batch_size
    counts = np.arange(math.prod(shape)) < size
    return np.resize(order, shape), counts.reshape(shape)

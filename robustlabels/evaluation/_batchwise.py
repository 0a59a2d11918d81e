"""A function of many examples, batch by batch."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from robustlabels import _validate, parallel
from robustlabels._progress import Progress
from robustlabels._stopping import Stop, Stopped, never


def batchwise(
    function: Callable,
    shared: Any,
    size: int,
    arguments: Callable,
    *,
    what: str,
    mesh: Mesh,
    batch_size: int,
    stop: Stop = never,
) -> Any:
    """What a jitted function of `parallel.per_example` says of every example.

    Args:
      function: (shared, *batches) -> pytree of batches.
      shared: any pytree.
      size: how many examples there are.
      arguments: (indices) -> the batches, all of one shape.
      what: a word or two for the progress.
      mesh: that of the function.
      batch_size: examples a call; the last batch is filled up.
      stop: asked before each batch.

    Raises:
      ValueError: if there are no examples, or the batch size is below 1.
      Stopped: when asked to stop.

    >>> mesh = parallel.make_mesh()
    >>> double = jax.jit(parallel.per_example(lambda _, x: {"twice": 2 * x}, mesh))
    >>> answers = batchwise(double, (), 5, lambda index: (index,), what="doubling",
    ...                     mesh=mesh, batch_size=2, stop=lambda: False)
    >>> print(answers["twice"])
    [0 2 4 6 8]
    """
    batch = size_of_batch(size, mesh, batch_size)
    total = math.ceil(size / batch)
    shared = parallel.replicate(shared, mesh)
    parts = []
    with Progress(total=total, what=what, unit="batches") as progress:
        for index in np.resize(np.arange(size, dtype=np.int32), (total, batch)):
            if stop():
                raise Stopped(f"{what} stopped at batch {len(parts)}/{total}")
            examples = parallel.split(arguments(index), mesh)
            parts.append(jax.device_get(function(shared, *examples)))
            progress.advance()
    return jax.tree.map(lambda *batches: np.concatenate(batches)[:size], *parts)


def size_of_batch(size: int, mesh: Mesh, batch_size: int) -> int:
    """Examples a call: no more than there are, and as many on each device.

    Raises:
      ValueError: if there are no examples, or the batch size is below 1.

    >>> size_of_batch(3, parallel.make_mesh(jax.devices()[:1]), 1000)
    3
    """
    _validate.count(batch_size=batch_size)
    if not size:
        raise ValueError("there are no examples: this split is empty.")
    return parallel.rounded_up(min(batch_size, size), mesh)

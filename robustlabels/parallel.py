"""One axis of devices: examples are split over it, everything else is on all of them.

One device is a mesh of one, so that the same code runs everywhere.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from robustlabels import _validate

__all__ = ["constrain", "make_mesh", "per_example", "replicate", "rounded_up", "split"]

_AXIS = "data"


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with the one axis "data".

    Args:
      devices: by default all there are.

    >>> make_mesh(jax.devices()[:1]).axis_names
    ('data',)
    """
    return Mesh(np.array(jax.devices() if devices is None else devices), (_AXIS,))


def rounded_up(size: int, mesh: Mesh) -> int:
    """The smallest batch of at least this size that the devices share evenly.

    >>> rounded_up(5, make_mesh(jax.devices()[:1]))
    5
    """
    _validate.count(size=size)
    return math.ceil(size / mesh.size) * mesh.size


def replicate(tree: Any, mesh: Mesh) -> Any:
    """The same arrays on every device.

    >>> replicate(np.ones(3), make_mesh()).sharding.is_fully_replicated
    True
    """
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def split(tree: Any, mesh: Mesh) -> Any:
    """Arrays cut along their first axis, a piece on every device.

    Args:
      tree: arrays whose first axis the devices share evenly; see `rounded_up`.
      mesh: from `make_mesh`.

    >>> mesh = make_mesh(jax.devices()[:1])
    >>> split(np.ones(3), mesh).sharding.spec == PartitionSpec("data")
    True
    """
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(_AXIS)))


def constrain(batch: Array, mesh: Mesh) -> Array:
    """The same array inside of `jit`, where its first axis is to be split.

    Means over the axis stay means over the whole batch, whatever the devices, and the
    axis need not be a multiple of their number.

    >>> jax.jit(lambda x: constrain(x, make_mesh()).mean())(np.arange(3.0))
    Array(1., dtype=float32)
    """
    return jax.lax.with_sharding_constraint(
        batch, NamedSharding(mesh, PartitionSpec(_AXIS))
    )


def per_example(function: Callable, mesh: Mesh) -> Callable:
    """Runs a function of examples on every device for its own share of them.

    Args:
      function: (shared, *batches) -> batches; `shared` is any pytree, every leaf of
        the batches has the examples in front, and no example knows of another.
      mesh: from `make_mesh`; its size divides the number of examples.

    Returns:
      The same function of whole batches, to be jitted by the caller.

    >>> scaled = per_example(lambda factor, x: factor * x, make_mesh(jax.devices()[:1]))
    >>> print(scaled(2.0, np.arange(3.0)))
    [0. 2. 4.]
    """

    def call(shared, *batches):
        split_all = (PartitionSpec(_AXIS),) * len(batches)
        return jax.shard_map(
            function,
            mesh=mesh,
            in_specs=(PartitionSpec(), *split_all),
            out_specs=PartitionSpec(_AXIS),
            check_vma=False,
        )(shared, *batches)

    return call

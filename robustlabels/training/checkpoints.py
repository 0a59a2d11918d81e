"""Orbax checkpoints of a run: the last state and the best model, written as one."""

import pathlib
from typing import Any

import jax

__all__ = ["Checkpoints"]

_LAST, _BEST, _STANDING = "last", "best", "standing"


class Checkpoints:
    """The checkpoints in a folder; a new one appears whole or not at all.

    Each holds the state of training, the best params and statistics so far, and where
    training stands, as JSON. The newest two are kept.

    Args:
      folder: where they live; made when the first is saved.

    >>> import tempfile, jax.numpy as jnp
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Checkpoints(folder.name) as checkpoints:
    ...     checkpoints.save(1, {"w": jnp.ones(2)}, {"w": jnp.zeros(2)}, {"epoch": 1})
    >>> with Checkpoints(folder.name) as checkpoints:
    ...     best, standing = checkpoints.best({"w": jnp.zeros(2)})
    >>> print(best["w"], standing)
    [0. 0.] {'epoch': 1}
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | pathlib.Path):
        import orbax.checkpoint as ocp

        self._args = ocp.args
        self._folder = pathlib.Path(folder).absolute()
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=2, create=False),
        )

    def save(self, step: int, last: Any, best: Any, standing: dict) -> None:
        """Writes a checkpoint in the background, from a copy made now.

        Args:
          step: number of the checkpoint, larger than those before.
          last: pytree of arrays, the state of training.
          best: pytree of arrays, the model to be evaluated.
          standing: what JSON can hold.
        """
        save = self._args.StandardSave
        items = {
            _LAST: save(last),
            _BEST: save(best),
            _STANDING: self._args.JsonSave(standing),
        }
        self._manager.save(step, args=self._args.Composite(**items))

    def best(self, like: Any) -> tuple[Any, dict]:
        """The best model of the newest checkpoint, and where training stood.

        Args:
          like: pytree of arrays with the structure, shapes and types to be restored.

        Raises:
          FileNotFoundError: if there is no checkpoint.
          ValueError: if the checkpoint holds something else.
        """
        step = self._manager.latest_step()
        if step is None:
            raise FileNotFoundError(
                f"{self._folder} holds no checkpoint: train first, with "
                f"`robustlabels train --workdir={self._folder.parent}`."
            )
        shapes = jax.tree.map(_shape, like)
        items = {
            _BEST: self._args.StandardRestore(shapes),
            _STANDING: self._args.JsonRestore(),
        }
        restored = self._manager.restore(step, args=self._args.Composite(**items))
        return restored[_BEST], restored[_STANDING]

    def __enter__(self) -> "Checkpoints":
        """Nothing happens: the folder is open since construction."""
        return self

    def __exit__(self, *error: object) -> None:
        """Waits until everything is written."""
        self._manager.close()


def _shape(array: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)

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
            item_handlers={
                _LAST: ocp.StandardCheckpointHandler(),
                _BEST: ocp.StandardCheckpointHandler(),
                _STANDING: ocp.JsonCheckpointHandler(),
            },
        )

    def save(self, step: int, last: Any, best: Any, standing: dict) -> None:
        """Writes a checkpoint in the background, from a copy made now.

        Args:
          step: number of the checkpoint, larger than those before.
          last: pytree of arrays, the state of training.
          best: pytree of arrays, the model to be evaluated.
          standing: what JSON can hold.

        Raises:
          ValueError: if the folder holds a checkpoint of that number or a larger one.
        """
        save = self._args.StandardSave
        items = {
            _LAST: save(last),
            _BEST: save(best),
            _STANDING: self._args.JsonSave(standing),
        }
        if not self._manager.save(step, args=self._args.Composite(**items)):
            raise ValueError(
                f"{self._folder} already holds the checkpoint of step "
                f"{self._manager.latest_step()}, and step {step} is not a later one: "
                "choose a new folder."
            )

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
        self._check_same(self._manager.item_metadata(step)[_BEST].tree, like)
        shapes = jax.tree.map(_shape, like)
        items = {
            _BEST: self._args.StandardRestore(shapes),
            _STANDING: self._args.JsonRestore(),
        }
        restored = self._manager.restore(step, args=self._args.Composite(**items))
        return restored[_BEST], restored[_STANDING]

    def _check_same(self, stored: Any, like: Any) -> None:
        there, here = _shapes_by_name(stored), _shapes_by_name(like)
        for name in sorted({*there, *here}):
            if there.get(name) != here.get(name):
                raise ValueError(
                    f"{self._folder} is of another model: {name} is "
                    f"{there.get(name, 'missing')} there and "
                    f"{here.get(name, 'missing')} here. Build the model with the "
                    "settings of the run."
                )

    def __enter__(self) -> "Checkpoints":
        """Nothing happens: the folder is open since construction."""
        return self

    def __exit__(self, *error: object) -> None:
        """Waits until everything is written."""
        self._manager.close()


def _shapes_by_name(tree: Any) -> dict[str, tuple[int, ...]]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def _shape(array: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)

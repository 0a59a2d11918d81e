"""Orbax checkpoints of a run: the last state and the best model, written as one."""

import pathlib
import shutil
import sys
from typing import Any, NamedTuple

import jax

__all__ = ["Checkpoint", "Checkpoints"]

_ITEMS = _LAST, _BEST, _STANDING = "last", "best", "standing"


class Checkpoint(NamedTuple):
    """What one checkpoint holds.

    Attributes:
      last: the state of training.
      best: the model to be evaluated.
      standing: where training stands, as JSON holds it.
    """

    last: Any
    best: Any
    standing: dict


class Checkpoints:
    """The checkpoints in a folder; a new one appears whole or not at all.

    The newest two are kept, and an older one is removed only once a newer one is there.
    Reading falls back from a checkpoint that is damaged to the one before, and says so
    on standard error.

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
          OSError: if this checkpoint, or the one before, cannot be written; those that
            were there stay.
        """
        save = self._args.StandardSave
        items = {
            _LAST: save(last),
            _BEST: save(best),
            _STANDING: self._args.JsonSave(standing),
        }
        try:
            saved = self._manager.save(step, args=self._args.Composite(**items))
        except Exception as error:
            raise self._not_written(error) from error
        if not saved:
            raise ValueError(
                f"{self._folder} already holds the checkpoint of step "
                f"{self._manager.latest_step()}, and step {step} is not a later one: "
                "choose a new folder."
            )

    def newest(self, last: Any, best: Any) -> Checkpoint | None:
        """The newest checkpoint that can be read; None without any.

        What is damaged or was left unfinished is removed: training writes it again.

        Args:
          last: pytree of arrays with the structure, shapes, types and sharding of the
            state to be restored.
          best: likewise, of the best model.

        Raises:
          ValueError: if the checkpoint holds something else.
        """
        for unfinished in self._folder.glob("*.orbax-checkpoint-tmp"):
            shutil.rmtree(unfinished)
        found = self._first_readable({_LAST: last, _BEST: best})
        step, restored = found or (-1, None)
        for damaged in [s for s in self._manager.all_steps() if s > step]:
            self._manager.delete(damaged)
        return restored and Checkpoint(*(restored[name] for name in _ITEMS))

    def best(self, like: Any) -> tuple[Any, dict]:
        """The best model of the newest checkpoint, and where training stood.

        Args:
          like: pytree of arrays with the structure, shapes and types to be restored.

        Raises:
          FileNotFoundError: if there is no checkpoint.
          ValueError: if the checkpoint holds something else.
        """
        found = self._first_readable({_BEST: like})
        if found is None:
            raise FileNotFoundError(
                f"{self._folder} holds no checkpoint: train first, with "
                f"`robustlabels train --workdir={self._folder.parent}`."
            )
        _, restored = found
        return restored[_BEST], restored[_STANDING]

    def _first_readable(self, like: dict[str, Any]) -> tuple[int, Any] | None:
        """Step and items of the newest checkpoint that is not damaged."""
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step, *before in (steps[i : i + 2] for i in range(len(steps))):
            try:
                return step, self._read(step, like)
            except _OfAnotherModel as error:
                raise ValueError(str(error)) from None
            except Exception as error:  # Orbax has no error of its own for damage.
                instead = "there is none before it"
                if before:
                    instead = f"the one of step {before[0]} is tried instead"
                print(
                    f"The checkpoint of step {step} in {self._folder} cannot be read "
                    f"({type(error).__name__}); {instead}.",
                    file=sys.stderr,
                )
        return None

    def _read(self, step: int, like: dict[str, Any]) -> Any:
        metadata = self._manager.item_metadata(step)
        for name, tree in like.items():
            self._check_same(metadata[name].tree, tree)
        items: dict[str, Any] = {_STANDING: self._args.JsonRestore()}
        for name, tree in like.items():
            items[name] = self._args.StandardRestore(jax.tree.map(_shape, tree))
        return self._manager.restore(step, args=self._args.Composite(**items))

    def _check_same(self, stored: Any, like: Any) -> None:
        there, here = _shapes_by_name(stored), _shapes_by_name(like)
        for name in sorted({*there, *here}):
            if there.get(name) != here.get(name):
                raise _OfAnotherModel(
                    f"{self._folder} is of another model: {name} is "
                    f"{there.get(name, 'missing')} there and "
                    f"{here.get(name, 'missing')} here. Build the model with the "
                    "settings of the run."
                )

    def _not_written(self, error: Exception) -> OSError:
        return OSError(
            f"a checkpoint could not be written into {self._folder} "
            f"({str(error).splitlines()[0]}). The one before is still there: make "
            "room, and the same command goes on from it."
        )

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
          OSError: if something cannot be; what was there stays.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._not_written(error) from error

    def __enter__(self) -> "Checkpoints":
        """Nothing happens: the folder is open since construction."""
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        """Waits until everything is written; an earlier error hides one from here."""
        try:
            self.wait()
        except OSError:
            if kind is None:
                raise
        finally:
            self._manager.close()


class _OfAnotherModel(Exception):
    """Not damage: falling back would not help."""


def _shapes_by_name(tree: Any) -> dict[str, tuple[int, ...]]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


def _shape(array: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=array.sharding)

"""What a training leaves in its run's folder, and how it goes on from there."""

import contextlib
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from robustlabels.training.checkpoints import Checkpoints
from robustlabels.training.metrics import MetricsWriter
from robustlabels.training.standing import Position, Standing
from robustlabels.training.step import TrainState


class RunFolder(contextlib.ExitStack):
    """Metrics and checkpoints of a run; without a folder it keeps nothing.

    Args:
      workdir: the run's folder, or None.
      settings: what the numbers depend on; only a training with the same ones goes on.
      seeds: of the replicas.
    """

    def __init__(
        self,
        workdir: str | pathlib.Path | None,
        settings: Mapping[str, Any],
        seeds: Sequence[int],
    ):
        super().__init__()
        self._workdir = None if workdir is None else pathlib.Path(workdir)
        self._settings = dict(settings)
        self._seeds = seeds

    def open(self, state: TrainState, best: Any) -> Position | None:
        """Opens the files, and returns where training goes on; None at its start.

        Args:
          state: what a checkpoint has to hold, replicas in front.
          best: likewise, the models.

        Raises:
          ValueError: if the folder belongs to another training.
          OSError: if it cannot be written.
        """
        if self._workdir is None:
            return None
        folder = self._workdir / "checkpoints"
        self._checkpoints = self.enter_context(Checkpoints(folder))
        found = self._checkpoints.newest(state, best)
        position = None
        if found is not None:
            self._check_same(found.standing)
            position = Position(
                step=found.standing["step"],
                state=found.last,
                best=found.best,
                standings=tuple(Standing(**s) for s in found.standing["replicas"]),
                sums=found.standing["sums"],
            )
        after = 0 if position is None else position.step
        self._metrics = self.enter_context(MetricsWriter(self._workdir, after=after))
        return position

    def _check_same(self, standing: Mapping[str, Any]) -> None:
        before = standing["settings"]
        for name in before.keys() | self._settings.keys():
            there, here = before.get(name), self._settings.get(name)
            if there != here:
                raise ValueError(
                    f"{self._workdir} holds a training with {name}={there}, and "
                    f"{name}={here} would be another one: choose another folder, or "
                    f"{name}={there}."
                )
        devices, now = standing["num_devices"], jax.device_count()
        if devices != now:
            print(
                f"{self._workdir} was begun on {devices} devices, and goes on on {now}:"
                " figures agree up to rounding, but not to the bit.",
                file=sys.stderr,
            )

    def write(
        self,
        step: int,
        replica: int,
        figures: Mapping[str, float | int | list[float]],
    ) -> None:
        """Writes the figures of a replica at a step."""
        if self._workdir is None:
            return
        seed = self._seeds[replica]
        tag = "{}" if len(self._seeds) == 1 else f"{{}}/seed_{seed}"
        self._metrics.write(step, {"seed": seed, **figures}, tag=tag)

    def save(self, position: Position, *, wait: bool = False) -> None:
        """Writes a checkpoint, in the background unless it is waited for.

        Raises:
          OSError: if it cannot be written; the one before stays.
        """
        if self._workdir is None:
            return
        standing = {
            "step": position.step,
            "replicas": [standing._asdict() for standing in position.standings],
            "sums": position.sums,
            "settings": self._settings,
            "num_devices": jax.device_count(),
        }
        self._checkpoints.save(position.step, position.state, position.best, standing)
        if wait:
            self._checkpoints.wait()

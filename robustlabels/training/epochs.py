"""Epochs of replicas, as a sequence of positions between which training may end."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from robustlabels.training import replicas
from robustlabels.training.standing import Diverged, Position, Standing
from robustlabels.training.step import TrainState


@dataclasses.dataclass(frozen=True)
class Epochs:
    """All that does not change while replicas are trained.

    Attributes:
      programs: of the replicas.
      seeds: of each replica.
      keys: of each replica, [replicas].
      num_examples: to train on.
      passes: how many times an epoch visits each of them.
      batch_size: examples a step.
      num_epochs: to train for.
      stretch: most steps in one program.
      patience: epochs without a better one after which a replica stops; 0 never does.
      learning_rate: for the record.
      learned: (params of the objective) -> arrays by name, for the record.
    """

    programs: replicas.Programs
    seeds: Sequence[int]
    keys: Key[Array, " replicas"]
    num_examples: int
    passes: int
    batch_size: int
    num_epochs: int
    stretch: int
    patience: int
    learning_rate: optax.Schedule
    learned: Callable

    @property
    def visits(self) -> int:
        """Examples an epoch, each as many times as it is visited."""
        return self.num_examples * self.passes

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return math.ceil(self.visits / self.batch_size)

    def start(self, state: TrainState) -> Position:
        """The untrained models, validated: epoch 0."""
        best = jax.tree.map(jnp.copy, self.programs.candidate(state))
        standings = tuple(
            Standing(0, 0, error, loss) for loss, error in self._validated(best)
        )
        return Position(0, state, best, standings, self._no_sums())

    def over(self, position: Position) -> bool:
        """Whether there is nothing left to train."""
        stopped = (s.stopped(self.patience) for s in position.standings)
        return position.step == self.num_epochs * self.steps or all(stopped)

    def onwards(
        self, position: Position, write: Callable, advance: Callable
    ) -> Iterator[Position]:
        """Trains on from a position, and yields every one that can be gone on from.

        Args:
          position: its arrays are donated, as are those of every position once the
            next one is asked for.
          write: (step, replica, figures), called at the end of an epoch.
          advance: (steps, **figures), called after each stretch.

        Raises:
          Diverged: at a loss that is not finite.
        """
        for epoch in range(position.step // self.steps + 1, self.num_epochs + 1):
            if self.over(position):
                return
            began, resumed_at = time.monotonic(), position.step % self.steps
            for came_to in self._stretches(position, epoch, advance):
                position = came_to
                if position.step < epoch * self.steps:
                    yield position
            candidate = self.programs.candidate(position.state)
            validated = self._validated(candidate)
            before = position.standings
            position = self._with_best(position, candidate, validated, epoch)
            share = 1 - resumed_at / self.steps
            speed = share * self.visits / (time.monotonic() - began)
            for replica, (loss, error) in enumerate(validated):
                if before[replica].stopped(self.patience):
                    continue
                loss_sum, hits = position.sums[replica]
                figures = {
                    "epoch": epoch,
                    "train_loss": loss_sum / self.visits,
                    "train_accuracy": hits / self.visits,
                    "validation_loss": loss,
                    "validation_error": error,
                    "learning_rate": self._rate(position.step - 1),
                    "examples_per_second": speed,
                    **self._of_objective(candidate, replica),
                }
                write(position.step, replica, figures)
            position = position._replace(sums=self._no_sums())
            yield position

    def _stretches(
        self, position: Position, epoch: int, advance: Callable
    ) -> Iterator[Position]:
        """The rest of an epoch, one program after another."""
        order, mask = replicas.batches(
            self.num_examples, self.batch_size, self.seeds, epoch, self.passes
        )
        for start in range(position.step % self.steps, self.steps, self.stretch):
            part = np.s_[:, start : start + self.stretch]
            counts = mask[part].sum(axis=-1)
            state, metrics = self.programs.run(
                position.state, order[part], mask[part], self.keys
            )
            losses, accuracies = np.asarray(metrics.loss), np.asarray(metrics.accuracy)
            self._stop_if_diverged(losses, position, "loss")
            sums = [
                [loss_sum + float(loss @ count), hits + float(accuracy @ count)]
                for (loss_sum, hits), loss, accuracy, count in zip(
                    position.sums, losses, accuracies, counts, strict=True
                )
            ]
            step = position.step + losses.shape[1]
            position = position._replace(step=step, state=state, sums=sums)
            advance(losses.shape[1], epoch=str(epoch), loss=float(losses[0, -1]))
            yield position

    def _with_best(
        self,
        position: Position,
        candidate: Any,
        validated: list[list[float]],
        epoch: int,
    ) -> Position:
        """The position with the models that are better than the best ones before."""
        losses = np.array(validated)[:, :1]
        last = position._replace(step=position.step - 1)
        self._stop_if_diverged(losses, last, "validation loss")
        standings, better = [], []
        for standing, (loss, error) in zip(position.standings, validated, strict=True):
            running = not standing.stopped(self.patience)
            better.append(running and (error, loss) < standing[2:])
            if better[-1]:
                standing = Standing(epoch, epoch, error, loss)
            elif running:
                standing = standing._replace(epoch=epoch)
            standings.append(standing)
        best = position.best
        if any(better):
            best = self.programs.keep(np.array(better), candidate, best)
        return position._replace(best=best, standings=tuple(standings))

    def _validated(self, candidate: Any) -> list[list[float]]:
        """Loss and error of each replica on the validation split."""
        return self.programs.validate(candidate).tolist()

    def _of_objective(self, candidate: Any, replica: int) -> dict[str, Any]:
        """What the objective has learned: an entry a class, and how these spread."""
        _, _, params = candidate
        figures = {}
        learned = self.learned(jax.tree.map(lambda x: x[replica], params))
        for name, values in learned.items():
            values = np.asarray(values, np.float64)
            figures |= {
                f"{name}_mean": float(values.mean()),
                f"{name}_min": float(values.min()),
                f"{name}_max": float(values.max()),
                name: values.tolist(),
            }
        return figures

    def _no_sums(self) -> list[list[float]]:
        return [[0.0, 0.0] for _ in self.seeds]

    def _rate(self, step: int) -> float:
        return float(np.asarray(self.learning_rate(step)))

    def _stop_if_diverged(
        self,
        losses: Float[np.ndarray, "replicas steps"],
        position: Position,
        what: str,
    ) -> None:
        """Raises at the first loss of a running replica that is not finite."""
        for replica, standing in enumerate(position.standings):
            bad = np.flatnonzero(~np.isfinite(losses[replica]))
            if standing.stopped(self.patience) or not bad.size:
                continue
            step = position.step + int(bad[0])
            raise Diverged(
                f"training of seed {self.seeds[replica]} diverged: the {what} is "
                f"{losses[replica, bad[0]]} at step {step}, where the learning rate is "
                f"{self._rate(step):.3g}. Use a smaller one or a warm-up; checkpoints "
                "of a good model were kept.",
                step,
            )

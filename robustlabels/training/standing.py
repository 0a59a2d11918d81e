"""What training says of itself: where it stands, what it found, why it ended."""

from typing import Any, NamedTuple

from flax import nnx

from robustlabels.objective import Classifier, Objective
from robustlabels.training.step import TrainState

__all__ = ["Diverged", "Fitted", "Position", "Standing"]


class Diverged(RuntimeError):
    """The training or the validation loss is no number any more.

    Attributes:
      step: the first at which it is none.
    """

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


class Standing(NamedTuple):
    """Where training stands and what was best so far; JSON can hold it."""

    epoch: int
    best_epoch: int
    validation_error: float
    validation_loss: float

    def stopped(self, patience: int) -> bool:
        """Whether there was no better epoch for so many; 0 never stops."""
        return bool(patience) and self.epoch - self.best_epoch >= patience


class Fitted(NamedTuple):
    """What training found best on validation, replica by replica.

    Attributes:
      models: the best model of each.
      objectives: of the end of training, with what was learned beside the model.
      classifiers: both in one.
      standings: epochs taken by each, the best of them, and its validation figures.
    """

    models: tuple[nnx.Module, ...]
    objectives: tuple[Objective, ...]
    classifiers: tuple[Classifier, ...]
    standings: tuple[Standing, ...]

    @property
    def classifier(self) -> Classifier:
        """The first replica's: the only one of a single model."""
        return self.classifiers[0]

    @property
    def standing(self) -> Standing:
        """The first replica's: the only one of a single model."""
        return self.standings[0]


class Position(NamedTuple):
    """Where training stands between two stretches: all that a checkpoint holds.

    Attributes:
      step: how many steps each replica took.
      state: of training, replicas in front.
      best: the best models so far, replicas in front.
      standings: of the replicas.
      sums: of the loss and of the hits over the examples of this epoch so far,
        [replicas][2].
    """

    step: int
    state: TrainState
    best: Any
    standings: tuple[Standing, ...]
    sums: list[list[float]]

"""An attack on a whole split: who falls at which epsilon, and by which image.

A batch has a number of slots, and each holds one example at one epsilon. What is
decided wrongly has fallen and leaves; what survives all steps goes on at the next
epsilon, and leaves after the last; free slots take the next examples. So no step is
spent on what has fallen, and the devices see one shape; of a long attack on the few
that are left at the end, two or three.

Decisions are judged after every ten steps (`JUDGED_EVERY`) and after the last step of
an epsilon, not only then: each image on the way is in the ball, so one that is decided
wrongly is an adversarial example, whatever later steps make of it.
"""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int, Key

from robustlabels._stopping import Stop, Stopped, never
from robustlabels.data import Split
from robustlabels.evaluation import ledger as ledgers
from robustlabels.evaluation.budgets import Attack
from robustlabels.evaluation.outcome import Outcome, nothing_yet, to_arrays
from robustlabels.evaluation.programs import (
    JUDGED_EVERY,
    Programs,
    correct,
    make_programs,
    of_images,
    over,
)
from robustlabels.evaluation.slots import Slots
from robustlabels.objective import Classifier

__all__ = ["JUDGED_EVERY", "Attacker", "make_attacker"]

_SECONDS_BETWEEN_SAVES = 5.0


@dataclasses.dataclass(frozen=True)
class Attacker:
    """An attack by one loss, compiled for splits, classifiers and epsilons to come.

    From `make_attacker`. Replicas that differ in their weights alone need no recompile.
    """

    programs: Programs
    correct: Callable
    mesh: Mesh
    batch_size: int
    cell: Any

    @property
    def num_steps(self) -> int:
        """Steps that an example takes at an epsilon, or in its search."""
        return self.programs.num_steps

    @property
    def minimum(self) -> str | None:
        """Norm of a search for the nearest image; None within a ball."""
        return self.programs.minimum

    def digest(
        self,
        classifier: Classifier,
        split: Split,
        epsilons: Sequence[float],
        *,
        key: Key[Array, ""],
        towards: Int[np.ndarray, " n"] | None = None,
        ceiling: Int[np.ndarray, " n"] | None = None,
    ) -> str:
        """A hash of all that an outcome depends on; arguments as of the call."""
        return ledgers.digest(
            self.cell,
            list(map(float, epsilons)),
            jax.random.key_data(key),
            split,
            towards,
            classifier,
            *([] if ceiling is None else [ceiling]),
        )

    def __call__(
        self,
        classifier: Classifier,
        split: Split,
        epsilons: Sequence[float],
        *,
        key: Key[Array, ""],
        right: Bool[np.ndarray, " n"] | None = None,
        towards: Int[np.ndarray, " n"] | None = None,
        ceiling: Int[np.ndarray, " n"] | None = None,
        ledger: str | os.PathLike | None = None,
        advance: Callable[[int], Any] = lambda steps: None,
        stop: Stop = never,
    ) -> Outcome:
        """Attacks every example of a split that is right when clean.

        Args:
          classifier: what is attacked, a pytree of arrays.
          split: images and class ids.
          epsilons: growing.
          key: example i draws from this key folded with i, so that neither the batch
            size nor the devices nor other examples matter to it.
          right: which examples the classifier decides correctly when clean; found out
            if it is not given.
          towards: class ids that the loss is given instead of the true ones, for
            attacks towards a class; decisions are judged by the true ones always.
          ceiling: of each example, the index of the first epsilon at which it is not
            attacked, for it is known to fall there; by default there is none.
          ledger: a file to note in how far it came, every few seconds and at the end;
            another call with the same arguments goes on from there.
          advance: is told of steps that are done, or no longer needed; they add up to
            `num_units`.
          stop: asked after every chunk of steps whether to stop.

        Raises:
          ValueError: for an empty split, or epsilons that do not grow.
          Stopped: if asked to stop; the ledger is written.
          OSError: if the ledger cannot be written; what was there before stays.

        Guarantees: with a ledger, a call that was stopped or killed and is made again
        on as many devices returns the same outcome, bit for bit.
        """
        if not epsilons or not np.all(np.diff(epsilons) > 0):
            raise ValueError(f"epsilons={list(epsilons)} do not grow: sort them.")
        if ledger is not None and self.cell is None:
            raise ValueError(
                "an attacker without a cell cannot tell its ledger from another's: "
                "call make_attacker with cell=[name, parameters]."
            )
        file, digest, stored = None, "", None
        if ledger is not None:
            file = pathlib.Path(ledger)
            digest = self.digest(
                classifier, split, epsilons, key=key, towards=towards, ceiling=ceiling
            )
            stored = ledgers.load(file, digest)
        if stored is None:
            right = self._right(classifier, split) if right is None else right
            stored = to_arrays(nothing_yet(split, right))
        complete = "finished" in stored and bool(stored["finished"].all())
        run = Slots(
            self.programs,
            self.mesh,
            self.batch_size,
            classifier,
            split,
            epsilons,
            key=key,
            towards=split.labels if towards is None else towards,
            start=stored,
            ceiling=_full(split, epsilons) if ceiling is None else ceiling,
        )
        advance(run.units)
        saved, pause = time.monotonic(), _SECONDS_BETWEEN_SAVES
        while run.fill():
            asked = stop()
            if file and (asked or time.monotonic() - saved > pause):
                began = time.monotonic()
                ledgers.save(file, digest, run.snapshot())
                saved = time.monotonic()
                # What is large is saved less often: a twentieth of the time at most.
                pause = max(_SECONDS_BETWEEN_SAVES, 20 * (saved - began))
            if asked:
                total = self.num_units(len(split.labels), len(epsilons))
                raise Stopped(f"attacking stopped at step {run.units}/{total}")
            advance(run.step())
        if file and not complete:
            ledgers.save(file, digest, run.snapshot())
        return run.outcome

    def num_units(self, num_examples: int, num_epsilons: int) -> int:
        """What `advance` is told of in all: steps of all examples at all epsilons."""
        rounds = 1 if self.minimum else num_epsilons
        return num_examples * rounds * max(self.num_steps, 1)

    def _right(self, classifier: Classifier, split: Split) -> Bool[np.ndarray, " n"]:
        return over(
            self.correct,
            classifier,
            split,
            mesh=self.mesh,
            batch_size=self.batch_size,
        )


def _full(split: Split, epsilons: Sequence[float]) -> Int[np.ndarray, " n"]:
    """The ceiling of examples of which nothing is known."""
    return np.full(len(split.labels), len(epsilons), np.int32)


def make_attacker(
    attack: Attack,
    loss_of: Callable[[Classifier], Callable],
    *,
    mesh: Mesh,
    batch_size: int,
    cell: Any = None,
) -> Attacker:
    """Prepares an attack that ascends a loss of a classifier.

    Args:
      attack: from `budgets`.
      loss_of: (classifier) -> (x, y) -> [batch].
      mesh: the devices that share the examples.
      batch_size: how many examples are attacked at a time.
      cell: what tells this attack and loss from others, such as its name and its
        parameters; a ledger holds only for the same. Numbers, text and what nests them.

    Raises:
      ValueError: for a batch size below 1, when it is called.

    >>> from robustlabels import objective, parallel
    >>> from robustlabels.evaluation import budgets
    >>> softmax = objective.softmax().at({}, 1.0)
    >>> classifier = objective.bind(softmax, lambda x: x[:, 0, 0])
    >>> images = np.array([[0.6, 0.4], [0.9, 0.1]], np.float32).reshape(2, 1, 1, 2)
    >>> attacker = make_attacker(
    ...     budgets.fgsm(), lambda c: c.loss, mesh=parallel.make_mesh(), batch_size=1000
    ... )
    >>> split = Split(images, np.zeros(2, np.int32))
    >>> print(attacker(classifier, split, [0.1, 0.2], key=jax.random.key(0)).fallen)
    [1 2]
    """
    return Attacker(
        make_programs(attack, loss_of, mesh),
        of_images(correct, mesh),
        mesh,
        batch_size,
        cell,
    )

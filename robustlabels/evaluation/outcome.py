"""What became of the examples of a split under an attack."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from robustlabels.data import Split, as_float

__all__ = ["Outcome", "Shown", "from_arrays", "nothing_yet", "to_arrays"]

_NUM_SHOWN = 10


class Shown(NamedTuple):
    """Attacked images to look at: of the first ten examples that are right when clean.

    Attributes:
      examples: [g], their indices.
      perturbed: [g, h, w, c], the image by which each fell, or the last one at the
        largest epsilon of an example that stands.
      decisions: [g], on that image.
      confidences: [g], in that decision.
    """

    examples: Int[np.ndarray, " g"]
    perturbed: Float[np.ndarray, "g h w c"]
    decisions: Int[np.ndarray, " g"]
    confidences: Float[np.ndarray, " g"]


class Outcome(NamedTuple):
    """What became of each example; figures of an image where one fell, else 0.

    Attributes:
      fallen: index of the smallest epsilon at which it fell, the number of epsilons if
        it stands at all, -1 if it is wrong without any attack, and never attacked.
      decision: on the image by which it fell.
      confidence: in that decision.
      distances: [n, 4] of that image from the clean one: how many values changed, and
        L1, L2 and Linf.
      survives_rounding: whether it is still wrong in 8 bits a pixel.
      shown: images to look at.
    """

    fallen: Int[np.ndarray, " n"]
    decision: Int[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    distances: Float[np.ndarray, "n 4"]
    survives_rounding: Bool[np.ndarray, " n"]
    shown: Shown


def nothing_yet(split: Split, right: Bool[np.ndarray, " n"]) -> Outcome:
    """The outcome before any attack.

    Args:
      split: images and class ids.
      right: which of them are decided correctly.

    >>> split = Split(np.zeros((3, 1, 1, 1), np.uint8), np.zeros(3, np.int32))
    >>> print(nothing_yet(split, np.array([True, False, True])).fallen)
    [ 0 -1  0]
    """
    size, examples = len(split.labels), np.flatnonzero(right)[:_NUM_SHOWN]
    shown = Shown(
        examples=examples,
        perturbed=np.array(as_float(split.images[examples])),
        decisions=split.labels[examples],
        confidences=np.zeros(len(examples), np.float32),
    )
    return Outcome(
        fallen=np.where(right, 0, -1).astype(np.int32),
        decision=np.zeros(size, np.int32),
        confidence=np.zeros(size, np.float32),
        distances=np.zeros((size, 4), np.float32),
        survives_rounding=np.zeros(size, bool),
        shown=shown,
    )


def to_arrays(outcome: Outcome) -> dict[str, np.ndarray]:
    """An outcome as arrays by name, for a file."""
    fields = outcome._asdict()
    shown = fields.pop("shown")._asdict()
    return {**fields, **{f"shown_{name}": array for name, array in shown.items()}}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Outcome:
    """An outcome from `to_arrays`; other names are left alone.

    >>> split = Split(np.zeros((3, 1, 1, 1), np.uint8), np.zeros(3, np.int32))
    >>> outcome = nothing_yet(split, np.array([True, False, True]))
    >>> print(from_arrays(to_arrays(outcome)).fallen)
    [ 0 -1  0]
    """
    shown = Shown(**{name: arrays[f"shown_{name}"] for name in Shown._fields})
    names = set(Outcome._fields) - {"shown"}
    return Outcome(**{name: arrays[name] for name in names}, shown=shown)

"""What became of the examples of a split under an attack."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from robustlabels.data import Split, as_float

__all__ = [
    "DISTANCES",
    "Outcome",
    "Shown",
    "distances_found",
    "fell",
    "from_arrays",
    "joined",
    "nothing_yet",
    "of_fallen",
    "to_arrays",
]

DISTANCES = ("l0", "l1", "l2", "linf")  # of an image from the clean one, in a row
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

    Of a search for the nearest image, figures are of the image found, however far.

    Attributes:
      fallen: index of the smallest epsilon at which it fell, that of the first one at
        which it was not attacked if it stands at all, which is the number of epsilons
        unless it was known to fall, -1 if it is wrong without any attack, and never
        attacked.
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


def joined(before: Outcome, after: Outcome) -> Outcome:
    """What became of each example under two attacks, the second on what stood.

    Args:
      before: of the first attack.
      after: of the second, at the epsilons below those at which examples fell before.

    >>> split = Split(np.zeros((2, 1, 1, 1), np.uint8), np.zeros(2, np.int32))
    >>> before = nothing_yet(split, np.array([True, True]))
    >>> after = before._replace(fallen=np.array([0, 1], np.int32))
    >>> before = before._replace(fallen=np.array([1, 1], np.int32))
    >>> print(joined(before, after).fallen)
    [0 1]
    """
    newer = after.fallen < before.fallen

    def chosen(flags, new, old):
        return np.where(flags.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    fields = {
        name: chosen(newer, getattr(after, name), getattr(before, name))
        for name in set(Outcome._fields) - {"shown"}
    }
    shown_newer = newer[before.shown.examples]
    shown = Shown(
        before.shown.examples,
        *(
            chosen(shown_newer, new, old)
            for new, old in zip(after.shown[1:], before.shown[1:], strict=True)
        ),
    )
    return Outcome(**fields, shown=shown)


def fell(outcome: Outcome, level: int) -> Bool[np.ndarray, " n"]:
    """Which examples stood without the attack, and fell up to an epsilon.

    Args:
      outcome: of the attack.
      level: index of the epsilon.
    """
    return (outcome.fallen >= 0) & (outcome.fallen <= level)


def of_fallen(outcome: Outcome, level: int) -> dict[str, Any]:
    """What a record says of the images by which examples fell up to an epsilon.

    Args:
      outcome: of the attack.
      level: index of the epsilon.
    """
    down = fell(outcome, level)
    distances = zip(DISTANCES, outcome.distances[down].T, strict=True)
    return {
        "n": int(down.sum()),
        "confidence": _median(outcome.confidence[down]),
        **{name: _median(lengths) for name, lengths in distances},
        "survive_8_bits": int(outcome.survives_rounding[down].sum()),
    }


def distances_found(outcome: Outcome, pixels: int) -> dict[str, Any]:
    """What a finding says of the nearest images: how many there are, and how far.

    Args:
      outcome: of a search for the nearest image.
      pixels: how many values an image has.
    """
    l2, linf = (outcome.distances[:, DISTANCES.index(n)] for n in ("l2", "linf"))
    found = l2 > 0
    return {
        "found": int(found.sum()),
        "l2": _quartiles(l2[found]),
        "linf": _quartiles(linf[found]),
        "rms": _quartiles(l2[found] / math.sqrt(pixels)),
    }


def _quartiles(distances: Float[np.ndarray, " n"]) -> dict[str, float] | None:
    """Mean and quartiles of distances, in pixels; None of none."""
    if not len(distances):
        return None
    low, median, high = np.quantile(distances, (0.25, 0.5, 0.75)).tolist()
    mean = float(distances.mean(dtype=np.float64))
    return {"mean": mean, "low": low, "median": median, "high": high}


def _median(values: Float[np.ndarray, " n"]) -> float | None:
    return float(np.median(values)) if len(values) else None


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

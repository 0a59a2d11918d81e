"""Who goes into which split, and whose label is swapped: all by seed, in NumPy."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int, Int32

# A stream of random numbers for each purpose: seeds are pairs (seed, purpose).
TEST, VALIDATION, FRACTION, PAIRING, SWAPS, FAKE, VALIDATION_SWAPS = range(7)


def order(
    labels: Int32[np.ndarray, " n"], *, seed: int | Sequence[int], balanced: bool
) -> Int[np.ndarray, " n"]:
    """An order of the examples by seed; each of its prefixes is a random subset.

    Subsets that are prefixes of one order are nested: 1 % lies within 2 %.

    Guarantees: a permutation; the same for the same labels and seed. Balanced, a
    prefix of k of n examples has k/n of each class up to
    1/2 + (number of classes)/2 · (share of the class), and classes of equal size
    never differ by more than one example.

    Args:
      labels: class ids.
      seed: of the random number generator; equal seeds give equal orders.
      balanced: interleave the classes in proportion to their size.

    >>> labels = np.array([0, 0, 0, 0, 1, 1], np.int32)
    >>> labels[order(labels, seed=0, balanced=True)[:3]]
    array([0, 1, 0], dtype=int32)
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    if not balanced:
        return shuffled
    share = np.empty(len(labels))  # how much of its own class comes before an example
    classes = labels[shuffled]
    for class_id in np.unique(classes):
        members = np.flatnonzero(classes == class_id)
        share[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(share, kind="stable")]


def class_partners(num_classes: int, *, seed: int) -> Int32[np.ndarray, " classes"]:
    """The class that each class exchanges labels with; classes are paired at random.

    Guarantees: its own inverse. Of an odd number of classes one stays alone and is
    its own partner.

    Args:
      num_classes: at least 1.
      seed: the seed that is given to `swap_labels`, or to `load`.

    >>> class_partners(5, seed=0)
    array([3, 2, 1, 0, 4], dtype=int32)
    """
    shuffled = np.random.default_rng((seed, PAIRING)).permutation(num_classes)
    partners = np.arange(num_classes, dtype=np.int32)
    first, second = shuffled[: num_classes - num_classes % 2].reshape(-1, 2).T
    partners[first], partners[second] = second, first
    return partners


def swap_labels(
    labels: Int32[np.ndarray, " n"],
    rate: float,
    *,
    num_classes: int,
    seed: int,
    purpose: int = SWAPS,
) -> Int32[np.ndarray, " n"]:
    """Gives a share of each class the label of the class it is paired with.

    The classes are paired by `class_partners`; `swap_matrix` is this noise as a matrix.

    Guarantees: of each class of n_c examples exactly round(rate · n_c) change (Python's
    round: halves to even), chosen without replacement; none of a class without a
    partner. What a rate changes, a larger rate with the same seed changes too.

    Args:
      labels: class ids in [0, num_classes).
      rate: in [0, 0.5).
      num_classes: number of classes.
      seed: of the pairing and of the choice.
      purpose: stream of the choice; another one pairs the classes alike.

    Raises:
      ValueError: for a rate that is out of range.

    >>> labels = np.repeat(np.arange(2, dtype=np.int32), 5)
    >>> np.flatnonzero(labels != swap_labels(labels, 0.4, num_classes=2, seed=0)).size
    4
    """
    check_swap_rate(rate=rate)
    partners = class_partners(num_classes, seed=seed)
    rng = np.random.default_rng((seed, purpose))
    swapped = labels.copy()
    for class_id, partner in enumerate(partners):
        members = rng.permutation(np.flatnonzero(labels == class_id))
        swapped[members[: round(rate * len(members))]] = partner
    return swapped


def swap_matrix(
    rate: float, *, num_classes: int, seed: int
) -> Float64[np.ndarray, "classes classes"]:
    """The noise of `swap_labels`: row i says how likely each label is for class i.

    Guarantees: 1 - rate on the diagonal and rate at the partner; 1 on the diagonal for
    a class without a partner.

    Args:
      rate, num_classes, seed: as given to `swap_labels`.

    Raises:
      ValueError: for a rate that is out of range.

    >>> print(swap_matrix(0.25, num_classes=3, seed=0))
    [[1.   0.   0.  ]
     [0.   0.75 0.25]
     [0.   0.25 0.75]]
    """
    check_swap_rate(rate=rate)
    partners, classes = class_partners(num_classes, seed=seed), np.arange(num_classes)
    matrix = np.diag(np.where(partners == classes, 1.0, 1.0 - rate))
    paired = classes[partners != classes]
    matrix[paired, partners[paired]] = rate
    return matrix


def check_swap_rate(**rates: float) -> None:
    """Raises for a rate outside of [0, 0.5), under the name its caller gives it.

    >>> check_swap_rate(swap_rate=0.5)
    Traceback (most recent call last):
    ValueError: swap_rate=0.5 is outside [0, 0.5). From one half on, a class looks \
like its partner: write 0.45 or less.
    """
    for name, rate in rates.items():
        if not 0 <= rate < 0.5:
            raise ValueError(
                f"{name}={rate} is outside [0, 0.5). From one half on, a class looks "
                "like its partner: write 0.45 or less."
            )

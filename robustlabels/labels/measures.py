"""How varied labels are, and how far apart."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Num

from robustlabels.labels.codebooks import check_codebook

__all__ = ["Spread", "Statistics", "statistics"]

_BINS, _BLOCK = 256, 2**22  # entries whose differences are held at a time


class Spread(NamedTuple):
    """Mean and standard deviation."""

    mean: float
    std: float


class Statistics(NamedTuple):
    """Measures of a codebook; see `statistics`."""

    entropy: Spread
    binned_entropy: Spread
    l1: Spread
    l2: Spread
    smallest_huber: float
    mean_huber: float
    spectral_norm: Spread | None
    column_sum: Spread | None


def statistics(
    codebook: Num[np.ndarray, " classes *cells"], *, matrix_norms: bool = False
) -> Statistics:
    """How varied labels are, and how far apart: Chen et al. (2021), Table 2.

    Entropy is over classes, in bits: of the values of a label as they are, which for
    different ones is the logarithm of their number and little else; and of 256 bins
    over the range of the codebook. The rest is over pairs of classes. Mean absolute
    difference (l1) and Euclidean distance (l2) are those of the codebook stretched to
    [0, 1]; the mean Huber loss between two labels, with a delta of 1, is that of the
    codebook as it is.

    What the authors' program prints as L1 and L2 is, of matrices, neither: it is the
    spectral norm, and the largest sum of absolute values in a column.

    Args:
      codebook: at least 2 classes, no two alike.
      matrix_norms: whether these norms are computed too, which takes long.

    Raises:
      ValueError: if it is no codebook; for the norms of labels of three axes or more.

    >>> found = statistics(np.eye(10))
    >>> [round(spread.mean, 3) for spread in (found.entropy, found.l1, found.l2)]
    [0.469, 0.2, 1.414]
    """
    labels = check_codebook(codebook, num_classes=len(codebook)).astype(np.float64)
    if matrix_norms and labels.ndim > 3:
        raise ValueError(
            f"labels of shape {labels.shape[1:]} have no matrix norms. Leave out "
            "matrix_norms."
        )
    smallest, span = labels.min(), np.ptp(labels)
    bins = np.minimum(_BINS * (labels - smallest) / span, _BINS - 1).astype(int)
    blocks = [_measured(d, matrix_norms) for d in _differences(labels)]
    l1, l2, huber, *norms = np.concatenate(blocks, axis=1)
    spreads = [_spread(norm / span) for norm in norms] or [None, None]
    return Statistics(
        _spread(np.array([_entropy(label) for label in labels])),
        _spread(np.array([_entropy(label) for label in bins])),
        _spread(l1 / span),
        _spread(l2 / span),
        float(huber.min()),
        float(huber.mean()),
        *spreads,
    )


def _differences(
    labels: Float64[np.ndarray, " classes *cells"],
) -> Iterator[Float64[np.ndarray, " pairs *cells"]]:
    """Every label less the ones before it, a block of pairs at a time."""
    step = max(1, _BLOCK // labels[0].size)
    for i in range(len(labels) - 1):
        for start in range(i + 1, len(labels), step):
            yield labels[start : start + step] - labels[i]


def _measured(
    difference: Float64[np.ndarray, " pairs *cells"], matrix_norms: bool
) -> Float64[np.ndarray, "measures pairs"]:
    """Mean absolute value, Euclidean norm and mean Huber loss; and matrix norms."""
    size = abs(difference).reshape(len(difference), -1)
    below = np.minimum(size, 1.0)
    huber = (below * (size - below / 2)).mean(axis=1)
    rows = [size.mean(axis=1), np.linalg.norm(size, axis=1), huber]
    if matrix_norms:
        axes = tuple(range(1, difference.ndim))
        rows += [np.linalg.norm(difference, order, axis=axes) for order in (2, 1)]
    return np.array(rows)


def _entropy(label: Num[np.ndarray, " *cells"]) -> float:
    _, counts = np.unique(label, return_counts=True)
    shares = counts / label.size
    return float(-(shares * np.log2(shares)).sum())


def _spread(values: Float64[np.ndarray, " n"]) -> Spread:
    return Spread(float(values.mean()), float(values.std()))

"""Calibration: whether a classifier is as often right as it says it is."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from robustlabels import _validate

__all__ = [
    "Histogram",
    "Reliability",
    "auroc",
    "binned",
    "brier_score",
    "confusion",
    "expected_calibration_error",
    "histogram",
    "negative_log_likelihood",
    "negative_log_likelihoods",
    "reliability",
    "spread",
    "top_k_accuracy",
]


class Reliability(NamedTuple):
    """What a reliability diagram shows.

    Attributes:
      edges: of the bins; each but the first is open on the left, closed on the right.
      counts: how many examples are in each bin.
      confidence: their mean confidence; NaN where there are none.
      accuracy: the share of them that is decided correctly; NaN where there are none.
    """

    edges: Float[np.ndarray, " edges"]
    counts: Int[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]


class Histogram(NamedTuple):
    """How many examples lie in each bin; see `Reliability` for the edges."""

    edges: Float[np.ndarray, " edges"]
    counts: Int[np.ndarray, " bins"]


def reliability(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    *,
    bins: int = 15,
) -> Reliability:
    """Accuracy beside confidence in equal bins of confidence, Guo et al. (2017).

    Args:
      confidence: in [0, 1].
      correct: which examples are decided correctly.
      bins: how many bins share [0, 1].

    Raises:
      ValueError: for a confidence outside of [0, 1].

    >>> correct = np.array([True, False, True])
    >>> diagram = reliability(np.array([0.1, 0.5, 0.9]), correct, bins=2)
    >>> print(diagram.counts, diagram.confidence, diagram.accuracy)
    [2 1] [0.3 0.9] [0.5 1. ]
    """
    edges, index = binned(confidence, bins)
    counts = np.bincount(index, minlength=bins)

    def mean(values):
        sums = np.bincount(index, weights=values, minlength=bins)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    return Reliability(edges, counts, mean(confidence), mean(correct))


def expected_calibration_error(
    confidence: Float[np.ndarray, " n"],
    correct: Bool[np.ndarray, " n"],
    *,
    bins: int = 15,
) -> float:
    """Mean distance of accuracy and confidence over the bins of `reliability`.

    Args:
      confidence: in [0, 1], of at least one example.
      correct: which examples are decided correctly.
      bins: how many bins share [0, 1].

    >>> correct = np.array([True, False])
    >>> print(expected_calibration_error(np.array([0.75, 0.75]), correct))
    0.25
    """
    _, counts, mean_confidence, accuracy = reliability(confidence, correct, bins=bins)
    gaps = np.nan_to_num(np.abs(accuracy - mean_confidence))
    return float(np.sum(counts * gaps) / len(confidence))


def negative_log_likelihood(
    scores: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> float:
    """The mean of `negative_log_likelihoods`.

    Args:
      scores: logits.
      labels: class ids.

    >>> print(round(negative_log_likelihood(np.zeros((1, 2)), np.array([0])), 4))
    0.6931
    """
    return float(np.mean(negative_log_likelihoods(scores, labels)))


def negative_log_likelihoods(
    scores: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """-log softmax(scores) at the label of each example; finite for finite scores.

    Args:
      scores: logits.
      labels: class ids.

    >>> scores = np.array([[0.0, 0.0], [0.0, 9.0]])
    >>> print(negative_log_likelihoods(scores, np.array([0, 0])).round(4))
    [0.6931 9.0001]
    """
    own = np.take_along_axis(_log_softmax(scores), labels[:, None], axis=1)
    return -own[:, 0]


def brier_score(
    scores: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]
) -> float:
    """Squared distance of softmax(scores) and the one-hot labels, Brier (1950).

    Args:
      scores: logits.
      labels: class ids.

    Guarantees: the mean over examples of a sum over classes, in [0, 2].

    >>> print(brier_score(np.zeros((1, 2)), np.array([0])))
    0.5
    """
    one_hot = np.arange(scores.shape[1]) == labels[:, None]
    squares = (np.exp(_log_softmax(scores)) - one_hot) ** 2
    return float(np.mean(np.sum(squares, axis=1)))


def top_k_accuracy(
    scores: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"], *, k: int
) -> float:
    """The share of examples whose label is among the k largest scores.

    Args:
      scores: the larger, the more the class is believed.
      labels: class ids.
      k: at least 1.

    Guarantees: of equal scores the smaller class id is larger, as in a decision, so
    that k = 1 is the accuracy.

    >>> scores, labels = np.array([[3.0, 2.0, 1.0], [1.0, 1.0, 1.0]]), np.array([1, 2])
    >>> print([top_k_accuracy(scores, labels, k=k) for k in (1, 2, 3)])
    [0.0, 0.5, 1.0]
    """
    _validate.count(k=k)
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    ahead = np.sum((scores > own) | ((scores == own) & earlier), axis=1)
    return float(np.mean(ahead < k))


def confusion(
    decisions: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"], *, num_classes: int
) -> Int[np.ndarray, "{num_classes} {num_classes}"]:
    """How often each class (row) is decided to be each class (column).

    Args:
      decisions: class ids.
      labels: class ids.
      num_classes: how many there are.

    >>> print(confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), num_classes=2))
    [[1 1]
     [0 1]]
    """
    cells = np.bincount(labels * num_classes + decisions, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def auroc(
    positive: Float[np.ndarray, " n"], negative: Float[np.ndarray, " m"]
) -> float:
    """The share of pairs whose positive value is larger; equal ones count half.

    It is the area under the receiver operating characteristic: 1 if a threshold parts
    the two, 0.5 if values say nothing of which is which.

    Args:
      positive: finite; of at least one example.
      negative: likewise.

    Raises:
      ValueError: if there are no pairs, or for a value that is not finite.

    >>> print(auroc(np.array([0.9, 0.5]), np.array([0.5, 0.1])))
    0.875
    """
    pairs = len(positive) * len(negative)
    if not pairs:
        raise ValueError(
            f"{len(positive)} positive and {len(negative)} negative values are no "
            "pairs: give one at least of both."
        )
    fix = "NaN is what a training that diverged leaves behind."
    _validate.in_range(-np.inf, np.inf, positive=positive, negative=negative, fix=fix)
    ranked = np.sort(negative)
    below = np.searchsorted(ranked, positive, side="left")
    not_above = np.searchsorted(ranked, positive, side="right")
    return float(np.sum(below + not_above) / (2 * pairs))


def histogram(confidence: Float[np.ndarray, " n"], *, bins: int = 20) -> Histogram:
    """How many examples lie in each of some equal bins of confidence.

    Args:
      confidence: in [0, 1].
      bins: how many bins share [0, 1].

    Raises:
      ValueError: for a confidence outside of [0, 1].

    >>> print(histogram(np.array([0.0, 0.5, 0.6, 1.0]), bins=2).counts)
    [2 2]
    """
    edges, index = binned(confidence, bins)
    return Histogram(edges, np.bincount(index, minlength=bins))


def spread(confidence: Float[np.ndarray, " n"]) -> dict[str, Any]:
    """Median, None without examples, and `histogram`, as findings hold them.

    Args:
      confidence: in [0, 1].

    Raises:
      ValueError: for a confidence outside of [0, 1].

    >>> spread(np.array([0.2, 0.9, 1.0]))["median_confidence"]
    0.9
    """
    found = histogram(confidence)
    return {
        "median_confidence": float(np.median(confidence)) if len(confidence) else None,
        "confidence_histogram": {
            "edges": found.edges.tolist(),
            "counts": found.counts.tolist(),
        },
    }


def binned(
    confidence: Float[np.ndarray, " n"], bins: int
) -> tuple[Float[np.ndarray, " edges"], Int[np.ndarray, " n"]]:
    """The edges of equal bins of [0, 1], and the bin of each confidence."""
    _validate.count(bins=bins)
    fix = "It is a share; NaN is what a training that diverged leaves behind."
    _validate.in_range(0.0, 1.0, confidence=confidence, fix=fix)
    edges = np.linspace(0.0, 1.0, bins + 1)
    return edges, np.maximum(np.searchsorted(edges, confidence) - 1, 0)


def _log_softmax(
    scores: Float[np.ndarray, "n classes"],
) -> Float[np.ndarray, "n classes"]:
    scores = scores.astype(np.float64)
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))

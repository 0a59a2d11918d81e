"""Matrices whose rows share one among the other classes."""

from typing import Any

import numpy as np
from jaxtyping import Array, Float64, Num

from robustlabels import _validate

__all__ = [
    "asymmetry",
    "check_similarity",
    "confusion_similarity",
    "rows_and_columns_scaled",
    "rows_scaled",
    "uniform_similarity",
]

Square = Float64[np.ndarray, "classes classes"]

_TOLERANCE, _CONVERGED = 1e-6, 1e-13


def uniform_similarity(num_classes: int) -> Square:
    """Every other class is equally similar: mixing with it is label smoothing.

    >>> print(uniform_similarity(3))
    [[0.  0.5 0.5]
     [0.5 0.  0.5]
     [0.5 0.5 0. ]]
    """
    _validate.count(minimum=2, num_classes=num_classes)
    return (1 - np.eye(num_classes)) / (num_classes - 1)


def confusion_similarity(confusion: Any) -> Square:
    """Classes are as similar as they are confused.

    Args:
      confusion: [classes, classes] counts, rows by the true class and columns by the
        decision. The diagonal does not count; a class that is never confused is equally
        similar to all others.

    Raises:
      ValueError: for a matrix that is not square, or an entry that is negative.

    >>> print(confusion_similarity([[8, 1, 3], [0, 9, 2], [0, 0, 7]]))
    [[0.   0.25 0.75]
     [0.   0.   1.  ]
     [0.5  0.5  0.  ]]
    """
    counts = _square(confusion=confusion)
    np.fill_diagonal(counts, 0.0)
    never = ~counts.any(axis=1)
    counts[never] = uniform_similarity(len(counts))[never]
    return rows_scaled(counts)


def check_similarity(matrix: Any) -> Square:
    """The same matrix as float64, if it is a similarity.

    Args:
      matrix: [classes, classes], at least two of them.

    Raises:
      ValueError: unless entries are finite and not negative, the diagonal is zero, and
        rows sum to one within 1e-6.

    >>> check_similarity([[0.0, 1.0], [0.5, 0.5]])
    Traceback (most recent call last):
    ValueError: similarity[1, 1]=0.5 is not zero: a class shares its mass among the \
others. Set the diagonal to zero, then divide rows by their sums.
    """
    similarity = _square(similarity=matrix)
    diagonal = similarity.diagonal()
    if diagonal.any():
        i = np.flatnonzero(diagonal)[0]
        raise ValueError(
            f"similarity[{i}, {i}]={diagonal[i]} is not zero: a class shares its mass "
            "among the others. Set the diagonal to zero, then divide rows by their "
            "sums."
        )
    sums = similarity.sum(axis=1)
    wrong = np.flatnonzero(abs(sums - 1) > _TOLERANCE)
    if wrong.size:
        raise ValueError(
            f"row {wrong[0]} of similarity sums to {sums[wrong[0]]:.8g}, not to 1. "
            "Divide rows by their sums."
        )
    return similarity


def asymmetry(similarity: Num[Array | np.ndarray, "classes classes"]) -> float:
    """Largest difference between the two entries of a pair of classes.

    Args:
      similarity: of which rows sum to one, and columns seldom do.

    >>> asymmetry(np.array([[0.0, 0.25, 0.75], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]))
    0.25
    """
    similarity = np.asarray(similarity)
    return float(abs(similarity - similarity.T).max())


def rows_scaled(closeness: Square) -> Square:
    """Rows divided by their sums.

    >>> print(rows_scaled(np.array([[0.0, 2.0], [4.0, 0.0]])))
    [[0. 1.]
     [1. 0.]]
    """
    return closeness / closeness.sum(axis=1, keepdims=True)


def rows_and_columns_scaled(closeness: Square) -> Square:
    """D closeness D with the diagonal D that makes rows and columns sum to one.

    Each step divides D by the roots of the sums (Knight, Ruiz & Uçar 2014); alternating
    between rows and columns, as Sinkhorn's, would leave the matrix asymmetric.

    Args:
      closeness: symmetric, positive but for a zero diagonal.

    >>> print(rows_and_columns_scaled(np.array([[0.0, 1, 2], [1, 0, 4], [2, 4, 0]])))
    [[0.  0.5 0.5]
     [0.5 0.  0.5]
     [0.5 0.5 0. ]]
    """
    factors = np.ones(len(closeness))
    while abs((sums := factors * (closeness @ factors)) - 1).max() > _CONVERGED:
        factors /= np.sqrt(sums)
    return closeness * np.outer(factors, factors)


def _square(**named: Any) -> Square:
    """A copy of the one matrix that is given by its name."""
    ((name, matrix),) = named.items()
    matrix = np.array(matrix, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(
            f"{name} has the shape {matrix.shape}, not [classes, classes] with at "
            "least two classes."
        )
    bad = np.argwhere(~((matrix >= 0) & (matrix < np.inf)))
    if bad.size:
        i, j = bad[0]
        raise ValueError(
            f"{name}[{i}, {j}]={matrix[i, j]} is outside [0, inf). Entries are shares "
            "or counts."
        )
    return matrix

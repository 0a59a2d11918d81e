"""Cross-entropy that corrects for label noise of a known matrix, Patrini et al. (2017).

Row i of a noise matrix T is the distribution of the labels that examples of class i
are given. `soft_target_cross_entropy` smears a target over classes; the backward
correction is the same with T⁻¹ as targets, and so the opposite of it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from robustlabels import _validate
from robustlabels.losses.soft_targets import Square, soft_target_cross_entropy

__all__ = [
    "backward_corrected",
    "backward_targets",
    "check_noise_matrix",
    "estimate_noise_matrix",
    "forward_corrected",
]

_MOST_CONDITION = 1e6


def forward_corrected(
    logits: Float[Array, " batch classes"],
    labels: Int[Array, " batch"],
    *,
    noise_matrix: Square,
) -> Float[Array, " batch"]:
    """-log of the probability that noise makes the label of what the model says.

    -log (Tᵀ softmax(logits))_y, theorem 2 of Patrini et al. (2017).

    Args:
      logits: of the clean classes.
      labels: class ids as given, with noise.
      noise_matrix: T, see `check_noise_matrix`.

    Guarantees: never negative; computed in logarithms, so that nothing is clipped.

    >>> T = jnp.array([[0.8, 0.2], [0.0, 1.0]])
    >>> print(forward_corrected(jnp.zeros((1, 2)), jnp.array([0]), noise_matrix=T))
    [0.9162907]
    """
    weights = jnp.take(jnp.asarray(noise_matrix).T, labels, axis=0)
    return -jax.nn.logsumexp(jax.nn.log_softmax(logits, axis=-1), axis=-1, b=weights)


def backward_corrected(
    logits: Float[Array, " batch classes"],
    labels: Int[Array, " batch"],
    *,
    noise_matrix: Square,
) -> Float[Array, " batch"]:
    """T⁻¹ times the cross-entropies of all classes, Patrini et al. (2017), theorem 1.

    Its mean over the noise is the cross-entropy of the clean label. That of one example
    may be negative, and is not bounded below.

    Args:
      logits: of the clean classes.
      labels: class ids as given, with noise.
      noise_matrix: T, invertible; see `check_noise_matrix`.

    Raises:
      ValueError: for a concrete T that is singular.

    >>> T = jnp.array([[0.8, 0.2], [0.0, 1.0]])
    >>> print(backward_corrected(jnp.zeros((1, 2)), jnp.array([0]), noise_matrix=T))
    [0.6931472]
    """
    targets = backward_targets(noise_matrix)
    return soft_target_cross_entropy(logits, labels, targets=targets)


def backward_targets(noise_matrix: Square) -> Float[Array, "classes classes"]:
    """T⁻¹, the targets with which soft cross-entropy is the backward correction.

    Args:
      noise_matrix: T, invertible.

    Raises:
      ValueError: for a concrete T that is singular.

    >>> print(backward_targets(jnp.array([[0.75, 0.25], [0.25, 0.75]])))
    [[ 1.5 -0.5]
     [-0.5  1.5]]
    """
    if isinstance(noise_matrix, jax.core.Tracer):
        return jnp.linalg.inv(noise_matrix)
    matrix = np.asarray(noise_matrix, np.float64)
    condition = np.linalg.cond(matrix)
    if not condition < _MOST_CONDITION:
        raise ValueError(
            f"noise_matrix has the condition number {condition:.3g}: some classes are "
            "given the same labels, and its inverse tells them apart by noise alone. "
            "Use the forward correction, or another matrix."
        )
    return jnp.asarray(np.linalg.inv(matrix), jnp.float32)


def check_noise_matrix(
    noise_matrix: Any, *, num_classes: int
) -> Float64[np.ndarray, "classes classes"]:
    """The matrix as float64, if its rows are distributions.

    Args:
      noise_matrix: [classes, classes], entry i, j the share of class i that is
        labelled j.
      num_classes: at least 2.

    Raises:
      ValueError: for another shape, a negative entry, or a row that does not sum to
        one.

    >>> check_noise_matrix(np.array([[0.9, 0.2], [0.0, 1.0]]), num_classes=2)
    Traceback (most recent call last):
    ValueError: row 0 of the noise matrix sums to 1.1, not to 1: it is the \
distribution of the labels that class 0 is given.
    """
    matrix = np.asarray(noise_matrix, np.float64)
    if matrix.shape != (num_classes, num_classes):
        raise ValueError(
            f"the noise matrix has the shape {matrix.shape}; {num_classes} classes "
            f"need {(num_classes, num_classes)}."
        )
    fix = "Row i is the distribution of the labels that class i is given."
    _validate.in_range(0.0, 1.0, noise_matrix=matrix, fix=fix)
    sums = matrix.sum(axis=1)
    (bad,) = np.nonzero(abs(sums - 1) > 1e-6)
    if bad.size:
        row = int(bad[0])
        raise ValueError(
            f"row {row} of the noise matrix sums to {sums[row]:.6g}, not to 1: it is "
            f"the distribution of the labels that class {row} is given."
        )
    return matrix


def estimate_noise_matrix(
    probabilities: Float[Array | np.ndarray, " examples classes"],
    *,
    percentile: float = 100.0,
) -> Float64[np.ndarray, "classes classes"]:
    """T from a model that was trained on the noisy labels, Patrini et al. (2017).

    Row i is what the model says of the example that it takes for class i most of all:
    one that surely is of class i, so that what is said of other classes is noise.

    Args:
      probabilities: of all classes for many examples, their labels unused.
      percentile: in (0, 100]. Below 100, examples from that percentile of a class's
        probability on are left out as outliers; the authors' code uses 97.

    Raises:
      ValueError: for a value out of range.

    Guarantees: rows sum to one.

    >>> says = np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]])
    >>> estimate_noise_matrix(says)
    array([[0.8, 0.2],
           [0.1, 0.9]])
    """
    says = np.asarray(probabilities, np.float64)
    _validate.in_range(
        0.0, 1.0, probabilities=says, fix="Give a softmax of the logits."
    )
    _validate.in_range(1e-9, 100.0, percentile=percentile, fix="97 is the authors'.")
    rows = []
    for column in says.T:
        if percentile < 100:
            outlying = np.percentile(column, percentile, method="higher")
            column = np.where(column >= outlying, -1.0, column)
        rows.append(says[np.argmax(column)])
    matrix = np.stack(rows)
    return matrix / matrix.sum(axis=1, keepdims=True)

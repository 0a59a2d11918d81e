"""Cross-entropy with a target distribution a class, and what makes such targets.

Row y of `targets` [classes, classes] is what an example of class y is asked for:
cross-entropy, label smoothing, Infogain, MCEL, SG-MCEL and GMCEL are one function of
different targets.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from robustlabels import _validate

__all__ = [
    "gmcel_targets",
    "infogain_targets",
    "kld_regularized_cross_entropy",
    "mcel_targets",
    "one_hot_targets",
    "sg_mcel_targets",
    "smoothed_targets",
    "soft_target_cross_entropy",
]

Square = Float[Array | np.ndarray, "classes classes"]

_MOST_FOLDS = 32
_HALF = "Up to one half of a target goes to the other classes: 0.2 is usual."


def soft_target_cross_entropy(
    logits: Float[Array, " batch classes"],
    labels: Int[Array, " batch"],
    *,
    targets: Square,
) -> Float[Array, " batch"]:
    """-Σᵢ qᵢ log softmax(logits)ᵢ, q the row of the label, Negi et al. (2018), eq. 4.

    Args:
      logits: unnormalised log-probabilities.
      labels: class ids.
      targets: row y is q of class y; it need not sum to one, as Infogain's do not, nor
        be positive, as those of a backward correction are not. It may be learned.

    Guarantees: the gradient in the logits is Σq · softmax(logits) - q.

    >>> logits, labels = jnp.array([[0.0, 0.0]]), jnp.array([1])
    >>> targets = mcel_targets(jnp.array([[0.0, 1.0], [1.0, 0.0]]), 0.2)
    >>> print(soft_target_cross_entropy(logits, labels, targets=targets))
    [0.6931472]
    """
    return _soft_cross_entropy(logits, jnp.asarray(targets), labels)


@jax.custom_jvp
def _soft_cross_entropy(logits, targets, labels):
    top, exponentials = _exponentials(logits)
    total, dot = _total_and_dot(exponentials, logits, targets, labels)
    return _mass(targets, labels) * (jnp.log(total) + top) - dot


@_soft_cross_entropy.defjvp
def _soft_cross_entropy_jvp(primals, tangents):
    logits, targets, labels = primals
    logits_dot, targets_dot, _ = tangents
    top, exponentials = _exponentials(logits)
    total, dot = _total_and_dot(exponentials, logits, targets, labels)
    normalizer = jnp.log(total) + top
    mass = _mass(targets, labels)
    # Else XLA keeps the rows from the loss to the gradient, as a [batch, classes].
    targets, labels = jax.lax.optimization_barrier((targets, labels))
    slope = exponentials * (mass / total)[:, None] - targets[labels]
    change = jnp.sum(slope * logits_dot, axis=-1)
    log_probabilities = logits - normalizer[:, None]
    change -= jnp.sum(log_probabilities * targets_dot[labels], axis=-1)
    return mass * normalizer - dot, change


def _exponentials(logits):
    """The largest logits, and exponentials of the others relative to them."""
    top = jnp.max(logits, axis=-1)
    return top, jnp.exp(logits - top[:, None])


def _mass(targets, labels):
    """The sums of the rows of targets; NaN for a label that no row has."""
    return jnp.take(jnp.sum(targets, axis=-1), labels)


def _total_and_dot(exponentials, logits, targets, labels):
    """The sum of the exponentials, and the product of logits and targets, in one pass.

    XLA writes the gathered rows of targets to memory before it sums over them, which
    costs as much as all of cross-entropy on a CPU; but not in a reduction of two arrays
    at once. Folded rows let that work on vectors.
    """
    batch, classes = logits.shape
    folds = max(n for n in range(1, _MOST_FOLDS + 1) if classes % n == 0)
    shape = batch, folds, classes // folds
    products = targets[labels] * logits
    zero = jnp.zeros((), products.dtype)
    sums = jax.lax.reduce(
        (exponentials.reshape(shape).astype(products.dtype), products.reshape(shape)),
        (zero, zero),
        lambda a, b: (a[0] + b[0], a[1] + b[1]),
        dimensions=(1,),
    )
    return tuple(jnp.sum(each, axis=-1) for each in sums)


def kld_regularized_cross_entropy(
    logits: Float[Array, " batch classes"],
    labels: Int[Array, " batch"],
    *,
    reference_logits: Float[Array, " batch classes"],
    rho: float | Float[Array, ""] = 0.5,
) -> Float[Array, " batch"]:
    """Cross-entropy with (1 - ρ) · one-hot + ρ · a reference, Yu et al. (2013).

    It differs from (1 - ρ) · cross-entropy + ρ · the Kullback-Leibler divergence from
    the reference by what does not depend on the logits.

    Args:
      logits: unnormalised log-probabilities.
      labels: class ids.
      reference_logits: of the frozen model that is adapted, for the same examples.
      rho: in [0, 1]; 0 is cross-entropy.

    Raises:
      ValueError: for a `rho` out of range.

    >>> logits = jnp.array([[0.0, 0.0]])
    >>> print(kld_regularized_cross_entropy(
    ...     logits, jnp.array([1]), reference_logits=jnp.array([[1.0, 3.0]])
    ... ))
    [0.6931472]
    """
    _validate.in_range(0.0, 1.0, rho=rho, fix="It is the share of the reference.")
    reference = jax.lax.stop_gradient(jax.nn.softmax(reference_logits, axis=-1))
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    mixed = (1 - rho) * own + rho * jnp.sum(reference * logits, axis=-1)
    return jax.nn.logsumexp(logits, axis=-1) - mixed


def one_hot_targets(num_classes: int) -> Float[Array, "classes classes"]:
    """All mass on the class itself: cross-entropy.

    >>> print(one_hot_targets(2))
    [[1. 0.]
     [0. 1.]]
    """
    _validate.count(minimum=2, num_classes=num_classes)
    return jnp.eye(num_classes)


def smoothed_targets(
    num_classes: int, smoothing: float | Float[Array, ""]
) -> Float[Array, "classes classes"]:
    """(1 - s) · one-hot + s / classes: label smoothing, Szegedy et al. (2016).

    It is `mcel_targets` of the uniform similarity with ε = s (classes - 1) / classes.

    Args:
      num_classes: at least 2.
      smoothing: s in [0, 1], shared among all classes, the right one included.

    Raises:
      ValueError: for a value out of range.

    >>> print(smoothed_targets(2, 0.5))
    [[0.75 0.25]
     [0.25 0.75]]
    """
    fix = "It is the share of a target that all classes share: 0.1 is usual."
    _validate.in_range(0.0, 1.0, smoothing=smoothing, fix=fix)
    return (1 - smoothing) * one_hot_targets(num_classes) + smoothing / num_classes


def mcel_targets(
    similarity: Square, epsilon: float | Float[Array, ""]
) -> Float[Array, "classes classes"]:
    """(1 - ε) · one-hot + ε · similarity: mixed cross-entropy, Negi et al., eq. 3.

    Args:
      similarity: row y shares one among the classes other than y; see
        `robustlabels.similarity`.
      epsilon: in [0, 1/2]; 0 is cross-entropy.

    Raises:
      ValueError: for an `epsilon` out of range.

    >>> print(mcel_targets(jnp.array([[0.0, 1.0], [1.0, 0.0]]), 0.2))
    [[0.8 0.2]
     [0.2 0.8]]
    """
    _validate.in_range(0.0, 0.5, epsilon=epsilon, fix=_HALF)
    return _mixed(similarity, epsilon)


def sg_mcel_targets(
    similarity: Square, epsilons: Float[Array | np.ndarray, " classes"]
) -> Float[Array, "classes classes"]:
    """`mcel_targets` with an ε of its own for each class, Negi et al. (2018), eq. 6.

    Args:
      similarity: as in `mcel_targets`.
      epsilons: of each class, in [0, 1/2].

    Raises:
      ValueError: for an ε out of range.

    >>> similarity = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    >>> print(sg_mcel_targets(similarity, jnp.array([0.0, 0.5])))
    [[1.  0. ]
     [0.5 0.5]]
    """
    _validate.in_range(0.0, 0.5, epsilons=epsilons, fix=_HALF)
    return _mixed(similarity, jnp.asarray(epsilons)[:, None])


def gmcel_targets(theta: Square) -> Float[Array, "classes classes"]:
    """A softmax of each row: the free mixing matrix E of GMCEL, Negi et al., eq. 8.

    The paper constrains E to rows that sum to one; a softmax needs no constraint.

    Args:
      theta: any numbers.

    >>> print(gmcel_targets(jnp.zeros((2, 2))))
    [[0.5 0.5]
     [0.5 0.5]]
    """
    return jax.nn.softmax(jnp.asarray(theta), axis=-1)


def infogain_targets(
    class_counts: Int[Array | np.ndarray, " classes"],
) -> Float[Array, "classes classes"]:
    """Diagonal weights min(n) / nᵢ: the Infogain loss that balances classes.

    Args:
      class_counts: examples of each class, at least 1.

    Raises:
      ValueError: for a class without examples.

    >>> print(infogain_targets(jnp.array([10, 40])))
    [[1.   0.  ]
     [0.   0.25]]
    """
    fix = "Every class needs an example."
    _validate.in_range(1, np.inf, class_counts=class_counts, fix=fix)
    counts = jnp.asarray(class_counts, jnp.float32)
    return jnp.diag(jnp.min(counts) / counts)


def _mixed(similarity, epsilon):
    similarity = jnp.asarray(similarity, jnp.float32)
    return (1 - epsilon) * jnp.eye(len(similarity)) + epsilon * similarity

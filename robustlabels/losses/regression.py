"""Regression of label arrays, and the decisions they allow: Chen et al. (2021).

A codebook holds an array for each class: a spectrogram, a word vector, noise. A model
regresses the array of an image's class, and the class whose array is nearest wins.
Nothing here holds an array of shape [batch, classes, cells].
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from robustlabels import _validate

__all__ = [
    "accepted",
    "cosine_to_labels",
    "huber",
    "huber_to_label",
    "huber_to_labels",
    "squared_to_labels",
]

Outputs = Float[Array, "batch ..."]
Codebook = Float[Array | np.ndarray, "classes ..."]


def huber(
    errors: Float[Array, "*shape"], *, delta: Any = 1.0
) -> Float[Array, "*shape"]:
    """Huber (1964): e² / 2 up to delta, and delta (|e| − delta / 2) beyond.

    Args:
      errors: of any shape.
      delta: positive, in units of the errors; may be traced. 1 is PyTorch's smooth L1.

    Raises:
      ValueError: for a delta that is not positive.

    >>> print(huber(jnp.array([0.5, -3.0])))
    [0.125 2.5  ]
    """
    tiny = float(jnp.finfo(jnp.float32).tiny)
    fix = "It is where squares end; towards 0 little is left of the loss."
    _validate.in_range(tiny, float("inf"), delta=delta, fix=fix)
    return _huber(errors, jnp.asarray(delta, errors.dtype))


@jax.custom_jvp
def _huber(errors, delta):
    # XLA:CPU sums this without holding it; of a `clip` it would write arrays first.
    size = jnp.abs(errors)
    inner = jnp.minimum(size, delta)
    return inner * (size - 0.5 * inner)


@_huber.defjvp
def _huber_jvp(primals, tangents):
    # One product instead of what a derivative of `clip` would compare and choose.
    errors, delta = primals
    slope = jnp.clip(errors, -delta, delta)
    tangent = slope * tangents[0] + (jnp.abs(errors) - jnp.abs(slope)) * tangents[1]
    return _huber(errors, delta), tangent


def huber_to_label(
    outputs: Outputs,
    labels: Int[Array, " batch"],
    *,
    codebook: Codebook,
    delta: Any = 1.0,
) -> Float[Array, " batch"]:
    """Mean Huber loss over the cells of the label's array, Chen et al. (2021), eq. 6.

    The paper's equation is a sum; the mean is what its code trains by, so that a
    learning rate means the same for labels of any size.

    Args:
      outputs: arrays that a model gives.
      labels: class ids.
      codebook: the array of each class, see `robustlabels.labels`.
      delta: as of `huber`.

    Raises:
      ValueError: for outputs of another shape than the labels have, or as `huber`.

    >>> codebook = jnp.array([[0.0, 0.0], [80.0, 0.0]])
    >>> outputs = jnp.array([[2.0, 1.0]])
    >>> print(huber_to_label(outputs, jnp.array([0]), codebook=codebook))
    [1.]
    """
    _check_cells(outputs, codebook)
    errors = outputs - jnp.asarray(codebook)[labels]
    return _cell_mean(huber(errors, delta=delta))


def squared_to_labels(
    outputs: Outputs, *, codebook: Codebook
) -> Float[Array, " batch classes"]:
    """Mean squared distance to every label, the paper's rule of decision.

    It is a linear map but for a term that all classes share, ‖g‖² − 2⟨g, y⟩ + ‖y‖²:
    a matrix product. So the nearest label is the decision of an ordinary net with a
    fixed last layer, and attacks on logits apply to it. The mean label is taken from
    both sides first, against cancellation.

    Args:
      outputs: arrays that a model gives.
      codebook: the array of each class.

    Raises:
      ValueError: for outputs of another shape than the labels have.

    >>> codebook = jnp.array([[0.0, 0.0], [4.0, 0.0]])
    >>> print(squared_to_labels(jnp.array([[1.0, 0.0]]), codebook=codebook))
    [[0.5 4.5]]
    """
    outputs, codebook = _flat(outputs, codebook)
    centre = codebook.mean(axis=0, keepdims=True)
    outputs, codebook = outputs - centre, codebook - centre
    own = jnp.sum(outputs**2, axis=1, keepdims=True)
    theirs = jnp.sum(codebook**2, axis=1)
    squares = own - 2 * _products(outputs, codebook) + theirs[None]
    return squares / codebook.shape[1]


def huber_to_labels(
    outputs: Outputs, *, codebook: Codebook, delta: Any = 1.0
) -> Float[Array, " batch classes"]:
    """Mean Huber loss to every label, one class at a time.

    The gradient computes each class again instead of keeping what it met.

    Args:
      outputs: arrays that a model gives.
      codebook: the array of each class.
      delta: as of `huber`.

    Raises:
      ValueError: for outputs of another shape than the labels have, or as `huber`.

    >>> codebook = jnp.array([[0.0, 0.0], [4.0, 0.0]])
    >>> print(huber_to_labels(jnp.array([[1.0, 0.0]]), codebook=codebook))
    [[0.25 1.25]]
    """
    outputs, codebook = _flat(outputs, codebook)

    @jax.checkpoint
    def to_one(label):
        return _cell_mean(huber(outputs - label[None], delta=delta))

    return jax.lax.map(to_one, codebook).T


def cosine_to_labels(
    outputs: Outputs, *, codebook: Codebook
) -> Float[Array, " batch classes"]:
    """One minus the cosine to every label: 0 where they point the same way, at most 2.

    Args:
      outputs: arrays that a model gives; one of zeros is at a distance of 1 from all.
      codebook: the array of each class.

    Raises:
      ValueError: for outputs of another shape than the labels have.

    >>> codebook = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    >>> print(cosine_to_labels(jnp.array([[3.0, 0.0]]), codebook=codebook))
    [[0. 1.]]
    """
    outputs, codebook = _flat(outputs, codebook)
    lengths = _length(outputs) * _length(codebook).T
    return 1 - _products(outputs, codebook) / lengths


def accepted(
    outputs: Outputs,
    labels: Int[Array, " batch"],
    *,
    codebook: Codebook,
    threshold: Any = 3.5,
    delta: Any = 1.0,
) -> Bool[Array, " batch"]:
    """Whether outputs are so near to a label that they count as that label.

    The paper's second rule: a mean Huber loss below 3.5, whatever the labels are. Where
    two labels are nearer than that to each other it accepts wrong ones too.

    Args:
      outputs: arrays that a model gives.
      labels: class ids that may be accepted.
      codebook: the array of each class.
      threshold: in units of the Huber loss.
      delta: as of `huber`.

    Raises:
      ValueError: as `huber_to_label`.

    >>> codebook = jnp.array([[0.0, 0.0], [80.0, 0.0]])
    >>> print(accepted(jnp.array([[9.0, 1.0]]), jnp.array([0]), codebook=codebook))
    [False]
    """
    loss = huber_to_label(outputs, labels, codebook=codebook, delta=delta)
    return loss < threshold


def _products(outputs: Array, codebook: Array) -> Array:
    """[batch, classes], in full float32 also where products are rounded by default."""
    return jnp.matmul(outputs, codebook.T, precision=jax.lax.Precision.HIGHEST)


def _length(rows: Array) -> Array:
    """[rows, 1]; 1 of a row of zeros."""
    squares = jnp.sum(rows**2, axis=1, keepdims=True)
    return jnp.sqrt(jnp.where(squares > 0, squares, 1.0))


def _cell_mean(values: Array) -> Array:
    return jnp.mean(values, axis=tuple(range(1, values.ndim)))


def _flat(outputs: Array, codebook: Any) -> tuple[Array, Array]:
    codebook = jnp.asarray(codebook)
    _check_cells(outputs, codebook)
    return outputs.reshape(len(outputs), -1), codebook.reshape(len(codebook), -1)


def _check_cells(outputs: Array, codebook: Any) -> None:
    if outputs.shape[1:] != codebook.shape[1:]:
        raise ValueError(
            f"outputs of shape {outputs.shape[1:]} cannot be compared with labels of "
            f"shape {codebook.shape[1:]}: let the head give {codebook.shape[1:]}, or "
            "resize the labels."
        )

"""Objectives of label arrays: Huber regression, and the nearest label decides."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from robustlabels import _validate, losses
from robustlabels.objective.core import Family, Objective, constant

__all__ = ["label_confidence", "label_regression", "label_scores"]

_DISTANCES = {
    "squared": losses.squared_to_labels,
    "huber": losses.huber_to_labels,
    "cosine": losses.cosine_to_labels,
}


def label_regression(
    codebook: Any, *, delta: float = 1.0, decision: str = "squared"
) -> Family:
    """Regression of a label array a class under Huber's loss, Chen et al. (2021).

    Args:
      codebook: [classes, *cells], see `robustlabels.labels`.
      delta: where Huber's squares end, in units of the labels, positive.
      decision: the distance to the labels: "squared" (the paper's), "huber" or
        "cosine".

    Raises:
      ValueError: for a delta out of range, an unknown decision, fewer than two classes
        or two classes with the same label.

    >>> codebook = jnp.array([[0.0, 0.0], [80.0, 80.0]])
    >>> objective = label_regression(codebook).at({}, 0.0)
    >>> outputs = jnp.array([[20.0, 20.0]])
    >>> print(objective.scores(outputs), objective.confidence(outputs))
    [[ -400. -3600.]] [0.8]
    """
    _validate.one_of(_DISTANCES, decision=decision)
    losses.huber(jnp.zeros(()), delta=delta)
    codebook = np.asarray(codebook, np.float32)
    if len(codebook) < 2 or len(np.unique(codebook, axis=0)) < len(codebook):
        raise ValueError(
            f"a codebook of shape {codebook.shape} needs a label for each of two "
            "classes or more, and no two that are equal."
        )
    codebook = jnp.asarray(codebook)
    numbers = {"delta": jnp.asarray(delta, jnp.float32)}
    distance = Partial(
        _DISTANCES[decision],
        codebook=codebook,
        **(numbers if decision == "huber" else {}),
    )
    return constant(
        Objective(
            loss=Partial(losses.huber_to_label, codebook=codebook, **numbers),
            scores=Partial(label_scores, distance),
            confidence=Partial(label_confidence, distance),
        )
    )


def label_scores(
    distance: Callable, outputs: Float[Array, " batch *cells"]
) -> Float[Array, " batch classes"]:
    """Minus the distance to each label.

    Args:
      distance: (outputs) -> [batch, classes].
      outputs: arrays that a model gives.

    >>> print(label_scores(lambda x: x, jnp.array([[1.0, 2.0]])))
    [[-1. -2.]]
    """
    return -distance(outputs)


def label_confidence(
    distance: Callable, outputs: Float[Array, " batch *cells"]
) -> Float[Array, " batch"]:
    """(d₂ - d₁) / (d₂ + d₁) of the two nearest labels.

    Args:
      distance: (outputs) -> [batch, classes]; what rounding made negative counts as 0.
      outputs: arrays that a model gives.

    >>> print(label_confidence(lambda x: x, jnp.array([[1.0, 4.0, 3.0]])))
    [0.5]
    """
    nearest, _ = jax.lax.top_k(-distance(outputs), 2)
    first, second = jnp.maximum(-nearest[:, 0], 0.0), jnp.maximum(-nearest[:, 1], 0.0)
    total = first + second
    return (second - first) / jnp.where(total > 0, total, 1.0)

"""Objectives of distances to prototypes: GLVQ and supervised neural gas."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from robustlabels import _validate, losses
from robustlabels.losses.selection import smallest
from robustlabels.objective.core import Family, Objective, constant, family

__all__ = ["glvq", "nearest_scores", "relative_confidence", "sng"]

_NEIGHBOURHOODS = {
    "incorrect": losses.sng,
    "correct": losses.sng_correct,
    "pooled": losses.sng_pooled,
    "softmin": losses.sng_softmin,
}


def glvq(prototype_labels: Any, *, phi: Callable = losses.identity) -> Family:
    """Generalised learning vector quantization of distances to prototypes.

    Args:
      prototype_labels: [prototypes], the class of each; every class from 0 on has one.
      phi: transfer function; bind its slope with `Partial(losses.sigmoid, beta=10.0)`.

    Raises:
      ValueError: if a class has no prototype, or there is one class only.

    >>> objective = glvq([0, 1]).at({}, 0.0)
    >>> print(objective.confidence(jnp.array([[1.0, 3.0]])))
    [0.5]
    """
    loss = Partial(losses.glvq, **_prototype_arguments(prototype_labels, phi))
    return constant(_prototype_objective(loss, prototype_labels))


def sng(
    prototype_labels: Any,
    *,
    tau_start: float = 0.1,
    tau_end: float = 30.0,
    neighbourhood: str = "incorrect",
    phi: Callable = losses.identity,
) -> Family:
    """Supervised neural gas; τ runs linearly over training, de Vries et al. (2016).

    Args:
      prototype_labels: [prototypes], the class of each; every class from 0 on has one.
      tau_start: τ ≥ 0 at the first step.
      tau_end: τ ≥ 0 at the last step.
      neighbourhood: "incorrect" (the paper), "correct" (Hammer et al. 2005), "pooled"
        or "softmin" (the paper's footnote 3); see `losses.sng` and its variants.
      phi: transfer function.

    Raises:
      ValueError: for a negative τ, an unknown neighbourhood, or as `glvq`.

    >>> objective = sng([0, 1, 2]).at({}, 0.5)
    >>> print(objective.scores(jnp.array([[1.0, 3.0, 2.0]])))
    [[-1. -3. -2.]]
    """
    _validate.in_range(
        0.0, np.inf, tau_start=tau_start, tau_end=tau_end, fix="The paper: 0.1 to 30."
    )
    _validate.one_of(_NEIGHBOURHOODS, neighbourhood=neighbourhood)
    loss = Partial(
        _NEIGHBOURHOODS[neighbourhood], **_prototype_arguments(prototype_labels, phi)
    )
    return family(
        Partial(
            _at_tau,
            _prototype_objective(loss, prototype_labels),
            jnp.asarray(tau_start, jnp.float32),
            jnp.asarray(tau_end, jnp.float32),
        )
    )


def _at_tau(objective, tau_start, tau_end, params, progress):
    del params
    fix = "It is the share of the training that is done, not a number of steps."
    _validate.in_range(0.0, 1.0, progress=progress, fix=fix)
    tau = tau_start + progress * (tau_end - tau_start)
    # A Partial of a Partial would hide what the inner one holds from jit and vmap.
    loss = Partial(objective.loss.func, **objective.loss.keywords, tau=tau)
    return objective._replace(loss=loss)


def _prototype_arguments(prototype_labels: Any, phi: Callable) -> dict:
    if not isinstance(phi, Partial):
        phi = Partial(phi)
    return {"prototype_labels": jnp.asarray(prototype_labels, jnp.int32), "phi": phi}


def _prototype_objective(loss: Partial, prototype_labels: Any) -> Objective:
    members = _class_members(np.asarray(prototype_labels))
    return Objective(
        loss=loss,
        scores=Partial(nearest_scores, members=members),
        confidence=Partial(relative_confidence, members=members),
    )


def _class_members(prototype_labels: np.ndarray) -> Array:
    """[classes, most]: the prototypes of each class, the last repeated to fill up."""
    classes = np.unique(prototype_labels)
    if len(classes) < 2 or not np.array_equal(classes, np.arange(len(classes))):
        raise ValueError(
            f"prototype_labels={prototype_labels.tolist()} must give every class from "
            "0 on at least one prototype, for at least two classes."
        )
    columns = [np.flatnonzero(prototype_labels == label) for label in classes]
    most = max(map(len, columns))
    filled = [np.pad(c, (0, most - len(c)), mode="edge") for c in columns]
    return jnp.asarray(np.stack(filled), jnp.int32)


def nearest_scores(
    outputs: Float[Array, " batch prototypes"],
    *,
    members: Int[Array, " classes most"],
) -> Float[Array, " batch classes"]:
    """Minus the distance to the nearest prototype of each class.

    Args:
      outputs: squared distances to all prototypes.
      members: the prototypes of each class; one may stand twice.

    >>> d = jnp.array([[4.0, 1.0, 3.0]])
    >>> print(nearest_scores(d, members=jnp.array([[0, 1], [2, 2]])))
    [[-1. -3.]]
    """
    distances = outputs[:, members]
    return -smallest(distances, jnp.ones_like(distances, bool))


def relative_confidence(
    outputs: Float[Array, " batch prototypes"],
    *,
    members: Int[Array, " classes most"],
) -> Float[Array, " batch"]:
    """(d₂ - d₁) / (d₂ + d₁) of the two nearest classes: -μ of the decision.

    It falls towards 0 far from all prototypes, where a softmax grows certain.

    Args:
      outputs: squared distances to all prototypes.
      members: the prototypes of each class; one may stand twice.

    >>> d = jnp.array([[4.0, 1.0, 3.0]])
    >>> print(relative_confidence(d, members=jnp.array([[0, 1], [2, 2]])))
    [0.5]
    """
    scores, _ = jax.lax.top_k(nearest_scores(outputs, members=members), 2)
    nearest, second = -scores[:, 0], -scores[:, 1]
    total = nearest + second
    return (second - nearest) / jnp.where(total > 0, total, 1.0)

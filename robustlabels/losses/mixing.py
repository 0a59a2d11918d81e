"""Penalties on learned mixing, Negi et al. (2018), equations 10 and 11.

They concern parameters, not examples: one number, added once to a batch's mean loss.
The paper names no weights. Neither penalty alone keeps the mixing in its range, and
the data term pulls it towards none, which is plain cross-entropy: the objectives
`sg_mcel` and `gmcel` bound it by how it is parametrised.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from robustlabels import _validate
from robustlabels.losses.soft_targets import Square

__all__ = ["MARGINS", "gmcel_penalty", "sg_mcel_penalty"]

MARGINS = "equality", "hinge"

_WEIGHT = "A weight of a penalty is not negative; 0 leaves it out."

Number = float | Float[Array, ""]


def sg_mcel_penalty(
    epsilons: Float[Array | np.ndarray, " classes"],
    *,
    similarity: Square,
    alpha: Number = 1.0,
    beta: Number = 1.0,
    gamma: Number = 1.0,
    p: Number = 2.0,
) -> Float[Array, ""]:
    """α Σᵢ (‖pᵢ‖₁ - 1)² + β ‖ε - ½‖ₚᵖ + γ ‖ε‖ₚᵖ, equation 10.

    pᵢ is row i of the targets. With p = 2 the minimum is at ε = ½ β / (β + γ); the
    first term is zero for every ε in [0, 1].

    Args:
      epsilons: of each class.
      similarity: rows that share one among the other classes.
      alpha: weight of the row sums.
      beta: weight of what pulls towards ½.
      gamma: weight of what pulls towards 0.
      p: at least 1.

    Raises:
      ValueError: for a negative weight or p < 1.

    >>> similarity = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    >>> print(sg_mcel_penalty(jnp.array([0.0, 0.5]), similarity=similarity))
    0.5
    """
    _check(p, alpha=alpha, beta=beta, gamma=gamma)
    epsilons = jnp.asarray(epsilons)
    shared = jnp.sum(jnp.abs(jnp.asarray(similarity)), axis=-1)
    norms = jnp.abs(1 - epsilons) + jnp.abs(epsilons) * shared
    rows = jnp.sum((norms - 1) ** 2)
    return alpha * rows + beta * _power(epsilons - 0.5, p) + gamma * _power(epsilons, p)


def gmcel_penalty(
    mixing: Square,
    *,
    c: Number | Float[Array | np.ndarray, " classes"],
    alpha: Number = 1.0,
    beta: Number = 1.0,
    gamma: Number = 1.0,
    eta: Number = 1.0,
    p: Number = 2.0,
    margin: str = "equality",
) -> Float[Array, ""]:
    """α Σᵢ (Σⱼ Eᵢⱼ - 1)² + β ‖E - 1‖ₚᵖ + γ ‖E‖ₚᵖ + η · margin, equation 11.

    Args:
      mixing: E, row y the targets of class y.
      c: margins by which the diagonal is to be larger, of each class or of all, in
        [0, 1].
      alpha: weight of the row sums.
      beta: weight of what pulls entries towards 1.
      gamma: weight of what pulls entries towards 0; where rows sum to one, β + γ pulls
        towards the uniform matrix.
      eta: weight of the margin.
      p: at least 1.
      margin: "equality", as printed, Σᵢ ((classes - 1)(Eᵢᵢ - cᵢ) - Σ_{j≠i} Eᵢⱼ)², zero
        where Eᵢᵢ is cᵢ above the mean of the rest and nowhere else; or "hinge",
        Σ_{i, j≠i} max(0, cᵢ + Eᵢⱼ - Eᵢᵢ)², zero from the constraint Eᵢᵢ ≥ Eᵢⱼ + cᵢ on.

    Raises:
      ValueError: for a negative weight, p < 1, c out of range or an unknown margin.

    >>> print(gmcel_penalty(jnp.eye(2), c=1.0, beta=0.0, gamma=0.0))
    0.0
    """
    _check(p, alpha=alpha, beta=beta, gamma=gamma, eta=eta)
    _validate.one_of(MARGINS, margin=margin)
    fix = "It is a difference of two entries of E, that lie in [0, 1]."
    _validate.in_range(0.0, 1.0, c=c, fix=fix)
    mixing, c = jnp.asarray(mixing), jnp.asarray(c)
    own, sums, others = jnp.diagonal(mixing), jnp.sum(mixing, axis=-1), len(mixing) - 1
    if margin == "equality":
        missed = jnp.sum((others * (own - c) - (sums - own)) ** 2)
    else:
        short = jnp.maximum((c - own)[:, None] + mixing, 0.0) ** 2
        missed = jnp.sum(jnp.where(jnp.eye(len(mixing), dtype=bool), 0.0, short))
    pulls = beta * _power(mixing - 1, p) + gamma * _power(mixing, p)
    return alpha * jnp.sum((sums - 1) ** 2) + pulls + eta * missed


def _power(x, p):
    return jnp.sum(jnp.abs(x) ** p)


def _check(p, **weights):
    _validate.in_range(0.0, np.inf, fix=_WEIGHT, **weights)
    _validate.in_range(1.0, np.inf, p=p, fix="1 and 2 are usual.")

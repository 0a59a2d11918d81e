"""Prototype losses: GLVQ and supervised neural gas on distances to prototypes.

Notation as in de Vries, Memisevic & Courville, "Deep Learning Vector Quantization"
(2016): d⁺ is the squared distance to the nearest prototype of the own class, d⁻ to the
nearest one of another, and μ = (d⁺ - d⁻) / (d⁺ + d⁻) lies in [-1, 1], negative where
the example is classified correctly. Every label needs a prototype of its own class and
one of another class.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from robustlabels import _validate
from robustlabels.losses.selection import smallest
from robustlabels.losses.transfer import identity

__all__ = [
    "glvq",
    "relative_distance",
    "sng",
    "sng_correct",
    "sng_pooled",
    "sng_softmin",
    "squared_distances",
]

Transfer = Callable[[Array], Array]

# Up to here ranks are counted pair by pair; beyond, one rank after the other.
_MOST_PAIRS = 64
# exp(-17) is below half a unit in the last place of a float32.
_NEGLIGIBLE = 17.0


@jax.custom_jvp
def squared_distances(
    embeddings: Float[Array, " batch features"],
    prototypes: Float[Array, " prototypes features"],
) -> Float[Array, " batch prototypes"]:
    """Squared Euclidean distances of every embedding to every prototype.

    The differences are squared, so nothing cancels where an embedding is close to a
    prototype far from the origin. Derivatives are matrix products, so nothing of size
    [batch, prototypes, features] is held.

    Args:
      embeddings: one point a row.
      prototypes: one prototype a row.

    Guarantees: never negative; exactly zero where a row equals a prototype.

    >>> print(squared_distances(jnp.array([[3.0, 4.0]]), jnp.array([[0.0, 0.0]])))
    [[25.]]
    """
    return jnp.sum((embeddings[:, None, :] - prototypes[None, :, :]) ** 2, axis=-1)


@squared_distances.defjvp
def _squared_distances_jvp(primals, tangents):
    # d(x, w) is unchanged when both move by -c, and c = mean(w) keeps products small.
    centre = jax.lax.stop_gradient(primals[1].mean(axis=0, keepdims=True))
    x, w = (primal - centre for primal in primals)
    dx, dw = tangents
    change = (
        jnp.sum(x * dx, axis=-1)[:, None]
        - dx @ w.T
        - x @ dw.T
        + jnp.sum(w * dw, axis=-1)[None, :]
    )
    return squared_distances(*primals), 2.0 * change


def _own(
    labels: Int[Array, " batch"], prototype_labels: Int[Array, " prototypes"]
) -> Bool[Array, " batch prototypes"]:
    return prototype_labels[None, :] == labels[:, None]


@jax.custom_jvp
def _relative(near: Array, far: Array) -> Array:
    """(near - far) / (near + far), and 0 with derivative 0 where both are 0.

    The derivative is written out: autodiff's needs more memory, and divides by the
    square of the sum, which underflows first.
    """
    total = near + far
    return (near - far) / jnp.where(total > 0, total, 1.0)


@_relative.defjvp
def _relative_jvp(primals, tangents):
    (near, far), (dnear, dfar) = primals, tangents
    total = near + far
    inverse = 1.0 / jnp.where(total > 0, total, 1.0)
    change = far * inverse * dnear - near * inverse * dfar
    return _relative(near, far), 2.0 * inverse * change


def relative_distance(
    distances: Float[Array, " batch prototypes"],
    labels: Int[Array, " batch"],
    *,
    prototype_labels: Int[Array, " prototypes"],
) -> Float[Array, " batch"]:
    """μ = (d⁺ - d⁻) / (d⁺ + d⁻), Sato & Yamada (1995).

    Args:
      distances: squared distances, not negative.
      labels: class ids.
      prototype_labels: the class of each prototype.

    Guarantees: in [-1, 1]; negative iff the nearest prototype is of the own class;
    unchanged when all distances are scaled; 0 where d⁺ = d⁻ = 0.

    >>> own = jnp.array([0, 1])
    >>> mu = relative_distance(
    ...     jnp.array([[1.0, 3.0]]), jnp.array([0]), prototype_labels=own
    ... )
    >>> print(mu)
    [-0.5]
    """
    own = _own(labels, prototype_labels)
    return _relative(smallest(distances, own), smallest(distances, ~own))


def glvq(
    distances: Float[Array, " batch prototypes"],
    labels: Int[Array, " batch"],
    *,
    prototype_labels: Int[Array, " prototypes"],
    phi: Transfer = identity,
) -> Float[Array, " batch"]:
    """Generalised learning vector quantization, φ(μ); Sato & Yamada (1995).

    Args:
      distances: squared distances, not negative.
      labels: class ids.
      prototype_labels: the class of each prototype.
      phi: increasing transfer function.

    Guarantees: with the identity in [-1, 1]; gradient only on the two prototypes that
    decide, 2d⁻/(d⁺ + d⁻)² on d⁺ and -2d⁺/(d⁺ + d⁻)² on d⁻ for the identity.

    >>> own = jnp.array([0, 1])
    >>> print(glvq(jnp.array([[1.0, 3.0]]), jnp.array([1]), prototype_labels=own))
    [0.5]
    """
    return phi(relative_distance(distances, labels, prototype_labels=prototype_labels))


def _rank_weights(
    distances: Float[Array, " batch prototypes"],
    candidates: Bool[Array, " batch prototypes"],
    tau: float | Float[Array, ""],
) -> Float[Array, " batch prototypes"]:
    """exp(-τ k) over the candidates, normalised; k candidates are strictly closer."""
    distances = jax.lax.stop_gradient(distances)
    if distances.shape[-1] <= _MOST_PAIRS:
        closer = distances[:, None, :] < distances[:, :, None]
        rank = jnp.sum(closer & candidates[:, None, :], axis=-1)
        weights = jnp.where(candidates, jnp.exp(-tau * rank), 0.0)
    else:
        weights = _peel(jnp.where(candidates, distances, jnp.inf), tau)
    return weights / jnp.sum(weights, axis=-1, keepdims=True)


def _peel(
    distances: Float[Array, " batch prototypes"], tau: float | Float[Array, ""]
) -> Float[Array, " batch prototypes"]:
    """exp(-τ k), the nearest first, until the rest is lost in rounding.

    A sort of 4,096 x 1,000 takes a second on two cores; a pass takes milliseconds, and
    as τ grows fewer are needed.
    """

    def more(state):
        rank, _, nearest = state
        left = jnp.isfinite(nearest) & (tau * rank < _NEGLIGIBLE)
        return jnp.any(left)

    def next_rank(state):
        rank, weights, nearest = state
        hit = distances == nearest[:, None]
        weights = jnp.where(hit, jnp.exp(-tau * rank)[:, None], weights)
        following = jnp.min(
            distances, axis=-1, where=distances > nearest[:, None], initial=jnp.inf
        )
        return rank + jnp.sum(hit, axis=-1, dtype=rank.dtype), weights, following

    nothing = jnp.zeros_like(distances)
    start = nothing[:, 0], nothing, jnp.min(distances, axis=-1)
    weights = jax.lax.while_loop(more, next_rank, start)[1]
    return jnp.where(jnp.isfinite(distances), weights, 0.0)


def _check_tau(tau: float | Float[Array, ""]) -> None:
    _validate.in_range(
        0.0, jnp.inf, tau=tau, fix="0 weighs all alike; the larger, the fewer count."
    )


def sng(
    distances: Float[Array, " batch prototypes"],
    labels: Int[Array, " batch"],
    *,
    prototype_labels: Int[Array, " prototypes"],
    tau: float | Float[Array, ""],
    phi: Transfer = identity,
) -> Float[Array, " batch"]:
    """Supervised neural gas over the incorrect prototypes, de Vries et al. (2016).

    Σⱼ hⱼ φ((d⁺ - dⱼ) / (d⁺ + dⱼ)) over the prototypes j of other classes, with
    hⱼ ∝ exp(-τ kⱼ) and kⱼ the number of *incorrect* prototypes closer than j. Ranks
    and normalisation run over the incorrect prototypes alone; only so does a large τ
    give GLVQ back, as the paper says. The weights h are constants to the gradient.

    Args:
      distances: squared distances, not negative.
      labels: class ids.
      prototype_labels: the class of each prototype.
      tau: τ ≥ 0, the inverse of the neighbourhood's range; may be traced.
      phi: increasing transfer function.

    Raises:
      ValueError: if tau is negative.

    Guarantees: the weights of an example sum to one; τ = 0 is the mean over the
    incorrect prototypes; τ → ∞ is `glvq`; prototypes at the same distance weigh alike.

    >>> own, d = jnp.array([0, 1, 2]), jnp.array([[1.0, 3.0, 7.0]])
    >>> print(sng(d, jnp.array([0]), prototype_labels=own, tau=0.0))
    [-0.625]
    >>> print(sng(d, jnp.array([0]), prototype_labels=own, tau=1e3))
    [-0.5]
    """
    _check_tau(tau)
    own = _own(labels, prototype_labels)
    weights = _rank_weights(distances, ~own, tau)
    d_plus = smallest(distances, own)[:, None]
    return jnp.sum(weights * phi(_relative(d_plus, distances)), axis=-1)


def sng_correct(
    distances: Float[Array, " batch prototypes"],
    labels: Int[Array, " batch"],
    *,
    prototype_labels: Int[Array, " prototypes"],
    tau: float | Float[Array, ""],
    phi: Transfer = identity,
) -> Float[Array, " batch"]:
    """Supervised neural gas over the correct prototypes, Hammer et al. (2005).

    Σⱼ hⱼ φ((dⱼ - d⁻) / (dⱼ + d⁻)) over the prototypes j of the own class, with
    hⱼ ∝ exp(-τ kⱼ) and kⱼ the number of own prototypes closer than j: prototypes of a
    class cooperate against the nearest wrong one. With one prototype a class it is
    `glvq`. Arguments, errors and limits as in `sng`.

    >>> own, d = jnp.array([0, 0, 1]), jnp.array([[1.0, 3.0, 3.0]])
    >>> print(sng_correct(d, jnp.array([0]), prototype_labels=own, tau=0.0))
    [-0.25]
    """
    _check_tau(tau)
    own = _own(labels, prototype_labels)
    weights = _rank_weights(distances, own, tau)
    d_minus = smallest(distances, ~own)[:, None]
    return jnp.sum(weights * phi(_relative(distances, d_minus)), axis=-1)


def sng_pooled(
    distances: Float[Array, " batch prototypes"],
    labels: Int[Array, " batch"],
    *,
    prototype_labels: Int[Array, " prototypes"],
    tau: float | Float[Array, ""],
    phi: Transfer = identity,
) -> Float[Array, " batch"]:
    """`sng` with the neighbourhood inside μ; de Vries et al. (2016), footnote 3.

    φ((d⁺ - d) / (d⁺ + d)) with d = Σⱼ hⱼ dⱼ over the incorrect prototypes in place of
    d⁻, and h as in `sng`. Arguments, errors and limits as there, but that τ = 0 is the
    relative distance to the mean distance.

    >>> own, d = jnp.array([0, 1, 2]), jnp.array([[1.0, 2.0, 4.0]])
    >>> print(sng_pooled(d, jnp.array([0]), prototype_labels=own, tau=0.0))
    [-0.5]
    """
    _check_tau(tau)
    own = _own(labels, prototype_labels)
    pooled = jnp.sum(_rank_weights(distances, ~own, tau) * distances, axis=-1)
    return phi(_relative(smallest(distances, own), pooled))


def sng_softmin(
    distances: Float[Array, " batch prototypes"],
    labels: Int[Array, " batch"],
    *,
    prototype_labels: Int[Array, " prototypes"],
    tau: float | Float[Array, ""],
    phi: Transfer = identity,
) -> Float[Array, " batch"]:
    """`sng` with distances for ranks; de Vries et al. (2016), footnote 3.

    The weights are hⱼ = exp(-τ dⱼ) / Σₖ exp(-τ dₖ) over the incorrect prototypes.
    They are smooth, so the gradient runs through them. Arguments, errors and limits
    as in `sng`.

    >>> own, d = jnp.array([0, 1, 2]), jnp.array([[1.0, 3.0, 7.0]])
    >>> print(sng_softmin(d, jnp.array([0]), prototype_labels=own, tau=0.0))
    [-0.625]
    """
    _check_tau(tau)
    own = _own(labels, prototype_labels)
    weights = jax.nn.softmax(-tau * distances, axis=-1, where=~own)
    d_plus = smallest(distances, own)[:, None]
    return jnp.sum(weights * phi(_relative(d_plus, distances)), axis=-1)

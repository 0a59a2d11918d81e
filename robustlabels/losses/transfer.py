"""Transfer functions φ: what a prototype loss makes of the relative distance μ.

All are increasing. Identity descends the average margin; the others weigh the
examples near the decision, or those that are wrong, more than the rest.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from robustlabels import _validate

__all__ = ["exponential", "identity", "sigmoid", "softplus", "swish"]

_POSITIVE = "A transfer function must increase: use a positive number."
_SMALLEST = 1e-30


def identity(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """φ(x) = x.

    >>> print(identity(jax.numpy.array([-0.5, 0.5])))
    [-0.5  0.5]
    """
    return x


def exponential(
    x: Float[Array, "*shape"], *, gamma: float | Float[Array, ""] = 1.0
) -> Float[Array, "*shape"]:
    """φ(x) = exp(γx), the transfer function of de Vries et al. (2016).

    The paper gives no value of γ; 1, 2 and 5 are usual.

    Args:
      x: relative distances in [-1, 1].
      gamma: γ > 0.

    Raises:
      ValueError: if gamma is not positive.

    >>> print(exponential(jax.numpy.array([0.0]), gamma=2.0))
    [1.]
    """
    _validate.in_range(_SMALLEST, jnp.inf, gamma=gamma, fix=_POSITIVE)
    return jnp.exp(gamma * x)


def sigmoid(
    x: Float[Array, "*shape"], *, beta: float | Float[Array, ""] = 1.0
) -> Float[Array, "*shape"]:
    """φ(x) = 1 / (1 + exp(-βx)), as in Sato & Yamada (1995).

    Args:
      x: relative distances in [-1, 1].
      beta: slope β > 0; libraries use 1 or 10.

    Raises:
      ValueError: if beta is not positive.

    >>> print(sigmoid(jax.numpy.array([0.0])))
    [0.5]
    """
    _validate.in_range(_SMALLEST, jnp.inf, beta=beta, fix=_POSITIVE)
    return jax.nn.sigmoid(beta * x)


def softplus(
    x: Float[Array, "*shape"], *, beta: float | Float[Array, ""] = 1.0
) -> Float[Array, "*shape"]:
    """φ(x) = log(1 + exp(βx)).

    Args:
      x: relative distances in [-1, 1].
      beta: slope β > 0.

    Raises:
      ValueError: if beta is not positive.

    >>> print(softplus(jax.numpy.array([0.0])))
    [0.6931472]
    """
    _validate.in_range(_SMALLEST, jnp.inf, beta=beta, fix=_POSITIVE)
    return jax.nn.softplus(beta * x)


def swish(
    x: Float[Array, "*shape"], *, beta: float | Float[Array, ""] = 1.0
) -> Float[Array, "*shape"]:
    """φ(x) = x / (1 + exp(-βx)); increases on [-1, 1] for β up to about 1.28.

    Args:
      x: relative distances in [-1, 1].
      beta: slope β > 0.

    Raises:
      ValueError: if beta is not positive.

    >>> print(swish(jax.numpy.array([0.0])))
    [0.]
    """
    _validate.in_range(_SMALLEST, jnp.inf, beta=beta, fix=_POSITIVE)
    return x * jax.nn.sigmoid(beta * x)

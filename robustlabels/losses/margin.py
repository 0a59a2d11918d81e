"""The margin: what an attack on the decision itself ascends."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from robustlabels.losses.selection import smallest

__all__ = ["margin"]


def margin(
    scores: Float[Array, " batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Best wrong score minus own score; Carlini & Wagner (2017), f6 unclamped.

    Args:
      scores: the larger, the more the class is believed; at least two classes.
      labels: class ids.

    Guarantees: positive iff a wrong class wins; unchanged when a constant is added
    to a row.

    >>> print(margin(jnp.array([[2.0, 5.0, 1.0]]), jnp.array([1])))
    [-3.]
    """
    own = jnp.arange(scores.shape[-1])[None, :] == labels[:, None]
    best_wrong = -smallest(-scores, ~own)
    return best_wrong - jnp.take_along_axis(scores, labels[:, None], axis=-1)[:, 0]

"""Cross-entropy: the loss everything else is compared with."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

__all__ = ["cross_entropy"]


def cross_entropy(
    logits: Float[Array, " batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Minus the log of the softmax probability of the label, in nats.

    Args:
      logits: unnormalised log-probabilities.
      labels: class ids.

    Guarantees: never negative; unchanged when a constant is added to a row.

    >>> print(cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1])))
    [0.6931472]
    """
    own = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    return jax.nn.logsumexp(logits, axis=-1) - own

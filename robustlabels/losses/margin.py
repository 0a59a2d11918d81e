"""What attacks on the decision itself ascend, whatever the training loss is."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from robustlabels import _validate
from robustlabels.losses.cross_entropy import cross_entropy
from robustlabels.losses.selection import smallest

__all__ = ["dlr", "margin", "targeted_dlr", "tempered_cross_entropy"]


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


def dlr(
    scores: Float[Array, " batch classes"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Difference of logits ratio, Croce & Hein (2020), equation 6.

    The margin over the distance of the largest to the third largest score. With two
    classes, where there is no third, it is over that to the second, which is held
    constant, for the ratio would have no gradient.

    Args:
      scores: the larger, the more the class is believed; at least two classes.
      labels: class ids.

    Guarantees: positive iff a wrong class wins; unchanged when a row is scaled by a
    positive number or a constant is added to it; 0 where scores are all the same.

    >>> print(dlr(jnp.array([[2.0, 5.0, 1.0]]), jnp.array([1])))
    [-0.75]
    """
    classes = scores.shape[-1]
    top, _ = jax.lax.top_k(scores, min(3, classes))
    spread = top[:, 0] - top[:, -1]
    if classes == 2:
        spread = jax.lax.stop_gradient(spread)
    return margin(scores, labels) / jnp.where(spread > 0, spread, 1.0)


def targeted_dlr(
    scores: Float[Array, " batch classes"],
    labels: Int[Array, " batch"],
    targets: Int[Array, " batch"],
) -> Float[Array, " batch"]:
    """Targeted difference of logits ratio, Croce & Hein (2020), equation 7.

    The target's score minus the own, over the distance of the largest score to the mean
    of the third and the fourth. With less than four classes it is over that to the
    smallest, held constant, for the ratio of these two would have no gradient.

    Args:
      scores: the larger, the more the class is believed; at least two classes.
      labels: class ids.
      targets: class ids to be reached.

    Guarantees: positive iff the target's score exceeds the own; unchanged when a row is
    scaled by a positive number or a constant is added to it; 0 where scores are all the
    same.

    >>> scores = jnp.array([[2.0, 5.0, 1.0, 0.0]])
    >>> print(targeted_dlr(scores, jnp.array([1]), jnp.array([0])))
    [-0.6666667]
    """
    if scores.shape[-1] < 4:
        spread = jnp.max(scores, axis=-1) - jnp.min(scores, axis=-1)
        spread = jax.lax.stop_gradient(spread)
    else:
        top, _ = jax.lax.top_k(scores, 4)
        spread = top[:, 0] - (top[:, 2] + top[:, 3]) / 2
    target = jnp.take_along_axis(scores, targets[:, None], axis=-1)
    own = jnp.take_along_axis(scores, labels[:, None], axis=-1)
    return (target - own)[:, 0] / jnp.where(spread > 0, spread, 1.0)


def tempered_cross_entropy(
    scores: Float[Array, " batch classes"],
    labels: Int[Array, " batch"],
    *,
    spread: float | Float[Array, ""] = 10.0,
) -> Float[Array, " batch"]:
    """Cross-entropy of scores that are scaled to one spread, example by example.

    Scores that are distances may be thousands apart, and a softmax of them has no
    gradient left; those of a net that was trained to large logits as well.

    Args:
      scores: the larger, the more the class is believed; at least two classes.
      labels: class ids.
      spread: of the largest to the smallest score after scaling, positive; the scale is
        a constant to the gradient.

    Raises:
      ValueError: for a spread that is not positive.

    Guarantees: unchanged when a row is scaled by a positive number or a constant is
    added to it.

    >>> scores = jnp.array([[-3000.0, -1000.0]])
    >>> print(tempered_cross_entropy(scores, jnp.array([0]), spread=2.0))
    [2.126928]
    """
    tiny = float(jnp.finfo(jnp.float32).tiny)
    fix = "About 10 keeps a gradient in every score."
    _validate.in_range(tiny, float("inf"), spread=spread, fix=fix)
    highest = jnp.max(scores, axis=-1, keepdims=True)
    lowest = jnp.min(scores, axis=-1, keepdims=True)
    width, highest = jax.lax.stop_gradient((highest - lowest, highest))
    tempered = spread * (scores - highest) / jnp.where(width > 0, width, 1.0)
    return cross_entropy(tempered, labels)

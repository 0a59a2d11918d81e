"""The nearest adversarial image: what searches for it return, and keep on the way."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from robustlabels.attacks import geometry

__all__ = [
    "MinimumDistortion",
    "Nearest",
    "is_adversarial",
    "nearer",
    "nearest_of",
    "root_mean_square",
]


class MinimumDistortion(NamedTuple):
    """What a search for the nearest adversarial image found.

    Attributes:
      x_adv: the nearest adversarial image, or the clean one where none was found.
      distortion: norm of x_adv - x, in pixels; infinite where none was found, and 0
        where the clean image is one already.
      success: whether one was found.
      steps: how many steps each example took.
    """

    x_adv: Float[Array, "batch ..."]
    distortion: Float[Array, " batch"]
    success: Bool[Array, " batch"]
    steps: Int[Array, " batch"]


class Nearest(NamedTuple):
    """The nearest adversarial image so far; the distance is infinite without one."""

    x_adv: Float[Array, "batch ..."]
    distortion: Float[Array, " batch"]

    def result(self, steps: Int[Array, " batch"]) -> MinimumDistortion:
        """What a search returns that ends here."""
        success = jnp.isfinite(self.distortion)
        return MinimumDistortion(self.x_adv, self.distortion, success, steps)


def is_adversarial(
    scores: Float[Array, "batch classes"], y: Int[Array, " batch"], *, targeted: bool
) -> Bool[Array, " batch"]:
    """Whether another class than y is decided for; if targeted, whether y is.

    >>> scores = jnp.array([[1.0, 2.0], [3.0, 0.0]])
    >>> print(is_adversarial(scores, jnp.array([0, 0]), targeted=False))
    [ True False]
    """
    return (jnp.argmax(scores, axis=-1) == y) == targeted


def nearest_of(
    x: Float[Array, "batch ..."], adversarial: Bool[Array, " batch"]
) -> Nearest:
    """Where a search begins: the clean images that are adversarial already.

    >>> start = nearest_of(jnp.zeros((2, 3)), jnp.array([True, False]))
    >>> print(start.distortion)
    [ 0. inf]
    """
    return Nearest(x, jnp.where(adversarial, 0.0, jnp.inf).astype(x.dtype))


def nearer(
    nearest: Nearest,
    x: Float[Array, "batch ..."],
    candidate: Float[Array, "batch ..."],
    adversarial: Bool[Array, " batch"],
    *,
    norm: str,
) -> Nearest:
    """The candidate where it is adversarial and nearer than the nearest so far.

    Args:
      nearest: so far.
      x: clean images.
      candidate: images.
      adversarial: which of them are adversarial.
      norm: "linf" or "l2".

    >>> start = nearest_of(jnp.zeros((1, 2)), jnp.array([False]))
    >>> image, yes = jnp.array([[0.3, 0.4]]), jnp.array([True])
    >>> print(nearer(start, jnp.zeros((1, 2)), image, yes, norm="l2").distortion)
    [0.5]
    """
    distortion = geometry.NORMS[norm].length(candidate - x).reshape(len(x))
    better = adversarial & (distortion < nearest.distortion)
    keep = better.reshape(-1, *[1] * (x.ndim - 1))
    return Nearest(
        jnp.where(keep, candidate, nearest.x_adv),
        jnp.where(better, distortion, nearest.distortion),
    )


def root_mean_square(
    x_adv: Float[Array | np.ndarray, "batch ..."],
    x: Float[Array | np.ndarray, "batch ..."],
) -> Float[Array, " batch"]:
    """The distortion of Szegedy et al. (2014): the root of the mean squared change.

    >>> print(root_mean_square(jnp.full((1, 2, 2, 1), 0.25), jnp.zeros((1, 2, 2, 1))))
    [0.25]
    """
    return jnp.sqrt(jnp.mean((x_adv - x) ** 2, axis=range(1, x.ndim)))

"""Noise of a given size: what every attack has to beat."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import Iteration, run

__all__ = [
    "gaussian_noise",
    "gaussian_noise_iteration",
    "uniform_noise",
    "uniform_noise_iteration",
]


def gaussian_noise(
    x: Float[Array, "batch ..."],
    *,
    epsilon: Any,
    key: Key[Array, "..."],
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Float[Array, "batch ..."]:
    """Adds Gaussian noise to every pixel, then clips.

    Args:
      x: images within the bounds.
      epsilon: standard deviation in pixels: a number, [batch], or an array that
        broadcasts against an image; may be traced.
      key: one key, or one an example; with one, example i uses it folded with i.
      bounds: range of a pixel; (-inf, inf) leaves the result unclipped.

    Raises:
      ValueError: for images outside of the bounds or a negative epsilon.

    Guarantees: within the bounds; epsilon 0 changes nothing.

    >>> x = jnp.full((1, 8, 8, 1), 0.5)
    >>> print(gaussian_noise(x, epsilon=0.1, key=jax.random.key(0)).shape)
    (1, 8, 8, 1)
    """
    iteration = gaussian_noise_iteration(epsilon=epsilon, key=key, bounds=bounds)
    return run(iteration, x, jnp.zeros(x.shape[0], jnp.int32))


def gaussian_noise_iteration(
    *, epsilon: Any, key: Key[Array, "..."], bounds: geometry.Bounds = (0.0, 1.0)
) -> Iteration:
    """`gaussian_noise` as an iteration without steps.

    >>> gaussian_noise_iteration(epsilon=0.1, key=jax.random.key(0)).num_steps
    0
    """
    _validate.in_range(0.0, jnp.inf, epsilon=epsilon, fix="A standard deviation.")

    def sample(x):
        keys = geometry.per_example_keys(key, x.shape[0])
        return jax.vmap(lambda k: jax.random.normal(k, x.shape[1:], x.dtype))(keys)

    return _added(sample, epsilon, bounds)


def uniform_noise(
    x: Float[Array, "batch ..."],
    *,
    epsilon: Any,
    key: Key[Array, "..."],
    norm: str = "linf",
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Float[Array, "batch ..."]:
    """Adds noise that is uniform in the ball of radius epsilon, then clips.

    Args:
      x: images within the bounds.
      epsilon: radius in pixels: a number, [batch], or an array that broadcasts against
        an image; may be traced.
      key: one key, or one an example; with one, example i uses it folded with i.
      norm: "linf" or "l2".
      bounds: range of a pixel; (-inf, inf) leaves the result unclipped.

    Raises:
      ValueError: for images outside of the bounds, or an epsilon wider than they.

    Guarantees: ‖x_adv - x‖ ≤ epsilon in the norm; within the bounds.

    >>> x = jnp.full((1, 8, 8, 1), 0.5)
    >>> noisy = uniform_noise(x, epsilon=0.1, key=jax.random.key(0))
    >>> print(bool(jnp.abs(noisy - x).max() <= 0.1))
    True
    """
    iteration = uniform_noise_iteration(
        epsilon=epsilon, key=key, norm=norm, bounds=bounds
    )
    return run(iteration, x, jnp.zeros(x.shape[0], jnp.int32))


def uniform_noise_iteration(
    *,
    epsilon: Any,
    key: Key[Array, "..."],
    norm: str = "linf",
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`uniform_noise` as an iteration without steps.

    >>> uniform_noise_iteration(epsilon=0.1, key=jax.random.key(0)).num_steps
    0
    """
    _validate.one_of(geometry.NORMS, norm=norm)
    geometry.check_epsilon(epsilon, bounds, norm)
    return _added(lambda x: geometry.random_in_ball(key, x, norm), epsilon, bounds)


def _added(sample, epsilon, bounds) -> Iteration:
    def init(x, y):
        del y
        geometry.check_images(x, bounds)
        size = geometry.per_image(epsilon, x, name="epsilon")
        return jnp.clip(x + size * sample(x), *bounds)

    return Iteration(init, lambda state: state, lambda state: state, num_steps=0)

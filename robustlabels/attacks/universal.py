"""Universal perturbations: one change that is added to every image.

What is searched for belongs to all examples at once, so this is no iteration per
example: the state is the perturbation, and a step takes it over one batch.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import LossFn

__all__ = ["universal_perturbation", "universal_step"]


def universal_perturbation(
    loss_fn: LossFn,
    x: Float[Array, "batches batch ..."],
    y: Int[Array, "batches batch"],
    *,
    epsilon: Any,
    num_epochs: int,
    step_size: Any,
    norm: str = "linf",
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Float[Array, "..."]:
    """Projected stochastic gradient ascent on the mean loss, Shafahi et al. (2020).

    The perturbation of Moosavi-Dezfooli et al. (2017), searched for from zero by one
    `universal_step` a batch, in the order of the batches, in every epoch. A loss that
    is not bounded above lets few examples decide; Shafahi et al. cut it:
    `lambda x, y: jnp.minimum(loss_fn(x, y), 9.0)`.

    Args:
      loss_fn: (x, y) -> [batch], to be ascended.
      x: images within the bounds, in batches of one size.
      y: class ids; with `targeted(loss_fn)`, those to be reached.
      epsilon: radius of the ball in pixels: a number, or an array that broadcasts
        against an image; may be traced.
      num_epochs: how often every batch is taken, at least once.
      step_size: length of a step, as epsilon; may be traced.
      norm: "linf" or "l2".
      bounds: range of a pixel; (-inf, inf) leaves perturbed images unclipped.

    Returns:
      The perturbation δ, of the shape of an image; x + δ is to be clipped.

    Raises:
      ValueError: for images outside of the bounds, an epsilon wider than they, a
        negative step, an unknown norm, or no epoch at all.

    Guarantees: ‖δ‖ ≤ epsilon in the norm.

    >>> w = jnp.array([3.0, -4.0])
    >>> delta = universal_perturbation(
    ...     lambda x, y: x @ w, jnp.full((2, 1, 2), 0.5), jnp.zeros((2, 1), int),
    ...     epsilon=0.25, num_epochs=2, step_size=0.125,
    ... )
    >>> print(delta)
    [ 0.25 -0.25]
    """
    _validate.count(num_epochs=num_epochs)
    geometry.check_images(x, bounds)

    def over_batch(delta, batch):
        delta = universal_step(
            loss_fn,
            delta,
            *batch,
            epsilon=epsilon,
            step_size=step_size,
            norm=norm,
            bounds=bounds,
        )
        return delta, None

    def over_epoch(_, delta):
        return jax.lax.scan(over_batch, delta, (x, y))[0]

    start = jnp.zeros(x.shape[2:], x.dtype)
    return jax.lax.stop_gradient(jax.lax.fori_loop(0, num_epochs, over_epoch, start))


def universal_step(
    loss_fn: LossFn,
    delta: Float[Array, "..."],
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    epsilon: Any,
    step_size: Any,
    norm: str = "linf",
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Float[Array, "..."]:
    """One step of `universal_perturbation`, for whoever loops over batches by himself.

    It ascends the mean loss at x + δ, clipped: the gradient of a pixel that is clipped
    is 0. Under `jax.jit` the batch may be spread over devices.

    Args:
      loss_fn: (x, y) -> [batch], to be ascended.
      delta: the perturbation so far, at first zeros of the shape of an image.
      x: images.
      y: class ids.
      epsilon: radius of the ball, as for `universal_perturbation`.
      step_size: length of the step.
      norm: "linf" or "l2".
      bounds: range of a pixel.

    Raises:
      ValueError: for an epsilon wider than the bounds, a negative step, or an unknown
        norm.

    >>> delta = universal_step(
    ...     lambda x, y: x.sum(-1), jnp.zeros(2), jnp.full((3, 2), 0.5),
    ...     jnp.zeros(3, int), epsilon=0.25, step_size=0.125,
    ... )
    >>> print(delta)
    [0.125 0.125]
    """
    _validate.one_of(geometry.NORMS, norm=norm)
    geometry.check_epsilon(epsilon, bounds, norm)
    _validate.in_range(
        0.0, jnp.inf, step_size=step_size, fix="For a targeted attack use targeted()."
    )
    ball = geometry.NORMS[norm]
    shared = delta[None]
    radius = geometry.per_image(epsilon, shared, name="epsilon")
    length = geometry.per_image(step_size, shared, name="step_size")

    def mean_loss(shared):
        return jnp.mean(loss_fn(jnp.clip(x + shared, *bounds), y))

    ascent = ball.ascent(jax.grad(mean_loss)(shared), length)
    return ball.project(shared + ascent, radius)[0]

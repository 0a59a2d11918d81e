"""The nearest adversarial image in L2, by direction and norm apart from each other."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from robustlabels import _validate
from robustlabels._composed import loss_and_scores
from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import Iteration, LossFn, run
from robustlabels.attacks.nearest import (
    MinimumDistortion,
    Nearest,
    is_adversarial,
    nearer,
    nearest_of,
)

__all__ = ["RadiusState", "annealed", "ddn", "ddn_iteration"]


class RadiusState(NamedTuple):
    """Where each example is, and the radius around x that it is brought to."""

    x_adv: Float[Array, "batch ..."]
    x: Float[Array, "batch ..."]
    y: Int[Array, " batch"]
    epsilon: Float[Array, " batch"]
    nearest: Nearest
    steps: Int[Array, " batch"]


def ddn(
    loss_fn: LossFn,
    scores_fn: Callable[[Array], Array],
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    num_steps: int = 100,
    gamma: float | Float[Array, ""] = 0.05,
    initial_epsilon: float | Float[Array, ""] = 1.0,
    levels: int | None = None,
    targeted: bool = False,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> MinimumDistortion:
    """Decoupled direction and norm, Rony et al. (2019), algorithm 1.

    The gradient says in which direction from x to go, in steps that shrink from 1 to
    0.01 by a cosine. How far is another matter: a radius that shrinks by gamma when the
    last image was adversarial, and grows by it when it was not.

    Args:
      loss_fn: (x, y) -> [batch], to be ascended, or descended if targeted.
      scores_fn: (x) -> [batch, classes]; the largest is the decision.
      x: images within the bounds.
      y: class ids; if targeted, those to be reached.
      num_steps: how many images are looked at, the first of which is x.
      gamma: share by which the radius changes, in [0, 1].
      initial_epsilon: first radius in pixels, positive.
      levels: how many values a pixel may take, such as 256 for images that are to be
        saved; None for any.
      targeted: whether y is to be reached instead of left.
      bounds: range of a pixel.

    Raises:
      ValueError: for images outside of the bounds, a gamma or a radius outside of its
        range, no step, fewer than two levels, or levels of infinite bounds.

    Guarantees: within the bounds; success is never claimed without the decision; the
    same result when the loss is multiplied by a positive number; an example has the
    same result in any batch.

    >>> def scores(x):
    ...     return jnp.concatenate([x, 1 - x], axis=-1)
    >>> result = ddn(lambda x, y: scores(x)[:, 1], scores, jnp.array([[0.75]]),
    ...              jnp.array([0]))
    >>> print(result.success, result.distortion.round(3))
    [ True] [0.25]
    """
    iteration = ddn_iteration(
        loss_fn,
        scores_fn,
        num_steps=num_steps,
        gamma=gamma,
        initial_epsilon=initial_epsilon,
        levels=levels,
        targeted=targeted,
        bounds=bounds,
    )
    return run(iteration, x, y)


def ddn_iteration(
    loss_fn: LossFn,
    scores_fn: Callable[[Array], Array],
    *,
    num_steps: int = 100,
    gamma: float | Float[Array, ""] = 0.05,
    initial_epsilon: float | Float[Array, ""] = 1.0,
    levels: int | None = None,
    targeted: bool = False,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`ddn` as an iteration; arguments, errors and guarantees as there.

    >>> iteration = ddn_iteration(lambda x, y: -x[:, 0], lambda x: x, num_steps=2)
    >>> state = iteration.init(jnp.array([[0.75, 0.25]]), jnp.array([0]))
    >>> print(jax.jit(iteration.step)(state).epsilon)
    [1.05]
    """
    _validate.count(num_steps=num_steps)
    _validate.in_range(0.0, 1.0, gamma=gamma, fix="A share, such as 0.05.")
    _validate.in_range(
        1e-30, jnp.inf, initial_epsilon=initial_epsilon, fix="A radius in pixels."
    )
    geometry.check_bounds(bounds)
    low, high = bounds
    if levels is not None:
        _validate.count(minimum=2, levels=levels)
        _validate.in_range(
            -jnp.inf, jnp.inf, bounds=bounds, fix="Levels lie between finite bounds."
        )
    ball = geometry.NORMS["l2"]
    sign = -1.0 if targeted else 1.0
    both = loss_and_scores(loss_fn, scores_fn)

    def finished(state):
        return state.nearest.distortion == 0

    def init(x, y):
        geometry.check_images(x, bounds)
        adversarial = is_adversarial(scores_fn(x), y, targeted=targeted)
        nearest = nearest_of(x, adversarial)
        epsilon = jnp.full_like(nearest.distortion, initial_epsilon)
        return RadiusState(x, x, y, epsilon, nearest, jnp.zeros_like(y, jnp.int32))

    def step(state):
        def ascended(x_adv):
            loss, scores = both(x_adv, state.y)
            return sign * jnp.sum(loss), scores

        x = state.x
        gradient, scores = jax.grad(ascended, has_aux=True)(state.x_adv)
        adversarial = is_adversarial(scores, state.y, targeted=targeted)
        nearest = nearer(state.nearest, x, state.x_adv, adversarial, norm="l2")
        epsilon = state.epsilon * jnp.where(adversarial, 1 - gamma, 1 + gamma)
        # No image is further away than the diagonal of the box.
        epsilon = jnp.minimum(epsilon, (high - low) * math.sqrt(x[0].size))
        step_size = annealed(1.0, 0.01, state.steps / num_steps)
        way = ball.ascent(gradient, geometry.over_pixels(step_size, x))
        direction = state.x_adv - x + way
        on_sphere = ball.ascent(direction, geometry.over_pixels(epsilon, x))
        x_adv = jnp.clip(x + on_sphere, low, high)
        if levels is not None:
            level = jnp.round((x_adv - low) / (high - low) * (levels - 1))
            x_adv = low + level / (levels - 1) * (high - low)
        new = RadiusState(x_adv, x, state.y, epsilon, nearest, state.steps + 1)
        return geometry.choose(finished(state), state, new)

    def result(state):
        return state.nearest.result(state.steps)

    return Iteration(init, step, result, num_steps, finished)


def annealed(
    first: float | Float[Array, ""],
    last: float | Float[Array, ""],
    progress: Float[Array, " batch"],
) -> Float[Array, " batch"]:
    """From the first value to the last by half a cosine, Loshchilov & Hutter (2017).

    Args:
      first: value at the start.
      last: value at the end.
      progress: share of the way, in [0, 1].

    >>> print(annealed(1.0, 0.0, jnp.array([0.0, 1.0])))
    [1. 0.]
    """
    return last + (first - last) * (1 + jnp.cos(jnp.pi * progress)) / 2

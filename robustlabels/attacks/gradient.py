"""Attacks that follow the sign or the direction of a gradient within a ball."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import Iteration, LossFn, run

__all__ = ["fgsm", "pgd", "pgd_iteration"]


class PGDState(NamedTuple):
    """Where each example is, where it came from, how far it may go; all gradients."""

    x_adv: Float[Array, "batch ..."]
    x: Float[Array, "batch ..."]
    y: Int[Array, " batch"]
    epsilon: Float[Array, "batch ..."]
    step_size: Float[Array, "batch ..."]
    accumulated: Float[Array, "batch ..."] | tuple[()]


def fgsm(
    loss_fn: LossFn,
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    epsilon: Any,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Float[Array, "batch ..."]:
    """Fast gradient sign method, Goodfellow et al. (2015): one step to the corner.

    Args:
      loss_fn: (x, y) -> [batch], to be ascended.
      x: images within the bounds.
      y: class ids; with `targeted(loss_fn)`, those to be reached.
      epsilon: most a pixel may change: a number, [batch], or an array that broadcasts
        against an image; may be traced.
      bounds: range of a pixel; (-inf, inf) leaves the result unclipped.

    Raises:
      ValueError: for images outside of the bounds, or an epsilon wider than they.

    Guarantees: |x_adv - x| ≤ epsilon per pixel; within the bounds; on a linear loss,
    no other image in the ball has a larger loss.

    >>> w = jnp.array([1.0, -2.0, 0.0])
    >>> x_adv = fgsm(lambda x, y: x @ w, jnp.full((1, 3), 0.5), jnp.array([0]),
    ...              epsilon=0.25)
    >>> print(x_adv)
    [[0.75 0.25 0.5 ]]
    """
    iteration = pgd_iteration(
        loss_fn, epsilon=epsilon, num_steps=1, step_size=epsilon, bounds=bounds
    )
    return run(iteration, x, y)


def pgd(
    loss_fn: LossFn,
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    epsilon: Any,
    num_steps: int,
    step_size: Any,
    norm: str = "linf",
    accumulate: bool = False,
    key: Key[Array, "..."] | None = None,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Float[Array, "batch ..."]:
    """Projected gradient ascent, Madry et al. (2018).

    Without a key it starts at x: the iterative method of Kurakin et al. (2017). With
    one it starts at a uniformly random point of the ball.

    Args:
      loss_fn: (x, y) -> [batch], to be ascended.
      x: images within the bounds.
      y: class ids; with `targeted(loss_fn)`, those to be reached.
      epsilon: radius of the ball in pixels: a number, [batch], or an array that
        broadcasts against an image; may be traced.
      num_steps: how many steps, at least 1.
      step_size: length of a step, as epsilon; may be traced.
      norm: "linf" or "l2".
      accumulate: whether a step follows the sum of all gradients so far instead of the
        last one, as the code of Chen et al. (2021) does. It is the weaker attack.
      key: one key, or one an example, for the random start; with one, example i uses it
        folded with i.
      bounds: range of a pixel; (-inf, inf) leaves the result unclipped.

    Raises:
      ValueError: for images outside of the bounds, an epsilon wider than they, a
        negative step, an unknown norm, or no step at all.

    Guarantees: ‖x_adv - x‖ ≤ epsilon in the norm; within the bounds; the same example
    gives the same result in any batch and on any number of devices when it has its own
    epsilon and key.

    >>> w = jnp.array([2.0, 0.0])
    >>> x_adv = pgd(lambda x, y: x @ w, jnp.full((1, 2), 0.5), jnp.array([0]),
    ...             epsilon=0.25, num_steps=3, step_size=0.125, norm="l2")
    >>> print(x_adv)
    [[0.75 0.5 ]]
    """
    iteration = pgd_iteration(
        loss_fn,
        epsilon=epsilon,
        num_steps=num_steps,
        step_size=step_size,
        norm=norm,
        accumulate=accumulate,
        key=key,
        bounds=bounds,
    )
    return run(iteration, x, y)


def pgd_iteration(
    loss_fn: LossFn,
    *,
    epsilon: Any,
    num_steps: int,
    step_size: Any,
    norm: str = "linf",
    accumulate: bool = False,
    key: Key[Array, "..."] | None = None,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`pgd` as an iteration; arguments, errors and guarantees as there.

    >>> iteration = pgd_iteration(
    ...     lambda x, y: x.sum(-1), epsilon=0.5, num_steps=2, step_size=0.25
    ... )
    >>> state = iteration.step(iteration.init(jnp.zeros((1, 2)), jnp.array([0])))
    >>> print(iteration.result(state))
    [[0.25 0.25]]
    """
    _validate.one_of(geometry.NORMS, norm=norm)
    _validate.count(num_steps=num_steps)
    geometry.check_epsilon(epsilon, bounds, norm)
    _validate.in_range(
        0.0, jnp.inf, step_size=step_size, fix="For a targeted attack use targeted()."
    )
    ball = geometry.NORMS[norm]

    def into_ball_and_box(x_adv, x, epsilon):
        return jnp.clip(x + ball.project(x_adv - x, epsilon), *bounds)

    def init(x, y):
        geometry.check_images(x, bounds)
        radius = geometry.per_image(epsilon, x, name="epsilon")
        start = x
        if key is not None:
            noise = geometry.random_in_ball(key, x, norm)
            start = into_ball_and_box(x + radius * noise, x, radius)
        length = geometry.per_image(step_size, x, name="step_size")
        accumulated = jnp.zeros_like(x) if accumulate else ()
        return PGDState(start, x, y, radius, length, accumulated)

    def step(state):
        gradient = jax.grad(lambda x: jnp.sum(loss_fn(x, state.y)))(state.x_adv)
        if accumulate:
            gradient = gradient + state.accumulated
            state = state._replace(accumulated=gradient)
        x_adv = state.x_adv + ball.ascent(gradient, state.step_size)
        return state._replace(x_adv=into_ball_and_box(x_adv, state.x, state.epsilon))

    return Iteration(init, step, lambda state: state.x_adv, num_steps)

"""Attacks that follow the sign or the direction of a gradient within a ball."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import Iteration, LossFn, run

__all__ = ["fgsm", "mi_fgsm", "pgd", "pgd_iteration"]


class PGDState(NamedTuple):
    """Where each example is, where it came from, how far it may go; past gradients."""

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


def mi_fgsm(
    loss_fn: LossFn,
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    epsilon: Any,
    num_steps: int = 10,
    momentum: Any = 1.0,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Float[Array, "batch ..."]:
    """Momentum iterative fast gradient sign method, Dong et al. (2018), algorithm 1.

    It is `pgd` from x with momentum and steps of epsilon / num_steps.

    Args:
      loss_fn: (x, y) -> [batch], to be ascended.
      x: images within the bounds.
      y: class ids; with `targeted(loss_fn)`, those to be reached.
      epsilon: most a pixel may change, as in `fgsm`.
      num_steps: how many steps, at least 1.
      momentum: decay of earlier gradients, as in `pgd`.
      bounds: range of a pixel; (-inf, inf) leaves the result unclipped.

    Raises:
      ValueError: as `pgd`.

    Guarantees: |x_adv - x| ≤ epsilon per pixel; within the bounds; on a linear loss,
    the result of `fgsm`.

    >>> w = jnp.array([1.0, -2.0, 0.0])
    >>> x_adv = mi_fgsm(lambda x, y: x @ w, jnp.full((1, 3), 0.5), jnp.array([0]),
    ...                 epsilon=0.25, num_steps=2)
    >>> print(x_adv)
    [[0.75 0.25 0.5 ]]
    """
    _validate.count(num_steps=num_steps)
    geometry.check_epsilon(epsilon, bounds, "linf")
    iteration = pgd_iteration(
        loss_fn,
        epsilon=epsilon,
        num_steps=num_steps,
        step_size=jnp.asarray(epsilon) / num_steps,
        momentum=momentum,
        bounds=bounds,
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
    momentum: Any = None,
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
      momentum: makes a step follow the sum of all gradients so far, each divided by its
        L1 norm and multiplied by this at every later step, Dong et al. (2018); may be
        traced.
      accumulate: whether a step follows the sum of all gradients so far instead of the
        last one, as the code of Chen et al. (2021) does. It is the weaker attack.
      key: one key, or one an example, for the random start; with one, example i uses it
        folded with i.
      bounds: range of a pixel; (-inf, inf) leaves the result unclipped.

    Raises:
      ValueError: for images outside of the bounds, an epsilon wider than they, a
        negative step, an unknown norm, no step at all, a negative momentum, or one
        beside accumulate.

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
        momentum=momentum,
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
    momentum: Any = None,
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
    _validate.in_range(0.0, jnp.inf, momentum=momentum, fix="The paper takes 1.")
    if accumulate and momentum is not None:
        raise ValueError(
            f"momentum={momentum} does not go with accumulate=True, the sum of all "
            "gradients as they are. Leave one out."
        )
    decay = 1.0 if accumulate else momentum
    into = functools.partial(geometry.into_ball_and_box, norm=norm, bounds=bounds)

    def init(x, y):
        geometry.check_images(x, bounds)
        radius = geometry.per_image(epsilon, x, name="epsilon")
        length = geometry.per_image(step_size, x, name="step_size")
        start = geometry.random_start(key, x, radius, norm=norm, bounds=bounds)
        accumulated = () if decay is None else jnp.zeros_like(x)
        return PGDState(start, x, y, radius, length, accumulated)

    def step(state):
        gradient = jax.grad(lambda x: jnp.sum(loss_fn(x, state.y)))(state.x_adv)
        if decay is not None:
            fresh = gradient if accumulate else geometry.unit_l1(gradient)
            gradient = jnp.asarray(decay, fresh.dtype) * state.accumulated + fresh
            state = state._replace(accumulated=gradient)
        moved = state.x_adv + geometry.NORMS[norm].ascent(gradient, state.step_size)
        return state._replace(x_adv=into(moved, state.x, state.epsilon))

    return Iteration(init, step, lambda state: state.x_adv, num_steps)

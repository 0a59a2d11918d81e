"""Auto-PGD: projected gradient ascent that finds its step size on the way."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import Iteration, LossFn, run

__all__ = ["apgd", "apgd_iteration"]


class Point(NamedTuple):
    """Images, their loss, and its gradient there."""

    x_adv: Float[Array, "batch ..."]
    loss: Float[Array, " batch"]
    gradient: Float[Array, "batch ..."]


class APGDState(NamedTuple):
    """Where each example is and was best, and what its next checkpoint looks at.

    Attributes:
      here: the point that the next step starts from.
      before: the images that the last step started from.
      best: the point of the largest loss so far.
      x: clean images.
      y: class ids.
      epsilon: radius of the ball.
      step_size: length of a step.
      steps: how many were taken.
      rises: how many of them, since the last checkpoint, raised the loss.
      checked: the largest loss at the last checkpoint.
      halved: whether the step size was halved there.
    """

    here: Point
    before: Float[Array, "batch ..."]
    best: Point
    x: Float[Array, "batch ..."]
    y: Int[Array, " batch"]
    epsilon: Float[Array, "batch ..."]
    step_size: Float[Array, "batch ..."]
    steps: Int[Array, " batch"]
    rises: Int[Array, " batch"]
    checked: Float[Array, " batch"]
    halved: Bool[Array, " batch"]


def apgd(
    loss_fn: LossFn,
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    epsilon: Any,
    num_steps: int = 100,
    norm: str = "linf",
    rho: Any = 0.75,
    alpha: Any = 0.75,
    key: Key[Array, "..."] | None = None,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Float[Array, "batch ..."]:
    """Auto-PGD, Croce & Hein (2020), algorithm 1.

    Steps with momentum begin at the length 2 epsilon. At checkpoints that come ever
    faster, an example that rose too seldom, or whose best loss and step size are those
    of the checkpoint before, halves its step and goes back to its best point.

    Args:
      loss_fn: (x, y) -> [batch], to be ascended.
      x: images within the bounds.
      y: class ids; with `targeted(loss_fn)`, those to be reached.
      epsilon: radius of the ball in pixels: a number, [batch], or an array that
        broadcasts against an image; may be traced.
      num_steps: how many steps, at least 1; one gradient each, and one for the start.
      norm: "linf" or "l2".
      rho: share of the steps between two checkpoints that have to raise the loss, in
        [0, 1]; may be traced.
      alpha: weight of a step beside the one before, whose weight is 1 - alpha, in
        [0, 1]; may be traced.
      key: one key, or one an example, for a start that is uniform in the ball; with
        one, example i uses it folded with i. Without a key it starts at x.
      bounds: range of a pixel; (-inf, inf) leaves the result unclipped.

    Raises:
      ValueError: for images outside of the bounds, an epsilon wider than they, a rho or
        an alpha outside of [0, 1], an unknown norm, or no step at all.

    Guarantees: ‖x_adv - x‖ ≤ epsilon in the norm; within the bounds; no visited point,
    the start included, has a larger loss than the result; the same example gives the
    same result in any batch when it has its own epsilon and key.

    >>> w = jnp.array([1.0, -2.0, 0.0])
    >>> x_adv = apgd(lambda x, y: x @ w, jnp.full((1, 3), 0.5), jnp.array([0]),
    ...              epsilon=0.25, num_steps=5)
    >>> print(x_adv)
    [[0.75 0.25 0.5 ]]
    """
    iteration = apgd_iteration(
        loss_fn,
        epsilon=epsilon,
        num_steps=num_steps,
        norm=norm,
        rho=rho,
        alpha=alpha,
        key=key,
        bounds=bounds,
    )
    return run(iteration, x, y)


def apgd_iteration(
    loss_fn: LossFn,
    *,
    epsilon: Any,
    num_steps: int = 100,
    norm: str = "linf",
    rho: Any = 0.75,
    alpha: Any = 0.75,
    key: Key[Array, "..."] | None = None,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`apgd` as an iteration, whose result is the best point so far at any step.

    >>> iteration = apgd_iteration(lambda x, y: -(x**2).sum(-1), epsilon=0.5)
    >>> state = iteration.init(jnp.full((1, 2), 0.25), jnp.array([0]))
    >>> print(iteration.result(iteration.step(state)))
    [[0. 0.]]
    """
    _validate.one_of(geometry.NORMS, norm=norm)
    _validate.count(num_steps=num_steps)
    geometry.check_epsilon(epsilon, bounds, norm)
    _validate.in_range(0.0, 1.0, rho=rho, alpha=alpha, fix="The paper takes 0.75.")
    into = functools.partial(geometry.into_ball_and_box, norm=norm, bounds=bounds)
    spans = _spans(num_steps)

    def evaluated(x_adv, y):
        def total(x):
            loss = loss_fn(x, y)
            return jnp.sum(loss), loss

        (_, loss), gradient = jax.value_and_grad(total, has_aux=True)(x_adv)
        return Point(x_adv, loss, gradient)

    def init(x, y):
        geometry.check_images(x, bounds)
        radius = geometry.per_image(epsilon, x, name="epsilon")
        start = geometry.random_start(key, x, radius, norm=norm, bounds=bounds)
        point = evaluated(start, y)
        zero = jnp.zeros_like(point.loss, jnp.int32)
        return APGDState(
            here=point,
            before=start,
            best=point,
            x=x,
            y=y,
            epsilon=radius,
            step_size=2 * radius,
            steps=zero,
            rises=zero,
            checked=point.loss,
            halved=jnp.zeros_like(point.loss, bool),
        )

    def moved(state):
        here, x, radius = state.here, state.x, state.epsilon
        ascent = geometry.NORMS[norm].ascent(here.gradient, state.step_size)
        plain = into(here.x_adv + ascent, x, radius)
        # The first step has none before it, and counts in full.
        weight = jnp.where(state.steps > 0, jnp.asarray(alpha, x.dtype), 1.0)
        weight = geometry.over_pixels(weight, x)
        momentum = (1 - weight) * (here.x_adv - state.before)
        return into(here.x_adv + weight * (plain - here.x_adv) + momentum, x, radius)

    def step(state):
        there = evaluated(moved(state), state.y)
        best = geometry.choose(there.loss > state.best.loss, there, state.best)
        rises = state.rises + (there.loss > state.here.loss)
        steps = state.steps + 1
        span = jnp.asarray(spans)[steps]
        checkpoint = span > 0
        oscillates = rises < rho * span
        stalls = ~state.halved & (best.loss == state.checked)
        halve = checkpoint & (oscillates | stalls)
        return state._replace(
            here=geometry.choose(halve, best, there),
            before=state.here.x_adv,
            best=best,
            step_size=geometry.choose(halve, state.step_size / 2, state.step_size),
            steps=steps,
            rises=jnp.where(checkpoint, 0, rises),
            checked=jnp.where(checkpoint, best.loss, state.checked),
            halved=jnp.where(checkpoint, halve, state.halved),
        )

    return Iteration(init, step, lambda state: state.best.x_adv, num_steps)


def _spans(num_steps: int) -> np.ndarray:
    """By the number of steps taken: how many since the last checkpoint, 0 if at none.

    The shares of the steps are whole percents, so that their rounding up is exact.

    >>> np.flatnonzero(_spans(100))
    array([22, 41, 57, 70, 80, 87, 93, 99])
    """
    percents = np.cumsum([0, 22, 19, 16, 13, 10, 7, 6, 6])
    checkpoints = np.unique(-(-percents * num_steps // 100))
    spans = np.zeros(num_steps + 1, np.int32)
    spans[checkpoints[1:]] = np.diff(checkpoints)
    return spans

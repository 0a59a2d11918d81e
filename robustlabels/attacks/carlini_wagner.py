"""The nearest adversarial image in L2, by a penalty whose weight is searched for."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import Iteration, run
from robustlabels.attacks.nearest import (
    MinimumDistortion,
    Nearest,
    is_adversarial,
    nearer,
    nearest_of,
)
from robustlabels.losses.margin import margin

__all__ = ["carlini_wagner", "carlini_wagner_iteration"]


class Descent(NamedTuple):
    """One run of Adam: the image before tanh, moments, the loss at the last check."""

    w: Float[Array, "batch ..."]
    mean: Float[Array, "batch ..."]
    square: Float[Array, "batch ..."]
    loss: Float[Array, " batch"]
    steps: Int[Array, " batch"]


class CarliniWagnerState(NamedTuple):
    """A run of Adam, the constant it is for, and bounds of the one searched for."""

    x: Float[Array, "batch ..."]
    y: Int[Array, " batch"]
    descent: Descent
    constant: Float[Array, " batch"]
    lower: Float[Array, " batch"]
    upper: Float[Array, " batch"]
    searches: Int[Array, " batch"]
    nearest: Nearest
    steps: Int[Array, " batch"]


def carlini_wagner(
    scores_fn: Callable[[Array], Array],
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    num_steps: int = 1000,
    num_searches: int = 9,
    step_size: float | Float[Array, ""] = 0.01,
    confidence: float | Float[Array, ""] = 0.0,
    initial_constant: float | Float[Array, ""] = 1e-3,
    abort_early: bool = True,
    targeted: bool = False,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> MinimumDistortion:
    """The L2 attack of Carlini & Wagner (2017), section VI.A.

    Adam minimises ‖x_adv - x‖² + c · max(confidence - margin, 0), where x_adv is within
    the bounds by a tanh. Each example has its own c: multiplied by 10 until a run is
    adversarial, then halfway between the largest that was not and the smallest that
    was. Here c counts in units of 1 / |margin at x|, for scores differ in scale, which
    the images then do not depend on.

    Args:
      scores_fn: (x) -> [batch, classes]; the largest is the decision.
      x: images within the bounds.
      y: class ids; if targeted, those to be reached.
      num_steps: how many images a run of Adam looks at, the first of which is x.
      num_searches: how many constants are tried. 9 reach from 1e-3 to 1e5, or find the
        order of magnitude and three more binary digits.
      step_size: learning rate of Adam, positive.
      confidence: margin that counts as adversarial, in units of the scores, at least 0.
      initial_constant: the first c, positive.
      abort_early: whether a run ends when a tenth of it has not lowered the loss by a
        ten-thousandth.
      targeted: whether y is to be reached instead of left.
      bounds: range of a pixel, finite.

    Raises:
      ValueError: for images outside of the bounds, infinite bounds, a step, a constant
        or a confidence outside of its range, or no step or search at all.

    Guarantees: within the bounds; success is never claimed without the decision; the
    same result when scores and confidence are multiplied by a positive number; an
    example has the same result in any batch.

    >>> def scores(x):
    ...     return jnp.concatenate([x, 1 - x], axis=-1)
    >>> result = carlini_wagner(scores, jnp.array([[0.75]]), jnp.array([0]),
    ...                         num_steps=100)
    >>> print(result.success, result.distortion.round(2))
    [ True] [0.25]
    """
    iteration = carlini_wagner_iteration(
        scores_fn,
        num_steps=num_steps,
        num_searches=num_searches,
        step_size=step_size,
        confidence=confidence,
        initial_constant=initial_constant,
        abort_early=abort_early,
        targeted=targeted,
        bounds=bounds,
    )
    return run(iteration, x, y)


def carlini_wagner_iteration(
    scores_fn: Callable[[Array], Array],
    *,
    num_steps: int = 1000,
    num_searches: int = 9,
    step_size: float | Float[Array, ""] = 0.01,
    confidence: float | Float[Array, ""] = 0.0,
    initial_constant: float | Float[Array, ""] = 1e-3,
    abort_early: bool = True,
    targeted: bool = False,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`carlini_wagner` as an iteration; arguments, errors and guarantees as there.

    Its steps are those of all searches, one after the other. An example whose run of
    Adam ends early begins the next at once.

    >>> iteration = carlini_wagner_iteration(lambda x: x, num_steps=2, num_searches=3)
    >>> state = iteration.init(jnp.array([[0.75, 0.25]]), jnp.array([0]))
    >>> step = jax.jit(iteration.step)
    >>> state = step(step(state))
    >>> print(iteration.num_steps, state.searches, state.constant)
    6 [1] [0.02]
    """
    _validate.count(num_steps=num_steps, num_searches=num_searches)
    _validate.in_range(
        1e-30,
        jnp.inf,
        step_size=step_size,
        initial_constant=initial_constant,
        fix="The paper takes 0.01 and 0.001.",
    )
    _validate.in_range(
        0.0, jnp.inf, confidence=confidence, fix="A margin between two scores."
    )
    geometry.check_bounds(bounds)
    _validate.in_range(
        -jnp.inf, jnp.inf, bounds=bounds, fix="tanh needs finite bounds."
    )
    low, high = bounds
    sign = -1.0 if targeted else 1.0
    steps_per_check = math.ceil(num_steps / 10)

    def look(x_adv, y):
        """How far the decision is from changing, and whether it has changed."""
        scores = scores_fn(x_adv)
        gap = sign * margin(scores, y)
        adversarial = is_adversarial(scores, y, targeted=targeted)
        return gap, adversarial & (gap >= confidence)

    def begin(x, y):
        centred = jnp.clip(2 * (x - low) / (high - low) - 1, -1.0, 1.0)
        # The shrinking keeps pixels at the bounds finite, as in the authors' code.
        w = jnp.arctanh(0.999999 * centred)
        loss = jnp.full_like(y, jnp.inf, x.dtype)
        zero = jnp.zeros_like(x)
        return Descent(w, zero, zero, loss, jnp.zeros_like(y, jnp.int32))

    def finished(state):
        return (state.searches == num_searches) | (state.nearest.distortion == 0)

    def init(x, y):
        geometry.check_images(x, bounds)
        gap, adversarial = look(x, y)
        constant = initial_constant / jnp.where(gap == 0, 1.0, jnp.abs(gap))
        none = jnp.zeros_like(y, jnp.int32)
        return CarliniWagnerState(
            x,
            y,
            begin(x, y),
            constant,
            jnp.zeros_like(constant),
            jnp.full_like(constant, jnp.inf),
            none,
            nearest_of(x, adversarial),
            none,
        )

    def step(state):
        x, descent, constant = state.x, state.descent, state.constant

        def total(w):
            x_adv = jnp.clip(low + (high - low) * (jnp.tanh(w) + 1) / 2, low, high)
            gap, adversarial = look(x_adv, state.y)
            distance = jnp.sum((x_adv - x) ** 2, axis=range(1, x.ndim))
            loss = distance + constant * jnp.maximum(confidence - gap, 0.0)
            return jnp.sum(loss), (loss, x_adv, adversarial)

        gradient, (loss, x_adv, adversarial) = jax.grad(total, has_aux=True)(descent.w)
        nearest = nearer(state.nearest, x, x_adv, adversarial, norm="l2")
        upper = jnp.where(adversarial, constant, state.upper)

        # Adam, whose count of steps is one an example.
        steps = descent.steps + 1
        count = geometry.over_pixels(steps.astype(x.dtype), x)
        mean = 0.9 * descent.mean + 0.1 * gradient
        square = 0.999 * descent.square + 0.001 * gradient**2
        deviation = jnp.sqrt(square / (1 - 0.999**count))
        w = descent.w - step_size * mean / (1 - 0.9**count) / (deviation + 1e-8)

        checked = steps % steps_per_check == 0
        over = steps == num_steps
        if abort_early:
            over = over | (checked & (loss > 0.9999 * descent.loss))
        last = jnp.where(checked, loss, descent.loss)
        goes_on = Descent(w, mean, square, last, steps)

        lower = jnp.where(over & (constant < upper), constant, state.lower)
        other = jnp.where(jnp.isinf(upper), 10 * constant, (lower + upper) / 2)
        new = CarliniWagnerState(
            x,
            state.y,
            geometry.choose(over, begin(x, state.y), goes_on),
            jnp.where(over, other, constant),
            lower,
            upper,
            state.searches + over,
            nearest,
            state.steps + 1,
        )
        return geometry.choose(finished(state), state, new)

    def result(state):
        return state.nearest.result(state.steps)

    return Iteration(init, step, result, num_steps * num_searches, finished)

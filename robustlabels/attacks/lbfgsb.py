"""Box-constrained L-BFGS: a problem for each example, an evaluation for each step.

The caller evaluates: `propose` says where, and `observe` is told what came of it. So a
whole batch of problems, each at its own stage, is one program.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from robustlabels.attacks.geometry import Bounds, choose

__all__ = ["Descent", "Pair", "observe", "propose", "residual", "restart", "start"]

_SUFFICIENT_DECREASE = 1e-4
_SHORTEST_CUT, _LONGEST_CUT = 0.1, 0.5
_CANCELLED = 1e-4


class Pair(NamedTuple):
    """A step and the change of the gradient along it; 0 for variables at a bound.

    Attributes:
      step: from one point to the next.
      change: of the gradient, without that of the quadratic term.
      square: step · step; 0 if there is no pair.
      product: step · change; 0 if there is no pair.
    """

    step: Float[Array, "batch variables"]
    change: Float[Array, "batch variables"]
    square: Float[Array, " batch"]
    product: Float[Array, " batch"]


class Descent(NamedTuple):
    """Where each example is in minimising f(x) + weight ‖x - centre‖² within a box.

    No attribute but the weight knows of the quadratic term: another weight may be put
    in between two steps, and what was learned of f stays true.

    Attributes:
      x: the lowest point so far.
      value: f(x); infinite before the first observation.
      gradient: of f at x.
      centre: of the quadratic term.
      weight: of the quadratic term, at least 0.
      pairs: what is remembered, the newest first.
      scale: guess of the inverse curvature where nothing is known of it.
      length: of the next trial, as a share of the quasi-Newton step.
    """

    x: Float[Array, "batch variables"]
    value: Float[Array, " batch"]
    gradient: Float[Array, "batch variables"]
    centre: Float[Array, "batch variables"]
    weight: Float[Array, " batch"]
    pairs: tuple[Pair, ...]
    scale: Float[Array, " batch"]
    length: Float[Array, " batch"]

    def whole_value(self) -> Float[Array, " batch"]:
        """f(x) + weight ‖x - centre‖²."""
        away = self.x - self.centre
        return self.value + self.weight * _dot(away, away)

    def whole_gradient(self) -> Float[Array, "batch variables"]:
        """Gradient of the whole value."""
        return self.gradient + 2 * self.weight[:, None] * (self.x - self.centre)


def start(
    x: Float[Array, "batch variables"],
    *,
    memory: int,
    weight: Float[Array, " batch"],
    scale: Float[Array, " batch"],
) -> Descent:
    """A descent from x, which is also the centre; the first trial is x itself.

    Args:
      x: within the bounds.
      memory: how many pairs are remembered.
      weight: of the quadratic term.
      scale: of the first step, which follows the gradient.
    """
    zeros, zero = jnp.zeros_like(x), jnp.zeros_like(weight)
    pairs = (Pair(zeros, zeros, zero, zero),) * memory
    return Descent(x, zero + jnp.inf, zeros, x, weight, pairs, scale, zero)


def restart(descent: Descent, where: Bool[Array, " batch"]) -> Descent:
    """Some examples start from their centre again and remember nothing."""

    def cleared(values):
        return jnp.where(where, 0.0, values)

    return descent._replace(
        x=jnp.where(where[:, None], descent.centre, descent.x),
        value=jnp.where(where, jnp.inf, descent.value),
        pairs=tuple(
            pair._replace(square=cleared(pair.square), product=cleared(pair.product))
            for pair in descent.pairs
        ),
        length=cleared(descent.length),
    )


def propose(descent: Descent, bounds: Bounds) -> Float[Array, "batch variables"]:
    """The point within the bounds that each example has to evaluate next.

    A quasi-Newton step by the two-loop recursion of Nocedal (1980), for the variables
    that no bound holds, cut back to the box as by Bertsekas (1982).
    """
    gradient = descent.whole_gradient()
    free = ~_held(descent.x, gradient, bounds)
    twice = 2 * descent.weight[:, None]
    remembered = [
        (pair.step, pair.change + twice * pair.step, _inverse(pair, descent.weight))
        for pair in descent.pairs
    ]
    ascent, shares = jnp.where(free, gradient, 0.0), []
    for step, change, inverse in remembered:
        shares.append(inverse * _dot(step, ascent))
        ascent = ascent - shares[-1][:, None] * change
    ascent = descent.scale[:, None] * ascent
    for step, change, inverse in reversed(remembered):
        share = shares.pop() - inverse * _dot(change, ascent)
        ascent = ascent + share[:, None] * step
    ascent = jnp.where(free, ascent, 0.0)
    return jnp.clip(descent.x - descent.length[:, None] * ascent, *bounds)


def observe(
    descent: Descent,
    trial: Float[Array, "batch variables"],
    value: Float[Array, " batch"],
    gradient: Float[Array, "batch variables"],
    bounds: Bounds,
) -> tuple[Descent, Bool[Array, " batch"]]:
    """Goes to the trial where it is low enough; elsewhere the next one will be nearer.

    Args:
      descent: that proposed the trial.
      trial: the point.
      value: of f there.
      gradient: of f there.
      bounds: of a variable.

    Returns:
      The descent, and who has gone to the trial.

    Guarantees: the whole value never rises by more than its rounding.
    """
    ahead = descent._replace(x=trial, value=value, gradient=gradient)
    old_value, new_value = descent.whole_value(), ahead.whole_value()
    old_gradient, new_gradient = descent.whole_gradient(), ahead.whole_gradient()
    step = trial - descent.x
    slope = _dot(old_gradient, step)
    rounding = 10 * jnp.finfo(value.dtype).eps * jnp.abs(old_value)
    accepted = new_value <= old_value + _SUFFICIENT_DECREASE * slope + rounding

    # Where the parabola through both values and the slope has its minimum.
    excess = new_value - old_value - slope
    bent = excess > 0
    cut = jnp.where(bent, -slope / jnp.where(bent, 2 * excess, 1.0), 0.0)
    shorter = descent.length * jnp.clip(cut, _SHORTEST_CUT, _LONGEST_CUT)

    held = _held(descent.x, old_gradient, bounds) | _held(trial, new_gradient, bounds)
    step = jnp.where(held, 0.0, step)
    change = jnp.where(held, 0.0, gradient - descent.gradient)
    pair = Pair(step, change, _dot(step, step), _dot(step, change))
    inverse = _inverse(pair, descent.weight)
    curved = accepted & (inverse > 0)
    pairs = zip((pair, *descent.pairs), descent.pairs, strict=False)
    whole_change = jnp.where(held, 0.0, new_gradient - old_gradient)
    scale = 1 / (inverse * _dot(whole_change, whole_change))
    moved = choose(accepted, ahead, descent)._replace(
        pairs=tuple(choose(curved, newer, older) for newer, older in pairs),
        scale=jnp.where(curved, scale, descent.scale),
        length=jnp.where(accepted, 1.0, shorter),
    )
    return moved, accepted


def residual(
    descent: Descent, bounds: Bounds, *, step_size: Float[Array, " batch"]
) -> Float[Array, " batch"]:
    """How far a projected step along the gradient goes; 0 at a minimum."""
    x = descent.x - step_size[:, None] * descent.whole_gradient()
    return jnp.linalg.norm(jnp.clip(x, *bounds) - descent.x, axis=-1)


def _held(x, gradient, bounds):
    """Which variables are at a bound that they would cross downhill."""
    low, high = bounds
    return ((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0))


def _inverse(pair, weight):
    """1 / (step · change of the whole); 0 where that is not clearly positive."""
    added = 2 * weight * pair.square
    curvature = pair.product + added
    positive = curvature > _CANCELLED * (jnp.abs(pair.product) + added)
    return jnp.where(positive, 1 / jnp.where(positive, curvature, 1.0), 0.0)


def _dot(a, b):
    return jnp.sum(a * b, axis=-1)

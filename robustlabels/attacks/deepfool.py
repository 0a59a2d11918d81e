"""The nearest adversarial image, by steps to where a linear classifier would change."""

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

__all__ = ["Boundary", "deepfool", "deepfool_iteration", "nearest_boundary"]


class Boundary(NamedTuple):
    """Where the decision would change if the scores were linear.

    Attributes:
      scores: of all classes, at the image.
      gap: difference of the two scores that are equal there; positive beyond it.
      gradient: of the gap.
      distance: |gap| / ‖gradient‖ in the dual norm; infinite without a gradient.
    """

    scores: Float[Array, "batch classes"]
    gap: Float[Array, " batch"]
    gradient: Float[Array, "batch ..."]
    distance: Float[Array, " batch"]


class DeepFoolState(NamedTuple):
    """Where each example is, and the sum of all steps before overshoot and bounds."""

    x_adv: Float[Array, "batch ..."]
    x: Float[Array, "batch ..."]
    y: Int[Array, " batch"]
    moved: Float[Array, "batch ..."]
    nearest: Nearest
    steps: Int[Array, " batch"]


def deepfool(
    scores_fn: Callable[[Array], Array],
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    norm: str = "l2",
    num_steps: int = 50,
    overshoot: float | Float[Array, ""] = 0.02,
    candidates: int = 10,
    targeted: bool = False,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> MinimumDistortion:
    """DeepFool, Moosavi-Dezfooli et al. (2016), algorithm 2.

    Each step goes to the nearest of the boundaries that linear scores would have. An
    example ends at the first image that is adversarial. As in the authors' code, steps
    are 1e-4 longer than that, so that they end, and an image is x and the sum of all
    steps, enlarged by the overshoot and then clipped.

    Args:
      scores_fn: (x) -> [batch, classes]; the largest is the decision.
      x: images within the bounds.
      y: class ids; if targeted, those to be reached.
      norm: "linf" or "l2".
      num_steps: how many images are looked at, the first of which is x.
      overshoot: share by which the sum of all steps is enlarged, at least 0.
      candidates: how many of the best classes are considered, y among them; a step
        costs a backward pass for each but y. If targeted, it is the one between y and
        the best other class.
      targeted: whether y is to be reached instead of left.
      bounds: range of a pixel; (-inf, inf) leaves the images unclipped.

    Raises:
      ValueError: for images outside of the bounds, an unknown norm, a negative
        overshoot, no step, or fewer than two candidates.

    Guarantees: within the bounds; success is never claimed without the decision; the
    same result when the scores are multiplied by a positive number; an example has the
    same result in any batch; on linear scores and without bounds, the second image is
    adversarial and as near as one can be, but for the 1e-4 and the overshoot.

    >>> def scores(x):
    ...     return jnp.concatenate([x, 1 - x], axis=-1)
    >>> result = deepfool(scores, jnp.array([[0.75]]), jnp.array([0]))
    >>> print(result.success, result.steps, round(float(result.distortion[0]), 3))
    [ True] [2] 0.255
    """
    iteration = deepfool_iteration(
        scores_fn,
        norm=norm,
        num_steps=num_steps,
        overshoot=overshoot,
        candidates=candidates,
        targeted=targeted,
        bounds=bounds,
    )
    return run(iteration, x, y)


def deepfool_iteration(
    scores_fn: Callable[[Array], Array],
    *,
    norm: str = "l2",
    num_steps: int = 50,
    overshoot: float | Float[Array, ""] = 0.02,
    candidates: int = 10,
    targeted: bool = False,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`deepfool` as an iteration; arguments, errors and guarantees as there.

    >>> iteration = deepfool_iteration(lambda x: x, norm="linf", overshoot=0.0)
    >>> state = iteration.init(jnp.array([[0.75, 0.25]]), jnp.array([0]))
    >>> print(jax.jit(iteration.step)(state).x_adv)
    [[0.4999 0.5001]]
    """
    _validate.one_of(geometry.NORMS, norm=norm)
    _validate.count(num_steps=num_steps)
    _validate.count(minimum=2, candidates=candidates)
    _validate.in_range(0.0, jnp.inf, overshoot=overshoot, fix="A share, such as 0.02.")
    geometry.check_bounds(bounds)
    ball = geometry.NORMS[norm]

    def finished(state):
        return jnp.isfinite(state.nearest.distortion)

    def init(x, y):
        geometry.check_images(x, bounds)
        adversarial = is_adversarial(scores_fn(x), y, targeted=targeted)
        nearest = nearest_of(x, adversarial)
        steps = jnp.zeros_like(y, jnp.int32)
        return DeepFoolState(x, x, y, jnp.zeros_like(x), nearest, steps)

    def step(state):
        x, y = state.x, state.y
        boundary = nearest_boundary(
            scores_fn,
            state.x_adv,
            y,
            norm=norm,
            candidates=candidates,
            targeted=targeted,
        )
        adversarial = is_adversarial(boundary.scores, y, targeted=targeted)
        nearest = nearer(state.nearest, x, state.x_adv, adversarial, norm=norm)
        distance = boundary.distance + 1e-4
        length = jnp.where(jnp.isfinite(distance), distance, 0.0)
        way = ball.ascent(boundary.gradient, geometry.over_pixels(length, x))
        moved = state.moved + way
        x_adv = jnp.clip(x + (1 + overshoot) * moved, *bounds)
        new = DeepFoolState(x_adv, x, y, moved, nearest, state.steps + 1)
        return geometry.choose(finished(state), state, new)

    def result(state):
        return state.nearest.result(state.steps)

    return Iteration(init, step, result, num_steps, finished)


def nearest_boundary(
    scores_fn: Callable[[Array], Array],
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    norm: str,
    candidates: int,
    targeted: bool,
) -> Boundary:
    """The nearest of the boundaries that the scores would have if they were linear.

    Args:
      scores_fn: (x) -> [batch, classes]; an example's depend on its own image alone.
      x: images.
      y: class ids.
      norm: "linf" or "l2".
      candidates: of how many of the best classes, y among them.
      targeted: whether y is to be reached: then it is the boundary of y and the best
        other class.

    >>> def scores(x):
    ...     return jnp.concatenate([x, -x, 3 * x - 3], axis=-1)
    >>> boundary = nearest_boundary(scores, jnp.array([[1.0]]), jnp.array([0]),
    ...                             norm="l2", candidates=3, targeted=False)
    >>> print(boundary.gap, boundary.gradient, boundary.distance)
    [-1.] [[2.]] [0.5]
    """
    scores, pull_back = jax.vjp(scores_fn, x)
    classes = scores.shape[-1]
    others = 1 if targeted else min(candidates, classes) - 1
    own = jax.nn.one_hot(y, classes, dtype=scores.dtype)
    _, best = jax.lax.top_k(jnp.where(own > 0, -jnp.inf, scores), others)
    differences = jax.nn.one_hot(best, classes, dtype=scores.dtype) - own[:, None]
    if targeted:
        differences = -differences

    def to_boundary(difference):
        (gradient,) = pull_back(difference)
        gap = jnp.sum(difference * scores, axis=-1)
        return gap, gradient, geometry.linear_distance(gap, gradient, norm)

    boundaries = jax.vmap(to_boundary, in_axes=1, out_axes=1)(differences)
    nearest = jnp.argmin(boundaries[-1], axis=1)
    pick = jax.vmap(lambda values, index: values[index])
    return Boundary(scores, *(pick(values, nearest) for values in boundaries))

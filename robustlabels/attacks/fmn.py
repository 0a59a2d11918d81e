"""The nearest adversarial image, by a radius that follows the decision boundary."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.ddn import RadiusState, annealed
from robustlabels.attacks.iteration import Iteration, run
from robustlabels.attacks.nearest import (
    MinimumDistortion,
    is_adversarial,
    nearer,
    nearest_of,
)
from robustlabels.losses.margin import margin

__all__ = ["fmn", "fmn_iteration"]


def fmn(
    scores_fn: Callable[[Array], Array],
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    norm: str = "linf",
    num_steps: int = 100,
    gamma: float | Float[Array, ""] = 0.05,
    final_gamma: float | Float[Array, ""] = 0.001,
    step_size: float | Float[Array, ""] = 1.0,
    final_step_size: float | Float[Array, ""] = 0.01,
    targeted: bool = False,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> MinimumDistortion:
    """Fast minimum-norm attack, Pintor et al. (2021), algorithm 1, from x.

    Steps of fixed length along the gradient of the margin, projected into a ball. Its
    radius shrinks by gamma when the last image was adversarial, at least to the best
    distortion, and grows by it when it was not. Before any was, it is the distance to
    the boundary to first order. Here that is enlarged by gamma and never shrinks: the
    paper's may end on the boundary, where the decision is still the old one, or short
    of it where bounds cut steps off. Steps and gamma shrink by a cosine.

    Args:
      scores_fn: (x) -> [batch, classes]; the largest is the decision.
      x: images within the bounds.
      y: class ids; if targeted, those to be reached.
      norm: "linf" or "l2", of the distortion; a step has its length in L2.
      num_steps: how many images are looked at, the first of which is x.
      gamma: share by which the radius changes at first, in [0, 1].
      final_gamma: share at the end.
      step_size: length of the first step in L2, in pixels.
      final_step_size: length at the end.
      targeted: whether y is to be reached instead of left.
      bounds: range of a pixel; (-inf, inf) leaves the images unclipped.

    Raises:
      ValueError: for images outside of the bounds, an unknown norm, a share or a step
        outside of its range, or no step at all.

    Guarantees: within the bounds; success is never claimed without the decision; the
    same result when the scores are multiplied by a positive number; an example has the
    same result in any batch.

    >>> def scores(x):
    ...     return jnp.concatenate([x, 1 - x], axis=-1)
    >>> result = fmn(scores, jnp.array([[0.75]]), jnp.array([0]))
    >>> print(result.success, result.distortion.round(3))
    [ True] [0.25]
    """
    iteration = fmn_iteration(
        scores_fn,
        norm=norm,
        num_steps=num_steps,
        gamma=gamma,
        final_gamma=final_gamma,
        step_size=step_size,
        final_step_size=final_step_size,
        targeted=targeted,
        bounds=bounds,
    )
    return run(iteration, x, y)


def fmn_iteration(
    scores_fn: Callable[[Array], Array],
    *,
    norm: str = "linf",
    num_steps: int = 100,
    gamma: float | Float[Array, ""] = 0.05,
    final_gamma: float | Float[Array, ""] = 0.001,
    step_size: float | Float[Array, ""] = 1.0,
    final_step_size: float | Float[Array, ""] = 0.01,
    targeted: bool = False,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`fmn` as an iteration; arguments, errors and guarantees as there.

    >>> iteration = fmn_iteration(lambda x: x, num_steps=2)
    >>> state = iteration.init(jnp.array([[0.75, 0.25]]), jnp.array([0]))
    >>> print(jax.jit(iteration.step)(state).epsilon.round(4))
    [0.2625]
    """
    _validate.one_of(geometry.NORMS, norm=norm)
    _validate.count(num_steps=num_steps)
    _validate.in_range(
        0.0, 1.0, gamma=gamma, final_gamma=final_gamma, fix="A share, such as 0.05."
    )
    _validate.in_range(
        0.0,
        jnp.inf,
        step_size=step_size,
        final_step_size=final_step_size,
        fix="A length in pixels.",
    )
    geometry.check_bounds(bounds)
    ball, l2 = geometry.NORMS[norm], geometry.NORMS["l2"]
    sign = -1.0 if targeted else 1.0

    def finished(state):
        return state.nearest.distortion == 0

    def init(x, y):
        geometry.check_images(x, bounds)
        adversarial = is_adversarial(scores_fn(x), y, targeted=targeted)
        nearest = nearest_of(x, adversarial)
        epsilon = jnp.zeros_like(nearest.distortion)
        return RadiusState(x, x, y, epsilon, nearest, jnp.zeros_like(y, jnp.int32))

    def step(state):
        def ascended(x_adv):
            scores = scores_fn(x_adv)
            gap = sign * margin(scores, state.y)
            return jnp.sum(gap), (gap, scores)

        x, delta = state.x, state.x_adv - state.x
        gradient, (gap, scores) = jax.grad(ascended, has_aux=True)(state.x_adv)
        adversarial = is_adversarial(scores, state.y, targeted=targeted)
        nearest = nearer(state.nearest, x, state.x_adv, adversarial, norm=norm)
        progress = state.steps / num_steps
        change = annealed(gamma, final_gamma, progress)
        found = jnp.isfinite(nearest.distortion)
        to_boundary = geometry.linear_distance(gap, gradient, norm)
        first_order = ball.length(delta).reshape(len(x)) + to_boundary
        reach = jnp.maximum(state.epsilon, jnp.where(found, 0.0, first_order))
        epsilon = jnp.where(
            adversarial,
            jnp.minimum(state.epsilon * (1 - change), nearest.distortion),
            reach * (1 + change),
        )
        length = annealed(step_size, final_step_size, progress)
        moved = delta + l2.ascent(gradient, geometry.over_pixels(length, x))
        in_ball = ball.project(moved, geometry.over_pixels(epsilon, x))
        x_adv = jnp.clip(x + in_ball, *bounds)
        new = RadiusState(x_adv, x, state.y, epsilon, nearest, state.steps + 1)
        return geometry.choose(finished(state), state, new)

    def result(state):
        return state.nearest.result(state.steps)

    return Iteration(init, step, result, num_steps, finished)

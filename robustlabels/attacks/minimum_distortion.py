"""The nearest adversarial image by box-constrained L-BFGS, Szegedy et al. (2014)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from robustlabels import _validate
from robustlabels._composed import loss_and_scores
from robustlabels.attacks import geometry, lbfgsb
from robustlabels.attacks.iteration import Iteration, LossFn, run
from robustlabels.attacks.nearest import (
    MinimumDistortion,
    Nearest,
    is_adversarial,
    nearer,
    nearest_of,
)

__all__ = ["minimum_distortion", "minimum_distortion_iteration"]

# A solution that is off sideways by some share is too long by half its square.
_SIDEWAYS = 10
_FURTHER = 1.4
_TINY = 1e-30


class Search(NamedTuple):
    """For the largest weight of the distance with which a class is reached.

    Attributes:
      low: largest weight that succeeded; 0 before the first.
      high: smallest weight that failed; infinite before the first.
      reach: length of the longest solution that failed.
      count: how many weights were tried.
    """

    low: Float[Array, " batch"]
    high: Float[Array, " batch"]
    reach: Float[Array, " batch"]
    count: Int[Array, " batch"]


class MinimumDistortionState(NamedTuple):
    """A descent with one weight, the search around it, and the classes around that.

    Attributes:
      descent: of the current class's loss; the clean image is its centre.
      adversarial: whether the point that it is at is.
      search: of the current class.
      targets: classes to be reached, one after the other.
      rank: of the current one; their number after the last.
      y: class ids.
      nearest: of all images so far.
      steps: taken by each example.
    """

    descent: lbfgsb.Descent
    adversarial: Bool[Array, " batch"]
    search: Search
    targets: Int[Array, "batch targets"]
    rank: Int[Array, " batch"]
    y: Int[Array, " batch"]
    nearest: Nearest
    steps: Int[Array, " batch"]


def minimum_distortion(
    loss_fn: LossFn,
    scores_fn: Callable[[Array], Array],
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    targeted: bool = False,
    num_steps: int = 200,
    num_searches: int = 15,
    num_targets: int = 9,
    memory: int = 3,
    tolerance: float | Float[Array, ""] = 1e-3,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> MinimumDistortion:
    """Box-constrained L-BFGS, Szegedy et al. (2014), section 4.1.

    It minimises c ‖x_adv - x‖² + loss(x_adv, class) within the bounds, and searches for
    the largest c that leads to the class: its solution is the nearest one. (The paper
    asks for the smallest, and does not square.) From a guess, c is doubled or halved,
    then multiplied by 4, by 8 and so on, until one c succeeded and another one failed,
    and then halved on a logarithmic scale. A descent starts where the one before ended,
    and with its memory. All images on the way count if they are adversarial.

    The smaller c, the longer the solution. So a class is done as soon as a solution
    that failed is as long as the nearest adversarial image so far: a smaller c leads
    further out, and a larger one fails. Without a target, wrong classes are tried one
    after the other, and most are done at once, for they cannot be nearer than those
    before.

    Args:
      loss_fn: (x, class ids) -> [batch], to be descended, such as `Classifier.loss`.
        What it makes of classes other than the target and the one decided for leads
        away from the nearest image: a cross-entropy of larger logits comes nearer.
      scores_fn: (x) -> [batch, classes]; the largest is the decision.
      x: images within the bounds.
      y: class ids; if targeted, those to be reached.
      targeted: whether y is to be reached instead of left.
      num_steps: how many images are looked at for each class, at most.
      num_searches: how many c are tried for each class, at most.
      num_targets: how many wrong classes are tried, those with the best scores first.
      memory: how many pairs L-BFGS remembers.
      tolerance: share by which the nearest image may be further away than the solution
        that failed; in [0, 0.1].
      bounds: range of a pixel; (-inf, inf) leaves the images unclipped.

    Raises:
      ValueError: for images outside of the bounds, a tolerance outside of its range, or
        a number below 1.

    Guarantees: within the bounds; success is never claimed without the decision; the
    same result when the loss is multiplied by a positive number; an example has the
    same result in any batch; where the loss is convex and the decision for the target
    depends on it alone, the nearest image within the tolerance.

    >>> from robustlabels import objective
    >>> model = objective.bind(objective.softmax().at({}, 1.0), lambda x: 20 * x)
    >>> result = minimum_distortion(model.loss, model.scores, jnp.array([[0.9, 0.1]]),
    ...                             jnp.array([0]))
    >>> print(result.success, result.distortion.round(2))
    [ True] [0.57]
    """
    iteration = minimum_distortion_iteration(
        loss_fn,
        scores_fn,
        targeted=targeted,
        num_steps=num_steps,
        num_searches=num_searches,
        num_targets=num_targets,
        memory=memory,
        tolerance=tolerance,
        bounds=bounds,
    )
    return run(iteration, x, y)


def minimum_distortion_iteration(
    loss_fn: LossFn,
    scores_fn: Callable[[Array], Array],
    *,
    targeted: bool = False,
    num_steps: int = 200,
    num_searches: int = 15,
    num_targets: int = 9,
    memory: int = 3,
    tolerance: float | Float[Array, ""] = 1e-3,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`minimum_distortion` as an iteration; arguments, errors and guarantees as there.

    A step is one value and one gradient of the loss: a trial that is not low enough
    costs a step of its own example, and of no other one.

    >>> from robustlabels import objective
    >>> model = objective.bind(objective.softmax().at({}, 1.0), lambda x: 20 * x)
    >>> iteration = minimum_distortion_iteration(model.loss, model.scores)
    >>> state = iteration.init(jnp.array([[0.9, 0.1]]), jnp.array([0]))
    >>> step = jax.jit(iteration.step)
    >>> while not iteration.finished(state).all():
    ...     state = step(state)
    >>> print(iteration.result(state).x_adv.round(1))
    [[0.5 0.5]]
    """
    _validate.count(
        num_steps=num_steps,
        num_searches=num_searches,
        num_targets=num_targets,
        memory=memory,
    )
    _validate.in_range(0.0, 0.1, tolerance=tolerance, fix="A share, such as 1e-3.")
    geometry.check_bounds(bounds)
    both = loss_and_scores(loss_fn, scores_fn)

    def finished(state):
        done = state.rank == state.targets.shape[1]
        return done | (state.nearest.distortion == 0)

    def init(x, y):
        geometry.check_images(x, bounds)
        scores = scores_fn(x)
        adversarial = is_adversarial(scores, y, targeted=targeted)
        ones, none = jnp.ones_like(y, x.dtype), jnp.zeros_like(y, jnp.int32)
        pixels = x.reshape(len(x), -1)
        return MinimumDistortionState(
            lbfgsb.start(pixels, memory=memory, weight=ones, scale=ones),
            adversarial,
            _new_search(ones),
            y[:, None] if targeted else _best_wrong(scores, y, num_targets),
            none,
            y,
            nearest_of(x, adversarial),
            none,
        )

    def evaluate(x_adv, target):
        def total(x_adv):
            losses, scores = both(x_adv, target)
            return jnp.sum(losses), (losses, scores)

        gradient, (losses, scores) = jax.grad(total, has_aux=True)(x_adv)
        return losses.astype(x_adv.dtype), gradient.reshape(len(x_adv), -1), scores

    def step(state):
        last, search, active = state.descent, state.search, ~finished(state)
        target = jnp.take_along_axis(
            state.targets, state.rank[:, None], axis=1, mode="clip"
        )
        trial = lbfgsb.propose(last, bounds)
        x_adv, x = (
            pixels.reshape(state.nearest.x_adv.shape) for pixels in (trial, last.centre)
        )
        losses, gradient, scores = evaluate(x_adv, target[:, 0])
        adversarial = is_adversarial(scores, state.y, targeted=targeted)
        nearest = nearer(state.nearest, x, x_adv, adversarial & active, norm="l2")
        descent, accepted = lbfgsb.observe(last, trial, losses, gradient, bounds)
        adversarial = jnp.where(accepted, adversarial, state.adversarial)

        begins = jnp.isinf(last.value)
        first = _first_weight(losses, _length(gradient), nearest.distortion)
        weight = jnp.where(begins, first, last.weight)
        descent = descent._replace(
            weight=weight, scale=jnp.where(begins, 0.25 / weight, descent.scale)
        )

        radius = _length(descent.x - descent.centre)
        off = lbfgsb.residual(descent, bounds, step_size=0.5 / weight)
        off = jnp.minimum(off, _length(trial - last.x))
        solved = ~begins & (off <= _SIDEWAYS * tolerance * radius)
        failed = solved & ~adversarial
        search = Search(
            jnp.where(solved & adversarial, weight, search.low),
            jnp.where(failed, weight, search.high),
            jnp.where(failed, jnp.maximum(radius, search.reach), search.reach),
            search.count + solved,
        )
        descent = descent._replace(
            weight=jnp.where(solved, _next_weight(search), weight),
            length=jnp.where(solved, 1.0, descent.length),
        )

        steps = state.steps + active
        over = (1 + tolerance) * search.reach >= nearest.distortion
        over = over | (search.count == num_searches)
        over = active & (over | (steps == num_steps * (state.rank + 1)))
        return MinimumDistortionState(
            lbfgsb.restart(descent, over),
            adversarial,
            geometry.choose(over, _new_search(weight), search),
            state.targets,
            state.rank + over,
            state.y,
            nearest,
            steps,
        )

    def result(state):
        return state.nearest.result(state.steps)

    classes = 1 if targeted else num_targets
    return Iteration(init, step, result, classes * num_steps, finished)


def _best_wrong(scores, y, number):
    """[batch, number]: ids of the classes with the best scores, y left out."""
    classes = scores.shape[-1]
    own = jnp.arange(classes)[None, :] == y[:, None]
    wrong = jnp.where(own, -jnp.inf, scores)
    return jax.lax.top_k(wrong, min(number, classes - 1))[1]


def _new_search(like):
    """Nothing is tried yet; arrays of the shape and type of the given one."""
    zeros = jnp.zeros_like(like)
    return Search(zeros, zeros + jnp.inf, zeros, zeros.astype(jnp.int32))


def _first_weight(losses, slope, distortion):
    """A guess, by the loss and the length of its gradient at the clean image.

    Were the loss linear, it would be 0 at a distance of loss / slope, half as far as
    the solution of the first guess. If another class was reached nearer than that, the
    second one is larger: its solution, a bit further out than that class, tells whether
    this one can be nearer still.
    """
    alone = slope**2 / (4 * jnp.abs(losses) + _TINY)
    beside = slope / (2 * _FURTHER * distortion + _TINY)
    return jnp.maximum(jnp.maximum(alone, beside), _TINY)


def _next_weight(search):
    """Away from the end that is known, or the geometric mean of both."""
    growth = 2.0 ** jnp.minimum(search.count, 4)
    low = jnp.where(search.low == 0, search.high / growth**2, search.low)
    high = jnp.where(jnp.isinf(search.high), search.low * growth**2, search.high)
    return jnp.maximum(jnp.sqrt(low) * jnp.sqrt(high), _TINY)


def _length(x):
    return jnp.linalg.norm(x, axis=-1)

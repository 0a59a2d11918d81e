"""Fooling images: from noise to an image that a classifier is sure about."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import Iteration, LossFn, run

__all__ = ["Fooling", "fooling", "fooling_iteration"]


class Fooling(NamedTuple):
    """What came of it.

    Attributes:
      x: the images.
      success: whether the target is decided for, with the confidence asked for.
      steps: how many steps each image took; all of them where it failed.
    """

    x: Float[Array, "batch ..."]
    success: Bool[Array, " batch"]
    steps: Int[Array, " batch"]


class FoolingState(NamedTuple):
    """An image, its target, and whether it has arrived."""

    x: Float[Array, "batch ..."]
    target: Int[Array, " batch"]
    success: Bool[Array, " batch"]
    steps: Int[Array, " batch"]


def fooling(
    loss_fn: LossFn,
    scores_fn: Callable[[Array], Array],
    confidence_fn: Callable[[Array], Array],
    x: Float[Array, "batch ..."],
    target: Int[Array, " batch"],
    *,
    confidence: float | Float[Array, ""] = 0.99,
    num_steps: int = 100,
    step_size: float | Float[Array, ""] = 0.5,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Fooling:
    """Descends the target's loss from x until it is decided for with confidence.

    The experiment of de Vries et al. (2016), who descend the distance to a prototype:
    `lambda x, y: -jnp.take_along_axis(scores(x), y[:, None], 1)[:, 0]`. Steps have a
    fixed length in L2, for losses differ in scale and the paper gives no step size. An
    image that has arrived stays.

    Args:
      loss_fn: (x, target) -> [batch], to be descended, such as `Classifier.loss`.
      scores_fn: (x) -> [batch, classes], such as `Classifier.scores`.
      confidence_fn: (x) -> [batch] in [0, 1], such as `Classifier.confidence`.
      x: images to start from, for instance uniform noise.
      target: class ids to be reached.
      confidence: what has to be exceeded, in [0, 1].
      num_steps: the most steps.
      step_size: length of a step in L2, in pixels.
      bounds: range of a pixel.

    Raises:
      ValueError: for a confidence outside of [0, 1], a step that is not positive, or
        images outside of the bounds.

    Guarantees: within the bounds; success is never claimed without the decision.

    >>> from robustlabels import objective
    >>> model = objective.bind(objective.softmax().at({}, 1.0), lambda x: 20 * x)
    >>> functions = model.loss, model.scores, model.confidence
    >>> result = fooling(*functions, jnp.array([[0.9, 0.1]]), jnp.array([1]))
    >>> print(result.success, result.steps)
    [ True] [2]
    """
    iteration = fooling_iteration(
        loss_fn,
        scores_fn,
        confidence_fn,
        confidence=confidence,
        num_steps=num_steps,
        step_size=step_size,
        bounds=bounds,
    )
    return run(iteration, x, target)


def fooling_iteration(
    loss_fn: LossFn,
    scores_fn: Callable[[Array], Array],
    confidence_fn: Callable[[Array], Array],
    *,
    confidence: float | Float[Array, ""] = 0.99,
    num_steps: int = 100,
    step_size: float | Float[Array, ""] = 0.5,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`fooling` as an iteration; `init` takes images and targets.

    >>> from robustlabels import objective
    >>> model = objective.bind(objective.softmax().at({}, 1.0), lambda x: 20 * x)
    >>> iteration = fooling_iteration(model.loss, model.scores, model.confidence)
    >>> state = iteration.init(jnp.array([[0.9, 0.1]]), jnp.array([1]))
    >>> print(iteration.result(iteration.step(state)).steps)
    [1]
    """
    _validate.in_range(0.0, 1.0, confidence=confidence, fix="A share, such as 0.99.")
    _validate.count(num_steps=num_steps)
    _validate.in_range(1e-30, jnp.inf, step_size=step_size, fix="A length in pixels.")
    ball = geometry.NORMS["l2"]

    def arrived(x, target):
        decided = jnp.argmax(scores_fn(x), axis=-1) == target
        return decided & (confidence_fn(x) > confidence)

    def init(x, target):
        geometry.check_images(x, bounds)
        steps = jnp.zeros_like(target, jnp.int32)
        return FoolingState(x, target, arrived(x, target), steps)

    def step(state):
        descent = -jax.grad(lambda x: jnp.sum(loss_fn(x, state.target)))(state.x)
        moved = state.x + ball.ascent(descent, step_size)
        still = state.success.reshape(-1, *[1] * (state.x.ndim - 1))
        x = jnp.where(still, state.x, jnp.clip(moved, *bounds))
        steps = state.steps + ~state.success
        success = state.success | arrived(x, state.target)
        return FoolingState(x, state.target, success, steps)

    def result(state):
        return Fooling(state.x, state.success, state.steps)

    return Iteration(init, step, result, num_steps)

"""The nearest adversarial image, by exact projections onto linearised boundaries."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.deepfool import nearest_boundary
from robustlabels.attacks.iteration import Iteration, run
from robustlabels.attacks.nearest import (
    MinimumDistortion,
    Nearest,
    is_adversarial,
    nearer,
    nearest_of,
)

__all__ = ["fab", "fab_iteration", "onto_hyperplane"]


class FABState(NamedTuple):
    """Where each example is, where it came from, and the best so far."""

    x_adv: Float[Array, "batch ..."]
    x: Float[Array, "batch ..."]
    y: Int[Array, " batch"]
    nearest: Nearest
    steps: Int[Array, " batch"]


def fab(
    scores_fn: Callable[[Array], Array],
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    norm: str = "linf",
    num_steps: int = 100,
    alpha_max: float | Float[Array, ""] = 0.1,
    eta: float | Float[Array, ""] = 1.05,
    beta: float | Float[Array, ""] = 0.9,
    candidates: int = 10,
    key: Key[Array, "..."] | None = None,
    initial_epsilon: Any = None,
    targeted: bool = False,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> MinimumDistortion:
    """Fast adaptive boundary attack, Croce & Hein (2020), algorithm 1, one start.

    Each step projects both the last image and x onto the nearest of the boundaries that
    linear scores would have, overshoots by eta, and mixes the two, the second with a
    weight of alpha_max at most. From an image that is adversarial the next step starts
    on the way back to x. There is no final search along that way. If targeted, x has no
    weight until y is reached: its projection onto the boundary with one class may be
    far behind that with another.

    Args:
      scores_fn: (x) -> [batch, classes]; the largest is the decision.
      x: images within the bounds.
      y: class ids; if targeted, those to be reached.
      norm: "linf" or "l2".
      num_steps: how many steps, each at the cost of `deepfool`'s and one prediction.
      alpha_max: most weight of the projection of x, in [0, 1].
      eta: how far a step goes, in units of the way to the boundary, at least 1.
      beta: where between x, 0, and an adversarial image, 1, the next step starts.
      candidates: how many of the best classes are considered, as in `deepfool`.
      key: one key, or one an example, for a random start; with one, example i uses it
        folded with i.
      initial_epsilon: radius of the ball around x that a random start is drawn from, in
        pixels: a number, [batch], or an array that broadcasts against an image. The
        paper takes half of the radius of interest.
      targeted: whether y is to be reached instead of left, across the boundary between
        y and the best other class.
      bounds: range of a pixel; (-inf, inf) leaves the images unclipped.

    Raises:
      ValueError: for images outside of the bounds, an unknown norm, a number outside of
        its range, no step, fewer than two candidates, or a key without a radius or the
        other way round.

    Guarantees: within the bounds; success is never claimed without the decision; the
    same result when the scores are multiplied by a positive number; an example has the
    same result in any batch when it has its own key.

    >>> def scores(x):
    ...     return jnp.concatenate([x, 1 - x], axis=-1)
    >>> result = fab(scores, jnp.array([[0.75]]), jnp.array([0]))
    >>> print(result.success, result.distortion.round(2))
    [ True] [0.25]
    """
    iteration = fab_iteration(
        scores_fn,
        norm=norm,
        num_steps=num_steps,
        alpha_max=alpha_max,
        eta=eta,
        beta=beta,
        candidates=candidates,
        key=key,
        initial_epsilon=initial_epsilon,
        targeted=targeted,
        bounds=bounds,
    )
    return run(iteration, x, y)


def fab_iteration(
    scores_fn: Callable[[Array], Array],
    *,
    norm: str = "linf",
    num_steps: int = 100,
    alpha_max: float | Float[Array, ""] = 0.1,
    eta: float | Float[Array, ""] = 1.05,
    beta: float | Float[Array, ""] = 0.9,
    candidates: int = 10,
    key: Key[Array, "..."] | None = None,
    initial_epsilon: Any = None,
    targeted: bool = False,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`fab` as an iteration; arguments, errors and guarantees as there.

    >>> iteration = fab_iteration(lambda x: x, eta=2.0)
    >>> state = iteration.init(jnp.array([[0.75, 0.25]]), jnp.array([0]))
    >>> print(jax.jit(iteration.step)(state).nearest.distortion.round(3))
    [0.5]
    """
    _validate.one_of(geometry.NORMS, norm=norm)
    _validate.count(num_steps=num_steps)
    _validate.count(minimum=2, candidates=candidates)
    _validate.in_range(
        0.0, 1.0, alpha_max=alpha_max, beta=beta, fix="The paper takes 0.1 and 0.9."
    )
    _validate.in_range(1.0, jnp.inf, eta=eta, fix="The paper takes 1.05.")
    if (key is None) != (initial_epsilon is None):
        raise ValueError(
            f"initial_epsilon={initial_epsilon} {'without' if key is None else 'with'} "
            "a key: a random start takes both. Leave both out to start at x."
        )
    epsilon = 0.0 if initial_epsilon is None else initial_epsilon
    geometry.check_epsilon(epsilon, bounds, norm)
    ball = geometry.NORMS[norm]
    onto_boundary = functools.partial(onto_hyperplane, norm=norm, bounds=bounds)

    def finished(state):
        return state.nearest.distortion == 0

    def init(x, y):
        geometry.check_images(x, bounds)
        adversarial = is_adversarial(scores_fn(x), y, targeted=targeted)
        radius = geometry.per_image(epsilon, x, name="initial_epsilon")
        start = geometry.random_start(key, x, radius, norm=norm, bounds=bounds)
        steps = jnp.zeros_like(y, jnp.int32)
        return FABState(start, x, y, nearest_of(x, adversarial), steps)

    def step(state):
        x, y, last = state.x, state.y, state.x_adv
        boundary = nearest_boundary(
            scores_fn, last, y, norm=norm, candidates=candidates, targeted=targeted
        )
        way = jnp.sum(boundary.gradient * (x - last), axis=range(1, x.ndim))
        from_last, from_x = jax.vmap(onto_boundary, in_axes=(0, None, 0))(
            jnp.stack([last, x]),
            boundary.gradient,
            jnp.stack([-boundary.gap, -boundary.gap - way]),
        )
        near, far = ball.length(from_last), ball.length(from_x)
        share = near / jnp.where(near + far > 0, near + far, 1.0)
        alpha = jnp.minimum(share, alpha_max)
        if targeted:
            found = jnp.isfinite(state.nearest.distortion)
            alpha = geometry.choose(found, alpha, jnp.zeros_like(alpha))
        mixed = (1 - alpha) * (last + eta * from_last) + alpha * (x + eta * from_x)
        x_adv = jnp.clip(mixed, *bounds)
        adversarial = is_adversarial(scores_fn(x_adv), y, targeted=targeted)
        nearest = nearer(state.nearest, x, x_adv, adversarial, norm=norm)
        x_adv = geometry.choose(adversarial, x + beta * (x_adv - x), x_adv)
        new = FABState(x_adv, x, y, nearest, state.steps + 1)
        return geometry.choose(finished(state), state, new)

    def result(state):
        return state.nearest.result(state.steps)

    return Iteration(init, step, result, num_steps, finished)


def onto_hyperplane(
    x: Float[Array, "batch ..."],
    normal: Float[Array, "batch ..."],
    amount: Float[Array, " batch"],
    *,
    norm: str,
    bounds: geometry.Bounds,
) -> Float[Array, "batch ..."]:
    """Smallest δ with ⟨normal, δ⟩ = amount and x + δ within the bounds.

    Every pixel goes along the normal, or every one against it, with a speed of 1 in L∞
    and of |normal| in L2, until it stops at its bound. Those that do so in the time
    that all would need to reach the amount stop in any case; then the others need more
    time, and so on until none stops: exact, as the variable fixing of Bitran & Hax
    (1981), and far faster on a CPU than sorting pixels by the time at which they stop.

    Args:
      x: images within the bounds.
      normal: of the hyperplane.
      amount: what is wanted of ⟨normal, δ⟩.
      norm: "linf" or "l2".
      bounds: range of a pixel.

    Guarantees: where no δ reaches the amount, the one that comes closest; 0 where the
    normal is 0; the same when normal and amount are multiplied by a positive number.

    >>> x, normal = jnp.array([[0.5, 0.75]]), jnp.array([[-2.0, 4.0]])
    >>> print(onto_hyperplane(x, normal, jnp.array([2.0]), norm="linf",
    ...                       bounds=(0.0, 1.0)))
    [[-0.5   0.25]]
    """
    low, high = bounds
    images, x, normal = x.shape, x.reshape(len(x), -1), normal.reshape(len(x), -1)
    largest = jnp.max(jnp.abs(normal), axis=-1, keepdims=True)
    scale = jnp.where(largest > 0, largest, 1.0)
    wanted = jnp.abs(amount)[:, None] / scale
    direction = jnp.sign(normal) * jnp.sign(amount)[:, None]
    weight = jnp.abs(normal) / scale
    speed = weight if norm == "l2" else jnp.ones_like(weight)
    room = jnp.where(direction > 0, high - x, x - low)
    room = jnp.where(weight > 0, room, 0.0)

    def total(pixels):
        return jnp.sum(pixels, axis=-1, keepdims=True)

    def moved(going):
        """How far each has gone when those have reached the amount that still go."""
        missing = wanted - total(jnp.where(going, 0.0, weight * room))
        rate = total(jnp.where(going, weight * speed, 0.0))
        return jnp.where(going, speed * missing / jnp.where(rate > 0, rate, 1.0), room)

    def keep_going(carry):
        _, going = carry
        return going, going & (moved(going) < room)

    def some_stopped(carry):
        before, going = carry
        return jnp.any(before != going)

    start = keep_going((None, weight > 0))
    _, going = jax.lax.while_loop(some_stopped, keep_going, start)
    return (direction * moved(going)).reshape(images)

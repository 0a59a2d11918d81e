"""HopSkipJump: the nearest adversarial image by a classifier's decisions alone."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

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

__all__ = ["hop_skip_jump", "hop_skip_jump_iteration"]


class HopSkipJumpState(NamedTuple):
    """An adversarial image at the boundary, and how far the jump to it had led."""

    boundary: Float[Array, "batch ..."]
    reach: Float[Array, " batch"]
    nearest: Nearest
    x: Float[Array, "batch ..."]
    y: Int[Array, " batch"]
    key: Key[Array, " batch"]
    steps: Int[Array, " batch"]


def hop_skip_jump(
    scores_fn: Callable[[Array], Array],
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    key: Key[Array, "..."],
    num_steps: int = 40,
    num_queries: int = 100,
    num_halvings: int = 18,
    num_starts: int = 100,
    norm: str = "l2",
    targeted: bool = False,
    start: Float[Array, "batch ..."] | None = None,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> MinimumDistortion:
    """HopSkipJump, Chen et al. (2020), algorithm 2, with steps of geometric sizes.

    From an adversarial image bisection leads back to the boundary. A step there
    estimates the normal of the boundary by the decisions on random points around, jumps
    along it as far as stays adversarial, and bisects again. What is found lies so near
    to the boundary that a decision may be another one where it is rounded otherwise.

    Args:
      scores_fn: (x) -> [batch, classes]; nothing but the largest is looked at.
      x: images within the bounds.
      y: class ids.
      key: one key, or one an example; with one, example i uses it folded with i.
      num_steps: how many steps, at least 1.
      num_queries: decisions for the normal in step 1; step t takes √t times as many.
      num_halvings: how often a bisection halves, and the most often a jump does. The
        paper bisects to d^-1.5 of the way in L2 for d values an image, which are 18
        halvings at 32 x 32 x 3, and to d^-2 in L∞.
      num_starts: the most images of uniform noise that are tried as a start.
      norm: "l2" or "linf".
      targeted: whether y is to be reached instead of left; noise seldom does, so give
        `start`.
      start: adversarial images to start from, such as images of class y when targeted;
        None for noise.
      bounds: range of a pixel, finite without a `start`.

    Raises:
      ValueError: for images outside of the bounds, a start of another shape, a count
        below 1, an unknown norm, or infinite bounds without a start.

    Guarantees: within the bounds; success is never claimed without the decision; the
    distortion never grows from step to step; where no start is adversarial, none is
    found; the same example gives the same result in any batch when it has its own key.

    >>> def scores(x):
    ...     return jnp.stack([0.75 - x[:, 0], x[:, 0]], axis=-1)
    >>> attack = jax.jit(lambda x, y, key: hop_skip_jump(
    ...     scores, x, y, key=key, num_steps=5
    ... ))
    >>> result = attack(jnp.full((1, 2), 0.25), jnp.array([0]), jax.random.key(0))
    >>> print(result.success, result.distortion.round(2))
    [ True] [0.13]
    """
    iteration = hop_skip_jump_iteration(
        scores_fn,
        key=key,
        num_steps=num_steps,
        num_queries=num_queries,
        num_halvings=num_halvings,
        num_starts=num_starts,
        norm=norm,
        targeted=targeted,
        start=start,
        bounds=bounds,
    )
    return run(iteration, x, y)


def hop_skip_jump_iteration(
    scores_fn: Callable[[Array], Array],
    *,
    key: Key[Array, "..."],
    num_steps: int = 40,
    num_queries: int = 100,
    num_halvings: int = 18,
    num_starts: int = 100,
    norm: str = "l2",
    targeted: bool = False,
    start: Float[Array, "batch ..."] | None = None,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`hop_skip_jump` as an iteration; arguments, errors and guarantees as there.

    A step asks for one decision after the other in a `lax` loop: there is one batch of
    images at a time, and the loop is as long as the example with the most queries left
    needs.

    >>> iteration = hop_skip_jump_iteration(
    ...     lambda x: jnp.stack([0.75 - x[:, 0], x[:, 0]], axis=-1),
    ...     key=jax.random.key(0), start=jnp.array([[1.0, 0.25]]),
    ... )
    >>> state = jax.jit(iteration.init)(jnp.full((1, 2), 0.25), jnp.array([0]))
    >>> print(state.nearest.distortion.round(3))
    [0.125]
    """
    _validate.one_of(geometry.NORMS, norm=norm)
    _validate.count(
        num_steps=num_steps,
        num_queries=num_queries,
        num_halvings=num_halvings,
        num_starts=num_starts,
    )
    geometry.check_bounds(bounds)
    low, high = bounds
    if start is None:
        _validate.in_range(
            -jnp.inf, jnp.inf, bounds=bounds, fix="Noise needs ends; or give a start."
        )
    ball, sphere = geometry.NORMS[norm], geometry.NORMS["l2"]

    def adversarial(x, y):
        return is_adversarial(scores_fn(x), y, targeted=targeted)

    def finished(state):
        return (state.nearest.distortion == 0) | jnp.isinf(state.nearest.distortion)

    def adversarial_noise(x, y, keys, found):
        def goes_on(carry):
            tried, _, found = carry
            return (tried < num_starts) & ~jnp.all(found)

        def try_another(carry):
            tried, image, found = carry
            noise = jax.vmap(
                lambda key: jax.random.uniform(
                    jax.random.fold_in(key, tried), x.shape[1:], x.dtype, low, high
                )
            )(keys)
            hit = adversarial(noise, y)
            return tried + 1, geometry.choose(found, image, noise), found | hit

        _, image, found = jax.lax.while_loop(goes_on, try_another, (0, x, found))
        return image, found

    def to_boundary(x, y, image):
        delta = image - x
        whole = ball.length(delta)

        def halve(_, carry):
            inside, outside, nearest = carry
            middle = (inside + outside) / 2
            candidate = jnp.clip(x + ball.project(delta, middle), low, high)
            return geometry.choose(
                adversarial(candidate, y),
                (inside, middle, candidate),
                (middle, outside, nearest),
            )

        begin = (jnp.zeros_like(whole), whole, image)
        return jax.lax.fori_loop(0, num_halvings, halve, begin)[-1]

    def normal(state):
        x = state.x
        queries = num_queries * jnp.sqrt(state.steps + 1.0)
        queries = jnp.where(finished(state), 0, queries.astype(jnp.int32))
        keys = jax.vmap(jax.random.fold_in)(state.key, state.steps)
        radius = geometry.over_pixels(state.reach / math.prod(x.shape[1:]), x)

        def query(index, sums):
            noise = jax.vmap(
                lambda key: jax.random.normal(
                    jax.random.fold_in(key, index), x.shape[1:], x.dtype
                )
            )(keys)
            probe = jnp.clip(state.boundary + sphere.ascent(noise, radius), low, high)
            offset = probe - state.boundary
            answer = jnp.where(adversarial(probe, state.y), 1.0, -1.0).astype(x.dtype)
            signed = geometry.over_pixels(answer, x) * offset
            new = jax.tree.map(jnp.add, sums, (answer, signed, offset))
            return geometry.choose(index < queries, new, sums)

        zeros = (jnp.zeros_like(state.reach), jnp.zeros_like(x), jnp.zeros_like(x))
        answers, signed, offsets = jax.lax.fori_loop(0, jnp.max(queries), query, zeros)
        mean = answers / jnp.maximum(queries, 1)
        baseline = jnp.where(jnp.abs(mean) < 1, mean, 0.0)
        return signed - geometry.over_pixels(baseline, x) * offsets

    def jump(state, direction):
        def goes_on(carry):
            halvings, _, _, arrived = carry
            return (halvings < num_halvings) & ~jnp.all(arrived)

        def halve(carry):
            halvings, size, image, arrived = carry
            candidate = state.boundary + ball.ascent(direction, size)
            candidate = jnp.clip(candidate, low, high)
            hit = ~arrived & adversarial(candidate, state.y)
            image = geometry.choose(hit, candidate, image)
            return halvings + 1, size / 2, image, arrived | hit

        size = ball.length(state.boundary - state.x)
        size = size / geometry.over_pixels(jnp.sqrt(state.steps + 1.0), state.x)
        begin = (0, size, state.boundary, finished(state))
        return jax.lax.while_loop(goes_on, halve, begin)[2]

    def init(x, y):
        geometry.check_images(x, bounds)
        keys = geometry.per_example_keys(key, len(x))
        keys, noise_keys = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
        already = adversarial(x, y)
        if start is None:
            image, found = adversarial_noise(x, y, noise_keys, already)
        else:
            if start.shape != x.shape:
                raise ValueError(
                    f"start of shape {start.shape} is to be of the shape {x.shape} of "
                    "x: one image an example."
                )
            geometry.check_images(start, bounds)
            image, found = start, adversarial(start, y)
        boundary = to_boundary(x, y, image)
        nearest = nearer(nearest_of(x, already), x, boundary, found, norm=norm)
        reach = ball.length(image - x).reshape(len(x))
        steps = jnp.zeros_like(y, jnp.int32)
        return HopSkipJumpState(boundary, reach, nearest, x, y, keys, steps)

    def step(state):
        x = state.x
        image = jump(state, normal(state))
        boundary = to_boundary(x, state.y, image)
        new = state._replace(
            boundary=boundary,
            reach=ball.length(image - x).reshape(len(x)),
            nearest=nearer(state.nearest, x, boundary, ~finished(state), norm=norm),
            steps=state.steps + 1,
        )
        return geometry.choose(finished(state), state, new)

    def result(state):
        return state.nearest.result(state.steps)

    return Iteration(init, step, result, num_steps, finished)

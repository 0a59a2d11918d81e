"""Square attack: random search that needs the values of a loss only."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import Iteration, LossFn, run

__all__ = ["square", "square_iteration"]

# After these shares of the queries the area of the squares is halved.
_HALVED_AFTER = np.array([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]) / 10_000


class SquareState(NamedTuple):
    """The best images so far, their loss, and what the next query depends on."""

    x_adv: Float[Array, "batch ..."]
    loss: Float[Array, " batch"]
    x: Float[Array, "batch ..."]
    y: Int[Array, " batch"]
    epsilon: Float[Array, "batch ..."]
    key: Key[Array, " batch"]
    steps: Int[Array, " batch"]


def square(
    loss_fn: LossFn,
    x: Float[Array, "batch height width channels"],
    y: Int[Array, " batch"],
    *,
    epsilon: Any,
    key: Key[Array, "..."],
    num_steps: int = 5000,
    p_init: Any = 0.8,
    norm: str = "linf",
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Float[Array, "batch height width channels"]:
    """Square attack, Andriushchenko et al. (2020), algorithms 1 to 3.

    It changes squares at random places and keeps what raises the loss. The squares
    begin large and shrink on the published schedule, rescaled to the number of steps.

    Args:
      loss_fn: (x, y) -> [batch], to be raised; no gradient of it is taken.
      x: images within the bounds.
      y: class ids; with `targeted(loss_fn)`, those to be reached.
      epsilon: radius of the ball in pixels: a number, [batch], or an array that
        broadcasts against an image; may be traced.
      key: one key, or one an example; with one, example i uses it folded with i.
      num_steps: how many steps, at least 1; one query each, and one for the start.
      p_init: share of the image that the first squares cover, in (0, 1]; may be traced.
      norm: "linf" or "l2".
      bounds: range of a pixel; (-inf, inf) leaves the result unclipped.

    Raises:
      ValueError: for images that are not [batch, height, width, channels] or leave the
        bounds, an epsilon wider than they, a p_init out of range, an unknown norm, or
        no step at all.

    Guarantees: ‖x_adv - x‖ ≤ epsilon in the norm; within the bounds; the loss never
    falls from step to step; the same example gives the same result in any batch when it
    has its own epsilon and key.

    >>> x_adv = square(
    ...     lambda x, y: x.sum((1, 2, 3)), jnp.full((1, 4, 4, 1), 0.5), jnp.array([0]),
    ...     epsilon=0.25, key=jax.random.key(0), num_steps=50
    ... )
    >>> print(bool(jnp.all(x_adv == 0.75)))
    True
    """
    iteration = square_iteration(
        loss_fn,
        epsilon=epsilon,
        key=key,
        num_steps=num_steps,
        p_init=p_init,
        norm=norm,
        bounds=bounds,
    )
    return run(iteration, x, y)


def square_iteration(
    loss_fn: LossFn,
    *,
    epsilon: Any,
    key: Key[Array, "..."],
    num_steps: int = 5000,
    p_init: Any = 0.8,
    norm: str = "linf",
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`square` as an iteration; arguments, errors and guarantees as there.

    >>> iteration = square_iteration(
    ...     lambda x, y: x.sum((1, 2, 3)), epsilon=0.25, key=jax.random.key(0)
    ... )
    >>> state = iteration.init(jnp.full((1, 4, 4, 1), 0.5), jnp.array([0]))
    >>> print(iteration.step(state).loss >= state.loss)
    [ True]
    """
    _validate.one_of(_SEARCHES, norm=norm)
    _validate.count(num_steps=num_steps)
    geometry.check_epsilon(epsilon, bounds, norm)
    _validate.in_range(1e-30, 1.0, p_init=p_init, fix="A share; AutoAttack takes 0.8.")
    start, propose = _SEARCHES[norm]
    into = functools.partial(geometry.into_ball_and_box, norm=norm, bounds=bounds)

    def init(x, y):
        if x.ndim != 4:
            raise ValueError(
                f"x of shape {x.shape} has no squares: give images [batch, height, "
                "width, channels]."
            )
        geometry.check_images(x, bounds)
        radius = geometry.per_image(epsilon, x, name="epsilon")
        keys = geometry.per_example_keys(key, len(x))
        keys, first = jnp.unstack(jax.vmap(jax.random.split)(keys), axis=1)
        change = jax.vmap(lambda k: start(k, x.shape[1:], x.dtype))(first)
        x_adv = into(x + radius * change, x, radius)
        loss = loss_fn(x_adv, y)
        steps = jnp.zeros_like(loss, jnp.int32)
        return SquareState(x_adv, loss, x, y, radius, keys, steps)

    def step(state):
        _, height, width, _ = state.x.shape
        halvings = jnp.searchsorted(_HALVED_AFTER * num_steps, state.steps)
        side = jnp.sqrt(p_init * height * width / 2.0**halvings)
        side = jnp.round(side).astype(jnp.int32)
        keys = jax.vmap(jax.random.fold_in)(state.key, state.steps)
        radius = state.epsilon
        delta = (state.x_adv - state.x) / jnp.where(radius > 0, radius, 1.0)
        change = jax.vmap(propose)(keys, delta, side)
        candidate = into(state.x_adv + radius * change, state.x, radius)
        loss = loss_fn(candidate, state.y)
        better = loss > state.loss
        return state._replace(
            x_adv=geometry.choose(better, candidate, state.x_adv),
            loss=jnp.where(better, loss, state.loss),
            steps=state.steps + 1,
        )

    return Iteration(init, step, lambda state: state.x_adv, num_steps)


# How each norm is searched, an example at a time and in units of epsilon: the first
# change, start(key, shape, dtype), and what a step adds to it, propose(key, δ, side).


def _stripes(key, shape, dtype):
    """Vertical stripes of one pixel, each channel up or down."""
    signs = jax.random.rademacher(key, (1, *shape[1:]), dtype)
    return jnp.broadcast_to(signs, shape)


def _square(key, delta, side):
    """Algorithm 2: each channel of a square goes to one side of the ball."""
    place, sign = jax.random.split(key)
    side = jnp.clip(side, 1, min(delta.shape[:2]))
    corner = jax.random.uniform(place, (2,))
    _, _, within = _window(corner, side, delta.shape)
    return 2 * within * jax.random.rademacher(sign, (1, 1, delta.shape[2]), delta.dtype)


def _tiles(key, shape, dtype):
    """A grid of bumps, 5 along the shorter side, in random directions."""
    height, width, channels = shape
    side = max(min(height, width) // 5, 1)
    rows, columns = height // side, width // side
    turn, sign = jax.random.split(key)
    bumps = _bumps(jnp.arange(side)[:, None], jnp.arange(side)[None, :], side)
    bumps = bumps.astype(dtype)[None, :, None, :, None]
    turned = jax.random.bernoulli(turn, shape=(rows, 1, columns, 1, 1))
    signs = jax.random.rademacher(sign, (rows, 1, columns, 1, channels), dtype)
    tiles = signs * jnp.where(turned, bumps.swapaxes(1, 3), bumps)
    tiles = _unit(tiles.reshape(rows * side, columns * side, channels), (0, 1, 2))
    top, left = (height - rows * side) // 2, (width - columns * side) // 2
    bottom, right = height - rows * side - top, width - columns * side - left
    return jnp.pad(tiles, ((top, bottom), (left, right), (0, 0)))


def _two_squares(key, delta, side):
    """Algorithm 3: a square takes what another gives up and what is left of epsilon."""
    channels = delta.shape[2]
    place, turn, sign = jax.random.split(key, 3)
    side = jnp.minimum(jnp.maximum(side, 3) // 2 * 2 + 1, min(delta.shape[:2]))
    corners = jax.random.uniform(place, (2, 2))
    row, column, taker = _window(corners[0], side, delta.shape)
    _, _, giver = _window(corners[1], side, delta.shape)
    turned = jax.random.bernoulli(turn)
    bumps = jnp.where(turned, _bumps(column, row, side), _bumps(row, column, side))
    bumps = _unit((taker * bumps[..., None]).astype(delta.dtype), (0, 1))
    signs = jax.random.rademacher(sign, (1, 1, channels), delta.dtype)
    direction = _unit(signs * bumps + _unit(taker * delta, (0, 1)), (0, 1))
    unused = jnp.maximum(1 - jnp.sum(delta**2), 0)
    touched = (taker | giver) * delta
    available = jnp.sum(touched**2, (0, 1), keepdims=True) + unused / channels
    return direction * jnp.sqrt(available) - touched


def _window(corner, side, shape):
    """Rows and columns counted from the corner of a square, and who is in it.

    The corner is given as shares of the places where it can be, in [0, 1).
    """
    height, width, _ = shape
    top = jnp.floor(corner[0] * (height - side + 1)).astype(jnp.int32)
    left = jnp.floor(corner[1] * (width - side + 1)).astype(jnp.int32)
    row = jnp.arange(height)[:, None] - top
    column = jnp.arange(width)[None, :] - left
    within = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    return row, column, within[..., None]


def _bumps(row, column, side):
    """Equation 2: a bump in the left half of a square, and its negative in the right.

    A bump at the distance d from its centre is the sum of 1 / j² for j from d + 1 to
    side // 2 + 1.
    """
    terms = 1.0 / np.arange(1, max(*row.shape, *column.shape) + 2) ** 2
    sums = jnp.asarray(np.append(0.0, np.cumsum(terms)))
    half = side // 2
    left = column < half
    centre = jnp.where(left, half // 2, half + (side - half) // 2)
    distance = jnp.maximum(jnp.abs(row - half), jnp.abs(column - centre))
    return jnp.where(left, 1, -1) * (sums[half + 1] - sums[distance])


def _unit(x, axes):
    length = jnp.sqrt(jnp.sum(x**2, axes, keepdims=True))
    return x / jnp.where(length > 0, length, 1.0)


_SEARCHES = {"linf": (_stripes, _square), "l2": (_tiles, _two_squares)}

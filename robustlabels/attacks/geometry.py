"""Balls, boxes and steepest ascent, per example.

A size (epsilon, a step) is a number, one number an example, or an array that
broadcasts against an image; the ball of radius epsilon is {δ : ‖δ / epsilon‖ ≤ 1}, so
that a size per channel turns it into a box or an ellipsoid.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from robustlabels import _validate

Bounds = tuple[float, float]


class Geometry(NamedTuple):
    """A norm, as an attack needs it; all but the first argument broadcast against it.

    Attributes:
      project: (δ, epsilon) -> δ, scaled or cut back into the ball; for a ball that is
        round or a box, the nearest point of it.
      ascent: (gradient, step_size) -> the step of that size that ascends most.
      sample: (key, shape, dtype) -> uniform in the unit ball, for one example.
      length: (δ) -> the norm of each example, axes kept.
    """

    project: Callable
    ascent: Callable
    sample: Callable
    length: Callable


def _project_linf(delta, epsilon):
    return jnp.clip(delta, -epsilon, epsilon)


def _ascend_linf(gradient, step_size):
    return step_size * jnp.sign(gradient)


def _sample_linf(key, shape, dtype):
    return jax.random.uniform(key, shape, dtype, -1.0, 1.0)


def _length_linf(x):
    return jnp.max(jnp.abs(x), axis=range(1, x.ndim), keepdims=True)


def _length_l2(x):
    """L2 norm of each example, with axes kept; its derivative is never needed."""
    largest = _length_linf(x)
    scale = jnp.where(largest > 0, largest, 1.0)
    # Without the barrier XLA may take the scale out of the sum again, and underflow.
    relative = jax.lax.optimization_barrier(x / scale)
    squares = jnp.sum(relative**2, axis=range(1, x.ndim), keepdims=True)
    return scale * jnp.sqrt(squares)


def _unit(x):
    """Each example divided by its length; zero stays zero."""
    length = _length_l2(x)
    return x / jnp.where(length > 0, length, 1.0)


def _project_l2(delta, epsilon):
    # A smaller radius is lost beside a pixel, and a division by it could overflow.
    free = epsilon > 1e-30
    relative = jnp.where(free, delta / jnp.where(free, epsilon, 1.0), 0.0)
    return jnp.where(free, delta / jnp.maximum(_length_l2(relative), 1.0), 0.0)


def _ascend_l2(gradient, step_size):
    # The inner _unit keeps a tiny gradient times a tiny step from being lost.
    return step_size * _unit(step_size * _unit(gradient))


def _sample_l2(key, shape, dtype):
    direction, radius = jax.random.split(key)
    gaussian = jax.random.normal(direction, shape, dtype)
    uniform = jax.random.uniform(radius, (), dtype)
    return uniform ** (1.0 / math.prod(shape)) * _unit(gaussian[None])[0]


NORMS = {
    "linf": Geometry(_project_linf, _ascend_linf, _sample_linf, _length_linf),
    "l2": Geometry(_project_l2, _ascend_l2, _sample_l2, _length_l2),
}


def check_bounds(bounds: Bounds) -> None:
    """Raises unless the bounds are in order.

    >>> check_bounds((1.0, 0.0))
    Traceback (most recent call last):
    ValueError: bounds=(1.0, 0.0) must be (low, high) with low < high.
    """
    low, high = bounds
    if not low < high:
        raise ValueError(f"bounds={bounds!r} must be (low, high) with low < high.")


def check_images(x: Float[Array, "batch ..."], bounds: Bounds) -> None:
    """Raises for images that leave the bounds by more than rounding, or are no floats.

    Raises:
      ValueError: naming the type, or the smallest or the largest pixel, and the fix.

    >>> check_images(jnp.array([[0.0, 255.0]]), (0.0, 1.0))
    Traceback (most recent call last):
    ValueError: a pixel of x=255.0 is outside [0, 1]. Divide bytes by 255, and leave \
normalisation to the model.
    """
    check_bounds(bounds)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"x has dtype {x.dtype}, but pixels are floating point. Divide bytes by "
            "255, and leave normalisation to the model."
        )
    if isinstance(x, jax.core.Tracer) or not x.size:
        return
    low, high = bounds
    with jax.ensure_compile_time_eval():
        pixels = float(jnp.min(x)), float(jnp.max(x))
    for pixel in pixels:
        if not low - 1e-6 <= pixel <= high + 1e-6:
            raise ValueError(
                f"a pixel of x={pixel} is outside [{low:g}, {high:g}]. Divide bytes "
                "by 255, and leave normalisation to the model."
            )


def check_epsilon(epsilon: Any, bounds: Bounds, norm: str) -> None:
    """Raises for a negative epsilon, or one that is wider than the box.

    Raises:
      ValueError: naming epsilon, the range and the fix.
    """
    check_bounds(bounds)
    low, high = bounds
    if norm == "linf":
        _validate.in_range(
            0.0,
            high - low,
            epsilon=epsilon,
            fix=f"Pixels live in [{low:g}, {high:g}]: write 8/255, not 8.",
        )
    else:
        _validate.in_range(0.0, np.inf, epsilon=epsilon, fix="A radius, in pixels.")


def per_image(size: Any, x: Float[Array, "batch ..."], *, name: str) -> Array:
    """A size as an array [batch, ...] that broadcasts against the images.

    Args:
      size: a number, [batch], or an array that broadcasts against an image.
      x: images; the size takes their dtype.
      name: what the caller calls the size.

    Raises:
      ValueError: for any other shape, and for one axis that could be both the batch and
        the last axis of an image.

    >>> print(per_image(jnp.array([0.1, 0.2]), jnp.zeros((2, 8, 8, 1)), name="e").shape)
    (2, 1, 1, 1)
    >>> print(per_image(0.1, jnp.zeros((2, 8, 8, 1)), name="e").shape)
    (2, 1, 1, 1)
    """
    size = jnp.asarray(size, x.dtype)
    batch, last = x.shape[0], x.shape[-1]
    if size.shape == (batch,) and batch == last and batch > 1:
        raise ValueError(
            f"{name} of shape {size.shape} could be one an example or one a channel: "
            f"write [batch, 1, ...] or [1, ..., {last}]."
        )
    if size.shape == (batch,):
        size = size.reshape(batch, *[1] * (x.ndim - 1))
    given = size.shape
    try:
        size = size.reshape([1] * (x.ndim - size.ndim) + list(size.shape))
        fits = np.broadcast_shapes(size.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} of shape {given} fits neither {batch} examples nor images "
            f"of shape {x.shape[1:]}: give a number, [batch], or what broadcasts "
            "against an image."
        )
    return jnp.broadcast_to(size, (batch, *size.shape[1:]))


def per_example_keys(key: Key[Array, "..."], batch: int) -> Key[Array, " batch"]:
    """One key an example: those given, or the given one folded with the index.

    Raises:
      ValueError: for an old-style or a wrong number of keys.

    >>> print(per_example_keys(jax.random.key(0), 3).shape)
    (3,)
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError(
            f"key of dtype {key.dtype} is no typed key: write jax.random.key(seed), or "
            "wrap an old one by jax.random.wrap_key_data."
        )
    if key.ndim == 0:
        return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(batch))
    if key.shape != (batch,):
        raise ValueError(
            f"key of shape {key.shape}: give one key, or one for each of the {batch} "
            "examples."
        )
    return key


def random_in_ball(
    key: Key[Array, "..."], x: Float[Array, "batch ..."], norm: str
) -> Float[Array, "batch ..."]:
    """Uniform in the unit ball, each example by its own key; see `per_example_keys`."""
    keys = per_example_keys(key, x.shape[0])
    return jax.vmap(lambda k: NORMS[norm].sample(k, x.shape[1:], x.dtype))(keys)


def random_start(
    key: Key[Array, "..."] | None,
    x: Float[Array, "batch ..."],
    epsilon: Float[Array, "batch ..."],
    *,
    norm: str,
    bounds: Bounds,
) -> Float[Array, "batch ..."]:
    """Images uniform in the ball, then clipped; without a key the images themselves.

    >>> start = random_start(None, jnp.ones((1, 2)), jnp.ones((1, 1)), norm="l2",
    ...                      bounds=(0.0, 1.0))
    >>> print(start)
    [[1. 1.]]
    """
    if key is None:
        return x
    noise = random_in_ball(key, x, norm)
    return into_ball_and_box(x + epsilon * noise, x, epsilon, norm=norm, bounds=bounds)


def into_ball_and_box(
    x_adv: Float[Array, "batch ..."],
    x: Float[Array, "batch ..."],
    epsilon: Float[Array, "batch ..."],
    *,
    norm: str,
    bounds: Bounds,
) -> Float[Array, "batch ..."]:
    """Images projected into the ball around x, then clipped to the bounds.

    >>> print(into_ball_and_box(jnp.array([[2.0]]), jnp.array([[0.5]]),
    ...                         jnp.array([[0.25]]), norm="linf", bounds=(0.0, 1.0)))
    [[0.75]]
    """
    return jnp.clip(x + NORMS[norm].project(x_adv - x, epsilon), *bounds)


def unit_l1(x: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
    """Each example divided by its L1 norm; zero stays zero.

    >>> print(unit_l1(jnp.array([[1.0, -3.0], [0.0, 0.0]])))
    [[ 0.25 -0.75]
     [ 0.    0.  ]]
    """
    largest = _length_linf(x)
    relative = x / jnp.where(largest > 0, largest, 1.0)
    total = jnp.sum(jnp.abs(relative), axis=range(1, x.ndim), keepdims=True)
    return relative / jnp.where(total > 0, total, 1.0)


def choose(flags: Bool[Array, " batch"], new: Any, old: Any) -> Any:
    """The new where an example's flag is set, else the old; pytrees, batch in front.

    >>> new, old = jnp.ones((2, 2)), jnp.zeros((2, 2))
    >>> print(choose(jnp.array([True, False]), new, old))
    [[1. 1.]
     [0. 0.]]
    """

    def pick(new, old):
        return jnp.where(flags.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(pick, new, old)


def over_pixels(
    values: Float[Array, " batch"], x: Float[Array, "batch ..."]
) -> Float[Array, "batch ..."]:
    """One value an example as an array that broadcasts against the images.

    >>> print(over_pixels(jnp.array([0.1, 0.2]), jnp.zeros((2, 8, 8, 1))).shape)
    (2, 1, 1, 1)
    """
    return values.reshape(-1, *[1] * (x.ndim - 1))


def linear_distance(
    value: Float[Array, " batch"], gradient: Float[Array, "batch ..."], norm: str
) -> Float[Array, " batch"]:
    """Distance to where a linear function of this value and gradient is 0.

    |value| over the dual norm of the gradient; infinite without a gradient.

    >>> print(linear_distance(jnp.array([-14.0]), jnp.array([[3.0, -4.0]]), "linf"))
    [2.]
    """
    if norm == "linf":
        slope = jnp.sum(jnp.abs(gradient).reshape(len(gradient), -1), axis=-1)
    else:
        slope = _length_l2(gradient).reshape(len(gradient))
    return jnp.where(
        slope > 0, jnp.abs(value) / jnp.where(slope > 0, slope, 1.0), jnp.inf
    )

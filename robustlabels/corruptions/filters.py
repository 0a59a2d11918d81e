"""What several corruptions are made of.

A filter that is separable is one square matrix a side, whatever it does at borders; it
is made in NumPy from sizes that are static.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

__all__ = [
    "Image",
    "Severity",
    "apply_separable",
    "at_severity",
    "gaussian_matrix",
    "gaussian_window",
    "half_gaussian",
    "motion_blurred",
    "plasma_fractal",
    "zoom_matrix",
]

Image = Float[Array, "height width channels"]
Matrix = Float[np.ndarray, "size size"]
Severity = int | Int[Array, ""]


def at_severity(constants: Sequence[Any], severity: Severity) -> Array:
    """One of five numbers or arrays, for severities 1 to 5.

    >>> print(at_severity([0.1, 0.2, 0.3, 0.4, 0.5], 2))
    0.2
    """
    return jnp.asarray(np.asarray(constants))[severity - 1]


def apply_separable(
    image: Image, matrices: Callable[[int], Sequence[np.ndarray]], severity: Severity
) -> Image:
    """An image, both sides of which were multiplied by the matrix of a severity.

    Args:
      image: of any size.
      matrices: (pixels of a side) -> five matrices, for severities 1 to 5.
      severity: 1 to 5.

    >>> image = jnp.array([[1.0, 2.0], [3.0, 4.0]])[..., None]
    >>> turned = apply_separable(image, lambda size: [np.eye(size)[::-1]] * 5, 1)
    >>> print(turned[..., 0])
    [[4. 3.]
     [2. 1.]]
    """
    rows, columns = (at_severity(matrices(size), severity) for size in image.shape[:2])
    return jnp.einsum("ih,hwc,jw->ijc", rows, image, columns, precision="highest")


def gaussian_window(sigma: float, radius: int) -> Float[np.ndarray, " taps"]:
    """A Gaussian at -radius, ..., radius, of sum 1; sigma 0 is no blur at all.

    >>> print(gaussian_window(1.0, 1).round(3))
    [0.274 0.452 0.274]
    """
    at = np.arange(-radius, radius + 1)
    window = np.exp(-0.5 * (at / sigma) ** 2) if sigma else (at == 0).astype(float)
    return window / window.sum()


def gaussian_matrix(
    size: int, sigma: float, *, truncate: float, border: Literal["edge", "symmetric"]
) -> Matrix:
    """A Gaussian blur along one side.

    Args:
      size: pixels of the side.
      sigma: standard deviation in pixels.
      truncate: how many of them the window reaches.
      border: how NumPy's `pad` goes on beyond the border: "edge" or "symmetric".

    >>> print(gaussian_matrix(3, 1.0, truncate=1.0, border="edge").round(2))
    [[0.73 0.27 0.  ]
     [0.27 0.45 0.27]
     [0.   0.27 0.73]]
    """
    radius = int(truncate * sigma + 0.5)
    beyond = np.pad(np.eye(size), ((radius, radius), (0, 0)), border)
    windows = np.lib.stride_tricks.sliding_window_view(beyond, 2 * radius + 1, axis=0)
    return windows @ gaussian_window(sigma, radius)


def zoom_matrix(size: int, factor: float) -> Matrix:
    """The middle of one side, zoomed in linearly and cut to the size it had.

    >>> print(zoom_matrix(4, 2.0).round(2))
    [[0.   1.   0.   0.  ]
     [0.   0.67 0.33 0.  ]
     [0.   0.33 0.67 0.  ]
     [0.   0.   1.   0.  ]]
    """
    kept = math.ceil(size / factor)
    zoomed = round(kept * factor)
    first, trimmed = (size - kept) // 2, (zoomed - size) // 2
    at = first + np.arange(zoomed) * (kept - 1) / (zoomed - 1)
    pixels = [np.interp(at, np.arange(size), pixel) for pixel in np.eye(size)]
    return np.stack(pixels, axis=1)[trimmed : trimmed + size]


def half_gaussian(
    radius: int, sigma: float, *, size: int
) -> Float[np.ndarray, " size"]:
    """ImageMagick's window of motion: at 0, ..., 2 radius, of sum 1; then zeros.

    >>> print(half_gaussian(1, 1.0, size=4).round(3))
    [0.574 0.348 0.078 0.   ]
    """
    at = np.arange(size)
    window = np.where(at <= 2 * radius, np.exp(-0.5 * (at / sigma) ** 2), 0)
    return window / window.sum()


def motion_blurred(
    image: Image, angle: Float[Array, ""], weights: Float[Array, " taps"]
) -> Image:
    """ImageMagick's motion blur: a weighted mean of the pixels on a line from each.

    Args:
      image: goes on beyond its border as it ends there.
      angle: of the line, in degrees; 0 is to the right, 90 is down.
      weights: of the pixel itself, the next one and so on.

    >>> image, weights = np.eye(1, 4, 3)[..., None], jnp.array([0.5, 0.25, 0.25])
    >>> blurred = jax.jit(motion_blurred)(image, 0.0, weights)
    >>> print(blurred[..., 0])
    [[0.   0.25 0.5  1.  ]]
    """
    height, width, _ = image.shape
    angle, steps = jnp.deg2rad(angle), jnp.arange(len(weights))
    down, right = (
        jnp.ceil(steps * way - 0.5).astype(jnp.int32)
        for way in (jnp.sin(angle), jnp.cos(angle))
    )
    rows = jnp.clip(jnp.arange(height)[None, :] + down[:, None], 0, height - 1)
    columns = jnp.clip(jnp.arange(width)[None, :] + right[:, None], 0, width - 1)
    shifted = image[rows[:, :, None], columns[:, None, :]]
    return jnp.einsum("t,thwc->hwc", weights, shifted, precision="highest")


def plasma_fractal(
    key: Key[Array, ""], shape: tuple[int, int], *, decay: Float[Array, ""]
) -> Float[Array, "height width"]:
    """Heights in [0, 1] by the diamond-square algorithm on a torus.

    Args:
      key: of the random heights.
      shape: (height, width), cut from the next larger power of two.
      decay: the larger, the smoother: every level adds heights decay² times smaller.

    >>> fractal = jax.jit(plasma_fractal, static_argnames="shape")
    >>> print(fractal(jax.random.key(0), (3, 4), decay=2.0).shape)
    (3, 4)
    """
    height, width = shape
    levels = (max(shape) - 1).bit_length()
    noise = jax.random.uniform(key, (4**levels - 1,), minval=-1, maxval=1)
    heights = jnp.zeros((1, 1))
    for level in range(levels):
        fresh, noise = jnp.split(noise, [3 * 4**level])
        bumps = fresh.reshape(3, *heights.shape) / decay ** (2 * level)
        right, below = jnp.roll(heights, -1, axis=1), jnp.roll(heights, -1, axis=0)
        corners = heights + right + below + jnp.roll(right, -1, axis=0)
        centre = corners / 4 + bumps[0]
        top = (heights + right + centre + jnp.roll(centre, 1, axis=0)) / 4 + bumps[1]
        left = (heights + below + centre + jnp.roll(centre, 1, axis=1)) / 4 + bumps[2]
        upper, lower = jnp.stack([heights, top], -1), jnp.stack([left, centre], -1)
        heights = jnp.stack([upper, lower], axis=1).reshape(2 * len(heights), -1)
    heights = heights - jnp.min(heights)
    return (heights / jnp.max(heights))[:height, :width]

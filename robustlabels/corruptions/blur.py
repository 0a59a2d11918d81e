"""Blur: out of focus, through frosted glass, of a moving and of a zooming camera."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from robustlabels.corruptions.filters import (
    Image,
    Severity,
    apply_separable,
    at_severity,
    gaussian_matrix,
    gaussian_window,
    half_gaussian,
    motion_blurred,
    zoom_matrix,
)

__all__ = ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur"]


def defocus_blur(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Convolves with a disk that a Gaussian of 3 x 3 pixels has smoothed."""
    del key
    disks = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)]
    kernel = at_severity([_smooth_disk(*disk) for disk in disks], severity)
    padded = jnp.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")

    def convolved(plane):
        return jax.scipy.signal.convolve(plane, kernel, "valid", precision="highest")

    return jax.vmap(convolved, in_axes=-1, out_axes=-1)(padded)


def _smooth_disk(radius: float, sigma: float) -> Float[np.ndarray, "5 5"]:
    row, column = np.mgrid[-2:3, -2:3]
    disk = (row**2 + column**2 <= radius**2).astype(float)
    window = gaussian_window(sigma, 1)
    for axis in (0, 1):
        disk = np.apply_along_axis(np.convolve, axis, disk, window, "same")
    return disk / disk.sum()


def glass_blur(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Blurs, takes pixels from neighbours at random, once or twice, and blurs again.

    The published loop is meant to exchange a pixel with the one above, left, or both;
    but it writes through a view, so that this one is copied and stays what it was. As
    the loop goes up from the last row, what it copies was not changed before.
    """
    sigmas = [0.05, 0.25, 0.4, 0.25, 0.4]
    passes = at_severity([1, 1, 1, 2, 2], severity)

    def blurs(size):
        return [gaussian_matrix(size, s, truncate=4.0, border="edge") for s in sigmas]

    height, width, _ = image.shape
    row, column = jnp.arange(height)[:, None], jnp.arange(width)[None, :]
    moves = ((row >= 2) & (column >= 2))[None]
    chance = jax.random.bernoulli(key, shape=(2, 2, height, width))
    image = apply_separable(image, blurs, severity)
    for number in range(2):
        up, left = chance[number] & moves & (number < passes)
        image = image[row - up, column - left]
    return apply_separable(image, blurs, severity)


def motion_blur(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Blurs along a line of random direction, at most 45 degrees from the rows."""
    windows = [(6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)]
    weights = at_severity([half_gaussian(*w, size=19) for w in windows], severity)
    angle = jax.random.uniform(key, minval=-45, maxval=45)
    return motion_blurred(image, angle, weights)


def zoom_blur(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """The mean of the image and of itself zoomed in, by 1, 1.01, 1.02 and so on."""
    del key
    # Rounding decides, here as in what was published, which ranges take their end in.
    ranges = [np.arange(1, end, 0.01) for end in (1.06, 1.11, 1.16, 1.21, 1.26)]
    taken = at_severity([len(factors) for factors in ranges], severity)
    rows, columns = (
        np.stack([zoom_matrix(size, factor) for factor in ranges[-1]])
        for size in image.shape[:2]
    )
    weights = (jnp.arange(len(ranges[-1])) < taken) / (taken + 1)
    zoomed = jnp.einsum(
        "n,nih,hwc,njw->ijc", weights, rows, image, columns, precision="highest"
    )
    return zoomed + image / (taken + 1)

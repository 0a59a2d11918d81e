"""Weather: snow, frost, fog, and bright light."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from robustlabels.corruptions.filters import (
    Image,
    Severity,
    apply_separable,
    at_severity,
    half_gaussian,
    motion_blurred,
    plasma_fractal,
    zoom_matrix,
)

__all__ = ["brightness", "fog", "frost", "snow"]


def snow(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Falling flakes over a whitened image.

    Flakes are Gaussian noise, zoomed, cut off below a threshold and blurred along a
    line of random direction; they fall twice, once turned by 180 degrees.
    """
    mean, scale, threshold, keep = at_severity(
        [
            [0.1, 0.2, 0.6, 0.95],
            [0.1, 0.2, 0.5, 0.9],
            [0.15, 0.3, 0.55, 0.9],
            [0.25, 0.3, 0.6, 0.85],
            [0.3, 0.3, 0.65, 0.8],
        ],
        severity,
    )
    windows = [(8, 3.0), (10, 4.0), (10, 4.0), (12, 6.0), (14, 12.0)]
    weights = at_severity([half_gaussian(*w, size=29) for w in windows], severity)
    height, width, channels = image.shape

    def zooms(size):
        return [zoom_matrix(size, factor) for factor in (1.0, 1.0, 1.75, 2.25, 1.25)]

    noise_key, angle_key = jax.random.split(key)
    noise = mean + scale * jax.random.normal(noise_key, (height, width, 1))
    noise = apply_separable(noise, zooms, severity)
    flakes = jnp.where(noise < threshold, 0.0, jnp.minimum(noise, 1.0))
    angle = jax.random.uniform(angle_key, minval=-135, maxval=-45)
    flakes = motion_blurred(flakes, angle, weights)
    luma = jnp.array([0.299, 0.587, 0.114] if channels == 3 else [1.0])
    gray = jnp.sum(image * luma[None, None, :], axis=-1, keepdims=True)
    white = jnp.maximum(image, 1.5 * gray + 0.5)
    return keep * image + (1 - keep) * white + flakes + flakes[::-1, ::-1]


def frost(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Adds ice crystals to a darkened image.

    The published corruption adds a random cut of one of five photographs of frost. Here
    crystals are the lines of middle height in a plasma fractal, with a tint of blue;
    they are sparser than in most photographs. The weights are the published ones, but
    results are not comparable with published ones.
    """
    keep, amount = at_severity(
        [[1, 0.2], [1, 0.3], [0.9, 0.4], [0.85, 0.4], [0.75, 0.45]], severity
    )
    height, width, channels = image.shape
    heights = plasma_fractal(key, (height, width), decay=jnp.array(1.25))
    crystals = (1 - jnp.abs(2 * heights - 1)) ** 8
    tint = jnp.array([0.8, 0.9, 1.0] if channels == 3 else [0.9])
    return keep * image + amount * crystals[..., None] * tint[None, None, :]


def fog(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Adds a plasma fractal, and scales the brightest value back to what it was."""
    amount, decay = at_severity(
        [[0.2, 3], [0.5, 3], [0.75, 2.5], [1, 2], [1.5, 1.75]], severity
    )
    height, width, _ = image.shape
    brightest = jnp.max(image)
    mist = plasma_fractal(key, (height, width), decay=decay)[..., None]
    return (image + amount * mist) * brightest / (brightest + amount)


def brightness(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Raises the value of HSV, up to 1, at the same hue and saturation."""
    del key
    value = jnp.max(image, axis=-1, keepdims=True)
    raised = value + at_severity([0.05, 0.1, 0.15, 0.2, 0.3], severity)
    factor = jnp.minimum(raised, 1.0) / jnp.where(value > 0, value, 1.0)
    return jnp.where(value > 0, image * factor, raised)

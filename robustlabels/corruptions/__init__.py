"""The 15 common corruptions of Hendrycks & Dietterich (2019), as CIFAR-10-C has them.

Each is a pure function (image [height, width, channels], key, severity) -> image, in
JAX from end to end; `corrupt` checks what they are given, and maps them over a batch.
The constants are those of the published generator for images of 32 x 32, and so is
what it computes, with these differences: no step rounds to bytes but JPEG, frost is a
computed texture instead of photographs, and elastic_transform interpolates exactly
where OpenCV rounds positions to 1/32 of a pixel.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.corruptions.blur import (
    defocus_blur,
    glass_blur,
    motion_blur,
    zoom_blur,
)
from robustlabels.corruptions.digital import contrast, elastic_transform, pixelate
from robustlabels.corruptions.jpeg import jpeg_compression
from robustlabels.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from robustlabels.corruptions.weather import brightness, fog, frost, snow

__all__ = ["CORRUPTIONS", "SEVERITIES", "corrupt"]

CORRUPTIONS = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}
SEVERITIES = range(1, 6)


def corrupt(
    name: str,
    x: Float[Array, "batch height width channels"],
    *,
    severity: int | Int[Array, ""],
    key: Key[Array, "..."],
) -> Float[Array, "batch height width channels"]:
    """Images under one corruption, compiled once for each name and shape.

    Radii, thresholds and numbers of passes are in pixels of a 32 x 32 image and are not
    scaled with the size; what elastic_transform and pixelate do is relative to it. Gray
    images are treated as published ones with three equal channels would be, but that
    noise is drawn once, frost has no tint, and JPEG has no chroma.

    Args:
      name: one of `CORRUPTIONS`.
      x: images in [0, 1], of 8 x 8 pixels at least, with 1 or 3 channels.
      severity: 1 to 5; may be traced. The published constants of glass_blur and
        elastic_transform change less at some higher severities.
      key: one key, or one an example; with one, example i uses it folded with i.

    Raises:
      ValueError: for a name or a severity that is unknown, images of another shape, or
        pixels outside of [0, 1].
      NotImplementedError: for shot_noise with keys of another generator than JAX's
        default, threefry2x32.

    Guarantees: within [0, 1]; the same example and key give the same result in any
    batch.

    >>> x = jnp.full((1, 8, 8, 3), 0.5)
    >>> print(corrupt("brightness", x, severity=5, key=jax.random.key(0)).max())
    0.8
    """
    _validate.one_of(CORRUPTIONS, name=name)
    _validate.in_range(1, 5, severity=severity, fix="1 is the mildest.")
    _, height, width, channels = x.shape
    if min(height, width) < 8 or channels not in (1, 3):
        raise ValueError(
            f"x of shape {x.shape}: corruptions are for images of at least 8 x 8 "
            "pixels with 1 or 3 channels, [batch, height, width, channels]."
        )
    geometry.check_images(x, (0.0, 1.0))
    return _corrupted(name, x, geometry.per_example_keys(key, len(x)), severity)


@functools.partial(jax.jit, static_argnames="name")
def _corrupted(name, x, keys, severity):
    corrupted = jax.vmap(
        lambda image, key: CORRUPTIONS[name](image, key, severity=severity)
    )(x.astype(jnp.float32), keys)
    return jnp.clip(corrupted, 0, 1).astype(x.dtype)

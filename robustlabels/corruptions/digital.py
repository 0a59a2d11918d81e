"""What displays, warps and small formats do to an image."""

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
)

__all__ = ["contrast", "elastic_transform", "pixelate"]


def contrast(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Moves every value towards the mean of its channel."""
    del key
    keep = at_severity([0.75, 0.5, 0.4, 0.3, 0.15], severity)
    mean = jnp.mean(image, axis=(0, 1), keepdims=True)
    return mean + keep * (image - mean)


def elastic_transform(
    image: Image, key: Key[Array, ""], *, severity: Severity
) -> Image:
    """Warps by a random affine map, then by a smooth random displacement.

    The affine map moves three corners of a square in the middle, each by up to
    `jitter`; all lengths are shares of the shorter side.
    """
    amount = at_severity([0.0, 0.05, 0.08, 0.1, 0.1], severity)
    jitter = at_severity([0.08, 0.07, 0.06, 0.05, 0.03], severity)
    height, width, _ = image.shape
    side = min(height, width)
    affine_key, smooth_key = jax.random.split(key)
    row, column = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    grid = jnp.stack([row, column], axis=-1).astype(image.dtype)

    centre = np.array([height // 2, width // 2])
    corners = centre + side // 3 * np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    noise = jax.random.uniform(affine_key, (3, 2), minval=-1, maxval=1)
    back = jnp.linalg.solve(_homogeneous(corners + side * jitter * noise), corners)
    origin = jnp.matmul(_homogeneous(grid), back, precision="highest")
    image = _sampled(image, origin, "mirror")

    def blurs(size):
        return [
            gaussian_matrix(size, side * sigma, truncate=3.0, border="symmetric")
            for sigma in (0.0, 0.2, 0.06, 0.04, 0.03)
        ]

    noise = jax.random.uniform(smooth_key, (height, width, 2), minval=-1, maxval=1)
    displacement = side * amount * apply_separable(noise, blurs, severity)
    return _sampled(image, grid + displacement, "reflect")


def _homogeneous(points):
    return jnp.concatenate([points, jnp.ones_like(points[..., :1])], axis=-1)


def _sampled(image, positions, border):
    """The image at positions [height, width, 2], interpolated linearly."""
    at = jnp.unstack(positions, axis=-1)

    def plane_at(plane):
        return jax.scipy.ndimage.map_coordinates(plane, at, order=1, mode=border)

    return jax.vmap(plane_at, in_axes=-1, out_axes=-1)(image)


def pixelate(image: Image, key: Key[Array, ""], *, severity: Severity) -> Image:
    """Makes the image smaller, then as large as it was, by boxes."""
    del key

    def there_and_back(size):
        small = [int(size * share) for share in (0.95, 0.9, 0.85, 0.75, 0.65)]
        return [_box_matrix(s, size) @ _box_matrix(size, s) for s in small]

    return apply_separable(image, there_and_back, severity)


def _box_matrix(size: int, new_size: int) -> Float[np.ndarray, "new old"]:
    """Pillow's box filter along one side: the mean of the pixels with centres in it."""
    scale = size / new_size
    centre = scale * (np.arange(new_size) + 0.5)
    distance = np.arange(size)[None, :] + 0.5 - centre[:, None]
    half = max(scale, 1) / 2
    inside = (distance > -half) & (distance <= half)
    return inside / inside.sum(axis=1, keepdims=True)

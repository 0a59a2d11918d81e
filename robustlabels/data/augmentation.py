"""Random changes of training images, on the device: crops, flips, cut-outs.

Each image draws from a key of its own, so a batch can be split over devices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Num

from robustlabels import _validate

__all__ = ["Augmentation", "augment"]

Images = Num[Array, "batch height width channels"]


class Augmentation(NamedTuple):
    """What may happen to an image, in this order; by default nothing.

    Attributes:
      crop_padding: pixels of black on each side, out of which the image's own size is
        cut at random; 4 is usual for 32 x 32, He et al. (2016), section 4.2.
      flip: whether left and right change places half of the time.
      cutout: side in pixels of a square of black at a random centre, part of which may
        lie outside, DeVries & Taylor (2017); 0 is none.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0

    def check(self) -> None:
        """Raises for a size below 0.

        >>> Augmentation(cutout=-1).check()
        Traceback (most recent call last):
        ValueError: cutout=-1 is not a whole number of at least 0.
        """
        _validate.count(minimum=0, crop_padding=self.crop_padding, cutout=self.cutout)


def augment(key: Key[Array, ""], images: Images, augmentation: Augmentation) -> Images:
    """Images as training sees them this time.

    Args:
      key: image i uses it folded with i.
      images: of any dtype, 0 is black.
      augmentation: what may happen.

    Guarantees: nothing but pixels of the image and black; the same key and images give
    the same result, in any batch that has image i at place i.

    >>> images = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 4, 1)
    >>> print(augment(jax.random.key(0), images, Augmentation(flip=True)).ravel())
    [3 2 1 0]
    """
    if augmentation == Augmentation():
        return images
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(images)))
    return jax.vmap(lambda k, image: _augmented(k, image, augmentation))(keys, images)


def _augmented(key: Array, image: Array, augmentation: Augmentation) -> Array:
    crop_key, flip_key, cutout_key = jax.random.split(key, 3)
    height, width, _ = image.shape
    if padding := augmentation.crop_padding:
        sides = ((padding, padding), (padding, padding), (0, 0))
        corner = jax.random.randint(crop_key, (2,), 0, 2 * padding + 1)
        start = (corner[0], corner[1], jnp.zeros((), corner.dtype))
        image = jax.lax.dynamic_slice(jnp.pad(image, sides), start, image.shape)
    if augmentation.flip:
        image = jnp.where(jax.random.bernoulli(flip_key), image[:, ::-1], image)
    if augmentation.cutout:
        centre = jax.random.randint(
            cutout_key, (2,), 0, jnp.array([height, width], jnp.int32)
        )
        corner = centre - augmentation.cutout // 2
        rows = _within(height, corner[0], augmentation.cutout)
        columns = _within(width, corner[1], augmentation.cutout)
        hole = rows[:, None, None] & columns[None, :, None]
        image = jnp.where(hole, jnp.zeros((), image.dtype), image)
    return image


def _within(size: int, start: Array, length: int) -> Array:
    """[size]: which places are among the `length` from `start` on."""
    places = jnp.arange(size)
    return (places >= start) & (places < start + length)

"""The network of Krizhevsky, One weird trick for parallelizing CNNs (2014)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from robustlabels.models.conv import Conv
from robustlabels.models.layers import Activations, Block, ImageShape, max_pool

__all__ = ["AlexNet"]

_CONVOLUTIONS = ((192, 5), (384, 3), (256, 3), (256, 3))  # channels, side of kernel
_POOLED = (1, 2, 5)  # the convolutions after which there is pooling
_SIDE = 6
_SMALLEST = 63
_UNITS = 4096


class AlexNet(nnx.Module):
    """The network of Krizhevsky (2014), in torchvision's layout, without dropout.

    Five convolutions with 64, 192, 384, 256 and 256 channels, the first of 11 x 11 with
    a stride of 4, 3 x 3 max pooling with a stride of 2 after the first, the second and
    the last, then means over 6 x 6 cells, which for 224 x 224 pixels are the pixels
    that are left, and two dense layers of 4096 units. Every layer ends in a relu;
    kernels start with variance 2 / fan-in, He et al. (2015). The dropout of half the
    units before each dense layer is left out: a training step has no random keys for
    a model. With a softmax over 1000 classes it has 61,100,840 parameters.

    Args:
      image_shape: (height, width, channels) in pixels, both sides at least 63.
      dtype: what is computed in; parameters are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for an image that is too small.

    Guarantees: activations are "conv_1", ..., "conv_5" (before pooling), "pooled",
    "dense_1", "dense_2"; the last is the embedding.

    >>> build = lambda: AlexNet((224, 224, 3), rngs=nnx.Rngs(0))
    >>> images = jnp.zeros((2, 224, 224, 3))
    >>> _, activations = nnx.eval_shape(lambda: build()(images))
    >>> [activations[name].shape for name in ("conv_1", "conv_5", "pooled", "dense_2")]
    [(2, 55, 55, 64), (2, 13, 13, 256), (2, 6, 6, 256), (2, 4096)]
    """

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        *sides, channels = image_shape
        if min(sides) < _SMALLEST:
            raise ValueError(
                f"image_shape={tuple(image_shape)} has too few pixels for the strides; "
                f"it needs at least {_SMALLEST} x {_SMALLEST}: enlarge the images or "
                "take a CIFARResNet or a CNN."
            )
        self.image_shape = tuple(image_shape)
        self.out_features = _UNITS
        common = {"dtype": dtype, "rngs": rngs}
        layout = {"kernel_size": 11, "stride": 4, "padding": ((2, 2), (2, 2))}
        features = 64
        self.stem = Conv(channels, features, **layout, **common)
        self.convs = nnx.List([])
        for width, side in _CONVOLUTIONS:
            self.convs.append(Block(features, width, kernel_size=side, **common))
            features = width
        self.dense = nnx.List(
            Block(size, _UNITS, **common) for size in (_SIDE**2 * features, _UNITS)
        )

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> tuple[Float[Array, " batch features"], Activations]:
        """Embed a batch of images; `train` changes nothing."""
        activations = Activations()
        layers = [lambda x: jax.nn.relu(self.stem(x)), *self.convs]
        h = x
        for i, layer in enumerate(layers, start=1):
            h = activations[f"conv_{i}"] = layer(h)
            if i in _POOLED:
                h = max_pool(h, size=3, stride=2)
        h = activations["pooled"] = _mean_cells(h, _SIDE)
        h = h.reshape(h.shape[0], -1)
        for i, block in enumerate(self.dense, start=1):
            h = activations[f"dense_{i}"] = block(h)
        return h, activations


def _mean_cells(
    x: Float[Array, " batch height width channels"], side: int
) -> Float[Array, " batch side side channels"]:
    """Means over side x side cells, which overlap where they do not divide the image.

    A cell goes from floor(i n / side) to ceil((i + 1) n / side) of n pixels.
    """

    def weights(pixels):
        cell, pixel = np.arange(side)[:, None], np.arange(pixels)
        first, last = cell * pixels // side, -(-(cell + 1) * pixels // side)
        inside = (first <= pixel[None]) & (pixel[None] < last)
        return jnp.asarray(inside / inside.sum(1, keepdims=True), x.dtype)

    _, height, width, _ = x.shape
    return jnp.einsum("ih,jw,nhwc->nijc", weights(height), weights(width), x)

"""The networks of Simonyan & Zisserman (2015), for small images."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from robustlabels import _validate
from robustlabels.models.layers import Activations, Block, ImageShape, max_pool

__all__ = ["VGG"]

_WIDTHS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nnx.Module):
    """Convolutions of Simonyan & Zisserman (2015), table 1, with batch normalisation.

    Five stages of 3 x 3 convolutions with 64, 128, 256, 512 and 512 channels, 2 x 2 max
    pooling after each, and the mean over the pixels that are left, of which 32 x 32
    images have one: the variant for CIFAR that Chen et al. (2021) use, without the two
    dense layers and their dropout. Convolutions have biases beside those of the norms,
    and start with variance 2 / fan-in, He et al. (2015). With a softmax over 10 classes
    VGG-11, 13, 16 and 19 have 9,231,114, 9,416,010, 14,728,266 and 20,040,522
    parameters.

    Args:
      image_shape: (height, width, channels) in pixels, both sides at least 32.
      depth: 11, 13, 16 or 19, the layers with weights of the table: configurations A,
        B, D and E.
      dtype: what is computed in; parameters and statistics are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for another depth, and for an image that is too small.

    Guarantees: activations are "stage_1_conv_1", ..., "stage_5_conv_n" (before
    pooling), "pooled"; the last is the embedding, of 512 features.

    >>> build = lambda: VGG((32, 32, 3), depth=11, rngs=nnx.Rngs(0))
    >>> images = jnp.zeros((2, 32, 32, 3))
    >>> _, activations = nnx.eval_shape(lambda: build()(images))
    >>> [activations[name].shape for name in ("stage_1_conv_1", "stage_5_conv_2")]
    [(2, 32, 32, 64), (2, 2, 2, 512)]
    """

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        depth: int = 19,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        _validate.one_of(_CONVOLUTIONS, depth=depth)
        *sides, features = image_shape
        smallest = 2 ** len(_WIDTHS)
        if min(sides) < smallest:
            raise ValueError(
                f"image_shape={tuple(image_shape)} is halved {len(_WIDTHS)} times and "
                f"needs at least {smallest} x {smallest} pixels; enlarge the images or "
                "take a CIFARResNet or a CNN."
            )
        self.image_shape = tuple(image_shape)
        self.out_features = _WIDTHS[-1]
        common = {"norm": "batch", "use_bias": True, "dtype": dtype, "rngs": rngs}
        self.stages = nnx.List([])
        for width, number in zip(_WIDTHS, _CONVOLUTIONS[depth], strict=True):
            stage = nnx.List([])
            for _ in range(number):
                stage.append(Block(features, width, kernel_size=3, **common))
                features = width
            self.stages.append(stage)

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> tuple[Float[Array, " batch features"], Activations]:
        """Embed a batch of images."""
        activations = Activations()
        h = x
        for i, stage in enumerate(self.stages, start=1):
            for j, block in enumerate(stage, start=1):
                h = activations[f"stage_{i}_conv_{j}"] = block(h, train=train)
            h = max_pool(h)
        embedding = activations["pooled"] = h.mean((1, 2))
        return embedding, activations

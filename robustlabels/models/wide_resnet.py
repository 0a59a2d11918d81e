"""Wide residual networks of Zagoruyko & Komodakis (2016).

Batch normalisation and relu come before each convolution, as He et al., Identity
mappings in deep residual networks (2016), have them. A convolution pads by half its
kernel on each side: no image is too small. Kernels start with variance 2 / fan-in, He
et al. (2015).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from robustlabels import _validate
from robustlabels.models.conv import Conv
from robustlabels.models.layers import Activations, Block, ImageShape, batch_norm
from robustlabels.models.resnet import Stages

__all__ = ["WideResNet", "WideResidual"]


class WideResidual(nnx.Module):
    """Norm, relu, 3 x 3, norm, relu, 3 x 3, and a shortcut that is added to it.

    The shortcut is the input, or where that has another shape a 1 x 1 convolution of
    the input after norm and relu.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      stride: of the first convolution: pixels between two outputs, at least 1.
      dtype: what is computed in; parameters and statistics are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for a number of channels below 1.

    >>> build = lambda: WideResidual(4, 8, stride=2, rngs=nnx.Rngs(0))
    >>> nnx.eval_shape(lambda: build()(jnp.ones((1, 7, 6, 4)))).shape
    (1, 4, 3, 8)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        stride: int = 1,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        common = {"dtype": dtype, "rngs": rngs}
        sizes = in_features, out_features
        shape = {"kernel_size": 3, "stride": stride}
        self.out_features = out_features
        self.norm = batch_norm(in_features, **common)
        self.first = Block(*sizes, norm="batch", **shape, **common)
        bare = {"use_bias": False, **common}
        self.second = Conv(out_features, out_features, kernel_size=3, **bare)
        self.projection = nnx.data(
            Conv(*sizes, kernel_size=1, stride=stride, **bare)
            if stride != 1 or in_features != out_features
            else None
        )

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> Float[Array, " batch new_height new_width out_features"]:
        """Apply the block; `train` takes statistics from the batch and updates them."""
        h = jax.nn.relu(self.norm(x, use_running_average=not train))
        if self.projection is not None:
            x = self.projection(h)
        return self.second(self.first(h, train=train)) + x


class WideResNet(nnx.Module):
    """The wide residual network WRN-depth-widen, without dropout.

    A 3 x 3 convolution to 16 channels, three stages of n blocks with 16, 32 and 64
    times `widen` channels, the latter two at half the size of the one before, batch
    normalisation and relu, and the mean over the pixels. With a softmax over 10 classes
    WRN-28-10 has 36,479,194 parameters, WRN-16-4 2,748,890, WRN-40-2 2,243,546.

    Args:
      image_shape: (height, width, channels) in pixels.
      depth: convolutions, three projections included: 6n + 4, such as 16, 22, 28, 34
        and 40.
      widen: how many times as wide as a `CIFARResNet`, at least 1.
      dtype: what is computed in; parameters and statistics are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for another depth, and for `widen` below 1.

    Guarantees: activations are "stem", "stage_1_block_1", ..., "stage_3_block_n",
    "features" (after the last relu), "pooled"; the last is the embedding, of 64 times
    `widen` features.

    >>> build = lambda: WideResNet((32, 32, 3), depth=16, widen=4, rngs=nnx.Rngs(0))
    >>> images = jnp.zeros((2, 32, 32, 3))
    >>> _, activations = nnx.eval_shape(lambda: build()(images))
    >>> [activations[name].shape for name in ("stem", "stage_3_block_2", "pooled")]
    [(2, 32, 32, 16), (2, 8, 8, 256), (2, 256)]
    """

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        depth: int = 28,
        widen: int = 10,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        _validate.count(minimum=10, depth=depth)
        _validate.count(widen=widen)
        if depth % 6 != 4:
            raise ValueError(
                f"depth={depth} is not 6n + 4, for n blocks of two layers in each of "
                f"three stages; take {(depth - 4) // 6 * 6 + 4}."
            )
        self.image_shape = tuple(image_shape)
        common = {"dtype": dtype, "rngs": rngs}
        self.stem = Conv(image_shape[-1], 16, kernel_size=3, use_bias=False, **common)
        blocks = [(depth - 4) // 6] * 3
        self.stages = Stages(
            16, 16 * widen, blocks=blocks, block=WideResidual, **common
        )
        self.out_features = self.stages.out_features
        self.norm = batch_norm(self.out_features, **common)

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> tuple[Float[Array, " batch features"], Activations]:
        """Embed a batch of images."""
        activations = Activations(stem=self.stem(x))
        h, blocks = self.stages(activations["stem"], train=train)
        activations.update(blocks)
        h = jax.nn.relu(self.norm(h, use_running_average=not train))
        activations["features"] = h
        embedding = activations["pooled"] = h.mean((1, 2))
        return embedding, activations

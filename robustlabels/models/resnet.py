"""Residual networks of He et al., Deep residual learning (2016).

A convolution pads by half its kernel on each side, as the papers' code does: with a
stride of 2 the output size is half the input's, rounded up. So no image is too small.
Kernels start with variance 2 / fan-in, He et al. (2015), and every scale of batch
normalisation as 1.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from robustlabels import _validate
from robustlabels.models.layers import Activations, Block, ImageShape, max_pool

__all__ = ["CIFARResNet", "ResNet", "Residual", "Stages"]

_EXPANSION = 4
_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class Residual(nnx.Module):
    """Convolutions with batch norm, and a shortcut that is added before the last relu.

    Basic: two of 3 x 3. Bottleneck: 1 x 1, 3 x 3, and 1 x 1 to four times the width.
    The stride is that of the first 3 x 3. The shortcut is the input, or where that has
    another shape a 1 x 1 convolution with batch norm ("option B").

    Args:
      in_features: channels of the input.
      width: channels of the 3 x 3 convolutions.
      stride: pixels between two outputs, at least 1.
      bottleneck: whether three convolutions are used instead of two.
      dtype: what is computed in; parameters and statistics are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for a number of channels below 1.

    >>> build = lambda: Residual(4, 8, stride=2, bottleneck=True, rngs=nnx.Rngs(0))
    >>> nnx.eval_shape(lambda: build()(jnp.ones((1, 7, 6, 4)))).shape
    (1, 4, 3, 32)
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        *,
        stride: int = 1,
        bottleneck: bool = False,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if bottleneck:
            features = _EXPANSION * width
            sizes = [(in_features, width), (width, width), (width, features)]
            sides, strides = (1, 3, 1), (1, stride, 1)
        else:
            features = width
            sizes = [(in_features, width), (width, features)]
            sides, strides = (3, 3), (stride, 1)
        common = {"norm": "batch", "dtype": dtype, "rngs": rngs}
        *body, last = (
            Block(a, b, kernel_size=side, stride=step, **common)
            for (a, b), side, step in zip(sizes, sides, strides, strict=True)
        )
        self.out_features = features
        self.body = nnx.List(body)
        self.last = last
        self.projection = nnx.data(
            Block(in_features, features, kernel_size=1, stride=stride, **common)
            if stride != 1 or in_features != features
            else None
        )

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> Float[Array, " batch new_height new_width out_features"]:
        """Apply the block; `train` takes statistics from the batch and updates them."""
        h = x
        for block in self.body:
            h = block(h, train=train)
        h = self.last.preactivation(h, train=train)
        if self.projection is not None:
            x = self.projection.preactivation(x, train=train)
        return jax.nn.relu(h + x)


class Stages(nnx.Module):
    """Residual blocks in stages.

    Each stage but the first halves the size and doubles the width. The shortcut between
    two stages is a projection.

    Args:
      in_features: channels of the input.
      width: of the first stage.
      blocks: their number in each stage.
      block: makes one: `Residual`, or what takes its arguments and has `out_features`.
      dtype: what is computed in; parameters and statistics are float32.
      rngs: random keys; "params" is used.

    Guarantees: activations are "stage_1_block_1", "stage_1_block_2", ...; the last is
    the output.

    >>> build = lambda: Stages(4, 4, blocks=(2, 1), rngs=nnx.Rngs(0))
    >>> y, activations = nnx.eval_shape(lambda: build()(jnp.zeros((2, 6, 6, 4))))
    >>> y.shape, list(activations)[1:]
    ((2, 3, 3, 8), ['stage_1_block_2', 'stage_2_block_1'])
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        *,
        blocks: Sequence[int],
        block: Callable[..., Any] = Residual,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        features, self.blocks = in_features, nnx.List([])
        for i, number in enumerate(blocks):
            stage = nnx.List([])
            for j in range(number):
                shape = {"stride": 2 if i > 0 and j == 0 else 1, "dtype": dtype}
                stage.append(block(features, width << i, **shape, rngs=rngs))
                features = stage[-1].out_features
            self.blocks.append(stage)
        self.out_features = features

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> tuple[Float[Array, " batch new_height new_width features"], Activations]:
        """The output, and that of every block by name."""
        activations = Activations()
        h = x
        for i, stage in enumerate(self.blocks, start=1):
            for j, block in enumerate(stage, start=1):
                h = activations[f"stage_{i}_block_{j}"] = block(h, train=train)
        return h, activations


class CIFARResNet(nnx.Module):
    """The residual network for small images, He et al. (2016), section 4.2.

    A 3 x 3 convolution, three stages of n basic blocks with 16, 32 and 64 channels, the
    latter two at half the size of the one before, and the mean over the pixels. The
    shortcut between stages is a projection. With a softmax over 10 classes ResNet-32
    has 466,906 parameters, ResNet-110 1,730,714.

    Args:
      image_shape: (height, width, channels) in pixels.
      depth: layers with weights, the head's included: 6n + 2, such as 20, 32, 44, 56
        and 110.
      dtype: what is computed in; parameters and statistics are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for another depth.

    Guarantees: activations are "stem", "stage_1_block_1", ..., "stage_3_block_n",
    "pooled"; the last is the embedding, of 64 features.

    >>> build = lambda: CIFARResNet((8, 8, 3), depth=8, rngs=nnx.Rngs(0))
    >>> _, activations = nnx.eval_shape(lambda: build()(jnp.zeros((2, 8, 8, 3))))
    >>> {name: value.shape[1:] for name, value in activations.items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'stem': (8, 8, 16), 'stage_1_block_1': (8, 8, 16), 'stage_2_block_1': (4, 4, 32),
     'stage_3_block_1': (2, 2, 64), 'pooled': (64,)}
    """

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        depth: int = 32,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        _validate.count(minimum=8, depth=depth)
        if depth % 6 != 2:
            raise ValueError(
                f"depth={depth} is not 6n + 2, for n blocks of two layers in each of "
                f"three stages; take {depth // 6 * 6 + 2}."
            )
        self.image_shape = tuple(image_shape)
        common = {"dtype": dtype, "rngs": rngs}
        self.stem = Block(image_shape[-1], 16, kernel_size=3, norm="batch", **common)
        self.stages = Stages(16, 16, blocks=[(depth - 2) // 6] * 3, **common)
        self.out_features = self.stages.out_features

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> tuple[Float[Array, " batch features"], Activations]:
        """Embed a batch of images."""
        stem = self.stem(x, train=train)
        h, activations = self.stages(stem, train=train)
        embedding = h.mean((1, 2))
        return embedding, Activations(stem=stem, **activations, pooled=embedding)


class ResNet(nnx.Module):
    """The residual network for ImageNet, He et al. (2016), table 1.

    A 7 x 7 convolution and 3 x 3 max pooling, each with a stride of 2, four stages of
    64, 128, 256 and 512 channels, the latter three at half the size of the one before,
    and the mean over the pixels. Blocks are basic up to 34 layers, else bottlenecks
    with the stride in the 3 x 3 convolution. With a softmax over 1000 classes ResNet-50
    has 25,557,032 parameters.

    Args:
      image_shape: (height, width, channels) in pixels; both sides are divided by 32,
        rounded up, so of small images little is left.
      depth: layers with weights, the head's included: 18, 34, 50, 101 or 152.
      dtype: what is computed in; parameters and statistics are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for another depth.

    Guarantees: activations are "stem" (before pooling), "stage_1_block_1", ...,
    "pooled"; the last is the embedding, of 512 features up to 34 layers, else of 2048.

    >>> build = lambda: ResNet((224, 224, 3), rngs=nnx.Rngs(0))
    >>> images = jnp.zeros((2, 224, 224, 3))
    >>> _, activations = nnx.eval_shape(lambda: build()(images))
    >>> [activations[name].shape for name in ("stem", "stage_4_block_3", "pooled")]
    [(2, 112, 112, 64), (2, 7, 7, 2048), (2, 2048)]
    """

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        depth: int = 50,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        _validate.one_of(_BLOCKS, depth=depth)
        self.image_shape = tuple(image_shape)
        common = {"dtype": dtype, "rngs": rngs}
        shape = {"kernel_size": 7, "stride": 2}
        self.stem = Block(image_shape[-1], 64, norm="batch", **shape, **common)
        block = functools.partial(Residual, bottleneck=depth >= 50)
        self.stages = Stages(64, 64, blocks=_BLOCKS[depth], block=block, **common)
        self.out_features = self.stages.out_features

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> tuple[Float[Array, " batch features"], Activations]:
        """Embed a batch of images."""
        stem = self.stem(x, train=train)
        pooled = max_pool(stem, size=3, stride=2, padding=1)
        h, activations = self.stages(pooled, train=train)
        embedding = h.mean((1, 2))
        return embedding, Activations(stem=stem, **activations, pooled=embedding)

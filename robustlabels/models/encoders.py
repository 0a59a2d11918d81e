"""Encoders: images to embeddings.

An encoder is an NNX module with `image_shape`, `out_features`, and a call
`encoder(x, train=False) -> (embedding, activations)`: `activations` maps the name of
every layer to its output, in the order of the flow.
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from robustlabels import _validate
from robustlabels.models.alexnet import AlexNet
from robustlabels.models.layers import Activations, Block, ImageShape, max_pool
from robustlabels.models.resnet import CIFARResNet, ResNet
from robustlabels.models.vgg import VGG
from robustlabels.models.wide_resnet import WideResNet

__all__ = [
    "CNN",
    "MLP",
    "VGG",
    "AlexNet",
    "CIFARResNet",
    "LinearMap",
    "ResNet",
    "WideResNet",
]


@runtime_checkable
class Encoder(Protocol):
    """What a `Network` asks of its encoder."""

    image_shape: ImageShape
    out_features: int

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> tuple[Float[Array, " batch features"], Activations]:
        """Embed a batch of images."""
        ...


class MLP(nnx.Module):
    """Dense layers on the pixels, each with norm and activation, the last one too.

    The default is the network of de Vries et al., Deep LVQ (2016): 784-1200-1200-200.

    Args:
      image_shape: (height, width, channels) in pixels.
      widths: units of each layer; the last one is the embedding.
      activation: a name of `ACTIVATIONS`.
      norm: "none" or "batch".
      dtype: what is computed in; parameters are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for no widths, a width below 1, an unknown `activation` or `norm`.

    Guarantees: activations are "dense_1", "dense_2", ...; the last is the embedding.

    >>> encoder = MLP((28, 28, 1), widths=(50, 20), rngs=nnx.Rngs(0))
    >>> embedding, activations = encoder(jnp.zeros((2, 28, 28, 1)))
    >>> embedding.shape, list(activations)
    ((2, 20), ['dense_1', 'dense_2'])
    """

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        widths: Sequence[int] = (1200, 1200, 200),
        activation: str = "relu",
        norm: str = "none",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        _validate.count(**{"the number of widths": len(widths)})
        self.image_shape = tuple(image_shape)
        self.out_features = widths[-1]
        sizes = [math.prod(image_shape), *widths]
        common = {"activation": activation, "norm": norm, "dtype": dtype, "rngs": rngs}
        self.dense = nnx.List(
            Block(a, b, **common) for a, b in zip(sizes, widths, strict=False)
        )

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> tuple[Float[Array, " batch features"], Activations]:
        """Embed a batch of images."""
        activations = Activations()
        h = x.reshape(x.shape[0], -1)
        for i, block in enumerate(self.dense, start=1):
            h = activations[f"dense_{i}"] = block(h, train=train)
        return h, activations


class CNN(nnx.Module):
    """A small convolutional network: per width a block and 2 x 2 max pooling.

    Then one dense block, which grows with what is left of the image: for 224 x 224
    pixels give five or six widths.

    Args:
      image_shape: (height, width, channels) in pixels, both sides at least
        2 ** len(widths).
      widths: channels of each convolution.
      features: size of the embedding.
      kernel_size: side of the kernels in pixels.
      activation: a name of `ACTIVATIONS`.
      norm: "none" or "batch".
      dtype: what is computed in; parameters are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for more widths than the image can be halved, a number below 1, an
        unknown `activation` or `norm`.

    Guarantees: activations are "conv_1", "conv_2", ... (before pooling), "dense_1".

    >>> build = lambda: CNN((8, 8, 1), widths=(4, 8), features=16, rngs=nnx.Rngs(0))
    >>> _, activations = nnx.eval_shape(lambda: build()(jnp.zeros((2, 8, 8, 1))))
    >>> {name: value.shape for name, value in activations.items()}
    {'conv_1': (2, 8, 8, 4), 'conv_2': (2, 4, 4, 8), 'dense_1': (2, 16)}
    """

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        widths: Sequence[int] = (32, 64),
        features: int = 128,
        kernel_size: int = 3,
        activation: str = "relu",
        norm: str = "none",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        height, width, channels = image_shape
        _validate.count(**{"the number of widths": len(widths)})
        halvings = min(height, width).bit_length() - 1
        if len(widths) > halvings:
            raise ValueError(
                f"widths={tuple(widths)} halves the image {len(widths)} times, but "
                f"{height} x {width} pixels allow {halvings}; give fewer widths."
            )
        self.image_shape = tuple(image_shape)
        self.out_features = features
        common = {"activation": activation, "norm": norm, "dtype": dtype, "rngs": rngs}
        sizes = [channels, *widths]
        self.convs = nnx.List(
            Block(a, b, kernel_size=kernel_size, **common)
            for a, b in zip(sizes, widths, strict=False)
        )
        pooled = (height >> len(widths)) * (width >> len(widths))
        self.dense = Block(pooled * widths[-1], features, **common)

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> tuple[Float[Array, " batch features"], Activations]:
        """Embed a batch of images."""
        activations = Activations()
        h = x
        for i, block in enumerate(self.convs, start=1):
            h = activations[f"conv_{i}"] = block(h, train=train)
            h = max_pool(h)
        h = h.reshape(h.shape[0], -1)
        h = activations["dense_1"] = self.dense(h, train=train)
        return h, activations


class LinearMap(nnx.Module):
    """x @ omega on the pixels: the adaptive metric of GMLVQ, Lambda = omega omega^T.

    Squared distances to prototypes in this embedding are (x − w)^T Lambda (x − w),
    Schneider, Biehl & Hammer (2009). Omega is the parameter `omega.kernel`.

    Args:
      image_shape: (height, width, channels) in pixels.
      features: columns of omega. None is one per pixel, and omega starts as the
        identity; else it starts as a random matrix with orthonormal columns, so at most
        as many features as pixels.
      use_bias: whether a vector is added; it moves all distances alike if the
        prototypes may follow it.
      dtype: what is computed in; parameters are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for more features than pixels, or less than 1.

    Guarantees: omega^T omega = 1 at first; the one activation is "omega".

    >>> encoder = LinearMap((2, 2, 1), rngs=nnx.Rngs(0))
    >>> print(encoder(jnp.arange(4.0).reshape(1, 2, 2, 1))[0])
    [[0. 1. 2. 3.]]
    """

    def __init__(
        self,
        image_shape: ImageShape,
        *,
        features: int | None = None,
        use_bias: bool = False,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        pixels = math.prod(image_shape)
        self.image_shape = tuple(image_shape)
        self.out_features = pixels if features is None else features
        fix = f"An image has {pixels} pixels: give at most as many features."
        _validate.count(features=self.out_features)
        _validate.in_range(1.0, float(pixels), features=self.out_features, fix=fix)
        self.omega = nnx.Linear(
            pixels,
            self.out_features,
            use_bias=use_bias,
            dtype=jnp.dtype(dtype),
            kernel_init=_identity if features is None else _orthonormal,
            rngs=rngs,
        )

    def __call__(
        self, x: Float[Array, " batch height width channels"], *, train: bool = False
    ) -> tuple[Float[Array, " batch features"], Activations]:
        """Embed a batch of images."""
        embedding = self.omega(x.reshape(x.shape[0], -1))
        return embedding, Activations(omega=embedding)


_orthonormal = nnx.initializers.orthogonal()


def _identity(key, shape, dtype):
    return jnp.eye(*shape, dtype=dtype)

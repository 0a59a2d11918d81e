"""The head that draws a label: from an embedding to a vector or a matrix."""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Float32

from robustlabels import _validate
from robustlabels.models.conv_transpose import ConvTranspose
from robustlabels.models.layers import batch_norm, kernel_init

__all__ = ["LabelDecoder"]

_WIDTHS = (64, 32, 16, 8, 1)  # channels, halved where the size is doubled


class LabelDecoder(nnx.Module):
    """Embeddings to labels that are vectors or matrices.

    Chen et al., Beyond categorical label representations (2021), as in their code. A
    vector is one affine map. A matrix is an affine map to 64 numbers, one pixel of 64
    channels, a transposed convolution to ceil(side / 16) pixels a side, four that
    double them (kernel 4, stride 2), to 32, 16, 8 and 1 channels, and a cut to the
    shape. Batch normalisation and a leaky relu of slope 0.01 come before each of these
    maps but the first convolution. For 64 x 64 it has 142,889 parameters on 512
    features and 113,321 on 64; for 48 x 48 on 64 it has 84,649.

    Biases start at 0, and kernels with variance 2 / fan-in where a norm and a leaky
    relu follow, He et al. (2015), else with 1 / fan-in, LeCun et al. (1998).

    Args:
      in_features: size of the embedding.
      shape: of a label: (size,) of a vector, or (height, width) of a matrix.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for a size below 1, and for a shape of no or of more than two axes.

    >>> build = lambda: LabelDecoder(512, shape=(64, 64), rngs=nnx.Rngs(0))
    >>> nnx.eval_shape(lambda: build()(jnp.zeros((4, 512)))).shape
    (4, 64, 64)
    """

    def __init__(
        self, in_features: int, *, shape: Sequence[int] = (64, 64), rngs: nnx.Rngs
    ):
        _validate.count(in_features=in_features)
        for size in shape:
            _validate.count(**{"an entry of shape": size})
        if len(shape) not in (1, 2):
            raise ValueError(
                f"shape={tuple(shape)} has {len(shape)} axes; give (size,) for vectors "
                "or (height, width) for matrices."
            )
        self.in_features, self.shape = in_features, tuple(shape)
        if len(shape) == 1:
            self.linear = nnx.Linear(in_features, shape[0], rngs=rngs)
            return
        self.linear = nnx.Linear(in_features, _WIDTHS[0], rngs=rngs)
        sizes = (in_features, *_WIDTHS[:-1])
        self.norms = nnx.List(batch_norm(size, rngs=rngs) for size in sizes)
        # On a single pixel the stride is free: that of the kernel's size costs least.
        height, width = (math.ceil(side / 2 ** (len(_WIDTHS) - 1)) for side in shape)
        start = {"kernel_size": (height, width), "stride": (height, width)}
        self.start = ConvTranspose(_WIDTHS[0], _WIDTHS[0], **start, rngs=rngs)
        double = {"kernel_size": 4, "stride": 2, "padding": 1}
        self.doublings = nnx.List([])
        for a, b in itertools.pairwise(_WIDTHS):
            init = kernel_init("identity" if b == _WIDTHS[-1] else "leaky_relu")
            layer = ConvTranspose(a, b, **double, kernel_init=init, rngs=rngs)
            self.doublings.append(layer)

    def __call__(
        self, embedding: Float[Array, " batch features"], *, train: bool = False
    ) -> Float32[Array, " batch *shape"]:
        """Labels of a batch of embeddings, unbounded.

        Args:
          embedding: of any dtype; computed in float32.
          train: whether batch statistics are used, and their averages updated.
        """
        h = embedding.astype(jnp.float32)
        if len(self.shape) == 1:
            return self.linear(h)
        first, *norms = self.norms
        h = self.linear(_rectified(first, h, train))
        h = self.start(h[:, None, None])
        for norm, double in zip(norms, self.doublings, strict=True):
            h = double(_rectified(norm, h, train))
        height, width = self.shape
        return h[:, :height, :width, 0]


def _rectified(norm: nnx.BatchNorm, h: Array, train: bool) -> Array:
    return jax.nn.leaky_relu(norm(h, use_running_average=not train))

"""The transposed convolution: each pixel of the input paints a kernel.

It is written as a sum of matrix products of the shifted input, each of which computes
all stride x stride pixels of a cell of the output as channels, and a shuffle of these
into space (Shi et al., Is the deconvolution layer the same as a convolutional layer?,
2016). No zeros between pixels are multiplied, and as products have products for
gradients, loops on a CPU are as fast as single steps. There a training step of the
label decoder takes 0.6 of the time that it takes with a convolution of the dilated
input, and 0.4 of that with a convolution in place of the products.
"""

import math

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from robustlabels import _validate

_he_normal = nnx.initializers.he_normal()


def conv_transpose(
    x: Float[Array, " batch height width channels"],
    kernel: Float[Array, " rows columns channels features"],
    *,
    stride: int | tuple[int, int] = 1,
    padding: int = 0,
) -> Float[Array, " batch new_height new_width features"]:
    """Paint a kernel for each pixel, `stride` pixels apart, and add up.

    y[stride * i + k - padding] is the sum over i and k of x[i] kernel[k], along each of
    both axes: the transpose of a convolution with that stride and padding.

    Args:
      x: images or feature maps.
      kernel: the weights, of the dtype of `x`; both sides are multiples of the stride.
      stride: pixels of the output between two pixels of the input, at least 1; a pair
        is (down, right).
      padding: pixels that are cut off on each side, less than half the kernel.

    Raises:
      ValueError: for a number out of its range.

    Guarantees: a side of n pixels becomes stride * (n - 1) + kernel - 2 * padding.

    >>> row = jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
    >>> kernel = jnp.array([1.0, 1.0, 10.0, 10.0]).reshape(1, 4, 1, 1)
    >>> print(conv_transpose(row, kernel, stride=(1, 2)).ravel())
    [ 1.  1. 12. 12. 20. 20.]
    """
    rows, columns, channels, features = kernel.shape
    down, right = _steps((rows, columns), stride, padding)
    m, n = rows // down, columns // right
    # The kernel's row down * i + a adds to row a of a cell, i cells further down.
    taps = kernel.reshape(m, down, n, right, channels, features)[::-1, :, ::-1]
    taps = taps.transpose(0, 2, 4, 1, 3, 5).reshape(m, n, channels, -1)
    x = jnp.pad(x, ((0, 0), (m - 1, m - 1), (n - 1, n - 1), (0, 0)))
    batch, height, width = x.shape[0], x.shape[1] - m + 1, x.shape[2] - n + 1
    cells = sum(
        jnp.dot(x[:, i : i + height, j : j + width], taps[i, j])
        for i in range(m)
        for j in range(n)
    )
    y = jnp.reshape(cells, (batch, height, width, down, right, features))
    height, width = height * down, width * right
    y = y.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height, width, features)
    return y[:, padding : height - padding, padding : width - padding]


def _steps(
    size: tuple[int, int], stride: int | tuple[int, int], padding: int
) -> tuple[int, int]:
    """The stride as a pair, once all numbers are found to be in range."""
    strides = (stride, stride) if isinstance(stride, int) else stride
    for side, step in zip(size, strides, strict=True):
        _validate.count(stride=step)
        if side % step:
            raise ValueError(
                f"a kernel of {side} pixels is no multiple of stride={step}; take "
                f"{math.ceil(side / step) * step} pixels."
            )
    fix = "Each pixel keeps a part of its kernel: cut off less than half of it."
    _validate.in_range(0, (min(size) - 1) // 2, padding=padding, fix=fix)
    return strides


class ConvTranspose(nnx.Module):
    """A transposed convolution on `conv_transpose`, with a bias; both are float32.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      kernel_size: rows and columns of the kernel in pixels; one number for a square.
      stride: as in `conv_transpose`.
      padding: as in `conv_transpose`.
      kernel_init: initialiser of the kernel, He et al. (2015) unless given; the fan-in
        is what one pixel of the output is the sum of.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for a number out of its range.

    >>> double = {"kernel_size": 4, "stride": 2, "padding": 1}
    >>> layer = ConvTranspose(8, 3, **double, rngs=nnx.Rngs(0))
    >>> layer(jnp.zeros((1, 16, 16, 8))).shape
    (1, 32, 32, 3)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int = 0,
        kernel_init: nnx.initializers.Initializer = _he_normal,
        rngs: nnx.Rngs,
    ):
        pair = isinstance(kernel_size, tuple)
        rows, columns = kernel_size if pair else (kernel_size, kernel_size)
        _validate.count(in_features=in_features, out_features=out_features)
        _validate.count(kernel_size=rows)
        _validate.count(kernel_size=columns)
        down, right = _steps((rows, columns), stride, padding)
        self.stride, self.padding = (down, right), padding
        # Made as taps, whose fan-in is that of a pixel of the output.
        taps = (rows // down, columns // right, in_features)
        kernel = kernel_init(rngs.params(), (*taps, down * right * out_features))
        self.kernel = nnx.Param(
            kernel.reshape(rows, columns, in_features, out_features)
        )
        self.bias = nnx.Param(jnp.zeros(out_features, jnp.float32))

    def __call__(
        self, x: Float[Array, " batch height width channels"]
    ) -> Float[Array, " batch new_height new_width features"]:
        """Upsample a batch of feature maps."""
        y = conv_transpose(
            x, self.kernel[...], stride=self.stride, padding=self.padding
        )
        return y + self.bias[...].reshape(1, 1, 1, -1)

"""The one convolution: its derivatives stay fast inside of loops on a CPU.

XLA:CPU rewrites convolutions into the layout of its fast kernel only outside of
`scan`, `fori_loop` and `while_loop`. Channel-last forward convolutions are in that
layout already; the two gradient convolutions that autodiff writes are not, and cost 6
to 40 times more inside of a loop (https://github.com/jax-ml/jax/issues/12868).

Here each tangent is written as the convolution whose transpose, which JAX derives, is a
plain NHWC x HWIO -> NHWC convolution:

- input gradient: the cotangent, dilated by the stride, with the flipped kernel whose
  in and out channels are swapped;
- kernel gradient: the transposed input (batch as channels) with the transposed
  cotangent, dilated by the stride, as kernel.

It is the same arithmetic, and forward mode comes with it.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from robustlabels import _validate

Padding = str | tuple[tuple[int, int], tuple[int, int]]

_he_normal = nnx.initializers.he_normal()


def conv(
    x: Float[Array, " batch height width channels"],
    kernel: Float[Array, " rows columns channels features"],
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = "SAME",
) -> Float[Array, " batch new_height new_width features"]:
    """Convolve images with a kernel, NHWC x HWIO -> NHWC.

    Args:
      x: images or feature maps.
      kernel: the weights, of the dtype of `x`.
      stride: pixels between two outputs, at least 1; a pair is (down, right).
      padding: "SAME" (output size is ceil(size / stride)), "VALID" (no padding), or
        ((top, bottom), (left, right)) in pixels.

    Raises:
      ValueError: for a stride below 1 and for an unknown name of a padding.

    Guarantees:
      - equals `jax.lax.conv_general_dilated`, and its derivatives of forward and of
        reverse mode, up to rounding;
      - the convolutions of both gradients are plain NHWC x HWIO -> NHWC ones. (Those of
        forward mode and of second derivatives are not: correct, but slow in a loop on a
        CPU.)

    >>> edges = jnp.array([-1.0, 1.0]).reshape(1, 2, 1, 1)
    >>> row = jnp.array([0.0, 0.0, 1.0, 1.0]).reshape(1, 1, 4, 1)
    >>> print(conv(row, edges, padding="VALID").ravel())
    [0. 1. 0.]
    """
    down, right = (stride, stride) if isinstance(stride, int) else stride
    _validate.count(stride=down)
    _validate.count(stride=right)
    if isinstance(padding, str):
        _validate.one_of(("SAME", "VALID"), padding=padding)
    return _conv(x, kernel, (down, right), padding)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _conv(x, kernel, strides, padding):
    return _lax_conv(x, kernel, strides, padding, ("NHWC", "HWIO", "NHWC"))


def _conv_jvp(strides, padding, primals, tangents):
    (x, kernel), (dx, dkernel) = primals, tangents
    terms = []
    if not isinstance(dx, SymbolicZero):
        swapped = kernel.transpose(0, 1, 3, 2)
        layout = ("NHWC", "HWOI", "NHWC")
        terms.append(_lax_conv(dx, swapped, strides, padding, layout))
    if not isinstance(dkernel, SymbolicZero):
        image, weights = x.transpose(3, 1, 2, 0), dkernel.transpose(2, 0, 1, 3)
        layout = ("CHWN", "IHWO", "HWNC")
        term = _lax_conv(image, weights, strides, padding, layout)
        terms.append(term.transpose(2, 0, 1, 3))
    return _conv(x, kernel, strides, padding), sum(terms[1:], terms[0])


_conv.defjvp(_conv_jvp, symbolic_zeros=True)


def _lax_conv(x, kernel, strides, padding, layout):
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=layout
    )


class Conv(nnx.Module):
    """A convolution layer on `conv`, with parameters `kernel` and `bias`.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      kernel_size: rows and columns of the kernel in pixels; one number for a square.
      stride: as in `conv`.
      padding: as in `conv`.
      use_bias: whether a learned number per channel is added, 0 at first.
      dtype: what is computed in; parameters are float32.
      kernel_init: initialiser of the kernel, He et al. (2015) unless given.
      rngs: random keys; "params" is used.

    >>> layer = Conv(3, 8, kernel_size=3, stride=2, rngs=nnx.Rngs(0))
    >>> layer(jnp.zeros((1, 32, 32, 3))).shape
    (1, 16, 16, 8)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: Padding = "SAME",
        use_bias: bool = True,
        dtype: DTypeLike = jnp.float32,
        kernel_init: nnx.initializers.Initializer = _he_normal,
        rngs: nnx.Rngs,
    ):
        pair = isinstance(kernel_size, tuple)
        rows, columns = kernel_size if pair else (kernel_size, kernel_size)
        _validate.count(in_features=in_features, out_features=out_features)
        _validate.count(kernel_size=rows)
        _validate.count(kernel_size=columns)
        self.stride, self.padding, self.dtype = stride, padding, jnp.dtype(dtype)
        shape = (rows, columns, in_features, out_features)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, jnp.float32))
        self.bias = nnx.data(
            nnx.Param(jnp.zeros(out_features, jnp.float32)) if use_bias else None
        )

    def __call__(
        self, x: Float[Array, " batch height width channels"]
    ) -> Float[Array, " batch new_height new_width features"]:
        """Convolve a batch of feature maps."""
        kernel = self.kernel[...].astype(self.dtype)
        y = conv(x.astype(self.dtype), kernel, stride=self.stride, padding=self.padding)
        if self.bias is None:
            return y
        return y + self.bias[...].astype(self.dtype).reshape(1, 1, 1, -1)

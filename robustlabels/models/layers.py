"""What encoders are made of: types, constants, activations, pooling, one block."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from robustlabels import _validate
from robustlabels.models.conv import Conv

ImageShape = tuple[int, int, int]
Activations = OrderedDict[str, Array]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda x: x,
}
_SATURATING_OR_LINEAR = ("tanh", "sigmoid", "identity")
NORMS = ("none", "batch")

_he_normal = nnx.initializers.he_normal()
_lecun_normal = nnx.initializers.lecun_normal()


def activation(name: str) -> Callable[[Array], Array]:
    """The elementwise function of that name.

    Raises:
      ValueError: for an unknown name; it lists the known ones.

    >>> print(activation("relu")(jnp.array([-1.0, 2.0])))
    [0. 2.]
    """
    _validate.one_of(ACTIVATIONS, activation=name)
    return ACTIVATIONS[name]


def kernel_init(name: str) -> nnx.initializers.Initializer:
    """The initialiser that keeps the variance of signals before an activation.

    Variance 2 / fan-in (He et al., 2015) for the relu-like ones, 1 / fan-in (LeCun et
    al., 1998) for tanh, sigmoid and identity.

    >>> kernel_init("relu")(jax.random.key(0), (784, 100)).shape
    (784, 100)
    """
    _validate.one_of(ACTIVATIONS, activation=name)
    return _lecun_normal if name in _SATURATING_OR_LINEAR else _he_normal


def max_pool(
    x: Float[Array, " batch height width channels"],
    *,
    size: int = 2,
    stride: int = 2,
    padding: int = 0,
) -> Float[Array, " batch new_height new_width channels"]:
    """The maximum of each window of size x size pixels.

    Strided slices instead of `lax.reduce_window`, whose gradient is slower on a CPU,
    some 15 times for 2 x 2; and a choice instead of `jnp.maximum`, whose gradient
    compares the maximum with each input for equality: where XLA fuses, it computes both
    again with other rounding, and gradients get lost. Of tied pixels the first is
    taken.

    Args:
      x: images or feature maps.
      size: side of the windows in pixels.
      stride: pixels between two windows, at least 1. Last rows and columns that fill no
        window are left out.
      padding: pixels on each side that are never the maximum, less than `size`.

    Raises:
      ValueError: for a number out of its range.

    >>> print(max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1)).reshape(2, 2))
    [[ 5.  7.]
     [13. 15.]]
    """
    _validate.count(size=size, stride=stride)
    fix = "Each window needs a pixel of the image: pad less than its size."
    _validate.in_range(0, size - 1, padding=padding, fix=fix)
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = jnp.pad(x, sides, constant_values=-jnp.inf)
    height, width = (max(0, n - size + stride) // stride * stride for n in x.shape[1:3])
    cells = [
        x[:, i : i + height : stride, j : j + width : stride]
        for i in range(size)
        for j in range(size)
    ]
    return functools.reduce(lambda a, b: jnp.where(b > a, b, a), cells)


class Constant(nnx.Variable):
    """A number of the model that is saved with it and never trained."""


class Normalize(nnx.Module):
    """(x − mean) / std per channel, so that a model takes pixels in [0, 1].

    Args:
      mean: one number per channel, in units of pixels.
      std: one number per channel, in units of pixels, positive.

    Raises:
      ValueError: if the numbers of entries differ, or a `std` is not positive.

    >>> normalize = Normalize(mean=(0.5,), std=(0.25,))
    >>> print(normalize(jnp.ones((1, 1, 1, 1))).ravel())
    [2.]
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        if len(mean) != len(std):
            raise ValueError(
                f"mean has {len(mean)} entries and std has {len(std)}; "
                "give one of each per channel."
            )
        tiny = float(jnp.finfo(jnp.float32).tiny)
        fix = "Give the standard deviation of each channel, or 1 for no scaling."
        _validate.in_range(tiny, float("inf"), std=std, fix=fix)
        self.mean = Constant(jnp.asarray(mean, jnp.float32))
        self.std = Constant(jnp.asarray(std, jnp.float32))

    def __call__(
        self, x: Float[Array, " batch height width channels"]
    ) -> Float[Array, " batch height width channels"]:
        """Normalise a batch of images."""
        mean, std = (v[...].reshape(1, 1, 1, -1) for v in (self.mean, self.std))
        return (x - mean) / std


def batch_norm(
    features: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs
) -> nnx.BatchNorm:
    """Batch normalisation, Ioffe & Szegedy (2015); running averages of momentum 0.9.

    Args:
      features: size of the last axis.
      dtype: of the result; parameters and statistics are float32.
      rngs: random keys; none is used.

    >>> norm = batch_norm(1, rngs=nnx.Rngs(0))
    >>> print(norm(jnp.array([[1.0], [3.0]]), use_running_average=False).ravel())
    [-0.999995  0.999995]
    """
    return nnx.BatchNorm(features, momentum=0.9, dtype=jnp.dtype(dtype), rngs=rngs)


class Block(nnx.Module):
    """Linear map, then batch normalisation where it is asked for, then activation.

    Args:
      in_features: channels or features of the input.
      out_features: channels or features of the output.
      kernel_size: None for a dense map of the last axis, or the side in pixels of the
        square kernel of a convolution. It pads by half a kernel on each side, so that
        the size stays with a stride of 1.
      stride: pixels between two outputs of the convolution, at least 1.
      activation: a name of `ACTIVATIONS`.
      norm: "none" or "batch", see `batch_norm`.
      use_bias: whether the map has a bias of its own. None is yes, but for a map before
        batch normalisation, which adds one.
      dtype: what is computed in; parameters and statistics are float32.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for an unknown `activation` or `norm`.

    >>> block = Block(4, 2, activation="tanh", norm="batch", rngs=nnx.Rngs(0))
    >>> block(jnp.ones((3, 4)), train=True).shape
    (3, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        kernel_size: int | None = None,
        stride: int = 1,
        activation: str = "relu",
        norm: str = "none",
        use_bias: bool | None = None,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        _validate.one_of(NORMS, norm=norm)
        _validate.count(in_features=in_features, out_features=out_features)
        common = {
            "use_bias": norm == "none" if use_bias is None else use_bias,
            "dtype": jnp.dtype(dtype),
            "kernel_init": kernel_init(activation),
            "rngs": rngs,
        }
        if kernel_size is None:
            self.linear = nnx.Linear(in_features, out_features, **common)
        else:
            sides = ((kernel_size - 1) // 2, kernel_size // 2)
            self.linear = Conv(
                in_features,
                out_features,
                kernel_size=kernel_size,
                stride=stride,
                padding=(sides, sides),
                **common,
            )
        self.norm = nnx.data(
            batch_norm(out_features, dtype=dtype, rngs=rngs)
            if norm == "batch"
            else None
        )
        self.activation = activation

    def __call__(
        self, x: Float[Array, " batch *spatial in_features"], *, train: bool = False
    ) -> Float[Array, " batch *new_spatial out_features"]:
        """Apply the block; `train` takes statistics from the batch and updates them."""
        return activation(self.activation)(self.preactivation(x, train=train))

    def preactivation(
        self, x: Float[Array, " batch *spatial in_features"], *, train: bool = False
    ) -> Float[Array, " batch *new_spatial out_features"]:
        """What the activation is applied to."""
        x = self.linear(x)
        if self.norm is not None:
            x = self.norm(x, use_running_average=not train)
        return x

"""PyTorch twins of our networks: the same layers, and the same weights if asked for.

They take images of [batch, channels, height, width] in [0, 1], as PyTorch's users have
them, with their channels last in memory, which is faster on a CPU.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import torch  # pyrefly: ignore[missing-import]
from torch import nn  # pyrefly: ignore[missing-import]

from robustlabels import models


class Normalized(nn.Module):
    """Images minus a mean over a standard deviation, through a body."""

    def __init__(self, body: nn.Module, mean: float, std: float):
        super().__init__()
        self.body, self.mean, self.std = body, mean, std

    def forward(self, x):
        """Logits of a batch of images."""
        return self.body((x - self.mean) / self.std)


class Residual(nn.Module):
    """Two convolutions of 3 x 3 beside a shortcut, He et al. (2016)."""

    def __init__(self, channels: int, features: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, features, 3, stride),
            nn.ReLU(inplace=True),
            _convolution(features, features, 3),
        )
        projected = stride > 1 or channels != features
        self.shortcut = (
            _convolution(channels, features, 1, stride) if projected else nn.Identity()
        )

    def forward(self, x):
        """The block's output."""
        return torch.relu(self.body(x) + self.shortcut(x))


class FlattenChannelsLast(nn.Module):
    """[batch, channels, height, width] to rows, in the order of our networks."""

    def forward(self, x):
        """Rows of features."""
        return x.permute(0, 2, 3, 1).flatten(1)


def _convolution(channels: int, features: int, side: int, stride: int = 1):
    return nn.Sequential(
        nn.Conv2d(channels, features, side, stride, side // 2, bias=False),
        nn.BatchNorm2d(features),
    )


def resnet(depth: int, *, channels: int, classes: int) -> nn.Sequential:
    """A residual network for CIFAR of 6n + 2 layers."""
    widths = [width for width in (16, 32, 64) for _ in range((depth - 2) // 6)]
    return nn.Sequential(
        _convolution(channels, 16, 3),
        nn.ReLU(inplace=True),
        *(Residual(a, b, b // a) for a, b in itertools.pairwise([16, *widths])),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def cnn(image_shape: Sequence[int], *, classes: int) -> nn.Sequential:
    """`models.CNN` with its defaults and a softmax."""
    height, width, channels = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        FlattenChannelsLast(),
        nn.Linear(64 * (height // 4) * (width // 4), 128),
        nn.ReLU(inplace=True),
        nn.Linear(128, classes),
    )


def twin(body: nn.Module, model: models.Network) -> nn.Module:
    """A body with the weights of one of our networks, normalised alike, to evaluate."""
    theirs = [m for m in body.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    norms = [m for m in body.modules() if isinstance(m, nn.BatchNorm2d)]
    head: Any = model.head
    ours: list[Any] = [*_blocks(model.encoder), None]
    with torch.no_grad():
        for module, block in zip(theirs, ours, strict=True):
            linear = head.linear if block is None else block.linear
            _copy(module, linear)
        of_norms = [block for block in ours if block is not None and block.norm]
        for module, block in zip(norms, of_norms, strict=True):
            norm = block.norm
            for target, source in (
                (module.weight, norm.scale),
                (module.bias, norm.bias),
                (module.running_mean, norm.mean),
                (module.running_var, norm.var),
            ):
                target.copy_(torch.from_numpy(np.array(source[...])))
            module.eps = norm.epsilon
    mean, std = (float(v[...].ravel()[0]) for v in _statistics(model))
    made = Normalized(body, mean, std).to(memory_format=torch.channels_last)
    return made.eval().requires_grad_(requires_grad=False)


def _statistics(model: models.Network) -> tuple[Any, Any]:
    return model.normalize.mean, model.normalize.std


def _blocks(encoder: models.Encoder) -> Iterator[Any]:
    """The blocks of an encoder in the order of the twin's layers."""
    if isinstance(encoder, models.CNN):
        yield from encoder.convs
        yield encoder.dense
        return
    assert isinstance(encoder, models.CIFARResNet)
    yield encoder.stem
    for residual in itertools.chain(*encoder.stages.blocks):
        yield from residual.body
        yield residual.last
        if residual.projection is not None:
            yield residual.projection


def _copy(module: nn.Module, linear: Any) -> None:
    kernel = np.array(linear.kernel[...])
    axes = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
    module.weight.copy_(torch.from_numpy(kernel.transpose(axes).copy()))
    if module.bias is not None:
        module.bias.copy_(torch.from_numpy(np.array(linear.bias[...])))


def images(x: jax.Array | np.ndarray) -> torch.Tensor:
    """Images of [batch, height, width, channels] as the twins take them."""
    return torch.from_numpy(np.array(x)).permute(0, 3, 1, 2)

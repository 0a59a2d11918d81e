"""Labels that mean nothing: constant, random, and shuffled ones."""

import random
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Num

from robustlabels import _validate
from robustlabels.labels.codebooks import HIGHEST, Codebook, checked_shape

__all__ = ["constant", "gaussian_composition", "shuffled", "uniform"]

_GAUSSIANS, _GRID = 10, 256
_SIGMA, _ASPECT = 0.075, 0.31  # of the short axis, and how much shorter it is


def constant(num_classes: int, *, shape: Sequence[int] = (64, 64)) -> Codebook:
    """Labels that have one value all over, Chen et al. (2021), section 4.1.

    The value of class i is 80 i / (classes - 1).

    Args:
      num_classes: at least 2.
      shape: of a label.

    Raises:
      ValueError: for a value out of range.

    >>> print(constant(3, shape=(2,)))
    [[ 0.  0.]
     [40. 40.]
     [80. 80.]]
    """
    _validate.count(minimum=2, num_classes=num_classes)
    shape = checked_shape(shape)
    values = (HIGHEST * np.arange(num_classes) / (num_classes - 1)).astype(np.float32)
    return np.tile(values.reshape(-1, *(1 for _ in shape)), (1, *shape))


def uniform(
    num_classes: int, *, shape: Sequence[int] = (64, 64), seed: int = 48
) -> Codebook:
    """Labels whose entries are drawn from [0, 80], Chen et al. (2021), section 4.1.

    Of vectors of 10 entries the paper's low-dimensional labels are made. With the seed
    as it is, these are the published arrays.

    Args:
      num_classes: at least 2.
      shape: of a label.
      seed: of NumPy's Mersenne twister, in 0..2³² - 1.

    Raises:
      ValueError: for a value out of range.

    Guarantees: the labels of fewer classes are the first ones of more.

    >>> print(uniform(2, shape=(3,)))
    [[ 1.3992217 71.32586   22.788893 ]
     [23.91811   63.36274   25.957647 ]]
    """
    _validate.count(minimum=2, num_classes=num_classes)
    draw = _twister(seed).uniform(0.0, HIGHEST, (num_classes, *checked_shape(shape)))
    return draw.astype(np.float32)


def gaussian_composition(
    num_classes: int, *, shape: Sequence[int] = (64, 64)
) -> Codebook:
    """Labels that are sums of ten oblong Gaussians, Chen et al. (2021), section 4.1.

    All are of one size; where they lie and how they are turned is drawn, from the
    streams of the published arrays. A label is stretched to [0, 80] on a grid of 256 by
    256, of which `shape` takes the nearest cells, so that it comes close to both ends.

    Args:
      num_classes: at least 2.
      shape: rows and columns of a label.

    Raises:
      ValueError: for a value out of range.

    Guarantees: the labels of fewer classes are the first ones of more.

    >>> print(gaussian_composition(2, shape=(2, 3)).round())
    [[[46. 51.  1.]
      [43. 32. 29.]]
    <BLANKLINE>
     [[34. 30.  8.]
      [46. 17. 50.]]]
    """
    _validate.count(minimum=2, num_classes=num_classes)
    rows, columns = (
        ((np.arange(size) + 0.5) * (_GRID / size)).astype(int)
        for size in checked_shape(shape, sides=2)
    )
    draws = np.array(
        [_stream(seed, 2 * num_classes) for seed in range(1, _GAUSSIANS + 3)]
    )
    x, y, turn = draws[:-2, ::2], draws[1:-1, 1::2], draws[2:, :num_classes]
    labels = [
        _sum_of_gaussians(*centre_and_turn)[np.ix_(rows, columns)]
        for centre_and_turn in zip(x.T - 0.5, y.T - 0.5, np.pi * turn.T, strict=True)
    ]
    return np.array(labels, np.float32)


def _stream(seed: int, length: int) -> list[float]:
    generator = random.Random(seed)
    return [generator.random() for _ in range(length)]


def _sum_of_gaussians(x, y, angle):
    """Ten Gaussians on the grid, stretched to [0, 80]; y points upwards."""
    centres = (np.arange(_GRID) + 0.5) / _GRID - 0.5
    right = centres - x[:, None, None]
    up = -centres[:, None] - y[:, None, None]
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    along = (cosine * right + sine * up) * (_ASPECT / _SIGMA)
    across = (cosine * up - sine * right) / _SIGMA
    total = np.exp(-(along**2 + across**2) / 2).sum(axis=0)
    return HIGHEST * (total - total.min()) / (total.max() - total.min())


def shuffled(
    codebook: Num[np.ndarray, "classes *cells columns"], *, seed: int = 8
) -> Float32[np.ndarray, "classes *cells columns"]:
    """Labels whose columns are in another order, for each class one of its own.

    Of spoken labels, it is the paper's shuffled speech, Chen et al. (2021), section
    4.1, with the seed and the orders that were published.

    Args:
      codebook: columns, the last axis, are what is shuffled: at least 2.
      seed: of NumPy's Mersenne twister, in 0..2³² - 1.

    Raises:
      ValueError: for a value out of range.

    Guarantees: no class keeps the order that it had.

    >>> print(shuffled(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])))
    [[3. 2. 1.]
     [1. 3. 2.]]
    """
    columns = codebook.shape[-1]
    _validate.count(minimum=2, columns=columns)
    generator, out = _twister(seed), np.empty(codebook.shape, np.float32)
    for label, target in zip(codebook, out, strict=True):
        order = np.arange(columns)
        while (order == np.arange(columns)).all():
            generator.shuffle(order)
        target[...] = label[..., order]
    return out


def _twister(seed: int) -> np.random.RandomState:
    fix = "It is the seed of a Mersenne twister."
    _validate.count(minimum=0, seed=seed)
    _validate.in_range(0, 2**32 - 1, seed=seed, fix=fix)
    return np.random.RandomState(seed)

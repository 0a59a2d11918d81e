"""Data sets that need no files: digits and a fake."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from robustlabels import _validate
from robustlabels.data.dataset import Source, make_split


def load_digits() -> Source:
    """Scikit-learn's 1,797 handwritten digits of 8×8 pixels; float32, value / 16.

    >>> load_digits().train.images.shape
    (1797, 8, 8, 1)
    """
    from sklearn import datasets

    digits: Any = datasets.load_digits()
    split = make_split(digits.images / 16, digits.target, where="digits")
    return Source(split, None, None, tuple(map(str, range(10))))


def fake(
    *,
    seed: int | Sequence[int],
    num_examples: int = 600,
    num_classes: int = 4,
    image_shape: Sequence[int] = (8, 8, 1),
) -> Source:
    """One random image per class plus noise, uint8: small, and learned in no time.

    Args:
      seed: equal seeds give equal images.
      num_examples: at least num_classes; the classes take turns.
      num_classes: at least 1.
      image_shape: height, width, channels.

    >>> fake(seed=0, num_examples=6, num_classes=3).train.labels
    array([0, 1, 2, 0, 1, 2], dtype=int32)
    """
    _validate.count(num_classes=num_classes)
    _validate.count(minimum=num_classes, num_examples=num_examples)
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.25, 0.75, (num_classes, *image_shape))
    labels = np.arange(num_examples) % num_classes
    noise = rng.normal(0, 0.1, (num_examples, *image_shape))
    pixels = np.round(255 * np.clip(centres[labels] + noise, 0, 1)).astype(np.uint8)
    split = make_split(pixels, labels, where="fake")
    return Source(split, None, None, tuple(map(str, range(num_classes))))

"""What a data set is here: three splits of images and class ids, checked once."""

import math
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, UInt8

from robustlabels.data.rows import Rows

Images = (
    UInt8[np.ndarray, "n h w c"]
    | Float32[np.ndarray, "n h w c"]
    | UInt8[Rows, "n h w c"]
)

_SEEN = 2000


class Split(NamedTuple):
    """Images and their class ids.

    Attributes:
      images: [n, height, width, channels]; uint8 in 0..255, or float32 in [0, 1]; as
        `Rows` where they do not fit into memory: `images[index]` is an array always.
      labels: [n] class ids, int32.
    """

    images: Images
    labels: Int32[np.ndarray, " n"]

    def take(self, ids: Int[np.ndarray, " k"]) -> "Split":
        """Some of the examples; `Rows` are not read for that.

        >>> split = make_split(np.zeros((2, 8, 8)), [0, 1], where="mine")
        >>> split.take(np.array([1])).labels
        array([1], dtype=int32)
        """
        images = self.images
        taken = images.take(ids) if isinstance(images, Rows) else images[ids]
        return Split(taken, self.labels[ids])


class Source(NamedTuple):
    """What a source has on its own, before anything is cut; None is not there."""

    train: Split
    validation: Split | None
    test: Split | None
    class_names: tuple[str, ...]


class Dataset(NamedTuple):
    """Training, validation and test split, ready for use.

    Attributes:
      name: as it was given to `load`.
      train: what a smaller fraction and swapped labels touch.
      validation: clean unless swaps were asked for; empty if nothing was set aside.
      test: clean.
      class_names: one name per class id.
      mean: [channels] of the pixels of `train` on the [0, 1] scale; of its first
        2,000 images if they are `Rows`.
      std: [channels] of the same pixels; 1 where a channel is constant.
      clean_labels: [n] of `train` before any swap.
      train_fraction: the share of the training images that `train` is.
      left_out: test images of the classes left out of all splits, their labels the
        class ids of the source; None if there are none.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    mean: Float32[np.ndarray, " c"]
    std: Float32[np.ndarray, " c"]
    clean_labels: Int32[np.ndarray, " n"]
    train_fraction: float = 1.0
    left_out: Split | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes, each with at least one training image."""
        return len(self.class_names)


def as_float(
    images: UInt8[Array | np.ndarray, "*shape"] | Float[Array | np.ndarray, "*shape"],
) -> Float[Array | np.ndarray, "*shape"]:
    """Images on the [0, 1] scale: uint8 is divided by 255, floats are left alone.

    Args:
      images: of any shape; a NumPy array or a JAX array, traced or not.

    >>> as_float(np.array([0, 51, 255], np.uint8))
    array([0. , 0.2, 1. ], dtype=float32)
    """
    if images.dtype != np.uint8:
        return images
    return images.astype(np.float32) / np.float32(255)


def make_split(images: Any, labels: Any, *, where: str) -> Split:
    """Checks the arrays of one split and brings them into the form of `Split`.

    Args:
      images: [n, h, w] or [n, h, w, c]; uint8, or floats of any width in [0, 1]. A
        memory map of uint8 is not read: it becomes `Rows`.
      labels: [n] or [n, 1] whole numbers that are at least 0.
      where: what an error calls these arrays, such as "digits, train".

    Raises:
      ValueError: for arrays of any other form, with what to do about it.

    >>> make_split(np.zeros((2, 8, 8)), [0, 1], where="mine").images.shape
    (2, 8, 8, 1)
    >>> make_split(np.full((2, 8, 8), 255.0), [0, 1], where="mine")
    Traceback (most recent call last):
    ValueError: mine: pixels lie in [255.0, 255.0]. Floats live in [0, 1]: \
divide by 255, or store uint8.
    """
    mapped = isinstance(images, np.memmap) and images.dtype == np.uint8
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"{where}: images of shape {images.shape} are not [n, height, width] or "
            "[n, height, width, channels] with at least one of each."
        )
    if np.issubdtype(images.dtype, np.floating):
        _check_pixels(images, where)
        images = images.astype(np.float32, copy=False)
    elif images.dtype != np.uint8:
        raise ValueError(
            f"{where}: images are {images.dtype}. Store uint8 in 0..255 or "
            "floats in [0, 1]."
        )
    class_ids = _class_ids(labels, len(images), where)
    return Split(Rows(images) if mapped else images, class_ids)


def check_source(source: Source, *, name: str) -> None:
    """Raises unless the splits fit each other and every class has a training image.

    >>> split = make_split(np.zeros((2, 8, 8)), [0, 2], where="mine")
    >>> check_source(Source(split, None, None, ("a", "b", "c")), name="mine")
    Traceback (most recent call last):
    ValueError: mine: no training image of class 1 ('b'). Labels count from 0 \
without gaps: renumber them.
    """
    shape, num_classes = source.train.images.shape[1:], len(source.class_names)
    dtype = source.train.images.dtype
    for title, split in zip(source._fields, source[:3], strict=False):
        if split is None:
            continue
        if split.images.shape[1:] != shape or split.images.dtype != dtype:
            raise ValueError(
                f"{name}: {title} images are {split.images.dtype} of shape "
                f"{split.images.shape[1:]}, training images are {dtype} of shape "
                f"{shape}. Bring all splits into one form."
            )
        if split.labels.max() >= num_classes:
            raise ValueError(
                f"{name}: {title} has label {split.labels.max()}, but there are "
                f"{num_classes} class names: labels end at {num_classes - 1}."
            )
    missing = missing_classes(source.train.labels, source.class_names)
    if missing:
        raise ValueError(
            f"{name}: no training image of {missing}. Labels count from 0 without "
            "gaps: renumber them."
        )


def numbered_classes(*splits: Split) -> tuple[str, ...]:
    """Class names "0", "1", ... up to the largest label.

    >>> numbered_classes(make_split(np.zeros((2, 8, 8)), [0, 1], where="mine"))
    ('0', '1')
    """
    largest = max(int(split.labels.max()) for split in splits)
    if largest >= sum(len(split.labels) for split in splits):
        raise ValueError(
            f"Label {largest} is larger than the number of images: some classes have "
            "none. Number the classes from 0 without gaps."
        )
    return tuple(map(str, range(largest + 1)))


def missing_classes(labels: Int32[np.ndarray, " n"], class_names: Any) -> str:
    """Names up to five classes that no label stands for; empty if there are none.

    >>> missing_classes(np.array([0, 0], np.int32), ("cat", "dog"))
    "class 1 ('dog')"
    """
    present = set(np.unique(labels).tolist())
    missing = (c for c in range(len(class_names)) if c not in present)
    return ", ".join(f"class {c} ({class_names[c]!r})" for c in islice(missing, 5))


def mean_and_std(
    images: Images,
) -> tuple[Float32[np.ndarray, " c"], Float32[np.ndarray, " c"]]:
    """Mean and standard deviation of each channel's pixels on the [0, 1] scale.

    Guarantees: sums are float64, of 1,000 images at a time; a constant channel has
    standard deviation 1, so that one can divide by it. Of `Rows` the first 2,000 are
    seen, for all of them may take minutes to read.

    >>> mean_and_std(np.full((2, 4, 4, 1), 51, np.uint8))
    (array([0.2], dtype=float32), array([1.], dtype=float32))
    """
    size = min(len(images), _SEEN) if isinstance(images, Rows) else len(images)
    origin = as_float(images[0][0, 0])  # exactly zero variance if all are like it
    total, squares = np.zeros((2, images.shape[-1]))
    for start in range(0, size, 1000):
        offset = as_float(images[start : min(start + 1000, size)]) - origin
        total += np.einsum("nhwc->c", offset, dtype=np.float64)
        squares += np.einsum("nhwc,nhwc->c", offset, offset, dtype=np.float64)
    count = size * math.prod(images.shape[1:3])
    variance = np.maximum(squares / count - (total / count) ** 2, 0)
    std = np.where(variance > 0, np.sqrt(variance), 1)
    return (origin + total / count).astype(np.float32), std.astype(np.float32)


def _check_pixels(images: Float[np.ndarray, "n h w c"], where: str) -> None:
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = np.unique(np.nonzero(~np.isfinite(images))[0])
        raise ValueError(
            f"{where}: {len(bad)} images have NaN or infinite pixels, "
            f"the first is image {bad[0]}. Repair or remove them."
        )
    if low < 0 or high > 1:
        raise ValueError(
            f"{where}: pixels lie in [{low}, {high}]. Floats live in [0, 1]: divide "
            "by 255, or store uint8."
        )


def _class_ids(labels: np.ndarray, count: int, where: str) -> Int32[np.ndarray, " n"]:
    if labels.shape not in ((count,), (count, 1)):
        raise ValueError(
            f"{where}: {count} images, but labels of shape {labels.shape}. There is "
            f"one class id per image: shape ({count},)."
        )
    labels = labels.reshape(count)
    whole = np.issubdtype(labels.dtype, np.integer)
    if np.issubdtype(labels.dtype, np.floating):
        whole = np.array_equal(labels, np.round(labels))
    if not whole:
        raise ValueError(
            f"{where}: labels of type {labels.dtype} such as {labels[:3].tolist()} are "
            "not whole numbers. Number the classes from 0."
        )
    if labels.min() < 0 or labels.max() >= 2**31:
        raise ValueError(
            f"{where}: labels lie in [{labels.min()}, {labels.max()}]. Number the "
            "classes from 0."
        )
    return labels.astype(np.int32)

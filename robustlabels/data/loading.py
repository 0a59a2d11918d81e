"""From a name and a seed to a data set with three splits."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from robustlabels import _validate
from robustlabels.data import splits
from robustlabels.data.dataset import (
    Dataset,
    Source,
    Split,
    check_source,
    mean_and_std,
    missing_classes,
)
from robustlabels.data.idx import load_idx
from robustlabels.data.npz import load_npz
from robustlabels.data.prepared import load_prepared
from robustlabels.data.sources import fake, load_digits


def load(
    name: str,
    *,
    data_dir: str = "",
    seed: int = 0,
    validation_fraction: float = 1 / 6,
    test_fraction: float = 0.2,
    balanced: bool = False,
    train_fraction: float = 1.0,
    swap_rate: float = 0.0,
    noisy_validation: bool = False,
    image_size: int = 0,
    left_out: Sequence[int] = (),
    **sizes: Any,
) -> Dataset:
    """Loads a data set and cuts it into training, validation and test split.

    In this order: without a test split of its own, the source's validation split is the
    test split, as papers have it for ImageNet, and without that one too it is set aside
    by seed; then the classes that are left out leave every split, and their test images
    are kept apart, to measure confidence on unknown classes; then the validation split
    is set aside, likewise, from what is left for training; then the training split is
    reduced to `train_fraction`; then labels are swapped in it, and in the validation
    split if asked for. The test split stays clean, whatever happens to the others.

    Images that do not fit into memory stay on disk, decoded, and are read as they are
    needed; see `load_prepared`.

    Guarantees: equal arguments give equal arrays; counts are round(fraction · n); with
    one seed the training images of a smaller `train_fraction` are the first of those of
    a larger one, and labels swapped at a smaller `swap_rate` are swapped at a larger.
    A noisy validation split has the images of a clean one. Whatever is left out, the
    test images of a class are the same, in the same order: `test_fraction` is of all
    classes. All other counts and fractions are of the kept classes, which keep their
    order and are numbered from 0.

    Args:
      name: "digits" (scikit-learn's), "fake", "idx:FOLDER" (the four files of MNIST),
        "npz:FILE" (your arrays, see `load_npz`), or what TFDS calls a prepared set:
        "mnist", "fashion_mnist", "cifar10", "cifar100", ...
      data_dir: folder of the sets that TFDS prepared; if empty, the environment
        variable TFDS_DATA_DIR, or else ~/tensorflow_datasets.
      seed: at least 0; for all that is random.
      validation_fraction: in [0, 1), of the training images; 0 leaves the split empty.
        1/6 is 10,000 of MNIST's 60,000. Unused if the source has both other splits.
      test_fraction: in (0, 1), of all images. Unused if the source has another split.
      balanced: splits and fractions have each class in proportion to its size.
      train_fraction: in (0, 1], of the training images after both cuts.
      swap_rate: in [0, 0.5), of the labels of each class, see `swap_labels`.
      noisy_validation: whether labels of the validation split are swapped too, at the
        same rate and between the same classes.
      image_size: of prepared sets: 0 leaves images as they are; N makes all of them
        N x N pixels: the shorter side is resized to round(N * 256 / 224) by a bilinear
        filter that averages, and the middle is cut out. ImageNet's is 224.
      left_out: ids of classes whose test images become `Dataset.left_out`, and whose
        other images are not used; at least two classes have to be kept.
      **sizes: `num_examples`, `num_classes` and `image_shape` of "fake".

    Raises:
      FileNotFoundError: for data that is not there, with how to get it.
      ValueError: for arguments out of range and data that is damaged, of a wrong shape
        or scale, or without training images for some class.
      OSError: if decoded images that do not fit into memory do not fit on disk either.

    >>> digits = load("digits", seed=1)
    >>> digits.train.images.shape, digits.num_classes
    ((1198, 8, 8, 1), 10)
    """
    _validate.count(minimum=0, seed=seed, image_size=image_size)
    _check_fractions(validation_fraction, test_fraction, train_fraction)
    splits.check_swap_rate(swap_rate=swap_rate)
    source = _source(name, data_dir, seed, image_size, sizes)
    check_source(source, name=name)

    def shuffled(ids: np.ndarray, purpose: int) -> np.ndarray:
        labels = source.train.labels[ids]
        return ids[splits.order(labels, seed=(seed, purpose), balanced=balanced)]

    ids, validation, test = np.arange(len(source.train.labels)), *source[1:3]
    unknown = None
    if test is None:
        validation, test = None, validation
    if test is None:
        count = _count(len(ids), test_fraction=test_fraction)
        test_ids, ids = np.split(shuffled(ids, splits.TEST), [count])
        test = source.train.take(test_ids)
    if left_out:
        source, validation, test, unknown = _without(left_out, source, validation, test)
        ids = ids[source.train.labels[ids] >= 0]
    if validation is None:
        count = _count(len(ids), validation_fraction=validation_fraction)
        validation_ids, ids = np.split(shuffled(ids, splits.VALIDATION), [count])
        validation = source.train.take(validation_ids)
    ids = shuffled(ids, splits.FRACTION)
    _check_classes(source.train.labels[ids], train_fraction, source.class_names)
    clean = source.train.take(ids[: round(train_fraction * len(ids))])
    mean, std = mean_and_std(clean.images)

    def swapped(split: Split, purpose: int) -> Split:
        labels = splits.swap_labels(
            split.labels,
            swap_rate,
            num_classes=len(source.class_names),
            seed=seed,
            purpose=purpose,
        )
        return split._replace(labels=labels)

    if noisy_validation:
        validation = swapped(validation, splits.VALIDATION_SWAPS)
    return Dataset(
        name=name,
        train=swapped(clean, splits.SWAPS),
        validation=validation,
        test=test,
        class_names=source.class_names,
        mean=mean,
        std=std,
        clean_labels=clean.labels,
        train_fraction=train_fraction,
        left_out=unknown,
    )


def _source(
    name: str, data_dir: str, seed: int, image_size: int, sizes: dict[str, Any]
) -> Source:
    if image_size and (":" in name or name in ("digits", "fake")):
        raise ValueError(
            f"image_size={image_size}: only sets that TFDS prepared are resized, not "
            f"{name!r}. Write image_size=0."
        )
    if name == "fake":
        return fake(seed=(seed, splits.FAKE), **sizes)
    if sizes:
        raise ValueError(f"{sorted(sizes)}: only name='fake' has sizes, not {name!r}.")
    if name == "digits":
        return load_digits()
    kind, colon, path = name.partition(":")
    if colon and kind == "idx":
        return load_idx(path)
    if colon and kind == "npz":
        return load_npz(path)
    return load_prepared(name, data_dir=data_dir, image_size=image_size)


def _without(
    left_out: Sequence[int], source: Source, validation: Split | None, test: Split
) -> tuple[Source, Split | None, Split, Split]:
    """Source and splits without some classes, and the test images of these.

    In the training split, which is still to be cut, their label is -1.
    """
    _check_left_out(left_out, source.class_names)
    kept = np.setdiff1d(np.arange(len(source.class_names)), left_out)
    numbers = np.full(len(source.class_names), -1, np.int32)
    numbers[kept] = np.arange(len(kept))

    def renumbered(split: Split) -> Split:
        return split._replace(labels=numbers[split.labels])

    def known(split: Split) -> Split:
        return renumbered(split.take(np.flatnonzero(numbers[split.labels] >= 0)))

    unknown = test.take(np.flatnonzero(numbers[test.labels] < 0))
    if len(unknown.labels) in (0, len(test.labels)):
        which = "left out" if len(unknown.labels) == 0 else "kept"
        raise ValueError(
            f"left_out={tuple(left_out)}: no test image is of a class that is {which}. "
            "Choose other classes, or a larger test split."
        )
    source = source._replace(
        train=renumbered(source.train),
        class_names=tuple(source.class_names[class_id] for class_id in kept),
    )
    validation = None if validation is None else known(validation)
    return source, validation, known(test), unknown


def _check_left_out(left_out: Sequence[int], class_names: tuple[str, ...]) -> None:
    """Raises unless each is a class, named once, and two others are kept."""
    count = len(class_names)
    for index, class_id in enumerate(left_out):
        if class_id not in range(count):
            raise ValueError(
                f"left_out: {class_id!r} is no class. Write numbers in "
                f"[0, {count - 1}]."
            )
        if class_id in left_out[:index]:
            raise ValueError(
                f"left_out: class {class_id} ({class_names[class_id]!r}) is given "
                "twice. Name it once."
            )
    if count - len(left_out) < 2:
        raise ValueError(
            f"left_out={tuple(left_out)} keeps {count - len(left_out)} of {count} "
            f"classes. A classifier needs two: leave out {max(count - 2, 0)} at most."
        )


def _check_fractions(validation: float, test: float, train: float) -> None:
    for name, value, interval, fits in (
        ("validation_fraction", validation, "[0, 1)", 0 <= validation < 1),
        ("test_fraction", test, "(0, 1)", 0 < test < 1),
        ("train_fraction", train, "(0, 1]", 0 < train <= 1),
    ):
        if not fits:
            raise ValueError(
                f"{name}={value} is outside {interval}. It is a share of the images, "
                "not a number of images or a percentage."
            )


def _count(total: int, **fractions: float) -> int:
    ((name, fraction),) = fractions.items()
    count = round(fraction * total)
    if fraction > 0 and count == 0:
        raise ValueError(
            f"{name}={fraction} of {total} images is not one image. Write "
            f"{1 / total:.2g} or more."
        )
    return count


def _check_classes(
    labels: Int[np.ndarray, " n"], train_fraction: float, class_names: tuple[str, ...]
) -> None:
    """Raises unless the first `train_fraction` of the labels has every class."""
    if missing := missing_classes(labels, class_names):
        raise ValueError(
            f"The test and validation splits leave no training image of {missing}. "
            "Make them smaller, or balanced=True."
        )
    count = round(train_fraction * len(labels))
    if missing := missing_classes(labels[:count], class_names):
        needed = int(np.unique(labels, return_index=True)[1].max()) + 1
        enough = math.ceil(1e4 * needed / len(labels)) / 1e4
        raise ValueError(
            f"train_fraction={train_fraction} keeps {count} of {len(labels)} training "
            f"images and none of {missing}. Each class needs one at least, which with "
            f"this seed takes {needed} images: train_fraction={enough} or more."
        )

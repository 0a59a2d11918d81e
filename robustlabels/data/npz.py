"""The user's own arrays in an npz file."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from robustlabels.data.dataset import Source, make_split, numbered_classes

# What the arrays of each split may be called.
_NAMES = {
    "train": (
        ("images", "labels"),
        ("train_images", "train_labels"),
        ("x_train", "y_train"),
    ),
    "validation": (("validation_images", "validation_labels"),),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
}


def load_npz(path: str) -> Source:
    """Reads the user's own arrays from an npz file.

    Args:
      path: file with `images` and `labels`; or with `train_images`, `train_labels`
        and, if there are such splits, `test_images`, `test_labels`,
        `validation_images`, `validation_labels`; or with Keras' `x_train`, `y_train`,
        `x_test`, `y_test`. Images are [n, h, w] or [n, h, w, c], uint8 or floats in
        [0, 1]; labels are [n] class ids from 0. `class_names` is optional. A validation
        split without a test split is the test split, see `load`.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: for a damaged file, missing keys, or arrays of another form.

    >>> load_npz("mine.npz")
    Traceback (most recent call last):
    FileNotFoundError: npz:mine.npz: there is no such file.
    """
    try:
        arrays = read_npz(Path(path).expanduser())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"npz:{path}: there is no such file.") from error
    return source_of(arrays, where=f"npz:{path}")


def source_of(arrays: dict[str, np.ndarray], *, where: str) -> Source:
    """Finds the splits among arrays that are named as `load_npz` says.

    >>> arrays = {"images": np.zeros((2, 8, 8)), "labels": np.array([0, 1])}
    >>> source_of(arrays, where="mine").class_names
    ('0', '1')
    """
    found = {
        title: (images, labels)
        for title, names in _NAMES.items()
        for images, labels in names
        if images in arrays
    }
    if "train" not in found:
        raise ValueError(
            f"{where} has the keys {sorted(arrays)}. Name the arrays images and "
            "labels; or train_images, train_labels, test_images, test_labels; or "
            "x_train, y_train, x_test, y_test."
        )
    splits = {}
    for title, (images, labels) in found.items():
        if labels not in arrays:
            raise ValueError(
                f"{where} has {images} but no {labels}. Add the class ids."
            )
        splits[title] = make_split(
            arrays[images], arrays[labels], where=f"{where}, {images}"
        )
    if "class_names" in arrays:
        class_names = tuple(map(str, arrays["class_names"].ravel().tolist()))
    else:
        class_names = numbered_classes(*splits.values())
    return Source(
        splits["train"], splits.get("validation"), splits.get("test"), class_names
    )


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file, compared with its checksums.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it cannot be read, is damaged, or holds pickled objects.

    >>> read_npz(Path("mine.npz"))
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'mine.npz'
    """
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (
        OSError,
        ValueError,
        EOFError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(
            f"{path} is truncated, or no npz file of plain arrays ({error}). Make it "
            "again."
        ) from error

"""Data sets that TensorFlow Datasets (TFDS) has prepared, read without TensorFlow."""

import contextlib
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from robustlabels._progress import Progress
from robustlabels.data import cache
from robustlabels.data.dataset import Source
from robustlabels.data.npz import source_of

_RECORDS_PER_CALL = 1000


def load_prepared(name: str, *, data_dir: str = "") -> Source:
    """Reads a set with the features `image` and `label`; decodes it only once.

    The decoded arrays go to the cache folder under a hash of all bytes of the prepared
    files, so data that changes is decoded again.

    Args:
      name: what TFDS calls it: "mnist", or "cifar10_corrupted/blur_1" with a variant.
      data_dir: folder that holds prepared sets; if empty, the environment variable
        TFDS_DATA_DIR, or else ~/tensorflow_datasets.

    Raises:
      FileNotFoundError: for a set that is not there, with those that are.
      ValueError: for a damaged set, or one without images of one shape and labels.

    >>> load_prepared("mnist", data_dir="/nowhere")
    Traceback (most recent call last):
    FileNotFoundError: 'mnist' is not prepared in /nowhere (no such folder). Prepare \
it with `robustlabels data prepare mnist --data_dir=/nowhere`, or say where it is \
with --config.data.data_dir=FOLDER or the environment variable TFDS_DATA_DIR. Without \
preparing there are 'digits', 'fake', 'idx:FOLDER' and 'npz:FILE'.
    """
    folder = find_prepared(name, data_dir=data_dir)
    if folder is None:
        root = _root(data_dir)
        there = ", ".join(_prepared_sets(root)) or "nothing"
        there = f"there: {there}" if root.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"{name!r} is not prepared in {root} ({there}). Prepare it with "
            f"`robustlabels data prepare {name} --data_dir={root}`, or say where it is "
            "with --config.data.data_dir=FOLDER or the environment variable "
            "TFDS_DATA_DIR. Without preparing there are 'digits', 'fake', 'idx:FOLDER' "
            "and 'npz:FILE'."
        )
    with _damage_explained(folder):
        file_name = f"{name.replace('/', '-')}-{_hash(folder)}.npz"
    arrays = cache.cached(cache.folder() / file_name, lambda: _decode(folder))
    return source_of(arrays, where=name)


def prepare(name: str, *, data_dir: str = "") -> Path:
    """Downloads a set and writes it as ArrayRecord; does nothing if that was done.

    This alone needs TensorFlow, to unpack what the authors of the set published.

    Args:
      name: what TFDS calls the set, such as "mnist" or "cifar10".
      data_dir: folder to write to, chosen as in `load_prepared`.

    Returns:
      The folder of the prepared set.

    Raises:
      ImportError: if TensorFlow is not installed.
      ValueError: for a set that is prepared already, but in another format.

    >>> prepare("idx:/data/mnist")
    Traceback (most recent call last):
    ValueError: name='idx:/data/mnist' is not a name that TFDS could know. Write one \
such as 'mnist' or 'cifar10'; 'digits', 'fake', 'idx:FOLDER' and 'npz:FILE' need no \
preparing.
    """
    folder = find_prepared(name, data_dir=data_dir)
    if folder is not None:
        print(f"{name} is already prepared in {folder}.")
        return folder
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(
            f"Preparing {name!r} needs TensorFlow, once: pip install "
            "'robustlabels[prepare]'. Reading it afterwards does not."
        )
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=_root(data_dir), file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def find_prepared(name: str, *, data_dir: str = "") -> Path | None:
    """The folder of the newest prepared version of a set, None if there is none.

    Args:
      name, data_dir: as in `load_prepared`.

    Raises:
      ValueError: if the name is no TFDS name, or the set is not stored as ArrayRecord.

    >>> find_prepared("mnist", data_dir="/nowhere")
    """
    if not re.fullmatch(r"\w+(/[\w.-]+)?", name) or name in ("digits", "fake"):
        raise ValueError(
            f"name={name!r} is not a name that TFDS could know. Write one such as "
            "'mnist' or 'cifar10'; 'digits', 'fake', 'idx:FOLDER' and 'npz:FILE' need "
            "no preparing."
        )
    versions = {
        tuple(map(int, info.parent.name.split("."))): info.parent
        for info in (_root(data_dir) / name).glob("*/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name)
    }
    if not versions:
        return None
    newest = versions[max(versions)]
    with _damage_explained(newest):
        info = json.loads((newest / "dataset_info.json").read_text())
    if info.get("fileFormat") != "array_record":
        raise ValueError(
            f"{newest} is stored as {info.get('fileFormat', 'tfrecord')}, which only "
            "TensorFlow reads. Write it as ArrayRecord to another folder: "
            f"`robustlabels data prepare {name} --data_dir=FOLDER`."
        )
    return newest


def _root(data_dir: str) -> Path:
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


def _prepared_sets(root: Path) -> list[str]:
    infos = [*root.glob("*/*/dataset_info.json"), *root.glob("*/*/*/dataset_info.json")]
    return sorted({str(info.parent.parent.relative_to(root)) for info in infos})


def _hash(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name} {digest}\n".encode())
    return total.hexdigest()[:32]


def _decode(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of all splits, under the names that `source_of` looks for."""
    import tensorflow_datasets as tfds

    with _damage_explained(folder):
        info = tfds.builder_from_directory(folder).info
    missing = {"image", "label"} - set(info.features)
    if missing or "train" not in info.splits:
        raise ValueError(
            f"{info.name} has the features {sorted(info.features)} and the splits "
            f"{sorted(info.splits)}. A set of images to classify has the features "
            "'image' and 'label' and the split 'train'."
        )
    image, label = info.features["image"], info.features["label"]
    if None in image.shape:
        raise ValueError(
            f"{info.name} has images of many sizes (shape {image.shape}). Resize them "
            "to one size and give the arrays as 'npz:FILE'."
        )
    arrays = {}
    for split in ("train", "validation", "test"):
        if split in info.splits:
            with _damage_explained(folder):
                images, labels = _decode_split(folder, split, image)
            arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    if getattr(label, "names", None):
        arrays["class_names"] = np.array(label.names)
    return arrays


def _decode_split(
    folder: Path, split: str, image: Any
) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    records: Any = builder.as_data_source(split=split)
    images = np.empty((len(records), *image.shape), image.np_dtype)
    labels = []
    what = f"decoding {builder.name} {split}"
    with Progress(total=len(records), what=what, unit="images") as progress:
        for start in range(0, len(records), _RECORDS_PER_CALL):
            stop = min(start + _RECORDS_PER_CALL, len(records))
            chunk = records.__getitems__(list(range(start, stop)))
            images[start:stop] = [record["image"] for record in chunk]
            labels += [record["label"] for record in chunk]
            progress.advance(len(chunk))
    return images, np.array(labels)


@contextlib.contextmanager
def _damage_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError, ValueError, IndexError) as error:
        raise ValueError(
            f"{folder} cannot be read: {error}. If it is damaged, delete it and "
            "prepare the set again with `robustlabels data prepare`."
        ) from error

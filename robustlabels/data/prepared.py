"""Data sets that TensorFlow Datasets (TFDS) has prepared, read without TensorFlow."""

import functools
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from robustlabels.data import cache
from robustlabels.data.dataset import Source
from robustlabels.data.decoding import Records, damage_explained, records_of
from robustlabels.data.npz import source_of

_LARGE = 2**30  # bytes: what is larger is not kept in memory
_HASHED = 2**30  # bytes: what is larger is not read to see whether it changed


def load_prepared(name: str, *, data_dir: str = "", image_size: int = 0) -> Source:
    """Reads a set with the features `image` and `label`; decodes it only once.

    The decoded arrays go to the cache folder under a hash of all bytes of the prepared
    files, so data that changes is decoded again; beyond 1 GiB it is a hash of the names
    of these files, their sizes and when they were last changed.

    Images that take 1 GiB or more when decoded stay on disk, as memory maps of which
    `Rows` are read when they are needed. One process decodes them, others wait for it.

    Args:
      name: what TFDS calls it: "mnist", or "cifar10_corrupted/blur_1" with a variant.
      data_dir: folder that holds prepared sets; if empty, the environment variable
        TFDS_DATA_DIR, or else ~/tensorflow_datasets.
      image_size: 0 leaves images as they are; another number makes every image a
        square of so many pixels a side, see `decoding.resized`.

    Raises:
      FileNotFoundError: for a set that is not there, with those that are.
      ValueError: for a damaged set, or one without images of one shape and labels.
      OSError: if images that have to stay on disk find no room in the cache folder.

    Guarantees: a process that is killed leaves nothing behind that is taken for whole.

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
    with damage_explained(folder):
        key = f"{name.replace('/', '-')}-{_hash(folder)}"
    if image_size:
        key += f"-{image_size}"
    path = cache.folder() / f"{key}.npz"
    arrays = cache.read(path)
    if arrays is None:
        arrays = _decode(folder, path, image_size)
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
    with damage_explained(newest):
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
    files = sorted(path for path in folder.iterdir() if path.is_file())
    large = sum(path.stat().st_size for path in files) > _HASHED
    for path in files:
        if large:
            state = path.stat()
            seen = f"{state.st_size} {state.st_mtime_ns}"
        else:
            with path.open("rb") as file:
                seen = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name} {seen}\n".encode())
    return total.hexdigest()[:32]


def _decode(folder: Path, path: Path, image_size: int) -> dict[str, np.ndarray]:
    """The arrays of all splits, named as `source_of` wants, kept in the cache."""
    splits, class_names = records_of(folder, image_size=image_size)
    nbytes = sum(records.nbytes for records in splits.values())
    if nbytes < _LARGE:
        arrays = _arrays(splits, class_names, _in_memory)
        cache.write(path, arrays)
        return arrays
    with cache.alone(path):
        arrays = cache.read(path)
        if arrays is None:
            cache.make_room(path, nbytes)
            on_disk = functools.partial(cache.mapped, path)
            arrays = _arrays(splits, class_names, on_disk)
            cache.write(path, arrays)
        return arrays


def _arrays(
    splits: dict[str, Records], class_names: list[str] | None, keep: Callable
) -> dict[str, np.ndarray]:
    arrays = {}
    for title, records in splits.items():
        labels = []

        def images(records=records, labels=labels) -> Iterator[np.ndarray]:
            for pixels, class_ids in records.batches():
                labels.append(class_ids)
                yield pixels

        name, form = f"{title}_images", {"shape": records.shape, "dtype": records.dtype}
        arrays[name] = keep(name, images(), **form)
        arrays[f"{title}_labels"] = np.concatenate(labels)
    if class_names:
        arrays["class_names"] = np.array(class_names)
    return arrays


def _in_memory(
    name: str,
    pieces: Iterator[np.ndarray],
    *,
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> np.ndarray:
    del name
    array, filled = np.empty(shape, dtype), 0
    for piece in pieces:
        array[filled : filled + len(piece)] = piece
        filled += len(piece)
    return array

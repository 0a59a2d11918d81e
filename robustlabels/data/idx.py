"""The idx files in which MNIST and its relatives were published."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from robustlabels.data.dataset import Source, Split, make_split, numbered_classes


def read_idx(path: Path, *, ndim: int) -> UInt8[np.ndarray, "..."]:
    """The array of bytes in one idx file, compressed by gzip or not.

    The format: two zero bytes, 8 for bytes, the number of dimensions, each dimension
    as a big-endian int32, then the values.

    Args:
      path: the file; it is decompressed if its name ends in .gz.
      ndim: dimensions that the array must have: 3 for images, 1 for labels.

    Raises:
      ValueError: for a file that is truncated or of another format.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "labels")
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    >>> read_idx(path, ndim=1)
    array([5, 0, 4], dtype=uint8)
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is truncated or not a gzip file ({error}). Download it again."
        ) from error
    magic, start = bytes([0, 0, 8, ndim]), 4 + 4 * ndim
    if data[:4] != magic:
        raise ValueError(
            f"{path} starts with the bytes {data[:4].hex(' ')}; an idx file of bytes "
            f"in {ndim} dimensions starts with {magic.hex(' ')}."
        )
    shape = np.frombuffer(data[4:start].ljust(start - 4, b"\0"), ">u4").tolist()
    expected = start + math.prod(shape)
    if len(data) != expected:
        raise ValueError(
            f"{path} holds {len(data)} bytes, not the {expected} of an array of shape "
            f"{shape} as its header says. Download it again."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def load_idx(path: str) -> Source:
    """Reads a folder with the four files of MNIST, FashionMNIST or a set like them.

    Args:
      path: folder of train-images-idx3-ubyte, train-labels-idx1-ubyte,
        t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain or .gz.

    Raises:
      FileNotFoundError: if the folder or a file is missing.
      ValueError: for a damaged file, or files that do not fit each other.

    >>> load_idx("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: idx:nowhere: there is no folder nowhere.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"idx:{path}: there is no folder {folder}.")
    train, test = (_split(folder, prefix) for prefix in ("train", "t10k"))
    return Source(train, None, test, numbered_classes(train, test))


def _split(folder: Path, prefix: str) -> Split:
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"), ndim=3)
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"), ndim=1)
    return make_split(images, labels, where=f"idx:{folder}, {prefix}")


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"idx:{folder}: there is neither {name} nor {name}.gz.")

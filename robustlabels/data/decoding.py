"""The records of a set that TFDS prepared, decoded by all cores."""

import collections
import contextlib
import functools
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from robustlabels._progress import Progress

_RECORDS_PER_CALL = 100
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Records(NamedTuple):
    """One split, not decoded yet.

    Attributes:
      shape: [n, h, w, c] of the images.
      dtype: of the images.
      batches: () -> images and labels, some at a time and in order, with progress.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    batches: Callable[[], Iterator[tuple[np.ndarray, Int[np.ndarray, " batch"]]]]

    @property
    def nbytes(self) -> int:
        """What the images take when decoded."""
        return math.prod(self.shape) * self.dtype.itemsize


def records_of(
    folder: Path, *, image_size: int
) -> tuple[dict[str, Records], list[str] | None]:
    """The splits of a prepared set, and the names of its classes if it has them.

    A split other than "train" whose labels are all -1, as ImageNet's test split, is
    left out.

    Args:
      folder: of the prepared set.
      image_size: as in `data.load`.

    Raises:
      ValueError: for a damaged set, or one without images and labels, or whose images
        cannot be brought into one form.
    """
    import tensorflow_datasets as tfds

    with damage_explained(folder):
        builder = tfds.builder_from_directory(folder)
    info = builder.info
    missing = {"image", "label"} - set(info.features)
    if missing or "train" not in info.splits:
        raise ValueError(
            f"{info.name} has the features {sorted(info.features)} and the splits "
            f"{sorted(info.splits)}. A set of images to classify has the features "
            "'image' and 'label' and the split 'train'."
        )
    shape, decode = _form(info.features["image"], image_size, info.name)
    splits = {}
    for title in ("train", "validation", "test"):
        if title not in info.splits:
            continue
        with damage_explained(folder):
            records: Any = builder.as_data_source(
                split=title, decoders={"image": tfds.decode.SkipDecoding()}
            )
            if title != "train" and _is_unlabelled(records):
                continue
        splits[title] = Records(
            (len(records), *shape),
            np.dtype(info.features["image"].np_dtype),
            functools.partial(
                _decoded, folder, records, decode, f"decoding {info.name} {title}"
            ),
        )
    return splits, getattr(info.features["label"], "names", None)


def resized(
    data: bytes, *, size: int, channels: int
) -> UInt8[np.ndarray, "size size channels"]:
    """Decodes an image and cuts a square out of its middle.

    The shorter side is resized to round(size · 256 / 224), the longer one with it, by
    Pillow's bilinear filter, which averages over what a pixel covers; size · size
    pixels are cut out of the middle. Colours become those of the channels: grey and
    CMYK become RGB.

    Args:
      data: an image file, JPEG or PNG for example.
      size: at least 1.
      channels: 1 is grey, 3 RGB, 4 RGBA.

    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (30, 20), 7).save(file, "png")
    >>> resized(file.getvalue(), size=8, channels=3)[0, 0]
    array([7, 7, 7], dtype=uint8)
    """
    from PIL import Image

    with Image.open(io.BytesIO(data)) as file:
        image = file.convert(_MODES[channels])
    scale = round(size * 256 / 224) / min(image.size)
    width, height = (round(scale * side) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    square = image.crop((left, top, left + size, top + size))
    return np.asarray(square).reshape(size, size, channels)


@contextlib.contextmanager
def damage_explained(folder: Path) -> Iterator[None]:
    """Whatever goes wrong while a prepared set is read becomes a ValueError."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, IndexError) as error:
        raise ValueError(
            f"{folder} cannot be read: {error}. If it is damaged, delete it and "
            "prepare the set again with `robustlabels data prepare`."
        ) from error


def _form(
    image: Any, image_size: int, name: str
) -> tuple[tuple[int, ...], Callable[[bytes], np.ndarray]]:
    """The shape that all images will have, and what gives it to one of them."""
    if not image_size:
        if None in image.shape:
            raise ValueError(
                f"{name} has images of many sizes (shape {image.shape}). Bring them to "
                "one with image_size=224, or --config.data.image_size=224."
            )
        return image.shape, image.decode_example_np
    channels = image.shape[-1]
    if channels not in _MODES or image.np_dtype != np.uint8:
        raise ValueError(
            f"{name} has images of {np.dtype(image.np_dtype)} with {channels} "
            "channels. Only uint8 with 1, 3 or 4 can be resized: leave image_size=0."
        )
    decode = functools.partial(resized, size=image_size, channels=channels)
    return (image_size, image_size, channels), decode


def _is_unlabelled(records: Any) -> bool:
    return all(records[i]["label"] == -1 for i in range(len(records)))


def _decoded(
    folder: Path, records: Any, decode: Callable[[bytes], np.ndarray], what: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    def batch(start: int) -> tuple[np.ndarray, np.ndarray]:
        stop = min(start + _RECORDS_PER_CALL, len(records))
        some = records.__getitems__(list(range(start, stop)))
        images = np.stack([decode(record["image"]) for record in some])
        return images, np.array([record["label"] for record in some])

    starts = range(0, len(records), _RECORDS_PER_CALL)
    with Progress(total=len(records), what=what, unit="images") as progress:
        for found in _in_threads(batch, starts):
            with damage_explained(folder):
                images, labels = found()
            yield images, labels
            progress.advance(len(labels))


def _in_threads(function: Callable, arguments: Iterable) -> Iterator[Callable]:
    """What gives each result, in order; only a few of them are made in advance."""
    cores = os.cpu_count() or 1
    waiting = collections.deque()
    with ThreadPoolExecutor(cores) as pool:
        for argument in arguments:
            waiting.append(pool.submit(function, argument))
            if len(waiting) > 2 * cores:
                yield waiting.popleft().result
        while waiting:
            yield waiting.popleft().result

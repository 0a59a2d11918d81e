"""How far the attack on a split came: a file to go on from."""

import hashlib
import importlib.metadata
import json
import pathlib
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from robustlabels._files import whole
from robustlabels.data import Rows

__all__ = ["digest", "load", "save"]


def digest(*parts: Any) -> str:
    """A hash of pytrees of arrays, numbers and text, and of this package's version.

    >>> digest({"a": np.ones(2)}, "pgd") == digest({"a": np.ones(2)}, "pgd")
    True
    >>> digest(np.ones(2)) == digest(np.ones((2, 1)))
    False
    """
    total = hashlib.sha256(importlib.metadata.version("robustlabels").encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(parts):
        array = leaf if isinstance(leaf, str | Rows) else np.asarray(leaf)
        said = leaf if isinstance(array, str) else [str(array.dtype), array.shape]
        total.update(json.dumps([jax.tree_util.keystr(path), said]).encode())
        for piece in _pieces(array):
            total.update(np.ascontiguousarray(piece).data)
    return total.hexdigest()


def _pieces(array: str | Rows | np.ndarray) -> Iterator[np.ndarray]:
    """An array, or rows on disk a thousand at a time; nothing of text."""
    if isinstance(array, Rows):
        for start in range(0, len(array), 1000):
            yield array[start : start + 1000]
    elif isinstance(array, np.ndarray):
        yield array


def save(path: pathlib.Path, digest: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays, whole or not at all.

    Args:
      path: the file.
      digest: of what the arrays belong to.
      arrays: by name.
    """
    with whole(path) as file:
        np.savez(file, allow_pickle=False, **{"digest": np.array(digest), **arrays})


def load(path: pathlib.Path, digest: str) -> dict[str, np.ndarray] | None:
    """The arrays of a file; None, with a sentence on stderr, if they are of no use.

    Args:
      path: the file; without it there is nothing to say.
      digest: of what the arrays should belong to.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as stored:
            arrays = {name: stored[name] for name in stored.files}
        found = str(arrays.pop("digest"))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        print(f"{path} is damaged ({error}): starting anew.", file=sys.stderr)
        return None
    if found != digest:
        print(
            f"{path} belongs to another classifier, attack or split: starting anew.",
            file=sys.stderr,
        )
        return None
    return arrays

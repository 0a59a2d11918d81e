"""Arrays that are expensive to make, kept in the user's cache folder."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robustlabels._files import whole
from robustlabels.data.npz import read_npz


def folder() -> Path:
    """$XDG_CACHE_HOME/robustlabels, or ~/.cache/robustlabels.

    >>> folder().name
    'robustlabels'
    """
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "robustlabels"


def cached(
    path: Path, make: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What `make()` returns, read from a file after the first call.

    Guarantees: safe while other processes do the same, for a file appears whole or not
    at all. A truncated file, or one whose arrays are damaged, is noticed and made
    again. A folder that cannot be written costs time only: it warns and goes on.

    Args:
      path: an npz file; its name must change whenever the result would.
      make: returns named arrays of plain types.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "example.npz")
    >>> cached(path, lambda: {"x": np.arange(3)})["x"]
    array([0, 1, 2])
    >>> cached(path, lambda: {"x": np.zeros(0)})["x"]
    array([0, 1, 2])
    """
    arrays = _read(path)
    if arrays is None:
        arrays = make()
        _write(path, arrays)
    return arrays


def _read(path: Path) -> dict[str, np.ndarray] | None:
    try:
        return read_npz(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        warnings.warn(f"Making a damaged cache file again: {error}", stacklevel=3)
        return None


def _write(path: Path, arrays: dict[str, Any]) -> None:
    try:
        with whole(path) as file:
            np.savez(file, **arrays)
    except OSError as error:
        warnings.warn(
            f"The cache file {path} cannot be written ({error}): this data is decoded "
            "again in every run. Set XDG_CACHE_HOME to a folder with space.",
            stacklevel=3,
        )

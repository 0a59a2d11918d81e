"""Arrays that are expensive to make, kept in the user's cache folder."""

import contextlib
import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from robustlabels._files import whole
from robustlabels.data.npz import read_npz

_MAPPED = "mapped"  # names the arrays that are files of their own
_FIX = "Set XDG_CACHE_HOME to a folder with space."


def folder() -> Path:
    """$XDG_CACHE_HOME/robustlabels, or ~/.cache/robustlabels.

    >>> folder().name
    'robustlabels'
    """
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "robustlabels"


def read(path: Path) -> dict[str, np.ndarray] | None:
    """What was written under a name; None if that has to be made (again).

    Guarantees: a truncated file, or an npz file whose arrays are damaged, is noticed
    and warned of. Of memory maps the size is checked, not what they hold.

    Args:
      path: an npz file.

    >>> read(Path("/nowhere/some.npz"))
    """
    try:
        arrays = read_npz(path)
        for name in arrays.pop(_MAPPED, ()):
            arrays[name] = _map(_beside(path, name))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        warnings.warn(f"Making a damaged cache file again: {error}", stacklevel=2)
        return None
    return arrays


def write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Keeps arrays for `read`; those from `mapped` stay the files that they are.

    Guarantees: safe while other processes do the same, for a file appears whole or not
    at all. A folder that cannot be written costs time only: it warns and goes on.

    Args:
      path: an npz file; its name must change whenever the arrays would.
      arrays: by name, of plain types.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "example.npz")
    >>> write(path, {"x": np.arange(3)})
    >>> read(path)
    {'x': array([0, 1, 2])}
    """
    maps = [name for name, array in arrays.items() if isinstance(array, np.memmap)]
    stored = {name: array for name, array in arrays.items() if name not in maps}
    if maps:
        stored[_MAPPED] = np.array(maps)
    try:
        with whole(path) as file:
            np.savez(file, **stored)
    except OSError as error:
        warnings.warn(
            f"The cache file {path} cannot be written ({error}): this data is decoded "
            f"again in every run. {_FIX}",
            stacklevel=2,
        )


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """While one process makes a file, others that want to make it wait.

    Args:
      path: the file.

    Raises:
      OSError: if the folder cannot be written.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sentence = f"Another process makes {path}: waiting for it."
            print(sentence, file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_room(path: Path, nbytes: int) -> None:
    """Removes what was left unfinished beside a file, and looks for enough space.

    Args:
      path: an npz file that only this process makes, see `alone`.
      nbytes: what its memory maps will take.

    Raises:
      OSError: if there is less.

    >>> import tempfile
    >>> make_room(Path(tempfile.mkdtemp(), "example.npz"), 1000)
    """
    for leftover in path.parent.glob(_beside(path, "*").name + "*"):
        leftover.unlink()
    free = shutil.disk_usage(path.parent).free
    if free < nbytes:
        raise OSError(
            f"{path.parent} has {free / 1e9:.1f} GB of free space; {path.stem} takes "
            f"{nbytes / 1e9:.1f} GB. {_FIX}"
        )


def mapped(
    path: Path,
    name: str,
    pieces: Iterable[np.ndarray],
    *,
    shape: tuple[int, ...],
    dtype: DTypeLike,
) -> np.memmap:
    """An array that is too large for memory: a file beside `path`, and read from there.

    Args:
      path: npz file that this array belongs to.
      name: of the array in it.
      pieces: the array, cut along its first axis.
      shape: of the whole array.
      dtype: of the array.

    Raises:
      OSError: if the file cannot be written; then it is not there at all.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "example.npz")
    >>> pieces = (np.full((2, 1), i) for i in range(2))
    >>> mapped(path, "x", pieces, shape=(4, 1), dtype=int).ravel()
    memmap([0, 0, 1, 1])
    """
    file_path, dtype = _beside(path, name), np.dtype(dtype)
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    try:
        with whole(file_path) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for piece in pieces:
                file.write(np.ascontiguousarray(piece, dtype).data)
    except OSError as error:
        raise OSError(f"{file_path} cannot be written ({error}). {_FIX}") from error
    return _map(file_path)


def _beside(path: Path, name: str) -> Path:
    return path.with_name(f"{path.stem}.{name}.npy")


def _map(path: Path) -> np.memmap:
    try:
        return np.load(path, mmap_mode="r")
    except ValueError as error:
        raise ValueError(f"{path} is truncated ({error}).") from error

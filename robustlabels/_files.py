"""Files that are there as a whole, or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def whole(path: pathlib.Path) -> Iterator[BinaryIO]:
    """A file to write into that takes its name only when all of it is written.

    Guarantees: if anything fails, a full disk too, what had the name before keeps it,
    and no other file is left behind.

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "some.json"
    >>> with whole(path) as file:
    ...     file.write(b"{}"), path.exists()
    (2, False)
    >>> path.read_text()
    '{}'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise

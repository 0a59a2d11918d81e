"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A file to be written beside `path`, whose place it takes at the end.

    Args:
      path: what is replaced, unless writing fails.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "figures.json")
    >>> with replacing(path) as unfinished:
    ...     _ = unfinished.write_text("[]")
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('[]', 1)
    >>> folder.cleanup()
    """
    path = pathlib.Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)

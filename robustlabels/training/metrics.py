"""What a run writes while it trains: `metrics.jsonl` and TensorBoard events."""

import contextlib
import json
import pathlib
from collections.abc import Mapping

from robustlabels._files import whole

__all__ = ["MetricsWriter"]


class MetricsWriter:
    """Writes figures by step, one line of JSON each, and to TensorBoard.

    Args:
      folder: the run's folder, made if missing.
      after: the step from which training goes on: what was written of later steps, or
        only half, is taken back, for it is written again.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with MetricsWriter(folder.name) as writer:
    ...     writer.write(10, {"train_loss": 0.5})
    ...     writer.write(20, {"train_loss": 0.4})
    >>> with MetricsWriter(folder.name, after=10) as writer:
    ...     pass
    >>> print((pathlib.Path(folder.name) / "metrics.jsonl").read_text().strip())
    {"step": 10, "train_loss": 0.5}
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | pathlib.Path, *, after: int = 0):
        from tensorboardX import SummaryWriter

        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        _take_back(path, after)
        self._lines = path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(folder), purge_step=after + 1)

    def write(
        self, step: int, figures: Mapping[str, float | int], *, tag: str = "{}"
    ) -> None:
        """Writes the figures of a step, so that a kill loses no line.

        Args:
          step: the step they belong to.
          figures: by name.
          tag: what TensorBoard calls them; {} stands for the name.

        Raises:
          OSError: if they cannot be written.
        """
        try:
            self._lines.write(json.dumps({"step": step, **figures}) + "\n")
            self._lines.flush()
        except OSError as error:
            raise OSError(
                f"{self._lines.name} could not be written ({error}): make room, and "
                "the same command goes on from the last checkpoint."
            ) from error
        for name, value in figures.items():
            self._events.add_scalar(tag.format(name), value, step)

    def __enter__(self) -> "MetricsWriter":
        """Nothing happens: the files are open since construction."""
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        """Closes both files; an earlier error hides one from here."""
        for file in (self._lines, self._events):
            try:
                file.close()
            except OSError:
                if kind is None:
                    raise


def _take_back(path: pathlib.Path, after: int) -> None:
    """Leaves the whole lines of steps up to `after`, and replaces the file at once."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    kept = []
    for line in text.splitlines(keepends=True):
        with contextlib.suppress(ValueError):
            if line.endswith("\n") and json.loads(line)["step"] <= after:
                kept.append(line)
    if "".join(kept) != text:
        with whole(path) as file:
            file.write("".join(kept).encode())

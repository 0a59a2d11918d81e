"""What a run writes while it trains: `metrics.jsonl` and TensorBoard events."""

import contextlib
import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

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
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        _take_back(path, after)
        self._lines = path.open("a", encoding="utf-8")
        self._messages: Any = event_pb2
        # Names sort by time. A writer's own second would let one that goes on at once
        # write over the file before.
        self._events = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        self._add_event(after + 1, session_log={"status": "START"})

    def write(
        self,
        step: int,
        figures: Mapping[str, float | int | list[float]],
        *,
        tag: str = "{}",
    ) -> None:
        """Writes the figures of a step, so that a kill loses none.

        Args:
          step: the step they belong to.
          figures: by name; lists go to the file alone.
          tag: what TensorBoard calls them; {} stands for the name.

        Raises:
          OSError: if they cannot be written.
        """
        try:
            self._lines.write(json.dumps({"step": step, **figures}) + "\n")
            self._lines.flush()
            values = [
                {"tag": tag.format(name), "simple_value": value}
                for name, value in figures.items()
                if not isinstance(value, list)
            ]
            self._add_event(step, summary={"value": values})
        except OSError as error:
            raise OSError(
                f"{self._lines.name} could not be written ({error}): make room, and "
                "the same command goes on from the last checkpoint."
            ) from error

    def _add_event(self, step: int, **content: Any) -> None:
        event = self._messages.Event(wall_time=time.time(), step=step, **content)
        self._events.write_event(event)
        self._events.flush()

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

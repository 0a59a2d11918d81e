"""What a run writes while it trains: `metrics.jsonl` and TensorBoard events."""

import json
import pathlib
from collections.abc import Mapping

__all__ = ["MetricsWriter"]


class MetricsWriter:
    """Writes figures by step, one line of JSON each, and to TensorBoard.

    Args:
      folder: the run's folder, made if missing; lines are added to what is there.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with MetricsWriter(folder.name) as writer:
    ...     writer.write(10, {"train_loss": 0.5})
    >>> print((pathlib.Path(folder.name) / "metrics.jsonl").read_text().strip())
    {"step": 10, "train_loss": 0.5}
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | pathlib.Path):
        from tensorboardX import SummaryWriter

        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._lines = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._events = SummaryWriter(str(folder))

    def write(self, step: int, figures: Mapping[str, float | int]) -> None:
        """Writes the figures of a step, so that a kill loses no line."""
        self._lines.write(json.dumps({"step": step, **figures}) + "\n")
        self._lines.flush()
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)

    def __enter__(self) -> "MetricsWriter":
        """Nothing happens: the files are open since construction."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes both files."""
        self._lines.close()
        self._events.close()

"""Progress of long work: a bar on a terminal, now and then a line elsewhere."""

import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Counts units of work, with rate and time left, on standard error.

    Args:
      total: how many units there are.
      what: a word or two in front.
      unit: what is counted, in the plural.
      done: how many of them an earlier process did; they do not enter the rate.

    >>> with Progress(total=2, what="training", unit="steps") as progress:
    ...     progress.advance(2, loss=0.5)
    """

    def __init__(self, *, total: int, what: str, unit: str, done: int = 0):
        self._what = what
        self._unit = unit
        self._total = total
        self._before = self._done = done
        self._start = self._last = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total,
                initial=done,
                desc=what,
                unit=f" {unit}",
                dynamic_ncols=True,
                leave=False,
            )

    def advance(self, units: int = 1, **figures: float | str) -> None:
        """Counts units that are done, and shows figures behind them."""
        self._done += units
        shown = {
            name: f"{value:.4g}" if isinstance(value, float) else value
            for name, value in figures.items()
        }
        if self._bar is not None:
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(units)
            return
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = (self._done - self._before) / (now - self._start)
        left = (self._total - self._done) / rate
        per_second = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
        line = (
            f"{self._what}: {self._done}/{self._total} {self._unit}, "
            f"{per_second}/s, {left:.0f} s left"
        )
        figures_text = "".join(f", {name} {value}" for name, value in shown.items())
        print(line + figures_text, file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        """Starts nothing: the clock runs since construction."""
        return self

    def __exit__(self, *error: object) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()

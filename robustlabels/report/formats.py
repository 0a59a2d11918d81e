"""How numbers are written: the one place where they become text."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from robustlabels.report.html import Html, element, joined

__all__ = [
    "NOTHING",
    "Estimate",
    "Number",
    "count",
    "listed",
    "literal",
    "number",
    "percent",
]

# JSON writes 1.0 as it likes.
Number = float | int
NOTHING = "\N{EN DASH}"


def percent(share: Number | None, digits: int = 1) -> str:
    """A share in percent, without the sign.

    >>> percent(0.9933), percent(None)
    ('99.3', '–')
    """
    return NOTHING if share is None else f"{100 * share:.{digits}f}"


def number(value: Number | None) -> str:
    """A number with three significant digits.

    >>> number(0.012345), number(1234.5), number(0.0), number(None)
    ('0.0123', '1,234', '0', '–')
    """
    if value is None:
        return NOTHING
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def count(value: int, what: str) -> str:
    """A number of things.

    >>> count(1, "seed"), count(1200, "image")
    ('1 seed', '1,200 images')
    """
    return f"{value:,} {what}{'' if value == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names, at least one, as they stand in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def literal(value: Any) -> str:
    """A field of a config, as a person writes it.

    >>> literal([1200, 200]), literal(None), literal(0.1), literal(True)
    ('1200, 200', '–', '0.1', 'yes')
    """
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(literal, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A quantity as it was measured: over several seeds, or once with its interval.

    Attributes:
      values: one a seed, at least one.
      low: lower end of the 95 % interval of a single value, if it has one.
      high: upper end.

    >>> Estimate((0.98, 0.99)).text(percent)
    '98.5 ± 0.7'
    >>> Estimate((0.9,), 0.596, 0.982).text(percent)
    '90.0 [59.6, 98.2]'
    """

    values: tuple[Number, ...]
    low: Number | None = None
    high: Number | None = None

    @classmethod
    def of(cls, values: Iterable[Number | None]) -> "Estimate | None":
        """Of the values that there are, or None."""
        there = tuple(value for value in values if value is not None)
        return cls(there) if there else None

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """Of a sample over seeds, with n - 1; 0 for one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def band(self) -> tuple[float, float]:
        """Mean ± std of several seeds, else the interval, else nothing wide."""
        if len(self.values) > 1:
            return self.mean - self.std, self.mean + self.std
        if self.low is None or self.high is None:
            return self.mean, self.mean
        return self.low, self.high

    def parts(self, form: Callable[[Number | None], str]) -> tuple[str, str]:
        """The value, and what follows it."""
        if len(self.values) > 1:
            return form(self.mean), f" ± {form(self.std)}"
        if self.low is None:
            return form(self.mean), ""
        return form(self.mean), f" [{form(self.low)}, {form(self.high)}]"

    def text(self, form: Callable[[Number | None], str]) -> str:
        """In one line."""
        return "".join(self.parts(form))

    def html(self, form: Callable[[Number | None], str]) -> Html:
        """With what follows the value in small type."""
        value, rest = self.parts(form)
        return joined(value, element("small", rest) if rest else None)

    def complement(self) -> "Estimate":
        """Of one minus the quantity: errors of accuracies."""
        low, high = self.low, self.high
        return Estimate(
            tuple(1 - value for value in self.values),
            None if high is None else 1 - high,
            None if low is None else 1 - low,
        )

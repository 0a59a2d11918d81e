"""Figures of a comparison, a series an objective; the reference, the first, is bold."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from robustlabels.report import theme
from robustlabels.report.figures import MARKERS, blank, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["costs", "curves", "spread"]

_LONGEST = 22  # letters of a name in a figure
_RATIOS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


@styled
def curves(
    of: Mapping[str, Mapping[str, float]],
    objectives: Sequence[str],
    *,
    xlabel: str,
    percent: bool = False,
    log: bool = False,
) -> "Figure":
    """Accuracy in percent against something that was varied, a line an objective.

    Args:
      of: accuracies by objective, by what was varied as written.
      objectives: all of them, in order.
      xlabel: what was varied.
      percent: whether it is a share, to be shown in percent.
      log: whether on a log scale.
    """
    figure = blank(360, 250)
    axes = figure.subplots()
    for index, name in enumerate(objectives):
        points = sorted((float(Fraction(x)), y) for x, y in of.get(name, {}).items())
        axes.plot(
            [x for x, _ in points],
            [100 * y for _, y in points],
            **_series(index),
            linewidth=1.3 if index else 3.4,
            zorder=2 if index else 3,
            label=name,
        )
    places = {float(Fraction(x)): x for curve in of.values() for x in curve}
    if percent:
        places = {place: f"{100 * place:g} %" for place in places}
    if log:
        axes.set_xscale("log")
        axes.minorticks_off()
    _ticks(axes, places, log=log)
    axes.set(xlabel=xlabel, ylabel="accuracy, %")
    return figure


def _series(index: int) -> dict[str, Any]:
    """Colour and marker, as in the legend."""
    return {
        "color": theme.colour(theme.series(index)),
        "marker": MARKERS[index // theme.SERIES % len(MARKERS)],
        "markersize": 4.5 if index else 7,
    }


def _ticks(axes: "Axes", places: Mapping[float, str], *, log: bool) -> None:
    """A tick at each place, labelled where there is room."""
    ordered = np.array(sorted(places))
    along = np.log10(ordered) if log else ordered
    room = 0.11 * np.ptp(along)
    labels, last = [], -np.inf
    for place, at in zip(ordered, along, strict=True):
        labels.append(places[place] if at - last >= room else "")
        last = at if labels[-1] else last
    axes.set_xticks(ordered, labels)


@styled
def costs(
    points: Mapping[str, tuple[float, float]],
    objectives: Sequence[str],
    *,
    ylabel: str,
) -> "Figure":
    """A benefit against training time, a named point an objective.

    Names stand beside the axes, in the order of their points; long ones are cut.

    Args:
      points: by objective, the time as a multiple of the reference's, and the benefit.
      objectives: all of them, in order; the first is the reference.
      ylabel: the benefit.
    """
    beside = 16 + 5.4 * min(_LONGEST, max(map(len, points)))
    width = 46 + 220 + beside
    figure = blank(width, 280)
    figure.subplots_adjust(right=1 - beside / width)
    axes = figure.subplots()
    times, benefits = np.array(list(points.values())).T
    pad = 0.08 * np.ptp(benefits) or 1.0
    low, high = min(benefits) - pad, max(benefits) + pad
    rule, muted = theme.colour("rule"), theme.colour("muted")
    if objectives[0] in points:
        time, benefit = points[objectives[0]]
        axes.axvline(time, color=muted, dashes=(4, 3), linewidth=1)
        axes.axhline(benefit, color=muted, dashes=(4, 3), linewidth=1)
    ordered = sorted(points, key=lambda name: points[name][1])
    shares = [(points[name][1] - low) / (high - low) for name in ordered]
    for name, place in zip(ordered, spread(shares, gap=0.06), strict=True):
        axes.plot(*points[name], **_series(objectives.index(name)), zorder=3)
        axes.annotate(
            name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…",
            points[name],
            (1.04, place),
            textcoords="axes fraction",
            fontsize=9,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": rule,
                "linewidth": 1,
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 5,
            },
        )
    if max(times) > 4 * min(times):
        axes.set_xscale("log")
        axes.minorticks_off()
        there = [r for r in _RATIOS if min(times) / 1.2 <= r <= max(times) * 1.2]
        axes.set_xticks(there, [f"{ratio:g}" for ratio in there])
    axes.set(
        xlabel="training time, relative to the reference",
        ylabel=ylabel,
        ylim=(low, high),
    )
    return figure


def spread(places: Sequence[float], *, gap: float) -> list[float]:
    """Places between 0 and 1, ascending, moved until they are a gap apart.

    >>> [round(place, 2) for place in spread([0.2, 0.21, 0.99, 1.0], gap=0.1)]
    [0.2, 0.3, 0.9, 1.0]
    """
    gap = min(gap, 1 / len(places))
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    limit = 1.0
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    return moved

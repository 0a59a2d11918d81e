"""Figures from plain numbers, in the colours of the theme."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from robustlabels.report import theme
from robustlabels.report.formats import Estimate, Number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Line",
    "Strip",
    "blank",
    "confidence",
    "efficiency",
    "epsilons",
    "features",
    "reliability",
    "robustness",
    "styled",
    "training",
]

MARKERS = "osD^vP"
_MOST_NAMED = 20


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve: name, place among the series, estimates by epsilon as written."""

    name: str
    index: int
    clean: Estimate | None
    curve: Mapping[str, Estimate]


@dataclasses.dataclass(frozen=True)
class Strip:
    """A histogram of confidences over [0, 1]: of what, and its place in the series."""

    name: str
    index: int
    edges: Sequence[Number]
    counts: Sequence[Number] | np.ndarray
    median: Number | None


def styled(draw: Callable[..., "Figure"]) -> Callable[..., "Figure"]:
    """A function that draws, in the style of the theme."""

    @functools.wraps(draw)
    def styled(*args: Any, **kwargs: Any) -> "Figure":
        with theme.style():
            return draw(*args, **kwargs)

    return styled


def blank(
    width: Number, height: Number, left: Number = 46, bottom: Number = 40
) -> "Figure":
    """A figure of so many points, with margins of so many."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.subplots_adjust(
        left=left / width, bottom=bottom / height, right=1 - 12 / width
    )
    figure.subplots_adjust(top=1 - 10 / height)
    return figure


@styled
def robustness(lines: Sequence[Line]) -> "Figure":
    """Accuracy in percent against epsilon, the clean accuracy as a dashed line.

    Args:
      lines: of epsilons that can be compared.
    """
    figure = blank(360, 250)
    axes = figure.subplots()
    written = sorted({e for line in lines for e in line.curve}, key=Fraction)
    one_clean = len({line.clean for line in lines}) == 1
    for line in lines:
        points = [(float(Fraction(e)), value) for e, value in line.curve.items()]
        paint = theme.colour(theme.series(line.index))
        if line.clean is not None:
            points.insert(0, (0.0, line.clean))
            dash = theme.colour("muted") if one_clean else paint
            axes.axhline(100 * line.clean.mean, color=dash, dashes=(4, 3), linewidth=1)
        x = [epsilon for epsilon, _ in points]
        axes.fill_between(
            x,
            [100 * value.band[0] for _, value in points],
            [100 * value.band[1] for _, value in points],
            color=paint,
            alpha=0.16,
            linewidth=0,
        )
        axes.plot(
            x,
            [100 * value.mean for _, value in points],
            color=paint,
            marker=MARKERS[line.index // theme.SERIES % len(MARKERS)],
            label=line.name,
        )
    _epsilon_ticks(axes, written)
    axes.set(xlabel="epsilon", ylabel="accuracy, %", ylim=(-3, 103))
    axes.set_yticks(range(0, 101, 20))
    return figure


def _epsilon_ticks(axes: "Axes", written: Sequence[str]) -> None:
    """Ticks at the epsilons as written, labelled where there is room."""
    values = {epsilon: float(Fraction(epsilon)) for epsilon in written}
    room = max(values.values(), default=1.0) * 0.11
    labels, last = [], 0.0
    for epsilon, value in values.items():
        labels.append(epsilon if value - last >= room else "")
        last = value if labels[-1] else last
    axes.set_xticks([0.0, *values.values()], ["0", *labels])


@styled
def confidence(strips: Sequence[Strip]) -> "Figure":
    """Histograms of confidence above each other, each as tall as its tallest bar.

    Args:
      strips: from top to bottom.
    """
    figure = blank(360, 62 * len(strips) + 46, left=12)
    axes = figure.subplots()
    for place, strip in enumerate(reversed(strips)):
        paint = theme.colour(theme.series(strip.index))
        shares = np.asarray(strip.counts) / max(1, np.max(strip.counts))
        axes.stairs(
            place + 0.66 * shares,
            strip.edges,
            baseline=place,
            fill=True,
            color=paint,
            alpha=0.75,
        )
        axes.axhline(place, color=theme.colour("rule"), linewidth=1)
        axes.text(0, place + 0.76, strip.name)
        median = f"median {percent(strip.median)} %"
        muted = theme.colour("muted")
        axes.text(1, place + 0.76, median, ha="right", fontsize=9, color=muted)
        if strip.median is not None:
            ink = theme.colour("ink")
            axes.vlines(strip.median, place, place + 0.68, color=ink, linewidth=1.5)
    axes.set(xlim=(0, 1), ylim=(0, len(strips)), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.set_xticks(np.linspace(0, 1, 6), [f"{p} %" for p in range(0, 101, 20)])
    axes.set_xlabel("confidence of the decision")
    return figure


@styled
def reliability(
    edges: Sequence[Number],
    counts: np.ndarray,
    confidence: np.ndarray,
    accuracy: np.ndarray,
) -> "Figure":
    """Accuracy and confidence, bin by bin, the gap between them coloured; counts below.

    Args:
      edges: of the bins.
      counts: examples in each.
      confidence: their mean confidence; not a number where there are none.
      accuracy: the share that is decided correctly.
    """
    figure = blank(360, 330)
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    figure.subplots_adjust(hspace=0.12)
    sure, right = 100 * np.asarray(confidence), 100 * np.asarray(accuracy)
    least = np.minimum(sure, right)
    top.stairs(least, edges, fill=True, color=theme.colour("series-1"), alpha=0.8)
    gaps = (("too sure", sure, "series-2"), ("not sure enough", right, "series-3"))
    for name, most, paint in gaps:
        gap = np.where(most > least, most, np.nan)
        top.stairs(
            gap,
            edges,
            baseline=np.where(np.isnan(gap), np.nan, least),
            fill=True,
            color=theme.colour(paint),
            label=name,
        )
    muted = theme.colour("muted")
    top.plot([0, 1], [0, 100], color=muted, dashes=(4, 3), linewidth=1)
    top.set(ylabel="accuracy, %", ylim=(0, 101), xlim=(0, 1))
    bottom.stairs(counts, edges, fill=True, color=muted, alpha=0.6)
    bottom.set(ylabel="count", xlabel="confidence of the decision")
    bottom.set_yticks([0, int(max(counts, default=1))])
    bottom.set_xticks(np.linspace(0, 1, 6), [f"{p} %" for p in range(0, 101, 20)])
    return figure


@styled
def epsilons(metrics: Mapping[int, Sequence[Mapping[str, Any]]]) -> "Figure":
    """The learned ε of each class by epoch, a thin line each; the mean is thick.

    Args:
      metrics: lines of each seed, an epoch a line, with "epsilon" and "epsilon_mean".
    """
    figure = blank(360, 220, left=52)
    axes = figure.subplots()
    for number, (seed, lines) in enumerate(metrics.items()):
        epochs = [line["epoch"] for line in lines]
        paint = theme.colour(theme.series(number))
        each = [line["epsilon"] for line in lines]
        axes.plot(epochs, each, color=paint, linewidth=0.6, alpha=0.5)
        mean = [line["epsilon_mean"] for line in lines]
        axes.plot(epochs, mean, color=paint, linewidth=2.2, label=f"seed {seed}")
    most = max(max(line["epsilon"]) for lines in metrics.values() for line in lines)
    axes.set(xlabel="epoch", ylabel="ε", ylim=(0, 1.08 * most or 1))
    axes.locator_params(axis="x", integer=True)
    return figure


@styled
def efficiency(curves: Sequence[Mapping[float, Estimate]]) -> "Figure":
    """Accuracy in percent against the share of the training images, on a log scale.

    Args:
      curves: estimates by share, a curve a series.
    """
    figure = blank(360, 250)
    axes = figure.subplots()
    for index, curve in enumerate(curves):
        paint = theme.colour(theme.series(index))
        shares = [100 * share for share in curve]
        bands = 100 * np.array([value.band for value in curve.values()])
        low, high = bands.T
        axes.fill_between(shares, low, high, color=paint, alpha=0.16, linewidth=0)
        marker = MARKERS[index // theme.SERIES % len(MARKERS)]
        means = [100 * value.mean for value in curve.values()]
        axes.plot(shares, means, marker=marker, color=paint)
    ticks = sorted({100 * share for curve in curves for share in curve})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g} %" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="share of the training images", ylabel="accuracy, %")
    return figure


@styled
def features(
    points: Float[np.ndarray, "n 2"], classes: Int[np.ndarray, " n"]
) -> "Figure":
    """Points in the colour of their class, whose number stands at their middle.

    Args:
      points: places.
      classes: of each.
    """
    figure = blank(300, 300, left=12, bottom=12)
    axes = figure.subplots()
    for index, which in enumerate(np.unique(classes)):
        own = points[classes == which]
        paint = theme.colour(theme.series(index))
        marker = MARKERS[index // theme.SERIES % len(MARKERS)]
        axes.scatter(*own.T, s=9, marker=marker, color=paint, alpha=0.75, linewidths=0)
    for which in np.unique(classes)[:_MOST_NAMED]:
        x, y = np.median(points[classes == which], axis=0)
        axes.text(x, y, str(which), ha="center", va="center", fontsize=11)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure


@styled
def training(
    metrics: Mapping[int, Sequence[Mapping[str, Any]]], best: Mapping[int, int]
) -> "Figure":
    """Losses above, validation error below, a thin line a seed, the best epoch a dot.

    Args:
      metrics: lines of each seed, an epoch a line.
      best: the epoch that was kept, by seed.
    """
    figure = blank(360, 320, left=52)
    losses, errors = figure.subplots(2, sharex=True)
    figure.subplots_adjust(hspace=0.14)
    thin = 1.8 if len(metrics) == 1 else 0.9
    shown = (
        (losses, "train_loss", "series-2", "training", 1.0),
        (losses, "validation_loss", "series-1", "validation", 1.0),
        (errors, "validation_error", "series-1", "validation", 100.0),
    )
    for number, (seed, lines) in enumerate(metrics.items()):
        epochs = [line["epoch"] for line in lines]
        for axes, field, paint, name, scale in shown:
            axes.plot(
                epochs,
                [scale * line.get(field, np.nan) for line in lines],
                color=theme.colour(paint),
                linewidth=thin,
                label=None if number else name,
            )
        kept = [line for line in lines if line["epoch"] == best.get(seed)]
        errors.plot(
            [line["epoch"] for line in kept],
            [100 * line.get("validation_error", np.nan) for line in kept],
            "o",
            color=theme.colour("ink"),
            markersize=5,
            label=None if number else "best epoch",
        )
    losses.set_ylabel("loss")
    errors.set(ylabel="validation error, %", xlabel="epoch")
    errors.set_ylim(bottom=0)
    return figure

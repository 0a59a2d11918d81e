"""Class against class, as a grid of colours."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from robustlabels.report import theme
from robustlabels.report.figures import blank, styled
from robustlabels.report.formats import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion", "mixing"]

_DIGITS_UP_TO = 20


@styled
def confusion(matrix: np.ndarray, names: Sequence[str]) -> "Figure":
    """True classes against decisions; the share of each row is the strength of colour.

    Args:
      matrix: counts, rows are true classes and columns decisions.
      names: of the classes.
    """
    size = len(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = np.eye(size, dtype=bool)
    rgba = np.zeros((size, size, 4))
    rgba[right, :3] = _rgb("series-1")
    rgba[~right, :3] = _rgb("series-2")
    # Errors are rare: the root makes one in a hundred visible.
    seen = (share > 0) * (0.12 + 0.7 * np.sqrt(share))
    rgba[..., 3] = np.where(right, 0.55 * share, seen)
    written = [[str(n) if n else "" for n in row] for row in matrix]
    return _class_grid(rgba, written, names, xlabel="decision", ylabel="true class")


@styled
def mixing(matrix: np.ndarray, names: Sequence[str]) -> "Figure":
    """How each class shares among the others, in percent; the diagonal is grey.

    Blue is more than an equal share among the others, orange less.

    Args:
      matrix: not negative, rows are shared out.
      names: of the classes.
    """
    size = len(matrix)
    own = np.eye(size, dtype=bool)
    others = np.where(own, 0.0, matrix)
    fair = others.sum(axis=1, keepdims=True) / (size - 1)
    excess = np.where(own, 0.0, others / np.where(fair > 0, fair, 1.0) - 1.0)
    rgba = np.zeros((size, size, 4))
    rgba[excess > 0, :3] = _rgb("series-1")
    rgba[excess < 0, :3] = _rgb("series-2")
    # Below a twentieth more or less, what is shown is as good as an equal share.
    rgba[..., 3] = 0.75 * abs(excess) / max(0.05, abs(excess).max())
    rgba[own] = (*_rgb("muted"), 0.12)
    rgba[(fair[:, 0] == 0)[:, None] & ~own, 3] = 0.0
    written = [
        [percent(float(share)) if share else "" for share in row] for row in matrix
    ]
    return _class_grid(rgba, written, names, xlabel="gets", ylabel="class")


def _class_grid(
    rgba: np.ndarray,
    written: Sequence[Sequence[str]],
    names: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
) -> "Figure":
    """A coloured cell for each pair of classes, with text where there is room."""
    size = len(rgba)
    shown = [name if len(name) <= 12 else name[:11] + "…" for name in names]
    margin = 24 + 5.5 * max(map(len, shown), default=1)
    figure = blank(360 + margin, 360 + margin, left=margin, bottom=margin)
    axes = figure.subplots()
    axes.imshow(rgba, interpolation="none", aspect="equal")
    axes.grid(visible=False)
    if size <= _DIGITS_UP_TO:
        centred = {"ha": "center", "va": "center", "fontsize": 9}
        for row, texts in enumerate(written):
            for column, text in enumerate(texts):
                axes.text(column, row, text, **centred)
    stride = -(-size // _DIGITS_UP_TO)
    ticks = range(0, size, stride)
    axes.set_xticks(ticks, [shown[tick] for tick in ticks], rotation=90, fontsize=9)
    axes.set_yticks(ticks, [shown[tick] for tick in ticks], fontsize=9)
    axes.tick_params(length=0)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure


def _rgb(name: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(theme.colour(name))

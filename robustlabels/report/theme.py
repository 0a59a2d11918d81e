"""Colours for light and dark, and figures whose colours follow the page.

Figures are drawn in the light colours. In the page each of them becomes a variable that
the theme sets; as a PNG the figure stays as it was drawn.
"""

import io
import pathlib
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from robustlabels.report.html import Html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SERIES", "colour", "save_png", "series", "style", "to_svg", "variables"]

# The series are after Okabe and Ito, made to stand out from both papers.
_COLOURS = {
    "paper": ("#ffffff", "#15181d"),
    "surface": ("#f5f6f8", "#1e2229"),
    "ink": ("#1c2430", "#e4e8ee"),
    "muted": ("#5a6675", "#a1acba"),
    "rule": ("#d3d9e0", "#39414c"),
    "link": ("#0a5fa8", "#7cbcf5"),
    "warn": ("#a34700", "#f5ab62"),
    "series-1": ("#0069b4", "#5fb0f2"),
    "series-2": ("#c45508", "#f39a4d"),
    "series-3": ("#00805f", "#3fcb9f"),
    "series-4": ("#a8438b", "#e795cb"),
    "series-5": ("#7a6200", "#dfc83f"),
    "series-6": ("#5b4bc4", "#a99bff"),
}
SERIES = sum(name.startswith("series") for name in _COLOURS)


def colour(name: str) -> str:
    """The light colour of a name.

    >>> colour("paper")
    '#ffffff'
    """
    return _COLOURS[name][0]


def series(index: int) -> str:
    """The name of the colour of a series; they repeat.

    >>> series(0), series(6)
    ('series-1', 'series-1')
    """
    return f"series-{index % SERIES + 1}"


def variables() -> str:
    """The colours as variables of CSS.

    >>> variables().split("; ")[0]
    '--paper: light-dark(#ffffff, #15181d)'
    """
    return "; ".join(
        f"--{name}: light-dark({light}, {dark})"
        for name, (light, dark) in _COLOURS.items()
    )


def style() -> AbstractContextManager[None]:
    """The settings that figures are drawn with, for as long as the context lasts."""
    import matplotlib

    ink, muted, rule = colour("ink"), colour("muted"), colour("rule")
    return matplotlib.rc_context(
        {
            "font.size": 10,
            "text.color": ink,
            "text.parse_math": False,
            "axes.edgecolor": rule,
            "axes.labelcolor": muted,
            "axes.linewidth": 1,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": rule,
            "grid.alpha": 0.6,
            "grid.linewidth": 0.7,
            "xtick.bottom": False,
            "ytick.left": False,
            "xtick.labelcolor": muted,
            "ytick.labelcolor": muted,
            "lines.linewidth": 1.8,
            "lines.markersize": 4.5,
            "legend.frameon": False,
            "svg.fonttype": "none",
        }
    )


def to_svg(figure: "Figure", identity: str, alt: str) -> Html:
    """A figure as inline SVG.

    Args:
      figure: drawn in colours of `colour`.
      identity: another one for every figure of a page.
      alt: what it shows, for who cannot see it.

    Guarantees: no id of one identity is an id of another; no colour, font or style
    reaches beyond the figure.
    """
    from robustlabels.report.html import element

    written = io.StringIO()
    with style():
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    text = written.getvalue()
    text = text[text.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    body = text[text.index(">") + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    # Groups have ids that nobody refers to; the others differ from day to day.
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    numbers = {name: n for n, name in enumerate(re.findall(r' id="([^"]*)"', body))}
    body = re.sub(
        r'( id="|url\(#|href="#)([^")]*)',
        lambda found: found[1] + _renamed(found[2], identity, numbers),
        body,
    )
    body = re.sub(r'style="[^"]*"', lambda found: _themed(found[0]), body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    # The attributes of a plot are numbers, names of ours and escaped text.
    return element(
        "svg",
        Html(body),
        **{"viewBox": box.group()[9:-1], "xmlns:xlink": "http://www.w3.org/1999/xlink"},
        role="img",
        aria_label=alt,
    )


def _renamed(name: str, identity: str, numbers: Mapping[str, int]) -> str:
    return f"{identity}-{numbers[name]}" if name in numbers else name


def _themed(css: str) -> str:
    """A style with the font and the colours of the page."""
    css = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 var(--font)", css)
    for name in _COLOURS:
        css = css.replace(colour(name), f"var(--{name})")
    return css


def save_png(figure: "Figure", title: str, path: pathlib.Path) -> None:
    """Writes a figure with its title and legend, in light colours.

    Args:
      figure: drawn in colours of `colour`.
      title: stands above.
      path: where to.
    """
    with style():
        figure.suptitle(title, fontsize=11, y=1.0, va="bottom")
        for axes in figure.axes:
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=8)
        figure.savefig(path, format="png", dpi=180, bbox_inches="tight")

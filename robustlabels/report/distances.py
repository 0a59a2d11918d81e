"""How far the nearest adversarial images are that a search found."""

import pathlib
from collections.abc import Callable, Sequence

from robustlabels.report.formats import NOTHING, Estimate, Number, number, percent
from robustlabels.report.html import Html, breakable, element
from robustlabels.report.runs import Run
from robustlabels.report.sections import Section, figure, paths
from robustlabels.report.tables import table

__all__ = ["distances"]

_NORMS = {"l2": "L2", "linf": "L∞", "rms": "RMS"}
_FIGURES = ("median", "mean")


def distances(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """A table of the medians and means, a run and search a row.

    Args:
      runs: those of the page.
      page: where the page will be.
    """
    rows, sources = [], []
    for run in runs:
        for (attack, loss), found in run.by_attack("minimum_distortion").items():
            name = attack if loss == "none" else f"{attack}, {loss}"
            values = [f.content.values for f in found]
            shares = [
                v["found"] / f.content.n
                for v, f in zip(values, found, strict=True)
                if f.content.n
            ]
            cells = [element("th", breakable(run.name), scope="row")]
            cells.append(element("td", name))
            cells.append(_cell(Estimate.of(shares), percent))
            for norm in _NORMS:
                for what in _FIGURES:
                    of_seeds = [(v[norm] or {}).get(what) for v in values]
                    cells.append(_cell(Estimate.of(of_seeds), number))
            rows.append(cells)
            sources += paths(found)
    if not rows:
        return None
    titles = [f"{norm}, {what}" for norm in _NORMS.values() for what in _FIGURES]
    head = [element("th", title, scope="col") for title in ("run", "search")]
    head += [
        element("th", title, scope="col", class_="number")
        for title in ("found, %", *titles)
    ]
    caption = (
        "How far the nearest images are that a search found and that are decided "
        "wrongly, of those that are right when clean: in pixels of [0, 1], RMS as in "
        "Szegedy et al. (2014). Larger is more robust, if the search is good: compare "
        "searches of one run, of which the smallest distance counts."
    )
    body = figure(table([head], rows, "distances by run"), caption, sources, page)
    return Section("distances", "The nearest adversarial images", body)


def _cell(value: Estimate | None, form: Callable[[Number | None], str]) -> Html:
    text = NOTHING if value is None else value.html(form)
    return element("td", text, class_="number")

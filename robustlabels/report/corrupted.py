"""Accuracy under common corruptions: a table a run, shaded."""

import pathlib
from collections.abc import Sequence

from robustlabels.report.formats import Estimate, percent
from robustlabels.report.html import Html, breakable, element
from robustlabels.report.runs import Run, Sourced
from robustlabels.report.sections import Section, figure, paths
from robustlabels.report.tables import table

__all__ = ["corruptions"]


def corruptions(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Accuracy by corruption and severity, a table a run.

    Args:
      runs: those of the page.
      page: where the page will be.
    """
    shown, sources = [], []
    for run in runs:
        found = run.found("corruptions")
        if found:
            name = element("h4", breakable(run.name)) if len(runs) > 1 else None
            shown.append(element("div", name, _table(found)))
            sources += paths(found)
    if not shown:
        return None
    caption = (
        "Accuracy in percent under the fifteen common corruptions of Hendrycks & "
        "Dietterich (2019) at five severities, and the mean over all; the darker, the "
        "higher. Frost is a computed texture, so that its row compares runs with each "
        "other and not with published figures."
    )
    body = figure(element("div", shown, class_="grids"), caption, sources, page)
    return Section("corruptions", "Common corruptions", body)


def _table(found: Sequence[Sourced]) -> Html:
    values = [each.content.values for each in found]
    severities = found[0].content.parameters["severities"]
    head = [element("th", "corruption", scope="col")]
    head += [element("th", s, scope="col", class_="number") for s in severities]
    head.append(element("th", "mean", scope="col", class_="number"))
    rows = []
    for name in values[0]["accuracy"]:
        of_seeds = [value["accuracy"][name] for value in values]
        cells = [Estimate.of(at) for at in zip(*of_seeds, strict=True)]
        cells.append(Estimate.of(sum(row) / len(row) for row in of_seeds))
        title = element("th", name.replace("_", " "), scope="row")
        rows.append([title, *map(_cell, cells)])
    nothing = [element("td", "")] * len(severities)
    mean = _cell(Estimate.of(value["mean"] for value in values))
    rows.append([element("th", "all", scope="row"), *nothing, mean])
    return table([head], rows, "accuracy by corruption and severity")


def _cell(value: Estimate | None) -> Html:
    assert value is not None
    share = f"--share:{value.mean:.3f}"
    return element("td", value.html(percent), class_="number heat", style=share)

"""The page of a comparison: the verdict first, then every cell, then the curves."""

import itertools
import pathlib
from collections.abc import Mapping
from typing import Any

from robustlabels._files import whole
from robustlabels.comparison import drawings
from robustlabels.comparison.exports import (
    change,
    direction,
    legend,
    missing,
    written,
)
from robustlabels.comparison.table import Question, Table
from robustlabels.report import sections, tables
from robustlabels.report.formats import NOTHING, count, literal, number, percent
from robustlabels.report.html import Html, breakable, element, href, joined
from robustlabels.report.page import fill
from robustlabels.report.sections import Section, figure, panels

__all__ = ["write_page"]


def write_page(table: Table, folder: pathlib.Path) -> pathlib.Path:
    """Writes report.html into the folder of a comparison, whole or not at all.

    Args:
      table: what was found.
      folder: of the comparison; the folders of its runs are relative to it.

    Returns:
      The file.

    Guarantees: the same table gives the same page; the page asks for nothing else.
    """
    page = folder / "report.html"
    parts = [
        _first(table),
        _cells(table, page),
        _robustness(table, page),
        _efficiency(table, page),
        _swapped(table, page),
        _costs(table, page),
        _hidden(table),
        _tuned(table),
    ]
    objectives = count(len(table.objectives), "objective")
    lead = f"{objectives} on {table.data}, compared with {table.reference}"
    text = fill("Comparison", lead, [part for part in parts if part is not None])
    with whole(page) as file:
        file.write(text.encode())
    return page


def _first(table: Table) -> Section:
    said = element("ul", [element("li", sentence) for sentence in table.verdict])
    gaps = [
        entry
        for of in table.entries.values()
        for entry in of.values()
        if entry.value is None
    ]
    cells = len(table.objectives) * len(table.questions)
    facts = {
        "data": table.data,
        "objectives": len(table.objectives),
        "reference": table.reference,
        "questions": len(table.questions),
        "seeds": table.num_seeds,
        "cells without a value": f"{len(gaps)} of {cells}" if gaps else "none",
        "runs that are not there yet": table.num_missing or "none",
    }
    body = joined(element("div", said, class_="callout calm"), _list(facts))
    return Section("first", "Read this first", body)


def _list(said: Mapping[str, Any]) -> Html:
    terms = [
        element("div", element("dt", name), element("dd", value))
        for name, value in said.items()
    ]
    return element("dl", terms, class_="facts")


def _cells(table: Table, page: pathlib.Path) -> Section:
    groups = itertools.groupby(table.questions, key=lambda question: question.group)
    first = [element("th", "objective", scope="col", rowspan=2)]
    first += [
        element("th", name, colspan=len(list(of)), scope="colgroup", class_="group")
        for name, of in groups
    ]
    second = [_head(question) for question in table.questions]
    largest = {q.name: _largest(table, q) for q in table.questions}
    rows = []
    for objective in table.objectives:
        marked = " reference" if objective == table.reference else None
        name = [breakable(objective), element("small", marked) if marked else None]
        cells = [
            _cell(table, objective, question, largest[question.name], page)
            for question in table.questions
        ]
        rows.append([element("th", name, scope="row", class_="objective"), *cells])
    label = "every objective's answer to every question"
    shown = tables.table([first, second], rows, label, class_="results")
    told = _list({joined(q.name, " ", _way(q)): q.meaning for q in table.questions})
    gaps = [element("li", line) for line in missing(table)]
    why = element("summary", f"Why {NOTHING}: what is missing")
    folded = element("details", why, element("ul", gaps)) if gaps else None
    caption = (
        f"{legend(table, 'Bold')} In small type: the difference from "
        f"{table.reference} with its interval, in percentage points for shares. Blue "
        "is significantly better, orange worse; the colour is as strong as the "
        "difference, relative to the largest significant one of its column. A value "
        "leads to the page of its run. Below the table: what each question means."
    )
    content = joined(shown, told, folded)
    sources = _behind(table, page, *(question.group for question in table.questions))
    body = figure(content, caption, sources, page)
    return Section("table", "Every objective, every question", body)


def _head(question: Question) -> Html:
    return element(
        "th",
        question.name,
        _way(question),
        scope="col",
        class_="number question",
        title=question.meaning or None,
    )


def _way(question: Question) -> Html:
    return element("span", direction(question), class_="direction")


def _largest(table: Table, question: Question) -> float:
    """Of the significant differences of a question, the largest."""
    entries = [table.entries[name][question.name] for name in table.objectives]
    return max((abs(e.difference or 0) for e in entries if e.significant), default=0.0)


def _cell(
    table: Table, objective: str, question: Question, largest: float, page: pathlib.Path
) -> Html:
    entry = table.entries[objective][question.name]
    shown: Html | str = written(entry.value, question)
    if entry.value is None:
        return element("td", shown, class_="none", title=entry.missing)
    if entry.folder:
        run = page.parent / entry.folder / "report.html"
        shown = element("a", shown, href=href(run, page))
    small = element("small", said) if (said := change(entry, question)) else None
    better = table.better(objective, question)
    if not entry.significant or better is None:
        return element("td", shown, small, class_="number")
    word = "better" if better else "worse"
    return element(
        "td",
        element("b", shown),
        element("span", f" ({word})", class_="unseen"),
        small,
        class_=f"number heat {word}",
        style=f"--share:{abs(entry.difference or 0) / largest:.3f}",
    )


def _behind(table: Table, page: pathlib.Path, *groups: str) -> list[pathlib.Path]:
    """The pages of the runs that answer the questions of some groups."""
    folders = [
        table.entries[objective][question.name].folder
        for objective in table.objectives
        for question in table.questions
        if question.group in groups
    ]
    return [page.parent / name / "report.html" for name in folders if name]


def _robustness(table: Table, page: pathlib.Path) -> Section | None:
    caption = (
        "Share of images that are still decided correctly as attacks may change them "
        "more: of all attacks and losses the worst for each image. Higher is better."
    )
    return _curves(
        table,
        page,
        table.curves,
        "robustness",
        "Robustness curves",
        caption,
        group="attack",
        xlabel="epsilon",
    )


def _efficiency(table: Table, page: pathlib.Path) -> Section | None:
    caption = (
        "Accuracy on clean test images against the share of the training images that "
        "was used."
    )
    return _curves(
        table,
        page,
        table.shares,
        "efficiency",
        "Accuracy and training images",
        caption,
        group="data",
        xlabel="share of the training images",
        percent=True,
        log=True,
    )


def _swapped(table: Table, page: pathlib.Path) -> Section | None:
    caption = (
        "Accuracy on clean test images against the share of the training labels that "
        "was swapped for wrong ones."
    )
    return _curves(
        table,
        page,
        table.swapped,
        "swapped",
        "Accuracy and swapped labels",
        caption,
        group="noise",
        xlabel="share of swapped labels",
        percent=True,
    )


def _curves(
    table: Table,
    page: pathlib.Path,
    of: Mapping[str, Mapping[str, float]],
    identity: str,
    title: str,
    caption: str,
    *,
    group: str,
    **axis: Any,
) -> Section | None:
    """Lines in one figure; None without one that has two points."""
    if all(len(curve) < 2 for curve in of.values()):
        return None
    spoken = "; ".join(
        f"{name} " + ", ".join(f"{percent(y)} % at {x}" for x, y in curve.items())
        for name, curve in of.items()
    )
    drawing = drawings.curves(of, table.objectives, **axis)
    body = joined(
        sections.legend(_named(table)),
        panels(identity, [(title, spoken, drawing)], titles=False),
    )
    caption = f"{caption} Mean over seeds. Bold: {table.reference}, the reference."
    sources = _behind(table, page, group)
    return Section(identity, title, figure(body, caption, sources, page))


def _named(table: Table) -> list[str]:
    return [
        f"{name} (reference)" if name == table.reference else name
        for name in table.objectives
    ]


def _costs(table: Table, page: pathlib.Path) -> Section | None:
    of_time = [
        question
        for question in table.questions
        if question.group == "cost" and question.name.startswith("training time")
    ]
    areas = [
        question
        for question in table.questions
        if question.group == "attack" and question.name.startswith("robust area")
    ]
    drawn = []
    for time, area in itertools.product(of_time[:1], areas):
        points = _points(table, time, area)
        if points:
            spoken = "; ".join(
                f"{name} {number(x)} times as long, {number(y)}"
                for name, (x, y) in points.items()
            )
            unit = area.unit.strip()
            ylabel = f"{area.name}, {unit}" if unit else area.name
            drawing = drawings.costs(points, table.objectives, ylabel=ylabel)
            drawn.append((area.name, spoken, drawing))
    if not drawn:
        return None
    caption = (
        "What robustness costs: the area under the robustness curve against the time "
        f"of training, as a multiple of that of {table.reference}, where the dashed "
        "lines cross. Higher is better, and so is further to the left."
    )
    sources = _behind(table, page, "attack", "cost")
    body = joined(
        sections.legend(_named(table)), panels("costs", drawn, titles=len(drawn) > 1)
    )
    return Section("costs", "Cost and benefit", figure(body, caption, sources, page))


def _points(
    table: Table, time: Question, area: Question
) -> dict[str, tuple[float, float]]:
    """Time relative to the reference, and the area, where there are both."""
    base = table.entries[table.reference][time.name].value
    points = {}
    for name in table.objectives:
        taken = table.entries[name][time.name].value
        found = table.entries[name][area.name].value
        if base and taken is not None and found is not None:
            points[name] = (taken / base, found * (100 if area.unit == "%" else 1))
    return points


def _hidden(table: Table) -> Section | None:
    if not table.hidden:
        return None
    rows = []
    for name, found in table.hidden.items():
        said = ", ".join(sign.replace("_", " ") for sign in found)
        cell = element("td", said or "none", class_="yes" if said else "no")
        rows.append([element("th", breakable(name), scope="row"), cell])
    head = [element("th", title, scope="col") for title in ("objective", "signs")]
    shown = tables.table([head], rows, "signs of hidden gradients by objective")
    caption = (
        "Signs that attacks fail because gradients mislead them, and not because the "
        "decisions are robust. Where there is one, what stands under attack is an "
        "upper bound. The page of the run says more."
    )
    body = element("figure", shown, element("figcaption", element("p", caption)))
    return Section("signs", "Hidden gradients", body)


def _tuned(table: Table) -> Section | None:
    chosen = {name: fields for name, fields in table.tuned.items() if fields}
    columns = list(dict.fromkeys(field for of in chosen.values() for field in of))
    if not columns:
        return None
    head = [element("th", "objective", scope="col")]
    head += [element("th", breakable(field), scope="col") for field in columns]
    rows = [
        [
            element("th", breakable(name), scope="row"),
            *(element("td", literal(of.get(field))) for field in columns),
        ]
        for name, of in chosen.items()
    ]
    shown = tables.table([head], rows, "what was chosen for each objective")
    caption = (
        "What was chosen on validation data for each objective, and what that took. A "
        f"dash ({NOTHING}) stands for what an objective does not have."
    )
    body = element("figure", shown, element("figcaption", element("p", caption)))
    return Section("tuned", "What was tuned", body)

"""Tables of results: a row a run, the best value of a column marked."""

import dataclasses
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from robustlabels.report.formats import (
    NOTHING,
    Estimate,
    Number,
    listed,
    literal,
    number,
    percent,
)
from robustlabels.report.html import Html, breakable, element, joined
from robustlabels.report.pooled import medians
from robustlabels.report.robustness import Attacked, clean_accuracy, estimate
from robustlabels.report.runs import Run

__all__ = [
    "Column",
    "accuracy_columns",
    "attack_table",
    "calibration_columns",
    "fallen_table",
    "grid",
    "results",
    "scrolling",
    "table",
    "varied",
]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of results.

    Attributes:
      group: what stands above several columns.
      title: of the column.
      of: (run) -> the quantity, None where a run has none.
      form: writes one number.
      better: max or min, where one value is better than another.
    """

    group: str
    title: str
    of: Callable[[Run], Estimate | None]
    form: Callable[[Number | None], str] = percent
    better: Callable[..., Any] | None = None


def accuracy_columns(runs: Sequence[Run], attacked: Attacked) -> list[Column]:
    """Clean accuracies, each attack's worst row by epsilon, and zero gradients."""

    def error(run: Run) -> Estimate | None:
        accuracy = clean_accuracy(run)
        return accuracy.complement() if accuracy else None

    columns = [
        Column("clean, %", "accuracy", clean_accuracy, better=max),
        Column("clean, %", "error", error, better=min),
    ]
    ranks = {
        k for run in runs for f in run.found("clean") for k in f.content.values["top_k"]
    }
    for k in sorted(ranks - {"1"}, key=int):
        of = _of_clean(lambda values, k=k: values["top_k"].get(k))
        columns.append(Column("clean, %", f"top {k}", of, better=max))
    for attack in attacked.attacks:
        for epsilon in attacked.epsilons(attack):

            def worst(run: Run, attack=attack, epsilon=epsilon) -> Estimate | None:
                return estimate(attacked.worst(run, attack, epsilon))

            title = f"ε {epsilon}"
            columns.append(Column(f"{attack}, worst, %", title, worst, better=max))
    for loss in attacked.followed():

        def zero(run: Run, loss=loss) -> Estimate | None:
            return attacked.zero_gradients(run, loss)

        columns.append(Column("zero gradients, %", loss, zero))
    return columns


def calibration_columns() -> list[Column]:
    """Calibration, median confidence on all that was asked, and what it tells apart."""

    def adversarial(run: Run) -> Estimate | None:
        return medians(next(iter(run.by_attack("adversarial").values()), []))

    def of(kind: str) -> Callable[[Run], Estimate | None]:
        return lambda run: medians(run.found(kind))

    def told_apart(run: Run) -> Estimate | None:
        return Estimate.of(f.content.values["auroc"] for f in run.found("left_out"))

    scores = {
        "ECE": "expected_calibration_error",
        "NLL": "negative_log_likelihood",
        "Brier": "brier_score",
    }
    group = "median confidence, %, on"
    return [
        *(
            Column(
                "calibration",
                title,
                _of_clean(lambda values, field=field: values.get(field)),
                number,
                min,
            )
            for title, field in scores.items()
        ),
        Column(group, "test images", of("clean")),
        Column(group, "noise", of("noise"), better=min),
        Column(group, "adversarial", adversarial, better=min),
        Column(group, "fooling", of("fooling"), better=min),
        Column(group, "left-out classes", of("left_out"), better=min),
        Column("left-out classes", "AUROC", told_apart, number, max),
    ]


def _of_clean(get: Callable[[dict], Number | None]) -> Callable[[Run], Estimate | None]:
    return lambda run: Estimate.of(get(f.content.values) for f in run.found("clean"))


def varied(runs: Sequence[Run]) -> list[str]:
    """The keys that sweeps varied, in their order."""
    return list(dict.fromkeys(key for run in runs for key in run.cell))


def results(runs: Sequence[Run], columns: Sequence[Column], label: str) -> Html | None:
    """A table of the columns in which a run has a value; None if none has.

    Args:
      runs: the rows.
      columns: in order; columns of one group stand together.
      label: what the table is, for who cannot see it.
    """
    cells = {column: [column.of(run) for run in runs] for column in columns}
    shown = [column for column in columns if any(cells[column])]
    if not shown:
        return None
    keys = varied(runs)
    rows = []
    for index, run in enumerate(runs):
        row = [element("th", breakable(run.name), scope="row")]
        row += [element("td", literal(run.cell.get(key)), class_="key") for key in keys]
        if run.diverged is not None and not any(cells[c][index] for c in shown):
            gone = element("td", "diverged", colspan=len(shown), class_="diverged")
            rows.append([*row, gone])
            continue
        for column in shown:
            there = [e.mean for e in cells[column] if e is not None]
            value = cells[column][index]
            best = (
                column.better is not None
                and value is not None
                and len(set(there)) > 1
                and value.mean == column.better(there)
            )
            row.append(_cell(value, column.form, best=best))
        rows.append(row)
    groups: dict[str, int] = {}
    for column in shown:
        groups[column.group] = groups.get(column.group, 0) + 1
    first = [element("th", "run", scope="col", rowspan=2)]
    first += [element("th", breakable(k), scope="col", rowspan=2) for k in keys]
    first += [
        element("th", group, colspan=size, scope="colgroup", class_="group")
        for group, size in groups.items()
    ]
    second = [element("th", c.title, scope="col", class_="number") for c in shown]
    return table([first, second], rows, label, class_="results")


def _cell(value: Estimate | None, form: Callable, *, best: bool = False) -> Html:
    if value is None:
        return element("td", NOTHING, class_="none")
    shown = value.html(form)
    if best:
        shown = joined(shown, element("span", " (best)", class_="unseen"))
    return element("td", shown, class_="number best" if best else "number")


def table(
    head: list[list[Html]],
    rows: list[list[Html]],
    label: str,
    class_: str | None = None,
) -> Html:
    """A table that scrolls inside its own box."""
    body = element("tbody", [element("tr", *row) for row in rows])
    thead = element("thead", [element("tr", *row) for row in head])
    return scrolling(element("table", thead, body, class_=class_), label)


def scrolling(content: Html, label: str) -> Html:
    """A box that scrolls by itself, also by keyboard."""
    return element(
        "div", content, class_="scroll", tabindex=0, role="region", aria_label=label
    )


def attack_table(run: Run, attacked: Attacked) -> Html | None:
    """All rows of one run: own, margin and worst of each attack, by epsilon."""
    attacks = [a for a in attacked.attacks if attacked.losses(run, a)]
    if not attacks:
        return None
    epsilons = sorted(
        {e for a in attacks for e in attacked.epsilons(a, run)}, key=Fraction
    )
    titles = [*(f"ε {e}" for e in epsilons), "zero gradients, %", "seconds"]
    head = [element("th", name, scope="col") for name in ("attack", "loss")]
    head += [element("th", title, scope="col", class_="number") for title in titles]
    rows = []
    for attack in attacks:
        for loss in attacked.losses(run, attack):
            at = [attacked.at(run, attack, loss, epsilon) for epsilon in epsilons]
            every = [record.content for cell in at for record in cell]
            zero = [r.zero_gradients for r in every if r.zero_gradients is not None]
            rows.append(
                [
                    element("th", attack, scope="row"),
                    element("td", NOTHING if loss == "none" else loss),
                    *(_cell(estimate(cell), percent) for cell in at),
                    _cell(Estimate.of([max(zero, default=None)]), percent),
                    _cell(Estimate.of([max(r.seconds for r in every)]), number),
                ]
            )
    return table([head], rows, f"every attack on {run.name}")


def fallen_table(run: Run, attacked: Attacked) -> Html | None:
    """How far the images by which examples fell are from the clean ones."""
    fields = {"l0": "L0", "l1": "L1", "l2": "L2", "linf": "L∞"}
    rows = []
    for attack in attacked.attacks:
        for loss in attacked.losses(run, attack):
            for epsilon in attacked.epsilons(attack, run):
                cell = [
                    r.content.fallen
                    for r in attacked.at(run, attack, loss, epsilon)
                    if r.content.fallen
                ]
                total = sum(fallen["n"] or 0 for fallen in cell)
                if not total:
                    continue
                survive = [fallen.get("survive_8_bits") for fallen in cell]
                kept = sum(survived or 0 for survived in survive) / total
                name = attack if loss == "none" else f"{attack}, {loss}"
                medians_of = {f: Estimate.of(c.get(f) for c in cell) for f in fields}
                sure = Estimate.of(c.get("confidence") for c in cell)
                rows.append(
                    [
                        element("th", name, scope="row"),
                        element("td", epsilon, class_="number"),
                        element("td", f"{total:,}", class_="number"),
                        _cell(sure, percent),
                        *(_cell(value, number) for value in medians_of.values()),
                        _cell(Estimate.of([kept]), percent),
                    ]
                )
    if not rows:
        return None
    titles = ["ε", "fell", "confidence, %", *fields.values(), "survive 8 bits, %"]
    head = [element("th", "attack", scope="col")]
    head += [element("th", title, scope="col", class_="number") for title in titles]
    return table([head], rows, f"distortions of the fallen of {run.name}")


def grid(
    runs: Sequence[Run], of: Callable[[Run], Estimate | None], label: str
) -> Html | None:
    """Two varied keys as rows and columns, shaded by the value; None for other sweeps.

    Args:
      runs: cells of one sweep.
      of: (run) -> the quantity, a share.
      label: what is shown.
    """
    keys = varied(runs)
    values = {run.name: of(run) for run in runs}
    if len(keys) != 2 or not any(values.values()):
        return None
    down, across = ([r.cell.get(key) for r in runs] for key in keys)
    rows_of, columns_of = (_unique(values) for values in (down, across))
    place = {
        (literal(a), literal(b)): run
        for run, a, b in zip(runs, down, across, strict=True)
    }
    corner = [
        element("span", keys[0], " ↓", class_="fact"),
        element("span", keys[1], " →", class_="fact"),
    ]
    head = [element("th", corner, scope="col")]
    head += [element("th", c, scope="col", class_="number") for c in columns_of]
    rows = []
    for r in rows_of:
        row = [element("th", r, scope="row")]
        for c in columns_of:
            run = place.get((r, c))
            value = values[run.name] if run else None
            if value is not None:
                shade = f"--share:{value.mean:.3f}"
                row.append(
                    element(
                        "td", value.html(percent), class_="number heat", style=shade
                    )
                )
            elif run is not None and run.diverged is not None:
                row.append(element("td", "diverged", class_="diverged"))
            else:
                row.append(
                    element("td", "not run" if run is None else NOTHING, class_="none")
                )
        rows.append(row)
    described = f"{label}, by {listed(keys)}"
    return element("div", element("h4", label), table([head], rows, described))


def _unique(values: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(map(literal, values)))

"""What a comparison says, in plain sentences."""

from collections.abc import Iterator, Mapping

from robustlabels.comparison.exports import change
from robustlabels.comparison.statistics import Difference
from robustlabels.comparison.table import Entry, Question, Table
from robustlabels.report.formats import count

__all__ = ["verdict_of"]

_AREA = "robust area"
_FEW = 3


def verdict_of(table: Table, own: Mapping[str, Difference]) -> tuple[str, ...]:
    """The sentences, in the order in which they are to be read.

    Nothing is called better or worse without an interval that leaves out zero after
    Holm's correction.

    Args:
      table: with all of its entries.
      own: by objective, the difference of the area under attacks along the own loss.
    """
    others = table.objectives[1:]
    return (
        *_under_attack(table, others),
        *(said for name in others for said in _told_of(table, name, own.get(name))),
        *_hidden(table),
        *_alike(table, others),
        *_failed(table),
    )


def _under_attack(table: Table, others: tuple[str, ...]) -> Iterator[str]:
    """Who survives the attacks better or worse than the reference."""
    if all(question.name != _AREA for question in table.questions):
        return
    there = [name for name in others if table.entries[name][_AREA].significant]
    if not there:
        yield (
            f"Under the worst of all attacks nothing can be told from {table.reference}"
            " over the whole curve."
        )
        return
    area = next(question for question in table.questions if question.name == _AREA)
    better = [name for name in there if table.better(name, area)]
    worse = [name for name in there if name not in better]
    told = [
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {how}"
        for names, how in ((better, "more robust"), (worse, "less robust"))
        if names
    ]
    yield (
        f"Under the worst of all attacks {'; '.join(told)} than {table.reference} over "
        "the whole curve."
    )


def _told_of(table: Table, name: str, own: Difference | None) -> Iterator[str]:
    """What an objective is better and worse at, and what it only seems to be."""
    clauses = []
    if gains := _told(table, name, better=True):
        clauses.append(f"helps, compared with {table.reference}: {gains}")
    if losses := _told(table, name, better=False):
        clauses.append(f"is worse than {table.reference}: {losses}")
    clauses += _seeming(table, name, own)
    if clauses:
        yield f"{name} {'. It '.join(clauses)}."


def _told(table: Table, name: str, *, better: bool) -> str:
    """The significant differences of an objective in one direction."""
    told = [
        f"{question.name} {_change(table.entries[name][question.name], question)}"
        for question in table.questions
        if table.entries[name][question.name].significant
        and table.better(name, question) is better
    ]
    return "; ".join(told)


def _change(entry: Entry, question: Question) -> str:
    """A difference with its interval, in points where it is of percentages."""
    value, _, reach = change(entry, question).partition(" ")
    unit = " points" if question.unit == "%" else question.unit
    return f"{value}{unit} {reach}"


def _seeming(table: Table, name: str, own: Difference | None) -> Iterator[str]:
    """That an objective is better along its own loss, and not at the worst."""
    area = next((q for q in table.questions if q.name == _AREA), None)
    if area is None or own is None or own.low <= 0:
        return
    entry = table.entries[name][_AREA]
    if entry.difference is None or (entry.significant and entry.difference > 0):
        return
    along = Entry(None, difference=own.value, low=own.low, high=own.high)
    yield (
        f"only seems more robust than {table.reference}: along its own loss the area "
        f"under the curve differs by {_change(along, area)}, under the worst attack by "
        f"{_change(entry, area)}"
    )


def _hidden(table: Table) -> Iterator[str]:
    """Signs of a hidden gradient, and who shows each."""
    by_sign: dict[str, list[str]] = {}
    for name, signs in table.hidden.items():
        for sign in signs:
            by_sign.setdefault(sign.replace("_", " "), []).append(name)
    told = [
        f"{sign} for {'all' if len(names) == len(table.hidden) else ', '.join(names)}"
        for sign, names in by_sign.items()
    ]
    if told:
        yield (
            "Signs of a hidden gradient make what stands under attack an upper bound: "
            f"{'; '.join(told)}."
        )


def _alike(table: Table, others: tuple[str, ...]) -> Iterator[str]:
    """Objectives without any significant difference, and how much could be seen."""
    alike = [
        name
        for name in others
        if any(e.difference is not None for e in table.entries[name].values())
        and not any(e.significant for e in table.entries[name].values())
    ]
    seeds = count(table.num_seeds, "seed")
    if alike:
        yield f"At {seeds} nothing tells {table.reference} from {', '.join(alike)}."
    if table.num_seeds < _FEW:
        yield (
            f"With {seeds} the intervals know little or nothing of how much one "
            f"training differs from the next: use {_FEW} or more."
        )


def _failed(table: Table) -> Iterator[str]:
    for name in table.objectives:
        entries = table.entries[name].values()
        if all(entry.value is None for entry in entries):
            reason = next(iter(entries)).missing
            yield f"{name} has no figures: {reason.rstrip('.')}."

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
        *_gains(table, others),
        *_losses(table, others),
        *_seeming(table, own),
        *_hidden(table),
        *_alike(table, others),
        *_failed(table),
    )


def _gains(table: Table, others: tuple[str, ...]) -> Iterator[str]:
    helped = False
    for name in others:
        gains = _told(table, name, better=True)
        if gains:
            helped = True
            yield f"{name} helps, compared with {table.reference}: {gains}."
    if not helped:
        yield f"Nothing is better than {table.reference} in anything that was measured."


def _losses(table: Table, others: tuple[str, ...]) -> Iterator[str]:
    for name in others:
        losses = _told(table, name, better=False)
        if losses:
            yield f"{name} is worse than {table.reference}: {losses}."


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


def _seeming(table: Table, own: Mapping[str, Difference]) -> Iterator[str]:
    """Objectives that are better along their own loss, and not at the worst."""
    area = next((q for q in table.questions if q.name == _AREA), None)
    if area is None:
        return
    for name, (value, low, high, _) in own.items():
        entry = table.entries[name][_AREA]
        if entry.difference is None or low <= 0:
            continue
        if entry.significant and entry.difference > 0:
            continue
        along = Entry(None, difference=value, low=low, high=high)
        yield (
            f"{name} only seems more robust than {table.reference}: along its own loss "
            f"the area under the curve differs by {_change(along, area)}, under the "
            f"worst attack by {_change(entry, area)}."
        )


def _hidden(table: Table) -> Iterator[str]:
    told = [
        f"{name} ({', '.join(sign.replace('_', ' ') for sign in signs)})"
        for name, signs in table.hidden.items()
        if signs
    ]
    if told:
        yield (
            "Signs of a hidden gradient make what stands under attack an upper bound "
            f"for {'; '.join(told)}."
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

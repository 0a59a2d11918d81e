"""What a comparison says, in plain sentences."""

from collections.abc import Iterator, Mapping

from robustlabels.comparison.statistics import Difference
from robustlabels.comparison.table import Entry, Question, Table

__all__ = ["verdict_of"]

_AREA = "robust area"


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
        _difference(question, table.entries[name][question.name])
        for question in table.questions
        if table.entries[name][question.name].significant
        and table.better(name, question) is better
    ]
    return "; ".join(told)


def _difference(question: Question, entry: Entry) -> str:
    return f"{question.name} {_change(question.unit, entry)}"


def _change(unit: str, found: Entry | Difference) -> str:
    """A difference with its interval."""
    value = found.difference if isinstance(found, Entry) else found.value
    assert value is not None
    assert found.low is not None
    assert found.high is not None
    times, said = (100, " points") if unit == "%" else (1, unit)
    form = ".1f" if unit == "%" else ".3g"
    low, high = f"{times * found.low:{form}}", f"{times * found.high:{form}}"
    return f"{times * value:+{form}}{said} [{low}, {high}]"


def _seeming(table: Table, own: Mapping[str, Difference]) -> Iterator[str]:
    """Objectives that are better along their own loss, and not at the worst."""
    area = next((q for q in table.questions if q.name == _AREA), None)
    if area is None:
        return
    for name, difference in own.items():
        entry = table.entries[name][_AREA]
        if entry.difference is None or difference.low <= 0:
            continue
        if entry.significant and entry.difference > 0:
            continue
        yield (
            f"{name} only seems more robust than {table.reference}: along its own loss "
            f"the area under the curve differs by {_change('%', difference)}, under "
            f"the worst attack by {_change('%', entry)}."
        )


def _hidden(table: Table) -> Iterator[str]:
    for name, signs in table.hidden.items():
        if signs:
            said = ", ".join(sign.replace("_", " ") for sign in signs)
            yield (
                f"What stands of {name} under attack is an upper bound: there are "
                f"signs of a hidden gradient ({said})."
            )


def _alike(table: Table, others: tuple[str, ...]) -> Iterator[str]:
    """Objectives without any significant difference."""
    alike = [
        name
        for name in others
        if any(e.difference is not None for e in table.entries[name].values())
        and not any(e.significant for e in table.entries[name].values())
    ]
    if alike:
        seeds = f"{table.num_seeds} seed{'s' if table.num_seeds > 1 else ''}"
        yield (f"At {seeds} nothing tells {table.reference} from {', '.join(alike)}.")


def _failed(table: Table) -> Iterator[str]:
    for name in table.objectives:
        entries = table.entries[name].values()
        if all(entry.value is None for entry in entries):
            reason = next(iter(entries)).missing
            yield f"{name} has no figures: {reason.rstrip('.')}."

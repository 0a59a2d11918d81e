"""A comparison as text: for a console, in Markdown, as CSV, and as JSON and back."""

import csv
import io
import json
import re
import textwrap
from typing import Any

from robustlabels.comparison.table import Entry, Question, Table
from robustlabels.report.formats import NOTHING, count, number, percent

__all__ = [
    "change",
    "direction",
    "from_json",
    "legend",
    "missing",
    "to_csv",
    "to_json",
    "to_markdown",
    "to_text",
    "written",
]

_WIDTH = 100
_HEAD = 16


def written(value: float | int | None, question: Question) -> str:
    """A value as a person reads it, without its unit.

    >>> accuracy = Question("accuracy", True, "%", "Of test images.", "clean")
    >>> written(0.9873, accuracy), written(None, accuracy)
    ('98.7', '–')
    """
    return percent(value) if question.unit == "%" else number(value)


def change(entry: Entry, question: Question) -> str:
    """The difference from the reference with its interval; empty where there is none.

    >>> accuracy = Question("accuracy", True, "%", "Of test images.", "clean")
    >>> change(Entry(0.987, difference=0.012, low=-0.001, high=0.025), accuracy)
    '+1.2 [-0.1, +2.5]'
    """
    if entry.difference is None:
        return ""
    value, low, high = (
        f"{'+' if end and end > 0 else ''}{written(end, question)}"
        for end in (entry.difference, entry.low, entry.high)
    )
    return f"{value} [{low}, {high}]"


def direction(question: Question) -> str:
    """Which way is better, and the unit.

    >>> direction(Question("training time", False, "s", "Without compilation.", "cost"))
    '↓ s'
    """
    return (
        f"{'↑' if question.higher_is_better else '↓'} {question.unit.strip()}".strip()
    )


def legend(table: Table, mark: str) -> str:
    """What the marks of a table mean.

    Args:
      table: which one.
      mark: how a significant difference stands out.
    """
    return (
        f"{mark}: differs from {table.reference}; the 95 % interval of the paired "
        "difference leaves out zero, and p < 0.05 by Holm's correction over the table. "
        "↑ higher is better, ↓ lower is better."
    )


def missing(table: Table) -> list[str]:
    """What has no value and why, a line for each objective and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for objective in table.objectives:
        for question in table.questions:
            entry = table.entries[objective][question.name]
            if entry.value is None:
                names = found.setdefault((objective, entry.missing), [])
                names.append(question.name)
    every = len(table.questions)
    return [
        f"{objective}: {why} ({'; '.join(names) if len(names) < every else 'all'})"
        for (objective, why), names in found.items()
    ]


def to_text(table: Table) -> str:
    """The values for a console, a row an objective, in blocks of questions that fit.

    Args:
      table: what was found.

    Guarantees: no line of a block is wider than 100 characters, unless the name of an
    objective and one question are.
    """
    side = max(map(len, ["objective", *table.objectives]))
    blocks: list[list[list[str]]] = []
    room = 0
    for question in table.questions:
        column = _column(table, question)
        room -= len(column[-1])
        if room < 0:
            blocks.append([])
            room = _WIDTH - side - len(column[-1])
        blocks[-1].append(column)
    shown = [_block([*table.objectives], side, columns) for columns in blocks]
    legends = textwrap.fill(legend(table, "*"), _WIDTH)
    gaps = [textwrap.fill(f"{NOTHING} {line}", _WIDTH) for line in missing(table)]
    return "\n\n".join([*shown, "\n".join([legends, *gaps])]) + "\n"


def _column(table: Table, question: Question) -> list[str]:
    """Lines of a head, then one for each objective, all of one width."""
    name = textwrap.wrap(question.name, _HEAD, break_long_words=False)
    head = [*name, direction(question)]
    cells = []
    for objective in table.objectives:
        entry = table.entries[objective][question.name]
        star = "*" if entry.significant else " "
        cells.append(written(entry.value, question) + star)
    lines = [*(f"{line} " for line in head), *cells]
    width = 2 + max(map(len, lines))
    return [line.rjust(width) for line in lines]


def _block(names: list[str], side: int, columns: list[list[str]]) -> str:
    """Columns side by side; their heads, of unlike height, end in the same line."""
    tall = max(map(len, columns))
    first = ["objective", *names]
    first = [""] * (tall - len(first)) + first
    padded = [
        [" " * len(column[-1])] * (tall - len(column)) + column for column in columns
    ]
    rows = zip(first, *padded, strict=True)
    return "\n".join(
        (name.ljust(side) + "".join(cells)).rstrip() for name, *cells in rows
    )


def to_markdown(table: Table) -> str:
    """The verdict as a list, then the table as GitHub shows it.

    Args:
      table: what was found.

    Guarantees: bold is what differs significantly, and nothing else.
    """
    others = count(len(table.objectives), "objective")
    seeds = count(table.num_seeds, "seed")
    heads = [f"{_plain(q.name)} {_plain(direction(q))}" for q in table.questions]
    rows = [["objective", *heads], ["---", *("---:" for _ in heads)]]
    for objective in table.objectives:
        of = table.entries[objective]
        cells = [_cell(of[question.name], question) for question in table.questions]
        rows.append([_plain(objective), *cells])
    blocks = [
        f"# {others} on {_plain(table.data)}, {seeds}",
        "\n".join(f"- {_plain(sentence)}" for sentence in table.verdict),
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
        _plain(legend(table, "Bold")),
        "\n".join(f"- {_plain(line)}" for line in missing(table)),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _cell(entry: Entry, question: Question) -> str:
    value = written(entry.value, question)
    shown = f"**{value}**" if entry.significant else value
    return f"{shown} ({said})" if (said := change(entry, question)) else shown


def _plain(text: str) -> str:
    """Text in which Markdown and HTML see nothing of theirs."""
    return re.sub(r"([\\`*_{}\[\]<>|~&$#])", r"\\\1", " ".join(text.split()))


def to_csv(table: Table) -> str:
    """A line for each objective and question, numbers as they are.

    Args:
      table: what was found.
    """
    text = io.StringIO(newline="")
    lines = csv.writer(text)
    lines.writerow(["objective", "question", *Entry._fields])
    for objective in table.objectives:
        for question in table.questions:
            entry = table.entries[objective][question.name]
            fields = entry._asdict() | {"seeds": ";".join(map(str, entry.seeds))}
            lines.writerow([objective, question.name, *fields.values()])
    return text.getvalue()


def to_json(table: Table) -> str:
    """All of it.

    Args:
      table: what was found.
    """
    fields = table._asdict()
    fields["questions"] = [question._asdict() for question in table.questions]
    fields["entries"] = {
        objective: {name: entry._asdict() for name, entry in of.items()}
        for objective, of in table.entries.items()
    }
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def from_json(text: str) -> Table:
    """The table that `to_json` wrote.

    Args:
      text: JSON.

    Guarantees: equals what was written, where every sequence in it is a tuple.
    """
    fields = _frozen(json.loads(text))
    fields["questions"] = tuple(Question(**fields) for fields in fields["questions"])
    fields["entries"] = {
        objective: {name: Entry(**fields) for name, fields in of.items()}
        for objective, of in fields["entries"].items()
    }
    return Table(**fields)


def _frozen(value: Any) -> Any:
    """With tuples for lists."""
    if isinstance(value, dict):
        return {name: _frozen(each) for name, each in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value

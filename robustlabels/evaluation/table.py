"""Records as a table of text."""

from collections.abc import Iterable
from fractions import Fraction

from robustlabels.evaluation.records import Record

__all__ = ["render_table"]


def render_table(records: Iterable[Record]) -> str:
    """Accuracies in percent with their 95 % intervals, an attack and loss a row.

    Epsilons grow from left to right, in whatever order the records come.

    Args:
      records: of one classifier on one split, the clean one among them.
    """
    records = list(records)
    clean = [record for record in records if record.attack == "none"]
    attacked = [record for record in records if record.attack != "none"]
    lines = [_headline(record) for record in clean]
    epsilons = sorted({record.epsilon for record in attacked}, key=Fraction)
    rows: dict[tuple[str, str], dict[str, Record]] = {}
    for record in attacked:
        rows.setdefault((record.attack, record.loss), {})[record.epsilon] = record
    if rows:
        cells = [["accuracy under", "loss", *(f"epsilon {e}" for e in epsilons)]]
        for (attack, loss), row in rows.items():
            shown = [_cell(row[e]) if e in row else "" for e in epsilons]
            cells.append([attack, "" if loss == "none" else loss, *shown])
        lines += ["", *_aligned(cells), *_warnings(rows)]
    return "\n".join(lines)


def _headline(record: Record) -> str:
    error, low, high = (100 * share for share in record.error)
    name = " / ".join(
        str(record.classifier[part])
        for part in ("data", "encoder", "head", "objective")
        if part in record.classifier
    )
    return (
        f"{name}: {record.split} accuracy {_cell(record)} %, error {error:.2f} "
        f"[{low:.2f}, {high:.2f}] % on {record.n} examples (95 % intervals)"
    )


def _cell(record: Record) -> str:
    return f"{100 * record.value:.1f} [{100 * record.low:.1f}, {100 * record.high:.1f}]"


def _aligned(cells: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]
    lines.insert(1, "-" * len(lines[0]))
    return [line.rstrip() for line in lines]


def _warnings(rows: dict[tuple[str, str], dict[str, Record]]) -> list[str]:
    """A sentence for every row whose gradients are partly zero."""
    lines = []
    for (attack, loss), row in rows.items():
        share = next(iter(row.values())).zero_gradients
        if share and loss != "worst":
            lines.append(
                f"Beware: {100 * share:.1f} % of the gradients of the {loss} loss are "
                f"exactly zero, and {attack} cannot move these examples."
            )
    return lines

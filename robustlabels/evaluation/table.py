"""What was found as a table of text."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from robustlabels.evaluation.ascended import ROWS
from robustlabels.evaluation.records import Finding, Record
from robustlabels.evaluation.transferred import Transfer

__all__ = ["calibration_figures", "render_table", "render_transfer"]

Seeds = dict[int, Record]
Rows = dict[tuple[str, str], dict[str, Seeds]]


def render_table(found: Iterable[Record | Finding]) -> str:
    """Accuracies in percent, an attack and loss a row; epsilons grow to the right.

    Above them stand clean accuracy, calibration, top-k accuracy and the AUROC on
    left-out classes; of calibration on how many examples, if fewer were attacked.

    Records of one seed come with their 95 % intervals. Of several seeds there is the
    mean with the standard deviation over seeds, and a cell that lacks some says how
    many it has.

    Args:
      found: of one classifier on one split in any order, the clean records among them.
    """
    found = list(found)
    records = [each for each in found if isinstance(each, Record)]
    seeds = len({_seed(record) for record in records})
    clean: dict[tuple[str, str, int], Seeds] = {}
    rows: Rows = {}
    for record in sorted(records, key=_seed):
        if record.attack == "none":
            cell = clean.setdefault((_name(record), record.split, record.n), {})
        else:
            row = rows.setdefault((record.attack, record.loss), {})
            cell = row.setdefault(record.epsilon, {})
        cell[_seed(record)] = record
    lines = [_headline(of_seeds, seeds) for of_seeds in clean.values()]
    figures = calibration_figures(found)
    if figures:
        line = ", ".join(f"{name} {value}" for name, value in figures.items())
        sizes = {f.n for f in found if isinstance(f, Finding) and f.kind == "clean"}
        others = sizes - {n for _, _, n in clean}
        lines.append(f"{line}, on {max(others)} examples" if others else line)
    if rows:
        epsilons = sorted({e for row in rows.values() for e in row}, key=Fraction)
        cells = [["accuracy under", "loss", *(f"epsilon {e}" for e in epsilons)]]
        attacks = list(dict.fromkeys(attack for attack, _ in rows))
        for (attack, loss), row in sorted(
            rows.items(),
            key=lambda item: (attacks.index(item[0][0]), ROWS.index(item[0][1])),
        ):
            shown = [_cell(row[e], seeds) if e in row else "" for e in epsilons]
            cells.append([attack, "" if loss == "none" else loss, *shown])
        lines += ["", *aligned(cells), *_warnings(rows), *_distances(found)]
    return "\n".join(lines)


def render_transfer(found: Transfer) -> str:
    """Errors in percent: a row for each model that images were made for.

    Args:
      found: from `transfer_matrix`.
    """
    lines = []
    for size, rows in found.errors.items():
        cells = [[f"{size}, made for", *found.names, "RMS"]]
        for name, row, rms in zip(found.names, rows, found.rms, strict=True):
            reached = f"{rms:.3f}" if size == "as found" else size
            cells.append([name, *(f"{100 * e:.1f}" for e in row), reached])
        if size in found.noise:
            noise = (f"{100 * e:.1f}" for e in found.noise[size])
            cells.append(["Gaussian noise", *noise, size])
        lines += [*aligned(cells), ""]
    clean = (
        f"{n} {100 * e:.1f}" for n, e in zip(found.names, found.clean, strict=True)
    )
    return "\n".join(
        [*lines, f"Errors in % of {found.n} images; unchanged: {', '.join(clean)}."]
    )


def calibration_figures(found: Iterable[Record | Finding]) -> dict[str, str]:
    """Calibration, top-k accuracy and the AUROC on left-out classes by name, as text.

    Guarantees: of several seeds it is the mean ± the standard deviation.

    Args:
      found: of one classifier; its findings of kind "clean" and "left_out" are used.
    """
    findings = [each for each in found if isinstance(each, Finding)]
    clean, left_out = (
        [each.values for each in findings if each.kind == kind]
        for kind in ("clean", "left_out")
    )
    if not clean:
        return {}
    figures = {
        "ECE": ("%", 2, [v["expected_calibration_error"] for v in clean]),
        "NLL": ("", 4, [v["negative_log_likelihood"] for v in clean]),
        "Brier": ("", 4, [v["brier_score"] for v in clean]),
    }
    for k in sorted(set(clean[0]["top_k"]) - {"1"}, key=int):
        figures[f"top {k}"] = ("%", 1, [v["top_k"][k] for v in clean])
    if left_out:
        figures["left-out AUROC"] = ("", 4, [v["auroc"] for v in left_out])
    return {
        name: " ".join(
            filter(None, [_mean_and_deviation(values, digits=digits, unit=unit), unit])
        )
        for name, (unit, digits, values) in figures.items()
    }


def _seed(record: Record) -> int:
    return record.classifier.get("seed", 0)


def _name(record: Record) -> str:
    return " / ".join(
        str(record.classifier[part])
        for part in ("data", "encoder", "head", "objective")
        if part in record.classifier
    )


def _headline(of_seeds: Seeds, seeds: int) -> str:
    *_, record = of_seeds.values()
    accuracy = f"{record.split} accuracy {_cell(of_seeds, seeds)} %"
    error, low, high = (100 * share for share in record.error)
    errors, meaning = f"{error:.2f} [{low:.2f}, {high:.2f}]", "95 % intervals"
    if seeds > 1:
        errors = _mean_and_deviation([r.error[0] for r in of_seeds.values()], digits=2)
        meaning = f"mean ± standard deviation over {len(of_seeds)} seeds"
    return (
        f"{_name(record)}: {accuracy}, error {errors} % on {record.n} examples "
        f"({meaning})"
    )


def _cell(of_seeds: Seeds, seeds: int) -> str:
    if seeds > 1:
        text = _mean_and_deviation([r.value for r in of_seeds.values()], digits=1)
        few = len(of_seeds) < seeds
        return f"{text} ({len(of_seeds)} of {seeds} seeds)" if few else text
    (record,) = of_seeds.values()
    return f"{100 * record.value:.1f} [{100 * record.low:.1f}, {100 * record.high:.1f}]"


def _mean_and_deviation(
    values: Sequence[float], *, digits: int, unit: str = "%"
) -> str:
    scale = 100 if unit == "%" else 1
    mean = f"{scale * np.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {scale * np.std(values, ddof=1):.{digits}f}"


def aligned(cells: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]
    lines.insert(1, "-" * len(lines[0]))
    return [line.rstrip() for line in lines]


def _distances(everything: Iterable[Record | Finding]) -> list[str]:
    """A sentence for every search for the nearest images, and every seed."""
    lines = []
    for each in everything:
        if isinstance(each, Finding) and each.kind == "minimum_distortion":
            found, l2, rms = (each.values[k] for k in ("found", "l2", "rms"))
            attack, loss = each.parameters["attack"], each.parameters["loss"]
            name = attack if loss == "none" else f"{attack}, {loss}"
            line = f"{name}: {found} of {each.n} nearest images"
            if l2:
                line += f", median L2 {l2['median']:.4g}, mean RMS {rms['mean']:.4g}"
            lines.append(f"{line}.")
    return lines


def _warnings(rows: Rows) -> list[str]:
    """A sentence for every row whose gradients are partly zero."""
    lines = []
    for (attack, loss), row in rows.items():
        of_seeds = next(iter(row.values()))
        share = np.mean([record.zero_gradients or 0.0 for record in of_seeds.values()])
        if share > 0 and loss != "worst":
            lines.append(
                f"Beware: {100 * share:.1f} % of the gradients of the {loss} loss are "
                f"exactly zero, and {attack} cannot move these examples."
            )
    return lines

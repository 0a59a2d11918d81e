"""What classes are asked for: similarities, noise matrices, targets, and learned ε."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robustlabels.report import figures, grids
from robustlabels.report.formats import count, literal, number, percent
from robustlabels.report.runs import Matrix, Run
from robustlabels.report.sections import Section, drawn_section, figure, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLLAPSED", "collapse", "mixing"]

# Targets that give less than this to other classes are as good as one-hot.
COLLAPSED = 0.01

_TITLES = {
    "similarity": "class similarity",
    "noise_matrix": "noise matrix",
    "targets": "targets in the end",
}


def mixing(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Heat maps of all matrices over classes, and the course of what was learned."""
    drawn: list[tuple[str, str, Figure]] = []
    sources: list[pathlib.Path] = []
    notes = []
    for (name, _), group in _alike(runs).items():
        matrix = group[0].matrices[name]
        said = f"{_said(matrix)}; {_strongest(_mean(matrix), matrix.class_names)}"
        title = f"{_whose(group, runs)}{_TITLES[name]}"
        drawing = grids.mixing(_mean(matrix), matrix.class_names)
        drawn.append((title, said, drawing))
        sources += [run.matrices[name].path for run in group]
        if name == "similarity":
            notes.append(f"{title[0].upper()}{title[1:]}: {_said(matrix)}.")
    for run in runs:
        if course := _learned(run):
            ends = [lines[-1]["epsilon_mean"] for lines in course.values()]
            said = f"ends at {number(float(np.mean(ends)))} in the mean"
            title = f"{_whose([run], runs)}learned ε"
            drawn.append((title, said, figures.epsilons(course)))
            sources.append(run.folder / "metrics.jsonl")
    if not drawn:
        return None
    caption = (
        "How classes (rows) share what is not their own among the others, in percent: "
        "blue is more than an equal share, orange less. Learned ε: the share that "
        "training leaves to other classes, a thin line a class and a thick one for the "
        "mean; at 0 the loss is plain cross-entropy. " + " ".join(notes)
    )
    body = panels("mixing", drawn, titles=True)
    content = figure(body, caption.strip(), sources, page)
    return drawn_section("mixing", "What classes are asked for", content, drawn)


def _alike(runs: Sequence[Run]) -> dict[tuple[str, bytes], list[Run]]:
    """Runs by the matrices that they share; targets only where they were learned."""
    groups: dict[tuple[str, bytes], list[Run]] = {}
    for name in _TITLES:
        for run in runs:
            matrix = run.matrices.get(name)
            if matrix is not None and (name != "targets" or _learned(run)):
                groups.setdefault((name, matrix.values.tobytes()), []).append(run)
    return groups


def _whose(group: Sequence[Run], runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return ""
    return f"{group[0].name if len(group) == 1 else count(len(group), 'run')}: "


def _mean(matrix: Matrix) -> np.ndarray:
    """The matrix, or its mean over seeds."""
    return matrix.values.reshape(-1, *matrix.values.shape[-2:]).mean(axis=0)


def collapse(run: Run) -> list[str]:
    """A sentence if what was learned is as good as plain cross-entropy."""
    ends = {
        seed: lines[-1]["epsilon_mean"]
        for seed, lines in _learned(run).items()
        if lines[-1]["epsilon_mean"] < COLLAPSED
    }
    if not ends:
        return []
    least = min(ends.values())
    where = "" if len(run.metrics) == 1 else f" (seeds {literal(list(ends))})"
    return [
        f"Mixing collapsed: the learned ε ends at {number(least)} in the mean{where}, "
        "which is plain cross-entropy. A larger objective.beta keeps it off 0."
    ]


def _learned(run: Run) -> dict[int, list[dict[str, Any]]]:
    """The lines with a learned ε, by seed."""
    found = {
        seed: [line for line in lines if "epsilon" in line]
        for seed, lines in run.metrics.items()
    }
    return {seed: lines for seed, lines in found.items() if lines}


def _said(matrix: Matrix) -> str:
    """How a matrix was made, and how far it is from symmetric."""
    fields = {k: v for k, v in matrix.source.items() if k not in ("name", "batch_size")}
    if fields.get("run") == "":
        fields = {"features": "pixels", **fields}
        fields.pop("layer", None)
    how = ", ".join(
        f"{name} {literal(value)}"
        for name, value in fields.items()
        if not isinstance(value, dict) and literal(value) != literal(None)
    )
    values = matrix.values.reshape(-1, *matrix.values.shape[-2:])
    gap = float(np.max(np.abs(values - np.swapaxes(values, -1, -2))))
    made = f"{matrix.source.get('name')} ({how})" if how else matrix.source.get("name")
    return f"{made}, largest asymmetry {number(gap)}"


def _strongest(values: np.ndarray, names: Sequence[str]) -> str:
    """Which class shares most with which other, in words."""
    others = np.where(np.eye(len(values), dtype=bool), -1.0, values)
    row, column = divmod(int(np.argmax(others)), len(values))
    share = percent(float(values[row, column]))
    return f"most is {share} % of {names[row]} for {names[column]}"

"""From run folders to the table: answers, paired differences, what they say."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robustlabels.comparison import questions
from robustlabels.comparison.cells import KINDS, why_failed
from robustlabels.comparison.questions import Answer
from robustlabels.comparison.statistics import Difference, differences, holm
from robustlabels.comparison.table import Entry, Question, Table
from robustlabels.comparison.verdict import verdict_of
from robustlabels.config_file import load_run_config
from robustlabels.run import is_over

__all__ = ["Place", "tabulate"]

_LEVEL = 0.05


class Place(NamedTuple):
    """A run of an objective.

    Attributes:
      kind: what it is trained on, one of `cells.KINDS`.
      level: the share of data or of swapped labels; 0 where there is none.
      folder: of the run.
    """

    kind: str
    level: float
    folder: Path


def tabulate(
    runs: Mapping[str, Sequence[Place] | str | Path],
    *,
    reference: str,
    root: str | Path = ".",
    tuned: Mapping[str, Mapping[str, Any]] | None = None,
    num_resamples: int = 10_000,
) -> Table:
    """The table of objectives and questions, from the folders of finished runs.

    What is not finished or failed is missing from it, with the reason.

    Args:
      runs: by objective, its runs; a folder alone is a run on all of the data.
      reference: the objective that others are compared with.
      root: folders are named relative to it.
      tuned: by objective, what was chosen on validation data, and what that cost.
      num_resamples: of the bootstrap.

    Raises:
      ValueError: for an unknown reference, no run that is finished, or runs on other
        test images or with other seeds than those of the reference.
    """
    if reference not in runs:
        raise ValueError(f"reference={reference!r} is none of {', '.join(runs)}.")
    names = sorted(runs, key=lambda name: name != reference)
    places = {name: _places(runs[name]) for name in names}
    found = {name: _answered(places[name]) for name in names}
    columns = _columns(found)
    if not columns:
        raise ValueError("no run of the comparison is finished yet.")
    compared = {
        question.name: _compared(found, question, reference, number, num_resamples)
        for number, question in enumerate(columns)
    }
    adjusted = holm(
        {
            (name, question): difference.p
            for question, by_name in compared.items()
            for name, difference in by_name.items()
        }
    )
    own = _of_own_loss(places, reference, num_resamples)
    table = Table(
        data=_data(places),
        reference=reference,
        objectives=tuple(names),
        questions=tuple(columns),
        entries={
            name: {
                question.name: _entry(
                    question,
                    found[name].get(question.name),
                    found[reference].get(question.name),
                    compared[question.name].get(name),
                    adjusted.get((name, question.name)),
                    places[name],
                    Path(root),
                )
                for question in columns
            }
            for name in names
        },
        curves={n: questions.curve(f) for n, f in _finished(places, "all")},
        shares=_by_level(found, "data"),
        swapped=_by_level(found, "noise"),
        tuned={name: dict(fields) for name, fields in (tuned or {}).items()},
        hidden={n: questions.signs(f) for n, f in _finished(places, "all")},
        verdict=(),
        num_seeds=_num_seeds(places),
        num_missing=sum(
            not (place.folder / "finished.json").exists()
            for of_name in places.values()
            for place in of_name
        ),
    )
    return table._replace(verdict=verdict_of(table, own))


def _places(given: Sequence[Place] | str | Path) -> list[Place]:
    if isinstance(given, str | Path):
        return [Place("all", 0.0, Path(given))]
    return sorted(given, key=lambda place: (KINDS.index(place.kind), place.level))


def _finished(
    places: Mapping[str, Sequence[Place]], kind: str
) -> Iterator[tuple[str, Path]]:
    for name, of_name in places.items():
        for place in of_name:
            if place.kind == kind and (place.folder / "finished.json").exists():
                yield name, place.folder


def _answered(places: Sequence[Place]) -> dict[str, tuple[Answer, Place]]:
    """What the finished runs of an objective answer, by the question's name."""
    return {
        answer.question.name: (answer, place)
        for place in places
        if (place.folder / "finished.json").exists()
        for answer in questions.answers(place.kind, place.level, place.folder)
    }


def _columns(
    found: Mapping[str, Mapping[str, tuple[Answer, Place]]],
) -> list[Question]:
    """All questions that any objective answers, in the order of kinds; cost is last."""
    answered = [pair for by_name in found.values() for pair in by_name.values()]
    answered.sort(key=lambda pair: (KINDS.index(pair[1].kind), pair[1].level))
    columns = list(dict.fromkeys(answer.question for answer, _ in answered))
    return sorted(columns, key=lambda question: question.group == "cost")


def _compared(
    found: Mapping[str, Mapping[str, tuple[Answer, Place]]],
    question: Question,
    reference: str,
    number: int,
    num_resamples: int,
) -> dict[str, Difference]:
    """Differences of one question, where the reference and another have an answer."""
    samples = {
        name: by_name[question.name][0].sample
        for name, by_name in found.items()
        if question.name in by_name
    }
    there = {name: sample for name, sample in samples.items() if sample is not None}
    if reference not in there or len(there) < 2:
        return {}
    rng = np.random.default_rng(number)
    try:
        return differences(there, reference, rng=rng, num_resamples=num_resamples)
    except ValueError as error:
        raise ValueError(
            f"{question.name}: {error} Only runs on the same test images and with as "
            "many seeds can be compared."
        ) from error


def _of_own_loss(
    places: Mapping[str, Sequence[Place]], reference: str, num_resamples: int
) -> dict[str, Difference]:
    """Differences of the area under attacks along the own loss alone."""
    answered = {n: questions.own_area(f) for n, f in _finished(places, "all")}
    samples = {n: a.sample for n, a in answered.items() if a is not None}
    there = {name: sample for name, sample in samples.items() if sample is not None}
    if reference not in there or len(there) < 2:
        return {}
    rng = np.random.default_rng(0)
    return differences(there, reference, rng=rng, num_resamples=num_resamples)


def _entry(
    question: Question,
    own: tuple[Answer, Place] | None,
    of_reference: tuple[Answer, Place] | None,
    difference: Difference | None,
    p: float | None,
    places: Sequence[Place],
    root: Path,
) -> Entry:
    if own is None:
        return Entry(None, missing=_why(places))
    answer, place = own
    seeds = answer.values
    if question.group == "cost":
        if of_reference is None:
            return Entry(None, missing="the reference is not finished")
        seeds = tuple(value / np.mean(of_reference[0].values) for value in seeds)
    entry = Entry(
        float(np.mean(seeds)),
        tuple(map(float, seeds)),
        folder=_relative(place.folder, root),
    )
    if difference is None or p is None:
        return entry
    apart = difference.low > 0 or difference.high < 0
    return entry._replace(
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        p=p,
        significant=bool(apart and p < _LEVEL),
    )


def _relative(folder: Path, root: Path) -> str:
    """A folder as seen from another one, with slashes."""
    return Path(os.path.relpath(folder, root)).as_posix()


def _why(places: Sequence[Place]) -> str:
    """Why an answer is missing: the first reason that a run of the objective gives."""
    for place in places:
        reason = why_failed(place.folder)
        if reason is not None:
            return reason
    if any(not is_over(place.folder) for place in places):
        return "not finished yet"
    return "not measured"


def _by_level(
    found: Mapping[str, Mapping[str, tuple[Answer, Place]]], group: str
) -> dict[str, dict[str, float]]:
    """Accuracies by a level, with that on all of the data or on clean labels."""
    curves: dict[str, dict[str, float]] = {}
    for name, by_name in found.items():
        curve = {
            f"{place.level:g}": float(np.mean(answer.values))
            for answer, place in by_name.values()
            if answer.question.group == group
        }
        if curve and "accuracy" in by_name:
            whole = float(np.mean(by_name["accuracy"][0].values))
            curve = {**curve, "1": whole} if group == "data" else {"0": whole, **curve}
        if curve:
            curves[name] = curve
    return curves


def _configs(places: Mapping[str, Sequence[Place]]) -> Iterator[Any]:
    for kind in KINDS:
        for _, folder in _finished(places, kind):
            yield load_run_config(folder)


def _data(places: Mapping[str, Sequence[Place]]) -> str:
    return str(next(_configs(places)).data.name)


def _num_seeds(places: Mapping[str, Sequence[Place]]) -> int:
    return int(next(_configs(places)).num_seeds)

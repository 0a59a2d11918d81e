"""What is asked of each objective, and what the folders of its runs answer.

An answer keeps what happened to each test example under each seed, so that two
objectives can be compared example by example.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from robustlabels import build, evaluation, report
from robustlabels.comparison import statistics
from robustlabels.comparison.statistics import Sample
from robustlabels.comparison.table import Question
from robustlabels.config_file import load_run_config
from robustlabels.evaluation import Ensemble, Finding, parse_epsilons
from robustlabels.evaluation.outcome import DISTANCES

__all__ = ["Answer", "answers", "curve", "own_area", "signs"]

_SHOWN = 3  # epsilons that have a column


class Answer(NamedTuple):
    """What a run says to a question.

    Attributes:
      question: it.
      sample: a statistic for each seed; None where nothing can be resampled.
      values: one a seed.
    """

    question: Question
    sample: Sample | None
    values: tuple[float, ...]


class _Run:
    """What was found in the folder of a run, by seed, in the order of seeds."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = load_run_config(folder)
        seeds = range(self.config.seed, self.config.seed + self.config.num_seeds)
        self.seeds = tuple(seeds)
        self._findings = evaluation.read_findings(folder)

    def found(self, kind: str, **parameters: str) -> list[list[Finding]]:
        """Findings of a kind by seed, or nothing unless every seed has one."""
        there = [
            [
                each
                for each in self._findings
                if each.kind == kind
                and each.classifier["seed"] == seed
                and parameters.items() <= each.parameters.items()
            ]
            for seed in self.seeds
        ]
        return there if all(there) else []

    def arrays(self, kind: str, name: str) -> list[np.ndarray]:
        """An array beside the finding of a kind, one a seed."""
        return [
            evaluation.read_arrays(self.folder, found[-1])[name]
            for found in self.found(kind)
        ]


def answers(kind: str, level: float, folder: Path) -> Iterator[Answer]:
    """Yields what a finished run answers.

    Args:
      kind: of the cell, one of `cells.KINDS`.
      level: the share of data or of swapped labels.
      folder: of the run.
    """
    run = _Run(folder)
    if kind == "share":
        name = f"accuracy, {100 * level:g} % of the data"
        meaning = f"Accuracy after as many steps on {100 * level:g} % of the images."
        yield _accuracy(run, Question(name, True, "%", meaning, "data"))
    elif kind == "swapped":
        name = f"accuracy, {100 * level:g} % swapped"
        meaning = f"Accuracy with {100 * level:g} % of the training labels swapped."
        yield _accuracy(run, Question(name, True, "%", meaning, "noise"))
    elif kind == "left_out":
        yield from _left_out(run)
    else:
        meaning = "Share of test images that are decided correctly."
        yield _accuracy(run, Question("accuracy", True, "%", meaning, "clean"))
        yield from _attacked(run)
        yield from _nearest(run)
        yield from _corrupted(run)
        yield from _calibrated(run)
        yield from _noise(run)
        yield from _cost(run)


def _answer(question: Question, made: Sequence[Callable], *sizes: int) -> Answer:
    """An answer from a statistic for each seed."""
    whole = np.ones((1, sum(sizes)), np.float32)
    values = tuple(float(statistic(whole)[0]) for statistic in made)
    return Answer(question, Sample(tuple(made), sizes), values)


def _of_means(question: Question, values: Sequence[np.ndarray]) -> Answer:
    made = [statistics.mean(each) for each in values]
    return _answer(question, made, len(values[0]))


def _accuracy(run: _Run, question: Question) -> Answer:
    return _of_means(question, [r.astype(float) for r in run.arrays("clean", "right")])


def _epsilons(run: _Run) -> dict[str, float]:
    return parse_epsilons(run.config.evaluation.epsilons)


def _within_a_ball(run: _Run) -> list[str]:
    """The attacks whose successes count at an epsilon, in the maximum norm."""
    return [
        name
        for name, (attack, parameters) in build.attacks(run.config).items()
        if (isinstance(attack, Ensemble) or attack.minimum is None)
        and parameters.get("norm", "linf") == "linf"
    ]


def _fallen(run: _Run, loss: str | None = None) -> list[Int[np.ndarray, " n"]]:
    """Index of the first epsilon at which each example falls to any attack, by seed.

    Args:
      run: with attacks.
      loss: of the attacks that count; all of them by default.
    """
    chosen = [{"attack": name} for name in _within_a_ball(run)]
    if loss is not None:
        chosen = [{**each, "loss": loss} for each in chosen]
    found = [run.found("adversarial", **each) for each in chosen]
    return [
        np.min(
            [
                evaluation.read_arrays(run.folder, finding)["fallen"]
                for of_attack in found
                if of_attack
                for finding in of_attack[place]
            ],
            axis=0,
        )
        for place in range(len(run.seeds) if any(found) else 0)
    ]


def _area(fallen: Int[np.ndarray, " n"], epsilons: Sequence[float]) -> np.ndarray:
    """Of each example the share of [0, largest epsilon] in which it stands.

    Between two epsilons its standing is a straight line, as a curve is drawn.
    """
    standing = fallen[:, None] > np.arange(-1, len(epsilons))
    return np.trapezoid(standing.astype(float), [0.0, *epsilons], axis=1) / epsilons[-1]


def _attacked(run: _Run) -> Iterator[Answer]:
    fallen, epsilons = _fallen(run), _epsilons(run)
    if not fallen:
        return
    meaning = (
        "Area under the accuracy as epsilon grows, as a share of the whole; of all "
        "attacks and losses the worst for each image."
    )
    question = Question("robust area", True, "%", meaning, "attack")
    values = list(epsilons.values())
    yield _of_means(question, [_area(each, values) for each in fallen])
    written = list(epsilons)
    last = len(written) - 1
    places = sorted({round(i * last / (_SHOWN - 1)) for i in range(_SHOWN)})
    for place in places:
        meaning = f"Share that stands under every attack at epsilon {written[place]}."
        name = f"robust at {written[place]}"
        question = Question(name, True, "%", meaning, "attack")
        yield _of_means(question, [(each > place).astype(float) for each in fallen])


def own_area(folder: Path) -> Answer | None:
    """The area under the curve of attacks along the own loss alone.

    Args:
      folder: of a finished run.
    """
    run = _Run(folder)
    fallen, epsilons = _fallen(run, "own"), list(_epsilons(run).values())
    if not fallen:
        return None
    question = Question("robust area, own loss", True, "%", "", "attack")
    return _of_means(question, [_area(each, epsilons) for each in fallen])


def curve(folder: Path) -> dict[str, float]:
    """Accuracy under the worst attack by epsilon, "0" for none; mean over seeds.

    Args:
      folder: of a finished run.
    """
    run = _Run(folder)
    fallen = _fallen(run)
    if not fallen:
        return {}
    places = {"0": -1} | {e: i for i, e in enumerate(_epsilons(run))}
    return {
        written: float(np.mean([np.mean(each > place) for each in fallen]))
        for written, place in places.items()
    }


def signs(folder: Path) -> tuple[str, ...]:
    """Signs of a hidden gradient that any seed shows.

    Args:
      folder: of a finished run.
    """
    found = _Run(folder).found("hidden_gradient")
    named = [
        sign["name"]
        for of_seed in found
        for finding in of_seed
        for sign in finding.values["signs"]
        if sign["yes"]
    ]
    return tuple(dict.fromkeys(named))


def _nearest(run: _Run) -> Iterator[Answer]:
    """Distances in L2; of several searches the nearest image counts."""
    found = [
        [each for each in of_seed if "l2" in _norm_of(run, each)]
        for of_seed in run.found("minimum_distortion")
    ]
    if not found or not all(found):
        return
    largest = math.sqrt(math.prod(_shape(run, found[0][0])))
    nearest = [
        np.min([_distances(run, each, right, largest) for each in of_seed], axis=0)
        for of_seed, right in zip(found, run.arrays("clean", "right"), strict=True)
    ]
    meaning = (
        "Mean distance in L2 to the nearest image that is decided wrongly; 0 for those "
        "that are wrong already, the diagonal of the box where none was found."
    )
    question = Question("minimum distortion", True, "", meaning, "attack")
    yield _of_means(question, nearest)


def _norm_of(run: _Run, finding: Finding) -> str:
    attack, _ = build.attacks(run.config)[finding.parameters["attack"]]
    return "" if isinstance(attack, Ensemble) else attack.minimum or ""


def _shape(run: _Run, finding: Finding) -> tuple[int, ...]:
    """Of an image, read off the images beside the same attack."""
    (found, *_), *_ = run.found("adversarial", attack=finding.parameters["attack"])
    return evaluation.read_arrays(run.folder, found)["clean"].shape[1:]


def _distances(
    run: _Run, finding: Finding, right: Bool[np.ndarray, " all"], largest: float
) -> Float[np.ndarray, " n"]:
    """Of each image that was searched, the first ones of those with a `right`.

    No distance of an image that was right is that none was found.
    """
    distances = evaluation.read_arrays(run.folder, finding)["distances"]
    distance = distances[:, DISTANCES.index("l2")].astype(float)
    return np.where((distance == 0) & right[: len(distance)], largest, distance)


def _corrupted(run: _Run) -> Iterator[Answer]:
    shares = run.arrays("corruptions", "right")
    if shares:
        meaning = "Accuracy under the 15 common corruptions at five severities."
        yield _of_means(Question("corrupted", True, "%", meaning, "shift"), shares)


def _calibrated(run: _Run) -> Iterator[Answer]:
    right, confidence = (run.arrays("clean", n) for n in ("right", "confidence"))
    meaning = "Expected calibration error: how far confidence is from accuracy."
    question = Question("ECE", False, "%", meaning, "confidence")
    made = [
        statistics.expected_calibration_error(c, r)
        for c, r in zip(confidence, right, strict=True)
    ]
    yield _answer(question, made, len(right[0]))
    meaning = "Negative log likelihood of the true class."
    question = Question("NLL", False, "", meaning, "confidence")
    yield _of_means(question, run.arrays("clean", "negative_log_likelihood"))


def _noise(run: _Run) -> Iterator[Answer]:
    noise, known = run.arrays("noise", "confidence"), run.arrays("clean", "confidence")
    if noise:
        meaning = (
            "How well confidence tells test images from uniform noise: area under the "
            "ROC curve."
        )
        question = Question("AUROC, noise", True, "%", meaning, "confidence")
        yield _auroc(question, known, noise)


def _left_out(run: _Run) -> Iterator[Answer]:
    known, unknown = (run.arrays("left_out", n) for n in ("known", "unknown"))
    if known:
        meaning = (
            "How well confidence tells classes of the training from those that were "
            "left out of it: area under the ROC curve."
        )
        question = Question("AUROC, left-out classes", True, "%", meaning, "confidence")
        yield _auroc(question, known, unknown)


def _auroc(
    question: Question, known: Sequence[np.ndarray], unknown: Sequence[np.ndarray]
) -> Answer:
    made = [statistics.auroc(k, u) for k, u in zip(known, unknown, strict=True)]
    return _answer(question, made, len(known[0]), len(unknown[0]))


def _cost(run: _Run) -> Iterator[Answer]:
    """Time and size: nothing to be resampled."""
    seconds = _seconds_an_example(run)
    if seconds is not None:
        meaning = "Time of training, without compilation, to that of the reference."
        question = Question("training time", False, "x", meaning, "cost")
        yield Answer(question, None, (seconds,))
    parameters = json.loads((run.folder / "config.json").read_text())["parameters"]
    meaning = "How many numbers are trained, to those of the reference."
    question = Question("parameters", False, "x", meaning, "cost")
    yield Answer(question, None, (float(parameters),))


def _seconds_an_example(run: _Run) -> float | None:
    """Epochs over examples a second, the median epoch's; mean over seeds."""
    found = []
    for lines in report.read_metrics(run.folder).values():
        speeds = [line["examples_per_second"] for line in lines]
        found.append(len(speeds) / float(np.median(speeds)))
    return float(np.mean(found)) if found else None

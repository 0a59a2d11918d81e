"""How long a comparison takes, said before it starts."""

import contextlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from robustlabels import build, evaluation, report, training
from robustlabels.comparison.cells import Cell
from robustlabels.comparison.settings import Comparison
from robustlabels.data import Dataset, as_float

__all__ = ["announce"]

_BATCHES = 20  # of an epoch that is measured, at most
_GRADIENTS = 3  # that are measured


class _Speed(NamedTuple):
    """What a kind of network does, and what a run of it takes beside.

    Attributes:
      steps: of training, a second.
      overhead: seconds of loading programs and of saving, a run.
      gradients: of the loss by an image, a second.
    """

    steps: float
    overhead: float
    gradients: float


def announce(
    comparison: Comparison,
    everything: Sequence[Cell],
    left: Sequence[Cell],
    share: tuple[int, int],
) -> None:
    """Says how many runs and steps there are, and how long they take.

    Each kind of network among the runs is trained for two short epochs, and a gradient
    by its images is timed. A kind that cannot be trained is left out: its runs will be
    marked with the reason.

    Args:
      comparison: from `settings.read`.
      everything: all of its runs.
      left: those that are to be done here.
      share: (k, n), the share that they are.
    """
    searches = sum(cell.kind == "search" for cell in everything)
    print(
        f"{len(comparison.candidates)} objectives: {searches} runs to search on "
        f"validation data, {len(everything) - searches} to measure; {len(left)} left"
        + (f" of share {share[0]}/{share[1]}" if share[1] > 1 else "")
        + ".",
        file=sys.stderr,
    )
    kinds: dict[str, list[Cell]] = {}
    for cell in left:
        kinds.setdefault(_kind(cell.config), []).append(cell)
    steps = attack_steps = 0
    training_seconds = attack_seconds = 0.0
    for cells in kinds.values():
        config = cells[0].config
        with contextlib.suppress(
            ValueError, ImportError, FileNotFoundError, training.Diverged
        ):
            dataset = build.dataset(config)
            examples = len(dataset.train.labels) / config.data.train_fraction
            speed = _measured(config, dataset)
            of_kind = sum(_steps(cell.config, examples) for cell in cells)
            attacked = sum(_attack_steps(cell.config, dataset) for cell in cells)
            steps, attack_steps = steps + of_kind, attack_steps + attacked
            training_seconds += len(cells) * speed.overhead + of_kind / speed.steps
            attack_seconds += attacked / speed.gradients
    if steps:
        print(
            f"By a measurement of each kind of network: {steps:,} training steps take "
            f"about {training_seconds / 60:.1f} minutes, {attack_steps:,} attack steps "
            f"of an image at most {attack_seconds / 60:.0f}, less what falls early.",
            file=sys.stderr,
        )


def _kind(config: ml_collections.ConfigDict) -> str:
    """What training steps and gradients of a run cost depends on this."""
    return json.dumps([config.encoder.to_dict(), config.head.to_dict()])


def _steps(config: ml_collections.ConfigDict, examples: float) -> int:
    """Training steps of a run at most, of all its seeds, if the data are so many."""
    section = config.training
    a_pass = math.ceil(examples * config.data.train_fraction / section.batch_size)
    if section.passes:
        a_pass *= section.passes
    else:
        a_pass = math.ceil(examples / section.batch_size)
    return config.num_seeds * section.num_epochs * a_pass


def _attack_steps(config: ml_collections.ConfigDict, dataset: Dataset) -> int:
    """Steps of all attacks of a run on single images, if none falls before the last."""
    section = config.evaluation
    size = len(getattr(dataset, section.split).labels)
    return config.num_seeds * evaluation.budget(
        build.attacks(config),
        min(section.num_examples or size, size),
        epsilons=evaluation.parse_epsilons(section.epsilons),
        losses=section.losses,
    )


def _measured(config: ml_collections.ConfigDict, dataset: Dataset) -> _Speed:
    """The speed of two short epochs of a run, and of gradients by images after them."""
    short = config.copy_and_resolve_references()
    short.training.num_epochs, short.num_seeds = 2, 1
    short.training.passes = 1
    size = len(dataset.train.labels)
    there = min(size, _BATCHES * short.training.batch_size)
    some = dataset.train.take(np.linspace(0, size - 1, there).astype(int))
    fewer = dataset._replace(train=some)
    for _ in range(2):  # What the first compiles, runs find compiled.
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            networks = build.networks(short, fewer)
            fitted = build.fit(short, networks, fewer, workdir=folder)
            (lines,) = report.read_metrics(folder).values()
        took = time.monotonic() - began
    seconds = there / lines[-1]["examples_per_second"]
    batches = math.ceil(there / short.training.batch_size)
    gradients = _gradients(short, fewer, fitted)
    return _Speed(batches / seconds, max(0.0, took - 2 * seconds), gradients)


def _gradients(
    config: ml_collections.ConfigDict, dataset: Dataset, fitted: training.Fitted
) -> float:
    """How many gradients by an image a second, in batches as attacks have them."""
    batch = min(config.evaluation.batch_size, len(dataset.validation.labels))
    some = dataset.validation.take(np.arange(batch))

    @jax.jit
    def gradient(classifier, x, y):
        return jax.grad(lambda x: classifier.loss(x, y).sum())(x)

    given = fitted.classifiers[0], as_float(some.images[:]), some.labels
    jax.block_until_ready(gradient(*given))
    began = time.monotonic()
    for _ in range(_GRADIENTS):
        jax.block_until_ready(gradient(*given))
    return _GRADIENTS * batch / (time.monotonic() - began)

"""What belongs to runs: replicas, going on after an interruption, reports.

Replicas are timed by the second of two epochs, as `fit` writes it into its metrics;
three runs are three epochs of one. The second attempts are of a training that is
stopped after its first stretch: one in a new folder, and one that goes on from the
checkpoint that such a one left. Reports are of copies of one evaluated run.
"""

import contextlib
import io
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import workloads
from timing import Row, arguments, compare, report, stopwatch

from robustlabels import objective, run
from robustlabels._stopping import Stopped
from robustlabels.config_file import load_config, override
from robustlabels.objective import Family
from robustlabels.report import write_report

CONFIG = pathlib.Path(__file__).parents[1] / "configs" / "digits_dlvq.py"
SEEDS = 3
RUNS = 20


def compare_replicas(
    name: str, make: Callable, family: Family, *, steps: int, rounds: int
) -> list[Row]:
    """Three replicas, one after another and vmapped, against three runs."""
    data = workloads.dataset(steps * workloads.BATCH_SIZE)

    def epoch(*, replicas: int, at_once: int, times: int = 1):
        """So many epochs, each of all replicas."""

        def seconds():
            models = [make() for _ in range(replicas)]
            return times * workloads.epoch_seconds(
                models, family, data, replicas_at_once=at_once
            )

        return seconds

    return compare(
        f"an epoch of {steps} steps of {SEEDS} seeds, {name}",
        {
            f"{SEEDS} runs": epoch(replicas=1, at_once=1, times=SEEDS),
            "replicas, one after another": epoch(replicas=SEEDS, at_once=1),
            "replicas, vmapped": epoch(replicas=SEEDS, at_once=SEEDS),
        },
        rounds=rounds,
    )


def compare_resuming(rounds: int) -> list[Row]:
    """A first stretch in a new folder, and another one in a folder that has one."""
    data = workloads.dataset(20 * workloads.BATCH_SIZE)
    family = objective.glvq(range(workloads.NUM_CLASSES))

    def stretch(folder):
        stop = {"stretch": 5, "stop": lambda: True}
        with contextlib.suppress(Stopped):
            workloads.fit(workloads.mlp(), family, data, workdir=folder, **stop)

    with tempfile.TemporaryDirectory() as begun, tempfile.TemporaryDirectory() as space:
        stretch(begun)

        def fresh():
            shutil.rmtree(space)
            stretch(space)

        def resumed():
            shutil.rmtree(space)
            shutil.copytree(begun, space)
            stretch(space)

        return compare(
            "build, compile and train 5 steps, checkpoint, MLP 784-1200-1200-200",
            {"in a new folder": stopwatch(fresh), "going on": stopwatch(resumed)},
            rounds=rounds,
        )


def compare_reports(rounds: int) -> list[Row]:
    """The page of one run and of twenty."""
    short = ["--config.training.num_epochs=5", "--config.evaluation.noise_images=1000"]
    config = override(load_config(str(CONFIG)), short)
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        with contextlib.redirect_stderr(io.StringIO()):
            run.train(config, folder / "runs" / "0")
        for number in range(1, RUNS):
            shutil.copytree(folder / "runs" / "0", folder / "runs" / str(number))

        def page(runs):
            return stopwatch(lambda: write_report([runs], folder / "page.html"))

        return compare(
            "report, one self-contained page",
            {
                "of one run": page(folder / "runs" / "0"),
                f"of {RUNS} runs": page(folder / "runs"),
            },
            rounds=rounds,
        )


def main():
    """Times replicas, resuming and reports."""
    args = arguments(__doc__, rounds=3)
    mlp = "MLP, SNG", workloads.mlp, objective.sng(range(workloads.NUM_CLASSES))
    cnn = "CNN, softmax", workloads.cnn, objective.softmax()
    rows = [
        *compare_replicas(*mlp, steps=20, rounds=args.rounds),
        *compare_replicas(*cnn, steps=5, rounds=args.rounds),
        *compare_resuming(args.rounds),
        *compare_reports(args.rounds),
    ]
    report("runs", rows, args)


if __name__ == "__main__":
    main()

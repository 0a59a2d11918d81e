"""A comparison against its runs, begun one by one as processes of their own.

Both do the same work to the same numbers: two objectives on the digits, three seeds,
with search, shares of the data, swapped labels and left-out classes. What is saved is
the start of each process, and the programs that runs have in common. A third row says
which share of the comparison's time is neither training nor measuring: the estimate
beforehand, loading data, checkpoints, the report of each run, the table.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import timing
from timing import Row, arguments

from robustlabels import build, evaluation, report
from robustlabels.config_file import load_run_config

ROOT = pathlib.Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from robustlabels.cli import main; exit(main())"]
OBJECTIVES = ("mcel_lda", "glvq")
GOAL = 0.6
CONFIG = """\
import json, pathlib, ml_collections

def tuples(value):
    if isinstance(value, dict):
        return {k: tuples(v) for k, v in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value

def get_config(path):
    stored = json.loads(pathlib.Path(path).read_text())["config"]
    return ml_collections.ConfigDict(tuples(stored))
"""


def seconds(*command: str) -> float:
    """What a command of robustlabels takes as a process of its own."""
    began = time.perf_counter()
    subprocess.run(
        [*COMMAND, *command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def inside(folder: pathlib.Path) -> float:
    """Seconds of training and of measuring in the runs of a comparison."""
    found = 0.0
    for path in sorted(folder.glob("*/finished.json")):
        config = load_run_config(path.parent)
        examples = len(build.dataset(config).train.labels)
        passes = config.training.passes or round(1 / config.data.train_fraction)
        epochs = next(iter(report.read_metrics(path.parent).values()))
        found += sum(examples * passes / e["examples_per_second"] for e in epochs)
        found += sum(
            finding.seconds
            for finding in evaluation.read_findings(path.parent)
            if finding.kind != "minimum_distortion"  # that of an attack once more
        )
    return found


def row(name: str, took: float, ratio: float | None, goal: float = GOAL) -> Row:
    """One run of each is all there is: hours are not spent on quartiles."""
    return {
        "case": f"digits, softmax, {' and '.join(OBJECTIVES)}",
        "contestant": name,
        "first_call_seconds": took,
        "seconds": [took] * 3,
        "ratio": None if ratio is None else [ratio] * 3,
        "goal": None if ratio is None else goal,
        "met": None if ratio is None else ratio <= goal,
    }


def main():
    """Times both once."""
    args = arguments(__doc__, rounds=1)
    with tempfile.TemporaryDirectory() as folder:
        there = pathlib.Path(folder)
        file = there / "one.py"
        file.write_text(CONFIG)
        config = ROOT / "configs" / "compare_digits.py"
        together = seconds(
            "compare",
            f"--config={config}",
            "--objectives",
            *OBJECTIVES,
            f"--workdir={there / 'together'}",
        )
        said = json.loads((there / "together" / "comparison.json").read_text())["said"]
        names = [cell["name"] for cell in said["cells"]]
        apart = sum(
            seconds(
                "train",
                f"--config={file}:{there / 'together' / name / 'config.json'}",
                f"--workdir={there / 'apart' / name}",
            )
            for name in names
        )
        outside = together - inside(there / "together")
    rows = [
        row(f"{len(names)} runs, one by one", apart, None),
        row("robustlabels compare", together, together / apart),
        row("outside of training and measuring", outside, outside / together, 0.1),
    ]
    timing.report("comparison", rows, args)


if __name__ == "__main__":
    main()

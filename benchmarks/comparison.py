"""A comparison against its runs, begun one by one as processes of their own.

Both do the same work to the same numbers: two objectives on the digits, three seeds,
with search, shares of the data, swapped labels and left-out classes. What is saved is
the start of each process, and the programs that runs have in common.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from timing import Row, arguments, report

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


def row(name: str, took: float, ratio: float | None) -> Row:
    """One run of each is all there is: hours are not spent on quartiles."""
    return {
        "case": f"digits, softmax, {' and '.join(OBJECTIVES)}",
        "contestant": name,
        "first_call_seconds": took,
        "seconds": [took] * 3,
        "ratio": None if ratio is None else [ratio] * 3,
        "goal": None if ratio is None else GOAL,
        "met": None if ratio is None else ratio <= GOAL,
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
    rows = [
        row(f"{len(names)} runs, one by one", apart, None),
        row("robustlabels compare", together, together / apart),
    ]
    report("comparison", rows, args)


if __name__ == "__main__":
    main()

"""Runs all benchmarks, each in a process of its own, and prints one table.

The table also goes to `summary.md` in the folder of the result files.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from timing import add_output, table

BENCHMARKS = (
    "imports",
    "losses",
    "attacks",
    "scan",
    "training",
    "evaluation",
    "runs",
)


def main():
    """Runs the scripts and puts their results together."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_output(parser)
    parser.add_argument("--rounds", help="as in each script; default: its own")
    args = parser.parse_args()
    options = ["--output", str(args.output)]
    if args.rounds:
        options += ["--rounds", args.rounds]
    here = pathlib.Path(__file__).parent
    for name in BENCHMARKS:
        command = [sys.executable, str(here / f"{name}.py"), *options]
        subprocess.run(command, check=True)

    paths = [args.output / f"{name}.json" for name in BENCHMARKS]
    results = [json.loads(path.read_text()) for path in paths]
    machine, origin = results[0]["machine"], results[0]["provenance"]
    versions = ", ".join(f"{k} {v}" for k, v in origin["versions"].items())
    summary = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['backend']}; "
        f"Python {machine['python']}, {versions}; commit {origin['commit']}; "
        f"{origin['date']}\n\n"
        + table(row for result in results for row in result["rows"])
    )
    (args.output / "summary.md").write_text(summary + "\n")
    print(summary)


if __name__ == "__main__":
    main()

"""Runs the benchmarks, and puts the results into `summary.md`.

    python benchmarks/run_all.py
    python benchmarks/run_all.py losses attacks

Those that are not named keep the results that are there. `minimum`, which needs MNIST,
and `peers`, which needs the extra of that name, run only if they are named.
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
    "labels",
    "similarity",
    "attacks",
    "scan",
    "training",
    "evaluation",
    "runs",
    "comparison",
)
WITH_NEEDS = ("minimum", "peers")


def summary(folder: pathlib.Path) -> str:
    """The results in a folder, each under the machine and versions it was had with."""
    sections = []
    for name in (*BENCHMARKS, *WITH_NEEDS):
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        result = json.loads(path.read_text())
        machine, origin = result["machine"], result["provenance"]
        versions = ", ".join(f"{k} {v}" for k, v in origin["versions"].items())
        sections += [
            f"## {name}",
            f"{machine['processor']}, {machine['cores']} cores, {machine['backend']}; "
            f"Python {machine['python']}, {versions}; commit {origin['commit']}; "
            f"{origin['date']}; {result['rounds']} rounds",
            table(result["rows"]),
        ]
    return "\n\n".join(sections)


def main():
    """Runs the scripts and puts their results together."""
    everything = (*BENCHMARKS, *WITH_NEEDS)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_output(parser)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(everything)} (default: all but the last two)",
    )
    parser.add_argument("--rounds", help="as in each script; default: its own")
    args = parser.parse_args()
    unknown = set(args.names) - set(everything)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: choose {', '.join(everything)}")
    options = ["--output", str(args.output)]
    if args.rounds:
        options += ["--rounds", args.rounds]
    here = pathlib.Path(__file__).parent
    for name in args.names or BENCHMARKS:
        command = [sys.executable, str(here / f"{name}.py"), *options]
        subprocess.run(command, check=True)
    text = summary(args.output)
    (args.output / "summary.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

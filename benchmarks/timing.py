"""How everything here is timed: interleaved rounds, medians, ratios within a round.

A contestant is a function that returns the seconds that a unit of its work took. In
every round all contestants run one after the other, forwards and backwards by turns, so
that a disturbance hits all alike; the ratio of two is the median of the ratios of the
rounds. The first call, which compiles, is reported apart; if it is short, a second one
warms up.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from robustlabels.evaluation import provenance

Contestant = Callable[[], float]
Row = dict[str, Any]

RESULTS = pathlib.Path(__file__).parent / "results"
_LEAST_SECONDS = 0.05
_NEEDS_NO_WARM_UP = 3.0


def stopwatch(function: Callable[[], Any], *, units: int = 1) -> Contestant:
    """A contestant that calls a function for at least 50 ms, waiting for each result.

    Args:
      function: does its work and returns the arrays that it ends in.
      units: of work in one call, such as steps.
    """

    def seconds_per_unit():
        calls, elapsed, start = 0, 0.0, time.perf_counter()
        while elapsed < _LEAST_SECONDS:
            jax.block_until_ready(function())
            calls, elapsed = calls + 1, time.perf_counter() - start
        return elapsed / (calls * units)

    return seconds_per_unit


def stepping(function: Callable[[Any], Any], state: Any) -> Callable[[], Any]:
    """A function that takes the state one call further, and so may donate it.

    Args:
      function: (state) -> state.
      state: where it starts; it is copied.
    """
    states = [jax.tree.map(jax.numpy.copy, state)]

    def advance():
        states.append(function(states.pop()))
        return states[0]

    return advance


def compare(
    case: str,
    contestants: Mapping[str, Contestant],
    *,
    rounds: int,
    goals: Mapping[str, float] | None = None,
) -> list[Row]:
    """Times contestants against the first of them.

    Args:
      case: what they all do.
      contestants: by name; the ratios of the others are to the first.
      rounds: how often each runs.
      goals: by the contestant's name, what its ratio may be at most; for the first
        one, its seconds.

    Returns:
      A row for each: the seconds of the first call, compilation included, and those of
      a unit of work, its ratio, the goal, and whether the median meets it. Seconds and
      ratio are [lower quartile, median, upper quartile].
    """
    print(f"{case} ...", flush=True)
    first_call = {}
    for name, contestant in contestants.items():
        start = time.perf_counter()
        contestant()
        first_call[name] = time.perf_counter() - start
        if first_call[name] < _NEEDS_NO_WARM_UP:
            contestant()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds):
        for name in list(contestants)[:: 1 if turn % 2 == 0 else -1]:
            seconds[name].append(contestants[name]())

    baseline, *_ = contestants
    rows = []
    for name in contestants:
        own, floor = np.array(seconds[name]), np.array(seconds[baseline])
        ratio = None if name == baseline else _quartiles(own / floor)
        goal = (goals or {}).get(name)
        _, reached, _ = ratio or _quartiles(own)
        rows.append(
            {
                "case": case,
                "contestant": name,
                "first_call_seconds": first_call[name],
                "seconds": _quartiles(own),
                "ratio": ratio,
                "goal": goal,
                "met": None if goal is None else reached <= goal,
            }
        )
    return rows


def _quartiles(sample: np.ndarray) -> list[float]:
    return np.quantile(sample, (0.25, 0.5, 0.75)).tolist()


def single(case: str, name: str, figures: dict[str, float], ratio: float | None) -> Row:
    """A row of what ran once, for its memory.

    Args:
      case: as of `compare`.
      name: of the contestant.
      figures: its "seconds" and "megabytes".
      ratio: of the megabytes to others; None where there are none.
    """
    seconds = figures["seconds"]
    return {
        "case": case,
        "contestant": name,
        "first_call_seconds": seconds,
        "seconds": [seconds] * 3,
        "ratio": None if ratio is None else [ratio] * 3,
        "goal": None,
        "met": None,
        "megabytes": figures["megabytes"],
    }


def peak_megabytes() -> float:
    """The most memory that this process has had resident.

    It is VmHWM of /proc/self/status, for `ru_maxrss` starts from that of the process
    before.
    """
    status = pathlib.Path("/proc/self/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1000


def forget_peak() -> None:
    """Lets `peak_megabytes` start anew from what is resident now."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def arguments(description: str | None, *, rounds: int) -> argparse.Namespace:
    """The command line of a script: `rounds` and `output`.

    Args:
      description: the script's docstring.
      rounds: how many there are unless asked otherwise.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=rounds,
        help="how often everything is timed (default: %(default)s)",
    )
    add_output(parser)
    return parser.parse_args()


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds the option `output`."""
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=RESULTS,
        help="folder of the result files (default: results, beside the scripts)",
    )


def report(name: str, rows: list[Row], args: argparse.Namespace) -> None:
    """Prints a table and writes `name.json`.

    Args:
      name: of the benchmark.
      rows: of all its cases.
      args: from `arguments`.
    """
    result = {
        "benchmark": name,
        "machine": machine(),
        "provenance": provenance(),
        "rounds": args.rounds,
        "rows": rows,
    }
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\n{table(rows)}\n")


def machine() -> dict[str, Any]:
    """What the numbers depend on beside the software."""
    try:
        information = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        information = ""
    found = re.search(r"^model name\s*: (.*)$", information, re.MULTILINE)
    return {
        "processor": found[1] if found else platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "backend": jax.default_backend(),
    }


def table(rows: Iterable[Row]) -> str:
    """Rows as a Markdown table: medians, and their quartiles in brackets."""
    lines = [
        "| what | who | first call | seconds | ratio | goal |",
        "|:--|:--|--:|--:|--:|:--|",
    ]
    for row in rows:
        ratio = "" if row["ratio"] is None else _written(row["ratio"])
        unit = " s" if row["ratio"] is None else ""
        goal = "" if row["goal"] is None else f"≤ {row['goal']:g}{unit} "
        verdict = {None: "", True: "met", False: "**missed**"}[row["met"]]
        cells = (
            row["case"],
            row["contestant"],
            f"{row['first_call_seconds']:.2f}",
            _written(row["seconds"]),
            ratio,
            goal + verdict,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _written(quartiles: list[float]) -> str:
    low, median, high = (f"{value:.3g}" for value in quartiles)
    return f"{median} [{low}, {high}]"

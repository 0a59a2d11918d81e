"""What the tables of papers share: cells of a sweep, one after another, a row each.

A cell is an ordinary run folder: after an interruption the same command goes on, and
cells that are finished are not trained again. Rows of cells that are not asked for stay
in the result file as they are.
"""

import argparse
import json
import pathlib
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from robustlabels import sweep
from robustlabels._files import whole
from robustlabels._stopping import Signals, Stopped

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"

Row = dict[str, Any]


def parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """The options that every study has: `workdir`, `seeds` and `output`.

    Args:
      description: the script's docstring.
      name: of the result, and of the folder below runs/.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--workdir",
        type=pathlib.Path,
        default=ROOT / "runs" / name,
        help=f"folder for the runs (default: runs/{name})",
    )
    made.add_argument(
        "--seeds", type=int, default=3, help="replicas of each cell (default: 3)"
    )
    made.add_argument(
        "--output",
        type=pathlib.Path,
        default=RESULTS / f"{name}.json",
        help=f"result file (default: results/{name}.json)",
    )
    return made


def parse_of_data(
    parser: argparse.ArgumentParser, name: str, data: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Arguments of a study of several data sets, and flags of the config.

    Args:
      parser: of `parser`; it gets the argument `data`, whose first choice is the
        default, and after which folder and result are called.
      name: of the study.
      data: the choices.
    """
    parser.set_defaults(workdir=None, output=None)
    parser.add_argument(
        "data",
        nargs="?",
        choices=data,
        default=data[0],
        help=f"data set and net (default: {data[0]})",
    )
    args, flags = parser.parse_known_args()
    args.workdir = args.workdir or ROOT / "runs" / f"{name}_{args.data}"
    args.output = args.output or RESULTS / f"{name}_{args.data}.json"
    return args, flags


def run(
    cells: Mapping[str, sweep.Cell],
    args: argparse.Namespace,
    *,
    row: Callable[[str, pathlib.Path], Row],
    order: Iterable[str],
    protocol: str,
) -> list[Row]:
    """Runs what is not finished yet, and writes the result file after each cell.

    Args:
      cells: by name, which is also that of the folder.
      args: of `parser`.
      row: (name, folder) -> what the records of a finished cell say.
      order: of all cells that there may be.
      protocol: a paragraph on how the numbers were had.

    Returns:
      All rows of the file, in order.
    """
    rows = _rows_of(args.output)
    with Signals() as stop:
        for name, cell in cells.items():
            try:
                (outcome,) = sweep.run({name: cell}, args.workdir, stop=stop)
            except Stopped as stopped:
                raise SystemExit(f"{stopped}: the same command goes on.") from None
            if outcome.error is not None:
                raise SystemExit(f"{name}: {outcome.error}")
            rows[name] = {"cell": name, **row(name, args.workdir / name)}
            ordered = [rows[each] for each in order if each in rows]
            write(args.output, {"protocol": protocol, "rows": ordered})
    return [rows[each] for each in order if each in rows]


def _rows_of(output: pathlib.Path) -> dict[str, Row]:
    """The rows that a result file holds already, by cell."""
    if not output.exists():
        return {}
    return {each["cell"]: each for each in json.loads(output.read_text())["rows"]}


def write(output: pathlib.Path, result: Mapping[str, Any]) -> None:
    """Writes a result file, whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole(output) as file:
        file.write((json.dumps(result, indent=2) + "\n").encode())


def provenance(folder: pathlib.Path) -> dict[str, Any]:
    """Versions, commit, device and date of a run's training."""
    return json.loads((folder / "config.json").read_text())["provenance"]


def summary(values: Iterable[float], interval: Sequence[float] | None = None) -> Row:
    """Mean over seeds and its standard deviation; of one seed the interval, if any.

    Args:
      values: one a seed.
      interval: of one seed.
    """
    values = list(values)
    made: Row = {"mean": statistics.mean(values), "seeds": len(values)}
    if len(values) > 1:
        made["std"] = statistics.stdev(values)
    elif interval is not None:
        made["interval"] = list(interval)
    return made


def shown(made: Row, digits: int = 1) -> str:
    """A summary as text."""
    mean = f"{made['mean']:.{digits}f}"
    if "std" in made:
        return f"{mean} ± {made['std']:.{digits}f}"
    if "interval" in made:
        low, high = made["interval"]
        return f"{mean} [{low:.{digits}f}, {high:.{digits}f}]"
    return mean


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, all columns but the first to the right."""
    lines = [f"| {' | '.join(head)} |", f"|:--{'|--:' * (len(head) - 1)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])

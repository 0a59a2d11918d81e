"""The command line: a function for each command, and one that tells them apart."""

import datetime
import pathlib
import re
import shlex
import sys
from collections.abc import Sequence
from fractions import Fraction

import ml_collections
from absl import logging

from robustlabels import (
    __version__,
    build,
    comparison,
    data,
    evaluation,
    labels,
    report,
    run,
    sweep,
    training,
    transfer,
)
from robustlabels._stopping import Signals, Stopped
from robustlabels._usage import (
    COMPARE_HELP,
    EVALUATE_HELP,
    LABELS_HELP,
    PREPARE_HELP,
    REPORT_HELP,
    SWEEP_HELP,
    TRAIN_HELP,
    TRANSFER_HELP,
    USAGE,
)
from robustlabels.config_file import (
    load_config,
    load_run_config,
    override,
    split_fields,
    split_flag,
    split_flags,
    split_values,
)
from robustlabels.sections import complete

__all__ = ["main"]

_TRANSFER = {"loss": "own", "epsilon": "0.1", "rms": "", "num_examples": "1000"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status.

    Args:
      arguments: of the command line, without the program; by default the process's.

    Returns:
      0, 1 for an error that was printed, or 128 and the number of the signal that ended
      it.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    logging.set_verbosity(logging.FATAL)  # TFDS and Orbax speak to developers.
    with Signals() as stop:
        try:
            return _dispatch(arguments, stop)
        except (ValueError, OSError, ImportError, training.Diverged) as error:
            print(f"robustlabels: error: {error}", file=sys.stderr)
            return 1
        except Stopped as stopped:
            print(f"robustlabels: {stopped}", file=sys.stderr)
            return 130 if stop.received is None else 128 + stop.received
        except KeyboardInterrupt:
            print("robustlabels: interrupted", file=sys.stderr)
            return 130


def _dispatch(arguments: list[str], stop: Signals) -> int:
    match arguments:
        case [] | ["--help" | "-h" | "help", *_]:
            print(USAGE)
        case ["--version", *_]:
            print(f"robustlabels {__version__}")
        case ["train", *rest]:
            _train(rest, stop)
        case ["evaluate", *rest]:
            _evaluate(rest, stop)
        case ["transfer", *rest]:
            _transfer(rest, stop)
        case ["sweep", *rest]:
            return _sweep(rest, stop)
        case ["compare", *rest]:
            _compare(rest, stop)
        case ["report", *rest]:
            _report(rest)
        case ["labels", *rest]:
            _labels(rest)
        case ["data"] | ["data", "--help" | "-h"]:
            print(PREPARE_HELP)
        case ["data", "prepare", *rest]:
            _prepare(rest)
        case _:
            raise ValueError(
                f"{' '.join(arguments[:2])!r} is no command; there are train, "
                "evaluate, transfer, sweep, compare, report, labels and data prepare. "
                "See robustlabels --help."
            )
    return 0


def _wants_help(arguments: list[str]) -> bool:
    return "--help" in arguments or "-h" in arguments


def _train(arguments: list[str], stop: Signals) -> None:
    wants_help = _wants_help(arguments)
    rest = [a for a in arguments if a not in ("--help", "-h")]
    written, rest = split_flag(rest, "config")
    chosen, rest = split_flag(rest, "workdir")
    if wants_help and written is None:
        print(TRAIN_HELP)
        return
    if written is None:
        raise ValueError("train needs --config=FILE, such as configs/digits_dlvq.py.")
    config = override(load_config(written), rest)
    if wants_help:
        print(TRAIN_HELP)
        print(f"Fields of {written}:\n\n{_listed(config)}")
        return
    workdir = chosen or _new_folder(written)
    again = ["robustlabels", "train", f"--config={written}", *rest]
    try:
        found = run.train(config, workdir, stop=stop)
    except Stopped as stopped:
        raise _with_a_way_on(stopped, [*again, f"--workdir={workdir}"]) from None
    print(evaluation.render_table(found))


def _evaluate(arguments: list[str], stop: Signals) -> None:
    if _wants_help(arguments):
        print(EVALUATE_HELP)
        return
    written, rest = split_flag(arguments, "config")
    chosen, rest = split_flag(rest, "workdir")
    if chosen is None:
        raise ValueError("evaluate needs --workdir=DIR, the folder of a run.")
    config = load_run_config(pathlib.Path(chosen))
    if written is not None:
        config.evaluation = complete(load_config(written)).evaluation
    named, rest = split_flag(rest, "attacks")
    if named is not None:
        sections = {name: {"name": name} for name in named.split(",")}
        config.evaluation.attacks = ml_collections.ConfigDict(sections)
    config = override(config, rest)
    try:
        found = run.evaluate(config, chosen, stop=stop)
    except Stopped as stopped:
        again = ["robustlabels", "evaluate", *arguments]
        raise _with_a_way_on(stopped, again) from None
    print(evaluation.render_table(found))


def _transfer(arguments: list[str], stop: Signals) -> None:
    if _wants_help(arguments):
        print(TRANSFER_HELP)
        return
    folders, rest = split_values(arguments, "workdirs")
    out, rest = split_flag(rest, "out")
    name, rest = split_flag(rest, "attack")
    numbers: dict[str, str] = {}
    for flag, usual in _TRANSFER.items():
        value, rest = split_flag(rest, flag)
        numbers[flag] = usual if value is None else value
    if not folders or out is None:
        raise ValueError("transfer needs --workdirs DIR DIR ... and --out=DIR.")
    attack, rest = split_fields(rest, "attack")
    if rest:
        raise ValueError(
            f"transfer does not take {' '.join(rest)!r}; see robustlabels transfer "
            "--help."
        )
    try:
        found = transfer.run(
            folders,
            out,
            attack={"name": name or "minimum_distortion", **attack},
            loss=numbers["loss"],
            epsilon=_number("epsilon", numbers["epsilon"]),
            rms=[_number("rms", v) for v in numbers["rms"].split(",") if v],
            num_examples=_whole("num_examples", numbers["num_examples"]),
            stop=stop,
        )
    except Stopped as stopped:
        again = ["robustlabels", "transfer", *arguments]
        raise _with_a_way_on(stopped, again) from None
    print(evaluation.render_transfer(found))


def _number(flag: str, written: str) -> float:
    """A number or a fraction of the command line."""
    try:
        return float(Fraction(written))
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"--{flag}={written!r} is no number: write 0.1 or 8/255."
        ) from None


def _whole(flag: str, written: str) -> int:
    """A whole number of the command line."""
    number = _number(flag, written)
    if not number.is_integer():
        raise ValueError(f"--{flag}={written} is not a whole number.")
    return int(number)


def _sweep(arguments: list[str], stop: Signals) -> int:
    if _wants_help(arguments):
        print(SWEEP_HELP)
        return 0
    written, rest = split_flag(arguments, "config")
    chosen, rest = split_flag(rest, "workdir")
    varied, rest = split_flags(rest, "vary")
    if written is None or chosen is None or not varied:
        raise ValueError(
            "sweep needs --config=FILE, --vary=KEY=V1,V2 and --workdir=DIR."
        )
    base = override(load_config(written), rest)
    cells = sweep.grid(base, varied)
    try:
        outcomes = sweep.run(cells, chosen, stop=stop)
    except Stopped as stopped:
        again = ["robustlabels", "sweep", *arguments]
        raise _with_a_way_on(stopped, again) from None
    print(sweep.render_outcomes(outcomes))
    return 0 if all(outcome.error is None for outcome in outcomes) else 1


def _compare(arguments: list[str], stop: Signals) -> None:
    if _wants_help(arguments):
        print(COMPARE_HELP)
        return
    written, rest = split_flag(arguments, "config")
    chosen, rest = split_flag(rest, "workdir")
    share, rest = split_flag(rest, "cells")
    workers, rest = split_flag(rest, "workers")
    only, rest = split_values(rest, "objectives")
    if written is None:
        if chosen is None or rest:
            raise ValueError("compare needs --config=FILE, or --workdir=DIR alone.")
        table = comparison.write_table(chosen)
    else:
        workdir = chosen or _new_folder(written)
        wanted = comparison.read(load_config(written), rest, only=only)
        try:
            table = comparison.compare(
                wanted,
                workdir,
                share=_share(share or "1/1"),
                workers=_whole("workers", workers or "1"),
                stop=stop,
            )
        except Stopped as stopped:
            again = ["robustlabels", "compare", *arguments]
            again += [] if chosen else [f"--workdir={workdir}"]
            raise _with_a_way_on(stopped, again) from None
        chosen = workdir
    print(comparison.to_text(table))
    print("\n".join(table.verdict))
    print(f"The report is {chosen}/report.html.", file=sys.stderr)


def _share(written: str) -> tuple[int, int]:
    """Which of how many equal shares."""
    match = re.fullmatch(r"(\d+)/(\d+)", written)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(
            f"--cells={written} is no share: --cells=3/8 is the third of eight."
        )
    return int(match[1]), int(match[2])


def _report(arguments: list[str]) -> None:
    if _wants_help(arguments):
        print(REPORT_HELP)
        return
    output, folders = split_flag(arguments, "output")
    unknown = [folder for folder in folders if folder.startswith("-")]
    if unknown or not folders:
        raise ValueError(
            "report takes folders and --output=FILE, not "
            f"{' '.join(unknown) or 'nothing'}: robustlabels report runs/mine."
        )
    if output is None:
        output = pathlib.Path(folders[0] if len(folders) == 1 else "", "report.html")
    print(report.write_report(folders, output))


def _labels(arguments: list[str]) -> None:
    if _wants_help(arguments):
        print(LABELS_HELP)
        return
    written, rest = split_flag(arguments, "config")
    out, rest = split_flag(rest, "out")
    if written is None or out is None:
        raise ValueError("labels needs --config=FILE and --out=DIR.")
    config = override(load_config(written), rest)
    dataset = build.dataset(config)
    codebook = build.codebook(config, dataset)
    section = config.objective.codebook
    sounds = None
    if section.name == "speech":
        sounds = labels.recordings(
            dataset.class_names, wav_dir=section.wav_dir, voice=section.voice
        )
    files = labels.write(out, codebook, dataset.class_names, sounds=sounds)
    print(f"{len(codebook)} labels of {codebook.shape[1:]} are in {out}:")
    print("\n".join(f"  {path.relative_to(out)}" for path in files))


def _with_a_way_on(stopped: Stopped, command: list[str]) -> Stopped:
    return Stopped(f"{stopped}. Go on with:\n  {shlex.join(command)}")


def _prepare(arguments: list[str]) -> None:
    if _wants_help(arguments):
        print(PREPARE_HELP)
        return
    data_dir, rest = split_flag(arguments, "data_dir")
    if len(rest) != 1 or rest[0].startswith("-"):
        raise ValueError(
            f"data prepare takes one name, such as cifar10, not {' '.join(rest)!r}."
        )
    data.prepare(rest[0], data_dir=data_dir or "")


def _listed(config: ml_collections.ConfigDict, prefix: str = "--config") -> str:
    """Every field as a flag, a line each."""
    lines = []
    for name, value in config.items():
        flag = f"{prefix}.{name}"
        if isinstance(value, ml_collections.ConfigDict):
            lines.append(_listed(value, flag))
        else:
            lines.append(f"  {flag}={value!r}")
    return "\n".join(lines)


def _new_folder(written: str) -> str:
    """A name below runs/ that nobody has yet."""
    path, _, argument = written.partition(":")
    name = "-".join(filter(None, [pathlib.Path(path).stem, argument]))
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return f"runs/{name}/{now}"

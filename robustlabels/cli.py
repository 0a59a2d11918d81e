"""The command line: train, evaluate, and prepare data."""

import datetime
import json
import os
import pathlib
import sys
from collections.abc import Sequence

import ml_collections
from absl import logging

from robustlabels import __version__, build, data, evaluation, training
from robustlabels.config_file import (
    load_config,
    load_run_config,
    override,
    split_flag,
)
from robustlabels.evaluation import Record
from robustlabels.sections import complete

__all__ = ["main"]

USAGE = """\
robustlabels: other labels and losses, and whether they make a classifier robust.

  robustlabels train --config=FILE[:ARG] [--config.a.b=VALUE ...] [--workdir=DIR]
      Trains what a config file describes, keeps the best model on validation,
      attacks it and prints a table. Results go to DIR, a new folder.
  robustlabels evaluate --workdir=DIR [--config=FILE] [--config.evaluation.b=VALUE ...]
      Attacks the best model of a finished run again, with other attacks or epsilons.
  robustlabels data prepare NAME [--data_dir=DIR]
      Lets TFDS download and prepare a data set, once; needs the extra `prepare`.

Examples:
  robustlabels train --config=configs/digits_dlvq.py
  robustlabels train --config=configs/mnist_dlvq.py:bn --config.training.num_epochs=20
  robustlabels evaluate --workdir=runs/mine --config.evaluation.epsilons=0.1,8/255

`robustlabels train --config=FILE --help` lists every field of that config.
"""

TRAIN_HELP = """\
robustlabels train --config=FILE[:ARG] [--config.a.b=VALUE ...] [--workdir=DIR]

Trains what FILE describes, attacks the best model and prints a table. DIR, by default
a new folder below runs/, gets config.json, metrics.jsonl, TensorBoard events,
checkpoints/ and one JSON record a cell in evaluation/. A folder that holds a run is
never overwritten.

  --config          a Python file that defines get_config, such as
                    configs/mnist_dlvq.py; ARG is handed to it
  --config.a.b      another value for a field, such as --config.training.num_epochs=20,
                    --config.encoder.widths="(300, 100)" or --config.optimizer.name=sgd
  --workdir         folder for the results

Data sets: digits, fake, idx:FOLDER, npz:FILE, or the name of a set prepared by TFDS in
--config.data.data_dir, $TFDS_DATA_DIR or ~/tensorflow_datasets.

Example: robustlabels train --config=configs/digits_dlvq.py --config.seed=1
"""

EVALUATE_HELP = """\
robustlabels evaluate --workdir=DIR [--config=FILE[:ARG]]
                      [--config.evaluation.b=VALUE ...]

Attacks the best model of the run in DIR again, adds the records to DIR/evaluation and
prints a table.

  --workdir         folder of a run
  --config          a config file whose evaluation section replaces that of the run
  --config.a.b      another value for a field of `evaluation`, or for data.data_dir

Attacks: fgsm, pgd, gaussian_noise, uniform_noise. An attack is a name of your own and
the fields of one of these. Epsilons are numbers or fractions, with commas.

Example: robustlabels evaluate --workdir=runs/mine \\
             --config.evaluation.attacks.pgd.num_steps=100 \\
             --config.evaluation.epsilons=0.05,8/255
"""

PREPARE_HELP = """\
robustlabels data prepare NAME [--data_dir=DIR]

Lets TFDS download and prepare the data set NAME as ArrayRecord, once. Reading it later
needs neither network nor TensorFlow; preparing needs both:
pip install 'robustlabels[prepare]'.

  --data_dir        folder of prepared sets; by default $TFDS_DATA_DIR or
                    ~/tensorflow_datasets

Example: robustlabels data prepare cifar10
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status.

    Args:
      arguments: of the command line, without the program; by default the process's.

    Returns:
      0, 1 for an error that was printed, or 130 after an interrupt.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    logging.set_verbosity(logging.ERROR)  # TFDS and Orbax speak to developers.
    try:
        return _dispatch(arguments)
    except (ValueError, OSError, ImportError, training.Diverged) as error:
        print(f"robustlabels: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("robustlabels: interrupted", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    match arguments:
        case [] | ["--help" | "-h" | "help", *_]:
            print(USAGE)
        case ["--version", *_]:
            print(f"robustlabels {__version__}")
        case ["train", *rest]:
            _train(rest)
        case ["evaluate", *rest]:
            _evaluate(rest)
        case ["data"] | ["data", "--help" | "-h"]:
            print(PREPARE_HELP)
        case ["data", "prepare", *rest]:
            _prepare(rest)
        case _:
            raise ValueError(
                f"{' '.join(arguments[:2])!r} is no command; there are train, "
                "evaluate and data prepare. See robustlabels --help."
            )
    return 0


def _wants_help(arguments: list[str]) -> bool:
    return "--help" in arguments or "-h" in arguments


def _train(arguments: list[str]) -> None:
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
    build.check(config)
    workdir = _new_folder(chosen, written)
    dataset = build.dataset(config)
    model = build.network(config, dataset)
    _write_config(workdir, config)
    sizes = " / ".join(str(len(split.labels)) for split in dataset[1:4])
    print(
        f"{dataset.name}: {sizes} examples to train, validate and test on, "
        f"{dataset.num_classes} classes. Results go to {workdir}.",
        file=sys.stderr,
    )
    fitted = build.fit(config, model, dataset, workdir=workdir)
    standing = fitted.standing
    print(
        f"Best of {standing.epoch} epochs on validation: epoch {standing.best_epoch}, "
        f"error {100 * standing.validation_error:.2f} %.",
        file=sys.stderr,
    )
    _measure(config, dataset, fitted, workdir)


def _evaluate(arguments: list[str]) -> None:
    if _wants_help(arguments):
        print(EVALUATE_HELP)
        return
    written, rest = split_flag(arguments, "config")
    chosen, rest = split_flag(rest, "workdir")
    if chosen is None:
        raise ValueError("evaluate needs --workdir=DIR, the folder of a run.")
    workdir = pathlib.Path(chosen)
    trained = load_run_config(workdir)
    config = trained.copy_and_resolve_references()
    if written is not None:
        config.evaluation = complete(load_config(written)).evaluation
    config = override(config, rest)
    _only_evaluation_differs(trained, config)
    build.check(config)
    dataset = build.dataset(config)
    fitted = build.restore(config, dataset, workdir)
    _measure(config, dataset, fitted, workdir)


def _only_evaluation_differs(
    trained: ml_collections.ConfigDict, config: ml_collections.ConfigDict
) -> None:
    """Raises where a flag would change what was trained."""
    for section in trained:
        before, after = (c.to_dict()[section] for c in (trained, config))
        if section == "data":
            before, after = ({**d, "data_dir": ""} for d in (before, after))
        if section != "evaluation" and before != after:
            raise ValueError(
                f"evaluate cannot change config.{section}: the run was trained with "
                f"{before}. Only config.evaluation and config.data.data_dir may change."
            )


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


def _new_folder(chosen: str | None, written: str) -> pathlib.Path:
    """A folder that holds no run and can be made; it is not made yet."""
    if chosen is None:
        path, _, argument = written.partition(":")
        name = "-".join(filter(None, [pathlib.Path(path).stem, argument]))
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        chosen = f"runs/{name}/{now}"
    workdir = pathlib.Path(chosen)
    if (workdir / "config.json").exists():
        raise ValueError(
            f"--workdir={workdir} already holds a run, and nothing is overwritten: "
            "choose another folder, or `robustlabels evaluate` this one."
        )
    there = next(p for p in (workdir, *workdir.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise OSError(
            f"--workdir={workdir} cannot be written, for {there} is "
            f"{'read-only' if there.is_dir() else 'a file'}: choose another folder."
        )
    return workdir


def _write_config(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> None:
    """Makes the run's folder, with everything that is needed to run it again."""
    workdir.mkdir(parents=True, exist_ok=True)
    stored = {"config": config.to_dict(), "provenance": evaluation.provenance()}
    (workdir / "config.json").write_text(json.dumps(stored, indent=2) + "\n")


def _measure(
    config: ml_collections.ConfigDict,
    dataset: data.Dataset,
    fitted: training.Fitted,
    workdir: pathlib.Path,
) -> None:
    """Attacks a model, writes each record as it comes, and prints the table."""
    records: list[Record] = []
    for record in build.evaluate(config, dataset, fitted):
        evaluation.write_record(workdir, record)
        records.append(record)
    print(evaluation.render_table(records))

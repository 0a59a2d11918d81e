"""The command line: train, evaluate, sweep, report, labels, and prepare data."""

import datetime
import pathlib
import shlex
import sys
from collections.abc import Sequence

import ml_collections
from absl import logging

from robustlabels import (
    __version__,
    build,
    data,
    evaluation,
    labels,
    report,
    run,
    sweep,
    training,
)
from robustlabels._stopping import Signals, Stopped
from robustlabels.config_file import (
    load_config,
    load_run_config,
    override,
    split_flag,
    split_flags,
)
from robustlabels.sections import complete

__all__ = ["main"]

USAGE = """\
robustlabels: other labels and losses, and whether they make a classifier robust.

  robustlabels train --config=FILE[:ARG] [--config.a.b=VALUE ...] [--workdir=DIR]
      Trains what a config file describes, keeps the best model on validation,
      attacks it, prints a table and writes a report. Results go to DIR; the same
      command goes on with what was interrupted there.
  robustlabels evaluate --workdir=DIR [--config=FILE] [--config.evaluation.b=VALUE ...]
      Attacks the best model of a finished run again, with other attacks or epsilons.
  robustlabels sweep --config=FILE[:ARG] --vary=KEY=V1,V2 [--vary=...] --workdir=DIR
      Trains and attacks every combination of the values, each a run of its own.
  robustlabels report DIR ... [--output=FILE]
      Renders runs and sweeps side by side into one HTML page.
  robustlabels labels --config=FILE[:ARG] --out=DIR
      Writes the label arrays of a config, to look at and to listen to.
  robustlabels data prepare NAME [--data_dir=DIR]
      Lets TFDS download and prepare a data set, once; needs the extra `prepare`.

Examples:
  robustlabels train --config=configs/digits_dlvq.py
  robustlabels train --config=configs/mnist_dlvq.py:bn --config.training.num_epochs=20
  robustlabels evaluate --workdir=runs/mine --config.evaluation.epsilons=0.1,8/255
  robustlabels sweep --config=configs/digits_dlvq.py --vary=training.patience=0,5 \\
      --vary=objective.tau_end=1,30 --workdir=runs/noise
  robustlabels report runs/mine runs/noise --output=report.html

`robustlabels train --config=FILE --help` lists every field of that config.
"""

TRAIN_HELP = """\
robustlabels train --config=FILE[:ARG] [--config.a.b=VALUE ...] [--workdir=DIR]

Trains what FILE describes, attacks the best model and prints a table. DIR, by default
a new folder below runs/, gets config.json, metrics.jsonl, TensorBoard events,
checkpoints/, records in evaluation/, and report.html. The same command on the same
folder goes on where it was interrupted, and ends with the same numbers; a folder of
another config is refused, never overwritten.

  --config          a Python file that defines get_config, such as
                    configs/mnist_dlvq.py; ARG is handed to it
  --config.a.b      another value for a field, such as --config.training.num_epochs=20,
                    --config.encoder.widths="(300, 100)" or --config.optimizer.name=sgd
  --config.num_seeds=3
                    trains three replicas in one program, with the seeds config.seed,
                    config.seed + 1, ...; tables show mean ± standard deviation
  --workdir         folder for the results

Every batch is split over all devices that JAX sees. Ctrl-C or SIGTERM saves and ends.

Data sets: digits, fake, idx:FOLDER, npz:FILE, or the name of a set prepared by TFDS in
--config.data.data_dir, $TFDS_DATA_DIR or ~/tensorflow_datasets.

Example: robustlabels train --config=configs/digits_dlvq.py --config.seed=1
"""

EVALUATE_HELP = """\
robustlabels evaluate --workdir=DIR [--config=FILE[:ARG]]
                      [--config.evaluation.b=VALUE ...]

Attacks the best model of the run in DIR again, adds the records to DIR/evaluation,
prints a table and renews the report. What was measured already is not measured again.

  --workdir         folder of a run
  --config          a config file whose evaluation section replaces that of the run
  --config.a.b      another value for a field of `evaluation`, or for data.data_dir

Attacks: fgsm, pgd, gaussian_noise, uniform_noise. An attack is a name of your own and
the fields of one of these. Epsilons are numbers or fractions, with commas.

Example: robustlabels evaluate --workdir=runs/mine \\
             --config.evaluation.attacks.pgd.num_steps=100 \\
             --config.evaluation.epsilons=0.05,8/255
"""

SWEEP_HELP = """\
robustlabels sweep --config=FILE[:ARG] [--config.a.b=VALUE ...]
                   --vary=KEY=V1,V2,... [--vary=...] --workdir=DIR

Trains and attacks every combination of the values, one after another in one process.
Each cell is an ordinary run in a folder of DIR, named by its values; DIR gets a report
of the grid. The same command goes on where it was interrupted; with more values, it
adds their cells. A cell that diverges, or whose data do not allow its values, is marked
and the rest goes on.

  --config, --config.a.b
                    the base, as for train
  --vary            a field and its values, such as --vary=training.batch_size=50,100;
                    commas within brackets belong to a value:
                    --vary=encoder.widths=(64,),(256,64)
  --workdir         folder for all runs

Example: robustlabels sweep --config=configs/digits_dlvq.py \\
             --vary=objective.tau_end=1,30 --vary=training.input_noise=0.0,0.2 \\
             --workdir=runs/noise
"""

REPORT_HELP = """\
robustlabels report DIR [DIR ...] [--output=FILE]

Renders any number of runs, and folders of runs such as a sweep's, side by side into
one self-contained HTML page: tables, curves, confidence, examples, warnings.

  --output          the page; by default report.html in DIR, or here for several DIRs

Example: robustlabels report runs/mine runs/other --output=compared.html
"""

LABELS_HELP = """\
robustlabels labels --config=FILE[:ARG] [--config.a.b=VALUE ...] --out=DIR

Makes the label of each class that FILE regresses, and writes into DIR: codebook.npz,
which `from_file` reads; statistics.json, how varied labels are and how far apart;
images/NAME.png; and sounds/NAME.wav, the recordings where labels are speech, else what
Griffin-Lim makes of labels with 64 rows. Files that are there are replaced.

  --config          a file whose objective is label_regression
  --config.a.b      another value for a field, such as
                    --config.objective.codebook.voice=de
  --out             folder for the labels

Example: robustlabels labels --config=configs/digits_labels.py:speech --out=labels
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
        case ["sweep", *rest]:
            return _sweep(rest, stop)
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
                "evaluate, sweep, report, labels and data prepare. See "
                "robustlabels --help."
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
    config = override(config, rest)
    try:
        found = run.evaluate(config, chosen, stop=stop)
    except Stopped as stopped:
        again = ["robustlabels", "evaluate", *arguments]
        raise _with_a_way_on(stopped, again) from None
    print(evaluation.render_table(found))


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

"""Mixed cross-entropy, Negi et al. (2018), on MNIST and CIFAR-10 under label noise.

Trains a net by every objective while a share of the training labels is swapped between
pairs of classes, as in the paper's noise study, and writes `mcel_DATA.json`: accuracy
on clean test labels, calibration, and what was learned. Where no label is swapped, the
nets are attacked too. The controls are label smoothing, MCEL with the uniform
similarity, and corrections that know or estimate the noise. After an interruption the
same command goes on; rows of cells that are not asked for stay in the file. Flags of
the config, such as --config.training.num_epochs=30, go to every cell.
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
import study

from robustlabels import evaluation, run, sweep
from robustlabels.config_file import load_config, load_run_config, override
from robustlabels.evaluation import Finding

ATTACKED = 1000
VARIANTS = {
    "cross-entropy": ("softmax", []),
    "label smoothing": ("label_smoothing", []),
    "MCEL, uniform": ("mcel", ["similarity.name=uniform"]),
    "MCEL, LDA": ("mcel", []),
    "MCEL, LDA of clean labels": ("mcel", ["similarity.labels=clean"]),
    "SG-MCEL": ("sg_mcel", []),
    "GMCEL": ("gmcel", []),
    "forward, known": ("forward_corrected", []),
    "forward, estimated": ("forward_corrected", ["noise_matrix.name=estimated"]),
    "backward, known": ("backward_corrected", []),
}
# What differs from cross-entropy or from MCEL only where labels are swapped.
_OF_NOISE = "clean labels", "known", "estimated"
RATES = ("0.0", "0.1", "0.2", "0.3", "0.4", "0.45")
VALIDATION = {"noisy": True, "clean": False}
# Flags of the config, epsilon of the attack, and the first lines of the protocol.
DATA = {
    "mnist": (
        ["encoder.widths=(8, 16)", "data.train_fraction=0.2"],
        "0.1",
        "MNIST, a fifth of its training images (10,000 / 10,000 / 10,000); a CNN of 8 "
        "and 16 channels and 64 features, Adam at 1e-3 under a cosine, 10 epochs of "
        "batches of 100. ",
    ),
    "cifar10": (
        [],
        "2/255",
        "CIFAR-10, 40,000 / 10,000 / 10,000, without augmentation; ResNet-32, SGD with "
        "momentum 0.9 and weight decay 1e-4, its rate from 0.1 to 0.01 exponentially. ",
    ),
}
PROTOCOL = (
    "The best epoch on validation is kept; "
    "epsilon 0.2, label smoothing 0.1, penalties of weight 1. Classes are paired at "
    "random and exactly the given share of each is labelled as its partner, in "
    "training and, where validation is noisy, in validation. Test labels are clean. "
    "The paper's noise study is of CIFAR-10 with ResNet-32, and gives its numbers in a "
    "figure only. Attack: PGD-20 along the own loss and the margin, the worst of both, "
    "on the first 1,000 test images."
)


def cell_name(variant: str, rate: str, validation: str) -> str:
    """The name of a cell's folder and row.

    >>> cell_name("MCEL, LDA", "0.2", "noisy")
    'mcel_lda-0.2-noisy'
    """
    words = variant.lower().replace(",", "").replace("-", "_").split()
    return "-".join(["_".join(words), rate, validation])


def names(
    variants: Sequence[str], rates: Sequence[str], validations: Sequence[str]
) -> dict[str, tuple[str, str, str]]:
    """The cells that make sense, by name; without noise, validation is clean."""
    found = {}
    for rate in rates:
        for validation in validations if float(rate) else ("clean",):
            for variant in variants:
                if not float(rate) and variant.endswith(_OF_NOISE):
                    continue
                name = cell_name(variant, rate, validation)
                found[name] = variant, rate, validation
    return found


def config_of(
    variant: str, rate: str, validation: str, args: Any, flags: Sequence[str]
) -> ml_collections.ConfigDict:
    """The config of a cell."""
    objective, changes = VARIANTS[variant]
    config = load_config(
        str(study.ROOT / "configs" / f"{args.data}_mcel.py:{objective}")
    )
    config.evaluation = {
        "noise_images": 0,
        "fooling_images": 0,
        "diagnosed_examples": 0,
    }
    if variant == "forward, estimated":
        base = args.workdir / cell_name("cross-entropy", rate, validation)
        changes = [*changes, f"noise_matrix.run={base}"]
    of_data, _, _ = DATA[args.data]
    flags = [
        *(f"--config.{change}" for change in of_data),
        *flags,
        *(f"--config.objective.{change}" for change in changes),
        f"--config.data.swap_rate={rate}",
        f"--config.data.noisy_validation={VALIDATION[validation]}",
        f"--config.num_seeds={args.seeds}",
    ]
    return override(config, flags)


def row(epsilon: str, name: str, folder: pathlib.Path) -> study.Row:
    """What the records of a finished cell say; without noise, also under attack."""
    stored = load_run_config(folder)
    if not stored.data.swap_rate:
        _attack(stored, epsilon, folder)
    findings = [f for f in evaluation.read_findings(folder) if f.kind == "clean"]
    findings = [f for f in findings if f.n == max(each.n for each in findings)]
    made: study.Row = {
        "swap_rate": stored.data.swap_rate,
        "validation": "noisy" if stored.data.noisy_validation else "clean",
        "objective": _objective(stored),
        "epochs": stored.training.num_epochs,
        "batch_size": stored.training.batch_size,
        "accuracy": _of(findings, lambda v: 100 * v["top_k"]["1"]),
        "top_5": _of(findings, lambda v: 100 * v["top_k"]["5"]),
        "ece": _of(findings, lambda v: 100 * v["expected_calibration_error"]),
        "nll": _of(findings, lambda v: v["negative_log_likelihood"]),
        "brier": _of(findings, lambda v: v["brier_score"]),
    }
    worst = [
        100 * record.value
        for record in evaluation.read_records(folder)
        if (record.loss, record.epsilon) == ("worst", epsilon)
    ]
    if worst:
        made["under_pgd"] = study.summary(worst)
    targets = folder / "targets.npz"
    if targets.exists():
        with np.load(targets) as arrays:
            own = np.diagonal(arrays["matrix"], axis1=1, axis2=2)
        made["given_to_others"] = {
            "mean": float(1 - own.mean()),
            "min": float(1 - own.max()),
            "max": float(1 - own.min()),
        }
    made["trained"] = study.provenance(folder)
    return made


def _objective(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The objective's section; a run that it names is a cell, and called like it."""
    fields = config.objective.to_dict()
    for part in fields.values():
        if isinstance(part, dict) and part.get("run"):
            part["run"] = pathlib.Path(part["run"]).name
    return fields


def _attack(
    config: ml_collections.ConfigDict, epsilon: str, folder: pathlib.Path
) -> None:
    config.evaluation.attacks = {"pgd": {"name": "pgd", "num_steps": 20}}
    flags = [f"epsilons={epsilon}", f"num_examples={ATTACKED}", "noise_images=0"]
    run.evaluate(override(config, [f"--config.evaluation.{f}" for f in flags]), folder)


def _of(findings: Sequence[Finding], get: Any) -> study.Row:
    return study.summary(get(finding.values) for finding in findings)


def table(rows: Sequence[study.Row]) -> str:
    """The rows as a Markdown table."""
    head = ["cell", "accuracy, %", "ECE, %", "NLL", "Brier", "ε", "PGD, %"]
    cells = []
    for each in rows:
        given = each.get("given_to_others")
        attacked = each.get("under_pgd")
        cells.append(
            [
                each["cell"],
                study.shown(each["accuracy"], 2),
                study.shown(each["ece"], 2),
                study.shown(each["nll"], 4),
                study.shown(each["brier"], 4),
                "" if given is None else f"{given['mean']:.3f}",
                "" if attacked is None else study.shown(attacked),
            ]
        )
    return study.table(head, cells)


def main():
    """Runs what is not finished yet, and writes the table."""
    parser = study.parser(__doc__, "mcel_DATA")
    several = {"nargs": "+"}
    parser.add_argument(
        "--variants", choices=VARIANTS, default=list(VARIANTS), **several
    )
    parser.add_argument("--rates", choices=RATES, default=list(RATES), **several)
    parser.add_argument(
        "--validation", choices=VALIDATION, default=["noisy"], **several
    )
    args, flags = study.parse_of_data(parser, "mcel", list(DATA))
    _, epsilon, protocol = DATA[args.data]
    chosen = names(args.variants, args.rates, args.validation)
    cells = {
        name: sweep.Cell(config_of(*what, args, flags), {"cell": name})
        for name, what in chosen.items()
    }
    order = names(list(VARIANTS), RATES, list(VALIDATION))
    rows = study.run(
        cells,
        args,
        row=functools.partial(row, epsilon),
        order=order,
        protocol=protocol + PROTOCOL,
    )
    print(table(rows))


if __name__ == "__main__":
    main()

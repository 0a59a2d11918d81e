"""The tables of Chen et al. (2021): which label makes a net robust, on how much data.

Trains one net by every label on a share of the training images, attacks it as the paper
does, by FGSM and by five steps along the label's own loss, and then by PGD along every
loss that the decision knows; writes `labels_DATA.json` beside the other results. After
an interruption the same command goes on; rows of cells that are not asked for stay in
the file. Flags of the config, such as --config.training.num_epochs=30, go to every
cell.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections
import study

from robustlabels import evaluation, sweep
from robustlabels.config_file import load_config, load_run_config, override
from robustlabels.evaluation import Record

LABELS = (
    "category",
    "label_smoothing",
    "low_dimensional",
    "constant",
    "uniform",
    "gaussian_composition",
    "speech",
    "shuffled_speech",
)
FRACTIONS = ("1", "0.2", "0.1", "0.08", "0.04", "0.02", "0.01")
EQUAL = {"epochs": 1, "steps": 0}
EPSILONS = "0.05, 0.1, 0.15, 0.2, 0.25, 0.3"
ATTACKED = 1000
ENDS = "0.1", "0.3"  # what the table shows
SHOWN = ("fgsm", "own"), ("iterative", "own"), ("pgd", "worst")

_STD: dict[str, Any] = {"unit": "std"}
_FIVE = {
    **_STD,
    "name": "pgd",
    "num_steps": 5,
    "relative_step_size": 0.2,
    "random_start": False,
}
ATTACKS = {
    "fgsm": {**_STD, "name": "fgsm"},
    "iterative": _FIVE,
    "pgd": {**_STD, "name": "pgd", "num_steps": 20},
    # As the released code adds up gradients, and as it leads towards a class.
    "accumulated": {**_FIVE, "accumulate": True},
    "fgsm_targeted": {**_STD, "name": "fgsm", "targeted": True},
    "iterative_targeted": {**_FIVE, "targeted": True},
}
# File and argument of the config, and the first lines of the protocol.
DATA = {
    "digits": (
        "digits_labels.py:mlp,{}",
        "The 8 x 8 digits of scikit-learn, 1,123 / 225 / 449; an MLP of 256, 256 and "
        "64 units.",
    ),
    "digits_cnn": (
        "digits_labels.py:cnn,{}",
        "The 8 x 8 digits of scikit-learn, 1,123 / 225 / 449; a CNN of 16 and 32 "
        "channels and 64 features.",
    ),
    "mnist": (
        "mnist_labels.py:cnn,{}",
        "MNIST, 50,000 / 10,000 / 10,000; a CNN of 16 and 32 channels and 64 features.",
    ),
    "cifar10": (
        "cifar10_labels.py:resnet32,{}",
        "CIFAR-10, 45,000 / 5,000 / 10,000, crops and flips; ResNet-32, SGD at 0.1 "
        "with momentum 0.9 and weight decay 1e-4, a tenth of it after a half and three "
        "quarters of the epochs.",
    ),
    "cifar100": (
        "cifar100_labels.py:resnet32,{}",
        "CIFAR-100, a fifth of its training images (9,000 / 1,000) and all 10,000 to "
        "test on, crops and flips; ResNet-32, SGD at 0.1 with momentum 0.9 and weight "
        "decay 1e-4, a tenth of it after a half and three quarters of the epochs.",
    ),
}
PROTOCOL = (
    " The best epoch on validation is kept. Where nets are attacked, the first 1,000 "
    "test images count, of digits all. Epsilons are standard deviations of the "
    "training images, as in the paper; images stay in their box, which the paper's do "
    "not. FGSM and five steps of a fifth of epsilon follow the label's own loss, as in "
    "the paper; worst is the worst per example over the losses that the row names, of "
    "the own loss, the margin, cross-entropy of tempered scores and the difference of "
    "logits ratio."
)


def cell_name(label: str, fraction: str) -> str:
    """The name of a cell's folder and row.

    >>> cell_name("speech", "0.02")
    'speech-0.02'
    """
    return f"{label}-{fraction}"


def config_of(
    label: str, fraction: str, args: Any, flags: Sequence[str]
) -> ml_collections.ConfigDict:
    """The config of a cell."""
    file, _ = DATA[args.data]
    config = load_config(str(study.ROOT / "configs" / file.format(label)))
    if args.data == "cifar100":
        config.data.name = "cifar100_fifth"
    config.data.train_fraction = float(fraction)
    config.training.passes = EQUAL[args.equal]
    config.num_seeds = args.seeds
    config.evaluation.epsilons = EPSILONS
    config.evaluation.attacks = {name: ATTACKS[name] for name in args.attacks}
    config.evaluation.update(noise_images=0, fooling_images=0)
    if args.attacks and not args.data.startswith("digits"):
        config.evaluation.num_examples = ATTACKED
    return override(config, flags)


def row(name: str, folder: pathlib.Path) -> study.Row:
    """What the records of a finished cell say."""
    stored = load_run_config(folder)
    records = evaluation.read_records(folder)
    findings = evaluation.read_findings(folder)
    clean = [f.values for f in findings if f.kind == "clean"]
    signs = [f.values["signs"] for f in findings if f.kind == "hidden_gradient"]
    label, fraction = name.rsplit("-", 1)
    return {
        "label": label,
        "train_fraction": float(fraction),
        "epochs": stored.training.num_epochs,
        "passes": stored.training.passes,
        "batch_size": stored.training.batch_size,
        "learning_rate": stored.learning_rate.peak,
        "accuracy": study.summary(100 * r.value for r in records if r.attack == "none"),
        "ece": study.summary(100 * v["expected_calibration_error"] for v in clean),
        "examples": max(r.n for r in records),
        "losses": list(stored.evaluation.losses),
        "under": {
            attack: {loss: _curve(records, attack, loss) for loss in ("own", "worst")}
            for attack in stored.evaluation.attacks
        },
        "signs_of_hidden_gradients": sorted(
            {each["name"] for of_seed in signs for each in of_seed if each["yes"]}
        ),
        "trained": study.provenance(folder),
    }


def _curve(records: Sequence[Record], attack: str, loss: str) -> study.Row:
    values: dict[str, list[float]] = {}
    for record in records:
        if (record.attack, record.loss) == (attack, loss):
            values.setdefault(record.epsilon, []).append(100 * record.value)
    ordered = sorted(values.items(), key=lambda item: float(item[0]))
    return {epsilon: study.summary(found) for epsilon, found in ordered}


def table(rows: Sequence[study.Row]) -> str:
    """The rows as a Markdown table, in percent."""
    head = ["label", "of the data", "accuracy"]
    head += [f"{attack}, {loss}, ε {e}" for attack, loss in SHOWN for e in ENDS]
    cells = []
    for each in rows:
        curves = [each["under"].get(attack, {}).get(loss, {}) for attack, loss in SHOWN]
        under = [curve.get(e) for curve in curves for e in ENDS]
        share = f"{100 * each['train_fraction']:g} %"
        numbers = ["" if n is None else study.shown(n) for n in under]
        cells.append([each["label"], share, study.shown(each["accuracy"]), *numbers])
    return study.table(head, cells)


def main():
    """Runs what is not finished yet, and writes the table."""
    parser = study.parser(__doc__, "labels_DATA")
    several = {"nargs": "+"}
    parser.add_argument("--labels", choices=LABELS, default=list(LABELS), **several)
    parser.add_argument("--fractions", choices=FRACTIONS, default=["1"], **several)
    parser.add_argument(
        "--attacks",
        choices=ATTACKS,
        nargs="*",
        default=list(ATTACKS),
        help="which attacks, if any (default: all)",
    )
    parser.add_argument(
        "--equal",
        choices=EQUAL,
        default="epochs",
        help="what a part of the data has in common with the whole (default: epochs)",
    )
    args, flags = study.parse_of_data(parser, "labels", list(DATA))
    cells = {
        cell_name(label, fraction): sweep.Cell(
            config_of(label, fraction, args, flags),
            {"label": label, "train_fraction": fraction},
        )
        for fraction in args.fractions
        for label in args.labels
    }
    order = [cell_name(label, f) for f in FRACTIONS for label in LABELS]
    protocol = DATA[args.data][1] + PROTOCOL
    print(table(study.run(cells, args, row=row, order=order, protocol=protocol)))


if __name__ == "__main__":
    main()

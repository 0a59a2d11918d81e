"""What is said before a comparison starts, against what its runs then do."""

import re

import ml_collections

from robustlabels import comparison, evaluation, report

SOFTMAX = {"name": "Softmax"}


def config(**objectives):
    return ml_collections.ConfigDict(
        {
            "num_seeds": 2,
            "data": {"name": "digits", "train_fraction": 0.2},
            "encoder": {"name": "MLP", "widths": (16,)},
            "optimizer": {"name": "adam"},
            "learning_rate": {"name": "constant", "peak": 1e-2},
            "training": {"num_epochs": 3, "batch_size": 50},
            "evaluation": {
                "epsilons": "0.01, 0.02",
                "attacks": {
                    "pgd": {"name": "pgd", "num_steps": 7},
                    "nearest": {"name": "ddn", "num_steps": 5},
                },
                "losses": ("margin",),
                "num_examples": 30,
                "noise_images": 0,
                "fooling_images": 0,
                "diagnosed_examples": 0,
            },
            "objectives": {
                "softmax": {"head": SOFTMAX, "objective": {"name": "softmax"}},
                **objectives,
            },
            "compare": {"learning_rates": (1e-2, 1e-3), "swap_rates": (0.2,)},
        }
    )


def label(**codebook):
    return {
        "head": {"name": "LabelDecoder", "shape": (4,)},
        "objective": {"name": "label_regression", "codebook": codebook},
    }


def numbers(said):
    (line,) = [each for each in said.splitlines() if "training steps take" in each]
    found = re.findall(r"([\d,]+) (training|attack) steps", line)
    return {what: int(count.replace(",", "")) for count, what in found}


def test_the_steps_are_those_that_are_taken(tmp_path, capsys):
    made = config(uniform=label(name="uniform", shape=(4,)))
    comparison.compare(comparison.read(made), tmp_path)
    taken = 0
    for folder in tmp_path.glob("*/metrics.jsonl"):
        for lines in report.read_metrics(folder.parent).values():
            taken += lines[-1]["step"]
    records = [
        record
        for name in ("softmax", "uniform")
        for record in evaluation.read_records(tmp_path / f"all-{name}")
    ]
    of_pgd = [r for r in records if (r.attack, r.loss) == ("pgd", "margin")]
    assert len(of_pgd) == 2 * 2 * 2  # objectives, seeds, epsilons
    assert numbers(capsys.readouterr().err) == {
        "training": taken,
        "attack": 2 * 2 * 30 * (2 * 7 + 5),
    }


def test_what_cannot_be_trained_is_left_out(tmp_path, capsys):
    made = config(words=label(name="word_vectors", path="nowhere.txt"))
    table = comparison.compare(comparison.read(made), tmp_path)
    said = capsys.readouterr().err
    assert numbers(said)["attack"] == 2 * 30 * (2 * 7 + 5)
    assert "search-words-0 cannot be run" in said
    assert "nowhere.txt" in table.entries["words"]["accuracy"].missing


def test_what_is_done_takes_no_time(tmp_path, capsys):
    made = config(again=config().objectives.softmax.to_dict())
    comparison.compare(comparison.read(made), tmp_path)
    capsys.readouterr()
    comparison.compare(comparison.read(made), tmp_path)
    said = capsys.readouterr().err
    assert "4 to measure; 0 left" in said
    assert "training steps take" not in said

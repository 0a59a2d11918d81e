"""A comparison in its folder: alike for all, shared by workers, gone on with."""

import json
import multiprocessing
import subprocess
import sys

import ml_collections
import numpy as np
import pytest

from robustlabels import comparison, evaluation
from robustlabels._stopping import Stopped
from robustlabels.cli import main
from robustlabels.comparison import cells, work

SOFTMAX = {"name": "Softmax"}


def config(**changed):
    fields = {
        "num_seeds": 2,
        "data": {"name": "digits", "balanced": True, "train_fraction": 0.2},
        "encoder": {"name": "MLP", "widths": (16,)},
        "optimizer": {"name": "adam"},
        "learning_rate": {"name": "constant", "peak": 1e-2},
        "training": {"num_epochs": 4, "batch_size": 50},
        "evaluation": {
            "epsilons": "0.1, 0.2",
            "attacks": {"fgsm": {"name": "fgsm"}},
            "num_examples": 60,
            "noise_images": 50,
            "fooling_images": 0,
            "diagnosed_examples": 0,
        },
        "objectives": {
            "softmax": {"head": SOFTMAX, "objective": {"name": "softmax"}},
            "again": {"head": SOFTMAX, "objective": {"name": "softmax"}},
        },
        "compare": {
            "learning_rates": (1e-2, 1e-4),
            "left_out": (9,),
            "num_resamples": 1000,
        },
    }
    return ml_collections.ConfigDict({**fields, **changed})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, comparison.compare(comparison.read(config()), folder)


def test_softmax_beside_itself_differs_in_nothing(undisturbed):
    _, table = undisturbed
    entries = table.entries["again"]
    compared = {name for name, e in entries.items() if e.difference is not None}
    assert {"accuracy", "robust area", "ECE", "NLL", "AUROC, noise"} <= compared
    assert "AUROC, left-out classes" in compared
    for name in compared:
        entry, own = entries[name], table.entries["softmax"][name]
        assert entry.seeds == own.seeds
        assert (entry.difference, entry.low, entry.high, entry.p) == (0, 0, 0, 1)
    assert table.num_missing == 0


def test_the_better_learning_rate_is_chosen_for_each_and_said(undisturbed):
    folder, table = undisturbed
    for name in ("softmax", "again"):
        assert table.tuned[name]["learning_rate.peak"] == "0.01"
        assert table.tuned[name]["runs"] == 2
        stored = json.loads((folder / f"all-{name}" / "config.json").read_text())
        assert stored["config"]["learning_rate"]["peak"] == 1e-2


def test_a_figure_is_that_of_the_records(undisturbed):
    folder, table = undisturbed
    records = evaluation.read_records(folder / "all-softmax")
    for epsilon in ("0.1", "0.2"):
        worst = [r.value for r in records if r.loss == "worst" and r.epsilon == epsilon]
        entry = table.entries["softmax"][f"robust at {epsilon}"]
        assert entry.value == pytest.approx(np.mean(worst))


def test_it_writes_every_form_of_the_table(undisturbed):
    folder, table = undisturbed
    for name in ("report.html", "table.md", "table.csv"):
        assert "softmax" in (folder / name).read_text()
    assert comparison.from_json((folder / "table.json").read_text()) == table
    assert comparison.read_table(folder) == table


def test_stopped_again_and_again_it_ends_with_the_same_table(undisturbed, tmp_path):
    _, table = undisturbed
    asked, stops = 0, 0

    def now_and_then():
        nonlocal asked
        asked += 1
        return asked % 7 == 0

    while True:
        try:
            found = comparison.compare(
                comparison.read(config()), tmp_path, stop=now_and_then
            )
            break
        except Stopped:
            stops += 1
            assert stops < 500
    assert stops > 3
    assert without_time(found) == without_time(table)


def without_time(table):
    """A table but for what a clock says."""
    entries = {
        name: {q: e for q, e in by_question.items() if q != "training time"}
        for name, by_question in table.entries.items()
    }
    return table._replace(entries=entries)


def test_a_helper_does_what_this_process_does_not(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(
        work,
        "_attempt",
        lambda cell, comparison, workdir, stop: cells.is_over(workdir / cell.name),
    )
    found = comparison.compare(comparison.read(config()), tmp_path, workers=2)
    assert without_time(found) == without_time(undisturbed[1])
    assert not multiprocessing.active_children()


def test_helpers_end_with_this_process(tmp_path):
    asked = iter(range(6))
    with pytest.raises(Stopped):
        comparison.compare(
            comparison.read(config()),
            tmp_path,
            workers=2,
            stop=lambda: next(asked) == 5,
        )
    assert not multiprocessing.active_children()


def test_no_worker_is_refused(tmp_path):
    with pytest.raises(ValueError, match="workers=0"):
        comparison.compare(comparison.read(config()), tmp_path, workers=0)


def test_workers_share_the_runs(undisturbed, tmp_path):
    _, table = undisturbed
    file = tmp_path / "compare.py"
    fields = json.dumps(config().to_dict())
    file.write_text(
        "import json, ml_collections\n"
        "def get_config():\n"
        f"    return ml_collections.ConfigDict(json.loads({fields!r}))\n"
    )
    code = "import sys; from robustlabels.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "compare", f"--config={file}"]
    command += [f"--workdir={tmp_path / 'runs'}"]
    workers = [
        subprocess.Popen([*command, *share], stdout=subprocess.DEVNULL)
        for share in (["--cells=1/2"], ["--cells=2/2"], [])
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    found = comparison.read_table(tmp_path / "runs")
    assert without_time(found) == without_time(table)


def test_another_comparison_is_refused(undisturbed):
    folder, _ = undisturbed
    other = comparison.read(config(), ["--config.training.num_epochs=5"])
    with pytest.raises(ValueError, match="holds another comparison"):
        comparison.compare(other, folder)


def test_what_the_data_do_not_allow_is_marked_and_the_rest_goes_on(tmp_path, capsys):
    objectives = config().objectives.to_dict()
    objectives["words"] = {
        "head": {"name": "LabelDecoder", "shape": (4,)},
        "objective": {
            "name": "label_regression",
            "codebook": {"name": "word_vectors", "path": str(tmp_path / "none.txt")},
        },
    }
    compare = {"num_resamples": 1000}
    read = comparison.read(config(objectives=objectives, compare=compare))
    table = comparison.compare(read, tmp_path / "runs")
    assert "none.txt" in table.entries["words"]["accuracy"].missing
    assert table.entries["again"]["accuracy"].value is not None
    assert any(line.startswith("words has no figures") for line in table.verdict)


def test_the_command_renews_the_table_and_refuses_nonsense(undisturbed, capsys):
    folder, _ = undisturbed
    assert main(["compare", f"--workdir={folder}"]) == 0
    assert "robust area" in capsys.readouterr().out
    assert main(["compare"]) == 1
    assert "compare needs --config=FILE" in capsys.readouterr().err
    assert main(["compare", "--workdir=none"]) == 1
    assert "holds no comparison" in capsys.readouterr().err
    assert main(["compare", "--config=configs/compare_digits.py", "--cells=9/8"]) == 1
    assert "--cells=9/8 is no share" in capsys.readouterr().err
    assert main(["compare", "--help"]) == 0
    assert "--objectives" in capsys.readouterr().out

"""The command line, as a person uses it: results, help, and errors with a fix."""

import contextlib
import fcntl
import io
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from robustlabels import evaluation, labels
from robustlabels.cli import main

CONFIG = """
import ml_collections

def get_config(objective="sng"):
    config = ml_collections.ConfigDict()
    config.data = dict(name="fake")
    config.encoder = dict(name="MLP", widths=(16, 8))
    config.head = dict(name="Softmax" if objective == "softmax" else "Prototypes")
    config.objective = dict(name=objective)
    config.optimizer = dict(name="adam")
    config.learning_rate = dict(name="constant", peak=1e-2)
    config.training = dict(num_epochs=2)
    attacks = dict(fgsm=dict(name="fgsm"))
    config.evaluation = dict(
        epsilons="0.1, 8/255",
        attacks=attacks,
        noise_images=30,
        fooling_images=0,
        diagnosed_examples=0,
    )
    return config
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "experiment.py"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """The folder of a run, and what was printed."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["train", f"--config={config}", f"--workdir={workdir}"]) == 0
    return workdir, printed.getvalue()


@pytest.fixture
def run(trained, tmp_path, capsys):
    """A copy of a run of its own for each test."""
    workdir = shutil.copytree(trained[0], tmp_path / "run")
    capsys.readouterr()
    return workdir


def test_train_leaves_a_run_and_prints_its_table(trained):
    run, table = trained
    assert "fake / MLP / Prototypes / sng: test accuracy" in table
    assert "epsilon 8/255" in table
    records = evaluation.read_records(run)
    assert {(r.attack, r.loss, r.epsilon) for r in records} == {
        ("none", "none", "0"),
        *(
            ("fgsm", loss, epsilon)
            for loss in ("own", "margin", "worst")
            for epsilon in ("8/255", "0.1")
        ),
    }
    for record in records:
        assert f"{100 * record.value:.1f} [" in table
    stored = json.loads((run / "config.json").read_text())
    assert stored["config"]["training"]["num_epochs"] == 2
    assert "jax" in stored["provenance"]["versions"]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert list(run.glob("events.out.tfevents.*"))
    assert sorted(p.name for p in (run / "checkpoints").iterdir())[-1].isdigit()
    assert "<html" in (run / "report.html").read_text()
    kinds = [finding.kind for finding in evaluation.read_findings(run)]
    assert sorted(kinds) == ["adversarial", "adversarial", "clean", "noise"]


def test_evaluate_attacks_the_same_model_again(run, capsys):
    before = {(r.attack, r.loss, r.epsilon): r for r in evaluation.read_records(run)}
    arguments = [
        "evaluate",
        f"--workdir={run}",
        "--config.evaluation.epsilons=8/255,0.2",
        "--config.evaluation.attacks.long.name=pgd",
        "--config.evaluation.attacks.long.num_steps=3",
    ]
    assert main(arguments) == 0
    assert "long" in capsys.readouterr().out
    after = {(r.attack, r.loss, r.epsilon): r for r in evaluation.read_records(run)}
    for cell, record in before.items():
        assert after[cell].value == record.value
    assert ("fgsm", "own", "0.2") in after
    assert after["long", "margin", "0.2"].parameters["num_steps"] == 3
    assert after["long", "worst", "0.2"].value <= after["long", "worst", "8/255"].value


def test_evaluate_takes_the_evaluation_section_of_another_config(run, tmp_path):
    other = tmp_path / "other.py"
    other.write_text(CONFIG.replace("0.1, 8/255", "0.3").replace("(16, 8)", "(99,)"))
    assert main(["evaluate", f"--workdir={run}", f"--config={other}:softmax"]) == 0
    assert "0.3" in {record.epsilon for record in evaluation.read_records(run)}


def test_the_same_command_gives_the_same_numbers(trained, config, tmp_path):
    def values(workdir):
        return [record.value for record in evaluation.read_records(workdir)]

    again = tmp_path / "again"
    assert main(["train", f"--config={config}", f"--workdir={again}"]) == 0
    assert values(again) == values(trained[0])


def test_labels_are_written_to_look_at(tmp_path, capsys):
    config = pathlib.Path(__file__).parents[1] / "configs" / "digits_labels.py"
    command = ["labels", f"--config={config}:low_dimensional", f"--out={tmp_path}"]
    assert main(command) == 0
    assert f"10 labels of (10,) are in {tmp_path}:" in capsys.readouterr().out
    found = labels.from_file(10, tmp_path / "codebook.npz")
    np.testing.assert_array_equal(found, labels.uniform(10, shape=(10,)))
    pictures = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert pictures == [f"{digit}.png" for digit in range(10)]
    assert main(["labels", f"--config={config}:category", f"--out={tmp_path}"]) == 1
    assert "'softmax' has no label arrays" in capsys.readouterr().err


def test_without_a_workdir_a_new_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiment.py").write_text(CONFIG)
    nothing = ("noise_images", "fooling_images", "diagnosed_examples")
    short = [f"--config.evaluation.{field}=0" for field in nothing]
    assert main(["train", "--config=experiment.py:sng", *short]) == 0
    (made,) = (tmp_path / "runs" / "experiment-sng").iterdir()
    assert (made / "config.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "'trian' is no command; there are train, evaluate"),
        (["sweep", "--workdir=x"], "sweep needs --config=FILE, --vary=KEY"),
        (["report"], "report takes folders and --output=FILE, not nothing"),
        (["report", "--to=x"], "report takes folders and --output=FILE, not --to=x"),
        (["report", "none"], "none"),
        (["train"], "train needs --config=FILE"),
        (["train", "--config=none.py"], "--config=none.py: there is no such file"),
        (["evaluate"], "evaluate needs --workdir=DIR"),
        (["evaluate", "--workdir=none"], "--workdir=none holds no run"),
        (["labels", "--out=x"], "labels needs --config=FILE and --out=DIR"),
        (["data", "prepare"], "data prepare takes one name"),
        (["data", "prepare", "a", "b"], "data prepare takes one name"),
    ],
)
def test_a_wrong_command_says_what_is_right(arguments, message, capsys):
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--config.training.epochs=1", "config.training has no 'epochs'"),
        ("--config.training.num_epochs=0", "num_epochs=0 is not a whole number"),
        ("--config.head.name=Softmax", "set config.head.name=Prototypes"),
        ("--config.evaluation.epsilons=8", "epsilon=8.0 is outside [0, 1]"),
        ("--config.data.name=mnistt", "mnistt"),
        ("--config.data.swap_rate=0.7", "swap_rate=0.7"),
        ("--config.encoder.widths=(0,)", "out_features=0"),
    ],
)
def test_a_bad_value_ends_before_any_work(config, tmp_path, change, message, capsys):
    workdir = tmp_path / "bad"
    arguments = ["train", f"--config={config}", change, f"--workdir={workdir}"]
    assert main([*arguments, f"--config.data.data_dir={tmp_path / 'no'}"]) == 1
    assert message in capsys.readouterr().err
    assert not workdir.exists()


def test_a_folder_of_another_config_is_never_overwritten(run, config, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    command = ["train", f"--config={config}", f"--workdir={run}"]
    changes = ["--config.training.num_epochs=3", "--config.encoder.widths=(9,)"]
    assert main([*command, *changes]) == 1
    error = capsys.readouterr().err
    assert "holds a run of another config, and nothing is overwritten" in error
    assert "config.training.num_epochs: 2 there, 3 here" in error
    assert "config.encoder.widths: [16, 8] there, [9] here" in error
    assert "num_seeds" not in error
    assert main([*command, "--config.evaluation.epsilons=0.3"]) == 1
    assert "`robustlabels evaluate` changes the evaluation" in capsys.readouterr().err
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert after == before


def test_a_finished_run_is_not_done_again(run, config, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["train", f"--config={config}", f"--workdir={run}"]) == 0
    out = capsys.readouterr()
    assert "fake / MLP / Prototypes / sng: test accuracy" in out.out
    assert "it is finished" in out.err
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert after == before


def test_a_folder_in_use_is_left_alone(run, config, capsys):
    (run / "finished.json").unlink()
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["train", f"--config={config}", f"--workdir={run}"]) == 1
    assert f"another process works in {run}" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(config, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    workdir = tmp_path / "file" / "run"
    assert main(["train", f"--config={config}", f"--workdir={workdir}"]) == 1
    assert f"--workdir={workdir} cannot be written" in capsys.readouterr().err


def test_evaluate_does_not_change_what_was_trained(run, capsys):
    change = "--config.encoder.widths=(9, 9)"
    assert main(["evaluate", f"--workdir={run}", change]) == 1
    error = capsys.readouterr().err
    assert "config.encoder.widths: [16, 8] there, [9, 9] here" in error
    assert "Evaluate changes nothing but config.evaluation" in error


def test_a_diverged_run_says_where_and_keeps_the_last_checkpoint(
    config, tmp_path, capsys
):
    workdir = tmp_path / "diverged"
    arguments = ["train", f"--config={config}:softmax", f"--workdir={workdir}"]
    change = ["--config.optimizer.name=sgd", "--config.learning_rate.peak=1e30"]
    assert main(arguments + change) == 1
    error = capsys.readouterr().err
    assert "training of seed 0 diverged" in error
    assert "learning rate is 1e+30" in error
    assert (workdir / "checkpoints" / "0" / "best").is_dir()
    marked = json.loads((workdir / "diverged.json").read_text())
    assert marked["message"] in error
    assert main(arguments + change) == 1
    assert f"{workdir} diverged before: " in capsys.readouterr().err


def test_an_interrupt_has_the_status_of_one(config, monkeypatch, capsys):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("robustlabels.build.dataset", interrupted)
    assert main(["train", f"--config={config}"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], [], ["-h"]])
def test_help_shows_the_commands_with_an_example(arguments, capsys):
    assert main(arguments) == 0
    text = capsys.readouterr().out
    commands = ("train", "evaluate", "sweep", "report", "data prepare")
    for word in (*commands, "Examples:", "configs/"):
        assert word in text


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "sweep", "report", "data", "data prepare"]
)
def test_help_of_a_command_ends_with_an_example(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    assert f"Example: robustlabels {command}" in capsys.readouterr().out


def test_help_of_a_config_lists_every_field(config, capsys):
    assert main(["train", f"--config={config}", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--config.training.num_epochs=2" in text
    assert "--config.optimizer.b1=0.9" in text
    assert "--config.evaluation.attacks.fgsm.name='fgsm'" in text


def test_every_flag_that_help_lists_is_understood(config, capsys):
    main(["train", f"--config={config}", "--help"])
    lines = capsys.readouterr().out.split("Fields of")[1].splitlines()[2:]
    fields = [line.strip().replace("'", "") for line in lines if "=" in line]
    assert len(fields) > 30
    assert main(["train", f"--config={config}", "--help", *fields]) == 0


def test_prepare_hands_over_name_and_folder(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "robustlabels.data.prepare", lambda *a, **k: calls.append((a, k))
    )
    assert main(["data", "prepare", "cifar10", f"--data_dir={tmp_path}"]) == 0
    assert calls == [(("cifar10",), {"data_dir": str(tmp_path)})]


def test_a_failure_ends_the_process_with_a_status(tmp_path):
    code = "from robustlabels.cli import main; raise SystemExit(main())"
    answer = subprocess.run(
        [sys.executable, "-c", code, "train"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("robustlabels: error: train needs --config")
    assert "Traceback" not in answer.stderr


def test_a_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("robustlabels 0.")

"""`robustlabels transfer`, as a person uses it."""

import json

import numpy as np
import pytest

from robustlabels import data
from robustlabels.cli import main

CONFIG = """
import ml_collections

def get_config(seed="0"):
    config = ml_collections.ConfigDict()
    config.seed = int(seed)
    config.data = dict(name="digits")
    config.encoder = dict(name="MLP", widths=(24,))
    config.head = dict(name="Softmax")
    config.objective = dict(name="softmax")
    config.optimizer = dict(name="adam")
    config.learning_rate = dict(name="constant", peak=1e-2)
    config.training = dict(num_epochs=3)
    config.evaluation = dict(
        attacks={}, noise_images=0, fooling_images=0, diagnosed_examples=0
    )
    return config
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "config.py").write_text(CONFIG)
    for seed in range(2):
        arguments = [
            f"--config={folder}/config.py:{seed}",
            f"--workdir={folder}/{seed}",
        ]
        assert main(["train", *arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def out(runs):
    """A transfer of DeepFool images between both runs."""
    command = ["--workdirs", f"{runs}/0", f"{runs}/1", f"--out={runs}/out"]
    options = ["--attack=deepfool", "--attack.num_steps=30", "--rms=0.1,1/4"]
    assert main(["transfer", *command, *options, "--num_examples=60"]) == 0
    return runs / "out"


def test_what_it_leaves(out, runs, capsys):
    said = json.loads((out / "transfer.json").read_text())
    assert said["names"] == ["0", "1"]
    assert said["n"] == 60
    assert said["attack"]["name"] == "deepfool"
    assert said["attack"]["num_steps"] == 30
    assert set(said["errors"]) == {"as found", "0.1", "0.25"}
    for own in range(2):
        assert said["errors"]["as found"][own][own] > 0.95
        assert said["errors"]["as found"][own][1 - own] < 0.95
    page = (out / "report.html").read_text()
    assert "Made for one, fed to all" in page
    assert "Gaussian noise" in page
    command = ["--workdirs", f"{runs}/0", f"{runs}/1", f"--out={out}"]
    options = ["--attack=deepfool", "--attack.num_steps=30", "--num_examples=60"]
    stamp = (out / "0.npz").stat().st_mtime_ns
    assert main(["transfer", *command, *options]) == 0
    assert (out / "0.npz").stat().st_mtime_ns == stamp  # Not made again.
    printed = capsys.readouterr().out
    assert "as found, made for  0" in printed
    assert "Errors in % of 60 images; unchanged: 0 " in printed


def test_the_images_are_a_data_set(out):
    loaded = data.load(f"npz:{out}/0.npz", test_fraction=0.2)
    assert loaded.test.images.shape[1:] == (8, 8, 1)
    with np.load(out / "0.npz") as stored:
        assert stored["images"].shape == stored["clean"].shape == (60, 8, 8, 1)
        assert np.abs(stored["images"] - stored["clean"]).max() > 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out=x"], "transfer needs --workdirs DIR DIR"),
        (["--workdirs", "{0}/0"], "transfer needs --workdirs DIR DIR"),
        (["--workdirs", "{0}/9", "--out={0}/x"], "holds no run"),
        (["--workdirs", "{0}/0", "{0}/0", "--out={0}/x"], "two runs are called 0"),
        (["--workdirs", "{0}/0", "--out={0}/x", "--loss=mine"], "loss='mine' is unk"),
        (["--workdirs", "{0}/0", "--out={0}/x", "--rms=2"], r"rms=2.0 is outside"),
        (["--workdirs", "{0}/0", "--out={0}/x", "--rms=a"], "--rms='a' is no number"),
        (["--workdirs", "{0}/0", "--out={0}/x", "--attack=no"], "'no' is not in"),
        (
            ["--workdirs", "{0}/0", "--out={0}/x", "--attack=standard"],
            "transfer takes one attack",
        ),
        (["--workdirs", "{0}/0", "--out={0}/x", "--bad=1"], "does not take '--bad=1'"),
    ],
)
def test_bad_input_is_named(arguments, message, runs, capsys):
    assert main(["transfer", *(a.format(runs) for a in arguments)]) == 1
    assert message in capsys.readouterr().err
    assert not (runs / "x").exists()


def test_runs_on_other_images_are_refused(runs, capsys):
    other = runs / "other"
    arguments = ["train", f"--config={runs}/config.py", f"--workdir={other}"]
    assert main([*arguments, "--config.data.seed=5"]) == 0
    folders = ["--workdirs", f"{runs}/0", f"{other}", f"--out={runs}/y"]
    assert main(["transfer", *folders, "--attack=fgsm"]) == 1
    assert "has other test images than" in capsys.readouterr().err


def test_help(capsys):
    assert main(["transfer", "--help"]) == 0
    assert "made for x fed to" in capsys.readouterr().out

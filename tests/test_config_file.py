"""Config files and the changes of the command line."""

import json

import ml_collections
import pytest
from test_sections import short

from robustlabels.config_file import (
    load_config,
    load_run_config,
    override,
    split_flag,
)
from robustlabels.sections import complete


def test_values_keep_the_type_of_their_field():
    config = override(
        short(),
        [
            "--config.training.num_epochs=3",
            "--config.encoder.widths=(30, 10)",
            "--config.data.balanced",
            "--config.data.left_out=(8, 9)",
            "--config.learning_rate.peak=1",
            "--config.seed=7",
        ],
    )
    assert config.training.num_epochs == 3
    assert config.encoder.widths == (30, 10)
    assert config.data.balanced is True
    assert config.data.left_out == (8, 9)
    assert isinstance(config.learning_rate.peak, float)
    assert config.seed == 7


def test_a_new_name_keeps_what_both_know_and_takes_the_new_defaults():
    config = override(
        short(optimizer={"name": "adam", "b1": 0.8, "weight_decay": 0.5}),
        ["--config.optimizer.name=sgd", "--config.optimizer.momentum=0.7"],
    )
    assert config.optimizer.to_dict() == {
        "name": "sgd",
        "momentum": 0.7,
        "nesterov": False,
        "weight_decay": 0.5,
    }


def test_a_new_attack_can_be_named():
    config = override(
        short(),
        [
            "--config.evaluation.attacks.long.name=pgd",
            "--config.evaluation.attacks.long.num_steps=100",
        ],
    )
    assert config.evaluation.attacks.long.num_steps == 100
    assert config.evaluation.attacks.long.norm == "linf"


def test_a_transfer_function_can_be_changed():
    config = override(
        short(),
        ["--config.objective.phi.name=exponential", "--config.objective.phi.gamma=2.0"],
    )
    assert config.objective.phi.to_dict() == {"name": "exponential", "gamma": 2.0}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.training.epochs=3", "config.training has no 'epochs'.*num_epochs"),
        ("--config.trainig.num_epochs=3", "Did you mean training"),
        ("--config.seed.more=3", "config.seed has no 'more'; it is a value"),
        ("--config.training.num_epochs=three", "num_epochs.*three"),
        ("--config.optimizer.name=adan", "'adan' is not in"),
        ("--configs.seed=1", "is not understood"),
        ("extra", "'extra' is not understood"),
    ],
)
def test_a_wrong_change_says_what_is_right(argument, message):
    with pytest.raises(ValueError, match=message):
        override(short(), [argument])


def test_flags_are_split_off():
    assert split_flag(["--workdir", "a", "x"], "workdir") == ("a", ["x"])
    assert split_flag(["-workdir=a=b"], "workdir") == ("a=b", [])
    assert split_flag(["--workdirs=a"], "workdir") == (None, ["--workdirs=a"])
    with pytest.raises(ValueError, match="--workdir needs a value"):
        split_flag(["--workdir"], "workdir")


def write(path, text):
    path.write_text(text)
    return str(path)


def test_a_config_file_gets_its_argument(tmp_path):
    text = (
        "import ml_collections\n"
        "def get_config(arg='none'):\n"
        "    return ml_collections.ConfigDict({'arg': arg})\n"
    )
    path = write(tmp_path / "c.py", text)
    assert load_config(path).arg == "none"
    assert load_config(f"{path}:bn").arg == "bn"


@pytest.mark.parametrize(
    ("text", "suffix", "error", "message"),
    [
        ("x = 1\n", "", ValueError, "defines no function get_config"),
        ("def get_config():\n    return 1\n", ":a", ValueError, "takes no argument"),
        ("def get_config(", "", SyntaxError, "never closed"),
    ],
)
def test_a_bad_config_file_is_named(tmp_path, text, suffix, error, message):
    path = write(tmp_path / "c.py", text)
    with pytest.raises(error, match=message):
        load_config(path + suffix)


def test_a_missing_config_file_says_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file.*get_config"):
        load_config(str(tmp_path / "none.py"))
    with pytest.raises(ValueError, match=r"write it as a Python file"):
        load_config(write(tmp_path / "c.txt", "def get_config(): pass"))


def test_a_run_remembers_its_config(tmp_path):
    full = complete(short())
    stored = {"config": full.to_dict(), "provenance": {}}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert load_run_config(tmp_path).to_dict() == full.to_dict()
    assert isinstance(load_run_config(tmp_path), ml_collections.ConfigDict)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        load_run_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is damaged"):
        load_run_config(tmp_path)

"""What the README says is true: its Python runs, its commands are those of CI."""

import pathlib
import re

import pytest

import robustlabels
from robustlabels import objective
from robustlabels.evaluation import budgets
from robustlabels.losses import transfer
from robustlabels.models import encoders, heads, prototype_init
from robustlabels.training import optimizers, schedules

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_python_of_the_readme_runs(capsys):
    names = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert names["still_right"].shape == (8,)
    assert "best_epoch" in capsys.readouterr().out


def test_the_test_command_is_the_one_of_ci():
    script = (ROOT / ".ci" / "run").read_text()
    assert ".venv/bin/pip install -e '.[test]' && .venv/bin/pytest" in README
    assert "pip install --quiet -e '.[test]'" in script
    assert ".venv/bin/pytest" in script


@pytest.mark.parametrize(
    "module",
    [
        encoders,
        heads,
        prototype_init,
        objective,
        transfer,
        optimizers,
        schedules,
        budgets,
    ],
)
def test_every_name_a_config_knows_is_in_the_readme(module):
    for name in module.__all__:
        assert f"`{name}`" in README


def test_every_config_is_in_the_readme():
    for path in (ROOT / "configs").glob("*.py"):
        assert f"`{path.stem}`" in README


def test_the_changelog_knows_this_version():
    assert f"## {robustlabels.__version__}" in (ROOT / "CHANGELOG.md").read_text()

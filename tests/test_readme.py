"""What the README says is true: its Python runs, its commands are those of CI."""

import pathlib
import re

import jax
import numpy as np
import optax
import pytest

import robustlabels
from robustlabels import objective, parallel
from robustlabels.evaluation import budgets
from robustlabels.losses import transfer
from robustlabels.models import encoders, heads, prototype_init
from robustlabels.training import optimizers, schedules

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
# The last one, the harness, stands on none of the others.
*OWN_PROJECT, HARNESS = BLOCKS


def run(*blocks):
    """The names that the blocks leave behind, run from top to bottom."""
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    return names


@pytest.fixture(scope="module")
def own_project():
    return run(*OWN_PROJECT)


def test_attacks_on_every_kind_of_model_run(own_project):
    assert own_project["still_right"].shape == (8,)
    for name in ["classifier", "on_nnx", "on_linen", "on_equinox"]:
        assert own_project[name].scores(own_project["x"]).shape == (8, 10)


def trajectory(step, params, optimizer, *batch):
    """Values of five steps, and the first gradient: Adam's first moment holds it."""
    state = optimizer.init(params)
    values, gradients = [], []
    for _ in range(5):
        params, state, value = step(params, state, *batch)
        values.append(value)
        gradients.append(jax.tree.map(lambda m: m / 0.1, state[0].mu))
    return np.array(values), gradients[0]


def test_a_step_under_pmap_is_the_step_on_the_mesh(own_project):
    mesh = parallel.make_mesh()
    loss, optimizer, params = (
        own_project["loss"],
        own_project["optimizer"],
        own_project["params"],
    )

    @jax.jit
    def mesh_step(params, state, x, y):
        x, y = parallel.constrain(x, mesh), parallel.constrain(y, mesh)
        value, gradient = jax.value_and_grad(loss)(params, x, y)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    x, y, shares = own_project["x"], own_project["y"], own_project["shares"]
    assert shares[0].shape == (mesh.size, 8 // mesh.size, 28, 28, 1)
    by_hand, gradient = trajectory(own_project["on_all"], params, optimizer, *shares)
    assert by_hand[-1] < by_hand[0]
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 1e-3
    for step in [mesh_step, own_project["step"]]:
        values, expected = trajectory(step, params, optimizer, x, y)
        np.testing.assert_allclose(by_hand, values, atol=1e-6)
        for name in params:
            np.testing.assert_allclose(gradient[name], expected[name], atol=1e-6)


def test_devices_agree_on_what_they_learned(own_project):
    trained, state, _ = own_project["on_all"](
        own_project["params"],
        own_project["optimizer"].init(own_project["params"]),
        *own_project["shares"],
    )
    for leaf in jax.tree.leaves((trained, state)):
        first, *others = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        for other in others:
            np.testing.assert_array_equal(first, other)


def test_an_attack_under_pmap_is_the_attack_on_the_mesh(own_project):
    x, y, classifier = own_project["x"], own_project["y"], own_project["classifier"]
    by_hand = own_project["x_adv"].reshape(x.shape)
    assert 0.099 < np.abs(by_hand - x).max() < 0.101
    on_mesh = own_project["x_adv_of_mesh"]
    unsplit = jax.jit(own_project["attack"])(classifier, x, y, own_project["keys"])
    for other in [on_mesh, unsplit]:
        np.testing.assert_allclose(by_hand, other, atol=1e-6)
        np.testing.assert_array_equal(
            classifier.scores(by_hand).argmax(-1) == y,
            classifier.scores(other).argmax(-1) == y,
        )


def test_the_harness_from_python_runs(capsys):
    run(HARNESS)
    assert "best_epoch" in capsys.readouterr().out


def test_the_test_command_is_the_one_of_ci():
    script = (ROOT / ".ci" / "run").read_text()
    assert ".venv/bin/pip install -e '.[test]' && .venv/bin/pytest" in README
    assert "pip install --quiet --no-compile -e '.[test]'" in script
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

"""Checkpoints: what is read back, what is kept, what is refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from robustlabels.training import Checkpoints

LAST = {"step": jnp.zeros((), jnp.int32)}
BEST = {
    "weights": jnp.arange(6.0).reshape(2, 3),
    "half": (jnp.asarray([1.5, -2.0], jnp.bfloat16), jnp.asarray(7, jnp.int32)),
    "layers": nnx.State({"dense": {0: {"kernel": nnx.Param(jnp.full((2, 2), 0.1))}}}),
    "nothing": {},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four checkpoints; the later, the larger are the weights."""
    folder = tmp_path_factory.mktemp("run") / "deep" / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in (0, 3, 6, 10):
            best = {**BEST, "weights": BEST["weights"] + step}
            standing = {"epoch": step // 3, "error": 0.1 + step, "loss": float("inf")}
            checkpoints.save(step, LAST, best, standing)
    return folder


def test_the_newest_is_read_back_to_the_bit(folder):
    with Checkpoints(folder) as checkpoints:
        best, standing = checkpoints.best(jax.tree.map(jnp.zeros_like, BEST))
    expected = {**BEST, "weights": BEST["weights"] + 10}
    chex.assert_trees_all_equal(best, expected)
    chex.assert_trees_all_equal_dtypes(best, expected)
    assert jax.tree.structure(best) == jax.tree.structure(expected)
    assert standing == {"epoch": 3, "error": 10.1, "loss": float("inf")}


def test_two_are_kept_and_what_is_unfinished_is_overlooked(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["10", "6"]
    (folder / "12.orbax-checkpoint-tmp").mkdir()
    try:
        with Checkpoints(folder) as checkpoints:
            assert checkpoints.best(BEST)[1]["epoch"] == 3
    finally:
        (folder / "12.orbax-checkpoint-tmp").rmdir()


@pytest.mark.parametrize("step", [3, 6, 10])
def test_a_step_that_is_not_a_later_one_is_refused(folder, step):
    message = f"the checkpoint of step 10, and step {step} is not a later one"
    with Checkpoints(folder) as checkpoints, pytest.raises(ValueError, match=message):
        checkpoints.save(step, LAST, BEST, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"weights": jnp.zeros((3, 2))},
            r"weights is \(2, 3\) there and \(3, 2\) here",
        ),
        ({"more": jnp.zeros(2)}, r"more is missing there and \(2,\) here"),
        ({"half": ()}, r"half\.0 is \(2,\) there and missing here"),
        ({"layers": {}}, r"layers\.dense\.0\.kernel\.value is \(2, 2\) there and miss"),
    ],
)
def test_another_model_is_told_by_what_differs_first(folder, change, message):
    with Checkpoints(folder) as checkpoints, pytest.raises(ValueError, match=message):
        checkpoints.best({**BEST, **change})


def test_without_a_checkpoint_nothing_is_made(tmp_path):
    folder = tmp_path / "typo" / "checkpoints"
    message = r"typo/checkpoints holds no checkpoint: train first, .*--workdir=.*typo`"
    with (
        Checkpoints(folder) as checkpoints,
        pytest.raises(FileNotFoundError, match=message),
    ):
        checkpoints.best(BEST)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_of_the_moment_it_was_asked_for(tmp_path):
    overwrite = jax.jit(lambda state: state - 1.0, donate_argnums=0)
    state = jnp.full((500, 1000), 100.0)
    best = jnp.full((500, 1000), 100.0)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(1, {"w": state}, {"w": best}, {})
        for _ in range(20):
            state, best = overwrite(state), overwrite(best)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        stored, _ = checkpoints.best({"w": state})
    np.testing.assert_array_equal(stored["w"], 100.0)
    np.testing.assert_array_equal(best, 80.0)

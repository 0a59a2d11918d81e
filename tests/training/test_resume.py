"""A training that was interrupted ends as one that was not, to the bit."""

import functools
import json
import os
import pathlib
import shutil
import subprocess

import chex
import jax
import pytest
from small_runs import build, dataset
from tensorboard_events import read_scalars

from robustlabels import objective, parallel
from robustlabels._stopping import Stopped
from robustlabels.training import fit, optimizers, restore, schedules

# Orbax drops its event loop while TensorStore still reads what was damaged.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
SEEDS = (0, 1)
POSITIONS = 3 * 4  # stretches, the last of an epoch after its validation


@pytest.fixture(scope="module")
def train():
    """Two replicas by SNG and batch norm, 4 epochs in 3 stretches each."""

    def train(workdir, **options):
        return fit(
            [build(seed=seed, norm="batch") for seed in SEEDS],
            objective.softmax(),
            dataset,
            optimizer=optimizers.adam,
            schedule=functools.partial(schedules.cosine, 0.1),
            num_epochs=4,
            batch_size=8,
            stretch=2,
            input_noise=0.1,
            crop_padding=1,
            flip=True,
            average_decay=0.9,
            workdir=workdir,
            mesh=parallel.make_mesh(jax.devices()[:1]),
            **options,
        )

    return train


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return train(folder, checkpoint_seconds=0.0), folder


def asked_after(times):
    """A `stop` that says yes from some question on."""
    asked = []

    def stop():
        asked.append(None)
        return len(asked) >= times

    return stop


def lines_of(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in e.items() if k != "examples_per_second"} for e in lines]


def same(fitted, folder, whole):
    expected, reference = whole
    assert fitted.standings == expected.standings
    chex.assert_trees_all_equal(
        jax.tree.leaves(fitted.classifiers), jax.tree.leaves(expected.classifiers)
    )
    assert lines_of(folder) == lines_of(reference)
    shown, known = read_scalars(folder), read_scalars(reference)
    for name in known:
        if not name.startswith("examples_per_second"):
            assert shown[name] == known[name]


@pytest.mark.parametrize("times", [1, 2, 3, 4, 7, POSITIONS - 1])
def test_a_stopped_training_goes_on_to_the_bit(train, whole, tmp_path, times):
    with pytest.raises(Stopped, match=r"training stopped at step \d+/20"):
        train(tmp_path, stop=asked_after(times))
    same(train(tmp_path), tmp_path, whole)


def test_stopping_again_and_again_gets_to_the_end(train, whole, tmp_path):
    stops = 0
    while True:
        try:
            fitted = train(tmp_path, stop=asked_after(1))
            break
        except Stopped:
            stops += 1
    assert stops == POSITIONS - 1
    same(fitted, tmp_path, whole)


def test_a_finished_training_is_not_done_again(train, whole, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(whole[1], folder)
    same(train(folder), folder, whole)


@pytest.mark.parametrize("damage", ["halved", "zeroed", "gone"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    train, whole, tmp_path, damage, capsys
):
    folder = tmp_path / "copy"
    shutil.copytree(whole[1], folder)
    newest, before = folder / "checkpoints" / "20", folder / "checkpoints" / "19"
    assert newest.is_dir()
    assert before.is_dir()
    for path in [*(newest / "last" / "d").iterdir(), newest / "standing" / "metadata"]:
        content = path.read_bytes()
        half = content[: len(content) // 2]
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(half if damage == "halved" else half + bytes(len(half)))
    fitted = train(folder)
    said = capsys.readouterr().err
    assert "checkpoint of step 20" in said
    assert "the one of step 19 is tried instead" in said
    same(fitted, folder, whole)


def test_without_any_sound_checkpoint_it_starts_again(train, whole, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(whole[1], folder)
    for checkpoint in (folder / "checkpoints").iterdir():
        for path in (checkpoint / "last").rglob("manifest.ocdbt"):
            path.write_bytes(b"")
    fitted = train(folder)
    assert "there is none before it" in capsys.readouterr().err
    same(fitted, folder, whole)


def test_what_a_kill_left_unfinished_is_removed(train, whole, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(whole[1], folder)
    left = folder / "checkpoints" / "21.orbax-checkpoint-tmp"
    left.mkdir()
    (left / "half").write_text("")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 21, "se')
    same(train(folder), folder, whole)
    assert not left.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own, to be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", folder]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk to be filled needs the right to mount one")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_costs_no_checkpoint(train, whole, small_disk):
    folder = small_disk / "run"
    with pytest.raises(Stopped):
        train(folder, stop=asked_after(4))
    filling = small_disk / "filling"
    statistics = os.statvfs(small_disk)
    room = statistics.f_bavail * statistics.f_frsize
    filling.write_bytes(bytes(room - 16_384))
    with pytest.raises(OSError, match=r"could not be written.*No space left.*room"):
        train(folder, checkpoint_seconds=0.0)
    models = [build(seed=seed, norm="batch") for seed in SEEDS]
    kept = restore(models, objective.softmax(), folder)
    assert kept.standings[0].epoch == 1
    filling.unlink()
    same(train(folder), folder, whole)


def test_a_folder_begun_on_other_devices_says_so(train, whole, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(whole[1], folder)
    for path in pathlib.Path(folder, "checkpoints").rglob("standing/metadata"):
        path.write_text(path.read_text().replace('"num_devices": 2', '"num_devices":8'))
    train(folder)
    assert "was begun on 8 devices, and goes on on 2" in capsys.readouterr().err

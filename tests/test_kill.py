"""A run that is killed at random moments ends as one that was not."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

KILLS = 10
CONFIG = """
import ml_collections

def get_config():
    config = ml_collections.ConfigDict()
    config.num_seeds = 2
    config.data = dict(name="fake", num_examples=1800)
    config.encoder = dict(name="MLP", widths=(16, 8), norm="batch")
    config.head = dict(name="Prototypes", init="class_means")
    config.objective = dict(name="sng")
    config.optimizer = dict(name="adam")
    config.learning_rate = dict(name="cosine", peak=1e-2)
    config.training = dict(
        num_epochs=6, input_noise=0.1, stretch=4, checkpoint_seconds=0.0
    )
    config.evaluation = dict(
        epsilons="0.02, 0.1",
        attacks=dict(pgd=dict(name="pgd", num_steps=20)),
        batch_size=100,
        noise_images=100,
        fooling_images=10,
        diagnosed_examples=0,
    )
    return config
"""
VARYING = {"seconds", "provenance", "examples_per_second", "date"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("killed")
    (place / "experiment.py").write_text(CONFIG)
    return place


def start(place, name):
    """The command line in a process of its own."""
    code = "from robustlabels.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "train", "--config=experiment.py"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}
    return subprocess.Popen(
        [*command, f"--workdir={name}"],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def whole(place):
    """An uninterrupted run, and how long it takes."""
    began = time.monotonic()
    output, errors = start(place, "whole").communicate()
    assert "test accuracy" in output, errors
    return place / "whole", time.monotonic() - began


def facts_of(folder):
    """All that a run says, without times."""
    lines = [json.loads(s) for s in (folder / "metrics.jsonl").read_text().splitlines()]
    found = [json.loads(p.read_text()) for p in evaluation_files(folder, "json")]
    kept = [
        {name: value for name, value in facts.items() if name not in VARYING}
        for facts in [*lines, *found]
    ]
    images = {
        path.name: {name: array.tobytes() for name, array in np.load(path).items()}
        for path in evaluation_files(folder, "npz")
        if not path.name.startswith("ledger")
    }
    return kept, images


def evaluation_files(folder, ending):
    return sorted((folder / "evaluation").glob(f"*.{ending}"))


def weights_of(folder):
    """The bytes of the newest checkpoint's arrays, whatever the files are called."""
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager((folder / "checkpoints").absolute()) as manager:
        step = manager.latest_step()
        args = ocp.args.Composite(
            last=ocp.args.StandardRestore(), best=ocp.args.StandardRestore()
        )
        restored = manager.restore(step, args=args)
    import jax

    leaves = jax.tree.leaves((restored["last"], restored["best"]))
    return step, [np.asarray(leaf).tobytes() for leaf in leaves]


def same(folder, whole):
    assert facts_of(folder) == facts_of(whole)
    assert weights_of(folder) == weights_of(whole)
    assert "<html" in (folder / "report.html").read_text()


@pytest.mark.timeout(900)
def test_ten_kills_at_random_moments_change_nothing(place, whole):
    """Moments are spread over half of a run; one that ends is followed by another.

    The first run compiles, those after it do not: a third of it is half of them. The
    first folder begins with the worst that a kill can leave: a lock and unfinished
    files.
    """
    reference, seconds = whole
    draw, folder, kills, runs = random.Random(0), place / "killed", 0, []
    (folder / "evaluation").mkdir(parents=True)
    for name in (".lock", "config.json.9.tmp", "evaluation/pgd-own.json.9.tmp"):
        (folder / name).write_text('{"half":')
    while kills < KILLS or not (folder / "finished.json").exists():
        process = start(place, folder.name)
        wait = draw.uniform(0.0, seconds / 3) if kills < KILLS else 300.0
        try:
            output, errors = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, errors
        assert "test accuracy" in output
        same(folder, reference)
        runs.append(folder)
        if kills < KILLS:
            folder = place / f"killed-{len(runs)}"
    assert kills == KILLS
    assert runs


def test_signals_save_and_say_how_to_go_on(place, whole):
    """A run that gets one signal, goes on, and gets another one, ends as the whole."""
    folder = place / "signalled"
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = start(place, folder.name)
        metrics = folder / "metrics.jsonl"
        before = metrics.read_text() if metrics.exists() else ""
        deadline = time.monotonic() + 120
        while not (metrics.exists() and len(metrics.read_text()) > len(before)):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(number)
        _, errors = process.communicate()
        assert process.returncode == status
        assert re.search(r"training stopped at step \d+/72", errors), errors
        again = "robustlabels train --config=experiment.py"
        assert f"Go on with:\n  {again} --workdir={folder.name}" in errors
        assert not (folder / "finished.json").exists()
    output, errors = start(place, folder.name).communicate()
    assert "test accuracy" in output, errors
    same(folder, whole[0])

"""Replicas in one program against the same trainings, one at a time."""

import functools
import json

import chex
import jax
import numpy as np
import pytest
from small_runs import build, dataset

from robustlabels import objective, parallel
from robustlabels.data import Rows
from robustlabels.training import (
    Diverged,
    fit,
    optimizers,
    replicas,
    restore,
    schedules,
)

SEEDS = (4, 5, 6)


@pytest.fixture(scope="module")
def train():
    """`fit` with noise on one device, of one model or of several."""

    def train(models, *, seed=SEEDS[0], rate=0.1, **options):
        options = {
            "optimizer": optimizers.adam,
            "schedule": functools.partial(schedules.constant, rate),
            "batch_size": 16,
            "num_epochs": 4,
            "input_noise": 0.1,
            **options,
        }
        mesh = parallel.make_mesh(jax.devices()[:1])
        family = options.pop("family", objective.softmax())
        return fit(models, family, dataset, seed=seed, mesh=mesh, **options)

    return train


def models(**options):
    return [build(seed=seed, norm="batch", **options) for seed in SEEDS]


@pytest.fixture(scope="module")
def alone(train):
    return [train(m, seed=s) for m, s in zip(models(), SEEDS, strict=True)]


def weights(classifier):
    return jax.tree.leaves(classifier)


def lines_of(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in e.items() if k != "examples_per_second"} for e in lines]


def test_each_replica_is_the_training_of_its_seed_to_the_bit(train, alone, tmp_path):
    together = train(models(), workdir=tmp_path)
    assert together.standings == tuple(each.standing for each in alone)
    for classifier, each in zip(together.classifiers, alone, strict=True):
        chex.assert_trees_all_equal(weights(classifier), weights(each.classifier))
    assert len({each.standing.validation_loss for each in alone}) == len(SEEDS)
    lines = lines_of(tmp_path)
    assert [(e["epoch"], e["seed"]) for e in lines] == [
        (epoch, seed) for epoch in range(1, 5) for seed in SEEDS
    ]
    restored = restore(models(), objective.softmax(), tmp_path)
    assert restored.standings == together.standings
    chex.assert_trees_all_equal(
        weights(restored.classifiers), weights(together.classifiers)
    )


@pytest.mark.parametrize("at_once", [2, 3])
def test_vmapped_replicas_agree_up_to_rounding(train, alone, at_once):
    together = train(models(), replicas_at_once=at_once)
    for standing, each in zip(together.standings, alone, strict=True):
        loss = each.standing.validation_loss
        assert standing.validation_loss == pytest.approx(loss, rel=1e-5)


def test_each_replica_stops_on_its_own(train, tmp_path):
    """A rate this large leaves the best epoch at different times behind."""
    options = {"rate": 0.5, "patience": 2, "num_epochs": 12}
    together = train(models(), workdir=tmp_path / "all", **options)
    ends = [standing.epoch for standing in together.standings]
    assert len(set(ends)) > 1
    everything = lines_of(tmp_path / "all")
    for model, seed, standing in zip(models(), SEEDS, together.standings, strict=True):
        folder = tmp_path / str(seed)
        each = train(model, seed=seed, workdir=folder, **options)
        assert each.standing == standing
        assert [e for e in everything if e["seed"] == seed] == lines_of(folder)


def test_a_replica_that_diverges_is_named(train):
    first, second, third = models()
    second.head.linear.kernel[...] = np.inf
    with pytest.raises(Diverged, match="training of seed 5 diverged: the loss is nan"):
        train([first, second, third])
    build.cache_clear()


def test_models_of_another_structure_are_refused(train):
    with pytest.raises(ValueError, match="model 1 has another structure than model 0"):
        train([build(), build(norm="batch")])
    with pytest.raises(ValueError, match="model 2 has another structure"):
        train([build(), build(seed=1), build(widths=(7,))])
    with pytest.raises(ValueError, match="the number of models=0"):
        train([])


def test_images_that_the_devices_cannot_hold_give_the_same_numbers(
    train, monkeypatch, tmp_path
):
    """Of 3 steps an epoch, pieces have 2 and 1, and validation has batches."""
    options = {"num_epochs": 2, "eval_batch_size": 7, "average_decay": 0.9}
    resident = train(models(), workdir=tmp_path / "resident", **options)
    monkeypatch.setattr(replicas, "_RESIDENT", 0)
    monkeypatch.setattr(replicas, "_PIECE", 2 * len(SEEDS) * 16 * 16)
    streamed = train(models(), workdir=tmp_path / "streamed", **options)
    assert streamed.standings == resident.standings
    chex.assert_trees_all_equal(
        weights(streamed.classifiers), weights(resident.classifiers)
    )
    assert lines_of(tmp_path / "streamed") == lines_of(tmp_path / "resident")


def test_no_piece_is_larger_than_asked_for(train, monkeypatch):
    sizes = []

    def placed(split, index, mesh):
        sizes.append(split.images[index].nbytes)
        return original(split, index, mesh)

    original = replicas._placed
    monkeypatch.setattr(replicas, "_placed", placed)
    monkeypatch.setattr(replicas, "_RESIDENT", 0)
    monkeypatch.setattr(replicas, "_PIECE", 2 * 16 * 16)
    train(build(), num_epochs=2, eval_batch_size=5)
    training, validation = [2 * 16 * 16, 16 * 16], 3 * [5 * 16]
    assert sizes == validation + 2 * (training + validation)


@pytest.mark.parametrize(("devices", "resident"), [(2, 0), (1, 2**31)])
def test_rows_on_disk_are_trained_on_like_arrays(
    monkeypatch, tmp_path, devices, resident
):
    def mapped(split, name):
        np.save(tmp_path / name, split.images[::-1])
        array = np.load(tmp_path / name, mmap_mode="r")
        rows = Rows(array, np.arange(len(array))[::-1])
        return split._replace(images=rows)

    on_disk = dataset._replace(
        train=mapped(dataset.train, "train.npy"),
        validation=mapped(dataset.validation, "validation.npy"),
    )
    monkeypatch.setattr(replicas, "_RESIDENT", resident)
    found = [
        fit(
            build(),
            objective.softmax(),
            data,
            optimizer=optimizers.adam,
            schedule=functools.partial(schedules.constant, 0.1),
            batch_size=16,
            num_epochs=2,
            mesh=parallel.make_mesh(jax.devices()[:devices]),
        )
        for data in (on_disk, dataset)
    ]
    assert found[0].standings == found[1].standings
    chex.assert_trees_all_equal(*(weights(each.classifier) for each in found))

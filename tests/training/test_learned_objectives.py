"""What an objective learns beside the model: its rate, its record, its checkpoint."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_runs import build, dataset

from robustlabels import objective, training

SIMILARITY = np.array([[0.0, 0.7, 0.3], [0.5, 0.0, 0.5], [0.3, 0.7, 0.0]])


def fit(family, models=None, **options):
    options = {
        "optimizer": training.optimizers.adam,
        "schedule": functools.partial(training.schedules.constant, 1e-2),
        "num_epochs": 2,
        "batch_size": 20,
        **options,
    }
    return training.fit(models or build(), family, dataset, **options)


def lines(folder):
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_what_is_learned_is_written_every_epoch(tmp_path):
    fit(objective.gmcel(SIMILARITY), workdir=tmp_path, objective_learning_rate=0.1)
    written = lines(tmp_path)
    assert len(written) == 2
    for line in written:
        assert len(line["epsilon"]) == 3
        assert line["epsilon_min"] == min(line["epsilon"])
        assert line["epsilon_max"] == max(line["epsilon"])
        np.testing.assert_allclose(line["epsilon_mean"], np.mean(line["epsilon"]))
    means = [line["epsilon_mean"] for line in written]
    assert len(set(means)) == 2
    assert all(0 < mean < 0.5 for mean in means)


def test_the_objective_has_a_learning_rate_of_its_own(tmp_path):
    family = objective.sg_mcel(SIMILARITY)
    fit(family, workdir=tmp_path, objective_learning_rate=0.0)
    stays = [line["epsilon"] for line in lines(tmp_path)]
    np.testing.assert_allclose(stays, 0.2, rtol=1e-6)


def test_a_rate_of_the_model_does_not_move_the_objective():
    """With the model's rate at 0, the objective descends as if it were alone."""
    family = objective.sg_mcel(SIMILARITY)
    fitted = fit(
        family,
        optimizer=functools.partial(training.optimizers.sgd, momentum=0.0),
        schedule=functools.partial(training.schedules.constant, 0.0),
        num_epochs=1,
        batch_size=len(dataset.train.labels),
        objective_learning_rate=0.5,
    )
    model, labels = build(), jnp.asarray(dataset.train.labels)
    images = jnp.asarray(dataset.train.images / 255, jnp.float32)

    def total(params):
        loss = family.at(params, 0.0).loss(model(images)[0], labels)
        return jnp.mean(loss) + family.penalty(params)

    params = family.init(jax.random.key(0))
    gradient = jax.grad(total)(params)
    moved = optax.apply_updates(params, jax.tree.map(lambda g: -0.5 * g, gradient))
    expected = family.at(moved, 1.0).loss.keywords["targets"]
    # Of equal validation error, the smaller loss decides which epoch is kept.
    untrained = family.at(params, 1.0).loss.keywords["targets"]
    kept = fitted.objectives[0].loss.keywords["targets"]
    epoch = fitted.standing.best_epoch
    np.testing.assert_allclose(kept, expected if epoch else untrained, rtol=1e-5)


def test_weight_decay_spares_the_objective():
    family = objective.sg_mcel(SIMILARITY)
    make = functools.partial(training.optimizers.adamw, weight_decay=0.5)
    both = training.optimizers.apart(make(0.1), make(0.1))
    params = {"model": {"kernel": jnp.ones(2)}, "objective": family.init(None)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = both.update(zeros, both.init(params), params)
    np.testing.assert_array_equal(updates["objective"]["theta"], 0)
    np.testing.assert_allclose(updates["model"]["kernel"], -0.05, rtol=1e-6)


def test_a_run_goes_on_with_what_was_learned(tmp_path):
    family = objective.gmcel(SIMILARITY)
    whole = fit(family, workdir=tmp_path / "whole")
    answers = iter([False, True])
    options = {"stretch": 1, "checkpoint_seconds": 0.0, "workdir": tmp_path / "cut"}
    with pytest.raises(Exception, match="stopped at step"):
        fit(family, stop=lambda: next(answers), **options)
    again = fit(family, **options)
    targets = [f.objectives[0].loss.keywords["targets"] for f in (whole, again)]
    np.testing.assert_array_equal(*targets)
    restored = training.restore(build(), family, tmp_path / "cut")
    found = restored.objectives[0].loss.keywords["targets"]
    np.testing.assert_array_equal(found, targets[0])
    images = jnp.asarray(dataset.test.images / 255, jnp.float32)
    np.testing.assert_array_equal(
        restored.models[0](images)[0], again.classifier.scores(images)
    )


def test_replicas_learn_each_their_own(tmp_path):
    family = objective.sg_mcel(SIMILARITY)
    fitted = fit(
        family, [build(), build(seed=1)], workdir=tmp_path, objective_learning_rate=0.1
    )
    first, second = (o.loss.keywords["targets"] for o in fitted.objectives)
    assert not np.array_equal(first, second)
    alone = fit(family, objective_learning_rate=0.1)
    np.testing.assert_array_equal(first, alone.objectives[0].loss.keywords["targets"])
    by_seed = {line["seed"]: line["epsilon"] for line in lines(tmp_path)}
    assert by_seed[0] != by_seed[1]


def test_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match=r"objective_learning_rate=-1\.0 is outside"):
        fit(objective.sg_mcel(SIMILARITY), objective_learning_rate=-1.0)

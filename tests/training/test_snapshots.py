"""Embeddings kept along training against those of models trained to the same epochs."""

import functools

import numpy as np
import pytest
from small_runs import build, dataset

from robustlabels import objective, training
from robustlabels._stopping import Stopped
from robustlabels.training.snapshots import moments


def fit(workdir, **options):
    return training.fit(
        build(),
        objective.softmax(),
        dataset,
        optimizer=functools.partial(training.optimizers.sgd, momentum=0.0),
        schedule=functools.partial(training.schedules.constant, 0.5),
        batch_size=9,
        workdir=workdir,
        **options,
    )


def hidden_of(model):
    pixels = (dataset.validation.images / 255 - dataset.mean) / dataset.std
    linear = model.encoder.dense[0].linear
    flat = pixels.reshape(len(pixels), -1)
    return np.maximum(flat @ np.asarray(linear.kernel) + np.asarray(linear.bias), 0)


def test_snapshots_are_those_of_the_model_at_that_epoch(tmp_path):
    fit(tmp_path / "whole", num_epochs=2, snapshots=3)
    before, middle, after = training.read_snapshots(tmp_path / "whole")
    assert [before.epoch, middle.epoch, after.epoch] == [0, 1, 2]
    np.testing.assert_array_equal(after.labels, dataset.validation.labels)
    np.testing.assert_allclose(before.features, hidden_of(build()), atol=1e-5)
    assert not np.allclose(before.features, middle.features, atol=1e-3)
    assert not np.allclose(middle.features, after.features, atol=1e-3)
    (model,) = fit(None, num_epochs=1).models
    np.testing.assert_allclose(middle.features, hidden_of(model), atol=1e-5)


def test_an_interrupted_training_keeps_the_same_snapshots(tmp_path):
    fit(tmp_path / "whole", num_epochs=3, snapshots=4)
    asked = iter([False, True])
    with pytest.raises(Stopped):
        fit(tmp_path / "cut", num_epochs=3, snapshots=4, stop=lambda: next(asked))
    fit(tmp_path / "cut", num_epochs=3, snapshots=4)
    pairs = zip(
        training.read_snapshots(tmp_path / "whole"),
        training.read_snapshots(tmp_path / "cut"),
        strict=True,
    )
    for whole, cut in pairs:
        assert whole.epoch == cut.epoch
        np.testing.assert_array_equal(whole.features, cut.features)


def test_no_snapshots_leave_nothing(tmp_path):
    fit(tmp_path, num_epochs=1)
    assert list(training.read_snapshots(tmp_path)) == []


@pytest.mark.parametrize(
    ("snapshots", "epochs"), [(0, []), (1, [9]), (2, [0, 9]), (4, [0, 3, 6, 9])]
)
def test_moments_are_spread_evenly(snapshots, epochs):
    assert sorted(moments(snapshots, 9)) == epochs


def test_more_moments_than_epochs_are_all_epochs():
    assert sorted(moments(9, 3)) == [0, 1, 2, 3]


def test_a_negative_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="snapshots=-1 is not a whole number"):
        fit(tmp_path, num_epochs=1, snapshots=-1)

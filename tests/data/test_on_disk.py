"""Nothing that is trained or attacked tells images on disk from images in memory."""

import dataclasses
import functools

import chex
import jax
import numpy as np
import pytest
from flax import nnx

from robustlabels import models, objective
from robustlabels.data import Rows, load, prepared
from robustlabels.evaluation import Record, budgets, examine
from robustlabels.training import embeddings, fit, optimizers, replicas, schedules


@pytest.fixture(scope="module")
def both(photo_set, tmp_path_factory):
    """The same data set on disk and in memory."""
    found = []
    for large in (0, 2**30):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
            patch.setattr(prepared, "_LARGE", large)
            found.append(load("photos", data_dir=photo_set, image_size=4))
    assert isinstance(found[0].train.images, Rows)
    assert isinstance(found[1].train.images, np.ndarray)
    return found


def network(data):
    rngs = nnx.Rngs(0)
    return models.Network(
        models.MLP(data.train.images.shape[1:], widths=(6,), rngs=rngs),
        models.Softmax(6, data.num_classes, rngs=rngs),
        mean=data.mean.tolist(),
        std=data.std.tolist(),
    )


def trained(data):
    return fit(
        network(data),
        objective.softmax(),
        data,
        optimizer=optimizers.adam,
        schedule=functools.partial(schedules.constant, 0.01),
        batch_size=8,
        num_epochs=2,
    )


def found(classifier, split):
    """All that is found, but for how long it took; digests of the split are in it."""
    everything = examine(
        [({"seed": 0}, classifier)],
        split,
        {"fgsm": (budgets.fgsm(), {"name": "fgsm"})},
        epsilons={"0.1": 0.1},
        class_names=["a", "b", "c"],
        batch_size=4,
        noise_images=0,
        fooling_images=0,
        diagnosed_examples=0,
    )
    for one in everything:
        digest = one.provenance["digest"] if isinstance(one, Record) else None
        yield dataclasses.replace(one, seconds=0.0, provenance={"digest": digest})


def test_training_and_attacks_find_the_same(both, monkeypatch):
    on_disk, in_memory = both
    fitted = trained(in_memory)
    monkeypatch.setattr(replicas, "_RESIDENT", 0)
    again = trained(on_disk)
    assert again.standings == fitted.standings
    chex.assert_trees_all_equal(
        *(jax.tree.leaves(each.classifier) for each in (again, fitted))
    )
    expected = list(found(fitted.classifier, in_memory.test))
    assert list(found(fitted.classifier, on_disk.test)) == expected
    assert len(expected) > 3


def test_embeddings_are_the_same(both):
    one, other = (embeddings(network(d), d.train, batch_size=7) for d in both)
    np.testing.assert_array_equal(one, other)

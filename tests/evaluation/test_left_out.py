"""Confidence on unknown classes against NumPy and scikit-learn."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from sklearn import metrics
from small_classifier import classifier, split, weights, with_functions

from robustlabels import parallel
from robustlabels._stopping import Stopped
from robustlabels.data import Rows, Split
from robustlabels.evaluation.left_out import left_out

ONE = parallel.make_mesh(jax.devices()[:1])
TWO = parallel.make_mesh()
COMMON = {"identity": {"data": "fake", "seed": 1}, "split_name": "validation"}
# Nearer to grey, so that the classifier is less sure of them.
UNKNOWN = Split(
    (96 + np.random.default_rng(7).integers(0, 64, (9, 4, 4, 1))).astype(np.uint8),
    np.array([7, 4, 7, 7, 4, 4, 7, 4, 7], np.int32),
)


def found(known=split, unknown=UNKNOWN, of=classifier, mesh=TWO, batch_size=8, **rest):
    return left_out(
        of, known, unknown, mesh=mesh, batch_size=batch_size, **COMMON | rest
    )


def largest_probabilities(images):
    x = images.reshape(len(images), -1) / 255
    scores = np.tanh(x @ weights[0].astype(float)) @ weights[1]
    p = np.exp(scores - scores.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True)).max(1)


def test_the_finding_is_that_of_numpy_and_scikit_learn():
    finding, arrays = found()
    known, unknown = map(largest_probabilities, (split.images, UNKNOWN.images))
    np.testing.assert_allclose(arrays["known"], known, rtol=1e-5)
    np.testing.assert_allclose(arrays["unknown"], unknown, rtol=1e-5)
    expected = metrics.roc_auc_score(
        np.repeat([1, 0], [23, 9]), np.concatenate([known, unknown])
    )
    values = finding.values
    assert 0 < expected < 1
    assert values["auroc"] == pytest.approx(expected)
    assert values["known_median_confidence"] == pytest.approx(np.median(known))
    assert values["median_confidence"] == pytest.approx(np.median(unknown))
    histogram = values["confidence_histogram"]
    counts, _ = np.histogram(unknown, histogram["edges"])
    assert histogram["counts"] == counts.tolist()
    assert finding.n == 32


def test_what_it_is_of_is_json():
    finding, _ = found()
    assert finding.kind == "left_out"
    assert finding.classifier == COMMON["identity"]
    assert finding.split == "validation"
    assert finding.images is None
    assert finding.parameters == {"classes": [4, 7]}
    said = {"values": finding.values, "parameters": finding.parameters}
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_the_same_images_are_told_apart_by_chance():
    assert found(unknown=split)[0].values["auroc"] == 0.5


@pytest.mark.parametrize(("mesh", "batch_size"), [(ONE, 5), (TWO, 1)])
def test_neither_batch_size_nor_devices_nor_the_disk_change_anything(mesh, batch_size):
    on_disk = Split(Rows(UNKNOWN.images), UNKNOWN.labels)
    finding, arrays = found(unknown=on_disk, mesh=mesh, batch_size=batch_size)
    expected, of_all = found()
    assert finding.values["auroc"] == pytest.approx(expected.values["auroc"])
    for name, array in of_all.items():
        np.testing.assert_allclose(arrays[name], array, rtol=1e-6)


@pytest.mark.parametrize("calls", [1, 4])  # three batches are known, two unknown
def test_it_stops_when_asked(calls):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > calls

    with pytest.raises(Stopped, match="known classes stopped at batch"):
        found(stop=stop)
    assert len(asked) == calls + 1


def constant(value):
    sure = Partial(lambda x: jnp.full(len(x), value))
    return with_functions(classifier, confidence=sure)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"unknown": UNKNOWN.take(np.arange(0))}, "this split is empty"),
        ({"known": split.take(np.arange(0))}, "this split is empty"),
        ({"of": constant(jnp.nan)}, "confidence=nan is outside"),
        ({"of": constant(1.5)}, "confidence=1.5 is outside"),
        ({"batch_size": 0}, "batch_size=0 is not a whole number"),
    ],
)
def test_values_out_of_range_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        found(**changed)

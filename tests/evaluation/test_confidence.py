"""Findings on confidence against NumPy, one image at a time."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from sklearn import metrics
from small_classifier import classifier, outputs_of, split, weights, with_functions

from robustlabels import attacks, objective, parallel
from robustlabels._stopping import Stopped
from robustlabels.data import Split
from robustlabels.evaluation import confidence

ONE = parallel.make_mesh(jax.devices()[:1])
TWO = parallel.make_mesh()
SHAPE = (4, 4, 1)
KEY = jax.random.key(5)
COMMON = {"identity": {"data": "fake", "seed": 1}, "split_name": "validation"}
NAMES = ["a", "b", "c"]
CONFIDENT = objective.bind(
    objective.softmax().at({}, 1.0),
    Partial(outputs_of, jnp.asarray(weights[0]), 20 * jnp.asarray(weights[1])),
)


def by_hand(images, sharpness=1):
    """Scores and largest probabilities in NumPy."""
    hidden = np.tanh(
        np.asarray(images, np.float64).reshape(len(images), -1) @ weights[0]
    )
    scores = sharpness * hidden @ weights[1]
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return scores, p


def drawn(count, low, high):
    """Images from a key each, drawn alone."""
    keys = [jax.random.fold_in(KEY, i) for i in range(count)]
    return np.array(
        [jax.random.uniform(k, SHAPE, minval=low, maxval=high) for k in keys]
    )


def cleaned(mesh=TWO, batch_size=8, **arguments):
    arguments = COMMON | {"class_names": NAMES} | arguments
    return confidence.clean(
        classifier, split, mesh=mesh, batch_size=batch_size, **arguments
    )


def noisy(mesh=TWO, batch_size=8, num_images=21, **arguments):
    return confidence.noise(
        classifier,
        SHAPE,
        key=KEY,
        num_images=num_images,
        mesh=mesh,
        batch_size=batch_size,
        **COMMON | arguments,
    )


def fooled(mesh=TWO, batch_size=8, num_images=14, **arguments):
    return confidence.fooling(
        CONFIDENT,
        SHAPE,
        key=KEY,
        num_images=num_images,
        mesh=mesh,
        batch_size=batch_size,
        **{"num_steps": 4, "step_size": 0.2} | COMMON | arguments,
    )


def binned(values):
    """Counts in 20 bins that are closed on the right."""
    edges = itertools.pairwise(np.linspace(0, 1, 21))
    return [int(np.sum((values > a) & (values <= b))) for a, b in edges]


def test_the_clean_finding_is_that_of_numpy_and_scikit_learn():
    finding, arrays = cleaned()
    right = arrays["right"]
    scores, p = by_hand(split.images / np.float32(255))
    sure, decisions, labels = p.max(1), scores.argmax(1), split.labels
    np.testing.assert_array_equal(right, decisions == labels)
    assert 0 < right.mean() < 1
    values = finding.values
    assert values["accuracy"] == pytest.approx(np.mean(right))
    assert values["low"] < values["accuracy"] < values["high"]
    assert values["top_k"] == {"1": pytest.approx(np.mean(right))}
    assert values["negative_log_likelihood"] == pytest.approx(
        metrics.log_loss(labels, p, labels=[0, 1, 2]), rel=1e-5
    )
    squares = np.sum((p - np.eye(3)[labels]) ** 2, axis=1)
    assert values["brier_score"] == pytest.approx(np.mean(squares), rel=1e-5)
    assert values["median_confidence"] == pytest.approx(np.median(sure), rel=1e-5)
    assert values["confidence_histogram"]["counts"] == binned(sure)
    expected = metrics.confusion_matrix(labels, decisions, labels=[0, 1, 2])
    assert values["confusion"] == expected.tolist()
    assert values["class_names"] == NAMES
    diagram, error = values["reliability"], 0.0
    for i, (low, high) in enumerate(itertools.pairwise(diagram["edges"])):
        members = (sure > low) & (sure <= high)
        assert diagram["counts"][i] == members.sum()
        if members.any():
            assert diagram["confidence"][i] == pytest.approx(sure[members].mean())
            assert diagram["accuracy"][i] == pytest.approx(right[members].mean())
            error += abs(np.sum(sure[members] - right[members])) / 23
        else:
            assert diagram["confidence"][i] is diagram["accuracy"][i] is None
    assert 0 in diagram["counts"]
    assert values["expected_calibration_error"] == pytest.approx(error, rel=1e-5)


def test_top_k_is_of_fewer_than_all_classes():
    w = jnp.asarray(np.random.default_rng(1).normal(size=(16, 5)), jnp.float32)
    model = objective.bind(
        objective.softmax().at({}, 1.0), Partial(lambda w, x: x.reshape(-1, 16) @ w, w)
    )
    finding, _ = confidence.clean(
        model, split, mesh=ONE, class_names=list("abcde"), **COMMON
    )
    top = finding.values["top_k"]
    assert list(top) == ["1", "3"]
    scores = (split.images / 255).reshape(23, 16) @ np.asarray(w)
    ranked = np.argsort(-scores, axis=1)[:, :3]
    assert top["3"] == pytest.approx(
        np.mean(np.any(ranked == split.labels[:, None], 1))
    )


def test_the_arrays_of_the_clean_finding_are_of_each_example():
    finding, arrays = cleaned()
    assert {name: (a.shape, a.dtype) for name, a in arrays.items()} == {
        "right": ((23,), bool),
        "confidence": ((23,), np.float32),
        "negative_log_likelihood": ((23,), np.float32),
    }
    for i, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        (scores,), (p,) = by_hand(image[None] / np.float32(255))
        assert arrays["right"][i] == (scores.argmax() == label)
        assert arrays["confidence"][i] == pytest.approx(p.max(), rel=1e-5)
        expected = pytest.approx(-np.log(p[label]), rel=1e-4, abs=1e-6)
        assert arrays["negative_log_likelihood"][i] == expected
    values = finding.values
    assert values["accuracy"] == arrays["right"].mean()
    assert values["median_confidence"] == np.median(arrays["confidence"])
    assert values["negative_log_likelihood"] == pytest.approx(
        arrays["negative_log_likelihood"].mean()
    )


def test_noise_is_decided_image_by_image():
    finding, arrays = noisy()
    scores, p = by_hand(drawn(21, -10, 10))
    assert finding.n == 21
    assert finding.parameters == {"low": -10.0, "high": 10.0}
    counts = [int(np.sum(scores.argmax(1) == c)) for c in range(3)]
    assert finding.values["decisions"] == counts
    assert finding.values["median_confidence"] == pytest.approx(
        np.median(p.max(1)), rel=1e-5
    )
    assert finding.values["confidence_histogram"]["counts"] == binned(p.max(1))
    assert list(arrays) == ["confidence"]
    assert arrays["confidence"].dtype == np.float32
    np.testing.assert_allclose(arrays["confidence"], p.max(1), rtol=1e-5)
    assert finding.values["median_confidence"] == np.median(arrays["confidence"])


def test_noise_fills_its_range():
    of_images = objective.Objective(
        loss=Partial(lambda x, y: x[:, 0, 0, 0]),
        scores=Partial(lambda x: x[:, 0, 0, :] * jnp.array([[1.0, -1.0]])),
        confidence=Partial(lambda x: (x[:, 0, 0, 0] - 2) / 3),
    )
    means = objective.bind(of_images, lambda x: x)
    finding, _ = confidence.noise(
        means, SHAPE, key=KEY, low=2.0, high=5.0, num_images=400, mesh=ONE, **COMMON
    )
    counts = np.array(finding.values["confidence_histogram"]["counts"])
    assert counts.sum() == 400
    assert counts.min() > 5
    assert finding.values["decisions"] == [400, 0]


def test_fooling_images_are_those_of_the_public_attack_alone():
    finding, images = fooled()
    starts = drawn(14, 0, 1)
    functions = CONFIDENT.loss, CONFIDENT.scores, CONFIDENT.confidence
    attack = jax.jit(
        lambda x, y: attacks.fooling(*functions, x, y, num_steps=4, step_size=0.2)
    )
    success, steps, sure = [], [], []
    for i, start in enumerate(starts):
        alone = attack(start[None], jnp.array([i % 3], jnp.int32))
        success.append(bool(alone.success[0]))
        steps.append(int(alone.steps[0]))
        scores, p = by_hand(alone.x, sharpness=20)
        sure.append(p.max())
        if i < 10:
            np.testing.assert_allclose(images["images"][i], alone.x[0], atol=1e-5)
            assert images["decisions"][i] == scores.argmax()
    assert 0 < np.mean(success) < 1
    values = finding.values
    assert values["success"] == pytest.approx(np.mean(success))
    assert values["low"] < values["success"] < values["high"]
    assert values["median_steps"] == np.median(np.array(steps)[success])
    assert values["median_confidence"] == pytest.approx(np.median(sure), abs=1e-4)
    assert sum(values["confidence_histogram"]["counts"]) == 14
    assert images["targets"].tolist() == [i % 3 for i in range(10)]
    assert images["steps"].tolist() == steps[:10]
    assert images["success"].tolist() == success[:10]
    np.testing.assert_allclose(images["confidences"], sure[:10], atol=1e-4)
    assert finding.parameters == {"confidence": 0.99, "num_steps": 4, "step_size": 0.2}


def test_where_nobody_is_fooled_there_are_no_steps():
    finding, _ = fooled(num_images=3, confidence=1.0)
    assert finding.values["success"] == 0.0
    assert finding.values["median_steps"] is None


def figures(finding):
    return {**finding.values, "n": finding.n}


@pytest.mark.parametrize(("mesh", "batch_size"), [(ONE, 5), (TWO, 1)])
def test_neither_batch_size_nor_devices_change_anything(mesh, batch_size):
    for measure in (cleaned, noisy, fooled):
        found, expected = (
            figures(measure(*a)[0]) for a in ((mesh, batch_size), (TWO, 8))
        )
        for one, other in zip(
            jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
        ):
            assert one == (other if isinstance(other, str) else pytest.approx(other))


def test_findings_are_json_and_say_what_they_are_of():
    for kind, finding in (
        ("clean", cleaned()[0]),
        ("noise", noisy()[0]),
        ("fooling", fooled()[0]),
    ):
        assert finding.kind == kind
        assert finding.classifier == COMMON["identity"]
        assert finding.split == "validation"
        assert finding.seconds >= 0
        assert finding.provenance["num_devices"] == jax.device_count()
        assert finding.images is None
        values = {"values": finding.values, "parameters": finding.parameters}
        assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_replicas_share_a_compile():
    traces = []

    def outputs(w, x):
        traces.append(x.shape)
        return x.reshape(len(x), -1) @ w

    def replica(seed):
        w = jnp.asarray(np.random.default_rng(seed).normal(size=(16, 3)), jnp.float32)
        return objective.bind(objective.softmax().at({}, 1.0), Partial(outputs, w))

    accuracies, counts = [], []
    for seed in range(3):
        finding, _ = confidence.clean(
            replica(seed), split, class_names=NAMES, mesh=TWO, batch_size=8, **COMMON
        )
        accuracies.append(finding.values["accuracy"])
        confidence.noise(
            replica(seed),
            SHAPE,
            key=KEY,
            num_images=9,
            mesh=TWO,
            batch_size=4,
            **COMMON,
        )
        counts.append(len(traces))
    assert counts[0] == counts[1] == counts[2]
    assert len(set(accuracies)) > 1


@pytest.mark.parametrize("measure", [cleaned, noisy, fooled])
def test_it_stops_when_asked(measure):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == 2

    with pytest.raises(Stopped):
        measure(batch_size=4, stop=stop)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noisy(num_images=0), "num_images=0 is not a whole number"),
        (lambda: fooled(num_images=0), "num_images=0 is not a whole number"),
        (lambda: noisy(low=1.0, high=0.0), "low=1.0 and high=0.0 are no range"),
        (lambda: cleaned(batch_size=0), "batch_size=0 is not a whole number"),
        (lambda: fooled(confidence=99.0), r"confidence=99.0 is outside \[0, 1\]"),
        (lambda: fooled(num_steps=0), "num_steps=0 is not a whole number"),
        (
            lambda: confidence.clean(
                classifier,
                Split(split.images[:0], split.labels[:0]),
                class_names=NAMES,
                mesh=ONE,
                **COMMON,
            ),
            "this split is empty",
        ),
        (
            lambda: confidence.clean(
                with_functions(
                    classifier, confidence=Partial(lambda x: jnp.full(len(x), jnp.nan))
                ),
                split,
                class_names=NAMES,
                mesh=ONE,
                **COMMON,
            ),
            "confidence=nan is outside",
        ),
    ],
)
def test_values_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Matrices from a data set and from a trained model, counted and computed by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from robustlabels import data, models, objective, similarity
from robustlabels.data import as_float
from robustlabels.matrices import Trained, noise_matrices, similarities
from robustlabels.matrices.trained import activations, probabilities
from robustlabels.training import predictor

CLASSES = 4


@pytest.fixture(scope="module")
def dataset():
    shape = (5, 4, 2)
    return data.load("fake", num_examples=210, image_shape=shape, swap_rate=0.25)


@pytest.fixture(scope="module")
def trained(dataset):
    rngs = nnx.Rngs(0)
    model = models.Network(
        models.MLP((5, 4, 2), widths=(8, 6), rngs=rngs),
        models.Softmax(6, CLASSES, rngs=rngs),
        mean=dataset.mean.tolist(),
        std=dataset.std.tolist(),
    )
    predict = predictor(*nnx.split(model, nnx.Param, ...))
    classifier = objective.bind(objective.softmax().at({}, 1.0), predict)
    return Trained(model, classifier, dataset.class_names)


@pytest.fixture(scope="module")
def restore(trained):
    return {"there": trained}.__getitem__


def never(run):
    raise AssertionError(f"asked for {run}")


def images_of(split):
    return jnp.asarray(as_float(split.images))


def pixels(split):
    return np.asarray(as_float(split.images), np.float64)


def test_lda_of_pixels_sees_what_the_network_sees(dataset):
    found = similarities.lda(dataset, never, num_directions=2, batch_size=50)
    seen = (pixels(dataset.train) - dataset.mean) / dataset.std
    expected = similarity.lda_similarity(
        seen, dataset.train.labels, num_classes=CLASSES, num_directions=2
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("option", ["centered", "symmetric", "shrinkage"])
def test_lda_hands_on_its_options(dataset, option):
    value = {"centered": False, "symmetric": True, "shrinkage": 0.5}[option]
    changed = similarities.lda(dataset, never, **{option: value})
    assert not np.allclose(changed, similarities.lda(dataset, never))


def test_lda_takes_noisy_or_clean_labels(dataset):
    given = similarities.lda(dataset, never)
    clean = similarities.lda(dataset, never, labels="clean")
    expected = similarity.lda_similarity(
        pixels(dataset.train) / dataset.std, dataset.clean_labels, num_classes=CLASSES
    )
    np.testing.assert_allclose(clean, expected, rtol=1e-6)
    assert not np.allclose(given, clean)
    partners = data.splits.class_partners(CLASSES, seed=0)
    rows = np.arange(CLASSES)
    # Swapped classes look alike.
    assert np.all(given[rows, partners] > clean[rows, partners])


@pytest.mark.parametrize("layer", ["dense_1", "embedding"])
def test_lda_of_a_trained_layer(dataset, restore, trained, layer):
    found = similarities.lda(dataset, restore, run="there", layer=layer, batch_size=64)
    _, layers = trained.model(images_of(dataset.train))
    expected = similarity.lda_similarity(
        np.asarray(layers[layer]), dataset.train.labels, num_classes=CLASSES
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_an_unknown_layer_lists_those_there_are(dataset, restore):
    with pytest.raises(
        ValueError, match=r"layer='dense' .* dense_1, dense_2, embedding"
    ):
        similarities.lda(dataset, restore, run="there", layer="dense")


def test_labels_are_given_or_clean(dataset):
    with pytest.raises(
        ValueError, match=r"labels='noisy' is unknown; .*'given', 'clean'"
    ):
        similarities.lda(dataset, never, labels="noisy")


def test_uniform(dataset):
    found = similarities.uniform(dataset, never)
    np.testing.assert_allclose(found, (1 - np.eye(CLASSES)) / (CLASSES - 1))


def test_confusion_is_counted_on_validation(dataset, restore, trained):
    found = similarities.confusion(dataset, restore, run="there", batch_size=16)
    scores = trained.classifier.scores(images_of(dataset.validation))
    counts = np.zeros((CLASSES, CLASSES))
    for label, row in zip(dataset.validation.labels, np.asarray(scores), strict=True):
        counts[label, row.argmax()] += 1
    np.testing.assert_allclose(found, similarity.confusion_similarity(counts))


@pytest.mark.parametrize(
    "make", [similarities.confusion, noise_matrices.estimated], ids=["conf", "noise"]
)
def test_a_run_is_named_and_fits(make, dataset, trained):
    with pytest.raises(ValueError, match="run='' names no run"):
        make(dataset, never)
    other = trained._replace(class_names=("a", "b"))
    with pytest.raises(ValueError, match="run=x tells 2 classes apart that are not"):
        make(dataset, lambda run: other, run="x")


def test_known_noise_is_the_share_that_was_swapped(dataset):
    found = noise_matrices.known(dataset, never)
    expected = data.swap_matrix(0.25, num_classes=CLASSES, seed=0)
    np.testing.assert_allclose(found, expected, atol=0.02)
    counts = np.zeros((CLASSES, CLASSES))
    for clean, given in zip(dataset.clean_labels, dataset.train.labels, strict=True):
        counts[clean, given] += 1
    np.testing.assert_allclose(found, counts / counts.sum(axis=1, keepdims=True))


def test_estimated_noise_is_what_the_model_says(dataset, restore, trained):
    found = noise_matrices.estimated(
        dataset, restore, run="there", percentile=100.0, batch_size=16
    )
    scores = np.asarray(trained.classifier.scores(images_of(dataset.train)), np.float64)
    says = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    rows = [says[says[:, label].argmax()] for label in range(CLASSES)]
    np.testing.assert_allclose(found, rows, rtol=1e-5)


def test_matrices_from_files(dataset, tmp_path):
    uniform = (1 - np.eye(CLASSES)) / (CLASSES - 1)
    np.save(tmp_path / "a.npy", uniform)
    path = str(tmp_path / "a.npy")
    np.testing.assert_allclose(similarities.file(dataset, never, path=path), uniform)
    np.testing.assert_allclose(noise_matrices.file(dataset, never, path=path), uniform)
    np.save(tmp_path / "a.npy", 1 - np.eye(2))
    with pytest.raises(ValueError, match="has 2 classes; fake has 4"):
        similarities.file(dataset, never, path=path)
    with pytest.raises(ValueError, match=r"\(2, 2\); 4 classes need \(4, 4\)"):
        noise_matrices.file(dataset, never, path=path)


@pytest.mark.parametrize("batch_size", [1000, 64])
def test_batches_cover_every_example_once(dataset, trained, batch_size):
    parts = list(
        activations(trained.model, dataset.train, "embedding", batch_size=batch_size)
    )
    places = np.concatenate([places for _, places in parts])
    assert sorted(places) == list(range(len(dataset.train.labels)))
    says = probabilities(trained.classifier, dataset.train, batch_size=batch_size)
    assert says.shape == (len(dataset.train.labels), CLASSES)
    np.testing.assert_allclose(says.sum(axis=1), 1, rtol=1e-5)

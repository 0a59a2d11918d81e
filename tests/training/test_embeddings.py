"""Embeddings of a split, in batches and all at once."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_runs import build, dataset

from robustlabels.data import Split
from robustlabels.training import embeddings


@pytest.mark.parametrize("batch_size", [1, 7, 36, 1000])
def test_without_batch_statistics_batches_do_not_matter(batch_size):
    model = build(widths=(6, 3))
    x = jnp.asarray(dataset.train.images / np.float32(255))
    found = embeddings(model, dataset.train, batch_size=batch_size)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, model.embed(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [10, 36])
def test_each_batch_is_normalised_by_itself_and_the_last_is_filled(batch_size):
    model = build(widths=(5,), norm="batch", activation="identity")
    before = jax.tree.map(np.array, nnx.state(model))
    found = embeddings(model, dataset.train, batch_size=batch_size)
    chex.assert_trees_all_equal(jax.tree.map(np.array, nnx.state(model)), before)

    pixels = (dataset.train.images / 255 - dataset.mean) / dataset.std
    hidden = pixels.reshape(36, -1) @ np.asarray(model.encoder.dense[0].linear.kernel)
    expected = []
    for start in range(0, 36, batch_size):
        batch = hidden[np.arange(start, start + batch_size) % 36]
        expected.append((batch - batch.mean(0)) / np.sqrt(batch.var(0) + 1e-5))
    expected = np.concatenate(expected)[:36]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_float_images_are_taken_as_they_are():
    images = (dataset.train.images / np.float32(255)).astype(np.float32)
    model = build()
    found = embeddings(model, Split(images, dataset.train.labels))
    np.testing.assert_allclose(found, embeddings(model, dataset.train), atol=1e-6)


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size=0 is not a whole number"):
        embeddings(build(), dataset.train, batch_size=0)

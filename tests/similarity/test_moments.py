"""What is added up, against integers and against NumPy's float64."""

import numpy as np
import pytest

from robustlabels.similarity import moments
from robustlabels.similarity.chunks import Chunk, in_chunks
from robustlabels.similarity.moments import add_up

CLASSES = 3


def added(x, labels, size):
    chunks = in_chunks(x, labels, num_classes=CLASSES, size=size).chunks
    return add_up(chunks, CLASSES)


def products(found, d):
    """The panels put together, and their mirror image."""
    upper, start = np.zeros((d, d)), 0
    for panel in map(np.asarray, found.panels):
        assert panel.dtype == np.float64
        assert panel.shape[1] == d - start
        upper[start : start + len(panel), start:] = panel
        start += len(panel)
    assert start == d
    upper = np.triu(upper)
    return upper + np.triu(upper, 1).T


# Bytes 0 and 1 are products of 2^14 and odd ones below: those that float32 rounds first
# when too many are summed.
@pytest.mark.parametrize("high", [2, 256])
@pytest.mark.parametrize("size", [100, 1024, 3000, 10_000])
def test_bytes_are_added_up_as_integers(high, size):
    rng = np.random.default_rng(0)
    x = rng.integers(0, high, (6000, 5)).astype(np.uint8)
    labels = rng.integers(0, CLASSES, 6000)
    found = added(x, labels, size)
    less = x.astype(np.int64) - 128
    np.testing.assert_array_equal(products(found, 5), less.T @ less)
    sums = [less[labels == c].sum(axis=0) for c in range(CLASSES)]
    np.testing.assert_array_equal(found.sums, sums)
    np.testing.assert_array_equal(found.counts, np.bincount(labels))
    np.testing.assert_array_equal(found.shift, np.full(5, 128.0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [7, 50, 64])
def test_floats_are_added_up_in_float64(dtype, size):
    rng = np.random.default_rng(1)
    x = (1e4 + rng.normal(size=(50, 5))).astype(dtype)
    labels = np.arange(50) % CLASSES
    found = added(x, labels, size)
    less = np.float64(x) - found.shift
    assert abs(less.mean(axis=0)).max() < 1  # so that few digits are lost
    np.testing.assert_allclose(products(found, 5), less.T @ less, rtol=1e-12)
    sums = [less[labels == c].sum(axis=0) for c in range(CLASSES)]
    np.testing.assert_allclose(found.sums, sums, atol=1e-11)


@pytest.mark.parametrize("d", [1, 256, 257, 2100])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_panels_cover_all_pairs_of_features(d, dtype):
    x = np.random.default_rng(2).integers(0, 256, (8, d)).astype(dtype)
    found = added(x, np.arange(8) % CLASSES, 8)
    assert len(found.panels) <= 8
    less = x - found.shift
    np.testing.assert_allclose(products(found, d), less.T @ less, atol=1e-9)


def test_all_chunks_run_one_program():
    x = np.random.default_rng(3).integers(0, 256, (50, 11)).astype(np.uint8)
    before = moments._add._cache_size()
    added(x, np.arange(50) % CLASSES, 8)
    assert moments._add._cache_size() == before + 1


def test_rows_without_a_label_do_not_count():
    x = np.array([[1.0], [2.0], [3.0], [9.0]])
    found = add_up([Chunk(x, np.array([0, 1, 1, -1], np.int32))], 2)
    np.testing.assert_array_equal(found.counts, [1, 2])
    np.testing.assert_array_equal(found.shift, [2.0])
    np.testing.assert_array_equal(found.sums, [[-1.0], [1.0]])
    np.testing.assert_array_equal(found.panels[0], [[2.0]])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 0, 2], "no example of class 1. Labels count from 0 without gaps"),
        ([0, 1, 2, -1], "3 examples of 3 classes do not scatter"),
    ],
)
def test_what_is_not_enough(labels, message):
    chunk = Chunk(np.ones((4, 2)), np.array(labels, np.int32))
    with pytest.raises(ValueError, match=message):
        add_up([chunk], 3)


def test_no_chunks_at_all():
    with pytest.raises(ValueError, match="no example of class 0, class 1, class 2"):
        add_up([], 3)


def test_no_more_than_five_missing_classes_are_named():
    chunk = Chunk(np.ones((4, 2)), np.zeros(4, np.int32))
    with pytest.raises(ValueError, match=r"class 4, class 5\. Labels"):
        add_up([chunk], 100)

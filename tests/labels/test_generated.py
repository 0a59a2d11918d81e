"""Labels that are made of nothing, as they were published."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.labels import constant, gaussian_composition, shuffled, uniform

MAKERS = [constant, uniform, gaussian_composition]


@pytest.mark.parametrize("make", MAKERS)
@settings(deadline=None, max_examples=10, derandomize=True)
@given(classes=st.integers(2, 6), shape=st.tuples(*[st.integers(1, 9)] * 2))
def test_shape_type_and_range(make, classes, shape):
    found = make(classes, shape=shape)
    assert found.shape == (classes, *shape)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 80
    np.testing.assert_array_equal(found, make(classes, shape=shape))


@pytest.mark.parametrize("make", MAKERS)
def test_what_no_label_is_made_of(make):
    with pytest.raises(ValueError, match="num_classes=1 is not"):
        make(1)
    with pytest.raises(ValueError, match="a_side_of_shape=0 is not"):
        make(2, shape=(0, 3))
    with pytest.raises(ValueError, match=r"shape=\(\) has "):
        make(2, shape=())


@pytest.mark.parametrize("make", [uniform, gaussian_composition])
def test_fewer_classes_are_the_first_of_more(make):
    np.testing.assert_array_equal(make(3, shape=(8, 8)), make(12, shape=(8, 8))[:3])


def test_constant_labels_are_spread_evenly():
    found = constant(10)
    np.testing.assert_allclose(found[:, 5, 7], np.arange(10) * 80 / 9, rtol=1e-6)
    assert (found == found[:, :1, :1]).all()


def test_uniform_labels_are_numpys_draws():
    expected = np.random.RandomState(48).uniform(0, 80, (100, 64, 64))
    np.testing.assert_array_equal(uniform(100), expected.astype(np.float32))
    assert not np.isclose(
        uniform(2, shape=(10,), seed=1), uniform(2, shape=(10,))
    ).any()


def composed_by_hand(label, row, column):
    """The sum of Gaussians at a cell of the grid of 256 by 256, as it was published."""
    total = 0.0
    for i in range(10):
        streams = [random.Random(i + s) for s in (1, 2, 3)]
        draws = [[stream.random() for _ in range(2 * label + 2)] for stream in streams]
        dx = (column + 0.5) / 256 - 0.5 - (draws[0][2 * label] - 0.5)
        dy = 0.5 - (row + 0.5) / 256 - (draws[1][2 * label + 1] - 0.5)
        turn = np.pi * draws[2][label]
        u = np.cos(turn) * dx + np.sin(turn) * dy
        v = np.cos(turn) * dy - np.sin(turn) * dx
        total += np.exp(-((0.31 * u / 0.075) ** 2) / 2 - (v / 0.075) ** 2 / 2)
    return total


def test_gaussians_are_where_the_published_streams_put_them():
    whole = gaussian_composition(4, shape=(256, 256))
    np.testing.assert_array_equal(whole.min(axis=(1, 2)), 0)
    np.testing.assert_array_equal(whole.max(axis=(1, 2)), 80)
    np.testing.assert_array_equal(gaussian_composition(4), whole[:, 2::4, 2::4])
    for label in (0, 3):
        ends = [
            np.unravel_index(f(whole[label]), (256, 256))
            for f in (np.argmin, np.argmax)
        ]
        low, high = (composed_by_hand(label, *cell) for cell in ends)
        for cell in [(0, 0), (17, 200), (255, 3), (128, 128)]:
            share = (composed_by_hand(label, *cell) - low) / (high - low)
            np.testing.assert_allclose(whole[label][cell], 80 * share, atol=1e-4)


def test_the_first_published_order_of_columns():
    columns = np.tile(np.arange(64.0), (2, 3, 1))
    first, second = shuffled(columns)
    assert first[0, :8].tolist() == [1, 56, 25, 12, 60, 16, 63, 59]
    assert (first == first[0]).all()
    assert (first != second).any()


@settings(deadline=None, max_examples=30, derandomize=True)
@given(columns=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_no_class_keeps_its_order(columns, seed):
    codebook = np.tile(np.arange(float(columns)), (20, 1))
    found = shuffled(codebook, seed=seed)
    assert (found != codebook).any(axis=1).all()
    np.testing.assert_array_equal(np.sort(found, axis=1), codebook)


def test_what_is_not_shuffled():
    with pytest.raises(ValueError, match=r"columns=1 is not .* at least 2"):
        shuffled(np.eye(2)[..., None])
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=f"seed={seed} is"):
            shuffled(np.eye(2), seed=seed)

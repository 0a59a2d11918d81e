"""Resizing against SciPy."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.labels import resize

SIDES = st.integers(1, 9)


@settings(deadline=None, max_examples=80, derandomize=True)
@given(shape=st.tuples(SIDES, SIDES), new=st.tuples(SIDES, SIDES))
def test_scipy_zooms_the_same(shape, new):
    codebook = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    found = resize(codebook, new)
    assert found.dtype == np.float32
    factors = [b / a for a, b in zip(shape, new, strict=True)]
    for label, resized in zip(codebook, found, strict=True):
        peer = scipy.ndimage.zoom(
            label, factors, order=1, mode="mirror", grid_mode=True
        )
        np.testing.assert_allclose(resized, peer, atol=1e-5)
        assert label.min() - 1e-6 <= resized.min() <= resized.max()
        assert resized.max() <= label.max() + 1e-6


def test_its_own_shape_changes_nothing():
    codebook = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    np.testing.assert_array_equal(resize(codebook, (5, 7)), codebook)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((64,), r"shape=\(64,\) has not the two sides of a matrix"),
        ((0, 64), "a_side_of_shape=0 is not a whole number of at least 1"),
        ((64, True), "a_side_of_shape=True"),
    ],
)
def test_what_is_no_shape(shape, message):
    with pytest.raises(ValueError, match=message):
        resize(np.zeros((2, 3, 3)), shape)

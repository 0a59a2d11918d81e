import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from robustlabels.data import Rows

ARRAY = np.arange(60, dtype=np.uint8).reshape(10, 2, 3)
IDS = st.lists(st.integers(0, 9), max_size=30).map(lambda ids: np.array(ids, int))


@given(IDS, st.data())
def test_rows_are_indexed_like_the_array_of_them(ids, data):
    rows, expected = Rows(ARRAY, ids), ARRAY[ids]
    assert (len(rows), rows.shape) == (len(expected), expected.shape)
    size = len(ids)
    keys = st.slices(size) | arrays.arrays(bool, size)
    if size:
        shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0)
        keys |= st.integers(-size, size - 1)
        keys |= arrays.arrays(int, shapes, elements=st.integers(-size, size - 1))
    key = data.draw(keys)
    found = rows[key]
    assert type(found) is np.ndarray
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected[key])


@given(IDS, st.data())
def test_rows_of_rows(ids, data):
    some = st.lists(st.integers(0, len(ids) - 1)) if len(ids) else st.just([])
    inner = np.array(data.draw(some), int)
    taken = Rows(ARRAY, ids).take(inner)
    assert isinstance(taken, Rows)
    np.testing.assert_array_equal(taken[:], ARRAY[ids][inner])


def test_a_memory_map_is_read_in_its_own_order(tmp_path):
    large = np.arange(3000, dtype=np.int64).reshape(1000, 3)
    np.save(tmp_path / "a.npy", large)
    order = np.random.default_rng(0).permutation(1000)
    rows = Rows(np.load(tmp_path / "a.npy", mmap_mode="r"), order)
    assert type(rows[:]) is np.ndarray
    np.testing.assert_array_equal(rows[:], large[order])

    read = []

    class Watched(np.ndarray):
        def __getitem__(self, key):
            read.extend(np.ravel(key).tolist())
            return super().__getitem__(key)

    Rows(large.view(Watched), order)[:700]
    assert read == sorted(order[:700])


def test_all_rows_become_an_array_if_they_have_to():
    rows = Rows(ARRAY, np.array([3, 1]))
    for array in (np.asarray(rows), jax.numpy.asarray(rows), np.stack(list(rows))):
        np.testing.assert_array_equal(array, ARRAY[[3, 1]])
    assert np.asarray(rows, np.float32).dtype == np.float32
    assert (rows.ndim, rows.dtype) == (3, np.uint8)
    with pytest.raises(ValueError, match="that is a copy"):
        np.asarray(rows, copy=False)


def test_only_rows_can_be_chosen():
    with pytest.raises(IndexError):
        Rows(ARRAY)[:, 0]
    with pytest.raises(IndexError):
        Rows(ARRAY)[10]

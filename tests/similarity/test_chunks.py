"""Chunks of one size, from arrays and from batches of any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.similarity.chunks import in_chunks


def chunks(features, labels=None, *, size=4, num_classes=3):
    return in_chunks(features, labels, num_classes=num_classes, size=size)


def example(n, dtype=np.float32):
    x = np.arange(6 * n).reshape(n, 3, 2).astype(dtype)
    return x, np.arange(n) % 3


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    n=st.integers(1, 20),
    size=st.integers(1, 9),
    cuts=st.lists(st.integers(0, 20), max_size=5),
    dtype=st.sampled_from([np.uint8, np.float32, np.float64]),
)
def test_chunks_are_full_and_leave_nothing_out(n, size, cuts, dtype):
    x, y = example(n, dtype)
    batches = zip(np.split(x, sorted(cuts)), np.split(y, sorted(cuts)), strict=True)
    for shape, found in (chunks(x, y, size=size), chunks(batches, size=size)):
        assert shape == (3, 2)
        found = list(found)
        assert len(found) == -(-n // size)
        assert {chunk.x.shape for chunk in found} == {(size, 6)}
        assert {chunk.x.dtype for chunk in found} == {np.dtype(dtype)}
        rows = np.concatenate([chunk.x for chunk in found])
        labels = np.concatenate([chunk.labels for chunk in found])
        np.testing.assert_array_equal(rows[:n], x.reshape(n, 6))
        np.testing.assert_array_equal(labels[:n], y)
        assert not rows[n:].any()
        assert (labels[n:] == -1).all()


def test_no_chunk_is_written_to_afterwards():
    x, y = example(8)
    first, second = chunks(x, y).chunks
    assert not np.shares_memory(first.x, second.x)
    assert not np.shares_memory(first.x, x)


def test_no_more_is_read_than_a_chunk_needs():
    x, y = example(10)
    read = []

    class OnDisk:
        shape = x.shape

        def __getitem__(self, span):
            read.append(len(x[span]))
            return x[span]

    found = chunks(OnDisk(), y).chunks
    assert read == [4]
    next(found)
    assert read == [4]
    next(found)
    assert read == [4, 4]
    next(found)
    assert read == [4, 4, 2]


X, Y = example(5)


def with_value(value, dtype):
    x = X.astype(dtype)
    x[3, 1, 1] = value
    return x


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (X, None, r"shape \(5, 3, 2\) have no labels"),
        (X, Y[:4], r"shape \(5, 3, 2\) and labels of shape \(4,\) do not go together"),
        (X, np.eye(5, dtype=int), r"labels of shape \(5, 5\) do not go together"),
        (np.float32(1), Y, r"features of shape \(\) and labels"),
        ([(X, Y[:4])], None, r"labels of shape \(4,\) do not go together"),
        ([(np.float32(1), np.array(1))], None, r"shape \(\) do not go together"),
        (X.astype(int), Y, "features are int64. Convert them to uint8, float32"),
        (X.astype(np.float16), Y, "features are float16"),
        (X, Y.astype(float), "labels are float64. Give class ids"),
        (X, Y - 1, r"labels=-1 is outside \[0, 2\]"),
        (X, Y + 1, r"labels=3 is outside \[0, 2\]"),
        (X[:0], Y[:0], "there are no examples"),
        (iter([]), None, "there are no examples. An iterator can be read only once"),
        (X[:, :0], Y, r"shape \(0, 2\) have 0 features"),
        (
            np.zeros((5, 32_769), np.uint8),
            Y,
            r"32,769 features; 1 to 32,768 .* 8.0 GiB. Use smaller images",
        ),
        (
            np.zeros((5, 224, 224, 3), np.uint8),
            Y,
            "150,528 features; .* 168.8 GiB",
        ),
        ([(X, Y), (X[:, :2], Y)], None, r"shape \(2, 2\), the first one float32 of"),
        ([(X, Y), (np.float64(X), Y)], None, "a batch has float64 examples"),
        (with_value(np.nan, np.float32), Y, "features of example 3 are NaN, infinite"),
        (with_value(np.inf, np.float32), Y, "features of example 3 are NaN, infinite"),
        (with_value(-np.inf, np.float64), Y, "features of example 3"),
        (with_value(1e200, np.float64), Y, r"of example 3 .* beyond 1e\+30"),
        ([(X, Y), (with_value(np.nan, np.float32), Y)], None, "of example 8 are NaN"),
    ],
)
def test_what_is_refused(features, labels, message):
    with pytest.raises(ValueError, match=message):
        list(chunks(features, labels).chunks)


def test_whatever_can_be_refused_is_refused_at_once():
    with pytest.raises(ValueError, match="features are int64"):
        chunks(X.astype(int), Y)
    with pytest.raises(ValueError, match="batch_size=0 is not a whole number"):
        chunks(X, Y, size=0)

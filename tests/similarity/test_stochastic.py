"""Matrices whose rows share one, and what is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robustlabels.similarity import (
    asymmetry,
    check_similarity,
    confusion_similarity,
    uniform_similarity,
)
from robustlabels.similarity.stochastic import rows_and_columns_scaled

CASES = settings(deadline=None, max_examples=50, derandomize=True)
COUNTS = st.integers(2, 6).flatmap(
    lambda k: arrays(np.int64, (k, k), elements=st.integers(0, 5))
)
GOOD = [[0.0, 0.25, 0.75], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize("k", [2, 3, 10, 1000])
def test_uniform(k):
    similarity = check_similarity(uniform_similarity(k))
    assert similarity.dtype == np.float64
    assert set(similarity[~np.eye(k, dtype=bool)]) == {1 / (k - 1)}
    assert asymmetry(similarity) == 0.0


def test_uniform_needs_two_classes():
    with pytest.raises(ValueError, match="num_classes=1 is not a whole number of at"):
        uniform_similarity(1)


@CASES
@given(counts=COUNTS)
def test_confusion_is_counted_row_by_row(counts):
    k = len(counts)
    before = counts.copy()
    similarity = check_similarity(confusion_similarity(counts))
    for i in range(k):
        wrong = sum(counts[i, j] for j in range(k) if j != i)
        for j in range(k):
            expected = 0.0 if i == j else 1 / (k - 1)
            if i != j and wrong:
                expected = counts[i, j] / wrong
            assert similarity[i, j] == pytest.approx(expected, abs=1e-15)
    np.testing.assert_array_equal(counts, before)


@CASES
@given(seed=st.integers(0, 999), k=st.integers(4, 9))
def test_rows_and_columns_scaled_alike(seed, k):
    rng = np.random.default_rng(seed)
    half = np.triu(rng.uniform(0.1, 0.5, (k, k)), 1)
    closeness = half + half.T
    found = rows_and_columns_scaled(closeness)
    assert asymmetry(found) == 0.0
    assert not found.diagonal().any()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    # D closeness D: ratios that a diagonal leaves alone are those of before.
    i, j, m, n = rng.permutation(k)[:4]
    np.testing.assert_allclose(
        found[i, j] * found[m, n] / (found[i, n] * found[m, j]),
        closeness[i, j] * closeness[m, n] / (closeness[i, n] * closeness[m, j]),
    )


@CASES
@given(closeness=st.lists(st.floats(0.1, 0.5), min_size=3, max_size=3))
def test_three_classes_have_no_choice(closeness):
    a, b, c = closeness
    found = rows_and_columns_scaled(np.array([[0, a, b], [a, 0, c], [b, c, 0]]))
    np.testing.assert_allclose(found, (1 - np.eye(3)) / 2, atol=1e-12)


def test_what_is_doubly_stochastic_stays():
    uniform = uniform_similarity(5)
    np.testing.assert_array_equal(rows_and_columns_scaled(uniform), uniform)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_similarity_of_ones_own(dtype):
    own = np.array(GOOD, dtype)
    checked = check_similarity(own)
    assert checked.dtype == np.float64
    np.testing.assert_array_equal(checked, own)
    assert not np.shares_memory(checked, own)
    np.testing.assert_array_equal(check_similarity(GOOD), GOOD)


def changed(i, j, value):
    matrix = np.array(GOOD)
    matrix[i, j] = value
    return matrix


NOT_SQUARE = "not .classes, classes. with at least two"


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0.0]], r"similarity has the shape \(1, 1\), " + NOT_SQUARE),
        (np.zeros((2, 3)), r"the shape \(2, 3\), " + NOT_SQUARE),
        ([0.0, 1.0], r"the shape \(2,\), " + NOT_SQUARE),
        (changed(1, 2, -0.5), r"similarity\[1, 2\]=-0.5 is outside \[0, inf\)"),
        (changed(2, 1, np.nan), r"similarity\[2, 1\]=nan is outside"),
        (changed(0, 1, np.inf), r"similarity\[0, 1\]=inf is outside"),
        (changed(1, 1, 1e-3), r"similarity\[1, 1\]=0.001 is not zero.* divide rows"),
        (changed(1, 0, 0.51), r"row 1 of similarity sums to 1.01, not to 1. Divide"),
        (changed(2, 0, 1 - 2e-6), r"row 2 of similarity sums to 0.999998, not"),
        (np.array(GOOD).T, "row 0 of similarity sums to 1.5"),
    ],
)
def test_what_is_no_similarity(matrix, message):
    with pytest.raises(ValueError, match=message):
        check_similarity(matrix)


def test_rows_may_be_rounded():
    check_similarity(changed(2, 0, 1 - 5e-7))


@pytest.mark.parametrize(
    ("confusion", "message"),
    [
        (np.zeros((2, 3)), r"confusion has the shape \(2, 3\), " + NOT_SQUARE),
        ([[5, -1], [0, 5]], r"confusion\[0, 1\]=-1.0 is outside \[0, inf\)"),
        ([[5, np.nan], [0, 5]], r"confusion\[0, 1\]=nan is outside"),
    ],
)
def test_what_is_no_confusion(confusion, message):
    with pytest.raises(ValueError, match=message):
        confusion_similarity(confusion)


@CASES
@given(counts=COUNTS)
def test_asymmetry_is_that_of_a_loop(counts):
    k = len(counts)
    pairs = ((i, j) for i in range(k) for j in range(k))
    worst = max(abs(counts[i, j] - counts[j, i]) for i, j in pairs)
    assert asymmetry(counts) == worst

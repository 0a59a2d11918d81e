import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.data import class_partners, order, splits, swap_labels, swap_matrix

SEEDS = st.integers(0, 2**32)
LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=80).map(
    lambda labels: np.array(labels, np.int32)
)


@given(LABELS, SEEDS, st.booleans())
def test_an_order_is_a_permutation_that_repeats(labels, seed, balanced):
    first = order(labels, seed=seed, balanced=balanced)
    assert sorted(first) == list(range(len(labels)))
    np.testing.assert_array_equal(first, order(labels, seed=seed, balanced=balanced))


@given(LABELS, SEEDS)
def test_every_prefix_of_a_balanced_order_has_the_classes_in_proportion(labels, seed):
    ordered = labels[order(labels, seed=seed, balanced=True)]
    share = np.bincount(labels) / len(labels)
    bound = 0.5 + np.count_nonzero(share) / 2 * share
    for k in range(len(labels) + 1):
        counts = np.bincount(ordered[:k], minlength=len(share))
        assert (abs(counts - k * share) <= bound + 1e-9).all()


@given(st.integers(1, 7), st.integers(1, 12), SEEDS)
def test_classes_of_equal_size_never_differ_by_more_than_one(classes, size, seed):
    labels = np.repeat(np.arange(classes, dtype=np.int32), size)
    ordered = labels[order(labels, seed=seed, balanced=True)]
    for k in range(len(labels) + 1):
        counts = np.bincount(ordered[:k], minlength=classes)
        assert counts.max() - counts.min() <= 1


def test_a_plain_order_does_not_look_at_the_labels():
    zeros, ones = np.zeros(50, np.int32), np.ones(50, np.int32)
    plain = order(zeros, seed=3, balanced=False)
    np.testing.assert_array_equal(plain, order(ones, seed=3, balanced=False))
    assert (plain != order(zeros, seed=4, balanced=False)).any()


def test_within_a_class_a_balanced_order_is_uniform():
    labels = np.repeat(np.arange(2, dtype=np.int32), 4)
    firsts = [order(labels, seed=s, balanced=True)[0] for s in range(4000)]
    counts = np.bincount(firsts, minlength=8)
    assert abs(counts - 500).max() < 5 * np.sqrt(500)


@given(st.integers(1, 40), SEEDS)
def test_partners_are_mutual_and_one_of_an_odd_number_is_alone(num_classes, seed):
    partners = class_partners(num_classes, seed=seed)
    classes = np.arange(num_classes)
    np.testing.assert_array_equal(partners[partners], classes)
    assert np.count_nonzero(partners == classes) == num_classes % 2


def test_each_pairing_is_equally_likely():
    firsts = [class_partners(4, seed=seed)[0] for seed in range(3000)]
    counts = np.bincount(firsts, minlength=4)
    assert counts[0] == 0
    assert abs(counts[1:] - 1000).max() < 5 * np.sqrt(1000)


@settings(deadline=None)
@given(LABELS, st.floats(0, 0.5, exclude_max=True), SEEDS)
def test_exactly_the_rounded_share_of_each_class_goes_to_the_partner(
    labels, rate, seed
):
    before = labels.copy()
    swapped = swap_labels(labels, rate, num_classes=7, seed=seed)
    np.testing.assert_array_equal(labels, before)
    partners = class_partners(7, seed=seed)
    for class_id in range(7):
        ours = swapped[labels == class_id]
        alone = partners[class_id] == class_id
        expected = 0 if alone else round(rate * len(ours))
        moved = ours[ours != class_id]
        assert len(moved) == expected
        assert (moved == partners[class_id]).all()


@given(LABELS, SEEDS)
def test_a_larger_rate_swaps_what_a_smaller_one_does(labels, seed):
    changed = [
        swap_labels(labels, rate, num_classes=7, seed=seed) != labels
        for rate in (0.0, 0.1, 0.3, 0.49)
    ]
    assert not changed[0].any()
    for small, large in itertools.pairwise(changed):
        assert (large | ~small).all()


def test_another_purpose_swaps_other_examples_between_the_same_classes():
    labels = np.repeat(np.arange(4, dtype=np.int32), 100)
    options = {"num_classes": 4, "seed": 3}
    one = swap_labels(labels, 0.3, **options)
    two = swap_labels(labels, 0.3, purpose=splits.VALIDATION_SWAPS, **options)
    assert ((one != labels) != (two != labels)).any()
    both = (one != labels) & (two != labels)
    np.testing.assert_array_equal(one[both], two[both])
    for swapped in (one, two):
        np.testing.assert_array_equal(np.bincount(labels[swapped != labels]), 4 * [30])


@given(st.integers(1, 9), st.floats(0, 0.5, exclude_max=True), SEEDS)
def test_the_matrix_of_the_noise_counts_what_is_swapped(num_classes, rate, seed):
    """Of 1000 examples a class, counts differ from what is likely by rounding."""
    matrix = swap_matrix(rate, num_classes=num_classes, seed=seed)
    labels = np.repeat(np.arange(num_classes, dtype=np.int32), 1000)
    swapped = swap_labels(labels, rate, num_classes=num_classes, seed=seed)
    for i in range(num_classes):
        for j in range(num_classes):
            count = np.sum((labels == i) & (swapped == j))
            assert abs(count - 1000 * matrix[i, j]) <= 0.5 + 1e-9
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert matrix.dtype == np.float64
    assert np.count_nonzero(matrix.diagonal() == 1) >= num_classes % 2


@pytest.mark.parametrize("rate", [-0.1, 0.5, 1.0, float("nan")])
def test_a_rate_out_of_range(rate):
    with pytest.raises(ValueError, match=rf"rate={rate} is outside \[0, 0.5\)"):
        swap_matrix(rate, num_classes=2, seed=0)
    with pytest.raises(ValueError, match=rf"rate={rate} is outside \[0, 0.5\)"):
        swap_labels(np.zeros(4, np.int32), rate, num_classes=1, seed=0)

"""Batches of one size: every example counts once, and fillers do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.data import filled_batches


@settings(deadline=None, derandomize=True)
@given(size=st.integers(1, 60), batch_size=st.integers(1, 80), seed=st.integers(0, 99))
def test_what_counts_is_the_order_itself(size, batch_size, seed):
    order = np.random.default_rng(seed).permutation(size)
    ids, counts = filled_batches(order, batch_size)
    assert ids.shape == counts.shape
    assert ids.shape[1] == min(batch_size, size)
    assert np.array_equal(ids[counts], order)
    fillers = ids[~counts]
    assert len(fillers) < ids.shape[1]
    assert np.array_equal(fillers, order[: len(fillers)])


def test_nothing_cannot_be_batched():
    with pytest.raises(ValueError, match="there are no examples"):
        filled_batches(np.arange(0), 5)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_needs_an_example(batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size}"):
        filled_batches(np.arange(3), batch_size)

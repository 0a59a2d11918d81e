"""Calibration against scikit-learn, and against loops over examples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from robustlabels.evaluation import calibration

CASES = settings(deadline=None, max_examples=60, derandomize=True)
# Some on the edges of 5 and of 20 bins, and often bins without any.
CONFIDENCES = st.lists(
    st.one_of(st.floats(0, 1), st.sampled_from(np.linspace(0, 1, 21).tolist())),
    min_size=1,
    max_size=40,
).map(np.array)
BINS = st.sampled_from([1, 2, 5, 15, 20])


def flags(confidence, seed):
    return np.random.default_rng(seed).random(len(confidence)) < confidence


def scores_and_labels(seed, n=17, classes=4, ties=False):
    """Random scores; with ties, of few values."""
    rng = np.random.default_rng(seed)
    scores = 3 * rng.normal(size=(n, classes))
    if ties:
        scores = rng.integers(0, 3, (n, classes)).astype(float)
    return scores, rng.integers(0, classes, n)


def by_hand(confidence, correct, bins):
    """Members of each bin, an example at a time."""
    edges = np.linspace(0, 1, bins + 1)
    members = [[] for _ in range(bins)]
    for c, hit in zip(confidence, correct, strict=True):
        for i in range(bins):
            if edges[i] < c <= edges[i + 1] or (i == 0 and c == 0):
                members[i].append((c, hit))
    return members


@CASES
@given(confidence=CONFIDENCES, bins=BINS, seed=st.integers(0, 99))
def test_a_diagram_is_that_of_scikit_learn(confidence, bins, seed):
    correct = flags(confidence, seed)
    found = calibration.reliability(confidence, correct, bins=bins)
    accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=bins)
    full = found.counts > 0
    np.testing.assert_allclose(found.accuracy[full], accuracy, atol=1e-12)
    np.testing.assert_allclose(found.confidence[full], mean_confidence, atol=1e-12)


@CASES
@given(confidence=CONFIDENCES, bins=BINS, seed=st.integers(0, 99))
def test_a_diagram_is_that_of_a_loop(confidence, bins, seed):
    correct = flags(confidence, seed)
    found = calibration.reliability(confidence, correct, bins=bins)
    members = by_hand(confidence, correct, bins)
    assert found.counts.tolist() == [len(m) for m in members]
    for i, member in enumerate(members):
        expected = np.mean(member, axis=0) if member else [np.nan, np.nan]
        np.testing.assert_allclose(
            [found.confidence[i], found.accuracy[i]], expected, atol=1e-12
        )
    np.testing.assert_array_equal(found.edges, np.linspace(0, 1, bins + 1))


@CASES
@given(confidence=CONFIDENCES, bins=BINS, seed=st.integers(0, 99))
def test_the_error_is_the_mean_gap_of_the_bins(confidence, bins, seed):
    correct = flags(confidence, seed)
    gaps = [
        abs(sum(c for c, _ in member) - sum(hit for _, hit in member))
        for member in by_hand(confidence, correct, bins)
    ]
    found = calibration.expected_calibration_error(confidence, correct, bins=bins)
    assert found == pytest.approx(sum(gaps) / len(confidence), abs=1e-12)


def test_the_error_uses_fifteen_bins():
    # In bins of 1/15 these are two bins, in bins of 1/10 one.
    confidence, correct = np.array([0.61, 0.69]), np.array([False, True])
    found = calibration.expected_calibration_error(confidence, correct)
    assert found == pytest.approx((0.61 + 0.31) / 2)


@CASES
@given(confidence=CONFIDENCES)
def test_a_histogram_counts_everybody_once(confidence):
    found = calibration.histogram(confidence)
    members = by_hand(confidence, confidence, 20)
    assert found.counts.tolist() == [len(m) for m in members]
    assert len(found.edges) == 21
    assert found.counts.sum() == len(confidence)


@CASES
@given(seed=st.integers(0, 999), ties=st.booleans())
def test_likelihood_and_brier_score_are_those_of_scikit_learn(seed, ties):
    scores, labels = scores_and_labels(seed, ties=ties)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    classes = list(range(4))
    found = calibration.negative_log_likelihood(scores, labels)
    assert found == pytest.approx(metrics.log_loss(labels, p, labels=classes))
    score = sum(metrics.brier_score_loss(labels == c, p[:, c]) for c in classes)
    assert calibration.brier_score(scores, labels) == pytest.approx(score)


@CASES
@given(seed=st.integers(0, 999), ties=st.booleans())
def test_likelihoods_are_those_of_a_loop(seed, ties):
    scores, labels = scores_and_labels(seed, ties=ties)
    found = calibration.negative_log_likelihoods(scores, labels)
    for row, label, one in zip(scores, labels, found, strict=True):
        assert one == pytest.approx(-np.log(np.exp(row[label]) / np.exp(row).sum()))
    assert calibration.negative_log_likelihood(scores, labels) == np.mean(found)


def test_scores_may_be_huge():
    scores = np.array([[1e4, 0.0, -1e4], [0.0, 1e4, 1e4]], np.float32)
    found = calibration.negative_log_likelihood(scores, np.array([1, 1]))
    assert found == pytest.approx((1e4 + np.log(2)) / 2)
    score = calibration.brier_score(scores, np.array([1, 1]))
    assert score == pytest.approx((2 + 0.5) / 2)


@CASES
@given(seed=st.integers(0, 999), ties=st.booleans(), k=st.integers(1, 3))
def test_top_k_is_that_of_scikit_learn(seed, ties, k):
    scores, labels = scores_and_labels(seed, ties=ties)
    # Of equal scores scikit-learn takes the last class: so count classes backwards.
    expected = metrics.top_k_accuracy_score(
        3 - labels, scores[:, ::-1], k=k, labels=list(range(4))
    )
    assert calibration.top_k_accuracy(scores, labels, k=k) == pytest.approx(expected)


def test_top_1_is_the_accuracy_also_of_equal_scores():
    scores, labels = scores_and_labels(0, n=200, ties=True)
    expected = np.mean(scores.argmax(1) == labels)
    assert calibration.top_k_accuracy(scores, labels, k=1) == expected
    assert calibration.top_k_accuracy(scores, labels, k=4) == 1.0


@CASES
@given(seed=st.integers(0, 999), present=st.integers(1, 4))
def test_confusion_is_that_of_scikit_learn(seed, present):
    rng = np.random.default_rng(seed)
    decisions, labels = rng.integers(0, present, (2, 25)).astype(np.int32)
    expected = metrics.confusion_matrix(labels, decisions, labels=list(range(4)))
    found = calibration.confusion(decisions, labels, num_classes=4)
    np.testing.assert_array_equal(found, expected)


VALUES = st.lists(
    st.one_of(st.floats(-1, 1, width=32), st.sampled_from([0.0, 0.25, 0.5])),
    min_size=1,
    max_size=30,
).map(lambda values: np.array(values, np.float32))


@CASES
@given(positive=VALUES, negative=VALUES)
def test_the_auroc_is_that_of_scikit_learn_and_of_a_loop(positive, negative):
    found = calibration.auroc(positive, negative)
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    expected = metrics.roc_auc_score(labels, np.concatenate([positive, negative]))
    assert found == pytest.approx(expected, abs=1e-12)
    shares = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    assert found == pytest.approx(np.mean(shares), abs=1e-12)


def test_the_auroc_of_many_pairs_is_exact():
    values = np.arange(100_000.0)  # 10^10 pairs: more than int32 counts
    assert calibration.auroc(values, values) == 0.5
    assert calibration.auroc(values + 100_000, values) == 1.0
    assert calibration.auroc(values - 100_000, values) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration.histogram(np.array([0.5, np.nan])), "confidence=nan is o"),
        (lambda: calibration.histogram(np.array([1.5])), r"1.5 is outside \[0, 1\]"),
        (lambda: calibration.histogram(np.array([0.5]), bins=0), "bins=0 is not a who"),
        (
            lambda: calibration.auroc(np.array([0.5]), np.array([])),
            "1 positive and 0 negative values are no pairs",
        ),
        (
            lambda: calibration.auroc(np.array([0.5]), np.array([0.5, np.nan])),
            "an entry of negative=nan is outside",
        ),
        (
            lambda: calibration.top_k_accuracy(np.zeros((1, 2)), np.array([0]), k=0),
            "k=0 is not a whole number",
        ),
    ],
)
def test_values_out_of_range_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

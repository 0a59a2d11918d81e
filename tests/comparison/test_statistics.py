"""Paired differences against SciPy, against repeated examples, and in simulations."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from robustlabels.comparison import statistics
from robustlabels.comparison.statistics import (
    Sample,
    auroc,
    bootstrap,
    differences,
    expected_calibration_error,
    holm,
    mean,
)
from robustlabels.evaluation import calibration

CASES = settings(deadline=None, max_examples=60, derandomize=True)
# Some on the edges of 5 and of 20 bins, and many of them equal.
CONFIDENCES = st.one_of(
    st.floats(0, 1), st.sampled_from(np.linspace(0, 1, 21).tolist())
)
COUNTS = st.integers(0, 4)


def rows(*columns, **limits):
    """Lists of examples, of which at least one counts; the count comes first."""
    examples = st.lists(st.tuples(COUNTS, *columns), min_size=1, max_size=30)
    return examples.filter(lambda found: any(count for count, *_ in found)).map(
        lambda found: [np.array(column) for column in zip(*found, strict=True)]
    )


def rng(seed=0):
    return np.random.default_rng(seed)


def one_seed(values):
    return Sample([mean(values)], (len(values),))


def weighted(statistic, *counts):
    """Under counts, and beside them under other counts that must not matter."""
    counts = np.concatenate(counts)
    both = np.stack([counts, np.ones_like(counts)]).astype(np.float32)
    return statistic(both)[0]


def paired_normals(seed, n, difference):
    common, own, other = rng(seed).normal(size=(3, n))
    return common + own + difference, common + other


@CASES
@given(examples=rows(st.floats(-1e3, 1e3)))
def test_a_weighted_mean_is_that_of_repeated_examples(examples):
    counts, values = examples
    expected = np.mean(np.repeat(values, counts))
    assert weighted(mean(values), counts) == pytest.approx(expected, abs=1e-9)


@CASES
@given(
    examples=rows(CONFIDENCES, st.booleans()), bins=st.sampled_from([1, 2, 5, 15, 20])
)
def test_a_weighted_calibration_error_is_that_of_repeated_examples(examples, bins):
    counts, confidence, right = examples
    found = weighted(expected_calibration_error(confidence, right, bins=bins), counts)
    repeated = np.repeat(confidence, counts), np.repeat(right, counts)
    expected = calibration.expected_calibration_error(*repeated, bins=bins)
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_calibration_error_has_the_bins_of_evaluation():
    confidence, right = np.array([0.61, 0.69]), np.array([False, True])
    found = weighted(expected_calibration_error(confidence, right), [1, 1])
    expected = calibration.expected_calibration_error(confidence, right)
    assert found == pytest.approx(expected)


@CASES
@given(known=rows(CONFIDENCES), unknown=rows(CONFIDENCES))
def test_a_weighted_area_is_that_of_repeated_examples(known, unknown):
    found = weighted(auroc(known[1], unknown[1]), known[0], unknown[0])
    known, unknown = (np.repeat(values, counts) for counts, values in (known, unknown))
    labels = np.repeat([True, False], [len(known), len(unknown)])
    expected = roc_auc_score(labels, np.concatenate([known, unknown]))
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_interval_is_that_of_scipy():
    # A percentile at 2.5 % of R draws scatters by sqrt(0.025 * 0.975 / R) / phi(1.96),
    # 2.7 / sqrt(R) standard errors; the difference of two of them by sqrt(2) as much.
    own, base = paired_normals(0, n=80, difference=0.3)
    num_resamples = 20_000
    expected = scipy.stats.bootstrap(
        (own, base),
        lambda x, y, axis: np.mean(x, axis) - np.mean(y, axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=num_resamples,
        batch=1000,
        rng=rng(1),
    )
    samples = {"own": one_seed(own), "base": one_seed(base)}
    found = differences(samples, "base", rng=rng(2), num_resamples=num_resamples)["own"]
    error = np.std(own - base) / np.sqrt(len(own))
    scatter = 2.7 * np.sqrt(2) * error / np.sqrt(num_resamples)
    assert found.value == pytest.approx(np.mean(own - base), rel=1e-12)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=4 * scatter)
    assert found.high == pytest.approx(
        expected.confidence_interval.high, abs=4 * scatter
    )


def simulated(seed, num_seeds, n=60):
    """Pairs whose true difference is 0.3, with an effect of each seed if several."""
    own, base, effects = [], [], rng(seed + 10_000).normal(size=(2, num_seeds))
    common, *noise = rng(seed).normal(size=(1 + 2 * num_seeds, n))
    for i in range(num_seeds):
        effect = effects[:, i] * (num_seeds > 1)
        own.append(mean(common + noise[2 * i] + effect[0] + 0.3))
        base.append(mean(common + noise[2 * i + 1] + effect[1]))
    return {"own": Sample(own, (n,)), "base": Sample(base, (n,))}


@pytest.mark.parametrize("num_seeds", [1, 20])
def test_intervals_cover_the_truth_as_often_as_they_say(num_seeds):
    # Of 200 repetitions 0.95 ± 0.015; percentiles of 60 examples cover a little less.
    covered, covered_by_half = [], []
    for seed in range(200):
        samples = simulated(seed, num_seeds)
        found = differences(samples, "base", rng=rng(seed), num_resamples=300)["own"]
        middle, half = (found.low + found.high) / 2, (found.high - found.low) / 2
        covered.append(abs(0.3 - middle) <= half)
        covered_by_half.append(abs(0.3 - middle) <= half / 2)
    assert 0.89 <= np.mean(covered) <= 0.99
    assert np.mean(covered_by_half) < 0.8


def test_p_is_small_as_often_as_it_says_where_nothing_differs():
    p = []
    for seed in range(200):
        own, base = paired_normals(seed, n=60, difference=0.0)
        samples = {"own": one_seed(own), "base": one_seed(base)}
        found = differences(samples, "base", rng=rng(seed), num_resamples=300)
        p.append(found["own"].p)
    # Shares of 200 scatter by 0.015 and by 0.035.
    assert np.mean(np.array(p) <= 0.05) <= 0.11
    assert np.mean(np.array(p) <= 0.5) == pytest.approx(0.5, abs=0.12)


def test_what_is_reported_are_percentiles_and_shares_of_the_resamples():
    flags = rng().random((3, 30)) < [[0.5], [0.6], [0.9]]
    samples = dict(zip("abc", map(one_seed, flags), strict=True))
    found = differences(samples, "a", rng=rng(5), num_resamples=199)
    values = bootstrap(samples, rng=rng(5), num_resamples=199)
    assert list(found) == ["b", "c"]
    for name, (value, low, high, p) in found.items():
        d = np.round(30 * (values[name] - values["a"])) / 30
        assert value == pytest.approx(samples_mean(flags, name))
        assert (low, high) == pytest.approx(np.quantile(d, [0.025, 0.975]))
        rarer = min(sum(x <= 0 for x in d), sum(x >= 0 for x in d))
        assert p == min(1, 2 * (1 + rarer) / 200)


def samples_mean(flags, name):
    return flags["abc".index(name)].mean() - flags[0].mean()


def test_nothing_differs_from_itself():
    values = rng().normal(size=(3, 40))
    sample = Sample([mean(v) for v in values], (40,))
    # The same seeds in another order: their sums differ by rounding.
    again = Sample([mean(v) for v in values[::-1]], (40,))
    samples = {"base": sample, "same": sample, "again": again}
    found = differences(samples, "base", rng=rng(), num_resamples=100)
    assert found["same"] == (0.0, 0.0, 0.0, 1.0)
    assert found["again"].value == 0.0


def test_what_always_differs_has_the_smallest_p():
    samples = {"ones": one_seed(np.ones(5)), "zeros": one_seed(np.zeros(5))}
    found = differences(samples, "zeros", rng=rng(), num_resamples=99)
    assert found["ones"] == (1.0, 1.0, 1.0, 0.02)


class Recorder:
    """A statistic that keeps the weights it is given."""

    def __init__(self):
        self.weights = []

    def __call__(self, weights):
        self.weights.append(weights)
        return weights[:, 0].astype(np.float64)


def test_every_stratum_is_resampled_for_itself_and_alike_for_all():
    recorders = [Recorder() for _ in range(4)]
    samples = {"a": Sample(recorders[:2], (5, 3)), "b": Sample(recorders[2:], (5, 3))}
    bootstrap(samples, rng=rng(), num_resamples=2000)
    first, *others = [np.concatenate(recorder.weights) for recorder in recorders]
    for other in others:
        np.testing.assert_array_equal(first, other)
    assert first.dtype == np.float32
    assert set(first[:, :5].sum(axis=1)) == {5}
    assert set(first[:, 5:].sum(axis=1)) == {3}
    # A count is binomial; its mean of 2000 scatters by less than 0.0225.
    np.testing.assert_allclose(first.mean(axis=0), 1, atol=0.1)
    np.testing.assert_allclose(first.var(axis=0), 5 * [0.8] + 3 * [2 / 3], atol=0.15)
    correlation = np.corrcoef(first[:, 0], first[:, 5])[0, 1]
    assert abs(correlation) < 0.1


@pytest.mark.parametrize("entries", [1, 64, 1000])
def test_it_does_not_matter_how_many_resamples_are_held(entries, monkeypatch):
    draws = rng().random((4, 30))
    samples = {
        "flags": Sample([mean(draws[i] < 0.5) for i in range(3)], (20, 10)),
        "areas": Sample([auroc(d[:20], d[20:]) for d in draws[:3]], (20, 10)),
    }
    expected = bootstrap(samples, rng=rng(3), num_resamples=50)
    monkeypatch.setattr(statistics, "_ENTRIES", entries)
    found = bootstrap(samples, rng=rng(3), num_resamples=50)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12)


def test_the_generator_goes_on():
    samples, generator = {"a": one_seed(rng().normal(size=20))}, rng(1)
    first = bootstrap(samples, rng=generator, num_resamples=10)["a"]
    second = bootstrap(samples, rng=generator, num_resamples=10)["a"]
    again = bootstrap(samples, rng=rng(1), num_resamples=10)["a"]
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == second)


def interval_of(shifts, flags, base):
    """With seeds that are the same but for shifts."""
    samples = {
        "own": Sample([mean(flags + shift) for shift in shifts], (len(flags),)),
        "base": Sample([mean(base)] * len(shifts), (len(base),)),
    }
    return differences(samples, "base", rng=rng(), num_resamples=4000)["own"]


def test_seeds_widen_the_interval_only_where_they_differ():
    own, base = paired_normals(0, n=100, difference=0.2)
    one = interval_of([0.0], own, base)
    equal = interval_of([0.0] * 4, own, base)
    apart = interval_of([-0.5, -0.2, 0.2, 0.5], own, base)
    error = np.std(own - base) / 10
    # Two percentiles of 4000 draws; see above.
    scatter = 2.7 * np.sqrt(2) * error / np.sqrt(4000)
    assert equal.value == pytest.approx(one.value)
    assert equal.low == pytest.approx(one.low, abs=4 * scatter)
    assert equal.high == pytest.approx(one.high, abs=4 * scatter)
    between = np.std([-0.5, -0.2, 0.2, 0.5]) / 2
    wider = np.hypot(error, between) / error
    assert wider > 1.5
    assert (apart.high - apart.low) / (one.high - one.low) == pytest.approx(
        wider, rel=0.1
    )


def test_holm_by_hand():
    # 4 * 0.01, 3 * 0.02, 2 * 0.03 and 0.04, none below the one before it.
    found = holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.02})
    assert list(found) == ["a", "b", "c", "d"]
    assert found == pytest.approx({"a": 0.06, "b": 0.04, "c": 0.06, "d": 0.06})
    assert holm({}) == {}
    assert holm({("glvq", 3): 0.7, ("glvq", 4): 0.6}) == {
        ("glvq", 3): 1.0,
        ("glvq", 4): 1.0,
    }


@CASES
@given(p=st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.3, 1.0]), max_size=8))
def test_holm_rejects_as_the_steps_of_its_author(p):
    adjusted = holm(dict(enumerate(p)))
    for alpha in (0.005, 0.03, 0.05, 0.5):
        rejected, left = set(), list(range(len(p)))
        while left and min(p[i] for i in left) * len(left) <= alpha:
            smallest = min(left, key=lambda i: p[i])
            left.remove(smallest)
            rejected.add(smallest)
        assert rejected == {i for i, value in adjusted.items() if value <= alpha}


FLAGS = np.array([True, False, True])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean(np.array([0.0, np.nan])), "an entry of values=nan is outside"),
        (lambda: auroc(np.array([np.inf]), np.ones(1)), "an entry of known=inf is out"),
        (lambda: auroc(np.ones(1), np.array([np.nan])), "an entry of unknown=nan is"),
        (
            lambda: expected_calibration_error(np.array([1.5, 0, 0]), FLAGS),
            r"an entry of confidence=1.5 is outside \[0, 1\]",
        ),
        (
            lambda: expected_calibration_error(np.ones(3), FLAGS, bins=0),
            "bins=0 is not a whole number",
        ),
        (lambda: holm({"a": 1.5}), r"an entry of p=1.5 is outside \[0, 1\]"),
        (
            lambda: bootstrap({"a": one_seed(FLAGS)}, rng=rng(), num_resamples=0),
            "num_resamples=0 is not a whole number",
        ),
        (lambda: bootstrap({}, rng=rng()), "samples=0 is not a whole number"),
        (
            lambda: bootstrap({"a": Sample([], (3,))}, rng=rng()),
            "seeds=0 is not a whole number",
        ),
        (
            lambda: bootstrap({"a": one_seed(FLAGS[:0])}, rng=rng()),
            "size=0 is not a whole number",
        ),
        (
            lambda: bootstrap({"a": Sample([mean(FLAGS)], (2, 2))}, rng=rng()),
            "weights of 4 examples for a statistic of 3. The sizes",
        ),
        (
            lambda: bootstrap(
                {"a": one_seed(FLAGS), "b": one_seed(FLAGS[:2])}, rng=rng()
            ),
            r"'a' has sizes=\(3,\) and seeds=1; 'b' has sizes=\(2,\) and seeds=1. Give",
        ),
        (
            lambda: bootstrap(
                {"a": one_seed(FLAGS), "b": Sample([mean(FLAGS)] * 2, (3,))}, rng=rng()
            ),
            r"'a' has sizes=\(3,\) and seeds=1; 'b' has sizes=\(3,\) and seeds=2. Give",
        ),
        (
            lambda: differences({"a": one_seed(FLAGS)}, "b", rng=rng()),
            "reference='b' is unknown; choose one of 'a'.",
        ),
    ],
)
def test_errors_name_the_value_and_the_fix(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Whether one objective differs from another: paired differences with intervals.

A question is asked of several objectives on the same test examples, and of each with
the same number of seeds. Its answer for one seed is a statistic: a function of weights
[resamples, n] that returns [resamples], the answer when example i counts weights[b, i]
times. Weights of one are the examples as they are.

The bootstrap draws both examples and seeds. Of one seed it knows nothing of seeds; of
k it understates the variance between them by 1/k of it.
"""

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Num

from robustlabels import _validate
from robustlabels.evaluation import calibration

__all__ = [
    "Difference",
    "Sample",
    "auroc",
    "bootstrap",
    "differences",
    "expected_calibration_error",
    "holm",
    "mean",
]

Statistic = Callable[
    [Float[np.ndarray, "resamples n"]], Float64[np.ndarray, " resamples"]
]
_Name = TypeVar("_Name", bound=Hashable)

_FINITE = "NaN is what a training that diverged leaves behind."
_ENTRIES = 2**18  # counts held at a time: the cache holds them too
_ROUNDING = 1e-12  # sums of the same numbers in another order differ by less


class Sample(NamedTuple):
    """What is known of one objective.

    Attributes:
      statistics: one a seed.
      sizes: how many examples each stratum has, in the order of the weights; every
        stratum is resampled for itself. They add up to n.
    """

    statistics: Sequence[Statistic]
    sizes: tuple[int, ...]


class Difference(NamedTuple):
    """An objective less the reference.

    Attributes:
      value: on the examples and seeds as they are.
      low: 2.5 % of the resampled differences are below it.
      high: 2.5 % of them are above it.
      p: two-sided, of no difference; at least 2 / (1 + resamples).
    """

    value: float
    low: float
    high: float
    p: float


def mean(values: Num[np.ndarray, " n"] | Bool[np.ndarray, " n"]) -> Statistic:
    """The mean of values, such as whether an example is decided correctly.

    Args:
      values: finite, one an example.

    Raises:
      ValueError: for NaN and infinity.

    >>> weights = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]])
    >>> print(mean(np.array([3.0, 6.0, 9.0]))(weights))
    [6. 8.]
    """
    values = values.astype(np.float64)
    _validate.in_range(-np.inf, np.inf, values=values, fix=_FINITE)
    return functools.partial(_mean, values=values)


def expected_calibration_error(
    confidence: Float[np.ndarray, " n"],
    right: Bool[np.ndarray, " n"],
    *,
    bins: int = 15,
) -> Statistic:
    """`evaluation.calibration.expected_calibration_error` of weighted examples.

    Args:
      confidence: in [0, 1].
      right: which examples are decided correctly.
      bins: how many bins share [0, 1].

    Raises:
      ValueError: for a confidence outside of [0, 1].

    >>> confidence, right = np.array([0.7, 0.7]), np.array([True, False])
    >>> error = expected_calibration_error(confidence, right)
    >>> print(error(np.array([[1.0, 1.0], [2.0, 0.0]])))
    [0.2 0.3]
    """
    _, index = calibration.binned(confidence, bins)
    order = np.argsort(index)
    return functools.partial(
        _expected_calibration_error,
        order=order,
        starts=np.flatnonzero(np.diff(index[order], prepend=-1)),
        gaps=(right - confidence.astype(np.float64))[order],
    )


def auroc(
    known: Float[np.ndarray, " known"], unknown: Float[np.ndarray, " unknown"]
) -> Statistic:
    """The share of pairs whose known example has more confidence; of ties, half.

    Weights are those of the known examples, then those of the unknown ones: the sizes
    of its `Sample` are two.

    Args:
      known: confidence in examples of the classes that are learned.
      unknown: confidence in others.

    Raises:
      ValueError: for NaN and infinity.

    >>> area = auroc(np.array([0.5, 0.9]), np.array([0.5, 0.1]))
    >>> print(area(np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 2.0, 0.0]])))
    [0.875 0.5  ]
    """
    _validate.in_range(-np.inf, np.inf, known=known, unknown=unknown, fix=_FINITE)
    order = np.argsort(unknown)
    return functools.partial(
        _auroc,
        order=order,
        below=np.searchsorted(unknown[order], known, side="left"),
        up_to=np.searchsorted(unknown[order], known, side="right"),
    )


def bootstrap(
    samples: Mapping[str, Sample],
    *,
    rng: np.random.Generator,
    num_resamples: int = 10_000,
) -> dict[str, Float64[np.ndarray, " {num_resamples}"]]:
    """Means over seeds of a statistic, for resamples of examples and of seeds.

    Examples of each stratum, and seeds, are drawn with replacement, as many as there
    are; Efron and Tibshirani (1993), chapter 6.

    Args:
      samples: of one question, by the names of the objectives.
      rng: all is drawn from it.
      num_resamples: how often.

    Raises:
      ValueError: for samples of other sizes or of another number of seeds than the
        rest, and for statistics of another number of examples.

    Guarantees: resample b is of the same examples and seeds for all objectives; memory
    grows neither with their number nor, beyond the result, with that of resamples.

    >>> right = np.array([True, False, True, True])
    >>> samples = {
    ...     "softmax": Sample([mean(right)], (4,)),
    ...     "glvq": Sample([mean(~right)], (4,)),
    ... }
    >>> values = bootstrap(samples, rng=np.random.default_rng(0), num_resamples=3)
    >>> print(values["softmax"] + values["glvq"])
    [1. 1. 1.]
    """
    _validate.count(num_resamples=num_resamples)
    sizes, num_seeds = _common(samples)
    values = {name: np.empty(num_resamples) for name in samples}
    step = max(1, _ENTRIES // (sum(sizes) + num_seeds))
    for start in range(0, num_resamples, step):
        stop = min(start + step, num_resamples)
        counts = _counts(rng, stop - start, (*sizes, num_seeds))
        examples, seeds = np.split(counts, [sum(sizes)], axis=1)
        for name, sample in samples.items():
            values[name][start:stop] = _over_seeds(sample, examples, seeds)
    return values


def differences(
    samples: Mapping[str, Sample],
    reference: str,
    *,
    rng: np.random.Generator,
    num_resamples: int = 10_000,
) -> dict[str, Difference]:
    """What each objective has more than the reference, with 95 % intervals.

    Percentiles of the differences of `bootstrap`, Efron and Tibshirani (1993), chapter
    13; p is twice the smaller share of differences that are not above, or not below,
    zero, counting the data themselves as one more.

    Args:
      samples: of one question, by the names of the objectives.
      reference: the name of the one that is subtracted.
      rng: all is drawn from it.
      num_resamples: how often examples and seeds are drawn.

    Raises:
      ValueError: as `bootstrap`, and for a reference that is not among the samples.

    >>> example = np.arange(100)
    >>> samples = {
    ...     "softmax": Sample([mean(example < 90)], (100,)),
    ...     "glvq": Sample([mean(example < 70)], (100,)),
    ... }
    >>> found = differences(samples, "softmax", rng=np.random.default_rng(0))
    >>> value, low, high, p = found["glvq"]
    >>> print(round(value, 1), round(low, 1), round(high, 1), round(p, 4))
    -0.2 -0.3 -0.1 0.0002
    """
    _validate.one_of(samples, reference=reference)
    resampled = bootstrap(samples, rng=rng, num_resamples=num_resamples)
    sizes, num_seeds = _common(samples)
    once = np.ones((1, sum(sizes))), np.ones((1, num_seeds))
    values = {name: _over_seeds(sample, *once) for name, sample in samples.items()}
    return {
        name: _difference(
            _less(values[name], values[reference])[0],
            _less(resampled[name], resampled[reference]),
        )
        for name in samples
        if name != reference
    }


def holm(p: Mapping[_Name, float]) -> dict[_Name, float]:
    """Adjusts the p-values of several hypotheses, Holm (1979).

    Args:
      p: in [0, 1], one a hypothesis.

    Raises:
      ValueError: for a p-value outside of [0, 1].

    Guarantees: to reject where the result is at most alpha rejects any true hypothesis
    with a probability of at most alpha. Nothing shrinks or changes its order.

    >>> holm({"a": 0.5, "b": 0.125, "c": 0.375})
    {'a': 0.75, 'b': 0.375, 'c': 0.75}
    """
    values = np.array(list(p.values()), np.float64)
    _validate.in_range(0.0, 1.0, p=values, fix="It is a probability.")
    order = np.argsort(values)
    scaled = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return dict(zip(p, adjusted.tolist(), strict=True))


def _mean(
    weights: Float[np.ndarray, "resamples n"], values: Float64[np.ndarray, " _"]
) -> Float64[np.ndarray, " resamples"]:
    _check_examples(weights, len(values))
    return weights @ values / _total(weights)


def _expected_calibration_error(
    weights: Float[np.ndarray, "resamples n"],
    order: Int[np.ndarray, " examples"],
    starts: Int[np.ndarray, " bins"],
    gaps: Float64[np.ndarray, " examples"],
) -> Float64[np.ndarray, " resamples"]:
    """Sums over the bins that are not empty; examples are in their order."""
    _check_examples(weights, len(order))
    weighted = np.take(weights, order, axis=1) * gaps
    sums = np.add.reduceat(weighted, starts, axis=1)
    return np.abs(sums).sum(axis=1) / _total(weights)


def _auroc(
    weights: Float[np.ndarray, "resamples n"],
    order: Int[np.ndarray, " unknown"],
    below: Int[np.ndarray, " known"],
    up_to: Int[np.ndarray, " known"],
) -> Float64[np.ndarray, " resamples"]:
    """The ranks of known examples among unknown ones, and their weights."""
    _check_examples(weights, len(below) + len(order))
    known, unknown = np.split(weights, [len(below)], axis=1)
    passed = np.zeros((len(weights), len(order) + 1))
    np.cumsum(np.take(unknown, order, axis=1), axis=1, out=passed[:, 1:])
    twice = np.take(passed, below, axis=1) + np.take(passed, up_to, axis=1)
    pairs = _total(known) * _total(unknown)
    return np.einsum("bn,bn->b", known, twice) / (2 * pairs)


def _total(
    weights: Float[np.ndarray, "resamples n"],
) -> Float64[np.ndarray, " resamples"]:
    return weights.sum(axis=1, dtype=np.float64)


def _check_examples(weights: Float[np.ndarray, "resamples n"], n: int) -> None:
    if weights.shape[1] != n:
        raise ValueError(
            f"weights of {weights.shape[1]} examples for a statistic of {n}. The sizes "
            "of a sample add up to the examples of its statistics."
        )


def _common(samples: Mapping[str, Sample]) -> tuple[tuple[int, ...], int]:
    """The sizes and the number of seeds that all samples share."""
    _validate.count(samples=len(samples))
    shapes = {name: (s.sizes, len(s.statistics)) for name, s in samples.items()}
    if len(set(shapes.values())) > 1:
        listed = "; ".join(
            f"{name!r} has sizes={sizes} and seeds={num_seeds}"
            for name, (sizes, num_seeds) in shapes.items()
        )
        raise ValueError(
            f"samples differ: {listed}. Give all of them the same examples, and as "
            "many seeds."
        )
    sizes, num_seeds = next(iter(shapes.values()))
    _validate.count(seeds=num_seeds)
    for size in sizes:
        _validate.count(size=size)
    return sizes, num_seeds


def _counts(
    rng: np.random.Generator, rows: int, sizes: tuple[int, ...]
) -> Float32[np.ndarray, "{rows} {sum(sizes)}"]:
    """How often each is drawn, a resample at a time: any rows are of the same draws."""
    width, ends = sum(sizes), np.cumsum(sizes, dtype=np.int64)
    low, high = np.repeat(ends - sizes, sizes), np.repeat(ends, sizes)
    drawn = rng.integers(low, high, (rows, width))
    drawn += width * np.arange(rows)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=rows * width)
    return counts.reshape(rows, width).astype(np.float32)


def _over_seeds(
    sample: Sample,
    examples: Float[np.ndarray, "resamples n"],
    seeds: Float[np.ndarray, "resamples seeds"],
) -> Float64[np.ndarray, " resamples"]:
    """The mean of the statistics, each as often as its seed is drawn."""
    values = np.stack([of(examples) for of in sample.statistics], axis=1)
    return np.sum(values * seeds, axis=1) / len(sample.statistics)


def _less(
    values: Float64[np.ndarray, " resamples"],
    reference: Float64[np.ndarray, " resamples"],
) -> Float64[np.ndarray, " resamples"]:
    """The difference; what differs by rounding alone is equal."""
    equal = np.isclose(values, reference, rtol=_ROUNDING, atol=0.0)
    return np.where(equal, 0.0, values - reference)


def _difference(
    value: float, resampled: Float64[np.ndarray, " resamples"]
) -> Difference:
    low, high = np.percentile(resampled, [2.5, 97.5]).tolist()
    rarer = min(np.sum(resampled <= 0), np.sum(resampled >= 0))
    p = 2 * (1 + rarer) / (1 + len(resampled))
    return Difference(float(value), low, high, min(1.0, float(p)))

"""Statistics of labels, as published arrays have them."""

import itertools

import numpy as np
import pytest

from robustlabels import labels
from robustlabels.labels import measures

# Exact and binned entropy, l1, l2, spectral norm and column sum with their deviations,
# smallest and mean Huber loss: what is known of the published arrays.
TABLE = {
    "category 10": (0.469, None, 0.2, 1.414, (1.414, 0), (2.0, 0), None, None),
    "category 100": (0.081, None, 0.02, 1.414, (1.414, 0), (2.0, 0), None, None),
    "constant 10": (0, 0, 0.4074, 26.07, (26.07, 15.72), (26.07, 15.72), 8.39, 32.1),
    "constant 100": (0, 0, 0.3401, 21.76, (21.76, 15.16), (21.76, 15.16), 0.327, 26.7),
    "composite 10": (12, 7.65, 0.2439, 19.36, (14.12, 1.72), (24.06, 3.36), 15.8, 19.0),
    "composite 100": (
        12,
        7.49,
        0.2562,
        20.57,
        (15.82, 2.93),
        (25.71, 4.71),
        None,
        None,
    ),
    "random 10": (12, 7.95, 0.3338, 26.14, (6.35, 0.16), (25.82, 0.94), 25.4, 26.2),
    "random 100": (12, 7.95, 0.3336, 26.15, (6.34, 0.15), (25.86, 0.9), None, None),
    "lowdim 10": (3.32, 3.30, 0.3414, 1.30, (1.30, None), (3.41, None), None, None),
    "speech 10": (
        11.35,
        7.44,
        0.1533,
        12.94,
        (9.76, 2.385),
        (23.79, 5.15),
        6.04,
        11.79,
    ),
    "speech 100": (
        11.37,
        7.42,
        0.1569,
        13.15,
        (9.77, 2.08),
        (21.44, 5.52),
        3.34,
        12.08,
    ),
    "shuffle 10": (
        11.35,
        7.44,
        0.2315,
        18.86,
        (15.61, 1.44),
        (35.26, 2.16),
        14.6,
        18.0,
    ),
    "shuffle 100": (
        11.37,
        7.42,
        0.2185,
        17.80,
        (14.10, 1.56),
        (34.39, 2.59),
        None,
        None,
    ),
    "bert 10": (11.05, 7.39, 0.089, 6.10, (2.06, None), (5.72, None), None, None),
    "bert 100": (11.02, 7.42, 0.1268, 8.26, (2.63, None), (7.89, None), None, None),
    "glove 10": (5.64, 5.39, 0.1471, 1.30, (1.30, None), (7.35, None), None, None),
    "glove 100": (5.64, 5.21, 0.1125, 1.00, (1.00, None), (5.63, None), None, None),
}
SLOW = [
    "constant 100",
    "composite 100",
    "random 100",
    "shuffle 100",
    "bert 100",
]  # norms, that is
GENERATED = {
    "category": np.eye,
    "constant": labels.constant,
    "composite": labels.gaussian_composition,
    "random": labels.uniform,
    "lowdim": lambda k: labels.uniform(k, shape=(k,)),
}


def made(name, request):
    kind, k = name.split()
    if kind in GENERATED:
        return GENERATED[kind](int(k))
    released = request.getfixturevalue("released")
    if kind in ("bert", "glove"):
        return np.load(released / f"cifar{k}_{kind}.npy")
    names = request.getfixturevalue("cifar_10") if k == "10" else [""] * 100
    codebook = labels.speech(
        [name or f"class {i}" for i, name in enumerate(names)],
        wav_dir=released / f"cifar{k}_wav",
    )
    return labels.shuffled(codebook) if kind == "shuffle" else codebook


def decimals(number):
    return len(str(float(number)).partition(".")[2])


@pytest.mark.parametrize("name", TABLE)
def test_published_labels_have_these(name, request):
    entropy, binned, l1, l2, spectral, column, smallest, mean = TABLE[name]
    found = labels.statistics(made(name, request), matrix_norms=name not in SLOW)
    pairs = [
        (found.entropy.mean, entropy),
        (found.binned_entropy.mean, binned),
        (found.l1.mean, l1),
        (found.l2.mean, l2),
        *zip(found.spectral_norm or (), spectral, strict=False),
        *zip(found.column_sum or (), column, strict=False),
        (found.smallest_huber, smallest),
        (found.mean_huber, mean),
    ]
    for value, printed in pairs:
        if printed is not None:
            half = 0.5 * 10.0 ** -decimals(printed)
            assert value == pytest.approx(printed, abs=1.02 * half)


def by_hand(codebook):
    """Every measure of pairs, a pair at a time."""
    unit = (codebook - codebook.min()) / (codebook.max() - codebook.min())
    rows = []
    for i, j in itertools.combinations(range(len(codebook)), 2):
        d, raw = unit[i] - unit[j], codebook[i] - codebook[j]
        huber = np.where(abs(raw) < 1, raw**2 / 2, abs(raw) - 0.5).mean()
        singular = np.linalg.svd(d, compute_uv=False)[0]
        column = abs(d).sum(axis=0).max()
        rows.append([abs(d).mean(), np.sqrt((d**2).sum()), singular, column, huber])
    return np.array(rows)


@pytest.mark.parametrize("block", [1, 40, 2**22])
def test_pairs_one_at_a_time_in_blocks_of_any_size(block, monkeypatch):
    monkeypatch.setattr(measures, "_BLOCK", block)
    codebook = np.random.default_rng(0).normal(size=(6, 4, 5)).astype(np.float32)
    expected = by_hand(codebook.astype(np.float64))
    found = labels.statistics(codebook, matrix_norms=True)
    spreads = [found.l1, found.l2, found.spectral_norm, found.column_sum]
    np.testing.assert_allclose(
        spreads, np.array([expected.mean(0), expected.std(0)]).T[:4], rtol=1e-6
    )
    huber = expected[:, 4]
    np.testing.assert_allclose(found.smallest_huber, huber.min(), rtol=1e-6)
    np.testing.assert_allclose(found.mean_huber, huber.mean(), rtol=1e-6)


def test_bins_span_the_whole_codebook():
    found = labels.statistics(np.array([[0.0, 256.0, 0.2, 0.9], [1.5, 2.5, 3.5, 4.5]]))
    shares = np.array([0.75, 0.25])
    one = -(shares * np.log2(shares)).sum()
    assert found.binned_entropy.mean == pytest.approx((one + 2) / 2)
    assert found.entropy == (2.0, 0.0)


def test_what_is_not_measured():
    with pytest.raises(ValueError, match="classes 0 and 1 are equal"):
        labels.statistics(np.ones((2, 3)))
    codebook = np.arange(24.0).reshape(3, 2, 2, 2)
    assert labels.statistics(codebook).spectral_norm is None
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\) have no matrix norms"):
        labels.statistics(codebook, matrix_norms=True)

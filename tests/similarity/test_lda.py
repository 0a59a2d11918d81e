"""Similarity by discriminants against scikit-learn, eigenvectors and closed forms."""

import io
import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.covariance import empirical_covariance
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from robustlabels.similarity import asymmetry, lda_similarity

CASES = settings(deadline=None, max_examples=25, derandomize=True)
SETS = {
    "iris": datasets.load_iris(return_X_y=True),
    "wine": datasets.load_wine(return_X_y=True),
    "digits": datasets.load_digits(return_X_y=True),
}
# Pixels that are zero in all images make the scatter singular.
SETS["digits"] = (
    SETS["digits"][0][:, SETS["digits"][0].any(axis=0)],
    SETS["digits"][1],
)
over_sets = pytest.mark.parametrize("name", SETS)


def by_hand(vectors):
    """Eq. 12, a pair of classes at a time."""
    k = len(vectors)
    similarity = np.zeros((k, k))
    for i in range(k):
        for j in range(k):
            if i != j:
                lengths = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
                distance = 1 - vectors[i] @ vectors[j] / lengths
                similarity[i, j] = 1 / (1 + np.exp(distance))
        similarity[i] /= sum(similarity[i])
    return similarity


def scatters(x, y):
    """Scatters within and between classes; class means, and that of all examples."""
    d, classes, overall = x.shape[1], range(y.max() + 1), x.mean(axis=0)
    within, between = np.zeros((2, d, d))
    means = np.array([x[y == c].mean(axis=0) for c in classes])
    for example, label in zip(x, y, strict=True):
        within += np.outer(example - means[label], example - means[label])
        between += np.outer(means[label] - overall, means[label] - overall)
    return within / len(x), between / len(x), means, overall


def by_eigenvectors(x, y, *, shrinkage, directions, centered):
    """Eq. 12 by the generalised eigenproblem of the scatters."""
    within, between, means, overall = scatters(x, y)
    d = len(within)
    within += shrinkage * np.trace(within) / d * np.eye(d)
    _, vectors = scipy.linalg.eigh(between, within)
    first = vectors[:, ::-1][:, :directions]
    return by_hand((means - overall * centered) @ first)


class Ridge:
    """Adds the same to the diagonal of each covariance that scikit-learn estimates.

    Its own `shrinkage` would shrink the scatter between classes too.
    """

    def __init__(self, amount):
        self.amount = amount

    def fit(self, x):
        self.covariance_ = empirical_covariance(x) + self.amount * np.eye(x.shape[1])


def blobs(seed, *, classes=4, d=6, n=60):
    """Examples around random means, each class at least twice."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.resize(np.arange(classes), n))
    means = rng.normal(size=(classes, d))
    x = means[labels] + rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / 2
    return x, labels


def byte_blobs(seed):
    x, labels = blobs(seed)
    return np.clip(100 + 30 * x, 0, 255).astype(np.uint8), labels


# Against others.


def test_the_worked_example():
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    around = np.sqrt(2) * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
    x = (vectors[:, None] + around).reshape(12, 2)  # scatter within is the identity
    found = lda_similarity(
        x, np.repeat([0, 1, 2], 4), num_classes=3, shrinkage=0.0, centered=False
    )
    near, far = 0.69289022, 0.30710978
    expected = [[0, near, far], [0.5, 0, 0.5], [far, near, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize(
    ("centered", "expected"),
    [
        (True, [0.5118939405, 0.4881060595, 0.2099859666, 0.7900140334]),
        (False, [0.5419649, 0.4580351, 0.4035512, 0.5964488]),
    ],
)
def test_iris_as_it_was_found_before(centered, expected):
    x, y = SETS["iris"]
    found = lda_similarity(x, y, num_classes=3, shrinkage=0.0, centered=centered)
    first = [found[0, 1], found[0, 2], found[1, 0], found[1, 2]]
    np.testing.assert_allclose(first, expected, atol=1e-7)


def test_digits_as_they_were_found_before():
    x, y = SETS["digits"]
    found = lda_similarity(x, y, num_classes=10, shrinkage=0.0)
    expected = [0, 0.085609, 0.104536, 0.102232, 0.127503, 0.115679]
    expected += [0.131452, 0.09788, 0.101297, 0.133811]
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    assert asymmetry(found) == pytest.approx(0.00855, abs=1e-5)


@over_sets
def test_scikit_learn_by_svd_is_centered(name):
    x, y = SETS[name]
    peer = LinearDiscriminantAnalysis(solver="svd").fit(x, y)
    k = len(peer.classes_)
    for directions in {1, k // 2, k - 1}:
        vectors = (peer.means_ - peer.xbar_) @ peer.scalings_[:, :directions]
        found = lda_similarity(
            x, y, num_classes=k, num_directions=directions, shrinkage=0.0
        )
        np.testing.assert_allclose(found, by_hand(vectors), atol=1e-9)


@over_sets
@pytest.mark.parametrize("shrinkage", [0.0, 1e-3, 0.5])
def test_scikit_learn_by_eigenvectors_is_not_centered(name, shrinkage):
    x, y = SETS[name]
    within, *_ = scatters(x, y)
    ridge = Ridge(shrinkage * np.trace(within) / len(within))
    peer = LinearDiscriminantAnalysis(solver="eigen", covariance_estimator=ridge)
    peer.fit(x, y)
    k = len(peer.classes_)
    vectors = peer.means_ @ peer.scalings_[:, : k - 1]
    found = lda_similarity(x, y, num_classes=k, shrinkage=shrinkage, centered=False)
    np.testing.assert_allclose(found, by_hand(vectors), atol=1e-9)


@over_sets
@pytest.mark.parametrize("shrinkage", [1e-3, 0.2])
def test_all_directions_give_the_cosine_of_mahalanobis(name, shrinkage):
    x, y = SETS[name]
    peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, y)
    away = peer.means_ - peer.priors_ @ peer.means_
    products = away @ np.linalg.solve(peer.covariance_, away.T)
    roots = scipy.linalg.cholesky(products + 1e-9 * np.eye(len(products)), lower=True)
    # It shrinks (1 - s) S + s trace / d, which is S + s / (1 - s) trace / d but longer.
    found = lda_similarity(
        x, y, num_classes=len(away), shrinkage=shrinkage / (1 - shrinkage)
    )
    np.testing.assert_allclose(found, by_hand(roots), atol=1e-7)


@CASES
@given(
    seed=st.integers(0, 99),
    directions=st.integers(1, 3),
    shrinkage=st.sampled_from([0.0, 1e-3, 0.3, 10.0]),
    centered=st.booleans(),
)
def test_the_generalised_eigenproblem(seed, directions, shrinkage, centered):
    x, y = blobs(seed)
    found = lda_similarity(
        x,
        y,
        num_classes=4,
        num_directions=directions,
        shrinkage=shrinkage,
        centered=centered,
    )
    arguments = {"shrinkage": shrinkage, "centered": centered}
    expected = by_eigenvectors(x, y, directions=directions, **arguments)
    np.testing.assert_allclose(found, expected, atol=1e-8)


# What it holds to.


@CASES
@given(
    seed=st.integers(0, 99),
    directions=st.integers(1, 3),
    centered=st.booleans(),
    symmetric=st.booleans(),
)
def test_it_is_a_similarity_that_goes_along_with_its_classes(
    seed, directions, centered, symmetric
):
    x, y = blobs(seed)
    how = {"num_classes": 4, "num_directions": directions, "centered": centered}
    found = lda_similarity(x, y, symmetric=symmetric, **how)
    assert found.dtype == np.float64
    assert (found >= 0).all()
    assert not found.diagonal().any()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    # Two of the four are compared with a third: s lies in [1 / (1 + e²), 1 / 2].
    off = found[~np.eye(4, dtype=bool)].reshape(4, 3)
    if symmetric:
        assert asymmetry(found) == 0.0
    else:
        assert (off.max(axis=1) <= 4.2 * off.min(axis=1)).all()
    renamed = np.random.default_rng(seed).permutation(4)
    other = lda_similarity(x, renamed[y], symmetric=symmetric, **how)
    np.testing.assert_allclose(other[np.ix_(renamed, renamed)], found, atol=1e-9)


@CASES
@given(seed=st.integers(0, 99), symmetric=st.booleans(), centered=st.booleans())
def test_two_classes_are_each_others(seed, symmetric, centered):
    x, y = blobs(seed, classes=2)
    found = lda_similarity(x, y, num_classes=2, symmetric=symmetric, centered=centered)
    np.testing.assert_allclose(found, [[0, 1], [1, 0]], atol=1e-12)


def test_nothing_is_left_of_three_classes_that_are_symmetric():
    x, y = SETS["iris"]
    found = lda_similarity(x, y, num_classes=3, symmetric=True)
    np.testing.assert_allclose(found, (1 - np.eye(3)) / 2, atol=1e-12)


@CASES
@given(seed=st.integers(0, 99), factor=st.sampled_from([1e-6, 0.3, 255.0]))
def test_a_common_factor_and_a_shift_change_nothing(seed, factor):
    x, y = blobs(seed)
    found = lda_similarity(x, y, num_classes=4)
    moved = factor * x + factor * np.arange(6)
    np.testing.assert_allclose(
        lda_similarity(moved, y, num_classes=4), found, atol=1e-10
    )


@CASES
@given(seed=st.integers(0, 99))
def test_without_shrinkage_no_affine_map_changes_anything(seed):
    x, y = blobs(seed)
    mixed = x @ np.random.default_rng(seed + 1).normal(size=(6, 6)) + np.arange(6)
    how = {"num_classes": 4, "shrinkage": 0.0}
    np.testing.assert_allclose(
        lda_similarity(mixed, y, **how), lda_similarity(x, y, **how), atol=1e-8
    )


@pytest.mark.parametrize("make", [blobs, byte_blobs], ids=["floats", "bytes"])
@pytest.mark.parametrize("shrinkage", [1e-3, 0.5])
@pytest.mark.parametrize("centered", [True, False])
def test_a_scale_is_that_of_divided_features(make, shrinkage, centered):
    x, y = make(0)
    images, std = x.reshape(-1, 2, 1, 3), np.array([0.5, 2.0, 7.0], np.float32)
    how = {"num_classes": 4, "shrinkage": shrinkage, "centered": centered}
    found = lda_similarity(images, y, scale=std, **how)
    divided = lda_similarity(images / np.float64(std), y, **how)
    np.testing.assert_allclose(found, divided, atol=1e-11)
    assert abs(found - lda_similarity(images, y, **how)).max() > 1e-5


def test_bytes_are_like_floats_of_the_same_values():
    x, y = byte_blobs(0)
    found = lda_similarity(x, y, num_classes=4)
    for dtype in (np.float32, np.float64):
        other = lda_similarity(x.astype(dtype), y, num_classes=4)
        np.testing.assert_allclose(other, found, atol=1e-12)


# How examples may come.


@pytest.mark.parametrize("make", [blobs, byte_blobs], ids=["floats", "bytes"])
@pytest.mark.parametrize("batch_size", [7, 1024])
def test_the_same_numbers_however_examples_come(make, batch_size, tmp_path):
    x, y = make(1)
    how = {"num_classes": 4, "batch_size": batch_size}
    found = lda_similarity(x, y, **how)
    cuts = [0, 1, 1, 13, 50, 60]
    batches = [(x[i:j], y[i:j]) for i, j in itertools.pairwise(cuts)]
    mapped = np.memmap(tmp_path / "x", x.dtype, "w+", shape=x.shape)
    mapped[:] = x
    others = {
        "list": lda_similarity(batches, **how),
        "generator": lda_similarity((batch for batch in batches), **how),
        "memory map": lda_similarity(mapped, y, **how),
        "images": lda_similarity(x.reshape(-1, 3, 1, 2), y.astype(np.uint8), **how),
    }
    for name, other in others.items():
        np.testing.assert_array_equal(other, found, err_msg=name)
    backwards = lda_similarity(batches[::-1], **how)
    np.testing.assert_allclose(backwards, found, atol=1e-12)


def test_arrays_of_jax():
    x, y = byte_blobs(2)
    found = lda_similarity(jnp.asarray(x), jnp.asarray(y), num_classes=4)
    np.testing.assert_array_equal(found, lda_similarity(x, y, num_classes=4))


def test_the_size_of_batches_is_rounding():
    x, y = blobs(3)
    first, *others = (
        lda_similarity(x, y, num_classes=4, batch_size=size) for size in (60, 7, 2000)
    )
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-12)


def test_jax_keeps_its_precision_while_batches_are_made():
    x, y = blobs(4)

    def batches():
        for i in range(0, 60, 20):
            assert not jax.config.jax_enable_x64
            yield jnp.asarray(x[i : i + 20]), jnp.asarray(y[i : i + 20])

    found = lda_similarity(batches(), num_classes=4, batch_size=16)
    assert not jax.config.jax_enable_x64
    expected = lda_similarity(x.astype(np.float32), y, num_classes=4)
    np.testing.assert_allclose(found, expected, atol=1e-12)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("known", [True, False])
def test_progress_is_shown_if_the_number_of_batches_is_known(known, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    batches = [byte_blobs(0)]
    lda_similarity(batches if known else iter(batches), num_classes=4)
    assert ("class similarity" in terminal.getvalue()) == known


# Where there is little to see.


@pytest.mark.parametrize("centered", [True, False])
def test_a_class_without_direction_is_as_close_to_all(centered):
    means = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 0.0], [3.0, 0.0]])
    means[3] = -means[:3].sum(axis=0)
    around = np.array([[1.0, 0.2], [-1.0, 0.1], [0.3, 1.0], [-0.3, -1.3]])
    x = (means[:, None] + around).reshape(-1, 2)
    found = lda_similarity(
        x, np.repeat(np.arange(4), 4), num_classes=4, centered=centered
    )
    np.testing.assert_allclose(found[2], [1 / 3, 1 / 3, 0, 1 / 3], atol=1e-12)


@pytest.mark.parametrize("make", [blobs, byte_blobs], ids=["floats", "bytes"])
@pytest.mark.parametrize("centered", [True, False])
def test_classes_with_one_mean_are_equally_similar(make, centered):
    x, _ = make(5)
    k = 4
    found = lda_similarity(
        np.repeat(x, k, axis=0),
        np.tile(np.arange(k), len(x)),
        num_classes=k,
        centered=centered,
    )
    np.testing.assert_allclose(found, (1 - np.eye(k)) / (k - 1), atol=1e-12)


def test_directions_that_separate_nothing_are_left_out():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 30)
    noise = rng.normal(size=(30, 5))
    x = np.tile(noise, (4, 1)) + np.outer(y, np.ones(5)) + 3.0  # means on one line
    how = {"num_classes": 4, "centered": False}
    one = lda_similarity(x, y, num_directions=1, **how)
    np.testing.assert_allclose(lda_similarity(x, y, **how), one, atol=1e-12)


def test_fewer_features_than_directions():
    x, y = blobs(6, classes=5, d=2)
    found = lda_similarity(x, y, num_classes=5, shrinkage=0.0)
    expected = by_eigenvectors(x, y, shrinkage=0.0, directions=4, centered=True)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_one_number_an_example():
    y = np.arange(60) % 3
    x = y + np.random.default_rng(0).random(60)
    found = lda_similarity(x, y, num_classes=3)
    means = np.array([x[y == c].mean() for c in range(3)]) - x.mean()
    np.testing.assert_allclose(found, by_hand(means[:, None]), atol=1e-12)


# What is refused.


def constant_feature(x):
    return np.concatenate([x, np.full_like(x[:, :1], 7)], axis=1)


@pytest.mark.parametrize("make", [blobs, byte_blobs], ids=["floats", "bytes"])
@pytest.mark.parametrize(
    "damage",
    [constant_feature, lambda x: np.concatenate([x, x[:, :2]], axis=1)],
    ids=["constant", "repeated"],
)
def test_a_singular_scatter_needs_shrinkage(make, damage):
    x, y = make(7)
    with pytest.raises(ValueError, match=r"singular at shrinkage=0.0: .* 1e-3 is"):
        lda_similarity(damage(x), y, num_classes=4, shrinkage=0.0)
    found = lda_similarity(damage(x), y, num_classes=4, shrinkage=1e-9)
    if damage is constant_feature:
        alone = lda_similarity(x, y, num_classes=4, shrinkage=0.0)
        np.testing.assert_allclose(found, alone, atol=1e-6)


def test_fewer_examples_than_features_need_shrinkage():
    x, y = blobs(8, d=50, n=30)
    with pytest.raises(ValueError, match="the scatter within classes is singular"):
        lda_similarity(x, y, num_classes=4, shrinkage=0.0)
    found = lda_similarity(x, y, num_classes=4)
    how = {"shrinkage": 1e-3, "directions": 3, "centered": True}
    np.testing.assert_allclose(found, by_eigenvectors(x, y, **how), atol=1e-8)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_features_that_tell_only_the_class(dtype):
    y = np.arange(12) % 3
    x = (np.eye(3)[y] * 3).astype(dtype)
    with pytest.raises(ValueError, match="do not vary within any class"):
        lda_similarity(x, y, num_classes=3)


X, Y = blobs(9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes=1 is not a whole number of at least 2"),
        ({"num_directions": 0}, "num_directions=0 is not a whole number"),
        ({"num_directions": 4}, r"num_directions=4 is outside \[1, 3\].*fewer discr"),
        ({"shrinkage": -1e-3}, r"shrinkage=-0.001 is outside \[0, inf\)"),
        ({"shrinkage": np.nan}, "shrinkage=nan is outside"),
        ({"batch_size": 0}, "batch_size=0 is not a whole number of at least 1"),
        ({"scale": 0.0}, "scale=0.0 is outside .* divided by it"),
        ({"scale": [1.0, -1.0]}, "an entry of scale=-1.0 is outside"),
        ({"scale": np.ones(4)}, r"shape \(4,\) does not broadcast .* shape \(6,\)"),
        ({"num_classes": 7}, "no example of class 4, class 5, class 6. .* renumber"),
        ({"num_classes": 3}, r"labels=3 is outside \[0, 2\]. Class ids count from 0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        lda_similarity(X, Y, **{"num_classes": 4, **arguments})

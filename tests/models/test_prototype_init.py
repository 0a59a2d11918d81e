import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from robustlabels.models import class_kmeans, class_means, class_samples

INITIALISERS = (class_means, class_kmeans, class_samples)
RNG = np.random.default_rng(0)
LABELS = np.repeat([2, 0, 1], 30)
EMBEDDINGS = (RNG.normal(size=(90, 4)) + 10 * LABELS[:, None]).astype(np.float32)


@pytest.mark.parametrize("initialise", INITIALISERS)
def test_order_dtype_and_determinism(initialise):
    def run(seed):
        return initialise(
            jnp.asarray(EMBEDDINGS),
            jnp.asarray(LABELS),
            num_classes=3,
            per_class=2,
            seed=seed,
        )

    prototypes = run(0)
    assert prototypes.shape == (6, 4)
    assert prototypes.dtype == np.float32
    nearest_class = np.round(prototypes.mean(axis=1) / 10)
    assert nearest_class.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(prototypes, run(0))


def test_means_are_the_means_of_the_classes():
    expected = [np.mean(EMBEDDINGS[c == LABELS], axis=0) for c in range(3)]
    actual = class_means(EMBEDDINGS, LABELS, num_classes=3)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_several_means_differ_by_the_jitter():
    embeddings = EMBEDDINGS * np.array([1.0, 10.0, 100.0, 0.0], np.float32)
    moved = class_means(embeddings, LABELS, num_classes=3, per_class=500, jitter=0.02)
    for c, prototypes in enumerate(moved.reshape(3, 500, 4)):
        members = embeddings[c == LABELS]
        std = 0.02 * members.std(axis=0)
        np.testing.assert_allclose(prototypes.std(axis=0), std, rtol=0.15, atol=1e-4)
        error = np.abs(prototypes.mean(axis=0) - members.mean(axis=0))
        assert (error <= 4 * std / np.sqrt(500) + 1e-4).all()


def test_kmeans_is_as_good_as_scikit_learns():
    prototypes = class_kmeans(EMBEDDINGS, LABELS, num_classes=3, per_class=4)
    for c, centres in enumerate(prototypes.reshape(3, 4, 4)):
        members = EMBEDDINGS[c == LABELS]
        inertia = ((members[:, None] - centres) ** 2).sum(-1).min(1).sum()
        reference = KMeans(4, n_init=20, random_state=1).fit(members).inertia_
        assert inertia <= 1.03 * reference


def test_one_cluster_is_the_mean():
    np.testing.assert_allclose(
        class_kmeans(EMBEDDINGS, LABELS, num_classes=3),
        class_means(EMBEDDINGS, LABELS, num_classes=3),
        rtol=1e-5,
        atol=1e-6,
    )


def test_samples_are_distinct_examples_of_the_class():
    all_of_them = class_samples(EMBEDDINGS, LABELS, num_classes=3, per_class=30)
    for c, chosen in enumerate(all_of_them.reshape(3, 30, 4)):
        members = EMBEDDINGS[c == LABELS]
        np.testing.assert_array_equal(np.sort(chosen, axis=0), np.sort(members, axis=0))
    few = [
        class_samples(EMBEDDINGS, LABELS, num_classes=3, seed=seed) for seed in (0, 1)
    ]
    assert not np.array_equal(*few)


@pytest.mark.parametrize("initialise", INITIALISERS)
def test_a_class_without_examples_is_named(initialise):
    with pytest.raises(ValueError, match="class 3 has 0 examples and needs 1"):
        initialise(EMBEDDINGS, LABELS, num_classes=4)


@pytest.mark.parametrize("initialise", [class_kmeans, class_samples])
def test_fewer_examples_than_prototypes_are_named(initialise):
    with pytest.raises(ValueError, match="class 0 has 30 examples and needs 31"):
        initialise(EMBEDDINGS, LABELS, num_classes=3, per_class=31)


@pytest.mark.parametrize("initialise", INITIALISERS)
def test_labels_out_of_range_are_named(initialise):
    with pytest.raises(ValueError, match=r"an entry of labels=2 .* num_classes=2"):
        initialise(EMBEDDINGS, LABELS, num_classes=2)


def test_jitter_is_not_negative():
    with pytest.raises(ValueError, match="jitter=-1"):
        class_means(EMBEDDINGS, LABELS, num_classes=3, jitter=-1.0)

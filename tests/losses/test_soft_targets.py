"""Cross-entropy with soft targets against NumPy loops, Optax and closed forms."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from jaxtyping import TypeCheckError

from robustlabels import losses

CASES = settings(deadline=None, max_examples=15, derandomize=True)
CLASSES = 5
RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(8, CLASSES)) * 3, jnp.float32)
LABELS = jnp.asarray([0, 1, 2, 3, 4, 4, 0, 2], jnp.int32)


def similarity_of(rng, classes):
    """Rows that share one among the other classes; not symmetric."""
    free = rng.uniform(0, 1, (classes, classes)) * (1 - np.eye(classes))
    return free / free.sum(axis=1, keepdims=True)


SIMILARITY = similarity_of(RNG, CLASSES)
EPSILONS = np.array([0.0, 0.1, 0.25, 0.4, 0.5], np.float32)
THETA = RNG.normal(size=(CLASSES, CLASSES)).astype(np.float32)
COUNTS = np.array([40, 10, 20, 10, 80])

# Cosines of (1, 0), (0, 1) and (-1, 0) through the logistic function, row by row.
NEAR, FAR = 1 / (1 + np.e), 1 / (1 + np.e**2)
THREE = np.array(
    [
        [0.0, NEAR / (NEAR + FAR), FAR / (NEAR + FAR)],
        [0.5, 0.0, 0.5],
        [FAR / (NEAR + FAR), NEAR / (NEAR + FAR), 0.0],
    ]
)
Z = jnp.array([1.0, 0.5, -1.0])


def by_definition(entry):
    return np.array([[entry(y, i) for i in range(CLASSES)] for y in range(CLASSES)])


def mixed(epsilons):
    return by_definition(
        lambda y, i: 1 - epsilons[y] if i == y else epsilons[y] * SIMILARITY[y, i]
    )


TARGETS = {
    "one-hot": (losses.one_hot_targets(CLASSES), by_definition(lambda y, i: y == i)),
    "smoothed": (
        losses.smoothed_targets(CLASSES, 0.3),
        by_definition(lambda y, i: 0.7 * (y == i) + 0.3 / CLASSES),
    ),
    "mcel": (losses.mcel_targets(SIMILARITY, 0.35), mixed([0.35] * CLASSES)),
    "sg_mcel": (losses.sg_mcel_targets(SIMILARITY, EPSILONS), mixed(EPSILONS)),
    "gmcel": (
        losses.gmcel_targets(THETA),
        by_definition(lambda y, i: np.exp(THETA[y, i]) / np.exp(THETA[y]).sum()),
    ),
    "infogain": (
        losses.infogain_targets(COUNTS),
        by_definition(lambda y, i: (y == i) * 10 / COUNTS[y]),
    ),
    "any sign": (jnp.asarray(THETA), THETA),
}


def log_softmax(z):
    z = np.asarray(z, np.float64)
    return z - z.max() - np.log(np.sum(np.exp(z - z.max())))


def loss_by_hand(logits, labels, targets):
    values = []
    for z, y in zip(np.asarray(logits), np.asarray(labels), strict=True):
        log_f = log_softmax(z)
        values.append(-sum(targets[y, i] * log_f[i] for i in range(len(z))))
    return np.array(values)


def soft(logits, labels, targets):
    return losses.soft_target_cross_entropy(logits, labels, targets=targets)


def of_one(z, label, targets):
    return soft(z[None], label[None], targets)[0]


SOFT = {
    "plain": soft,
    "jit": jax.jit(soft),
    "vmap": jax.jit(
        lambda z, y, q: jax.vmap(soft, (0, 0, None))(z[:, None], y[:, None], q)[:, 0]
    ),
}
GRADIENT = jax.jit(jax.grad(lambda z, y, q: soft(z, y, q).sum()))
CROSS_ENTROPY = jax.jit(losses.cross_entropy)


@pytest.mark.parametrize("name", TARGETS)
def test_targets_match_their_definition(name):
    found, expected = TARGETS[name]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    assert found.dtype == jnp.float32


@pytest.mark.parametrize("how", SOFT)
@pytest.mark.parametrize("name", TARGETS)
def test_the_loss_matches_loops(name, how):
    targets, expected = TARGETS[name]
    found = SOFT[how](LOGITS, LABELS, targets)
    expected = loss_by_hand(LOGITS, LABELS, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TARGETS)
def test_the_gradient_is_mass_times_probability_minus_target(name):
    targets, by_hand = TARGETS[name]
    q = by_hand[np.asarray(LABELS)]
    expected = q.sum(-1, keepdims=True) * scipy.special.softmax(LOGITS, -1) - q
    gradient = GRADIENT(LOGITS, LABELS, targets)
    np.testing.assert_allclose(gradient, expected, atol=2e-6)


def test_derivatives_in_logits_and_targets_match_differences():
    check_grads(
        jax.jit(lambda z, q: soft(jnp.asarray(z), LABELS[:2], jnp.asarray(q))),
        (LOGITS[:2], TARGETS["any sign"][0]),
        order=1,
        modes=["fwd", "rev"],
        eps=1e-2,
        atol=2e-2,
        rtol=2e-2,
    )


def test_the_curvature_is_that_of_the_softmax():
    targets, by_hand = TARGETS["infogain"]
    found = jax.jit(jax.hessian(of_one))(LOGITS[0], jnp.array(2), targets)
    f = scipy.special.softmax(np.asarray(LOGITS[0], np.float64))
    expected = by_hand[2].sum() * (np.diag(f) - np.outer(f, f))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_learned_target_descends_by_the_logarithm_of_its_row():
    slope = jax.jit(jax.grad(of_one, argnums=2))
    expected = np.zeros((3, 3))
    expected[1] = -log_softmax(Z)
    np.testing.assert_allclose(slope(Z, jnp.array(1), jnp.eye(3)), expected, rtol=1e-6)


@jax.jit
@jax.value_and_grad
def of_epsilon(epsilon, label):
    return of_one(Z, label, losses.mcel_targets(THREE, epsilon))


@jax.jit
@jax.grad
def by_epsilons(epsilons, label):
    return of_one(Z, label, losses.sg_mcel_targets(THREE, epsilons))


@pytest.mark.parametrize(
    ("label", "loss", "slope"),
    [
        (0, 0.7470898522, 0.9606646627),
        (1, 1.1549569196, 0.5),
        (2, 2.2242459421, -1.6535548876),
    ],
)
def test_numbers_worked_out_by_hand(label, loss, slope):
    np.testing.assert_allclose(
        of_epsilon(0.2, jnp.array(label)), (loss, slope), rtol=1e-6
    )
    by_class = by_epsilons(jnp.full(3, 0.2), jnp.array(label))
    np.testing.assert_allclose(by_class, slope * np.eye(3)[label], rtol=1e-6)


def test_the_gradient_worked_out_by_hand():
    gradient = GRADIENT(Z[None], jnp.array([0]), losses.mcel_targets(THREE, 0.2))
    expected = [[-0.225903007, 0.2096293829, 0.0162736241]]
    np.testing.assert_allclose(gradient, expected, rtol=2e-6)


def test_it_is_the_row_of_the_label_that_counts():
    """Class 0 is like class 1 alone; class 1 is like all others."""
    similarity = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    targets = losses.mcel_targets(similarity, 0.5)
    found = SOFT["jit"](jnp.stack([Z, Z]), jnp.array([0, 1]), targets)
    log_f = log_softmax(Z)
    expected = -(log_f[0] + log_f[1]) / 2, -log_f @ [0.25, 0.5, 0.25]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_label_smoothing_is_that_of_optax():
    smooth = optax.smooth_labels(jax.nn.one_hot(LABELS, CLASSES), 0.3)
    chex.assert_trees_all_close(TARGETS["smoothed"][0][LABELS], smooth, rtol=1e-6)


@pytest.mark.parametrize("name", TARGETS)
def test_the_loss_is_that_of_optax(name):
    targets, _ = TARGETS[name]
    expected = optax.softmax_cross_entropy(LOGITS, targets[LABELS])
    found = SOFT["jit"](LOGITS, LABELS, targets)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "targets",
    [
        losses.one_hot_targets(CLASSES),
        losses.smoothed_targets(CLASSES, 0.0),
        losses.mcel_targets(SIMILARITY, 0.0),
        losses.sg_mcel_targets(SIMILARITY, np.zeros(CLASSES, np.float32)),
        losses.gmcel_targets(200 * np.eye(CLASSES, dtype=np.float32)),
        losses.infogain_targets(np.full(CLASSES, 7)),
    ],
    ids=["one-hot", "smoothed", "mcel", "sg_mcel", "gmcel", "infogain"],
)
def test_without_mixing_all_are_cross_entropy(targets):
    np.testing.assert_array_equal(targets, np.eye(CLASSES))
    found = SOFT["jit"](LOGITS, LABELS, targets)
    chex.assert_trees_all_close(
        found, CROSS_ENTROPY(LOGITS, LABELS), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("classes", [2, 10])
def test_with_the_uniform_similarity_mcel_is_label_smoothing(classes):
    uniform = (1 - np.eye(classes)) / (classes - 1)
    mcel = losses.mcel_targets(uniform, 0.1 * (classes - 1) / classes)
    smoothed = losses.smoothed_targets(classes, 0.1)
    chex.assert_trees_all_close(mcel, smoothed, rtol=1e-6)


def test_equal_epsilons_are_mcel():
    equal = losses.sg_mcel_targets(SIMILARITY, np.full(CLASSES, 0.35, np.float32))
    chex.assert_trees_all_equal(equal, TARGETS["mcel"][0])


@CASES
@given(epsilon=st.floats(0, 0.5, width=32), seed=st.integers(0, 99))
def test_mixed_targets_are_distributions(epsilon, seed):
    """So the loss is least, and their entropy, where the softmax says the same."""
    similarity = similarity_of(np.random.default_rng(seed), CLASSES)
    targets = losses.mcel_targets(similarity, epsilon)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.diagonal(targets), 1 - epsilon, rtol=1e-6)
    assert np.all((targets >= 0) & (targets <= 1))
    entropies = scipy.special.entr(np.asarray(targets, np.float64)).sum(axis=1)
    labels = jnp.arange(CLASSES)
    same = jnp.log(jnp.maximum(targets, 1e-30))
    found = SOFT["jit"](same, labels, targets)
    np.testing.assert_allclose(found, entropies, rtol=1e-4, atol=1e-5)
    other = SOFT["jit"](LOGITS[:5], labels, targets)
    assert np.all(np.asarray(other) >= entropies - 1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e3])
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
def test_extreme_logits_stay_finite(scale, offset):
    logits = offset + scale * jnp.array([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]])
    labels, targets = jnp.array([1, 0]), losses.mcel_targets(THREE, 0.2)
    expected = loss_by_hand(logits, labels, np.asarray(targets))
    found = SOFT["jit"](logits, labels, targets)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    sure = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    expected = sure - np.asarray(targets)[[1, 0]]
    gradient = GRADIENT(logits, labels, targets)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_a_label_out_of_range_is_loud():
    labels = LABELS.at[3].set(CLASSES)
    for function in (SOFT["jit"], GRADIENT):
        found = np.isnan(function(LOGITS, labels, TARGETS["mcel"][0]))
        assert found[3].all()
        assert not np.delete(found, 3, axis=0).any()


def test_many_epsilons_and_similarities_are_mapped_over():
    epsilons, labels = jnp.array([0.0, 0.1, 0.5]), np.asarray(LABELS)

    @jax.jit
    @jax.vmap
    def of_epsilons(epsilon):
        targets = losses.mcel_targets(SIMILARITY, epsilon)
        return soft(LOGITS, LABELS, targets), losses.smoothed_targets(5, epsilon)

    found, smoothed = of_epsilons(epsilons)
    expected = [loss_by_hand(LOGITS, labels, mixed([e] * 5)) for e in epsilons]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(smoothed[2], 0.5 * np.eye(5) + 0.1, rtol=1e-6)

    @jax.jit
    @jax.vmap
    def of_similarities(similarity):
        return losses.sg_mcel_targets(similarity, EPSILONS)

    both = jnp.asarray(np.stack([SIMILARITY, np.ones((5, 5)) / 4]), jnp.float32)
    found = of_similarities(both)
    np.testing.assert_allclose(found[0], mixed(EPSILONS), rtol=1e-6)
    off = np.where(np.eye(5), 0, found[1])
    np.testing.assert_allclose(off.sum(axis=1), EPSILONS, rtol=1e-6)


def test_infogain_weighs_the_cross_entropy_of_a_class():
    targets = losses.infogain_targets(COUNTS)
    found = SOFT["jit"](LOGITS, LABELS, targets)
    weights = np.array([0.25, 1.0, 0.5, 1.0, 0.125])[np.asarray(LABELS)]
    expected = weights * CROSS_ENTROPY(LOGITS, LABELS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


HALF = r"Up to one half of a target goes to the other classes: 0\.2 is usual\."


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: losses.mcel_targets(SIMILARITY, 0.6),
            rf"epsilon=0\.6 is outside \[0, 0\.5\]\. {HALF}",
        ),
        (lambda: losses.mcel_targets(SIMILARITY, -0.1), r"epsilon=-0\.1 is outside"),
        (lambda: losses.mcel_targets(SIMILARITY, float("nan")), "epsilon=nan is outs"),
        (
            lambda: losses.sg_mcel_targets(SIMILARITY, 2 * EPSILONS),
            rf"an entry of epsilons=0\.8\d* is outside \[0, 0\.5\]\. {HALF}",
        ),
        (
            lambda: losses.smoothed_targets(3, 1.5),
            r"smoothing=1\.5 is outside \[0, 1\]\. It is the share of a target that",
        ),
        (
            lambda: losses.smoothed_targets(1, 0.1),
            "num_classes=1 is not a whole number of at least 2",
        ),
        (
            lambda: losses.one_hot_targets(0),
            "num_classes=0 is not a whole number of at least 2",
        ),
        (
            lambda: losses.infogain_targets(np.array([3, 0])),
            r"an entry of class_counts=0 is outside \[1, inf\)\. Every class needs an",
        ),
    ],
)
def test_what_is_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_targets_have_a_row_and_a_column_for_each_class():
    with pytest.raises(TypeCheckError, match="parameter 'targets'"):
        soft(LOGITS, LABELS, jnp.ones((CLASSES, CLASSES - 1)))
    with pytest.raises(TypeCheckError, match="parameter 'targets'"):
        soft(LOGITS, LABELS, jnp.eye(CLASSES - 1))

"""Regression of label arrays against SciPy, Optax and finite differences."""

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
from scipy.spatial.distance import cdist

from robustlabels import losses

CASES = settings(deadline=None, max_examples=20, derandomize=True)
RNG = np.random.default_rng(3)
SHAPES = [(5,), (4, 6)]


def case(shape, batch=7, classes=4):
    codebook = RNG.uniform(0, 80, (classes, *shape)).astype(np.float32)
    labels = RNG.integers(0, classes, batch).astype(np.int32)
    outputs = codebook[labels] + RNG.normal(0, 3, (batch, *shape)).astype(np.float32)
    return jnp.asarray(outputs), jnp.asarray(labels), jnp.asarray(codebook)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("delta", [0.3, 1.0, 5.0])
def test_huber_to_label_is_the_mean_of_scipys(shape, delta):
    outputs, labels, codebook = case(shape)

    def loss(outputs, labels):
        return losses.huber_to_label(outputs, labels, codebook=codebook, delta=delta)

    errors = np.float64(outputs) - np.float64(codebook)[np.asarray(labels)]
    expected = [scipy.special.huber(delta, each.ravel()).mean() for each in errors]
    for run in (loss, jax.jit(loss)):
        np.testing.assert_allclose(run(outputs, labels), expected, rtol=1e-5)
    one_by_one = jax.vmap(lambda g, y: loss(g[None], y[None])[0])(outputs, labels)
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-5)


def test_huber_has_the_derivatives_of_optax():
    errors = jnp.linspace(-4, 4, 33) + 0.01
    for delta in (0.5, 1.0, 3.0):
        for derive in (lambda f: f, jax.grad, lambda f: jax.grad(jax.grad(f))):
            ours = jax.vmap(derive(lambda e, d=delta: losses.huber(e, delta=d)))
            theirs = jax.vmap(derive(lambda e, d=delta: optax.huber_loss(e, delta=d)))
            chex.assert_trees_all_close(ours(errors), theirs(errors), atol=1e-6)
    with jax.enable_x64(True):
        inputs = jnp.array([0.3, 2.0, -5.0]), jnp.array(1.5)
        check_grads(lambda e, d: losses.huber(jnp.asarray(e), delta=d), inputs, order=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("jitted", [False, True])
def test_distances_to_all_labels_are_scipys(shape, jitted):
    outputs, _, codebook = case(shape)
    rows, labels = (np.float64(a).reshape(len(a), -1) for a in (outputs, codebook))
    cells = labels.shape[1]
    by_huber = cdist(rows, labels, lambda g, y: scipy.special.huber(1.5, g - y).mean())
    for function, expected, options in (
        (losses.squared_to_labels, cdist(rows, labels, "sqeuclidean") / cells, {}),
        (losses.cosine_to_labels, cdist(rows, labels, "cosine"), {}),
        (losses.huber_to_labels, by_huber, {"delta": 1.5}),
    ):

        def distances(g, function=function, options=options):
            return function(g, codebook=codebook, **options)

        found = (jax.jit(distances) if jitted else distances)(outputs)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "distance",
    [losses.squared_to_labels, losses.huber_to_labels, losses.cosine_to_labels],
)
def test_distances_have_the_slopes_of_finite_differences(distance):
    with jax.enable_x64(True):
        outputs, _, codebook = (jnp.float64(a) for a in case((3, 2), batch=2))

        def distances(g):
            return distance(jnp.asarray(g), codebook=codebook)

        check_grads(distances, (outputs,), order=1, modes="rev")


def test_nothing_far_from_the_origin_cancels():
    """Labels that are alike but for little, far away: float64 is the judge."""
    codebook = 1000 + RNG.normal(0, 1, (6, 50))
    outputs = codebook[[0, 3, 5]] + RNG.normal(0, 0.2, (3, 50))
    found = losses.squared_to_labels(
        jnp.float32(outputs), codebook=jnp.float32(codebook)
    )
    expected = cdist(outputs, codebook, "sqeuclidean") / 50
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    "distance",
    [losses.squared_to_labels, losses.huber_to_labels, losses.cosine_to_labels],
)
def test_no_array_of_batch_by_classes_by_cells_is_held(distance):
    batch, classes, cells = 64, 50, 512
    outputs, codebook = jnp.zeros((batch, cells)), jnp.zeros((classes, cells))

    def total(outputs):
        return distance(outputs, codebook=codebook).sum()

    compiled = jax.jit(jax.value_and_grad(total)).lower(outputs).compile()
    held = compiled.memory_analysis().temp_size_in_bytes
    assert held < 4 * batch * classes * cells / 4


def test_what_is_near_enough_is_accepted():
    codebook = jnp.zeros((2, 4)).at[1].set(10.0)
    outputs = jnp.array([[3.9] * 4, [4.1] * 4, [8.0] * 4])
    found = losses.accepted(outputs, jnp.array([0, 0, 1]), codebook=codebook)
    assert found.tolist() == [True, False, True]
    loose = losses.accepted(
        outputs, jnp.array([0, 0, 0]), codebook=codebook, threshold=7.6
    )
    assert loose.tolist() == [True, True, True]


def test_wrong_shapes_and_numbers_are_named():
    outputs, labels, codebook = case((4, 6))
    with pytest.raises(ValueError, match=r"\(5,\) cannot be compared .* \(4, 6\)"):
        losses.huber_to_label(jnp.zeros((7, 5)), labels, codebook=codebook)
    with pytest.raises(ValueError, match="delta=0 is outside"):
        losses.huber(outputs, delta=0)


@CASES
@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_the_squared_rule_is_a_linear_head(seed, scale):
    """Differences of scores are linear in the outputs: their slopes never change."""
    rng = np.random.default_rng(seed)
    codebook = jnp.asarray(rng.uniform(0, 80, (3, 8)), jnp.float32)
    a, b = jnp.asarray(scale * rng.normal(size=(2, 8)), jnp.float32)

    def gap(g):
        d = losses.squared_to_labels(g[None], codebook=codebook)[0]
        return d[0] - d[1]

    slope = 2 * (codebook[1] - codebook[0]) / 8
    for point in (a, b):
        np.testing.assert_allclose(jax.grad(gap)(point), slope, atol=1e-4)


def test_dlr_is_the_papers_ratio():
    scores = RNG.normal(size=(20, 5)).astype(np.float32)
    labels = RNG.integers(0, 5, 20)
    ordered = np.sort(scores, axis=1)
    wrong = [max(np.delete(row, y)) for row, y in zip(scores, labels, strict=True)]
    own = scores[np.arange(20), labels]
    expected = -(own - wrong) / (ordered[:, -1] - ordered[:, -3])
    for run in (losses.dlr, jax.jit(losses.dlr)):
        found = run(jnp.asarray(scores), jnp.asarray(labels))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        moved = run(jnp.asarray(7 * scores + 3), jnp.asarray(labels))
        np.testing.assert_allclose(moved, expected, rtol=1e-4)


def test_dlr_of_two_classes_has_the_gradient_of_the_margin():
    scores, labels = jnp.array([[3.0, 1.0]]), jnp.array([0])
    slope = jax.grad(lambda z: losses.dlr(z, labels).sum())(scores)
    np.testing.assert_allclose(slope, [[-0.5, 0.5]])
    assert losses.dlr(jnp.zeros((1, 2)), labels) == 0


def test_tempered_cross_entropy_keeps_a_gradient_at_any_scale():
    scores, labels = jnp.array([[-1.0, -3.0, -9.0]]), jnp.array([0])
    expected = -np.log(np.exp(0) / np.exp([0, -2.5, -10.0]).sum())
    for factor in (1e-3, 1.0, 1e5):
        scaled = factor * scores

        def loss(z):
            return losses.tempered_cross_entropy(z, labels).sum()

        np.testing.assert_allclose(loss(scaled), expected, rtol=1e-4)
        slope = np.asarray(jax.grad(loss)(scaled)) * factor
        assert slope[0, 1] > 0.05
        np.testing.assert_allclose(slope.sum(), 0, atol=1e-5)
    with pytest.raises(ValueError, match=r"spread=-1\.0 is outside"):
        losses.tempered_cross_entropy(scores, labels, spread=-1.0)

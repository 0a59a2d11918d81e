"""Objectives of distances against NumPy, as arguments and stacks of them too."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

from robustlabels import losses, objective

OWN = [2, 0, 1, 0, 2, 2, 0]
SIGMOID = Partial(losses.sigmoid, beta=10.0)
FAMILIES = {
    "glvq": lambda: objective.glvq(OWN),
    "glvq sigmoid": lambda: objective.glvq(OWN, phi=SIGMOID),
    **{
        f"sng {name}": lambda name=name: objective.sng(OWN, neighbourhood=name)
        for name in ["incorrect", "correct", "pooled", "softmin"]
    },
}
RNG = np.random.default_rng(0)
OUTPUTS = jnp.asarray(RNG.uniform(0.1, 4, (8, len(OWN))), jnp.float32)
LABELS = jnp.asarray(RNG.integers(0, 3, 8), jnp.int32)
X = jnp.asarray(RNG.normal(size=(8, 5)), jnp.float32)
W = jnp.asarray(RNG.normal(size=(5, len(OWN))), jnp.float32)


def predict_with(w, x):
    return jnp.logaddexp(x @ w, 0.0)


def mu(near, far):
    return (near - far) / (near + far)


def nearest_by_hand(outputs, own):
    """The distance to the nearest prototype of each class, one at a time."""
    return np.array(
        [
            [
                min(d for d, label in zip(row, own, strict=True) if label == wanted)
                for wanted in range(max(own) + 1)
            ]
            for row in np.asarray(outputs, np.float64)
        ]
    )


def loss_by_hand(name, outputs, labels, own, tau):
    result = []
    for d, y in zip(np.asarray(outputs, np.float64), np.asarray(labels), strict=True):
        mine = np.sort(d[np.array(own) == y])
        others = np.sort(d[np.array(own) != y])
        relative = mu(mine[0], others[0])
        h = np.exp(-tau * np.arange(len(mine if name == "sng correct" else others)))
        if name == "sng softmin":
            h = np.exp(-tau * (others - others[0]))
        h /= h.sum()
        if name == "glvq sigmoid":
            relative = 1 / (1 + np.exp(-10 * relative))
        elif name in ("sng incorrect", "sng softmin"):
            relative = h @ mu(mine[0], others)
        elif name == "sng correct":
            relative = h @ mu(mine, others[0])
        elif name == "sng pooled":
            relative = mu(mine[0], h @ others)
        result.append(relative)
    return np.array(result)


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_matches_the_definition_along_training(name, progress):
    family = FAMILIES[name]()
    params = family.init(jax.random.key(0))
    assert params == {}
    tau = 0.1 + progress * 29.9
    loss = family.at(params, progress).loss(OUTPUTS, LABELS)
    expected = loss_by_hand(name, OUTPUTS, LABELS, OWN, tau)
    np.testing.assert_allclose(loss, expected, rtol=2e-5, atol=1e-6)
    assert family.penalty(params).shape == ()
    assert family.penalty(params) == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_prototypes_decide_for_the_nearest_class(name):
    built = FAMILIES[name]().at({}, 0.5)
    nearest = nearest_by_hand(OUTPUTS, OWN)
    np.testing.assert_allclose(built.scores(OUTPUTS), -nearest, rtol=1e-6)
    first, second = np.sort(nearest, axis=-1)[:, :2].T
    np.testing.assert_allclose(built.confidence(OUTPUTS), -mu(first, second), rtol=1e-5)


@jax.jit
def decide(built, outputs):
    scores = built.scores(outputs)
    loss = built.loss(outputs, jnp.argmax(scores, axis=-1))
    return scores, built.confidence(outputs), loss


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    counts=st.sampled_from([(1, 1), (3, 1, 2), (1, 4, 2, 2), (5, 1)]),
    seed=st.integers(0, 2**31 - 1),
)
def test_the_decision_is_the_class_of_the_nearest_prototype(counts, seed):
    rng = np.random.default_rng(seed)
    own = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    outputs = rng.uniform(0, 4, (5, len(own))).astype(np.float32)
    built = objective.glvq(own).at({}, 0.0)
    scores, confidence, loss = map(np.asarray, decide(built, outputs))
    assert scores.shape == (5, len(counts))
    np.testing.assert_array_equal(scores.argmax(-1), own[outputs.argmin(-1)])
    np.testing.assert_array_equal(-scores.max(-1), outputs.min(-1))
    assert np.all((confidence >= 0) & (confidence <= 1))
    np.testing.assert_allclose(confidence, -loss, atol=1e-6)


def test_the_gradient_of_a_score_is_one_on_its_prototype():
    built = objective.glvq(OWN).at({}, 0.0)
    jacobian = jax.jit(jax.jacrev(lambda d: built.scores(d[None])[0]))(OUTPUTS[0])
    expected = np.zeros((3, len(OWN)))
    for label in range(3):
        members = np.flatnonzero(np.array(OWN) == label)
        expected[label, members[np.argmin(OUTPUTS[0, members])]] = -1
    np.testing.assert_array_equal(jacobian, expected)


def test_confidence_of_prototypes_falls_far_from_all_of_them():
    built = objective.glvq([1, 0]).at({}, 0.0)
    added = np.array([0.0, 10.0, 100.0, 1e4], np.float32)
    distances = jnp.asarray(added[:, None] + np.array([[1.0, 3.0]], np.float32))
    expected = [0.5, 0.0833333, 0.00980392, 1e-4]
    confidence = jax.jit(built.confidence)
    np.testing.assert_allclose(confidence(distances), expected, rtol=2e-4)
    np.testing.assert_array_equal(confidence(jnp.zeros((4, 2))), 0)


@pytest.mark.parametrize("spelling", [list, tuple, np.array, jnp.array, np.uint8])
def test_prototype_labels_may_be_any_sequence(spelling):
    built = objective.sng(spelling(OWN)).at({}, 1.0)
    expected = FAMILIES["sng incorrect"]().at({}, 1.0)
    for field in ["scores", "confidence"]:
        chex.assert_trees_all_equal(
            getattr(built, field)(OUTPUTS), getattr(expected, field)(OUTPUTS)
        )
    chex.assert_trees_all_equal(
        built.loss(OUTPUTS, LABELS), expected.loss(OUTPUTS, LABELS)
    )


def test_tau_runs_linearly_from_start_to_end():
    family = objective.sng(OWN, tau_start=2.0, tau_end=1.0)
    for progress, tau in [(0.0, 2.0), (0.25, 1.75), (0.5, 1.5), (1.0, 1.0)]:
        expected = loss_by_hand("sng incorrect", OUTPUTS, LABELS, OWN, tau)
        np.testing.assert_allclose(
            family.at({}, progress).loss(OUTPUTS, LABELS), expected, rtol=1e-5
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_progress_is_traced_and_families_are_arguments(name):
    traces = []

    @jax.jit
    def step(family, progress, outputs, labels):
        traces.append(progress)
        built = family.at(family.init(jax.random.key(0)), progress)
        return built.loss(outputs, labels)

    for progress in [0.0, 0.3, 1.0]:
        expected = loss_by_hand(name, OUTPUTS, LABELS, OWN, 0.1 + progress * 29.9)
        loss = step(FAMILIES[name](), progress, OUTPUTS, LABELS)
        np.testing.assert_allclose(loss, expected, rtol=3e-5, atol=1e-6)
    assert len(traces) == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_two_sets_of_prototype_labels_are_one_compile(name):
    traces = []

    @jax.jit
    def evaluate(classifier, x, labels):
        traces.append(x)
        return classifier.loss(x, labels), classifier.scores(x)

    for own, w in [([0, 1, 2, 0, 1], W[:, :5]), ([2, 2, 0, 1, 0], -W[:, :5])]:
        kind, _, neighbourhood = name.partition(" ")
        arguments = {"neighbourhood": neighbourhood} if kind == "sng" else {}
        if neighbourhood == "sigmoid":
            arguments = {"phi": SIGMOID}
        built = getattr(objective, kind)(own, **arguments).at({}, 0.2)
        outputs = np.log1p(np.exp(np.asarray(X) @ np.asarray(w)))
        loss, scores = evaluate(
            objective.bind(built, Partial(predict_with, w)), X, LABELS
        )
        expected = loss_by_hand(name, outputs, LABELS, own, 0.1 + 0.2 * 29.9)
        np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(scores, -nearest_by_hand(outputs, own), rtol=1e-4)
    assert len(traces) == 1


def test_a_stack_of_prototype_labels_is_mapped_over():
    families = [objective.sng(own) for own in ([0, 1, 2, 0], [1, 2, 0, 1])]
    with pytest.raises(ValueError, match="shape"):
        jax.tree.map(lambda *a: jnp.stack(a), *families, objective.sng([0, 1, 2, 2, 2]))
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *families)
    mapped = jax.jit(jax.vmap(lambda f: f.at({}, 0.1).loss(OUTPUTS[:, :4], LABELS)))
    loss = mapped(stack)
    for own, row in zip(([0, 1, 2, 0], [1, 2, 0, 1]), loss, strict=True):
        expected = loss_by_hand("sng incorrect", OUTPUTS[:, :4], LABELS, own, 3.09)
        np.testing.assert_allclose(row, expected, rtol=1e-5)


@pytest.mark.parametrize("make", [objective.glvq, objective.sng])
@pytest.mark.parametrize(
    "own", [[0, 0], [0, 2], [1, 2], [], [-1, 0, 1], [0.5, 0, 1], [0, 3, 1]], ids=str
)
def test_classes_without_a_prototype_are_refused(make, own):
    with pytest.raises(ValueError, match=r"prototype_labels=\[.*\] must give every cl"):
        make(own)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau_start": -0.1}, r"tau_start=-0\.1 is outside \[0, inf\)"),
        ({"tau_end": -1.0}, r"tau_end=-1\.0 is outside \[0, inf\)"),
        ({"tau_end": float("nan")}, r"tau_end=nan is outside \[0, inf\)"),
        ({"tau_end": float("inf")}, r"tau_end=inf is outside \[0, inf\)"),
        ({"neighbourhood": "all"}, "neighbourhood='all' is unknown; .*'softmin'"),
    ],
    ids=str,
)
def test_a_bad_schedule_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        objective.sng(OWN, **change)


def test_a_number_of_steps_is_no_progress():
    family = objective.sng([0, 1, 2])
    with pytest.raises(ValueError, match=r"progress=100 is outside \[0, 1\]"):
        family.at({}, 100)

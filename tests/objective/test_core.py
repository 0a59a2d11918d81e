"""Every family as the pytree it promises to be, and classifiers made of them."""

import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from jax.tree_util import Partial

from robustlabels import losses, objective
from robustlabels.objective import core

OWN = [2, 0, 1, 0]
CLASSES = len(OWN)
RNG = np.random.default_rng(0)
OUTPUTS = jnp.asarray(RNG.uniform(0.1, 4, (8, CLASSES)), jnp.float32)
LABELS = jnp.asarray(RNG.integers(0, 3, 8), jnp.int32)
X = jnp.asarray(RNG.normal(size=(8, 5)), jnp.float32)
W = jnp.asarray(RNG.normal(size=(5, CLASSES)), jnp.float32)
KEY = jax.random.key(0)
UNIFORM = (1 - np.eye(CLASSES)) / (CLASSES - 1)
CHAIN = np.array(
    [[0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0], [0.0, 0.3, 0.0, 0.7], [0, 0, 1, 0]]
)
NOISE = 0.8 * np.eye(CLASSES) + 0.2 * CHAIN
CODEBOOK = RNG.uniform(0, 4, (CLASSES, CLASSES)).astype(np.float32)
SIGMOID = Partial(losses.sigmoid, beta=10.0)
FAMILIES = {
    "backward_corrected": lambda: objective.backward_corrected(NOISE),
    "forward_corrected": lambda: objective.forward_corrected(NOISE),
    "glvq": lambda: objective.glvq(OWN),
    "glvq sigmoid": lambda: objective.glvq(OWN, phi=SIGMOID),
    "gmcel": lambda: objective.gmcel(CHAIN),
    "gmcel hinge": lambda: objective.gmcel(CHAIN, margin="hinge", p=1.0),
    "infogain": lambda: objective.infogain([10, 20, 40, 5]),
    "label_regression": lambda: objective.label_regression(CODEBOOK),
    "label_regression huber": lambda: objective.label_regression(
        CODEBOOK, delta=2.0, decision="huber"
    ),
    "label_regression cosine": lambda: objective.label_regression(
        CODEBOOK, decision="cosine"
    ),
    "label_smoothing": lambda: objective.label_smoothing(CLASSES),
    "mcel": lambda: objective.mcel(CHAIN),
    "sg_mcel": lambda: objective.sg_mcel(CHAIN),
    "sg_mcel clamp": lambda: objective.sg_mcel(CHAIN, parametrization="clamp"),
    "sng": lambda: objective.sng(OWN),
    "softmax": objective.softmax,
}
LEARNING = {"gmcel", "gmcel hinge", "sg_mcel", "sg_mcel clamp"}
STACKS = {
    "backward_corrected": [[NOISE], [np.eye(CLASSES)]],
    "forward_corrected": [[NOISE], [np.eye(CLASSES)]],
    "infogain": [[[10, 20, 40, 5]], [[1, 1, 1, 1]]],
    "label_regression": [[CODEBOOK], [CODEBOOK[::-1], {"delta": 2.0}]],
    "label_smoothing": [[CLASSES, {"smoothing": s}] for s in (0.0, 0.3)],
    "mcel": [[CHAIN, {"epsilon": 0.1}], [UNIFORM, {"epsilon": 0.5}]],
    "sg_mcel": [[CHAIN, {"epsilon": 0.1}], [UNIFORM, {"beta": 0.0, "p": 1.0}]],
    "gmcel": [[CHAIN, {"epsilon": 0.1}], [UNIFORM, {"eta": 0.0, "c": 0.2, "p": 1.0}]],
    "glvq": [[OWN], [[1, 2, 0, 1]]],
    "sng": [[OWN], [[1, 2, 0, 1], {"tau_end": 3.0}]],
}


@jax.jit
def evaluate(built, outputs, labels):
    return built.loss(outputs, labels), built.scores(outputs), built.confidence(outputs)


@jax.jit
def classify(bound, x, labels):
    return bound.loss(x, labels), bound.scores(x), bound.confidence(x)


def predict_with(w, x):
    return jnp.logaddexp(x @ w, 0.0)


def built_of(family, progress=0.5):
    return family.at(family.init(KEY), progress)


def stacked(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def test_all_lists_the_constructors_of_families():
    assert {name.partition(" ")[0] for name in FAMILIES} == set(objective.__all__)
    for name, make in FAMILIES.items():
        assert getattr(objective, name.partition(" ")[0])
        assert isinstance(make(), objective.Family)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_constructor_fills_every_field_with_partials(name):
    family = FAMILIES[name]()
    built = built_of(family)
    assert isinstance(built, objective.Objective)
    bound = objective.bind(built, predict_with)
    assert isinstance(bound, objective.Classifier)
    fields = [*family, *built, bound.loss, bound.scores, bound.confidence]
    assert len(fields) == 10
    assert all(isinstance(field, Partial) for field in fields)
    leaves = jax.tree.leaves(fields)
    assert all(isinstance(leaf, (jax.Array, float)) for leaf in leaves)


def test_a_program_that_is_given_a_classifier_runs_the_model_once():
    weights = jnp.ones((7, 3))
    predict = Partial(lambda w, x: x @ w, weights)
    bound = objective.bind(objective.softmax().at({}, 1.0), predict)
    assert [leaf.shape for leaf in jax.tree.leaves(bound)] == [(7, 3)]

    def all_of_it(classifier, x, y):
        loss, scores = classifier.loss(x, y), classifier.scores(x)
        return loss, scores, classifier.confidence(x), classifier.margin(x, y)

    x, y = jnp.ones((5, 7)), jnp.zeros(5, jnp.int32)
    compiled = jax.jit(all_of_it).lower(bound, x, y).compile().as_text()
    assert compiled.count(" dot(") == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_learned_and_what_it_costs(name):
    family = FAMILIES[name]()
    params = family.init(KEY)
    penalty, learned = family.penalty(params), family.learned(params)
    assert penalty.shape == ()
    if name in LEARNING:
        assert list(params) == ["theta"]
        assert params["theta"].dtype == jnp.float32
        assert penalty > 0
        assert "epsilon" in learned
    else:
        assert params == {}
        assert penalty == 0
        assert learned == {}
    assert all(values.shape == (CLASSES,) for values in learned.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_arguments_and_objectives_leave_the_program(name):
    traces = []

    @jax.jit
    def run(family, progress):
        traces.append(progress)
        params = family.init(KEY)
        return family.at(params, progress), family.penalty(params)

    for progress in [0.0, 0.3, 1.0]:
        family = FAMILIES[name]()
        built, penalty = run(family, progress)
        chex.assert_trees_all_close(
            evaluate(built, OUTPUTS, LABELS),
            evaluate(built_of(family, progress), OUTPUTS, LABELS),
            rtol=1e-5,
            atol=1e-6,
        )
        np.testing.assert_allclose(penalty, family.penalty(family.init(KEY)), 1e-6)
    assert len(traces) == 1


@pytest.mark.parametrize("name", sorted(LEARNING))
def test_a_step_of_what_is_learned_is_traced_once(name):
    traces = []

    @jax.jit
    def step(family, params):
        traces.append(params)
        slope = jax.grad(family.penalty)(params)
        return jax.tree.map(lambda p, s: p - 0.1 * s, params, slope)

    family = FAMILIES[name]()
    params = family.init(KEY)
    for _ in range(3):
        params = step(family, params)
    assert len(traces) == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_everything_survives_pickling(name):
    family = FAMILIES[name]()
    built = built_of(family)
    bound = objective.bind(built, Partial(predict_with, W))
    kept = pickle.dumps((family, built, bound))
    family_again, built_again, bound_again = pickle.loads(kept)
    expected = evaluate(built, OUTPUTS, LABELS)
    for other in [built_again, built_of(family_again)]:
        chex.assert_trees_all_equal(evaluate(other, OUTPUTS, LABELS), expected)
    params = family.init(KEY)
    chex.assert_trees_all_equal(family_again.penalty(params), family.penalty(params))
    chex.assert_trees_all_equal(family_again.learned(params), family.learned(params))
    chex.assert_trees_all_equal(
        classify(bound_again, X, LABELS), classify(bound, X, LABELS)
    )


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_of_families_is_mapped_over(name):
    families = []
    for *arguments, last in STACKS[name]:
        options = last if isinstance(last, dict) else {}
        arguments = arguments if options else [*arguments, last]
        families.append(getattr(objective, name)(*arguments, **options))

    @jax.jit
    @jax.vmap
    def mapped(family):
        params = family.init(KEY)
        built = family.at(params, 0.5)
        return evaluate(built, OUTPUTS, LABELS), family.penalty(params)

    found, penalties = mapped(stacked(families))
    expected = stacked([evaluate(built_of(f), OUTPUTS, LABELS) for f in families])
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
    expected = [family.penalty(family.init(KEY)) for family in families]
    np.testing.assert_allclose(penalties, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["softmax", "sg_mcel", "sng"])
def test_a_stack_of_weights_is_mapped_over(name):
    built = built_of(FAMILIES[name]())
    stack = jnp.stack([W, -W, 2 * W])
    bound = objective.bind(built, Partial(predict_with, stack))
    axes = jax.tree.map(
        lambda leaf: 0 if jnp.shape(leaf) == stack.shape else None, bound
    )
    found = jax.jit(jax.vmap(lambda c: classify(c, X, LABELS), in_axes=(axes,)))(bound)
    alone = [objective.bind(built, Partial(predict_with, w)) for w in stack]
    expected = stacked([classify(one, X, LABELS) for one in alone])
    chex.assert_trees_all_close(found, expected, atol=1e-5)


@pytest.mark.parametrize("wrap", [lambda f: f, Partial], ids=["function", "Partial"])
def test_bind_composes_with_the_prediction(wrap):
    def predict(x):
        return predict_with(W, x)

    built = built_of(FAMILIES["glvq"]())
    bound = objective.bind(built, wrap(predict))
    outputs = np.log1p(np.exp(np.asarray(X) @ np.asarray(W)))
    chex.assert_trees_all_close(
        classify(bound, X, LABELS),
        evaluate(built, jnp.asarray(outputs), LABELS),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("name", ["softmax", "glvq"])
def test_the_margin_is_of_the_scores_and_has_their_gradient(name):
    built = built_of(FAMILIES[name]())
    bound = objective.bind(built, Partial(predict_with, W))
    scores = np.asarray(classify(bound, X, LABELS)[1])
    margin = jax.jit(bound.margin)
    expected = [
        max(np.delete(row, label)) - row[label]
        for row, label in zip(scores, np.asarray(LABELS), strict=True)
    ]
    np.testing.assert_allclose(margin(X, LABELS), expected, rtol=1e-6)
    check_grads(
        lambda x: margin(jnp.asarray(x), LABELS),
        (np.asarray(X),),
        order=1,
        modes=["rev"],
        eps=1e-3,
        atol=1e-2,
        rtol=1e-2,
    )


def test_what_a_family_leaves_out_is_that_of_one_that_learns_nothing():
    built = built_of(FAMILIES["softmax"]())
    made = core.family(Partial(lambda params, progress: built))
    assert made.init(KEY) == made.learned({}) == {}
    assert made.penalty({}) == 0
    assert core.constant(built).at({}, 0.3) is built
    double = Partial(lambda params: {"double": 2 * params["theta"]})
    made = core.family(made.at, learned=double)
    assert made.learned({"theta": 2.0}) == {"double": 4.0}

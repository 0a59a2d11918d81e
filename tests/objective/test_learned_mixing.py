"""What objectives of logits learn: its start, its slopes, its bounds, its collapse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.test_util import check_grads

from robustlabels import losses, objective

CASES = settings(deadline=None, max_examples=20, derandomize=True)
CLASSES = 4
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(8, CLASSES)) * 2, jnp.float32)
LABELS = jnp.asarray([0, 1, 2, 3, 3, 1, 0, 2], jnp.int32)
SIMILARITY = RNG.uniform(0.1, 1, (CLASSES, CLASSES)) * (1 - np.eye(CLASSES))
SIMILARITY /= SIMILARITY.sum(axis=1, keepdims=True)
ZEROS = np.array(
    [[0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0], [0.0, 0.3, 0.0, 0.7], [0, 0, 1, 0]]
)
LEARNING = {
    "sg_mcel": objective.sg_mcel,
    "sg_mcel clamp": functools.partial(objective.sg_mcel, parametrization="clamp"),
    "gmcel": objective.gmcel,
    "gmcel hinge": functools.partial(objective.gmcel, margin="hinge"),
}


def mixed(similarity, epsilon):
    return (1 - epsilon) * np.eye(CLASSES) + epsilon * similarity


def log_softmax(logits):
    return scipy.special.log_softmax(np.asarray(logits, np.float64), axis=-1)


@jax.jit
def loss_of(built, logits, labels):
    return built.loss(logits, labels)


@jax.jit
def total_of(family, params):
    """What training descends: the mean loss of the examples, and the penalty."""
    loss = family.at(params, 0.5).loss(LOGITS, LABELS)
    return jnp.mean(loss) + family.penalty(params)


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("epsilon", [0.01, 0.2, 0.49])
@pytest.mark.parametrize("similarity", [SIMILARITY, ZEROS], ids=["positive", "zeros"])
def test_learning_starts_as_mcel(name, epsilon, similarity):
    family = LEARNING[name](similarity, epsilon=epsilon)
    params = family.init(KEY)
    targets = family.at(params, 0.0).loss.keywords["targets"]
    np.testing.assert_allclose(targets, mixed(similarity, epsilon), atol=4e-6)
    learned = family.learned(params)
    names = {"epsilon"} | ({"penalized_epsilon"} if "sg" in name else set())
    assert set(learned) == names
    for values in learned.values():
        np.testing.assert_allclose(values, np.full(CLASSES, epsilon), atol=4e-6)
    again = family.init(jax.random.key(1))
    np.testing.assert_array_equal(again["theta"], params["theta"])


def test_the_penalty_of_sg_mcel_is_equation_10_on_epsilon():
    options = {"alpha": 2.0, "beta": 3.0, "gamma": 0.5, "p": 1.5}
    theta = np.array([-0.1, 0.3, 0.5, 1.2], np.float32)
    epsilon = theta.astype(np.float64)
    for parametrization in ("clamp", "sigmoid"):
        if parametrization == "sigmoid":
            epsilon = 0.5 / (1 + np.exp(-epsilon))
        family = objective.sg_mcel(
            SIMILARITY, parametrization=parametrization, **options
        )
        norms = abs(1 - epsilon) + abs(epsilon)
        expected = 2 * np.sum((norms - 1) ** 2)
        expected += 3 * np.sum(abs(epsilon - 0.5) ** 1.5)
        expected += 0.5 * np.sum(abs(epsilon) ** 1.5)
        found = family.penalty({"theta": jnp.asarray(theta)})
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("margin", ["equality", "hinge"])
@pytest.mark.parametrize("c", [None, 0.4])
def test_the_penalty_of_gmcel_is_equation_11_on_its_rows(margin, c):
    options = {"alpha": 2.0, "beta": 3.0, "gamma": 0.5, "eta": 1.5, "p": 1.5}
    family = objective.gmcel(SIMILARITY, epsilon=0.3, margin=margin, c=c, **options)
    if c is None:
        c = 1 - 0.3 - 0.3 / 3 if margin == "equality" else 0.1
    theta = np.random.default_rng(3).normal(size=(CLASSES, CLASSES)).astype(np.float32)
    mixing = scipy.special.softmax(theta.astype(np.float64), axis=1)
    expected = 3 * np.sum(abs(mixing - 1) ** 1.5) + 0.5 * np.sum(mixing**1.5)
    for i in range(CLASSES):
        own, off = mixing[i, i], np.delete(mixing[i], i)
        if margin == "equality":
            expected += 1.5 * (3 * (own - c) - off.sum()) ** 2
        else:
            expected += 1.5 * np.sum(np.maximum(c + off - own, 0) ** 2)
    found = family.penalty({"theta": jnp.asarray(theta)})
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("margin", ["equality", "hinge"])
def test_the_margin_of_gmcel_is_met_at_first(margin):
    off = {"alpha": 0.0, "beta": 0.0, "gamma": 0.0}
    family = objective.gmcel(SIMILARITY, epsilon=0.3, margin=margin, **off)
    np.testing.assert_allclose(family.penalty(family.init(KEY)), 0, atol=1e-10)


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("name", LEARNING)
def test_gradients_of_what_is_learned_match_differences(name, p):
    family = LEARNING[name](SIMILARITY, p=p, beta=0.7)
    start = family.init(KEY)["theta"]
    shift = 0.05 * RNG.normal(size=start.shape)
    theta = np.asarray(start + shift, np.float32)
    check_grads(
        lambda theta: total_of(family, {"theta": jnp.asarray(theta)}),
        (theta,),
        order=1,
        modes=["rev"],
        eps=1e-2,
        atol=1e-2,
        rtol=1e-2,
    )


def test_an_epsilon_descends_by_what_similar_classes_lack():
    """d loss / d ε_y = log f_y - Σ A_yj log f_j, times dε / dθ; no other class's."""
    log_f = log_softmax([1.0, 0.5, -1.0])
    near, far = 1 / (1 + np.e), 1 / (1 + np.e**2)
    a = near / (near + far)
    similarity = np.array([[0, a, 1 - a], [0.5, 0, 0.5], [1 - a, a, 0]])
    expected = np.diag(log_f - similarity @ log_f)
    printed = [0.9606646627, 0.5, -1.6535548876]
    np.testing.assert_allclose(np.diagonal(expected), printed, rtol=1e-9)
    logits = jnp.array([[1.0, 0.5, -1.0]] * 3)
    for parametrization, chain in (("clamp", 1.0), ("sigmoid", 0.5 * 0.4 * 0.6)):
        family = objective.sg_mcel(similarity, parametrization=parametrization)

        def data_term(params, family=family):
            return family.at(params, 0.0).loss(logits, jnp.arange(3))

        slopes = jax.jit(jax.jacrev(data_term))(family.init(KEY))["theta"]
        np.testing.assert_allclose(slopes, chain * expected, rtol=2e-6, atol=1e-7)


ANY = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
SG = {name: LEARNING[name](SIMILARITY) for name in ("sg_mcel", "sg_mcel clamp")}
GM = objective.gmcel(SIMILARITY)


@CASES
@given(theta=arrays(np.float32, CLASSES, elements=ANY))
@pytest.mark.parametrize("name", SG)
def test_epsilon_stays_within_zero_and_one_half(name, theta):
    params = {"theta": jnp.asarray(theta)}
    epsilon = np.asarray(SG[name].learned(params)["epsilon"])
    assert np.all((epsilon >= 0) & (epsilon <= 0.5))
    built = SG[name].at(params, 1.0)
    np.testing.assert_allclose(built.loss.keywords["targets"].sum(axis=1), 1, 1e-6)
    assert np.all(np.asarray(loss_of(built, LOGITS, LABELS)) >= 0)
    penalized = SG[name].learned(params)["penalized_epsilon"]
    expected = theta if "clamp" in name else epsilon
    np.testing.assert_array_equal(penalized, expected)


@CASES
@given(theta=arrays(np.float32, (CLASSES, CLASSES), elements=ANY))
def test_rows_of_gmcel_are_distributions(theta):
    params = {"theta": jnp.asarray(theta)}
    rows = np.asarray(GM.at(params, 1.0).loss.keywords["targets"])
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    assert np.all((rows >= 0) & (rows <= 1))
    epsilon = GM.learned(params)["epsilon"]
    np.testing.assert_allclose(epsilon, 1 - np.diagonal(rows), atol=1e-7)


@pytest.mark.parametrize("parametrization", ["sigmoid", "clamp"])
def test_the_slope_at_the_edges_is_finite(parametrization):
    family = objective.sg_mcel(SIMILARITY, parametrization=parametrization, p=1.0)
    edges = {"theta": jnp.array([0.0, 0.5, -1e30, 1e30])}
    slope = jax.jit(jax.grad(lambda params: total_of(family, params)))(edges)
    assert np.all(np.isfinite(slope["theta"]))


def test_as_printed_the_data_term_has_no_lower_bound_and_clamped_it_has():
    """With ε < 0, the surer the model is, the lower the loss."""
    family = SG["sg_mcel clamp"]
    params = {"theta": jnp.full(CLASSES, -0.1)}
    clamped = family.at(params, 0.0)
    for scale in (1e1, 1e3, 1e5):
        logits = scale * jnp.eye(CLASSES)
        labels, printed = jnp.arange(CLASSES), mixed(SIMILARITY, -0.1)
        found = losses.soft_target_cross_entropy(logits, labels, targets=printed)
        np.testing.assert_allclose(found, -0.1 * scale, rtol=1e-2)
        found = loss_of(clamped, logits, labels)
        expected = -np.diagonal(log_softmax(logits))
        np.testing.assert_allclose(found, expected, atol=1e-3)
    slope = jax.jit(jax.grad(lambda p: family.at(p, 0.0).loss(LOGITS, LABELS).sum()))
    np.testing.assert_array_equal(slope(params)["theta"], 0)
    slope = jax.jit(jax.grad(family.penalty))(params)["theta"]
    # 8 ε + 2 (ε - ½) + 2 ε: it comes back.
    np.testing.assert_allclose(slope, -0.8 - 1.2 - 0.2, rtol=1e-5)


TEN = np.random.default_rng(1).uniform(0.2, 0.5, (10, 10)) * (1 - np.eye(10))
TEN /= TEN.sum(axis=1, keepdims=True)


@jax.jit
def train(family):
    """Free logits of one example a class descend together with what is learned."""
    optimizer, labels = optax.adam(0.1), jnp.arange(10)

    def total(trained):
        logits, params = trained
        loss = family.at(params, 0.5).loss(logits, labels)
        return jnp.mean(loss) + family.penalty(params)

    def step(_, state):
        trained, memory = state
        updates, memory = optimizer.update(jax.grad(total)(trained), memory)
        return optax.apply_updates(trained, updates), memory

    start = jnp.zeros((10, 10)), family.init(KEY)
    state = jax.lax.fori_loop(0, 500, step, (start, optimizer.init(start)))
    logits, params = state[0]
    return logits, family.learned(params)["epsilon"]


@pytest.mark.parametrize("name", ["sg_mcel", "sg_mcel clamp", "gmcel"])
def test_without_penalties_learning_ends_as_plain_cross_entropy(name):
    """Classes that are as separable as can be, and nothing that keeps any mixing."""
    off = {"beta": 0.0, "gamma": 0.0} | ({"eta": 0.0} if name == "gmcel" else {})
    logits, epsilon = train(LEARNING[name](TEN, **off))
    np.testing.assert_array_equal(logits.argmax(axis=1), range(10))
    assert np.all(np.asarray(epsilon) < 0.01)


@pytest.mark.parametrize("name", ["sg_mcel", "sg_mcel clamp"])
def test_with_beta_epsilon_stays_where_loss_and_penalty_balance(name):
    """At the least of the penalty and what the best logits leave, the entropy of q."""

    def left(epsilon, row):
        entropy = scipy.special.entr([1 - epsilon, *(epsilon * row)]).sum()
        return entropy / 10 + (epsilon - 0.5) ** 2 + epsilon**2

    found = [
        scipy.optimize.minimize_scalar(left, bounds=(0.02, 0.5), args=(row,)).x
        for row in TEN
    ]
    logits, epsilon = train(LEARNING[name](TEN))
    assert np.all(np.asarray(epsilon) > 0.1)
    np.testing.assert_allclose(epsilon, found, atol=2e-3)
    q = (1 - np.diag(epsilon)) * np.eye(10) + np.asarray(epsilon)[:, None] * TEN
    np.testing.assert_allclose(jax.nn.softmax(logits), q, atol=2e-3)


def test_one_program_learns_with_any_weights():
    traces = []

    @jax.jit
    def run(family):
        traces.append(family)
        return jax.grad(lambda params: total_of(family, params))(family.init(KEY))

    slopes = [
        run(objective.sg_mcel(SIMILARITY, epsilon=epsilon, beta=beta, p=p))["theta"]
        for epsilon, beta, p in [(0.1, 0.0, 1.0), (0.3, 2.0, 2.0)]
    ]
    assert len(traces) == 1
    assert not np.allclose(*slopes, atol=1e-3)

"""Penalties on learned mixing against NumPy loops and where they vanish."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from robustlabels import losses

CASES = settings(deadline=None, max_examples=15, derandomize=True)
SIMILARITY = np.array([[0.0, 0.7, 0.3], [0.5, 0.0, 0.5], [0.3, 0.7, 0.0]], np.float32)
RNG = np.random.default_rng(0)
EPSILONS = jnp.asarray(RNG.uniform(-0.5, 1.5, (6, 3)), jnp.float32)
MIXINGS = jnp.asarray(RNG.uniform(-0.5, 1.5, (6, 3, 3)), jnp.float32)
C = jnp.array([0.1, 0.3, 0.6])
WEIGHTS = {"alpha": 0.7, "beta": 1.3, "gamma": 0.4}


def sg(epsilons, **options):
    return losses.sg_mcel_penalty(epsilons, similarity=SIMILARITY, **options)


SG = jax.jit(sg)
GM = {
    name: jax.jit(functools.partial(losses.gmcel_penalty, margin=name))
    for name in ("equality", "hinge")
}


def only(name, names=("alpha", "beta", "gamma")):
    return {other: float(other == name) for other in names}


@pytest.mark.parametrize(
    ("epsilons", "p", "terms"),
    [
        ([0.1, 0.2, 0.4], 2.0, [0.0, 0.26, 0.21]),
        ([0.1, 0.2, 0.4], 1.0, [0.0, 0.8, 0.7]),
        ([-0.1, 0.2, 0.4], 2.0, [0.04, 0.46, 0.21]),
        ([0.1, 0.2, 1.3], 2.0, [0.36, 0.89, 1.74]),
    ],
)
def test_equation_10_worked_out_by_hand(epsilons, p, terms):
    epsilons = jnp.array(epsilons)
    found = [SG(epsilons, p=p, **only(name)) for name in ("alpha", "beta", "gamma")]
    np.testing.assert_allclose(found, terms, rtol=2e-6, atol=1e-12)
    np.testing.assert_allclose(SG(epsilons, p=p), sum(terms), rtol=2e-6)


def test_equation_11_worked_out_by_hand():
    e = np.e
    near, far = 1 / (1 + e), 1 / (1 + e**2)
    a = near / (near + far)
    similarity = np.array([[0.0, a, 1 - a], [0.5, 0.0, 0.5], [1 - a, a, 0.0]])
    mixing = losses.sg_mcel_targets(similarity, np.array([0.1, 0.2, 0.4], np.float32))
    names = ("alpha", "beta", "gamma", "eta")
    found = [GM["equality"](mixing, c=0.3, **only(name, names)) for name in names]
    expected = [0, 4.9276502572, 1.9276502572, 1.89]
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-12)
    np.testing.assert_allclose(GM["equality"](mixing, c=0.3), sum(expected), rtol=2e-6)


def power(x, p):
    return sum(abs(entry) ** p for entry in np.ravel(x))


def sg_by_hand(epsilons, p, alpha, beta, gamma):
    epsilons, rows = np.asarray(epsilons, np.float64), 0.0
    for i in range(3):
        row = epsilons[i] * SIMILARITY[i].astype(np.float64)
        row[i] = 1 - epsilons[i]
        rows += (sum(abs(row)) - 1) ** 2
    return alpha * rows + beta * power(epsilons - 0.5, p) + gamma * power(epsilons, p)


def gm_by_hand(mixing, p, margin, alpha, beta, gamma, eta):
    mixing, missed = np.asarray(mixing, np.float64), 0.0
    for i, c in enumerate(np.asarray(C)):
        off = [mixing[i, j] for j in range(3) if j != i]
        if margin == "equality":
            missed += (2 * (mixing[i, i] - c) - sum(off)) ** 2
        else:
            missed += sum(max(0.0, c + e - mixing[i, i]) ** 2 for e in off)
    rows = sum((mixing[i].sum() - 1) ** 2 for i in range(3))
    pulls = beta * power(mixing - 1, p) + gamma * power(mixing, p)
    return alpha * rows + pulls + eta * missed


def gm(mixing, **options):
    return losses.gmcel_penalty(mixing, c=C, **options)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_penalties_match_loops(p):
    options = {"p": p, **WEIGHTS}
    cases = [(sg, EPSILONS, options, [sg_by_hand(e, **options) for e in EPSILONS])]
    for margin in GM:
        more = {**options, "margin": margin, "eta": 2.0}
        by_hand = [gm_by_hand(mixing, **more) for mixing in MIXINGS]
        cases.append((gm, MIXINGS, more, by_hand))
    for function, inputs, more, expected in cases:
        penalty = functools.partial(function, **more)
        found = penalty(inputs[0]), jax.jit(penalty)(inputs[1])
        np.testing.assert_allclose(found, expected[:2], rtol=1e-5)
        found = jax.jit(jax.vmap(penalty))(inputs)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_gradients_match_differences(p):
    cases = [(SG, EPSILONS[0]), *((f, MIXINGS[0]) for f in GM.values())]
    for penalty, at in cases:
        options = {"p": p, **WEIGHTS} | ({} if penalty is SG else {"c": C})
        check_grads(
            lambda x, f=penalty, options=options: f(jnp.asarray(x), **options),
            (at,),
            order=1,
            modes=["rev"],
            eps=1e-2,
            atol=1e-2,
            rtol=1e-2,
        )


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_kinks_have_a_finite_slope_between_those_at_their_sides(p):
    """At ε of 0 and 1/2, and entries of E of 0 and 1; p may be traced."""
    edges, mixing = jnp.array([0.0, 0.5, 0.25]), jnp.eye(3)
    by_epsilons = jax.grad(sg)
    by_entries = jax.grad(lambda e, p: losses.gmcel_penalty(e, c=1.0, p=p))

    @jax.jit
    def slopes(shift, p):
        return by_epsilons(edges + shift, p=p), by_entries(mixing + shift, p)

    below, at, above = (slopes(shift, p) for shift in (-1e-6, 0.0, 1e-6))
    for low, slope, high in zip(below, at, above, strict=True):
        assert np.all((low - 1e-3 <= slope) & (slope <= high + 1e-3))
    fixed = jax.jit(lambda: by_epsilons(edges, p=p))()
    np.testing.assert_allclose(fixed, at[0], rtol=1e-6, atol=1e-7)


@CASES
@given(epsilons=st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3))
def test_the_term_of_row_sums_never_acts_within_zero_and_one(epsilons):
    assert SG(jnp.array(epsilons), p=2.0, **only("alpha")) < 1e-12


def test_beyond_it_is_a_soft_box():
    for epsilon, expected in [(-0.5, 4 * 0.25), (-0.1, 0.04), (1.5, 4 * 0.25)]:
        found = SG(jnp.array([epsilon, 0.2, 0.3]), p=2.0, **only("alpha"))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("beta", "gamma"), [(1.0, 1.0), (3.0, 1.0), (0.5, 0.0)])
@pytest.mark.parametrize("pull", [0.0, 0.3])
def test_the_stationary_point_is_found_by_descent(beta, gamma, pull):
    """With p = 2: ½ β / (β + γ) - G / (2 (β + γ)), G the slope of the data term."""

    @jax.jit
    def descend(epsilons, beta, gamma, pull):
        slope = jax.grad(lambda e: pull * e.sum() + sg(e, beta=beta, gamma=gamma))
        step = 0.2 / (beta + gamma)
        return jax.lax.fori_loop(0, 60, lambda _, e: e - step * slope(e), epsilons)

    found = descend(jnp.array([0.01, 0.3, 0.49]), beta, gamma, pull)
    expected = 0.5 * beta / (beta + gamma) - pull / (2 * (beta + gamma))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_of_equal_weights_and_p_1_it_is_a_trough():
    """Level on [0, 1/2], with slopes of ∓2β outside: exact if 2β exceeds G."""
    weights = {"p": 1.0, "alpha": 0.0, "beta": 0.8, "gamma": 0.8}
    inside = [SG(jnp.full(3, e), **weights) for e in (0.0, 0.1, 0.37, 0.5)]
    np.testing.assert_allclose(inside, 3 * 0.8 * 0.5, rtol=1e-6)
    slope = jax.jit(jax.grad(functools.partial(sg, **weights)))
    found = slope(jnp.array([-0.1, 0.2, 0.7]))
    np.testing.assert_allclose(found, [-1.6, 0, 1.6], atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_equality_margin_vanishes_on_one_diagonal_only(classes):
    """At (1 + (k - 1) c) / k; a larger diagonal is penalised, but not by the hinge."""
    c = 0.3
    met = (1 + (classes - 1) * c) / classes
    names = ("alpha", "beta", "gamma", "eta")

    def both(diagonal):
        rest = (1 - diagonal) / (classes - 1)
        mixing = jnp.eye(classes) * (diagonal - rest) + rest
        return [GM[m](mixing, c=c, **only("eta", names)) for m in ("equality", "hinge")]

    np.testing.assert_allclose(both(met), 0, atol=1e-10)
    equality, hinge = both(met + 0.1)
    np.testing.assert_allclose(equality, classes * (0.1 * classes) ** 2, rtol=1e-4)
    assert hinge == 0
    equality, hinge = both(met - 0.1)
    short = 0.1 * classes / (classes - 1)
    np.testing.assert_allclose(equality, classes * (0.1 * classes) ** 2, rtol=1e-4)
    expected = classes * (classes - 1) * short**2
    np.testing.assert_allclose(hinge, expected, rtol=1e-4)


def test_three_classes_of_margin_three_tenths():
    mixing = jnp.eye(3) * 0.3 + 0.7 / 3
    np.testing.assert_allclose(np.diagonal(mixing), 0.53333, atol=1e-5)
    np.testing.assert_allclose(mixing[0, 1], 0.23333, atol=1e-5)
    found = GM["equality"](mixing, c=0.3, alpha=0.0, beta=0.0, gamma=0.0)
    np.testing.assert_allclose(found, 0, atol=1e-10)


def test_the_equality_margin_is_of_the_mean_and_not_of_the_largest():
    """A row that prefers another class passes as printed, and fails the hinge."""
    mixing = jnp.array([[0.4, 0.6, 0.0], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4]])
    off = {"alpha": 0.0, "beta": 0.0, "gamma": 0.0}
    equality, hinge = (GM[m](mixing, c=0.1, **off) for m in ("equality", "hinge"))
    np.testing.assert_allclose(equality, 0, atol=1e-10)
    np.testing.assert_allclose(hinge, 0.3**2, rtol=1e-5)


def test_of_distributions_beta_and_gamma_pull_to_the_uniform_matrix():
    """With p = 2 they are (β + γ) ‖E‖² and a constant."""
    mixing = np.random.default_rng(0).dirichlet(np.ones(3), 3).astype(np.float32)
    off = {"alpha": 0.0, "eta": 0.0, "c": 0.3}
    found = GM["equality"](jnp.asarray(mixing), beta=0.7, gamma=0.4, **off)
    expected = 1.1 * np.sum(mixing**2) + 0.7 * (9 - 2 * 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_many_weights_are_mapped_over():
    betas = jnp.array([0.0, 0.5, 2.0])
    found = jax.jit(jax.vmap(lambda beta: sg(EPSILONS[0], beta=beta, p=1.0)))(betas)
    expected = [sg_by_hand(EPSILONS[0], 1.0, 1.0, beta, 1.0) for beta in betas]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


WEIGHT = r" is outside \[0, inf\)\. A weight of a penalty is not negative; 0 leaves it"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, r"alpha=-1\.0" + WEIGHT),
        ({"beta": -0.5}, r"beta=-0\.5" + WEIGHT),
        ({"gamma": float("nan")}, "gamma=nan" + WEIGHT),
        ({"p": 0.5}, r"p=0\.5 is outside \[1, inf\)\. 1 and 2 are usual\."),
    ],
    ids=str,
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sg(EPSILONS[0], **options)
    with pytest.raises(ValueError, match=message):
        gm(MIXINGS[0], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eta": -1.0}, r"eta=-1\.0" + WEIGHT),
        ({"margin": "both"}, "margin='both' is unknown; .*'equality', 'hinge'"),
        ({"c": 1.5}, r"c=1\.5 is outside \[0, 1\]\. It is a difference of two entries"),
        ({"c": -C}, r"an entry of c=-0\.1\d* is outside \[0, 1\]"),
    ],
    ids=str,
)
def test_what_is_out_of_range_of_the_margin_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        losses.gmcel_penalty(MIXINGS[0], **{"c": 0.3, **options})

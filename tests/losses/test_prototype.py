"""Prototype losses against NumPy loops, closed forms, limits and sklvq."""

import functools
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from robustlabels import losses

OWN = np.array([0, 0, 1, 1, 1, 2, 3])
TRANSFORMS = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "vmap": lambda f: lambda d, y: jax.vmap(f)(d[:, None], y[:, None])[:, 0],
}
SNG = {
    "sng": losses.sng,
    "sng_correct": losses.sng_correct,
    "sng_pooled": losses.sng_pooled,
    "sng_softmin": losses.sng_softmin,
}


def example(seed=0, batch=9, own=OWN):
    rng = np.random.default_rng(seed)
    distances = rng.uniform(0.1, 2.0, (batch, len(own))).astype(np.float32)
    return distances, rng.integers(0, own.max() + 1, batch).astype(np.int32)


def mu(near, far):
    return (near - far) / (near + far)


def glvq_by_hand(distances, labels, own):
    out = []
    for d, y in zip(distances.astype(np.float64), labels, strict=True):
        out.append(mu(min(d[own == y]), min(d[own != y])))
    return np.array(out)


def sng_by_hand(name, distances, labels, own, tau, phi=lambda x: x):
    """The four definitions, one example and one prototype at a time."""
    out = []
    for d, y in zip(distances.astype(np.float64), labels, strict=True):
        mine, others = sorted(d[own == y]), sorted(d[own != y])
        among = mine if name == "sng_correct" else others
        h = np.exp(-tau * np.arange(len(among)))
        if name == "sng_softmin":
            h = np.exp(-tau * np.array(among))
        h /= h.sum()
        if name == "sng_correct":
            terms = [phi(mu(dj, others[0])) for dj in mine]
        elif name == "sng_pooled":
            terms, h = [phi(mu(mine[0], h @ np.array(others)))], np.ones(1)
        else:
            terms = [phi(mu(mine[0], dj)) for dj in others]
        out.append(h @ np.array(terms))
    return np.array(out)


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_glvq_matches_the_definition(transform):
    distances, labels = example()
    loss = functools.partial(losses.glvq, prototype_labels=jnp.array(OWN))
    chex.assert_trees_all_close(
        transform(loss)(jnp.array(distances), jnp.array(labels)),
        glvq_by_hand(distances, labels, OWN).astype(np.float32),
        rtol=1e-5,
    )


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("tau", [0.0, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("name", SNG)
def test_sng_matches_the_definition(name, tau, transform):
    distances, labels = example(1)
    loss = functools.partial(
        SNG[name],
        prototype_labels=jnp.array(OWN),
        tau=tau,
        phi=functools.partial(losses.exponential, gamma=2.0),
    )
    expected = sng_by_hand(
        name, distances, labels, OWN, tau, phi=lambda x: np.exp(2 * x)
    )
    chex.assert_trees_all_close(
        transform(loss)(jnp.array(distances), jnp.array(labels)),
        expected.astype(np.float32),
        rtol=1e-5,
    )


@pytest.mark.parametrize("tau", [0.05, 1.0, 10.0])
def test_sng_with_many_prototypes_matches_the_definition(tau):
    own = np.repeat(np.arange(30), 3)
    distances, labels = example(2, own=own)
    loss = jax.jit(functools.partial(losses.sng, prototype_labels=jnp.array(own)))
    chex.assert_trees_all_close(
        loss(jnp.array(distances), jnp.array(labels), tau=tau),
        sng_by_hand("sng", distances, labels, own, tau).astype(np.float32),
        rtol=1e-5,
    )


@settings(deadline=None, max_examples=25, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), many=st.booleans())
def test_sng_is_the_mean_at_tau_zero_and_glvq_at_infinity(seed, many):
    own = np.repeat(np.arange(10), 10 if many else 2)
    distances, labels = map(jnp.array, example(seed, own=own))
    own = jnp.array(own)
    loss = JITTED_SNG
    d_plus = jnp.min(distances, -1, where=own[None] == labels[:, None], initial=9.0)
    terms = (d_plus[:, None] - distances) / (d_plus[:, None] + distances)
    mean = jnp.mean(terms, -1, where=own[None] != labels[:, None])
    chex.assert_trees_all_close(
        loss(distances, labels, prototype_labels=own, tau=0.0), mean, atol=2e-6
    )
    chex.assert_trees_all_close(
        loss(distances, labels, prototype_labels=own, tau=1e4),
        losses.glvq(distances, labels, prototype_labels=own),
        rtol=1e-6,
    )


JITTED_SNG = jax.jit(losses.sng)


@pytest.mark.parametrize("own", [OWN, np.repeat(np.arange(10), 9)], ids=len)
@pytest.mark.parametrize("tau", [0.0, 0.1, 3.0, 30.0])
def test_sng_weights_sum_to_one(own, tau):
    distances, labels = example(3, own=own)
    ones = losses.sng(
        jnp.array(distances),
        jnp.array(labels),
        prototype_labels=jnp.array(own),
        tau=tau,
        phi=jnp.ones_like,
    )
    chex.assert_trees_all_close(ones, jnp.ones_like(ones), rtol=1e-5)


@pytest.mark.parametrize("prototypes", [4, 80])
def test_equal_distances_weigh_alike(prototypes):
    own = jnp.arange(prototypes)
    distances = jnp.full((1, prototypes), 2.0).at[0, 0].set(1.0)
    loss = functools.partial(losses.sng, prototype_labels=own, tau=1.0)
    gradient = jax.grad(lambda d: loss(d, jnp.array([0])).sum())(distances)
    assert np.unique(np.asarray(gradient)[0, 1:]).size == 1


@settings(deadline=None, max_examples=50, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3))
def test_relative_distance_is_bounded_signed_and_scale_free(seed, scale):
    distances, labels = example(seed)
    own = jnp.array(OWN)
    value = losses.relative_distance(
        jnp.array(distances), jnp.array(labels), prototype_labels=own
    )
    assert jnp.all(jnp.abs(value) <= 1)
    right = OWN[distances.argmin(-1)] == labels
    assert np.array_equal(np.asarray(value) < 0, right)
    scaled = losses.relative_distance(
        jnp.array(distances * np.float32(scale)),
        jnp.array(labels),
        prototype_labels=own,
    )
    chex.assert_trees_all_close(value, scaled, atol=1e-6)


def test_relative_distance_is_zero_where_both_distances_are():
    def loss(distances):
        return losses.relative_distance(
            distances, jnp.array([0]), prototype_labels=jnp.array([0, 1])
        ).sum()

    value, gradient = jax.value_and_grad(loss)(jnp.zeros((1, 2)))
    assert value == 0
    assert jnp.all(jnp.isfinite(gradient))


def test_the_gradient_of_mu_is_the_corrected_one():
    def loss(distances):
        return losses.relative_distance(
            distances, jnp.array([0]), prototype_labels=jnp.array([0, 1])
        ).sum()

    gradient = jax.grad(loss)(jnp.array([[1.7, 0.9]]))
    chex.assert_trees_all_close(
        gradient, jnp.array([[0.2662721893, -0.5029585799]]), rtol=1e-6
    )


@pytest.mark.parametrize("name", [*SNG, "glvq"])
def test_gradients_match_finite_differences(name):
    distances, labels = example(4, batch=3)
    bound = {} if name == "glvq" else {"tau": 0.7}

    def loss(d):
        return getattr(losses, name)(
            jnp.asarray(d), jnp.array(labels), prototype_labels=jnp.array(OWN), **bound
        )

    check_grads(
        loss,
        (distances,),
        order=1,
        modes=["fwd", "rev"],
        eps=1e-3,
        atol=1e-2,
        rtol=1e-2,
    )


def test_confidence_falls_as_both_distances_grow():
    expected = {0.0: 0.5, 10.0: 0.08333, 100.0: 0.0098039, 1e4: 1e-4}
    for added, value in expected.items():
        result = losses.relative_distance(
            jnp.array([[1.0, 3.0]]) + added,
            jnp.array([0]),
            prototype_labels=jnp.array([0, 1]),
        )
        np.testing.assert_allclose(-result, value, rtol=1e-3)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_squared_distances_match_numpy(transform):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(5, 7)), rng.normal(size=(3, 7))
    expected = [[np.sum((a - b) ** 2) for b in w] for a in x]
    result = transform(losses.squared_distances)(
        jnp.array(x, jnp.float32), jnp.array(w, jnp.float32)
    )
    chex.assert_trees_all_close(result, np.array(expected, np.float32), rtol=1e-5)
    batched = jax.vmap(losses.squared_distances, in_axes=(0, None))(
        jnp.array(x, jnp.float32)[:, None], jnp.array(w, jnp.float32)
    )
    chex.assert_trees_all_close(batched[:, 0], result, rtol=1e-6)


def test_squared_distances_do_not_cancel():
    rng = np.random.default_rng(0)
    w = (1000 + rng.normal(size=(4, 50))).astype(np.float32)
    x = (w[:1] + 1e-3 * rng.normal(size=(6, 50))).astype(np.float32)
    exact = np.sum((x[:, None].astype(np.float64) - w[None]) ** 2, -1)
    result = np.asarray(losses.squared_distances(jnp.array(x), jnp.array(w)))
    np.testing.assert_allclose(result, exact, rtol=1e-5)
    assert np.all(result >= 0)
    same = losses.squared_distances(jnp.array(w), jnp.array(w))
    np.testing.assert_array_equal(np.diag(same), 0)


def test_squared_distances_derivatives_are_exact():
    rng = np.random.default_rng(1)
    x, w, g = (rng.normal(size=s) for s in [(5, 7), (3, 7), (5, 3)])

    def total(x, w):
        return jnp.sum(losses.squared_distances(x, w) * jnp.array(g, jnp.float32))

    dx, dw = jax.grad(total, (0, 1))(
        jnp.array(x, jnp.float32), jnp.array(w, jnp.float32)
    )
    difference = 2 * (x[:, None] - w[None]) * g[..., None]
    np.testing.assert_allclose(dx, difference.sum(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dw, -difference.sum(0), rtol=1e-4, atol=1e-4)
    check_grads(
        lambda a, b: losses.squared_distances(jnp.asarray(a), jnp.asarray(b)),
        (x.astype(np.float32), w.astype(np.float32)),
        order=2,
        modes=["fwd", "rev"],
        atol=5e-2,
        rtol=5e-2,
        eps=1e-2,
    )


@pytest.mark.parametrize("name", SNG)
@pytest.mark.parametrize("tau", [-1.0, float("nan")])
def test_a_bad_tau_is_refused(name, tau):
    distances, labels = example()
    with pytest.raises(ValueError, match=r"tau=(-1\.0|nan) is outside \[0, inf\)"):
        SNG[name](
            jnp.array(distances),
            jnp.array(labels),
            prototype_labels=jnp.array(OWN),
            tau=tau,
        )


@pytest.mark.parametrize(
    ("activation", "phi"),
    [
        ("identity", losses.identity),
        ("sigmoid", losses.sigmoid),
        ("soft-plus", losses.softplus),
        ("swish", losses.swish),
    ],
)
def test_glvq_equals_sklvq_in_value_and_gradient(activation, phi):
    pytest.importorskip("sklvq", reason="sklvq comes with the extra `peers`")
    from sklvq.distances import SquaredEuclidean
    from sklvq.objectives import GeneralizedLearningObjective

    rng = np.random.default_rng(5)
    data, prototypes = rng.normal(size=(40, 6)), rng.normal(size=(len(OWN), 6))
    labels = rng.integers(0, 4, 40)
    distance = SquaredEuclidean()

    def add_partial_gradient(gradient, part, index):
        gradient.reshape(prototypes.shape)[index] += part

    model = types.SimpleNamespace(
        prototypes_=prototypes,
        prototypes_labels_=OWN,
        force_all_finite=True,
        _distance=distance,
        get_variables=lambda: prototypes,
        get_model_params=lambda: prototypes,
        add_partial_gradient=add_partial_gradient,
    )
    oracle = GeneralizedLearningObjective(activation, {}, "relative-distance", {})

    def total(w):
        distances = losses.squared_distances(jnp.array(data, jnp.float32), w)
        return losses.glvq(
            distances, jnp.array(labels), prototype_labels=jnp.array(OWN), phi=phi
        ).sum()

    value, gradient = jax.value_and_grad(total)(jnp.array(prototypes, jnp.float32))
    np.testing.assert_allclose(value, oracle(model, data, labels), rtol=1e-5)
    np.testing.assert_allclose(
        gradient.ravel(),
        oracle.gradient(model, data, labels),
        rtol=1e-4,
        atol=1e-5,
    )

"""Optimisers against NumPy, several steps long, and what weight decay touches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from robustlabels import models
from robustlabels.training import optimizers

RNG = np.random.default_rng(0)
PARAMS = {
    "model": {"kernel": RNG.normal(size=(3, 2)), "bias": RNG.normal(size=2)},
    "objective": {"slope": RNG.normal(size=())},
}
GRADIENTS = [jax.tree.map(lambda p: RNG.normal(size=p.shape), PARAMS) for _ in range(5)]


def rate(t):
    return 0.1 / (1 + t)


def sgd(p, gradients, decay, *, momentum=0.9, nesterov=False):
    velocity = 0.0
    for t, g in enumerate(gradients):
        g = g + decay * p
        velocity = momentum * velocity + g
        p = p - rate(t) * (g + momentum * velocity if nesterov else velocity)
    return p


def adam(p, gradients, decay, *, b1=0.9, b2=0.999, eps=1e-8, decoupled=False):
    m = v = 0.0
    for t, g in enumerate(gradients):
        g = g if decoupled else g + decay * p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        m_hat, v_hat = m / (1 - b1 ** (t + 1)), v / (1 - b2 ** (t + 1))
        pull = decay * p if decoupled else 0.0
        p = p - rate(t) * (m_hat / (np.sqrt(v_hat) + eps) + pull)
    return p


def adamw(p, gradients, decay, **options):
    return adam(p, gradients, decay, decoupled=True, **options)


CASES = [
    ("sgd", sgd, {"momentum": 0.0}),
    ("sgd", sgd, {"momentum": 0.8, "weight_decay": 0.3}),
    ("sgd", sgd, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.3}),
    ("sgd", sgd, {}),
    ("adam", adam, {}),
    ("adam", adam, {"b1": 0.5, "b2": 0.9, "eps": 0.1, "weight_decay": 0.3}),
    ("adamw", adamw, {"weight_decay": 0.3}),
    ("adamw", adamw, {"b1": 0.0, "b2": 0.5, "eps": 0.1, "weight_decay": 2.0}),
]


@pytest.mark.parametrize("num_steps", [1, 5])
@pytest.mark.parametrize(("name", "by_hand", "options"), CASES)
def test_steps_equal_the_definition(name, by_hand, options, num_steps):
    optimizer = getattr(optimizers, name)(rate, **options)
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), PARAMS)
    state = optimizer.init(params)
    for gradient in GRADIENTS[:num_steps]:
        gradient = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), gradient)
        updates, state = optimizer.update(gradient, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    others = dict(options)
    decay = others.pop("weight_decay", 0.0)
    for group, leaf in (("model", "kernel"), ("model", "bias"), ("objective", "slope")):
        expected = by_hand(
            PARAMS[group][leaf],
            [gradient[group][leaf] for gradient in GRADIENTS[:num_steps]],
            decay if leaf == "kernel" else 0.0,
            **others,
        )
        np.testing.assert_allclose(params[group][leaf], expected, rtol=1e-5, atol=1e-6)


def test_adamw_decays_by_default_and_the_others_do_not():
    params = {"kernel": jnp.ones(2)}
    zero = {"kernel": jnp.zeros(2)}
    for name, expected in (("sgd", 0.0), ("adam", 0.0), ("adamw", -1e-4)):
        optimizer = getattr(optimizers, name)(1.0)
        updates, _ = optimizer.update(zero, optimizer.init(params), params)
        np.testing.assert_allclose(updates["kernel"], expected)


PARTS = {"conv", "dense", "omega", "linear", "scale", "bias", "prototypes", "epsilon"}


@pytest.fixture(scope="module")
def networks():
    """The parameters of networks with every kind of layer, none of them zero."""
    rngs, shape = nnx.Rngs(0), (4, 4, 1)
    encoders = [
        models.CNN(shape, widths=(2,), features=3, norm="batch", rngs=rngs),
        models.MLP(shape, widths=(3, 3), rngs=rngs),
        models.LinearMap(shape, features=3, use_bias=True, rngs=rngs),
    ]
    heads = [models.Prototypes, models.Softmax, models.Prototypes]
    made = [
        models.Network(encoder, head(3, 3, rngs=rngs), mean=(0.5,), std=(0.5,))
        for encoder, head in zip(encoders, heads, strict=True)
    ]
    params = [nnx.state(network, nnx.Param) for network in made]
    return jax.tree.map(lambda p: np.asarray(p) + 1.0, params)


@pytest.mark.parametrize("name", optimizers.__all__)
def test_decay_pulls_the_kernels_of_networks_and_nothing_else(name, networks):
    optimizer = getattr(optimizers, name)(1.0, weight_decay=0.5)
    params = {"model": networks, "objective": {"epsilon": np.ones(3, np.float32)}}

    @jax.jit
    def update(params):
        zero = jax.tree.map(jnp.zeros_like, params)
        return optimizer.update(zero, optimizer.init(params), params)[0]

    seen = set()
    for path, change in jax.tree.leaves_with_path(update(params)):
        text = jax.tree_util.keystr(path)
        seen |= {word for word in PARTS if word in text}
        assert np.any(np.asarray(change) != 0) == ("'kernel'" in text), text
    assert seen == PARTS


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sgd", {"momentum": 1.5}, r"momentum=1.5 is outside \[0, 1\]"),
        ("sgd", {"momentum": -0.1}, "momentum=-0.1 is outside"),
        ("sgd", {"weight_decay": -1e-4}, r"weight_decay=-0.0001 is outside \[0, inf\)"),
        ("adam", {"weight_decay": float("nan")}, "weight_decay=nan is outside"),
        ("adamw", {"weight_decay": -1.0}, "weight_decay=-1.0 is outside"),
        ("adam", {"b1": 1.0}, "b1=1.0 is outside .* 0.9 and 0.999 are usual"),
        ("adamw", {"b2": -0.1}, "b2=-0.1 is outside"),
        ("adam", {"eps": 0.0}, "eps=0.0 is outside .* 1e-8 is usual"),
        ("adamw", {"eps": -1e-8}, "eps=-1e-08 is outside"),
    ],
)
def test_values_out_of_range_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(optimizers, name)(0.1, **options)

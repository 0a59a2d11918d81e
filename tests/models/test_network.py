"""The whole model, used the way training and attacks use it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from robustlabels.models import CNN, MLP, LinearMap, Network, Prototypes, Softmax

SHAPE = (8, 9, 2)
MEAN, STD = (0.4, 0.5), (0.2, 0.3)
X = jnp.asarray(np.random.default_rng(0).uniform(size=(6, *SHAPE)), jnp.float32)
ENCODERS = {
    "mlp": lambda rngs, **kw: MLP(SHAPE, widths=(7, 4), norm="batch", rngs=rngs, **kw),
    "cnn": lambda rngs, **kw: CNN(
        SHAPE, widths=(3, 4), features=4, norm="batch", rngs=rngs, **kw
    ),
    "linear": lambda rngs, **kw: LinearMap(SHAPE, features=4, rngs=rngs, **kw),
}


def build(name="cnn", head=Prototypes, seed=0, **kw):
    rngs = nnx.Rngs(seed)
    encoder = ENCODERS[name](rngs, **kw)
    return Network(encoder, head(4, 3, rngs=rngs), mean=MEAN, std=STD)


@pytest.mark.parametrize("head", [Softmax, Prototypes])
@pytest.mark.parametrize("name", ENCODERS)
def test_network_is_normalisation_encoder_head(name, head):
    model = build(name, head)
    outputs, activations = model(X)
    normalised = (np.asarray(X) - np.array(MEAN)) / np.array(STD)
    embedding, layers = model.encoder(jnp.asarray(normalised, jnp.float32))
    np.testing.assert_allclose(outputs, model.head(embedding), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(activations["embedding"], embedding, atol=1e-5)
    np.testing.assert_array_equal(model.embed(X), activations["embedding"])
    assert list(activations) == [*layers, "embedding"]


@pytest.mark.parametrize("name", ENCODERS)
def test_outputs_are_float32_whatever_the_encoder_computes_in(name):
    model = build(name, dtype="bfloat16")
    outputs, activations = model(X)
    assert outputs.dtype == model.embed(X).dtype == jnp.float32
    assert next(iter(activations.values())).dtype == jnp.bfloat16


def test_activations_keep_their_order_through_jit():
    rngs = nnx.Rngs(0)
    encoder = MLP(SHAPE, widths=(2,) * 11, rngs=rngs)
    model = Network(encoder, Softmax(2, 3, rngs=rngs), mean=MEAN, std=STD)
    graphdef, state = nnx.split(model)
    activations = jax.jit(lambda s: nnx.merge(graphdef, s)(X)[1])(state)
    assert list(activations) == [f"dense_{i}" for i in range(1, 12)] + ["embedding"]


@pytest.mark.parametrize("name", ENCODERS)
def test_the_static_half_is_the_same_for_every_seed(name):
    first, second = (nnx.split(build(name, seed=seed))[0] for seed in (0, 1))
    assert first == second
    assert hash(first) == hash(second)


def test_what_is_trained_and_what_is_not():
    _, params, statistics, rest = nnx.split(build(), nnx.Param, nnx.BatchStat, ...)
    names = {path[-1] for path, _ in nnx.to_flat_state(params)}
    assert names == {"kernel", "scale", "bias", "prototypes"}
    paths = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(rest)]
    assert sorted(paths) == ["normalize.mean", "normalize.std"]
    assert {path[-1] for path, _ in nnx.to_flat_state(statistics)} == {"mean", "var"}


def train_step(graphdef, params, rest, x):
    def loss(params):
        model = nnx.merge(graphdef, params, rest, copy=True)
        outputs, _ = model(x, train=True)
        return outputs.mean(), nnx.state(model, nnx.Not(nnx.Param))

    gradient, rest = jax.grad(loss, has_aux=True)(params)
    return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient), rest


@pytest.mark.parametrize("name", ENCODERS)
def test_scan_trains_and_updates_statistics_as_single_steps_do(name):
    graphdef, params, rest = nnx.split(build(name), nnx.Param, ...)
    batches = jnp.stack([X, X[::-1] ** 2, X**3])

    @jax.jit
    def in_scan(params, rest, batches):
        def body(carry, x):
            return train_step(graphdef, *carry, x), None

        return jax.lax.scan(body, (params, rest), batches)[0]

    stepped, step = (params, rest), jax.jit(train_step, static_argnums=0)
    for batch in batches:
        stepped = step(graphdef, *stepped, batch)
    scanned = in_scan(params, rest, batches)
    chex.assert_trees_all_close(scanned, stepped, rtol=1e-4, atol=1e-5)
    if name != "linear":
        before, after = (nnx.to_flat_state(s) for s in (rest, scanned[1]))
        changed = {
            path[-2:]
            for (path, old), (_, new) in zip(before, after, strict=True)
            if not np.array_equal(old[...], new[...])
        }
        assert changed == {("norm", "mean"), ("norm", "var")}


@pytest.mark.parametrize("name", ENCODERS)
def test_vmap_over_stacked_models_equals_one_after_the_other(name):
    halves = [nnx.split(build(name, seed=s), nnx.Param, ...) for s in (0, 1, 2)]
    graphdef = halves[0][0]
    params, rest = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(half[i] for half in halves))
        for i in (1, 2)
    )

    def step(params, rest):
        return train_step(graphdef, params, rest, X)

    stacked = jax.jit(jax.vmap(step))(params, rest)
    single = jax.jit(step)
    one_by_one = [single(half[1], half[2]) for half in halves]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one)
    chex.assert_trees_all_close(stacked, expected, rtol=1e-4, atol=1e-5)


def test_evaluation_changes_no_statistics():
    model = build()
    before = jax.tree.map(np.array, nnx.state(model))
    model(X)
    chex.assert_trees_all_equal(jax.tree.map(np.array, nnx.state(model)), before)


def test_a_wrong_image_shape_names_both():
    with pytest.raises(
        ValueError, match=r"\(9, 8, 2\), and this model takes \(8, 9, 2"
    ):
        build()(jnp.zeros((1, 9, 8, 2)))


def test_parts_that_do_not_fit_are_named():
    rngs = nnx.Rngs(0)
    encoder = ENCODERS["mlp"](rngs)
    with pytest.raises(ValueError, match=r"gives 4 features and the head takes 5"):
        Network(encoder, Softmax(5, 3, rngs=rngs), mean=MEAN, std=STD)
    with pytest.raises(ValueError, match=r"has 1 entries, the image has 2 channels"):
        Network(encoder, Softmax(4, 3, rngs=rngs), mean=(0.1,), std=(0.1,))

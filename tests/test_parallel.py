"""The mesh: what is split, what is everywhere, and that nobody can tell the results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from robustlabels import attacks, objective, parallel

RNG = np.random.default_rng(0)
W = RNG.normal(size=(6, 3)).astype(np.float32)
X = RNG.uniform(size=(8, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 8).astype(np.int32)
SIZES = [1, 2]


def mesh_of(size):
    assert jax.device_count() >= size
    return parallel.make_mesh(jax.devices()[:size])


def shares(array):
    """What lies on each device, in order of the devices."""
    placed = sorted(array.addressable_shards, key=lambda shard: shard.device.id)
    return [np.asarray(shard.data) for shard in placed]


def test_a_mesh_is_of_all_devices_unless_told():
    assert parallel.make_mesh().devices.tolist() == jax.devices()
    assert parallel.make_mesh().axis_names == ("data",)
    assert mesh_of(1).devices.tolist() == jax.devices()[:1]


@pytest.mark.parametrize("devices", SIZES)
def test_a_size_is_rounded_up_as_little_as_possible(devices):
    mesh = mesh_of(devices)
    for size in range(1, 12):
        fits = [n for n in range(size, size + devices) if n % devices == 0]
        assert [parallel.rounded_up(size, mesh)] == fits


@pytest.mark.parametrize("size", [0, -2, 1.5, True])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match=rf"size={size} is not a whole number of at"):
        parallel.rounded_up.__wrapped__(size, mesh_of(2))


@pytest.mark.parametrize("devices", SIZES)
def test_what_is_replicated_is_whole_on_every_device(devices):
    tree = {"a": X, "b": [np.float32(3.0), jax.random.key(1)]}
    placed = parallel.replicate(tree, mesh_of(devices))
    assert len(shares(placed["a"])) == devices
    for share in shares(placed["a"]):
        np.testing.assert_array_equal(share, X)
    assert placed["b"][0] == 3
    assert placed["b"][1] == jax.random.key(1)
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(placed))


@pytest.mark.parametrize("devices", SIZES)
def test_what_is_split_lies_in_pieces_in_order(devices):
    placed = parallel.split({"x": X, "y": Y}, mesh_of(devices))
    for name, whole in [("x", X), ("y", Y)]:
        np.testing.assert_array_equal(placed[name], whole)
        pieces = np.split(whole, devices)
        for share, piece in zip(shares(placed[name]), pieces, strict=True):
            np.testing.assert_array_equal(share, piece)


def test_an_uneven_split_is_refused():
    with pytest.raises(ValueError, match="evenly divide"):
        parallel.split(X[:3], mesh_of(2))


@pytest.mark.parametrize("examples", [8, 5, 1])
@pytest.mark.parametrize("devices", SIZES)
def test_a_mean_over_a_constrained_batch_is_that_of_all(devices, examples):
    mesh = mesh_of(devices)
    x, y = X[:examples], jnp.asarray(Y[:examples])

    @jax.jit
    def mean_loss(w, x):
        x = parallel.constrain(x, mesh)
        logits = jnp.tanh(x - x.mean(0, keepdims=True)) @ w
        return objective.softmax().at({}, 0.0).loss(logits, y).mean()

    logits = np.tanh(x - x.astype(np.float64).mean(0)) @ W
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(p[np.arange(examples), y]).mean()
    inputs = np.tanh(x - x.astype(np.float64).mean(0))
    gradient = inputs.T @ (p - np.eye(3)[y]) / examples
    value, got = jax.value_and_grad(mean_loss)(W, x)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(got, gradient, atol=1e-6)


def test_a_constrained_batch_is_computed_on_all_devices():
    mesh = mesh_of(2)
    doubled = jax.jit(lambda x: 2 * parallel.constrain(x, mesh))(X)
    assert [share.shape for share in shares(doubled)] == [(4, 6), (4, 6)]
    np.testing.assert_array_equal(doubled, 2 * X)


@pytest.mark.parametrize("devices", SIZES)
def test_a_function_of_examples_gets_its_share(devices):
    seen = []

    def function(shared, x, y):
        seen.append((shared["w"].shape, x["image"].shape, y.shape))
        return {"scores": x["image"] @ shared["w"], "first": y + 0 * y[0]}, y.sum()[
            None
        ]

    on_all = jax.jit(parallel.per_example(function, mesh_of(devices)))
    result, sums = on_all({"w": W}, {"image": X}, Y)
    assert set(seen) == {((6, 3), (8 // devices, 6), (8 // devices,))}
    np.testing.assert_allclose(result["scores"], X @ W, atol=1e-6)
    np.testing.assert_array_equal(result["first"], Y)
    np.testing.assert_array_equal(sums, [part.sum() for part in np.split(Y, devices)])
    assert len(shares(result["scores"])) == devices


@pytest.mark.parametrize("devices", SIZES)
def test_typed_keys_belong_to_their_examples(devices):
    keys = jax.random.split(jax.random.key(5), 8)

    def noise(scale, keys):
        return scale * jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys), keys

    got, same = jax.jit(parallel.per_example(noise, mesh_of(devices)))(2.0, keys)
    expected = [2 * np.asarray(jax.random.normal(key, (3,))) for key in keys]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert jnp.array_equal(jax.random.key_data(same), jax.random.key_data(keys))


def predict(w, x):
    return jnp.tanh(x) @ w


def test_a_classifier_is_shared_and_an_attack_is_the_same_on_any_mesh():
    traces = []

    def attack(classifier, x, y, epsilon, keys):
        traces.append(x.shape)
        return attacks.pgd(
            classifier.loss,
            x,
            y,
            epsilon=epsilon,
            num_steps=4,
            step_size=epsilon / 3,
            key=keys,
        )

    family = objective.glvq([0, 1, 2])
    epsilon = np.linspace(0, 0.3, 8, dtype=np.float32)
    keys = jax.random.split(jax.random.key(5), 8)

    def classifier(w):
        return objective.bind(family.at({}, 0.0), Partial(predict, jnp.abs(w)))

    whole = jax.jit(attack)(classifier(W), X, Y, epsilon, keys)
    assert np.abs(whole - X).max() > 0.2
    for devices in SIZES:
        on_all = jax.jit(parallel.per_example(attack, mesh_of(devices)))
        result = on_all(classifier(W), X, Y, epsilon, keys)
        np.testing.assert_allclose(result, whole, atol=1e-6)
        compiled = len(traces)
        other = on_all(classifier(-2 * W[::-1]), X, Y, epsilon, keys)
        assert len(traces) == compiled
        assert not np.allclose(other, whole, atol=1e-2)


def test_examples_that_the_devices_cannot_share_are_refused():
    halved = parallel.per_example(lambda half, x: half * x, mesh_of(2))
    with pytest.raises(ValueError, match="evenly divide"):
        halved(0.5, X[:5])
    np.testing.assert_array_equal(halved(0.5, X), X / 2)

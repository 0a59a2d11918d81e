"""One small net as a function, in Flax NNX, Flax Linen and Equinox: one attack."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from foolbox_oracle import foolbox_model
from jax.tree_util import Partial

from robustlabels import attacks, interop, objective, parallel
from robustlabels.evaluation import budgets

SHAPE, CLASSES = (3, 4, 1), 5
SIZES = (12, 8, CLASSES)
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(8, *SHAPE)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, CLASSES, 8), jnp.int32)
KEYS = jax.random.split(jax.random.key(3), 8)
SOFTMAX = objective.softmax().at({}, 1.0)


def drawn(seed):
    """(kernel, bias) of each layer."""
    rng = np.random.default_rng(seed)
    return [
        (
            jnp.asarray(rng.normal(size=shape) / np.sqrt(shape[0]), jnp.float32),
            jnp.asarray(rng.normal(size=shape[1]) / 4, jnp.float32),
        )
        for shape in itertools.pairwise(SIZES)
    ]


def flatten(x):
    return x.reshape(len(x), -1)


def plain(weights, x):
    (w1, b1), (w2, b2) = weights
    return jnp.tanh(flatten(x) @ w1 + b1[None]) @ w2 + b2[None]


def with_nnx(weights):
    layers = [
        nnx.Linear(*shape, rngs=nnx.Rngs(0)) for shape in itertools.pairwise(SIZES)
    ]
    for layer, (kernel, bias) in zip(layers, weights, strict=True):
        layer.kernel[...], layer.bias[...] = kernel, bias
    net = nnx.Sequential(flatten, layers[0], nnx.tanh, layers[1])
    return Partial(nnx.Sequential.__call__, net)


LINEN = linen.Sequential(
    [flatten, linen.Dense(SIZES[1]), linen.tanh, linen.Dense(SIZES[2])]
)


def with_linen(weights):
    variables = LINEN.init(jax.random.key(0), X)
    for name, (kernel, bias) in zip(["layers_1", "layers_3"], weights, strict=True):
        layer = variables["params"][name]
        assert (layer["kernel"].shape, layer["bias"].shape) == (
            kernel.shape,
            bias.shape,
        )
        variables["params"][name] = {"kernel": kernel, "bias": bias}
    return Partial(LINEN.apply, variables)


def apply_equinox(net, x):
    return jax.vmap(lambda image: net(image.reshape(-1)))(x)


def with_equinox(weights):
    net = eqx.nn.MLP(*SIZES[::2], SIZES[1], 1, jnp.tanh, key=jax.random.key(0))
    for i, (kernel, bias) in enumerate(weights):
        new = kernel.T, bias
        net = eqx.tree_at(
            lambda n, i=i: (n.layers[i].weight, n.layers[i].bias), net, new
        )
    return Partial(apply_equinox, net)


PREDICTIONS = {
    "function": lambda weights: Partial(plain, weights),
    "nnx": with_nnx,
    "linen": with_linen,
    "equinox": with_equinox,
}


def jitted(function, library):
    return eqx.filter_jit(function) if library == "equinox" else jax.jit(function)


def attack(classifier, x, y, keys):
    return attacks.pgd(
        classifier.margin, x, y, epsilon=0.1, num_steps=5, step_size=0.03, key=keys
    )


@pytest.fixture(scope="module")
def function():
    """The function as a classifier, and its adversarial images."""
    classifier = objective.bind(SOFTMAX, Partial(plain, drawn(1)))
    x_adv = jax.jit(attack)(classifier, X, Y, KEYS)
    assert np.all(classifier.margin(x_adv, Y) > classifier.margin(X, Y))
    return classifier, x_adv


@pytest.mark.parametrize("library", ["nnx", "linen", "equinox"])
def test_equal_weights_get_the_same_adversarial_images(library, function):
    classifier = objective.bind(SOFTMAX, PREDICTIONS[library](drawn(1)))
    np.testing.assert_allclose(classifier.scores(X), function[0].scores(X), atol=1e-6)
    x_adv = jitted(attack, library)(classifier, X, Y, KEYS)
    np.testing.assert_allclose(x_adv, function[1], atol=1e-6)


@pytest.mark.parametrize("library", PREDICTIONS)
def test_new_weights_are_no_new_compile(library):
    traces = []

    def scores(classifier, x):
        traces.append(x)
        return classifier.scores(x)

    compiled = jitted(scores, library)
    for weights in [drawn(1), drawn(2)]:
        classifier = objective.bind(SOFTMAX, PREDICTIONS[library](weights))
        expected = plain(weights, X)
        np.testing.assert_allclose(compiled(classifier, X), expected, atol=1e-6)
    assert len(traces) == 1


@pytest.mark.parametrize("library", PREDICTIONS)
def test_the_weights_of_every_library_go_over_the_mesh(library, function):
    classifier = objective.bind(SOFTMAX, PREDICTIONS[library](drawn(1)))
    arrays, others = eqx.partition(classifier, eqx.is_array)

    def on_share(arrays, x, y, keys):
        return attack(eqx.combine(arrays, others), x, y, keys)

    on_all = jax.jit(parallel.per_example(on_share, parallel.make_mesh()))
    np.testing.assert_allclose(on_all(arrays, X, Y, KEYS), function[1], atol=1e-6)


CLASSIFIER = objective.bind(SOFTMAX, Partial(plain, drawn(1)))
RIGHT = jnp.argmax(CLASSIFIER.scores(X), axis=-1)


def test_an_attack_is_called_as_foolbox_calls_it():
    with foolbox_model(CLASSIFIER.scores) as (foolbox, model):
        theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False)
        expected = theirs(model, X, RIGHT, epsilons=[0.05, 0.2])
    found = interop.call(
        budgets.fgsm(), CLASSIFIER, X, RIGHT, epsilons=[0.05, 0.2], loss="own"
    )
    for ours, others in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(np.stack(ours), np.stack(others), atol=1e-6)
    np.testing.assert_array_equal(found[2], expected[2])
    assert 0 < np.mean(found[2]) < 1
    raw, clipped, is_adv = interop.call(
        budgets.fgsm(), CLASSIFIER, X, RIGHT, epsilons=0.2
    )
    np.testing.assert_array_equal(raw, found[0][1])
    np.testing.assert_array_equal(is_adv, found[2][1])
    assert clipped.shape == X.shape


def test_a_search_is_called_as_foolbox_calls_it():
    search = budgets.deepfool()
    raw, clipped, is_adv = interop.call(search, CLASSIFIER, X, RIGHT, epsilons=None)
    assert np.all(is_adv)
    np.testing.assert_array_equal(raw, clipped)
    distances = np.sqrt(np.sum(np.asarray(raw - X) ** 2, axis=(1, 2, 3)))
    middle = float(np.median(distances))
    _, clipped, is_adv = interop.call(search, CLASSIFIER, X, RIGHT, epsilons=[middle])
    moved = np.sqrt(np.sum(np.asarray(clipped[0] - X) ** 2, axis=(1, 2, 3)))
    assert np.all(moved <= middle + 1e-6)
    np.testing.assert_array_equal(is_adv[0], distances <= middle)
    with pytest.raises(ValueError, match="epsilons=None is for searches"):
        interop.call(budgets.fgsm(), CLASSIFIER, X, RIGHT, epsilons=None)


def test_a_classifier_is_a_model_of_foolbox():
    with foolbox_model(CLASSIFIER.scores) as (foolbox, model):
        ours = interop.to_foolbox(CLASSIFIER)
        share = foolbox.accuracy(ours, X, RIGHT), foolbox.accuracy(model, X, Y)
    assert share == (1.0, float(np.mean(RIGHT == Y)))


def test_a_classifier_is_a_model_of_art():
    pytest.importorskip("art")
    evasion = pytest.importorskip("art.attacks.evasion")
    model = interop.to_art(CLASSIFIER, SHAPE)
    np.testing.assert_allclose(
        model.predict(np.asarray(X)), CLASSIFIER.scores(X), atol=1e-6
    )
    theirs = evasion.FastGradientMethod(model, eps=0.1)
    x_adv = theirs.generate(np.asarray(X), np.asarray(jax.nn.one_hot(RIGHT, CLASSES)))
    expected = attacks.fgsm(CLASSIFIER.loss, X, RIGHT, epsilon=0.1)
    np.testing.assert_allclose(x_adv, expected, atol=1e-6)

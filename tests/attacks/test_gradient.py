"""Gradient attacks against closed forms and NumPy loops, under every transform."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foolbox_oracle import foolbox_model, of_foolbox
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, PartitionSpec
from jax.tree_util import Partial
from jaxtyping import TypeCheckError

from robustlabels import attacks
from robustlabels.attacks import geometry

BATCH, SHAPE, CLASSES = 8, (4, 4, 3), 4
NORMS = ["linf", "l2"]
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(BATCH, *SHAPE)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, CLASSES, BATCH), jnp.int32)
W1 = RNG.normal(size=(48, 16)).astype(np.float32) / 4
W2 = RNG.normal(size=(16, CLASSES)).astype(np.float32)
KEY = jax.random.key(7)
KEYS = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(BATCH))
EPSILON = jnp.asarray(RNG.uniform(0.05, 0.3, BATCH), jnp.float32)


def loss_with(w1, w2, x, y):
    logits = jnp.tanh(x.reshape(len(x), -1) @ w1) @ w2
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)[:, 0]


loss_fn = Partial(loss_with, jnp.asarray(W1), jnp.asarray(W2))


def gradient_by_hand(x, y):
    """Back-propagation of `loss_fn` for one image, in double precision."""
    hidden = np.tanh(x.reshape(-1) @ W1.astype(np.float64))
    logits = hidden @ W2.astype(np.float64)
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    probabilities[y] -= 1
    return (W1 @ ((1 - hidden**2) * (W2 @ probabilities))).reshape(x.shape)


def kurakin_by_hand(x, y, epsilon, num_steps, step_size):
    """x ← clip(x + α sign ∇) into the ball, then into the box, an image at a time."""
    out = []
    for image, label, e, a in zip(
        np.asarray(x, np.float64),
        np.asarray(y),
        np.broadcast_to(epsilon, x.shape).astype(np.float64),
        np.broadcast_to(step_size, x.shape).astype(np.float64),
        strict=True,
    ):
        z = image
        for _ in range(num_steps):
            z = z + a * np.sign(gradient_by_hand(z, label))
            z = np.minimum(np.maximum(z, image - e), image + e)
            z = np.minimum(np.maximum(z, 0), 1)
        out.append(z)
    return np.array(out)


def linear(w):
    return lambda x, y: jnp.sum(x * w, axis=range(1, x.ndim))


def l2(x):
    return np.sqrt((np.asarray(x, np.float64) ** 2).sum(tuple(range(1, x.ndim))))


def pgd(loss, x, y, *, epsilon, step_size, key=None, **static):
    """`attacks.pgd`, compiled as one: faster here than one operation at a time."""
    attack = jax.jit(functools.partial(attacks.pgd, loss, **static))
    return attack(x, y, epsilon=epsilon, step_size=step_size, key=key)


WEIGHTS = RNG.normal(size=(1, *SHAPE)).astype(np.float32)
WEIGHTS[0, 0] = 0


@pytest.mark.parametrize("epsilon", [0.02, 8 / 255, 0.3, 1.0])
def test_fgsm_is_exact_on_a_linear_loss(epsilon):
    x_adv = attacks.fgsm(linear(jnp.asarray(WEIGHTS)), X, Y, epsilon=epsilon)
    x, w = np.asarray(X, np.float64), WEIGHTS.astype(np.float64)
    highest = np.where(w > 0, np.minimum(x + epsilon, 1), np.maximum(x - epsilon, 0))
    reached = (w * np.asarray(x_adv)).sum((1, 2, 3))
    np.testing.assert_allclose(reached, (w * highest).sum((1, 2, 3)), rtol=1e-5)
    rng = np.random.default_rng(1)
    for sharpness in [1.0, 50.0]:
        delta = epsilon * np.clip(
            sharpness * rng.uniform(-1, 1, (500, *x.shape)), -1, 1
        )
        others = (w * np.clip(x + delta, 0, 1)).sum((2, 3, 4))
        assert np.all(others <= reached + 1e-5)
    assert (x + epsilon > 1).any() == (np.asarray(x_adv) == 1).any()


def test_fgsm_is_not_clipped_within_infinite_bounds():
    x_adv = attacks.fgsm(
        linear(jnp.asarray(WEIGHTS)), X, Y, epsilon=3.0, bounds=(-np.inf, np.inf)
    )
    np.testing.assert_allclose(x_adv, X + 3 * np.sign(WEIGHTS), rtol=1e-6)
    assert x_adv.max() > 3
    assert x_adv.min() < -2


def test_other_bounds_hold_too():
    x = 2 * X - 1
    x_adv = attacks.fgsm(
        linear(jnp.asarray(WEIGHTS)), x, Y, epsilon=1.5, bounds=(-1.0, 1.0)
    )
    expected = np.clip(np.asarray(x) + 1.5 * np.sign(WEIGHTS), -1, 1)
    np.testing.assert_allclose(x_adv, expected, rtol=1e-6)


def test_fgsm_is_one_step_of_pgd():
    one = attacks.pgd(loss_fn, X, Y, epsilon=0.1, num_steps=1, step_size=0.1)
    chex.assert_trees_all_equal(attacks.fgsm(loss_fn, X, Y, epsilon=0.1), one)


@pytest.mark.parametrize("key", [None, KEY], ids=["from x", "random start"])
def test_linf_pgd_reaches_the_corner_on_a_linear_loss(key):
    x_adv = pgd(
        linear(jnp.asarray(WEIGHTS)),
        X,
        Y,
        epsilon=0.3,
        num_steps=30,
        step_size=0.025,
        key=key,
    )
    live = np.broadcast_to(WEIGHTS != 0, X.shape)
    corner = np.clip(np.asarray(X) + 0.3 * np.sign(WEIGHTS), 0, 1)
    np.testing.assert_allclose(np.asarray(x_adv)[live], corner[live], atol=1e-6)


@pytest.mark.parametrize("key", [None, KEY], ids=["from x", "random start"])
def test_l2_pgd_reaches_the_steepest_point_on_a_linear_loss(key):
    x = 0.4 + 0.2 * X
    x_adv = pgd(
        linear(jnp.asarray(WEIGHTS)),
        x,
        Y,
        epsilon=0.35,
        num_steps=60,
        step_size=0.1,
        norm="l2",
        key=key,
    )
    steepest = np.asarray(x) + 0.35 * WEIGHTS / np.linalg.norm(WEIGHTS)
    assert steepest.min() > 0
    assert steepest.max() < 1
    np.testing.assert_allclose(x_adv, steepest, atol=1e-4)


def test_linf_pgd_finds_the_top_of_a_concave_quadratic():
    top = np.random.default_rng(2).uniform(-0.2, 1.2, X.shape).astype(np.float32)
    curvature = np.random.default_rng(3).uniform(0.1, 9, X.shape).astype(np.float32)

    def quadratic(x, y):
        return -jnp.sum(curvature * (x - top) ** 2, axis=(1, 2, 3))

    x_adv = pgd(quadratic, X, Y, epsilon=0.2, num_steps=60, step_size=0.005)
    low, high = np.maximum(X - 0.2, 0), np.minimum(X + 0.2, 1)
    np.testing.assert_allclose(x_adv, np.clip(top, low, high), atol=0.0051)


def test_l2_pgd_finds_the_top_of_a_concave_quadratic():
    rng = np.random.default_rng(2)
    x = 0.4 + 0.2 * np.asarray(X)
    way = rng.normal(size=X.shape)
    distance = np.array([0.05, 0.1, 0.2, 0.25, 0.5, 0.7, 0.8, 0.9]).reshape(-1, 1, 1, 1)
    way *= distance / l2(way).reshape(-1, 1, 1, 1)
    top = jnp.asarray(x + way, jnp.float32)

    def quadratic(x, y):
        return -jnp.sum((x - top) ** 2, axis=(1, 2, 3))

    x_adv = pgd(
        quadratic,
        jnp.asarray(x),
        Y,
        epsilon=0.3,
        num_steps=80,
        step_size=0.01,
        norm="l2",
    )
    nearest = x + way * np.minimum(1, 0.3 / distance)
    assert np.all(l2(np.asarray(x_adv) - nearest) <= 0.011)


def test_pgd_without_a_key_is_the_method_of_kurakin():
    x_adv = pgd(loss_fn, X, Y, epsilon=0.1, num_steps=7, step_size=0.03)
    expected = kurakin_by_hand(X, Y, 0.1, 7, 0.03)
    np.testing.assert_allclose(x_adv, expected, atol=1e-6)
    assert np.all(loss_fn(x_adv, Y) > loss_fn(X, Y))


SHAPES = {
    "number": (),
    "[batch]": (BATCH,),
    "[1, 1, C]": (1, 1, 3),
    "[C]": (3,),
    "[H, W, C]": SHAPE,
    "[batch, 1, 1, 1]": (BATCH, 1, 1, 1),
    "[1, H, 1, 1]": (1, 4, 1, 1),
    "[batch, H, W, C]": (BATCH, *SHAPE),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_sizes_of_every_shape_mean_what_they_say(shape):
    rng = np.random.default_rng(4)
    epsilon = rng.uniform(0.02, 0.2, shape).astype(np.float32)
    step_size = rng.uniform(0.01, 0.1, shape).astype(np.float32)
    full = epsilon, step_size
    if shape == (BATCH,):
        full = [size.reshape(BATCH, 1, 1, 1) for size in full]
    x_adv = pgd(
        loss_fn, X, Y, epsilon=epsilon, num_steps=3, step_size=jnp.asarray(step_size)
    )
    expected = kurakin_by_hand(X, Y, full[0], 3, full[1])
    np.testing.assert_allclose(x_adv, expected, atol=1e-6)


def test_accumulated_gradients_are_those_of_all_steps_so_far():
    expected = []
    for image, label in zip(np.asarray(X, np.float64), np.asarray(Y), strict=True):
        z, total = image, np.zeros_like(image)
        for _ in range(5):
            total = total + gradient_by_hand(z, label)
            z = np.clip(z + 0.04 * np.sign(total), image - 0.1, image + 0.1)
            z = np.clip(z, 0, 1)
        expected.append(z)
    options = {"epsilon": 0.1, "num_steps": 5, "step_size": 0.04}
    found = attacks.pgd(loss_fn, X, Y, accumulate=True, **options)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    plain = attacks.pgd(loss_fn, X, Y, **options)
    assert np.any(np.asarray(plain) != np.asarray(found))


@pytest.mark.parametrize("norm", NORMS)
def test_momentum_sums_decayed_gradients_of_one_length(norm):
    epsilon = {"linf": 0.1, "l2": 0.6}[norm]
    expected = []
    for image, label in zip(np.asarray(X, np.float64), np.asarray(Y), strict=True):
        z, momentum = image, np.zeros_like(image)
        for _ in range(5):
            gradient = gradient_by_hand(z, label)
            momentum = 0.9 * momentum + gradient / abs(gradient).sum()
            if norm == "linf":
                delta = z + 0.4 * epsilon * np.sign(momentum) - image
                delta = np.clip(delta, -epsilon, epsilon)
            else:
                step = momentum / np.linalg.norm(momentum)
                delta = z + 0.4 * epsilon * step - image
                delta *= min(1, epsilon / np.linalg.norm(delta))
            z = np.clip(image + delta, 0, 1)
        expected.append(z)
    sizes = {"epsilon": epsilon, "step_size": 0.4 * epsilon}
    found = pgd(loss_fn, X, Y, num_steps=5, norm=norm, momentum=0.9, **sizes)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def logits(x):
    return jnp.tanh(x.reshape(len(x), -1) @ W1) @ W2


def test_fgsm_is_that_of_foolbox_to_the_bit():
    with foolbox_model(logits) as (foolbox, model):
        attack = foolbox.attacks.LinfFastGradientAttack(random_start=False)
        expected, _ = of_foolbox(foolbox, attack, model, X, Y, epsilons=0.1)
    free = attacks.fgsm(loss_fn, X, Y, epsilon=0.1, bounds=(-np.inf, np.inf))
    # Foolbox projects a point that is in the ball already, which rounds once more.
    x, size = np.asarray(X), np.float32(0.1)
    projected = x + np.clip(np.asarray(free) - x, -size, size)
    np.testing.assert_array_equal(np.clip(projected, 0, 1), expected)
    found = attacks.fgsm(loss_fn, X, Y, epsilon=0.1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_without_a_random_start_is_the_basic_iterative_method_of_foolbox(norm):
    name = {"linf": "Linf", "l2": "L2"}[norm] + "BasicIterativeAttack"
    with foolbox_model(logits) as (foolbox, model):
        attack = getattr(foolbox.attacks, name)(
            abs_stepsize=0.03, steps=10, random_start=False
        )
        expected, _ = of_foolbox(foolbox, attack, model, X, Y, epsilons=0.1)
    options = {"epsilon": 0.1, "step_size": 0.03, "norm": norm}
    found = pgd(loss_fn, X, Y, num_steps=10, **options)
    np.testing.assert_allclose(found, expected, atol={"linf": 1e-6, "l2": 1e-5}[norm])


def test_pgd_fools_as_many_as_that_of_foolbox():
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(1000, *SHAPE)), jnp.float32)
    y = jnp.argmax(logits(x), axis=-1).astype(jnp.int32)
    with foolbox_model(logits) as (foolbox, model):
        attack = foolbox.attacks.LinfPGD(abs_stepsize=0.03, steps=10)
        _, success = of_foolbox(foolbox, attack, model, x, y, epsilons=0.15)
    options = {"epsilon": 0.15, "step_size": 0.03, "key": KEY}
    found = pgd(loss_fn, x, y, num_steps=10, **options)
    fooled = np.mean(np.asarray(logits(found)).argmax(-1) != y)
    assert 0.2 < fooled < 0.8
    assert abs(fooled - success.mean()) < 0.02


def test_mi_fgsm_is_that_of_foolbox():
    with foolbox_model(logits) as (foolbox, model):

        class MIFGSM(foolbox.attacks.LinfMomentumIterativeFastGradientMethod):
            """Foolbox sums signs, where the paper sums gradients of L1 norm 1."""

            def normalize(self, gradients, *, x, bounds):
                return gradients / gradients.abs().sum((1, 2, 3), keepdims=True)

        attack = MIFGSM(momentum=0.8, rel_stepsize=0.1, steps=10)
        expected, _ = of_foolbox(foolbox, attack, model, X, Y, epsilons=0.1)
    found = attacks.mi_fgsm(loss_fn, X, Y, epsilon=0.1, momentum=0.8)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-37, 1e37])
def test_momentum_does_not_know_the_scale_of_the_loss(scale):
    loss = linear(scale * jnp.sign(WEIGHTS))
    found = attacks.mi_fgsm(loss, X, Y, epsilon=0.1, num_steps=2)
    chex.assert_trees_all_close(found, attacks.fgsm(loss, X, Y, epsilon=0.1), atol=1e-6)
    assert not np.array_equal(found, X)


def test_an_l2_size_per_channel_is_an_ellipsoid():
    epsilon = np.array([0.0, 0.1, 0.3], np.float32)
    x = 0.4 + 0.2 * X
    x_adv = pgd(
        linear(jnp.asarray(WEIGHTS)),
        x,
        Y,
        epsilon=epsilon,
        num_steps=4,
        step_size=epsilon / 2,
        norm="l2",
    )
    scaled = epsilon * WEIGHTS
    furthest = np.asarray(x) + epsilon * scaled / np.linalg.norm(scaled)
    np.testing.assert_allclose(x_adv, furthest, atol=1e-6)
    chex.assert_trees_all_equal(x_adv[..., 0], x[..., 0])


@pytest.mark.parametrize("name", ["epsilon", "step_size"])
def test_a_size_that_could_be_two_things_is_refused(name):
    sizes = {"epsilon": 0.1, "step_size": 0.1} | {name: jnp.full(3, 0.1)}
    with pytest.raises(ValueError, match=rf"{name} of shape \(3,\) could be one an ex"):
        attacks.pgd(loss_fn, X[:3], Y[:3], num_steps=1, **sizes)
    sizes[name] = jnp.full((3, 1, 1, 1), 0.1)
    run = functools.partial(attacks.pgd, loss_fn, num_steps=1, **sizes)
    assert jax.eval_shape(run, X[:3], Y[:3]).shape == (3, *SHAPE)


@pytest.mark.parametrize("shape", [(5,), (2, 4, 4, 3), (4, 3, 3), (1, 8, 4, 4, 3)])
def test_a_size_that_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match="fits neither 8 examples nor images of shape"):
        attacks.fgsm(loss_fn, X, Y, epsilon=jnp.full(shape, 0.1))


@pytest.mark.parametrize(("norm", "keys"), [("linf", None), ("l2", KEYS)], ids=NORMS)
def test_an_example_has_the_same_result_alone(norm, keys):
    run = jax.jit(
        functools.partial(attacks.pgd, loss_fn, num_steps=3, step_size=0.05, norm=norm)
    )
    together = run(X, Y, epsilon=EPSILON, key=keys)
    for i in range(BATCH):
        key = None if keys is None else keys[i, None]
        alone = run(X[i : i + 1], Y[i : i + 1], epsilon=EPSILON[i], key=key)
        chex.assert_trees_all_close(together[i], alone[0], atol=1e-6)


@pytest.mark.parametrize(("norm", "key"), [("linf", None), ("l2", KEY)], ids=NORMS)
def test_a_curve_of_traced_epsilons_is_that_of_concrete_ones(norm, key):
    def at(epsilon, key):
        return attacks.pgd(
            loss_fn,
            X,
            Y,
            epsilon=epsilon,
            num_steps=3,
            step_size=epsilon / 2,
            norm=norm,
            key=key,
        )

    epsilons = jnp.array([0.0, 0.03, 0.2])
    curve = jax.jit(lambda es, key: jax.vmap(at, (0, None))(es, key))(epsilons, key)
    traced = jax.jit(at)
    one_by_one = jnp.stack([traced(epsilon, key) for epsilon in epsilons])
    chex.assert_trees_all_close(curve, one_by_one, atol=1e-6)
    in_turn = jax.jit(lambda es, key: jax.lax.map(lambda e: at(e, key), es))
    chex.assert_trees_all_close(curve, in_turn(epsilons, key), atol=1e-6)
    concrete = jax.jit(lambda key: at(0.2, key))(key)
    chex.assert_trees_all_close(curve[2], concrete, atol=1e-6)


@pytest.mark.parametrize("key", [None, KEY], ids=["from x", "random start"])
@pytest.mark.parametrize("norm", NORMS)
def test_epsilon_zero_changes_nothing(norm, key):
    x = X.at[0, 0, 0].set(jnp.array([0.0, 1.0, 0.5]))
    x_adv = pgd(
        loss_fn, x, Y, epsilon=0, num_steps=2, step_size=0.1, norm=norm, key=key
    )
    chex.assert_trees_all_equal(x_adv, x)


@pytest.mark.parametrize("norm", NORMS)
def test_a_gradient_of_zero_moves_nothing(norm):
    x_adv = pgd(
        lambda x, y: jnp.zeros(len(x)),
        X,
        Y,
        epsilon=0.1,
        num_steps=2,
        step_size=0.1,
        norm=norm,
    )
    chex.assert_trees_all_equal(x_adv, X)


@pytest.mark.parametrize("scale", [1e-37, 1e37])
@pytest.mark.parametrize("norm", NORMS)
def test_the_scale_of_the_loss_does_not_matter(norm, scale):
    x = 0.4 + 0.2 * X

    def run(scale):
        loss = linear(scale * jnp.sign(WEIGHTS))
        return pgd(loss, x, Y, epsilon=0.1, num_steps=2, step_size=0.01, norm=norm)

    chex.assert_trees_all_close(run(scale), run(1.0), atol=1e-6)
    assert np.all(l2(run(scale) - x) > 0.019)


@functools.partial(jax.jit, static_argnames=("norm", "keyed"))
def jitted_pgd(x, epsilon, step_size, key, norm, keyed):
    return attacks.pgd(
        loss_fn,
        x,
        Y,
        epsilon=epsilon,
        num_steps=3,
        step_size=step_size,
        norm=norm,
        key=key if keyed else None,
    )


SIZES = st.one_of(
    st.just(0.0), st.floats(0, 1, width=32), st.floats(0, 2**-20, width=32)
)


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    epsilon=st.lists(SIZES, min_size=BATCH, max_size=BATCH),
    step_size=st.one_of(SIZES, st.floats(1, 1e6, width=32)),
    seed=st.integers(0, 2**31 - 1),
)
def test_pgd_stays_in_the_ball_and_the_box(norm, keyed, epsilon, step_size, seed):
    rng = np.random.default_rng(seed)
    x = np.clip(rng.uniform(-0.3, 1.3, X.shape), 0, 1).astype(np.float32)
    x_adv = np.asarray(
        jitted_pgd(
            jnp.asarray(x),
            jnp.asarray(epsilon, jnp.float32),
            step_size,
            jax.random.key(seed),
            norm,
            keyed,
        )
    )
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    delta = x_adv.astype(np.float64) - x
    length = l2(delta) if norm == "l2" else abs(delta).max((1, 2, 3))
    assert np.all(length <= np.array(epsilon) * (1 + 1e-5) + 1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_a_key_starts_somewhere_in_the_ball_and_always_there(norm):
    def start(key):
        iteration = attacks.pgd_iteration(
            loss_fn, epsilon=0.2, num_steps=1, step_size=0.1, norm=norm, key=key
        )
        return np.asarray(iteration.init(X, Y).x_adv)

    first = start(KEY)
    delta = first - np.asarray(X)
    length = l2(delta) if norm == "l2" else abs(delta).max((1, 2, 3))
    assert np.all(length <= 0.2 + 1e-6)
    assert np.all(length > 0.1)
    assert len({row.tobytes() for row in delta}) == BATCH
    np.testing.assert_array_equal(first, start(KEY))
    np.testing.assert_array_equal(first, start(KEYS))
    assert not np.array_equal(first, start(jax.random.key(8)))


TABLE = {
    "fgsm": lambda x, y, e, k: attacks.fgsm(loss_fn, x, y, epsilon=e),
    "pgd linf": lambda x, y, e, k: attacks.pgd(
        loss_fn, x, y, epsilon=e, num_steps=4, step_size=e / 3, key=k
    ),
    "pgd l2": lambda x, y, e, k: attacks.pgd(
        loss_fn, x, y, epsilon=e, num_steps=4, step_size=e / 3, norm="l2", key=k
    ),
    "gaussian": lambda x, y, e, k: attacks.gaussian_noise(x, epsilon=e, key=k),
    "uniform l2": lambda x, y, e, k: attacks.uniform_noise(
        x, epsilon=e, key=k, norm="l2"
    ),
}


def one_by_one(attack):
    def single(x, y, epsilon, key):
        return attack(x[None], y[None], epsilon, key[None])[0]

    return jax.vmap(single)


def over_shards(attack):
    mesh = Mesh(np.array(jax.devices()[:2]), ("data",))
    spec = PartitionSpec("data")
    return jax.shard_map(attack, mesh=mesh, in_specs=spec, out_specs=spec)


def over_devices(attack):
    def halves(*arrays):
        arrays = [a.reshape(2, BATCH // 2, *a.shape[1:]) for a in arrays]
        return jax.pmap(attack)(*arrays).reshape(X.shape)

    return halves


TRANSFORMS = {
    "jit": jax.jit,
    "vmap": lambda attack: jax.jit(one_by_one(attack)),
    "shard_map": lambda attack: jax.jit(over_shards(attack)),
    "pmap": over_devices,
}


@pytest.mark.parametrize("name", TABLE)
def test_the_result_is_the_same_under_every_transform(name):
    assert jax.device_count() >= 2
    plain = TABLE[name](X, Y, EPSILON, KEY)
    assert not np.array_equal(plain, X)
    for label, transform in TRANSFORMS.items():
        result = transform(TABLE[name])(X, Y, EPSILON, KEYS)
        np.testing.assert_allclose(result, plain, atol=2e-6, err_msg=label)


@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_flows_through_the_result(norm):
    def total(x, epsilon, w1):
        x_adv = attacks.pgd(
            Partial(loss_with, w1, W2),
            x,
            Y,
            epsilon=epsilon,
            num_steps=2,
            step_size=0.1,
            norm=norm,
            key=KEY,
        )
        return jnp.sum(x_adv)

    gradient = jax.jit(jax.grad(total, (0, 1, 2)))(X, 0.1, jnp.asarray(W1))
    chex.assert_trees_all_equal(gradient, jax.tree.map(jnp.zeros_like, gradient))


def test_training_on_attacks_holds_them_fixed():
    w1, w2 = jnp.asarray(W1), jnp.asarray(W2)

    def attack(w1):
        loss = Partial(loss_with, w1, w2)
        return attacks.pgd(loss, X, Y, epsilon=0.1, num_steps=3, step_size=0.05)

    x_adv = attack(w1)
    gradient = jax.jit(jax.grad(lambda w: loss_with(w, w2, attack(w), Y).mean()))(w1)
    expected = jax.grad(lambda w: loss_with(w, w2, x_adv, Y).mean())(w1)
    chex.assert_trees_all_close(gradient, expected, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_images_keep_their_type(norm):
    def attack(x):
        return attacks.pgd(
            lambda x, y: jnp.sum(x, axis=(1, 2, 3)),
            x,
            Y,
            epsilon=jnp.bfloat16(0.1),
            num_steps=2,
            step_size=0.1,
            norm=norm,
            key=KEY,
        )

    assert jax.eval_shape(attack, X.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    assert jax.eval_shape(attack, X).dtype == jnp.float32


BAD = {
    "epsilon in bytes": (
        {"epsilon": 8},
        r"epsilon=8 is outside \[0, 1\]. .* write 8/255, not 8",
    ),
    "negative epsilon": ({"epsilon": -0.1}, r"epsilon=-0.1 is outside \[0, 1\]"),
    "epsilon of nan": ({"epsilon": np.nan}, r"epsilon=nan is outside \[0, 1\]"),
    "one bad epsilon": (
        {"epsilon": [0.1] * 7 + [1.5]},
        r"an entry of epsilon=1.5 is outside \[0, 1\]",
    ),
    "epsilon as text": ({"epsilon": "8/255"}, "epsilon='8/255' is not a number"),
    "infinite l2 epsilon": (
        {"epsilon": np.inf, "norm": "l2"},
        r"epsilon=inf is outside \[0, inf\)",
    ),
    "negative l2 epsilon": (
        {"epsilon": -1.0, "norm": "l2"},
        r"epsilon=-1.0 is outside \[0, inf\)",
    ),
    "negative step": ({"step_size": -0.1}, "step_size=-0.1 is outside .*targeted"),
    "infinite step": ({"step_size": np.inf}, "step_size=inf is outside"),
    "norm": ({"norm": "l1"}, "norm='l1' is unknown; choose one of 'linf', 'l2'"),
    "negative momentum": ({"momentum": -1.0}, r"momentum=-1.0 is outside \[0, inf\)"),
    "two memories": (
        {"momentum": 0.9, "accumulate": True},
        "momentum=0.9 does not go with accumulate=True",
    ),
    "no step": ({"num_steps": 0}, "num_steps=0 is not a whole number of at least 1"),
    "a step that is True": ({"num_steps": True}, "num_steps=True is not a whole"),
    "bounds": ({"bounds": (1.0, 0.0)}, r"bounds=\(1.0, 0.0\) must be \(low, high\)"),
    "bounds and l2": ({"bounds": (1.0, 0.0), "norm": "l2"}, "must be .* low < high"),
    "bytes": ({"x": 255 * X}, r"a pixel of x=2\d\d.* outside \[0, 1\]. Divide bytes"),
    "normalised": ({"x": X - 0.5}, r"a pixel of x=-0.4\d* is outside \[0, 1\]"),
    "pixels of nan": ({"x": X.at[1, 1].set(np.nan)}, "a pixel of x=nan is outside"),
    "too few keys": ({"key": KEYS[:5]}, r"key of shape \(5,\): give one key, or one"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(change, message):
    good = {"x": X, "y": Y, "epsilon": 0.1, "num_steps": 2, "step_size": 0.1}
    with pytest.raises(ValueError, match=message):
        attacks.pgd(loss_fn, **(good | change))


def test_bad_input_is_refused_by_one_step_and_with_momentum_too():
    with pytest.raises(ValueError, match=r"^epsilon=8 is outside \[0, 1\]"):
        attacks.fgsm(loss_fn, X, Y, epsilon=8)
    with pytest.raises(ValueError, match=r"a pixel of x=.* is outside \[0, 1\]"):
        attacks.fgsm(loss_fn, 255 * X, Y, epsilon=0.1)
    with pytest.raises(ValueError, match="epsilon='8/255' is not a number"):
        attacks.mi_fgsm(loss_fn, X, Y, epsilon="8/255")
    with pytest.raises(ValueError, match="num_steps=0 is not a whole number"):
        attacks.mi_fgsm(loss_fn, X, Y, epsilon=0.1, num_steps=0)


@pytest.mark.parametrize(
    "change",
    [
        {"x": (255 * X).astype(jnp.uint8)},
        {"y": X},
        {"key": jax.random.PRNGKey(0)},
        {"num_steps": 2.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_annotations_say_what_is_allowed(change):
    good = {"x": X, "y": Y, "epsilon": 0.1, "num_steps": 2, "step_size": 0.1}
    with pytest.raises(TypeCheckError, match=f"parameter '{next(iter(change))}'"):
        attacks.pgd(loss_fn, **(good | change))


def test_images_that_are_no_floats_are_refused_without_annotations_too():
    with pytest.raises(ValueError, match=r"dtype uint8, .* Divide bytes by 255"):
        geometry.check_images.__wrapped__(X.astype(jnp.uint8), (0.0, 1.0))

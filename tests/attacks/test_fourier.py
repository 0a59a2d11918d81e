"""Fourier attacks against NumPy's FFT and against brute force."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, PartitionSpec
from jax.tree_util import Partial

from robustlabels.attacks import fourier

BATCH, SIZE, CLASSES = 6, (4, 6), 3
RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.uniform(size=(BATCH, *SIZE, 2)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, CLASSES, BATCH), jnp.int32)
W1 = RNG.normal(size=(48, 8)).astype(np.float32) / 2
W2 = RNG.normal(size=(8, CLASSES)).astype(np.float32)
EPSILON = jnp.asarray(RNG.uniform(0.05, 0.4, BATCH), jnp.float32)


def scores_with(w1, w2, x):
    return jnp.tanh((x.reshape(len(x), -1) - 0.5) @ w1) @ w2


def loss_with(w1, w2, x, y):
    logits = scores_with(w1, w2, x)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)[:, 0]


LOSS = Partial(loss_with, jnp.asarray(W1), jnp.asarray(W2))
SCORES = Partial(scores_with, jnp.asarray(W1), jnp.asarray(W2))


def scores_by_hand(image):
    return np.tanh((image.reshape(-1) - 0.5) @ W1.astype(np.float64)) @ W2


def loss_by_hand(image, label):
    logits = scores_by_hand(image)
    return np.log(np.sum(np.exp(logits - logits[label])))


def wave_by_hand(shape, frequency):
    """The two conjugate products of Fourier bases, summed in complex numbers."""
    total = 0
    for factor, sign in [(1 + 1j, 1), (1 - 1j, -1)]:
        bases = [
            np.exp(2j * np.pi * sign * f * np.arange(n) / n)
            for n, f in zip(shape, frequency, strict=True)
        ]
        total = total + factor * np.outer(*bases)
    assert abs(total.imag).max() < 1e-9
    return total.real


def pattern_by_hand(shape, frequency, signed):
    wave = wave_by_hand(shape, frequency)
    if signed:
        return np.sign(np.round(wave, 9))
    return wave / abs(wave).max()


def all_frequencies(shape):
    return [(i, j) for i in range(shape[0]) for j in range(shape[1])]


@functools.cache
def patterns(shape, signed):
    """Of all frequencies, in one program."""
    pattern = functools.partial(fourier.fourier_pattern, shape, signed=signed)
    frequencies = jnp.array(all_frequencies(shape))
    return np.asarray(jax.jit(jax.vmap(pattern))(frequencies))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("shape", [(6, 5), (8, 16)])
def test_patterns_are_those_of_the_definition(shape, signed):
    expected = [pattern_by_hand(shape, f, signed) for f in all_frequencies(shape)]
    np.testing.assert_allclose(patterns(shape, signed), expected, atol=1e-5)


def test_a_sign_that_rounding_would_decide_is_zero():
    pattern = patterns((8, 16), True)[16]
    np.testing.assert_array_equal(pattern[:, 0], [1, 0, -1, -1, -1, 0, 1, 1])


@pytest.mark.parametrize("shape", [(6, 5), (8, 16)])
def test_a_wave_has_two_conjugate_spikes(shape):
    for (row, column), wave in zip(
        all_frequencies(shape), patterns(shape, False), strict=True
    ):
        spectrum = np.fft.fft2(wave)
        spikes = {tuple(int(i) for i in s) for s in np.argwhere(abs(spectrum) > 1e-3)}
        assert spikes == {(row, column), (-row % shape[0], -column % shape[1])}


def test_the_sign_of_a_wave_has_odd_multiples_of_its_frequency():
    height, width = shape = (8, 16)
    for (row, column), wave in zip(
        all_frequencies(shape), patterns(shape, True), strict=True
    ):
        odd = {(k * row % height, k * column % width) for k in range(1, 32, 2)}
        found = np.argwhere(abs(np.fft.fft2(wave)) > 1e-3).tolist()
        assert set(map(tuple, found)) <= odd


@pytest.mark.parametrize("shape", [(1, 1), (4, 6), (5, 4), (5, 3)])
def test_one_frequency_of_each_conjugate_pair_is_tried(shape):
    tried = [tuple(f) for f in fourier.fourier_frequencies(shape).tolist()]
    pairs = [{f, (-f[0] % shape[0], -f[1] % shape[1])} for f in tried]
    assert set().union(*pairs) == set(all_frequencies(shape))
    assert sum(map(len, pairs)) == shape[0] * shape[1]


def waves_by_hand(image, epsilon, frequencies, signed):
    for frequency in frequencies:
        pattern = pattern_by_hand(SIZE, frequency, signed)[..., None]
        for sign in [1, -1]:
            yield np.clip(image + sign * epsilon * pattern, 0, 1)


@functools.cache
def best_by_hand(signed, frequencies):
    best = []
    for image, label, epsilon in zip(
        np.asarray(X, np.float64), np.asarray(Y), np.asarray(EPSILON), strict=True
    ):
        candidates = [image, *waves_by_hand(image, epsilon, frequencies, signed)]
        best.append(max(candidates, key=lambda z: loss_by_hand(z, label)))
    return np.array(best)


def attack(x, y, epsilon, **options):
    return fourier.single_fourier(LOSS, x, y, epsilon=epsilon, **options)


def one_by_one(attack):
    return jax.vmap(lambda x, y, epsilon: attack(x[None], y[None], epsilon)[0])


def over_shards(attack):
    mesh, spec = Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data")
    return jax.jit(jax.shard_map(attack, mesh=mesh, in_specs=spec, out_specs=spec))


def half_by_hand():
    """Rows 0 to 2, of rows 0 and 2 half the columns: found by looking for pairs."""
    seen = []
    for row, column in all_frequencies(SIZE):
        if (-row % SIZE[0], -column % SIZE[1]) not in seen:
            seen.append((row, column))
    return tuple(seen)


@pytest.mark.parametrize(
    ("transform", "signed"),
    [(lambda f: f, True), (over_shards, True), (one_by_one, False)],
    ids=["plain", "shard_map", "vmap unsigned"],
)
def test_the_attack_finds_what_brute_force_finds(transform, signed):
    found = transform(functools.partial(attack, signed=signed))(X, Y, EPSILON)
    expected = best_by_hand(signed, half_by_hand())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len({np.asarray(found[i] - X[i]).tobytes() for i in range(BATCH)}) > 3


def test_the_attack_tries_the_frequencies_that_it_is_given():
    frequencies = ((0, 3), (1, 1))
    found = attack(X, Y, EPSILON, frequencies=jnp.array(frequencies))
    np.testing.assert_allclose(found, best_by_hand(True, frequencies), atol=1e-5)


def test_a_model_that_sees_one_wave_is_attacked_with_it():
    wave = wave_by_hand(SIZE, (1, 2)).astype(np.float32)

    def loss(x, y):
        return -jnp.einsum("bhw,hw->b", x, wave)

    x = jnp.full((1, *SIZE), 0.5)
    x_adv = fourier.single_fourier(loss, x, Y[:1], epsilon=0.25)
    expected = 0.5 - 0.25 * pattern_by_hand(SIZE, (1, 2), True)
    np.testing.assert_allclose(x_adv[0], expected, atol=1e-6)


@pytest.mark.parametrize("signed", [True, False])
def test_errors_are_those_of_one_frequency_after_the_other(signed):
    find = functools.partial(fourier.fourier_errors, SCORES, signed=signed)
    errors = np.asarray(jax.jit(find)(X, Y, epsilon=EPSILON))
    expected = np.zeros((BATCH, *SIZE), bool)
    for row, column in half_by_hand():
        for i in range(BATCH):
            waves = waves_by_hand(
                np.asarray(X[i], np.float64), EPSILON[i], [(row, column)], signed
            )
            wrong = np.argmax(scores_by_hand(next(waves))) != Y[i]
            expected[i, row, column] = expected[i, -row, -column] = wrong
    np.testing.assert_array_equal(errors, expected)
    assert 0.1 < errors.mean() < 0.9


JITTED = jax.jit(attack)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    epsilon=st.lists(st.floats(0, 1, width=32), min_size=BATCH, max_size=BATCH),
    seed=st.integers(0, 2**31 - 1),
)
def test_the_attack_stays_in_the_ball_and_the_box_and_never_helps(epsilon, seed):
    rng = np.random.default_rng(seed)
    x = np.clip(rng.uniform(-0.3, 1.3, X.shape), 0, 1).astype(np.float32)
    x_adv = np.asarray(JITTED(x, Y, jnp.asarray(epsilon, jnp.float32)))
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    reach = np.array(epsilon).reshape(-1, 1, 1, 1)
    assert np.all(abs(x_adv.astype(np.float64) - x) <= reach + 1e-6)
    assert np.all(LOSS(x_adv, Y) >= LOSS(x, Y) - 1e-5)


def test_steps_from_the_host_cut_to_some_examples_give_what_run_gives():
    iteration = fourier.single_fourier_iteration(
        LOSS, fourier.fourier_frequencies(SIZE), epsilon=EPSILON
    )
    assert iteration.num_steps == len(half_by_hand())
    state = iteration.init(X, Y)
    assert all(leaf.shape[:1] == (BATCH,) for leaf in jax.tree.leaves(state))
    step = jax.jit(iteration.step)
    for _ in range(5):
        state = step(state)
    left = np.array([4, 1, 5])
    part = jax.tree.map(lambda leaf: leaf[left], state)
    for _ in range(iteration.num_steps - 5):
        state, part = step(state), step(part)
    expected = JITTED(X, Y, EPSILON)
    np.testing.assert_allclose(expected, best_by_hand(True, half_by_hand()), atol=1e-5)
    chex.assert_trees_all_close(iteration.result(state), expected, atol=1e-6)
    chex.assert_trees_all_close(iteration.result(part), expected[left], atol=1e-6)


@pytest.mark.parametrize("function", [fourier.single_fourier, fourier.fourier_errors])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 8}, r"epsilon=8 is outside \[0, 1\]. .* write 8/255, not 8"),
        ({"epsilon": -0.1}, r"epsilon=-0.1 is outside \[0, 1\]"),
        ({"epsilon": np.full(4, 0.1)}, r"epsilon of shape \(4,\) fits neither 6"),
        ({"bounds": (1.0, 0.0)}, r"bounds=\(1.0, 0.0\) must be"),
        ({"x": 255 * X}, r"a pixel of x=2\d\d.* is outside \[0, 1\]"),
    ],
)
def test_bad_input_is_refused(function, change, message):
    loss_or_scores = LOSS if function is fourier.single_fourier else SCORES
    with pytest.raises(ValueError, match=message):
        function(loss_or_scores, **({"x": X, "y": Y, "epsilon": 0.1} | change))

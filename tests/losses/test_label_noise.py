"""Corrections for label noise against NumPy loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels import losses

CASES = settings(deadline=None, max_examples=15, derandomize=True)
CLASSES = 4
RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(8, CLASSES)) * 3, jnp.float32)
LABELS = jnp.asarray([0, 1, 2, 3, 3, 1, 0, 2], jnp.int32)


def noise_matrix_of(rng, classes=CLASSES, kept=0.5):
    """Rows are distributions with at least `kept` on the diagonal; not symmetric."""
    noise = rng.dirichlet(np.ones(classes), classes)
    return kept * np.eye(classes) + (1 - kept) * noise


NOISE = noise_matrix_of(RNG)
Z = jnp.array([[1.0, 0.5, -1.0]] * 3)
PAIR = np.array([[0.7, 0.3, 0.0], [0.3, 0.7, 0.0], [0.0, 0.0, 1.0]])
FORWARD = 0.6805664046, 0.8771318057, 2.5549569196
BACKWARD = 0.1799569196, 1.4299569196, 2.5549569196


def forward(logits, labels, noise_matrix):
    return losses.forward_corrected(logits, labels, noise_matrix=noise_matrix)


def backward(logits, labels, noise_matrix):
    return losses.backward_corrected(logits, labels, noise_matrix=noise_matrix)


def mapped(f):
    """Over examples, of one noise matrix."""
    return lambda z, y, t: jax.vmap(f, (0, 0, None))(z[:, None], y[:, None], t)[:, 0]


def transformed(f):
    return {"plain": f, "jit": jax.jit(f), "vmap": jax.jit(mapped(f))}


HOW = ["plain", "jit", "vmap"]
LOSSES = {"forward": transformed(forward), "backward": transformed(backward)}
GRADIENTS = {
    name: jax.jit(jax.grad(lambda z, y, t, f=f["plain"]: f(z, y, t).sum()))
    for name, f in LOSSES.items()
}
CROSS_ENTROPY = jax.jit(losses.cross_entropy)


def probabilities_of(logits):
    return scipy.special.softmax(np.asarray(logits, np.float64), axis=-1)


def loss_by_hand(name, logits, labels, noise_matrix):
    classes, inverse = range(len(noise_matrix)), np.linalg.inv(noise_matrix)
    values = []
    for f, y in zip(probabilities_of(logits), np.asarray(labels), strict=True):
        if name == "forward":
            given_ = sum(noise_matrix[c, y] * f[c] for c in classes)
            values.append(-np.log(given_))
        else:
            values.append(sum(inverse[y, c] * -np.log(f[c]) for c in classes))
    return values


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", LOSSES)
def test_corrections_match_loops(name, how):
    found = LOSSES[name][how](LOGITS, LABELS, jnp.asarray(NOISE, jnp.float32))
    expected = loss_by_hand(name, LOGITS, LABELS, NOISE)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"), [("forward", FORWARD), ("backward", BACKWARD)]
)
def test_numbers_worked_out_by_hand(name, expected):
    found = LOSSES[name]["jit"](Z, jnp.arange(3), jnp.asarray(PAIR, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_without_noise_they_are_cross_entropy(name):
    found = LOSSES[name]["jit"](LOGITS, LABELS, jnp.eye(CLASSES))
    expected = CROSS_ENTROPY(LOGITS, LABELS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_backward_correction_is_unbiased_over_the_noise():
    """Its mean over the labels that noise gives is the loss of the clean label."""
    noise = jnp.asarray(NOISE, jnp.float32)
    value, slope = LOSSES["backward"]["jit"], GRADIENTS["backward"]
    each = [jnp.full(8, label, jnp.int32) for label in range(CLASSES)]
    values = np.stack([value(LOGITS, labels, noise) for labels in each])
    slopes = np.stack([slope(LOGITS, labels, noise) for labels in each])
    clean, labels = probabilities_of(LOGITS), np.asarray(LABELS)
    mean = [NOISE[y] @ values[:, n] for n, y in enumerate(labels)]
    np.testing.assert_allclose(mean, CROSS_ENTROPY(LOGITS, LABELS), atol=2e-5)
    mean = [NOISE[y] @ slopes[:, n] for n, y in enumerate(labels)]
    np.testing.assert_allclose(mean, clean - np.eye(CLASSES)[labels], atol=2e-6)


def test_the_forward_correction_is_least_for_the_clean_posterior():
    """There its mean gradient over clean labels and their noise vanishes."""
    noise, clean = jnp.asarray(NOISE, jnp.float32), probabilities_of(LOGITS)
    each = [jnp.full(8, label, jnp.int32) for label in range(CLASSES)]
    slopes = np.stack([GRADIENTS["forward"](LOGITS, y, noise) for y in each])
    mean = np.einsum("ni,ij,jnc->nc", clean, NOISE, slopes)
    np.testing.assert_allclose(mean, 0, atol=1e-6)
    assert abs(slopes).max() > 0.1


def test_the_forward_gradient_is_probability_minus_posterior():
    f, labels = probabilities_of(LOGITS), np.asarray(LABELS)
    joint = f * NOISE.T[labels]
    expected = f - joint / joint.sum(axis=1, keepdims=True)
    found = GRADIENTS["forward"](LOGITS, LABELS, jnp.asarray(NOISE, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=2e-6)


@CASES
@given(seed=st.integers(0, 999), scale=st.sampled_from([0.1, 10.0, 1e3]))
def test_the_forward_correction_is_never_negative(seed, scale):
    rng = np.random.default_rng(seed)
    noise = jnp.asarray(noise_matrix_of(rng, kept=0.0), jnp.float32)
    logits = jnp.asarray(rng.normal(size=(8, CLASSES)) * scale, jnp.float32)
    assert np.all(LOSSES["forward"]["jit"](logits, LABELS, noise) >= -1e-6)


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
def test_the_forward_correction_of_extreme_logits_is_finite(scale):
    """Where class 0 is certain, its row speaks; class 2 is what no noise explains."""
    logits = scale * jnp.array([[1.0, 0.0, -1.0]] * 3)
    noise = jnp.asarray(PAIR, jnp.float32)
    found = LOSSES["forward"]["jit"](logits, jnp.arange(3), noise)
    np.testing.assert_allclose(found, [-np.log(0.7), -np.log(0.3), 2 * scale], 1e-5)
    gradient = GRADIENTS["forward"](logits, jnp.arange(3), noise)
    np.testing.assert_allclose(gradient, [[0, 0, 0], [0, 0, 0], [1, 0, -1]], atol=1e-6)


def test_a_share_too_small_for_a_float_is_no_share():
    noise = jnp.asarray([[1.0, 1e-40], [0.0, 1.0]])
    logits = jnp.array([[0.0, -100.0]])
    found = LOSSES["forward"]["jit"](logits, jnp.array([1]), noise)
    np.testing.assert_allclose(found, [100.0])


def test_the_backward_correction_may_be_negative_without_end():
    """A label that the model denies loses T⁻¹'s negative entries times its own."""
    noise = jnp.asarray(PAIR, jnp.float32)
    for scale in (1e2, 1e4, 1e8):
        logits = scale * jnp.array([[1.0, -1.0, 0.0]])
        found = LOSSES["backward"]["jit"](logits, jnp.array([0]), noise)
        np.testing.assert_allclose(found, [-0.3 / 0.4 * 2 * scale], rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_label_out_of_range_is_loud(name):
    labels = LABELS.at[3].set(CLASSES)
    noise = jnp.asarray(NOISE, jnp.float32)
    found = np.isnan(LOSSES[name]["jit"](LOGITS, labels, noise))
    np.testing.assert_array_equal(found, np.arange(8) == 3)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.45])
def test_backward_targets_are_the_inverse(rate):
    swapped = np.array([[1 - rate, rate], [rate, 1 - rate]])
    expected = np.array([[1 - rate, -rate], [-rate, 1 - rate]]) / (1 - 2 * rate)
    for found in (
        losses.backward_targets(swapped),
        jax.jit(losses.backward_targets)(jnp.asarray(swapped, jnp.float32)),
    ):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_many_noise_matrices_are_mapped_over():
    both = np.stack([NOISE, np.eye(CLASSES)])
    for name, f in (("forward", forward), ("backward", backward)):
        over = jax.jit(jax.vmap(f, (None, None, 0)))
        found = over(LOGITS, LABELS, jnp.asarray(both, jnp.float32))
        expected = [loss_by_hand(name, LOGITS, LABELS, noise) for noise in both]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "noise",
    [
        np.full((2, 2), 0.5),
        np.array([[0.6, 0.2, 0.2], [0.6, 0.2, 0.2], [0.0, 0.0, 1.0]]),
        np.array([[0.5 + 1e-8, 0.5 - 1e-8], [0.5, 0.5]]),
    ],
    ids=["half", "equal rows", "nearly"],
)
def test_a_singular_matrix_is_refused(noise):
    message = r"noise_matrix has the condition number .*Use the forward correction, or"
    with pytest.raises(ValueError, match=message):
        losses.backward_targets(noise)
    labels = jnp.zeros(1, jnp.int32)
    with pytest.raises(ValueError, match=message):
        backward(jnp.zeros((1, len(noise))), labels, jnp.asarray(noise, jnp.float32))


@pytest.mark.parametrize("spelling", [np.array, np.float32, np.ndarray.tolist])
def test_a_noise_matrix_may_be_any_table(spelling):
    found = losses.check_noise_matrix(spelling(NOISE), num_classes=CLASSES)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, NOISE, rtol=1e-6)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (
            np.eye(3),
            r"the noise matrix has the shape \(3, 3\); 2 classes need \(2, 2\)\.",
        ),
        ([[1.0, 0.0]], r"the noise matrix has the shape \(1, 2\); 2 classes need"),
        ([1.0, 0.0], r"the noise matrix has the shape \(2,\); 2 classes need"),
        (
            [[1.1, -0.1], [0.0, 1.0]],
            r"an entry of noise_matrix=1\.1 is outside \[0, 1\]\. Row i is the distri",
        ),
        ([[-0.1, 1.0], [0.0, 1.0]], r"an entry of noise_matrix=-0\.1 is outside"),
        ([[np.nan, 1.0], [0.0, 1.0]], "an entry of noise_matrix=nan is outside"),
        (
            [[0.9, 0.1], [0.3, 0.6]],
            r"row 1 of the noise matrix sums to 0\.9, not to 1: it is the distribution "
            r"of the labels that class 1 is given\.",
        ),
        ([[0.9, 0.3], [0.1, 0.7]], r"row 0 of the noise matrix sums to 1\.2, not"),
    ],
    ids=str,
)
def test_what_is_no_noise_matrix_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        losses.check_noise_matrix(matrix, num_classes=2)


def estimated_by_hand(says, percentile):
    rows = []
    for i in range(says.shape[1]):
        column = says[:, i]
        candidates = range(len(says))
        if percentile < 100:
            rank = int(np.ceil(percentile / 100 * (len(says) - 1)))
            threshold = sorted(column)[rank]
            candidates = [n for n in candidates if column[n] < threshold]
        best = max(candidates, key=lambda n: column[n])
        rows.append(says[best] / says[best].sum())
    return np.array(rows)


@pytest.mark.parametrize("percentile", [100.0, 97.0, 50.0])
@pytest.mark.parametrize("examples", [40, 101])
def test_the_estimate_matches_loops(examples, percentile):
    says = RNG.dirichlet(np.ones(CLASSES), examples)
    before = says.copy()
    found = losses.estimate_noise_matrix(says, percentile=percentile)
    np.testing.assert_allclose(found, estimated_by_hand(says, percentile), rtol=1e-12)
    np.testing.assert_array_equal(says, before)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


def says_of(noise, rng, examples=970):
    """What a perfect model of the noisy labels says; one of each class is certain."""
    clean = rng.dirichlet(np.full(len(noise), 0.5), examples)
    return np.concatenate([np.eye(len(noise)), clean]) @ noise


def test_the_estimate_is_the_noise_where_a_class_has_a_certain_example():
    found = losses.estimate_noise_matrix(says_of(NOISE, np.random.default_rng(1)))
    np.testing.assert_allclose(found, NOISE, rtol=1e-12)


def test_outliers_of_a_class_are_left_out():
    """Of 1000 examples, 30 are surer of class 0 than any label of it can make them."""
    noise = np.array([[0.8, 0.2], [0.3, 0.7]])
    outliers = np.tile([0.99, 0.01], (30, 1))
    says = np.concatenate([outliers, says_of(noise, np.random.default_rng(1), 968)])
    everything = losses.estimate_noise_matrix(says)
    np.testing.assert_allclose(everything[0], [0.99, 0.01], rtol=1e-12)
    robust = losses.estimate_noise_matrix(says, percentile=97.0)
    np.testing.assert_allclose(robust[0], [0.8, 0.2], rtol=1e-12)


def test_rows_of_the_estimate_sum_to_one_whatever_the_model_says():
    says = np.array([[0.5, 0.25], [0.2, 0.2]], np.float32)
    found = losses.estimate_noise_matrix(jnp.asarray(says))
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3]] * 2, rtol=1e-7)
    alike = np.full((5, 2), 0.5)
    found = losses.estimate_noise_matrix(alike, percentile=97.0)
    np.testing.assert_array_equal(found, np.full((2, 2), 0.5))


@pytest.mark.parametrize(
    ("says", "percentile", "message"),
    [
        (
            np.array([[2.0, -1.0]]),
            100.0,
            r"an entry of probabilities=2\.0 is outside \[0, 1\]\. Give a softmax of",
        ),
        (np.eye(2), 0.0, r"percentile=0\.0 is outside \[1e-09, 100\]\. 97 is the auth"),
        (np.eye(2), 101.0, r"percentile=101\.0 is outside \[1e-09, 100\]"),
    ],
)
def test_what_cannot_be_estimated_from_is_refused(says, percentile, message):
    with pytest.raises(ValueError, match=message):
        losses.estimate_noise_matrix(says, percentile=percentile)

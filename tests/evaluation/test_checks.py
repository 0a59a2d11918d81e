"""Every warning where it is due, and silence where it is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_classifier import classifier, split, with_functions

from robustlabels.data import Split
from robustlabels.evaluation import checks
from robustlabels.objective import Classifier, bind, softmax

FLOATS = split.images.astype(np.float32) / 255
EPSILONS = {"8/255": 8 / 255, "0.1": 0.1}
CASES = settings(deadline=None, max_examples=50, derandomize=True)


def gives(scores_fn):
    return with_functions(classifier, scores=jax.tree_util.Partial(scores_fn))


@pytest.mark.parametrize("images", [split.images, FLOATS], ids=["bytes", "floats"])
def test_a_plain_classifier_is_passed_in_silence(images):
    assert (
        checks.input_warnings(classifier, Split(images, split.labels), EPSILONS) == []
    )
    assert checks.input_warnings(classifier, Split(images, split.labels), {}) == []


@pytest.mark.parametrize(
    ("pixel", "message"),
    [
        (255.0, r"a pixel is 255, outside of \[0, 1\]. Divide bytes by 255"),
        (-0.5, "a pixel is -0.5, outside"),
        (np.nan, "a pixel is nan, outside"),
        (np.inf, "a pixel is inf, outside"),
    ],
)
def test_pixels_outside_are_an_error_wherever_they_are(pixel, message):
    images = FLOATS.copy()
    images[-1, 2, 1, 0] = pixel
    with pytest.raises(ValueError, match=message):
        checks.input_warnings(classifier, Split(images, split.labels), EPSILONS)


@pytest.mark.parametrize(
    ("images", "due"),
    [
        (FLOATS / 255, True),
        ((split.images > 100).astype(np.uint8), True),
        (np.zeros_like(split.images), True),
        (FLOATS * np.float32(2 / 255), False),
        (FLOATS * np.float32(0.1), False),
    ],
)
def test_images_that_are_as_good_as_black(images, due):
    found = checks.image_warnings(images)
    assert len(found) == due
    if due:
        assert "was it divided by 255 twice" in found[0]


def test_probabilities_given_as_scores_are_warned_of():
    probable = gives(lambda x: jax.nn.softmax(classifier.scores(x)))
    (warning,) = checks.input_warnings(probable, split, EPSILONS)
    assert "look like probabilities of a softmax" in warning


def test_scores_that_differ_from_call_to_call_are_warned_of():
    calls = iter(range(100))

    def noise(x):
        return np.full((len(x), 1), 0.1 * next(calls), np.float32)

    def scores(x):
        shape = jax.ShapeDtypeStruct((len(x), 1), np.float32)
        drawn = jax.pure_callback(noise, shape, x)
        return classifier.scores(x) + drawn * jnp.array([[1.0, -1.0, 0.0]])

    (warning,) = checks.input_warnings(gives(scores), split, EPSILONS)
    assert "differ from call to call: the classifier is random" in warning


def test_scores_that_depend_on_the_batch_are_warned_of():
    def scores(x):
        return classifier.scores(x - x.mean(axis=0, keepdims=True))

    (warning,) = checks.input_warnings(gives(scores), split, EPSILONS)
    assert "depend on the other images of its batch" in warning


@CASES
@given(seed=st.integers(0, 999), classes=st.integers(2, 5))
def test_one_row_that_is_no_distribution_is_enough_to_be_quiet(seed, classes):
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(classes), 6)
    assert len(checks.score_warnings(scores)) == 1
    for change in (0.01, -0.01):
        changed = scores.copy()
        changed[rng.integers(6), rng.integers(classes)] += change
        assert checks.score_warnings(changed) == []
    # Sums to 1, but one entry is negative.
    scores[3, 0], scores[3, 1] = -0.5, scores[3, 1] + scores[3, 0] + 0.5
    assert checks.score_warnings(scores) == []


def test_scores_that_are_nan_are_an_error():
    dark = FLOATS[:, 0, 0, 0] < 0.3
    broken = gives(
        lambda x: jnp.where(x[:, 0, 0, :1] < 0.3, jnp.nan, classifier.scores(x))
    )
    assert 0 < dark.sum() < 23
    message = f"scores of {dark.sum()} of 23 images are NaN, the first of image "
    with pytest.raises(ValueError, match=message + str(np.argmax(dark))):
        checks.input_warnings(broken, split, EPSILONS)


@pytest.mark.parametrize(
    ("images", "epsilons", "written"),
    [
        (split.images, {"0": 0.0, "0.0003": 0.0003}, "0.0003"),
        (FLOATS, {"0.1/255": 0.1 / 255, "0.4/255": 0.4 / 255}, "0.4/255"),
        (np.round(FLOATS), {"0.001": 0.001}, "0.001"),
        (FLOATS, {"0.0003": 0.0003, "0.1": 0.1}, None),
        (FLOATS, {"0.5/255": 0.5 / 255}, None),
        (FLOATS, {"0": 0.0}, None),
        (FLOATS, {}, None),
        (np.sqrt(FLOATS), {"0.0003": 0.0003}, None),
    ],
)
def test_epsilons_below_a_grey_level_of_images_that_have_them(
    images, epsilons, written
):
    found = checks.epsilon_warnings(images, epsilons)
    assert len(found) == (written is not None)
    if written:
        assert f"epsilon={written} is less than one grey level, 1/255" in found[0]


def test_all_warnings_come_together():
    black = Split(FLOATS / 255, split.labels)
    probable = gives(lambda x: jax.nn.softmax(classifier.scores(x)))
    levels = Split(np.zeros_like(FLOATS), split.labels)
    assert len(checks.input_warnings(probable, black, {"0.0003": 0.0003})) == 2
    assert len(checks.input_warnings(probable, levels, {"0.0003": 0.0003})) == 3


def test_scores_of_the_first_images_are_enough():
    seen = []

    def scores(x):
        seen.append(x.shape)
        return x[:, 0, 0, :] @ jnp.ones((1, 3))

    checks.input_warnings(gives(scores), split, {}, num_examples=5)
    assert seen == [(5, 4, 4, 1), (3, 4, 4, 1)]


def test_two_classifiers_of_one_structure_are_one_compile():
    count = []

    def outputs(w, x):
        count.append(1)
        return x.reshape(len(x), -1) @ w

    for scale in (1.0, 2.0):
        predict = jax.tree_util.Partial(outputs, scale * jnp.ones((16, 3)))
        model = bind(softmax().at({}, 1.0), predict)
        assert isinstance(model, Classifier)
        assert checks.input_warnings(model, split, {}) == []
    assert len(count) == 2  # One a shape.

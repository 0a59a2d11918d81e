"""Each sign on a classifier that is made to show it, and none on a plain one."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from small_classifier import outputs_of, weights

from robustlabels import objective, parallel
from robustlabels._stopping import Stopped
from robustlabels.data import Split
from robustlabels.evaluation.diagnostics import make_diagnosis

# Two classes of black and white images, apart by a plane; epsilon is 0.1.
PIXELS, EPSILON, STEPS = 32, 0.1, 20
RNG = np.random.default_rng(0)
PLANE = RNG.choice([-1.0, 1.0], PIXELS) * RNG.uniform(0.5, 1.5, PIXELS)
MODES = ["plain", "sure", "tiny", "rounded", "comb", "slow", "flat", "stairs"]
traces = []


def heights(images):
    return (np.asarray(images, np.float64).reshape(-1, PIXELS) - 0.5) @ PLANE


def least_heights(images, signs, epsilon):
    """Closed form: how far towards the other class the box and the ball let it go."""
    x = np.asarray(images, np.float64).reshape(-1, PIXELS)
    room = np.where(signs[:, None] * PLANE > 0, x, 1 - x)
    return signs * heights(images) - np.minimum(room, epsilon) @ np.abs(PLANE)


def spread_images(count):
    """Images whose plane lies between 0 and twice as far as epsilon reaches."""
    x = RNG.choice([0.02, 0.98], (20_000, PIXELS)).astype(np.float32)
    signs = np.sign(heights(x))
    near = least_heights(x, signs, 2 * EPSILON) < 0
    order = np.argsort(np.abs(heights(x[near])))
    chosen = order[np.linspace(0, len(order) - 1, count).astype(int)]
    return x[near][chosen].reshape(count, 4, 4, 2)


IMAGES = spread_images(120)
SIGNS = np.sign(heights(IMAGES))
LABELS = (SIGNS > 0).astype(np.int32)
# Every twentieth is wrong without any attack.
LABELS[::20] = 1 - LABELS[::20]
SPLIT = Split(IMAGES, LABELS)


def height(x):
    return (x.reshape(len(x), PIXELS) - 0.5) @ jnp.asarray(PLANE, jnp.float32)


def scores_of(mode, x):
    seen = jnp.where(mode == MODES.index("rounded"), jnp.round(x), x)
    there = height(seen)
    there = jnp.where(mode == MODES.index("stairs"), jnp.round(8 * there) / 8, there)
    return jnp.stack([-there, there], axis=1)


def loss_of(mode, x, labels):
    traces.append(mode)
    scores = scores_of(mode, x)
    sign = 2.0 * labels - 1
    uphill = -sign[:, None] * jnp.asarray(np.sign(PLANE), jnp.float32)[None]
    pixels = x.reshape(len(x), PIXELS)

    def cross_entropy(scores):
        own = jnp.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
        return jax.nn.logsumexp(scores, axis=1) - own

    def comb():
        """Uphill but for moats, narrower than a step and wider than a quarter of it."""
        back = jnp.clip(pixels - 0.07, 0, 0.004) + jnp.clip(pixels - 0.926, 0, 0.004)
        return jnp.sum(uphill * (pixels - 2 * back), axis=1)

    def slow():
        """Only the pixel that is most behind moves."""
        return jnp.min(jnp.where(uphill > 0, pixels, 1 - pixels), axis=1)

    return jax.lax.switch(
        mode,
        [
            lambda: cross_entropy(scores),
            lambda: cross_entropy(1000 * scores),
            lambda: -1e-36 * sign * height(x),
            lambda: cross_entropy(scores),
            comb,
            slow,
            lambda: jnp.zeros(len(x)),
            lambda: cross_entropy(scores),
        ],
    )


def as_they_are(x):
    return x


def unsure(mode, x):
    del mode
    return jnp.full(len(x), 0.5)


def classifier_of(name):
    mode = jnp.asarray(MODES.index(name))
    of_images = objective.Objective(
        loss=Partial(loss_of, mode),
        scores=Partial(scores_of, mode),
        confidence=Partial(unsure, mode),
    )
    return objective.bind(of_images, as_they_are)


@pytest.fixture(scope="module")
def diagnose():
    return make_diagnosis(mesh=parallel.make_mesh(), batch_size=64, num_steps=STEPS)


@pytest.fixture(scope="module")
def found(diagnose):
    """Finding of each classifier, and how often a loss was traced until then."""
    findings = {}
    for name in MODES:
        finding = diagnose(
            classifier_of(name),
            SPLIT,
            "0.1",
            key=jax.random.key(0),
            identity={"data": "fake"},
            split_name="validation",
        )
        findings[name] = finding, len(traces)
    return findings


def signs_of(finding):
    return {sign["name"]: sign for sign in finding.values["signs"]}


def seen(finding):
    return {name for name, sign in signs_of(finding).items() if sign["yes"]}


@pytest.mark.parametrize(
    ("name", "due"),
    [
        (
            "sure",
            {
                "targeted_beats_untargeted",
                "margin_beats_own",
                "restarts_matter",
                "stands_at_large_epsilon",
            },
        ),
        ("tiny", {"scaling_changes_result"}),
        ("rounded", {"stands_at_large_epsilon"}),
        ("stairs", {"black_box_beats_white_box"}),
        ("comb", {"more_steps_weaker", "margin_beats_own"}),
        ("slow", {"more_steps_stronger", "margin_beats_own"}),
        ("flat", {"margin_beats_own", "restarts_matter", "stands_at_large_epsilon"}),
    ],
)
def test_a_sign_is_seen_where_it_is_due(found, name, due):
    assert due <= seen(found[name][0])


def test_a_plain_classifier_shows_no_sign(found):
    finding, _ = found["plain"]
    assert seen(finding) == set()
    for sign in signs_of(finding).values():
        assert sign["sentence"].endswith(": as it should be.")


def test_accuracies_are_those_of_the_closed_form(found):
    signs = signs_of(found["plain"][0])
    right = np.sign(heights(IMAGES)) == 2 * LABELS - 1
    stand = right & (least_heights(IMAGES, SIGNS, EPSILON) > 0)
    assert 0.2 < stand.mean() < 0.6
    for name, figures in (
        ("targeted_beats_untargeted", ("targeted", "untargeted")),
        ("more_steps_weaker", ("fine", "coarse")),
        ("more_steps_stronger", ("fewer", "more")),
        ("restarts_matter", ("one", "all")),
        ("scaling_changes_result", ("times_1024", "times_1", "times_1/1024")),
        ("margin_beats_own", ("margin", "own")),
    ):
        for figure in figures:
            assert signs[name]["figures"][figure] == pytest.approx(stand.mean())
    at_large = right & (least_heights(IMAGES, SIGNS, 0.5) > 0)
    found_at_large = signs["stands_at_large_epsilon"]["figures"]["accuracy"]
    assert found_at_large == pytest.approx(at_large[LABELS == 1].mean())


def test_who_is_decided_like_grey_may_stand_at_any_epsilon():
    """All grey is class 0 here, and no loss leads away from it."""

    def scores(x):
        light = x.reshape(len(x), -1).max(axis=1)
        return jnp.stack([0.9 - light, light - 0.9], axis=1)

    of_images = objective.Objective(
        loss=Partial(lambda x, y: jnp.zeros(len(x))),
        scores=Partial(scores),
        confidence=Partial(lambda x: jnp.ones(len(x))),
    )
    model = objective.bind(of_images, as_they_are)
    images = np.repeat([0.1, 1.0], 6).reshape(12, 1, 1, 1).astype(np.float32)
    labels = np.repeat([0, 1], 6).astype(np.int32)
    diagnose = make_diagnosis(mesh=parallel.make_mesh(), num_steps=2)

    def at_large(*which):
        split = Split(*(array[slice(*which)] for array in (images, labels)))
        finding = diagnose(model, split, "0.1", key=jax.random.key(0), identity={})
        sign = signs_of(finding)["stands_at_large_epsilon"]
        return sign["figures"]["accuracy"], sign["yes"], sign["sentence"]

    accuracy, yes, sentence = at_large(0, 6)
    assert (accuracy, yes) == (0.0, False)
    assert sentence.startswith("Of the 0 images")
    _, _, sentence = at_large(3, 12)
    assert sentence.startswith("Of the 6 images")


def test_only_some_examples_are_wrong_when_clean(found):
    flat = signs_of(found["flat"][0])["margin_beats_own"]["figures"]
    assert flat["own"] <= np.mean(SIGNS == 2 * LABELS - 1) < 1


@pytest.mark.parametrize("name", ["sure", "comb", "slow", "tiny"])
def test_p_is_that_of_a_sign_test(found, name):
    for sign in found[name][0].values["signs"]:
        figures = sign["figures"]
        if "p" not in figures:
            continue
        one, other = (int(v) for k, v in figures.items() if k.startswith("only_"))
        n = one + other
        tail = sum(math.comb(n, k) for k in range(one, n + 1)) / 2**n
        assert figures["p"] == pytest.approx(tail)
        assert sign["yes"] == (tail < 0.01)
        # Whoever falls to one of both alone makes the difference of the accuracies.
        a, b = list(figures.values())[:2]
        assert (b - a) * 120 == pytest.approx(one - other)


def test_restarts_leave_no_more_standing(found):
    for finding, _ in found.values():
        figures = signs_of(finding)["restarts_matter"]["figures"]
        assert figures["all"] <= figures["one"]
        gain = figures["one"] - figures["all"]
        assert signs_of(finding)["restarts_matter"]["yes"] == (gain > 0.01)


def test_what_is_lost_in_scaling_is_counted(found):
    figures = signs_of(found["tiny"][0])["scaling_changes_result"]["figures"]
    assert figures["differ_times_1024"] == 0
    assert figures["differ_times_1/1024"] == pytest.approx(
        120 * (figures["times_1/1024"] - figures["times_1"])
    )


@pytest.mark.parametrize(
    ("name", "own", "margin"),
    [("plain", 0.0, 0.0), ("rounded", 1.0, 1.0), ("flat", 1.0, 0.0)],
)
def test_shares_of_zero_gradients(found, name, own, margin):
    zeros = found[name][0].values["zero_gradients"]
    assert zeros == {"own": pytest.approx(own), "margin": pytest.approx(margin)}


def test_part_of_the_gradients_of_a_sure_classifier_is_zero(found):
    z = 1000 * 2 * np.abs(heights(IMAGES))[SIGNS == 2 * LABELS - 1]
    # exp(-z) of float32 is zero from about 104 on, and 1 - exp(-z) is 1 from 17 on.
    zeros = found["sure"][0].values["zero_gradients"]["own"]
    assert np.sum(z > 104) / 120 <= zeros <= np.sum(z > 17) / 120


def test_other_weights_are_no_other_compile(found):
    assert len({count for _, count in found.values()}) == 1


def test_what_a_finding_says(found):
    for finding, _ in found.values():
        assert (finding.kind, finding.n) == ("hidden_gradient", 120)
        assert finding.classifier == {"data": "fake"}
        assert finding.split == "validation"
        assert finding.images is None
        assert finding.parameters == {
            "epsilon": "0.1",
            "num_steps": STEPS,
            "relative_step_size": 0.1,
            "num_restarts": 5,
            "num_queries": 10 * STEPS,
        }
        assert finding.values["warnings"] == []
        text = json.dumps(finding.values, allow_nan=False)
        assert json.loads(text) == finding.values


def test_warnings_of_the_inputs_are_passed_on(diagnose):
    finding = diagnose(
        classifier_of("plain"),
        Split(np.round(IMAGES), LABELS),
        "1/2550",
        key=jax.random.key(0),
        identity={},
    )
    (warning,) = finding.values["warnings"]
    assert "epsilon=1/2550 is less than one grey level" in warning


def test_an_epsilon_beyond_the_large_one(diagnose):
    finding = diagnose(
        classifier_of("sure"), SPLIT, "0.6", key=jax.random.key(0), identity={}
    )
    signs = signs_of(finding)
    at_large = signs["stands_at_large_epsilon"]["figures"]["accuracy"]
    assert signs["margin_beats_own"]["figures"]["own"] <= at_large
    assert at_large > 0.5


def test_a_plain_network_shows_no_sign():
    rng = np.random.default_rng(1)
    images = rng.random((100, 4, 4, 1)).astype(np.float32)
    model = objective.bind(
        objective.softmax().at({}, 1.0), Partial(outputs_of, *map(jnp.asarray, weights))
    )
    labels = np.asarray(model.scores(images)).argmax(1).astype(np.int32)
    diagnose = make_diagnosis(
        mesh=parallel.make_mesh(jax.devices()[:1]), num_examples=80
    )
    finding = diagnose(
        model, Split(images, labels), "0.05", key=jax.random.key(2), identity={}
    )
    assert finding.n == 80
    assert seen(finding) == set()
    assert 0.2 < signs_of(finding)["margin_beats_own"]["figures"]["own"] < 0.8


def test_it_stops_when_asked(diagnose):
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == 5

    with pytest.raises(Stopped):
        diagnose(
            classifier_of("plain"),
            SPLIT,
            "0.1",
            key=jax.random.key(0),
            identity={},
            stop=stop,
        )
    assert len(asked) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_examples": 0}, "num_examples=0 is not a whole number of at least 1"),
        ({"num_steps": 0}, "num_steps=0 is not a whole number of at least 1"),
        ({"num_restarts": 1}, "num_restarts=1 is not a whole number of at least 2"),
        ({"relative_step_size": 0.0}, "relative_step_size=0.0 is outside"),
    ],
)
def test_values_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_diagnosis(mesh=parallel.make_mesh(), **arguments)


def test_an_epsilon_that_is_no_change_of_a_pixel_is_refused(diagnose):
    message = (
        r"epsilon=8.0 is outside \[0, 1\]. Pixels live in \[0, 1\]: write 8/255, no"
    )
    with pytest.raises(ValueError, match=message):
        diagnose(classifier_of("plain"), SPLIT, "8", key=jax.random.key(0), identity={})

"""Fooling images against closed forms, and success against NumPy."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from jax.tree_util import Partial

from robustlabels import attacks, objective

BATCH, PIXELS, CLASSES = 12, 20, 4
RNG = np.random.default_rng(0)
NOISE = jnp.asarray(RNG.uniform(size=(BATCH, PIXELS)), jnp.float32)
TARGET = jnp.asarray(RNG.integers(0, CLASSES, BATCH), jnp.int32)
W = jnp.asarray(4 * RNG.normal(size=(PIXELS, CLASSES)), jnp.float32)
# Two prototypes a class in scrambled order, in the image of the unit box under EMBED.
OWN = np.array([2, 0, 1, 3, 3, 1, 0, 2])
EMBED = np.linalg.qr(RNG.normal(size=(PIXELS, PIXELS)))[0][:, :8].astype(np.float32)
PROTOTYPES = (RNG.uniform(0.2, 0.8, (len(OWN), PIXELS)) @ EMBED).astype(np.float32)


def logits(x):
    return x @ W


def distances(x):
    difference = (x @ EMBED)[:, None] - PROTOTYPES[None]
    return jnp.sum(difference**2, axis=-1)


def probabilities_by_hand(x):
    z = np.asarray(x, np.float64) @ np.asarray(W, np.float64)
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def decisions_by_hand(name, x):
    """The class decided for, and the confidence in it, an image at a time."""
    if name == "softmax":
        p = probabilities_by_hand(x)
        return p.argmax(-1), p.max(-1)
    decided, confidence = [], []
    for image in np.asarray(x, np.float64):
        d = [np.sum((image @ EMBED - w) ** 2) for w in PROTOTYPES.astype(np.float64)]
        nearest = [min(np.array(d)[label == OWN]) for label in range(CLASSES)]
        first, second = sorted(nearest)[:2]
        decided.append(int(np.argmin(nearest)))
        confidence.append((second - first) / (second + first))
    return np.array(decided), np.array(confidence)


def distance_to_target(x, y):
    scores = objective.glvq(OWN).at({}, 1.0).scores(distances(x))
    return -jnp.take_along_axis(scores, y[:, None], axis=1)[:, 0]


def functions_of(classifier):
    return classifier.loss, classifier.scores, classifier.confidence


GLVQ = functions_of(objective.bind(objective.glvq(OWN).at({}, 1.0), distances))
FUNCTIONS = {
    "softmax": functions_of(objective.bind(objective.softmax().at({}, 1.0), logits)),
    "glvq": GLVQ,
    "sng": functions_of(objective.bind(objective.sng(OWN).at({}, 1.0), distances)),
    "distance": (distance_to_target, *GLVQ[1:]),
}


def fool(name, x=NOISE, target=TARGET, **arguments):
    arguments = {"num_steps": 300, "step_size": 0.05} | arguments
    attack = jax.jit(
        lambda x, target: attacks.fooling(*FUNCTIONS[name], x, target, **arguments)
    )
    return attack(x, target)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_noise_becomes_an_image_the_classifier_is_sure_about(name):
    result = fool(name)
    before, _ = decisions_by_hand(name, NOISE)
    assert np.mean(before != TARGET) > 0.5
    assert np.all(result.success)
    decided, confidence = decisions_by_hand(name, result.x)
    np.testing.assert_array_equal(decided, TARGET)
    assert np.all(confidence > 0.99 - 1e-5)
    assert result.x.min() >= 0
    assert result.x.max() <= 1


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_success_is_decision_and_confidence_and_nothing_else(name, confidence):
    result = fool(name, confidence=confidence, num_steps=4)
    decided, reached = decisions_by_hand(name, result.x)
    expected = (decided == TARGET) & (reached > confidence)
    assert np.all(abs(reached - confidence) > 1e-5)
    np.testing.assert_array_equal(result.success, expected)
    assert np.all(result.steps[~expected] == 4)


def test_a_confident_decision_for_another_class_is_no_success():
    sure = jnp.clip(100 * W.T, 0, 1)
    decided, confidence = decisions_by_hand("softmax", sure)
    assert np.all(confidence > 0.99)
    other = (decided + 1) % CLASSES
    result = fool("softmax", sure, jnp.asarray(other), num_steps=1, step_size=1e-6)
    assert not np.any(result.success)
    there = fool("softmax", sure, jnp.asarray(decided), num_steps=1)
    assert np.all(there.success)
    assert np.all(there.steps == 0)
    chex.assert_trees_all_equal(there.x, sure)


def descend_by_hand(x, target, num_steps, step_size, confidence):
    """Normalised gradient descent on the cross-entropy, an image at a time."""
    w = np.asarray(W, np.float64)
    images, steps = [], []
    for image, label in zip(np.asarray(x, np.float64), target, strict=True):
        taken = 0
        for _ in range(num_steps):
            p = probabilities_by_hand(image[None])[0]
            if p.argmax() == label and p.max() > confidence:
                break
            gradient = w @ (p - np.eye(CLASSES)[label])
            image = image - step_size * gradient / np.linalg.norm(gradient)
            image = np.clip(image, 0, 1)
            taken += 1
        images.append(image)
        steps.append(taken)
    return np.array(images), np.array(steps)


def test_steps_have_a_fixed_length_are_counted_and_end_on_arrival():
    result = fool("softmax", num_steps=40, step_size=0.1)
    images, steps = descend_by_hand(NOISE, TARGET, 40, 0.1, 0.99)
    assert len(set(steps)) > 3
    assert steps.max() < 40
    np.testing.assert_array_equal(result.steps, steps)
    np.testing.assert_allclose(result.x, images, atol=1e-5)


def test_an_image_that_has_arrived_stays():
    short, long = (fool("softmax", num_steps=n) for n in [6, 20])
    done = np.asarray(short.success)
    assert done.any()
    assert not done.all()
    chex.assert_trees_all_equal(long.x[done], short.x[done])
    chex.assert_trees_all_equal(long.steps[done], short.steps[done])
    assert np.all(long.success[done])
    assert np.all(long.steps[~done] > 6)


def test_an_image_that_has_arrived_stays_though_its_confidence_wavers():
    """Two compilations of one function may differ in the last place."""
    wavering = iter([1.0, *[0.5] * 9])
    iteration = attacks.fooling_iteration(
        lambda x, y: jnp.sum(x, axis=-1),
        lambda x: jax.nn.one_hot(jnp.zeros(len(x), int), 2),
        lambda x: jnp.full(len(x), next(wavering)),
        num_steps=3,
    )
    x, target = jnp.full((2, 3), 0.5), jnp.array([0, 1])
    state = iteration.init(x, target)
    for _ in range(3):
        state = iteration.step(state)
    result = iteration.result(state)
    np.testing.assert_array_equal(result.success, [True, False])
    np.testing.assert_array_equal(result.steps, [0, 3])
    chex.assert_trees_all_equal(result.x[0], x[0])


def test_a_target_out_of_reach_is_a_failure_after_all_steps():
    def never(x):
        return jnp.concatenate([x[:, :3], jnp.full((len(x), 1), -1.0)], axis=-1)

    model = objective.bind(objective.softmax().at({}, 1.0), never)
    target = jnp.full(BATCH, 3)
    functions = functions_of(model)
    result = attacks.fooling(*functions, NOISE, target, num_steps=7, confidence=0.0)
    assert not np.any(result.success)
    np.testing.assert_array_equal(result.steps, 7)
    assert np.all(np.isfinite(result.x))


def test_a_confidence_of_one_is_never_exceeded():
    result = fool("softmax", num_steps=5, confidence=1.0)
    assert not np.any(result.success)


def test_the_result_is_the_same_on_two_devices():
    mesh, spec = Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec("data")

    def attack(x, target):
        return attacks.fooling(*FUNCTIONS["softmax"], x, target, step_size=0.1)

    plain = attack(NOISE, TARGET)
    shards = jax.jit(jax.shard_map(attack, mesh=mesh, in_specs=spec, out_specs=spec))
    chex.assert_trees_all_close(shards(NOISE, TARGET), plain, atol=1e-6)
    halves = [a.reshape(2, BATCH // 2, *a.shape[1:]) for a in (NOISE, TARGET)]
    mapped = jax.tree.map(
        lambda a: a.reshape(BATCH, *a.shape[2:]), jax.pmap(attack)(*halves)
    )
    chex.assert_trees_all_close(mapped, plain, atol=1e-6)


def test_a_classifier_is_an_argument_of_jit():
    traces = []

    @jax.jit
    def attack(classifier, x, target):
        traces.append(x)
        return attacks.fooling(*functions_of(classifier), x, target, step_size=0.1)

    family = objective.softmax()
    for w in [W, W[:, ::-1]]:
        predict = Partial(jnp.matmul, b=w)
        result = attack(objective.bind(family.at({}, 1.0), predict), NOISE, TARGET)
        assert np.all(result.success)
        np.testing.assert_array_equal(np.argmax(result.x @ w, -1), TARGET)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidence": 1.5}, r"confidence=1\.5 is outside \[0, 1\]"),
        ({"confidence": np.nan}, r"confidence=nan is outside \[0, 1\]"),
        ({"num_steps": 0}, "num_steps=0 is not a whole number of at least 1"),
        ({"num_steps": True}, "num_steps=True is not a whole number"),
        ({"step_size": 0.0}, r"step_size=0\.0 is outside"),
        ({"step_size": -0.5}, r"step_size=-0\.5 is outside"),
        ({"bounds": (1.0, 0.0)}, r"bounds=\(1\.0, 0\.0\) must be"),
        ({"x": 255 * NOISE}, r"a pixel of x=2\d\d.* is outside \[0, 1\]"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"x": NOISE, "target": TARGET}
    with pytest.raises(ValueError, match=message):
        attacks.fooling(*FUNCTIONS["softmax"], **(good | change))

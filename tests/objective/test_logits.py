"""Objectives of logits against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from robustlabels import objective

CLASSES = 4
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(RNG.normal(size=(8, CLASSES)) * 2, jnp.float32)
LABELS = jnp.asarray([0, 1, 2, 3, 3, 1, 0, 2], jnp.int32)
SIMILARITY = RNG.uniform(0.1, 1, (CLASSES, CLASSES)) * (1 - np.eye(CLASSES))
SIMILARITY /= SIMILARITY.sum(axis=1, keepdims=True)
ZEROS = np.array(
    [[0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0], [0.0, 0.3, 0.0, 0.7], [0, 0, 1, 0]]
)
NOISE = 0.7 * np.eye(CLASSES) + 0.3 * SIMILARITY
COUNTS = [10, 20, 40, 5]


def mixed(similarity, epsilon):
    return (1 - epsilon) * np.eye(CLASSES) + epsilon * similarity


# What each is, as targets [classes, classes] of a cross-entropy.
TARGETS = {
    "softmax": (objective.softmax, np.eye(CLASSES)),
    "label_smoothing": (
        lambda: objective.label_smoothing(CLASSES, smoothing=0.3),
        0.7 * np.eye(CLASSES) + 0.3 / CLASSES,
    ),
    "infogain": (lambda: objective.infogain(COUNTS), np.diag([0.5, 0.25, 0.125, 1])),
    "mcel": (
        lambda: objective.mcel(SIMILARITY, epsilon=0.3),
        mixed(SIMILARITY, 0.3),
    ),
    "sg_mcel": (
        lambda: objective.sg_mcel(SIMILARITY, epsilon=0.3),
        mixed(SIMILARITY, 0.3),
    ),
    "sg_mcel clamp": (
        lambda: objective.sg_mcel(SIMILARITY, epsilon=0.3, parametrization="clamp"),
        mixed(SIMILARITY, 0.3),
    ),
    "gmcel": (
        lambda: objective.gmcel(SIMILARITY, epsilon=0.3),
        mixed(SIMILARITY, 0.3),
    ),
    "gmcel zeros": (lambda: objective.gmcel(ZEROS, margin="hinge"), mixed(ZEROS, 0.2)),
    "backward_corrected": (
        lambda: objective.backward_corrected(NOISE),
        np.linalg.inv(NOISE),
    ),
}
FAMILIES = {name: make for name, (make, _) in TARGETS.items()} | {
    "forward_corrected": lambda: objective.forward_corrected(NOISE)
}


@jax.jit
def loss_of(built, logits, labels):
    return built.loss(logits, labels)


@jax.jit
def losses_one_by_one(built, logits, labels):
    return jax.vmap(lambda z, y: built.loss(z[None], y[None])[0])(logits, labels)


def log_softmax(logits):
    return scipy.special.log_softmax(np.asarray(logits, np.float64), axis=-1)


def loss_by_hand(name, logits, labels):
    if name == "forward_corrected":
        given_ = np.exp(log_softmax(logits)) @ NOISE
        return -np.log(given_[np.arange(len(labels)), labels])
    _, targets = TARGETS[name]
    pairs = zip(log_softmax(logits), np.asarray(labels), strict=True)
    return [-targets[y] @ log_f for log_f, y in pairs]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_matches_the_definition(name):
    family = FAMILIES[name]()
    built = family.at(family.init(KEY), 0.5)
    expected = loss_by_hand(name, LOGITS, LABELS)
    for found in (
        built.loss(LOGITS, LABELS),
        loss_of(built, LOGITS, LABELS),
        losses_one_by_one(built, LOGITS, LABELS),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_scores_are_logits_and_confidence_the_largest_probability():
    extreme = jnp.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4], [3e38, 1.0, 0.0]])
    largest = np.exp(log_softmax(LOGITS)).max(axis=1)
    for make in FAMILIES.values():
        family = make()
        built = family.at(family.init(KEY), 0.5)
        assert built.scores(LOGITS) is LOGITS
        np.testing.assert_allclose(built.confidence(LOGITS), largest, rtol=1e-5)
        found = built.confidence(extreme)
        np.testing.assert_allclose(found, [1, 1 / 3, 1], rtol=1e-3)


@pytest.mark.parametrize("make", [list, tuple, np.float32, jnp.asarray])
def test_tables_may_be_spelled_in_any_way(make):
    """Also of whole numbers: here every class is like, or given as, the next."""
    shifted = np.roll(np.eye(CLASSES, dtype=int), 1, axis=1)
    table, labels = make(shifted.tolist()), np.asarray(LABELS)
    cross_entropies = -log_softmax(LOGITS)[np.arange(8), labels]
    of_next = -log_softmax(LOGITS)[np.arange(8), (labels + 1) % CLASSES]
    of_last = -log_softmax(LOGITS)[np.arange(8), labels - 1]
    for build, expected in (
        (objective.mcel, 0.8 * cross_entropies + 0.2 * of_next),
        (objective.sg_mcel, 0.8 * cross_entropies + 0.2 * of_next),
        (objective.gmcel, 0.8 * cross_entropies + 0.2 * of_next),
        (objective.forward_corrected, of_last),
        (objective.backward_corrected, of_last),
    ):
        family = build(table)
        found = loss_of(family.at(family.init(KEY), 0.0), LOGITS, LABELS)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


BAD = [
    (lambda: objective.label_smoothing(3, smoothing=-0.1), r"smoothing=-0\.1 is outs"),
    (lambda: objective.label_smoothing(1), "num_classes=1 is not a whole number of at"),
    (lambda: objective.infogain([3, 0]), "an entry of class_counts=0 is outside"),
    (lambda: objective.mcel(ZEROS, epsilon=0.6), r"epsilon=0\.6 is outside \[0, 0\.5"),
    (
        lambda: objective.forward_corrected([[0.9, 0.2], [0.0, 1.0]]),
        r"row 0 of the noise matrix sums to 1\.1, not to 1",
    ),
    (
        lambda: objective.backward_corrected([[1.0, 0.0]]),
        r"the noise matrix has the shape \(1, 2\); 1 classes need \(1, 1\)",
    ),
    (
        lambda: objective.backward_corrected([[0.5, 0.5], [0.5, 0.5]]),
        "noise_matrix has the condition number .* some classes are given the same lab",
    ),
    (
        lambda: objective.sg_mcel(ZEROS, parametrization="softplus"),
        "parametrization='softplus' is unknown; choose one of 'sigmoid', 'clamp'",
    ),
    (
        lambda: objective.gmcel(ZEROS, margin="both"),
        "margin='both' is unknown; choose one of 'equality', 'hinge'",
    ),
    (lambda: objective.gmcel(ZEROS, eta=-1.0), r"eta=-1\.0 is outside \[0, inf\)"),
    (lambda: objective.gmcel(ZEROS, c=2.0), r"c=2\.0 is outside \[0, 1\]\. It is a"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_is_out_of_range_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [objective.sg_mcel, objective.gmcel])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"epsilon": 0.5},
            r"epsilon=0\.5 is outside \[1e-06, 0\.499999\]\. Learning starts inside of "
            r"\(0, 1/2\): 0\.2 is usual\.",
        ),
        ({"epsilon": 0.0}, r"epsilon=0\.0 is outside"),
        ({"alpha": -1.0}, r"alpha=-1\.0 is outside \[0, inf\)\. A weight of a penalty"),
        ({"beta": -1.0}, r"beta=-1\.0 is outside \[0, inf\)"),
        ({"gamma": float("inf")}, r"gamma=inf is outside \[0, inf\)"),
        ({"p": 0.9}, r"p=0\.9 is outside \[1, inf\)"),
    ],
    ids=str,
)
def test_a_bad_penalty_is_refused_before_training(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(SIMILARITY, **options)

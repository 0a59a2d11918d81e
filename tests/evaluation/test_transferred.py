"""Images made for one model and fed to others, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from small_classifier import batch, classifier, split

from robustlabels import attacks, objective, parallel
from robustlabels.evaluation import budgets, craft, transfer_matrix, transferred

MESH = parallel.make_mesh()
CLEAN = np.asarray(batch[0])
LABELS = np.asarray(split.labels)


def linear(w, x):
    return x.reshape(len(x), -1) @ w


W = np.random.default_rng(3).normal(size=(16, 3)).astype(np.float32)
OTHER = objective.bind(objective.softmax().at({}, 1.0), Partial(linear, jnp.asarray(W)))
MODELS = {"net": classifier, "linear": OTHER}


def made_for(model, attack=None, **arguments):
    attack = attack or budgets.fgsm()
    arguments = {"epsilon": 0.2, "key": jax.random.key(0), "mesh": MESH} | arguments
    return craft(attack, lambda c: c.loss, model, split, **arguments)


@pytest.mark.parametrize("batch_size", [1000, 6])
def test_every_image_is_attacked_in_the_order_of_the_split(batch_size):
    found = made_for(classifier, batch_size=batch_size)
    expected = attacks.fgsm(classifier.loss, *batch, epsilon=0.2)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_random_attack_gives_each_example_its_own_key():
    pgd = budgets.pgd(num_steps=3, relative_step_size=0.5)
    alike = [made_for(classifier, pgd, batch_size=size) for size in (6, 1000)]
    np.testing.assert_allclose(*alike, atol=1e-6)


def test_targets_lead_where_they_say():
    towards = np.zeros(23, np.int32)
    attack = budgets.fgsm(targeted=True)
    found = craft(
        attack,
        lambda c: attacks.targeted(c.loss),
        classifier,
        split,
        epsilon=0.2,
        key=jax.random.key(0),
        mesh=MESH,
        towards=towards,
    )
    target = jnp.asarray(towards)
    gains = classifier.loss(batch[0], target) - classifier.loss(found, target)
    assert np.mean(np.asarray(gains) > 0) > 0.9


def test_a_search_towards_a_class_ends_there():
    found = craft(
        budgets.minimum_distortion(targeted=True),
        lambda c: attacks.targeted(c.loss),
        classifier,
        split,
        epsilon=0.0,
        key=jax.random.key(0),
        mesh=MESH,
        towards=np.ones(23, np.int32),
    )
    assert np.all(np.asarray(classifier.scores(found)).argmax(1) == 1)
    there = np.asarray(classifier.scores(CLEAN)).argmax(1) == 1
    np.testing.assert_array_equal(found[there], CLEAN[there])


def test_a_search_leaves_clean_what_is_wrong_already():
    found = made_for(classifier, budgets.deepfool(num_steps=20))
    wrong = np.asarray(classifier.scores(CLEAN)).argmax(1) != LABELS
    np.testing.assert_array_equal(found[wrong], CLEAN[wrong])
    assert np.all(np.asarray(classifier.scores(found)).argmax(1) != LABELS)


def test_a_change_is_amplified_to_its_size_and_clipped():
    x_adv = CLEAN + np.random.default_rng(0).normal(size=CLEAN.shape, scale=0.01)
    x_adv[3] = CLEAN[3]
    found = transferred.amplified(x_adv.astype(np.float32), CLEAN, rms=0.1)
    for i, (after, before) in enumerate(zip(x_adv, CLEAN, strict=True)):
        change = (after - before).astype(np.float64)
        size = np.sqrt(np.mean(change**2))
        expected = before if i == 3 else np.clip(before + 0.1 * change / size, 0, 1)
        np.testing.assert_allclose(found[i], expected, atol=1e-5)


def errors_by_hand(model, images):
    x = np.asarray(images, np.float64).reshape(len(images), -1)
    weights = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(model.scores)]
    scores = x @ W if model is OTHER else np.tanh(x @ weights[0]) @ weights[1]
    return np.mean(scores.argmax(1) != LABELS)


def test_the_matrix_is_that_of_numpy():
    images = {name: made_for(model) for name, model in MODELS.items()}
    found = transfer_matrix(MODELS, split, images, rms=[0.05, 0.3], mesh=MESH)
    assert found.names == ("net", "linear")
    assert found.n == 23
    assert set(found.errors) == {"as found", "0.05", "0.3"}
    for size, rows in found.errors.items():
        for name, row in zip(MODELS, rows, strict=True):
            shown = images[name]
            if size != "as found":
                shown = transferred.amplified(shown, CLEAN, rms=float(size))
            expected = [errors_by_hand(model, shown) for model in MODELS.values()]
            np.testing.assert_allclose(row, expected, atol=1e-9)
    clean = [errors_by_hand(model, CLEAN) for model in MODELS.values()]
    np.testing.assert_allclose(found.clean, clean)
    for rms, made in zip(found.rms, images.values(), strict=True):
        sizes = np.sqrt(np.mean((made - CLEAN) ** 2, axis=(1, 2, 3)))
        assert rms == pytest.approx(sizes.mean(), rel=1e-5)
    noise = transferred.noisy(CLEAN, rms=0.3, seed=0)
    np.testing.assert_allclose(
        found.noise["0.3"], [errors_by_hand(model, noise) for model in MODELS.values()]
    )
    own = found.errors["as found"][0]
    assert own[0] > clean[0]


def test_noise_has_its_size_and_stays_within():
    grey = np.full((50, 8, 8, 1), 0.5, np.float32)
    noise = transferred.noisy(grey, rms=0.1, seed=1)
    assert np.std(noise - grey) == pytest.approx(0.1, rel=0.05)
    assert not np.array_equal(noise, transferred.noisy(grey, rms=0.1, seed=2))
    wide = transferred.noisy(grey, rms=3.0, seed=1)
    assert wide.min() == 0
    assert wide.max() == 1

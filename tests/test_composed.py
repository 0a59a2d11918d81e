"""Loss and scores of one model cost one run of it, and mean what they meant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from robustlabels import attacks, objective
from robustlabels._composed import loss_and_scores

RNG = np.random.default_rng(0)
WEIGHTS = jnp.asarray(RNG.normal(size=(6, 3)), jnp.float32)
X = jnp.asarray(RNG.uniform(size=(5, 6)), jnp.float32)
Y = jnp.asarray(RNG.integers(0, 3, 5), jnp.int32)
RUNS = []
LOSSES = {
    "own": lambda model: model.loss,
    "margin": lambda model: model.margin,
    "cross-entropy": lambda model: model.cross_entropy,
    "dlr": lambda model: model.dlr,
    "targeted": lambda model: attacks.targeted(model.loss),
    "targeted twice": lambda model: attacks.targeted(attacks.targeted(model.loss)),
}
SEARCHES = {
    "ddn": attacks.ddn_iteration,
    "minimum_distortion": attacks.minimum_distortion_iteration,
}


def predict(weights, x):
    RUNS.append(x)
    return x @ weights


MODEL = objective.bind(objective.softmax().at({}, 1.0), Partial(predict, WEIGHTS))


def runs_of(function, *arguments):
    RUNS.clear()
    jax.eval_shape(function, *arguments)
    return len(RUNS)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_beside_the_scores_runs_the_model_once(name):
    def both(model, x, y):
        return loss_and_scores(LOSSES[name](model), model.scores)(x, y)

    assert runs_of(both, MODEL, X, Y) == 1
    for found in (both, jax.jit(both)):
        losses, scores = found(MODEL, X, Y)
        np.testing.assert_allclose(losses, LOSSES[name](MODEL)(X, Y), rtol=1e-6)
        np.testing.assert_allclose(scores, X @ WEIGHTS, rtol=1e-6)


def test_functions_of_other_models_are_called_each():
    other = MODEL._replace(predict=Partial(predict, -WEIGHTS))
    losses, scores = loss_and_scores(MODEL.loss, other.scores)(X, Y)
    np.testing.assert_array_equal(losses, MODEL.loss(X, Y))
    np.testing.assert_array_equal(scores, other.scores(X))
    losses, scores = loss_and_scores(lambda x, y: x[:, 0] - y, MODEL.scores)(X, Y)
    np.testing.assert_array_equal(losses, X[:, 0] - Y)
    np.testing.assert_array_equal(scores, MODEL.scores(X))


@pytest.mark.parametrize("name", SEARCHES)
def test_a_step_of_a_search_runs_the_model_once(name):
    iteration = SEARCHES[name](MODEL.loss, MODEL.scores)
    apart = SEARCHES[name](lambda *of: MODEL.loss(*of), lambda x: MODEL.scores(x))
    state = iteration.init(X, Y)
    assert runs_of(iteration.step, state) == 1
    assert runs_of(apart.step, state) == 2
    for _ in range(5):
        together, alone = iteration.step(state), apart.step(state)
        state = together
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            together,
            alone,
        )

"""What training descends and how its outputs decide, bound into one object.

All functions are `jax.tree_util.Partial` over public ones, so objectives, classifiers
and families are pytrees: they can be arguments of `jax.jit`, be pickled and printed.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.tree_util import Partial

from robustlabels import losses
from robustlabels._composed import compose

__all__ = ["Classifier", "Family", "Objective", "bind", "constant", "family"]


class Objective(NamedTuple):
    """A loss and its decision, as functions of a model's outputs.

    Attributes:
      loss: (outputs, labels) -> [batch], what training descends.
      scores: (outputs) -> [batch, classes]; the largest is the decision.
      confidence: (outputs) -> [batch] in [0, 1], in that decision.
    """

    loss: Callable
    scores: Callable
    confidence: Callable


class Classifier(NamedTuple):
    """The same as functions of images: all that attacks and evaluation ever see.

    As a pytree it has the model's arrays once, whatever is asked of it. All its
    functions are `compose`d of one prediction: attacks that are given loss and scores
    run the model once.

    Attributes:
      objective: what the outputs mean.
      predict: (x) -> outputs.
    """

    objective: Objective
    predict: Callable

    @property
    def loss(self) -> Callable:
        """(x, labels) -> [batch]."""
        return compose(self.objective.loss, self.predict)

    @property
    def scores(self) -> Callable:
        """(x) -> [batch, classes]."""
        return compose(self.objective.scores, self.predict)

    @property
    def confidence(self) -> Callable:
        """(x) -> [batch] in [0, 1]."""
        return compose(self.objective.confidence, self.predict)

    @property
    def margin(self) -> Callable:
        """(x, labels) -> [batch]: best wrong score minus own score, `losses.margin`.

        The loss that attacks the decision.
        """
        return self._of_scores(losses.margin)

    @property
    def cross_entropy(self) -> Callable:
        """(x, labels) -> [batch]: `losses.tempered_cross_entropy` of the scores."""
        return self._of_scores(losses.tempered_cross_entropy)

    @property
    def dlr(self) -> Callable:
        """(x, labels) -> [batch]: difference of logits ratio, `losses.dlr`."""
        return self._of_scores(losses.dlr)

    def _of_scores(self, loss: Callable) -> Callable:
        head = Partial(_loss_of_scores, Partial(loss), self.objective.scores)
        return compose(head, self.predict)


class Family(NamedTuple):
    """Objectives along training.

    Attributes:
      init: (key) -> params that are learned beside the model's; {} if there are none.
      at: (params, progress) -> Objective; progress, the share of the training that is
        done, in [0, 1], may be traced.
      penalty: (params) -> scalar that is added to the mean loss.
      learned: (params) -> arrays by name, [classes] each, to be logged while training
        goes on; {} where nothing is learned.
    """

    init: Callable
    at: Callable
    penalty: Callable
    learned: Callable


def bind(objective: Objective, predict: Callable) -> Classifier:
    """Composes an objective with a prediction function.

    Args:
      objective: what the outputs mean.
      predict: (x) -> outputs. A `Partial` keeps the classifier a pytree of arrays.

    >>> from robustlabels.objective import softmax
    >>> classifier = bind(softmax().at({}, 1.0), lambda x: x @ jnp.eye(2))
    >>> print(classifier.scores(jnp.array([[1.0, 0.0]])))
    [[1. 0.]]
    """
    if not isinstance(predict, Partial):
        predict = Partial(predict)
    return Classifier(objective, predict)


def _loss_of_scores(loss, scores, outputs, labels):
    return loss(scores(outputs), labels)


def family(
    at: Callable,
    *,
    init: Callable | None = None,
    penalty: Callable | None = None,
    learned: Callable | None = None,
) -> Family:
    """A family; whatever is left out is that of one that learns nothing.

    Args:
      at: (params, progress) -> Objective.
      init: (key) -> params.
      penalty: (params) -> scalar.
      learned: (params) -> arrays by name.

    >>> from robustlabels.objective import softmax
    >>> print(family(softmax().at).learned({}))
    {}
    """
    return Family(
        init=init or Partial(_no_parameters),
        at=at,
        penalty=penalty or Partial(_no_penalty),
        learned=learned or Partial(_nothing),
    )


def constant(objective: Objective) -> Family:
    """The family that is one objective all along.

    >>> from robustlabels.objective import softmax
    >>> same = constant(softmax().at({}, 0.0))
    >>> print(same.at({}, 1.0).scores(jnp.array([[2.0, 1.0]])))
    [[2. 1.]]
    """
    return family(Partial(_constant_at, objective))


def _constant_at(objective, params, progress):
    del params, progress
    return objective


def _no_parameters(key):
    del key
    return {}


def _no_penalty(params):
    del params
    return jnp.zeros(())


def _nothing(params):
    del params
    return {}

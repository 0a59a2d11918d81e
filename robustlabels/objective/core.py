"""What training descends and how its outputs decide, bound into one object.

All functions are `jax.tree_util.Partial` over public ones, so objectives, classifiers
and families are pytrees: they can be arguments of `jax.jit`, be pickled and printed.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from robustlabels import losses

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

    As a pytree it has the model's arrays once, whatever is asked of it: a program that
    is given a classifier and needs loss and scores runs the model once. (Inside of a
    loop XLA may run it for each: it hoists what does not change before it looks for
    equal expressions.)

    Attributes:
      objective: what the outputs mean.
      predict: (x) -> outputs.
    """

    objective: Objective
    predict: Callable

    @property
    def loss(self) -> Callable:
        """(x, labels) -> [batch]."""
        return Partial(_loss_of_images, self.objective.loss, self.predict)

    @property
    def scores(self) -> Callable:
        """(x) -> [batch, classes]."""
        return Partial(_of_images, self.objective.scores, self.predict)

    @property
    def confidence(self) -> Callable:
        """(x) -> [batch] in [0, 1]."""
        return Partial(_of_images, self.objective.confidence, self.predict)

    def margin(
        self, x: Float[Array, "batch ..."], labels: Int[Array, " batch"]
    ) -> Float[Array, " batch"]:
        """Best wrong score minus own score: the loss that attacks the decision."""
        return losses.margin(self.scores(x), labels)

    def cross_entropy(
        self, x: Float[Array, "batch ..."], labels: Int[Array, " batch"]
    ) -> Float[Array, " batch"]:
        """Cross-entropy of the scores on one scale, `losses.tempered_cross_entropy`."""
        return losses.tempered_cross_entropy(self.scores(x), labels)

    def dlr(
        self, x: Float[Array, "batch ..."], labels: Int[Array, " batch"]
    ) -> Float[Array, " batch"]:
        """Difference of logits ratio of the scores, `losses.dlr`."""
        return losses.dlr(self.scores(x), labels)


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


def _loss_of_images(loss, predict, x, labels):
    return loss(predict(x), labels)


def _of_images(function, predict, x):
    return function(predict(x))


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

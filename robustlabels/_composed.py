"""Functions of images that are functions of a model's outputs, and known as such.

A loss and scores of one model cost one run of it. XLA sees that where both stand in
one program, but not inside of a loop: it moves what does not change out of the loop,
each copy by itself, and what is left no longer looks equal.
"""

from collections.abc import Callable
from typing import TypeGuard

from jax.tree_util import Partial

__all__ = ["around", "compose", "loss_and_scores"]


def compose(head: Callable, predict: Callable) -> Partial:
    """(x, *labels) -> head(predict(x), *labels), a pytree if both are.

    >>> compose(lambda outputs, y: outputs + y, lambda x: 2 * x)(3, 1)
    7
    """
    return Partial(_composed, head, predict)


def around(change: Callable, function: Callable) -> Partial:
    """(*arguments) -> change(function, *arguments), composed if the function is.

    >>> minus = around(lambda f, *args: -f(*args), compose(abs, lambda x: 2 * x))
    >>> minus(3), minus.args[1](3)
    (-6, 6)
    """
    if _is_composed(function):
        head, predict = function.args
        return compose(Partial(change, head), predict)
    if not isinstance(function, Partial):
        function = Partial(function)
    return Partial(change, function)


def loss_and_scores(loss_fn: Callable, scores_fn: Callable) -> Callable:
    """(x, y) -> (losses, scores), by one run of the model that both are composed of.

    Functions of different models, or of who knows what, are called one by one.

    Args:
      loss_fn: (x, y) -> [batch].
      scores_fn: (x) -> [batch, classes].

    >>> def predict(x):
    ...     print("runs")
    ...     return 2 * x
    >>> loss = compose(lambda outputs, y: outputs - y, predict)
    >>> loss_and_scores(loss, compose(lambda outputs: outputs, predict))(3, 1)
    runs
    (5, 6)
    """
    if _is_composed(loss_fn) and _is_composed(scores_fn):
        (loss, predict), (scores, other) = loss_fn.args, scores_fn.args
        if predict is other:
            return lambda x, y: _through(predict(x), loss, scores, y)
    return lambda x, y: (loss_fn(x, y), scores_fn(x))


def _through(outputs, loss, scores, y):
    return loss(outputs, y), scores(outputs)


def _composed(head, predict, x, *labels):
    return head(predict(x), *labels)


def _is_composed(function: Callable) -> TypeGuard[Partial]:
    return isinstance(function, Partial) and function.func is _composed

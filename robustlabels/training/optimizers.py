"""Optimisers, by the name a config knows them by.

Weight decay pulls the weights of linear and convolutional layers alone, the parameters
named `kernel`: norms, biases, prototypes and what an objective learns are spared.
"""

from typing import Any

import jax
import optax

from robustlabels import _validate

__all__ = ["adam", "adamw", "sgd"]


def sgd(
    learning_rate: optax.ScalarOrSchedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Stochastic gradient descent; weight decay is added to the gradient.

    Args:
      learning_rate: a number or a schedule.
      momentum: in [0, 1].
      nesterov: whether the momentum looks ahead.
      weight_decay: not negative.

    Raises:
      ValueError: for a value out of range.

    >>> params = {"kernel": jax.numpy.ones(2)}
    >>> optimizer = sgd(0.5, momentum=0.0)
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> print(updates["kernel"])
    [-0.5 -0.5]
    """
    _validate.in_range(0.0, 1.0, momentum=momentum, fix="0.9 is usual.")
    return optax.chain(
        _decay_of_gradient(weight_decay),
        optax.sgd(learning_rate, momentum=momentum or None, nesterov=nesterov),
    )


def adam(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Adam, Kingma & Ba (2015); weight decay is added to the gradient.

    Args:
      learning_rate: a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: positive.
      weight_decay: not negative.

    Raises:
      ValueError: for a value out of range.

    >>> params = {"kernel": jax.numpy.ones(2)}
    >>> optimizer = adam(0.5)
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> print(updates["kernel"].round(3))
    [-0.5 -0.5]
    """
    _check_moments(b1, b2, eps)
    return optax.chain(
        _decay_of_gradient(weight_decay), optax.adam(learning_rate, b1, b2, eps)
    )


def adamw(
    learning_rate: optax.ScalarOrSchedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-4,
) -> optax.GradientTransformation:
    """Adam with weight decay apart from the gradient, Loshchilov & Hutter (2019).

    Args:
      learning_rate: a number or a schedule.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: positive.
      weight_decay: not negative.

    Raises:
      ValueError: for a value out of range.

    >>> params = {"bias": jax.numpy.ones(2)}
    >>> optimizer = adamw(0.5, weight_decay=0.1)
    >>> zero = {"bias": jax.numpy.zeros(2)}
    >>> updates, _ = optimizer.update(zero, optimizer.init(params), params)
    >>> print(updates["bias"])
    [-0. -0.]
    """
    _check_moments(b1, b2, eps)
    _check_decay(weight_decay)
    return optax.adamw(
        learning_rate, b1, b2, eps, weight_decay=weight_decay, mask=_kernels
    )


def apart(
    model: optax.GradientTransformation, objective: optax.GradientTransformation
) -> optax.GradientTransformation:
    """An optimiser each for params["model"] and params["objective"].

    >>> params = {"model": jax.numpy.ones(1), "objective": jax.numpy.ones(1)}
    >>> both = apart(optax.sgd(0.5), optax.sgd(0.1))
    >>> updates, _ = both.update(params, both.init(params), params)
    >>> print(updates["model"], updates["objective"])
    [-0.5] [-0.1]
    """
    names = {"model": "model", "objective": "objective"}
    return optax.partition({"model": model, "objective": objective}, names)


def _decay_of_gradient(weight_decay: float) -> optax.GradientTransformation:
    _check_decay(weight_decay)
    return optax.add_decayed_weights(weight_decay, mask=_kernels)


def _check_decay(weight_decay: float) -> None:
    fix = "1e-4 is usual."
    _validate.in_range(0.0, float("inf"), weight_decay=weight_decay, fix=fix)


def _check_moments(b1: float, b2: float, eps: float) -> None:
    _validate.in_range(0.0, 1.0 - 1e-9, b1=b1, b2=b2, fix="0.9 and 0.999 are usual.")
    _validate.in_range(1e-30, float("inf"), eps=eps, fix="1e-8 is usual.")


def _kernels(params: Any) -> Any:
    """Which leaves weight decay pulls."""

    def is_kernel(path, leaf):
        del leaf
        names = [getattr(entry, "key", getattr(entry, "name", None)) for entry in path]
        return "kernel" in names

    return jax.tree_util.tree_map_with_path(is_kernel, params)

"""Robustness curves: which examples still stand at each epsilon."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

__all__ = ["robustness_curve", "stands", "worst_case", "zero_gradients"]

LossFn = Callable[[Array, Array], Array]


def stands(
    scores_fn: Callable[[Array], Array],
    attack: Callable[..., Array],
    loss_fn: LossFn,
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    epsilon: Any,
    key: Key[Array, "..."] | None = None,
) -> Bool[Array, " batch"]:
    """Which examples are still decided correctly after an attack.

    Args:
      scores_fn: (x) -> [batch, classes], such as `Classifier.scores`.
      attack: (loss_fn, x, y, *, epsilon, key) -> x_adv.
      loss_fn: what the attack ascends, such as `Classifier.loss` or
        `Classifier.margin`.
      x: images.
      y: class ids.
      epsilon: size of the attack; may be traced.
      key: for attacks that are random.

    >>> from robustlabels import attacks
    >>> def attack(loss_fn, x, y, *, epsilon, key):
    ...     return attacks.fgsm(loss_fn, x, y, epsilon=epsilon)
    >>> x, y = jnp.array([[0.6, 0.4], [0.9, 0.1]]), jnp.array([0, 0])
    >>> loss = lambda x, y: x[:, 1] - x[:, 0]
    >>> print(stands(lambda x: x, attack, loss, x, y, epsilon=0.2))
    [False  True]
    """
    x_adv = attack(loss_fn, x, y, epsilon=epsilon, key=key)
    return jnp.argmax(scores_fn(x_adv), axis=-1) == y


def robustness_curve(
    scores_fn: Callable[[Array], Array],
    attack: Callable[..., Array],
    loss_fn: LossFn,
    x: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    *,
    epsilons: Float[Array, " epsilons"],
    key: Key[Array, "..."] | None = None,
) -> Bool[Array, "epsilons batch"]:
    """Which examples stand at each epsilon; one compile serves the whole curve.

    Arguments as in `stands`, and:
      epsilons: growing sizes of the attack; may be traced.

    Guarantees: what falls at an epsilon has fallen at every larger one, for its image
    is still in the ball.

    >>> from robustlabels import attacks
    >>> def attack(loss_fn, x, y, *, epsilon, key):
    ...     return attacks.fgsm(loss_fn, x, y, epsilon=epsilon)
    >>> x, y = jnp.array([[0.6, 0.4], [0.9, 0.1]]), jnp.array([0, 0])
    >>> loss = lambda x, y: x[:, 1] - x[:, 0]
    >>> epsilons = jnp.array([0.0, 0.2, 0.5])
    >>> print(robustness_curve(lambda x: x, attack, loss, x, y, epsilons=epsilons))
    [[ True  True]
     [False  True]
     [False False]]
    """

    def at(epsilon):
        return stands(scores_fn, attack, loss_fn, x, y, epsilon=epsilon, key=key)

    flags = jax.lax.map(at, epsilons)
    return jax.lax.associative_scan(jnp.logical_and, flags)


def worst_case(
    *flags: Bool[Array | np.ndarray, "epsilons batch"],
) -> Bool[Array, "epsilons batch"]:
    """Which examples stand against every one of several attacks.

    Args:
      *flags: curves of the same examples over the same epsilons.

    >>> print(worst_case(jnp.array([[True, True]]), jnp.array([[True, False]])))
    [[ True False]]
    """
    return jnp.all(jnp.stack(flags), axis=0)


def zero_gradients(
    loss_fn: LossFn, x: Float[Array, "batch ..."], y: Int[Array, " batch"]
) -> Bool[Array, " batch"]:
    """Which examples have an input gradient of exactly zero in every pixel.

    A gradient attack cannot move them: a robust figure over them says nothing.

    Args:
      loss_fn: (x, y) -> [batch].
      x: images.
      y: class ids.

    >>> loss = lambda x, y: jax.nn.relu(x.sum(-1) - 1.0)
    >>> print(zero_gradients(loss, jnp.array([[0.1], [3.0]]), jnp.array([0, 0])))
    [ True False]
    """
    gradient = jax.grad(lambda x: jnp.sum(loss_fn(x, y)))(x)
    return jnp.all(gradient == 0, axis=range(1, x.ndim))

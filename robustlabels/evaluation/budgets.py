"""Attacks for the harness: everything about an attack but how far it may go.

Each constructor returns an `Attack`, which takes epsilon and key when they are known.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int, Key

from robustlabels import _validate, attacks
from robustlabels.attacks import Iteration

__all__ = ["fgsm", "gaussian_noise", "pgd", "uniform_noise"]


class Attack(NamedTuple):
    """An attack whose epsilon is open.

    Attributes:
      iteration: (loss_fn, *, epsilon, key) -> `attacks.Iteration`; epsilon may be
        traced, key is one key or one an example.
      follows_loss: whether the loss matters; noise has none to follow.
      unit_range: whether epsilon is a change of a pixel, in [0, 1].
    """

    iteration: Callable[..., Iteration]
    follows_loss: bool
    unit_range: bool

    def __call__(
        self,
        loss_fn: Callable[[Array, Array], Array],
        x: Float[Array, "batch ..."],
        y: Int[Array, " batch"],
        *,
        epsilon: Any,
        key: Key[Array, "..."] | None = None,
    ) -> Float[Array, "batch ..."]:
        """Runs it from start to end, as `stands` and `robustness_curve` do.

        >>> import jax.numpy as jnp
        >>> x, y = jnp.array([[0.5, 0.9]]), jnp.array([0])
        >>> print(fgsm()(lambda x, y: x.sum(-1), x, y, epsilon=0.25))
        [[0.75 1.  ]]
        """
        return attacks.run(self.iteration(loss_fn, epsilon=epsilon, key=key), x, y)


def fgsm() -> Attack:
    """`attacks.fgsm`: one step to the corner of the ball.

    >>> fgsm().follows_loss
    True
    """

    def iteration(loss_fn, *, epsilon, key):
        del key
        return attacks.pgd_iteration(
            loss_fn, epsilon=epsilon, num_steps=1, step_size=epsilon
        )

    return Attack(iteration, follows_loss=True, unit_range=True)


def pgd(
    *,
    num_steps: int = 40,
    relative_step_size: float = 0.1,
    norm: str = "linf",
    random_start: bool = True,
) -> Attack:
    """`attacks.pgd` with steps in proportion to epsilon.

    Args:
      num_steps: at least 1.
      relative_step_size: length of a step as a share of epsilon, positive.
      norm: "linf" or "l2".
      random_start: whether it starts at a random point of the ball.

    Raises:
      ValueError: for a value out of range.

    >>> pgd(num_steps=10, norm="l2").unit_range
    False
    """
    _validate.count(num_steps=num_steps)
    _validate.in_range(
        1e-30,
        float("inf"),
        relative_step_size=relative_step_size,
        fix="It is a share of epsilon: 0.1 is usual.",
    )
    _validate.one_of(("linf", "l2"), norm=norm)

    def iteration(loss_fn, *, epsilon, key):
        return attacks.pgd_iteration(
            loss_fn,
            epsilon=epsilon,
            num_steps=num_steps,
            step_size=relative_step_size * epsilon,
            norm=norm,
            key=key if random_start else None,
        )

    return Attack(iteration, follows_loss=True, unit_range=norm == "linf")


def gaussian_noise() -> Attack:
    """`attacks.gaussian_noise`; epsilon is its standard deviation.

    >>> gaussian_noise().follows_loss
    False
    """

    def iteration(loss_fn, *, epsilon, key):
        del loss_fn
        return attacks.gaussian_noise_iteration(epsilon=epsilon, key=key)

    return Attack(iteration, follows_loss=False, unit_range=False)


def uniform_noise(*, norm: str = "linf") -> Attack:
    """`attacks.uniform_noise`; epsilon is the radius of its ball.

    Args:
      norm: "linf" or "l2".

    Raises:
      ValueError: for an unknown norm.

    >>> uniform_noise().follows_loss
    False
    """
    _validate.one_of(("linf", "l2"), norm=norm)

    def iteration(loss_fn, *, epsilon, key):
        del loss_fn
        return attacks.uniform_noise_iteration(epsilon=epsilon, key=key, norm=norm)

    return Attack(iteration, follows_loss=False, unit_range=norm == "linf")

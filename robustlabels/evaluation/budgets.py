"""Attacks for the harness: everything about an attack but how far it may go.

Each constructor returns an `Attack`, whose function takes epsilon and key at the call.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from robustlabels import _validate, attacks

__all__ = ["fgsm", "gaussian_noise", "pgd", "uniform_noise"]


class Attack(NamedTuple):
    """An attack whose epsilon is open.

    Attributes:
      function: (loss_fn, x, y, *, epsilon, key) -> x_adv.
      follows_loss: whether the loss matters; noise has none to follow.
      unit_range: whether epsilon is a change of a pixel, in [0, 1].
    """

    function: Callable[..., Any]
    follows_loss: bool
    unit_range: bool


def fgsm() -> Attack:
    """`attacks.fgsm`: one step to the corner of the ball.

    >>> fgsm().follows_loss
    True
    """

    def attack(loss_fn, x, y, *, epsilon, key):
        del key
        return attacks.fgsm(loss_fn, x, y, epsilon=epsilon)

    return Attack(attack, follows_loss=True, unit_range=True)


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

    def attack(loss_fn, x, y, *, epsilon, key):
        return attacks.pgd(
            loss_fn,
            x,
            y,
            epsilon=epsilon,
            num_steps=num_steps,
            step_size=relative_step_size * epsilon,
            norm=norm,
            key=key if random_start else None,
        )

    return Attack(attack, follows_loss=True, unit_range=norm == "linf")


def gaussian_noise() -> Attack:
    """`attacks.gaussian_noise`; epsilon is its standard deviation.

    >>> gaussian_noise().follows_loss
    False
    """

    def attack(loss_fn, x, y, *, epsilon, key):
        del loss_fn, y
        return attacks.gaussian_noise(x, epsilon=epsilon, key=key)

    return Attack(attack, follows_loss=False, unit_range=False)


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

    def attack(loss_fn, x, y, *, epsilon, key):
        del loss_fn, y
        return attacks.uniform_noise(x, epsilon=epsilon, key=key, norm=norm)

    return Attack(attack, follows_loss=False, unit_range=norm == "linf")

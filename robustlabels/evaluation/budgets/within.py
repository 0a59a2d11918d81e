"""Attacks within a ball, whose steps are in proportion to epsilon."""

from robustlabels import _validate, attacks
from robustlabels.evaluation.budgets.attack import Attack

__all__ = ["fgsm", "gaussian_noise", "pgd", "uniform_noise"]

_UNITS = ("pixel", "std")


def fgsm(*, unit: str = "pixel", targeted: bool = False) -> Attack:
    """`attacks.fgsm`: one step to the corner of the ball.

    Args:
      unit: of epsilon, "pixel" or "std".
      targeted: whether it leads towards another class, drawn at random.

    Raises:
      ValueError: for an unknown unit.

    >>> fgsm().follows_loss
    True
    """
    _validate.one_of(_UNITS, unit=unit)

    def iteration(loss_fn, scores_fn, *, epsilon, key):
        del scores_fn, key
        return attacks.pgd_iteration(
            loss_fn, epsilon=epsilon, num_steps=1, step_size=epsilon
        )

    return Attack(iteration, True, unit == "pixel", targeted, unit)


def pgd(
    *,
    num_steps: int = 40,
    relative_step_size: float = 0.1,
    norm: str = "linf",
    random_start: bool = True,
    accumulate: bool = False,
    unit: str = "pixel",
    targeted: bool = False,
) -> Attack:
    """`attacks.pgd` with steps in proportion to epsilon.

    Args:
      num_steps: at least 1.
      relative_step_size: length of a step as a share of epsilon, positive.
      norm: "linf" or "l2".
      random_start: whether it starts at a random point of the ball.
      accumulate: whether steps follow the sum of all gradients so far.
      unit: of epsilon, "pixel" or "std".
      targeted: whether it leads towards another class, drawn at random.

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
    _validate.one_of(_UNITS, unit=unit)
    unit_range = norm == "linf" and unit == "pixel"

    def iteration(loss_fn, scores_fn, *, epsilon, key):
        del scores_fn
        return attacks.pgd_iteration(
            loss_fn,
            epsilon=epsilon,
            num_steps=num_steps,
            step_size=relative_step_size * epsilon,
            norm=norm,
            accumulate=accumulate,
            key=key if random_start else None,
        )

    return Attack(iteration, True, unit_range, targeted, unit)


def gaussian_noise() -> Attack:
    """`attacks.gaussian_noise`; epsilon is its standard deviation.

    >>> gaussian_noise().follows_loss
    False
    """

    def iteration(loss_fn, scores_fn, *, epsilon, key):
        del loss_fn, scores_fn
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

    def iteration(loss_fn, scores_fn, *, epsilon, key):
        del loss_fn, scores_fn
        return attacks.uniform_noise_iteration(epsilon=epsilon, key=key, norm=norm)

    return Attack(iteration, follows_loss=False, unit_range=norm == "linf")

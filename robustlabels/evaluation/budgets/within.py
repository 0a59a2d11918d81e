"""Attacks within a ball, whose steps are in proportion to epsilon."""

import functools
from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from robustlabels import _validate, attacks, losses
from robustlabels.attacks import Iteration
from robustlabels.evaluation.budgets.attack import Attack

__all__ = [
    "apgd",
    "apgd_targeted",
    "fgsm",
    "gaussian_noise",
    "mi_fgsm",
    "pgd",
    "square",
    "uniform_noise",
]

_NORMS = ("linf", "l2")
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
    num_restarts: int = 1,
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
      num_restarts: how many random starts, one after another on what stands.
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
    _validate.one_of(_NORMS, norm=norm)
    _validate.one_of(_UNITS, unit=unit)
    _check_restarts(num_restarts, random_start)

    def iteration(loss_fn, scores_fn, *, epsilon, key):
        def once(*, key, epsilon):
            return attacks.pgd_iteration(
                loss_fn,
                epsilon=epsilon,
                num_steps=num_steps,
                step_size=relative_step_size * epsilon,
                norm=norm,
                accumulate=accumulate,
                key=key if random_start else None,
            )

        return _restarted(once, scores_fn, num_restarts, key, epsilon)

    return Attack(iteration, True, norm == "linf" and unit == "pixel", targeted, unit)


def mi_fgsm(
    *,
    num_steps: int = 10,
    momentum: float = 1.0,
    unit: str = "pixel",
    targeted: bool = False,
) -> Attack:
    """`attacks.mi_fgsm`: steps of epsilon / num_steps with momentum.

    Args:
      num_steps: at least 1.
      momentum: decay of earlier gradients, not negative.
      unit: of epsilon, "pixel" or "std".
      targeted: whether it leads towards another class, drawn at random.

    Raises:
      ValueError: for a value out of range.

    >>> mi_fgsm(num_steps=5).follows_loss
    True
    """
    _validate.count(num_steps=num_steps)
    fix = "The paper takes 1."
    _validate.in_range(0.0, float("inf"), momentum=momentum, fix=fix)
    _validate.one_of(_UNITS, unit=unit)

    def iteration(loss_fn, scores_fn, *, epsilon, key):
        del scores_fn, key
        return attacks.pgd_iteration(
            loss_fn,
            epsilon=epsilon,
            num_steps=num_steps,
            step_size=epsilon / num_steps,
            momentum=momentum,
        )

    return Attack(iteration, True, unit == "pixel", targeted, unit)


def apgd(
    *,
    num_steps: int = 100,
    norm: str = "linf",
    random_start: bool = True,
    num_restarts: int = 1,
    unit: str = "pixel",
    targeted: bool = False,
) -> Attack:
    """`attacks.apgd`, which finds its step size on the way.

    Args:
      num_steps: at least 1.
      norm: "linf" or "l2".
      random_start: whether it starts at a random point of the ball.
      num_restarts: how many random starts, one after another on what stands.
      unit: of epsilon, "pixel" or "std".
      targeted: whether it leads towards another class, drawn at random.

    Raises:
      ValueError: for a value out of range.

    >>> apgd(norm="l2").unit_range
    False
    """
    _validate.count(num_steps=num_steps)
    _validate.one_of(_NORMS, norm=norm)
    _validate.one_of(_UNITS, unit=unit)
    _check_restarts(num_restarts, random_start)

    def iteration(loss_fn, scores_fn, *, epsilon, key):
        def once(*, key, epsilon):
            return attacks.apgd_iteration(
                loss_fn,
                epsilon=epsilon,
                num_steps=num_steps,
                norm=norm,
                key=key if random_start else None,
            )

        return _restarted(once, scores_fn, num_restarts, key, epsilon)

    return Attack(iteration, True, norm == "linf" and unit == "pixel", targeted, unit)


def apgd_targeted(
    *,
    num_steps: int = 100,
    num_targets: int = 9,
    norm: str = "linf",
    unit: str = "pixel",
) -> Attack:
    """APGD-T, Croce & Hein (2020): towards one after another of the best wrong classes.

    It ascends `losses.targeted_dlr`, whatever the classifier's own loss is.

    Args:
      num_steps: for each class, at least 1.
      num_targets: how many classes, those of the largest scores on the clean image;
        beyond all that there are it begins again with another random start.
      norm: "linf" or "l2".
      unit: of epsilon, "pixel" or "std".

    Raises:
      ValueError: for a value out of range.

    >>> apgd_targeted(num_targets=3).follows_loss
    False
    """
    _validate.count(num_steps=num_steps, num_targets=num_targets)
    _validate.one_of(_NORMS, norm=norm)
    _validate.one_of(_UNITS, unit=unit)

    def iteration(loss_fn, scores_fn, *, epsilon, key):
        del loss_fn

        def loss(x, labels):
            return losses.targeted_dlr(scores_fn(x), *labels)

        def once(*, key, epsilon):
            return attacks.apgd_iteration(
                loss, epsilon=epsilon, num_steps=num_steps, norm=norm, key=key
            )

        def labels_of(x, y, restart):
            return y, attacks.nth_wrong_class(scores_fn(x), y, restart)

        return attacks.restarted(
            once,
            functools.partial(_margin, scores_fn),
            num_restarts=num_targets,
            key=key,
            labels_of=labels_of,
            epsilon=epsilon,
        )

    return Attack(
        iteration,
        follows_loss=False,
        unit_range=norm == "linf" and unit == "pixel",
        unit=unit,
    )


def square(
    *,
    num_steps: int = 5000,
    norm: str = "linf",
    p_init: float = 0.8,
    unit: str = "pixel",
) -> Attack:
    """`attacks.square`: random search along the margin, without any gradient.

    Args:
      num_steps: queries, at least 1.
      norm: "linf" or "l2".
      p_init: share of the image that the first squares cover, in (0, 1].
      unit: of epsilon, "pixel" or "std".

    Raises:
      ValueError: for a value out of range.

    >>> square(num_steps=1000).follows_loss
    False
    """
    _validate.count(num_steps=num_steps)
    _validate.one_of(_NORMS, norm=norm)
    _validate.in_range(1e-30, 1.0, p_init=p_init, fix="AutoAttack takes 0.8.")
    _validate.one_of(_UNITS, unit=unit)

    def iteration(loss_fn, scores_fn, *, epsilon, key):
        del loss_fn
        return attacks.square_iteration(
            functools.partial(_margin, scores_fn),
            epsilon=epsilon,
            key=key,
            num_steps=num_steps,
            p_init=p_init,
            norm=norm,
        )

    return Attack(
        iteration,
        follows_loss=False,
        unit_range=norm == "linf" and unit == "pixel",
        unit=unit,
    )


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


def _margin(scores_fn: Callable[[Array], Array], x: Array, y: Array) -> Array:
    return losses.margin(scores_fn(x), y)


def _check_restarts(num_restarts: int, random_start: bool) -> None:
    _validate.count(num_restarts=num_restarts)
    if num_restarts > 1 and not random_start:
        raise ValueError(
            f"num_restarts={num_restarts} without a random start would be the same "
            "again: set random_start=True."
        )


def _restarted(
    once: Callable[..., Iteration],
    scores_fn: Callable[[Array], Array] | None,
    num_restarts: int,
    key: Any,
    epsilon: Any,
) -> Iteration:
    """One run of an attack, or several, of which the largest margin is the best."""
    if num_restarts == 1:
        return once(key=key, epsilon=epsilon)
    if scores_fn is None:
        raise ValueError(f"num_restarts={num_restarts} needs scores_fn, to compare.")
    return attacks.restarted(
        once,
        functools.partial(_margin, scores_fn),
        num_restarts=num_restarts,
        key=key,
        epsilon=epsilon,
    )

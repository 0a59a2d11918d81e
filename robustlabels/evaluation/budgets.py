"""Attacks for the harness: everything about an attack but how far it may go.

Each constructor returns an `Attack`, which takes epsilon and key when they are known.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Key

from robustlabels import _validate, attacks
from robustlabels.attacks import Iteration

__all__ = ["fgsm", "gaussian_noise", "pgd", "uniform_noise"]

_UNITS = ("pixel", "std")


class Attack(NamedTuple):
    """An attack whose epsilon is open.

    Attributes:
      iteration: (loss_fn, *, epsilon, key) -> `attacks.Iteration`; epsilon may be
        traced, key is one key or one an example.
      follows_loss: whether the loss matters; noise has none to follow.
      unit_range: whether epsilon is a change of a pixel, in [0, 1].
      targeted: whether each example is led towards another class, drawn at random.
      unit: what epsilon counts: "pixel", or "std" for standard deviations of each
        channel of the training images, which is a pixel of a normalised image.
    """

    iteration: Callable[..., Iteration]
    follows_loss: bool
    unit_range: bool
    targeted: bool = False
    unit: str = "pixel"

    def in_pixels(self, std: Float[np.ndarray, " channels"]) -> "Attack":
        """The same attack with its epsilon turned into pixels.

        Args:
          std: of each channel, in pixels.

        >>> import jax.numpy as jnp
        >>> x, y = jnp.zeros((1, 2)), jnp.array([0])
        >>> attack = fgsm(unit="std").in_pixels(np.array([0.5, 0.25]))
        >>> print(attack(lambda x, y: x.sum(-1), x, y, epsilon=1.0))
        [[0.5  0.25]]
        """
        if self.unit == "pixel":
            return self

        def iteration(loss_fn, *, epsilon, key):
            axes = [1] * max(np.ndim(epsilon) - 1, 0)
            in_pixels = epsilon * std.reshape(*axes, -1)
            return self.iteration(loss_fn, epsilon=in_pixels, key=key)

        return self._replace(iteration=iteration, unit="pixel")

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

    def iteration(loss_fn, *, epsilon, key):
        del key
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

    def iteration(loss_fn, *, epsilon, key):
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

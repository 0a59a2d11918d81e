"""Learning rates over training, by the name a config knows them by.

Every schedule may start with a linear warm-up. Lengths are shares of the training, so
that a longer run has the same shape.
"""

from collections.abc import Sequence

import optax

from robustlabels import _validate

__all__ = ["constant", "cosine", "exponential", "step"]

_SHARE = "It is a share of the training."


def constant(peak: float, num_steps: int, *, warmup: float = 0.0) -> optax.Schedule:
    """The same learning rate throughout.

    Args:
      peak: learning rate, not negative.
      num_steps: length of the training.
      warmup: share of the steps over which the rate climbs from 0, in [0, 1].

    Raises:
      ValueError: for a value out of range.

    >>> constant(0.1, 100)(50)
    0.1
    """
    return _warmed_up(peak, num_steps, warmup, lambda _: optax.constant_schedule(peak))


def cosine(
    peak: float, num_steps: int, *, warmup: float = 0.0, final: float = 0.0
) -> optax.Schedule:
    """Half a cosine from the peak down, Loshchilov & Hutter (2017).

    Args:
      peak: learning rate, not negative.
      num_steps: length of the training.
      warmup: share of the steps over which the rate climbs from 0, in [0, 1].
      final: last learning rate as a share of the peak, in [0, 1].

    Raises:
      ValueError: for a value out of range.

    >>> print(round(float(cosine(0.1, 100)(50)), 6))
    0.05
    """
    _validate.in_range(0.0, 1.0, final=final, fix="It is a share of the peak.")
    return _warmed_up(
        peak,
        num_steps,
        warmup,
        lambda steps: optax.cosine_decay_schedule(peak, steps, alpha=final),
    )


def exponential(
    peak: float, num_steps: int, *, warmup: float = 0.0, final: float = 0.01
) -> optax.Schedule:
    """By the same factor in every step, from the peak down.

    Args:
      peak: learning rate, not negative.
      num_steps: length of the training.
      warmup: share of the steps over which the rate climbs from 0, in [0, 1].
      final: last learning rate as a share of the peak, in (0, 1].

    Raises:
      ValueError: for a value out of range.

    >>> print(round(float(exponential(0.1, 100)(50)), 6))
    0.01
    """
    fix = "It is a share of the peak, and above 0."
    _validate.in_range(1e-30, 1.0, final=final, fix=fix)
    return _warmed_up(
        peak,
        num_steps,
        warmup,
        lambda steps: optax.exponential_decay(
            peak, steps, final, end_value=peak * final
        ),
    )


def step(
    peak: float,
    num_steps: int,
    *,
    warmup: float = 0.0,
    milestones: Sequence[float] = (0.5, 0.75),
    factor: float = 0.1,
) -> optax.Schedule:
    """A constant rate that is multiplied by a factor at each milestone.

    Args:
      peak: learning rate, not negative.
      num_steps: length of the training.
      warmup: share of the steps over which the rate climbs from 0, in [0, 1].
      milestones: shares of the steps after the warm-up, in [0, 1].
      factor: what the rate is multiplied by, in [0, 1].

    Raises:
      ValueError: for a value out of range.

    >>> print(round(float(step(0.1, 100)(60)), 6))
    0.01
    """
    _validate.in_range(0.0, 1.0, milestones=list(milestones), fix=_SHARE)
    _validate.in_range(0.0, 1.0, factor=factor, fix="0.1 is usual.")

    def falling(steps: int) -> optax.Schedule:
        factors = dict.fromkeys((round(share * steps) for share in milestones), 1.0)
        for share in milestones:  # of a short training, two may be the same step
            factors[round(share * steps)] *= factor
        return optax.piecewise_constant_schedule(peak, factors)

    return _warmed_up(peak, num_steps, warmup, falling)


def _warmed_up(peak, num_steps, warmup, schedule_of) -> optax.Schedule:
    fix = "It is positive, or 0 to train nothing."
    _validate.in_range(0.0, float("inf"), learning_rate=peak, fix=fix)
    _validate.count(num_steps=num_steps)
    _validate.in_range(0.0, 1.0, warmup=warmup, fix=_SHARE)
    rising = round(warmup * num_steps)
    schedule = schedule_of(max(num_steps - rising, 1))
    if not rising:
        return schedule
    ramp = optax.linear_schedule(0.0, peak, rising)
    return optax.join_schedules([ramp, schedule], [rising])

"""Checks on arguments: an error names the value, what is allowed, and the fix.

Traced values pass: whoever traced them has checked them, or could not.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def in_range(low: float | int, high: float | int, *, fix: str, **values: Any) -> None:
    """Raises if a concrete number, or any entry of a concrete array, leaves the range.

    Args:
      low: smallest value that is allowed; -inf allows all that are finite.
      high: largest value that is allowed; inf allows all that are finite.
      fix: a sentence that says what to write instead.
      **values: the values by the name their caller knows them by.

    Raises:
      ValueError: for a value outside of [low, high], NaN and infinity included.

    >>> in_range(0.0, 1.0, fix="Pixels live in [0, 1]: write 8/255.", epsilon=8)
    Traceback (most recent call last):
    ValueError: epsilon=8 is outside [0, 1]. Pixels live in [0, 1]: write 8/255.
    """
    for name, value in values.items():
        if value is None or isinstance(value, jax.core.Tracer):
            continue
        array = np.asarray(value)
        if not jnp.issubdtype(array.dtype, jnp.number):
            raise ValueError(f"{name}={value!r} is not a number. {fix}")
        inside = (array >= low) & (array <= high) & (abs(array) < np.inf)
        bad = array[~inside]
        if bad.size:
            where = name if array.ndim == 0 else f"an entry of {name}"
            interval = f"{'[('[low == -np.inf]}{low:g}, {high:g}{'])'[high == np.inf]}"
            raise ValueError(f"{where}={bad.flat[0]} is outside {interval}. {fix}")


def count(*, minimum: int = 1, **values: Any) -> None:
    """Raises unless each value is a Python integer of at least `minimum`.

    >>> count(num_steps=0)
    Traceback (most recent call last):
    ValueError: num_steps=0 is not a whole number of at least 1.
    """
    for name, value in values.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < minimum:
            raise ValueError(
                f"{name}={value!r} is not a whole number of at least {minimum}."
            )


def one_of(choices: Iterable[Any], **values: Any) -> None:
    """Raises unless each value is one of `choices`, and lists them.

    >>> one_of(("linf", "l2"), norm="l1")
    Traceback (most recent call last):
    ValueError: norm='l1' is unknown; choose one of 'linf', 'l2'.
    """
    choices = tuple(choices)
    for name, value in values.items():
        if value not in choices:
            listed = ", ".join(map(repr, choices))
            raise ValueError(f"{name}={value!r} is unknown; choose one of {listed}.")

"""Attacks on a whole split, batch by batch, with a record for every cell."""

import functools
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from robustlabels import _validate
from robustlabels._progress import Progress
from robustlabels.data import Split, as_float, filled_batches
from robustlabels.evaluation import curves
from robustlabels.evaluation.budgets import Attack
from robustlabels.evaluation.records import Record, interval, provenance
from robustlabels.objective import Classifier

__all__ = ["check_epsilons", "measure", "parse_epsilons"]

# Noise follows no loss, but is given one as every attack is.
_LOSSES = {
    "own": lambda c: c.loss,
    "margin": lambda c: c.margin,
    "none": lambda c: c.loss,
}


def parse_epsilons(text: str) -> dict[str, float]:
    """Epsilons as written to their values, in growing order.

    Args:
      text: numbers or fractions, with commas between them.

    Raises:
      ValueError: for what is neither, and for negative or repeated ones.

    >>> parse_epsilons("8/255, 0.1, 0.01")
    {'0.01': 0.01, '8/255': 0.03137254901960784, '0.1': 0.1}
    """
    epsilons = {}
    for written in filter(None, map(str.strip, text.split(","))):
        try:
            value = float(Fraction(written))
        except (ValueError, ArithmeticError):
            raise ValueError(
                f"epsilons={text!r}: {written!r} is no number. Write numbers or "
                "fractions with commas between them, such as 0.1,8/255."
            ) from None
        _validate.in_range(
            0.0, float("inf"), epsilon=value, fix="Pixels live in [0, 1]."
        )
        if value in epsilons.values():
            raise ValueError(f"epsilons={text!r} names {written} twice.")
        epsilons[written] = value
    return dict(sorted(epsilons.items(), key=lambda item: item[1]))


def measure(
    classifier: Classifier,
    split: Split,
    attacks: Mapping[str, tuple[Attack, Mapping[str, Any]]],
    *,
    epsilons: Mapping[str, float],
    identity: Mapping[str, Any],
    split_name: str = "test",
    batch_size: int = 1000,
    seed: int = 0,
) -> Iterator[Record]:
    """Yields the clean accuracy, then every attack by every loss at every epsilon.

    Attacks that follow a loss run by the classifier's own loss and by its margin, and
    the worst of both per example is a third row. An example that falls at an epsilon
    has fallen at every larger one.

    Args:
      classifier: what is attacked, a pytree of arrays.
      split: images and class ids.
      attacks: by name, the attack and its parameters as they go into the record.
      epsilons: as written to their values, growing; see `parse_epsilons`.
      identity: what the record says of the classifier.
      split_name: what the record says of the split.
      batch_size: examples a call; the last batch is filled up.
      seed: of random attacks; example i draws from a key of its own.

    Raises:
      ValueError: for an empty split, or an epsilon that an attack cannot take; when
        the first record is asked for.
    """
    check_epsilons(attacks, epsilons)
    size = len(split.labels)
    batches, _ = filled_batches(np.arange(size), batch_size)
    record = functools.partial(
        Record,
        classifier=dict(identity),
        split=split_name,
        n=size,
        provenance=provenance(),
    )

    def summarised(correct, **fields):
        value, low, high = interval(correct)
        return record(value=value, low=low, high=high, **fields)

    began = time.monotonic()
    correct = _over(batches, split, jax.jit(_correct), classifier)
    yield summarised(
        correct,
        attack="none",
        parameters={},
        loss="none",
        epsilon="0",
        zero_gradients=None,
        seconds=time.monotonic() - began,
    )
    rows = sum(2 if attack.follows_loss else 1 for attack, _ in attacks.values())
    total = rows * len(epsilons) * len(batches)
    with Progress(total=total, what="attacking", unit="batches") as progress:
        for name, (attack, parameters) in attacks.items():
            flags, zeros, taken = {}, {}, {}
            for loss in ("own", "margin") if attack.follows_loss else ("none",):
                began = time.monotonic()
                advance = functools.partial(progress.advance, attack=name, loss=loss)
                flags[loss] = _curve(
                    classifier, split, batches, attack, loss, epsilons, seed, advance
                )
                zeros[loss] = _zeros(classifier, split, batches, loss)
                taken[loss] = time.monotonic() - began
            if attack.follows_loss:
                flags["worst"] = np.asarray(curves.worst_case(*flags.values()))
                zeros["worst"] = max(zeros.values())
                taken["worst"] = sum(taken.values())
            for loss, curve in flags.items():
                for row, epsilon in zip(curve, epsilons, strict=True):
                    yield summarised(
                        row,
                        attack=name,
                        parameters=dict(parameters),
                        loss=loss,
                        epsilon=epsilon,
                        zero_gradients=zeros[loss],
                        seconds=taken[loss] / len(epsilons),
                    )


def check_epsilons(
    attacks: Mapping[str, tuple[Attack, Mapping[str, Any]]],
    epsilons: Mapping[str, float],
) -> None:
    """Raises for an epsilon that an attack cannot take.

    Raises:
      ValueError: for an epsilon above 1 where it is a change of a pixel, and for
        attacks without any epsilon.
    """
    if attacks and not epsilons:
        raise ValueError("there are attacks but no epsilons: write epsilons='0.1,0.2'.")
    for name, (attack, _) in attacks.items():
        fix = f"Pixels live in [0, 1], and {name} changes each by at most epsilon."
        if attack.unit_range:
            for value in epsilons.values():
                _validate.in_range(0.0, 1.0, epsilon=value, fix=fix)


def _over(
    batches: Int[np.ndarray, "steps batch"], split: Split, function: Any, *before: Any
) -> Bool[np.ndarray, " n"]:
    """Flags of a function of (*before, x, y) over a split, without the filling."""
    flags = []
    for index in batches:
        x, y = as_float(jnp.asarray(split.images[index])), split.labels[index]
        flags.append(np.asarray(function(*before, x, jnp.asarray(y))))
    return np.concatenate(flags)[: len(split.labels)]


def _correct(classifier, x, y):
    return jnp.argmax(classifier.scores(x), axis=-1) == y


def _curve(
    classifier: Classifier,
    split: Split,
    batches: Int[np.ndarray, "steps batch"],
    attack: Attack,
    loss: str,
    epsilons: Mapping[str, float],
    seed: int,
    advance: Any,
) -> Bool[np.ndarray, "epsilons n"]:
    """Which examples stand at each epsilon; what fell is not attacked again."""
    key = jax.random.key(seed)

    @jax.jit
    def stands(classifier, x, y, index, epsilon):
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
        loss_fn = _LOSSES[loss](classifier)
        return curves.stands(
            classifier.scores, attack.function, loss_fn, x, y, epsilon=epsilon, key=keys
        )

    flags = np.zeros((len(epsilons), len(batches), len(batches[0])), bool)
    for column, index in enumerate(batches):
        x = as_float(jnp.asarray(split.images[index]))
        y, index = jnp.asarray(split.labels[index]), jnp.asarray(index)
        standing = np.ones(len(index), bool)
        for row, epsilon in enumerate(epsilons.values()):
            if standing.any():
                standing &= np.asarray(stands(classifier, x, y, index, epsilon))
            flags[row, column] = standing
            advance()
    return flags.reshape(len(epsilons), -1)[:, : len(split.labels)]


def _zeros(
    classifier: Classifier,
    split: Split,
    batches: Int[np.ndarray, "steps batch"],
    loss: str,
) -> float | None:
    if loss == "none":
        return None

    @jax.jit
    def zero(classifier, x, y):
        return curves.zero_gradients(_LOSSES[loss](classifier), x, y)

    return float(np.mean(_over(batches, split, zero, classifier)))

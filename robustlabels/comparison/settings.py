"""What a comparison's config says: a run for each objective, and what is varied."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections

from robustlabels import _validate
from robustlabels.config_file import override, split_fields
from robustlabels.sections import complete

__all__ = ["Candidate", "Comparison", "read"]

_DEFAULTS: dict[str, Any] = {
    "reference": "softmax",
    "learning_rates": (),
    "train_fractions": (),
    "swap_rates": (),
    "left_out": (),
    "num_resamples": 10_000,
}


class Candidate(NamedTuple):
    """A config that an objective may be trained with.

    Attributes:
      chosen: what is searched, by field, as text.
      config: complete.
    """

    chosen: dict[str, str]
    config: ml_collections.ConfigDict


class Comparison(NamedTuple):
    """What is compared, and by what.

    Attributes:
      candidates: by objective, the reference first; several are searched on
        validation data.
      reference: the objective that others are compared with.
      train_fractions: shares of the training images to train on as well, in (0, 1).
      swap_rates: shares of swapped labels to train on as well, in (0, 0.5).
      left_out: class ids that are left out of one training more.
      num_resamples: of the bootstrap.
    """

    candidates: dict[str, tuple[Candidate, ...]]
    reference: str
    train_fractions: tuple[float, ...]
    swap_rates: tuple[float, ...]
    left_out: tuple[int, ...]
    num_resamples: int


def read(
    config: ml_collections.ConfigDict,
    arguments: Sequence[str] = (),
    *,
    only: Sequence[str] = (),
) -> Comparison:
    """A comparison from a config and the changes of the command line.

    The config is that of a run without `head` and `objective`. Its section `objectives`
    has both for each name, and with `grid`, a tuple of "KEY=V1,V2", the objective's own
    parameters to be searched. Its section `compare` has the fields `reference`,
    `learning_rates`, `train_fractions`, `swap_rates`, `left_out` and `num_resamples`.

    Args:
      config: as a config file gives it.
      arguments: `--config.a.b=value` each, of the run or of the section `compare`.
      only: names of objectives, if not all of them; the reference is always there.

    Raises:
      ValueError: for an unknown field or objective, one that is refused, fewer than two
        objectives, or a value out of range.
    """
    fields = config.to_dict()
    objectives = fields.pop("objectives", None)
    if not isinstance(objectives, Mapping) or len(objectives) < 2:
        raise ValueError(
            "a comparison needs config.objectives with two names or more, each with "
            "its head and objective: see configs/compare.py."
        )
    section = dict(fields.pop("compare", {}))
    written, rest = split_fields(arguments, "config.compare")
    settings = _settings({**section, **written})
    reference = settings["reference"]
    _validate.one_of(objectives, reference=reference)
    for name in only:
        _validate.one_of(objectives, objective=name)
    names = [name for name in objectives if not only or name in (*only, reference)]
    names.sort(key=lambda name: name != reference)
    if len(names) < 2:
        raise ValueError(f"{reference} alone is no comparison: name another objective.")
    base = override(_run(fields, objectives[reference], reference), rest)
    candidates = {
        name: _candidates(base, name, objectives[name], settings["learning_rates"])
        for name in names
    }
    del settings["learning_rates"]
    return Comparison(candidates, **settings)


def _settings(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The section `compare` with its defaults, checked."""
    unknown = sorted(fields.keys() - _DEFAULTS.keys())
    if unknown:
        raise ValueError(
            f"config.compare has no {', '.join(unknown)}; it takes "
            f"{', '.join(_DEFAULTS)}."
        )
    full = {**_DEFAULTS, **fields}
    for name, value in _DEFAULTS.items():
        if isinstance(value, tuple):
            given = full[name]
            full[name] = (given,) if isinstance(given, int | float) else tuple(given)
    rates = full["learning_rates"]
    for rate in rates:
        _validate.in_range(1e-30, float("inf"), learning_rates=rate, fix="A step size.")
    for share in full["train_fractions"]:
        fix = "All of the data are there anyway: write 0.1 for a tenth of them."
        _validate.in_range(1e-9, 1 - 1e-9, train_fractions=share, fix=fix)
    for rate in full["swap_rates"]:
        fix = "Clean labels are there anyway, and at 0.5 nothing can be learned."
        _validate.in_range(1e-9, 0.5 - 1e-9, swap_rates=rate, fix=fix)
    _validate.count(minimum=100, num_resamples=full["num_resamples"])
    return full


def _run(
    fields: Mapping[str, Any], objective: Mapping[str, Any], name: str
) -> ml_collections.ConfigDict:
    """The config of a run by an objective."""
    parts = {key: value for key, value in objective.items() if key != "grid"}
    missing = {"head", "objective"} - parts.keys()
    if missing:
        raise ValueError(
            f"config.objectives.{name} lacks {' and '.join(sorted(missing))}."
        )
    return ml_collections.ConfigDict({**fields, **parts})


def _candidates(
    base: ml_collections.ConfigDict,
    name: str,
    objective: Mapping[str, Any],
    learning_rates: Sequence[float],
) -> tuple[Candidate, ...]:
    """Every combination of learning rate and of the objective's own grid."""
    try:
        config = complete(_run(base.to_dict(), objective, name))
        axes = [_axis(written) for written in objective.get("grid", ())]
        if learning_rates:
            rates = [("learning_rate.peak", f"{rate:g}") for rate in learning_rates]
            axes.insert(0, rates)
        found = []
        for combination in itertools.product(*axes):
            flags = [f"--config.{key}={value}" for key, value in combination]
            found.append(Candidate(dict(combination), override(config, flags)))
    except ValueError as error:
        raise ValueError(f"config.objectives.{name}: {error}") from error
    return tuple(found)


def _axis(written: str) -> list[tuple[str, str]]:
    key, equals, values = written.partition("=")
    if not equals or not values:
        raise ValueError(f"grid {written!r} is not understood: write KEY=V1,V2.")
    return [(key, value.strip()) for value in values.split(",")]

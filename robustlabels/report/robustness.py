"""Records under attack, ordered: run by attack by loss by epsilon, seeds together."""

import json
from collections.abc import Sequence
from fractions import Fraction

from robustlabels.evaluation.ascended import LOSSES, ROWS
from robustlabels.evaluation.records import Record
from robustlabels.report.formats import Estimate
from robustlabels.report.runs import Run, Sourced

__all__ = ["Attacked", "clean_accuracy", "estimate", "loss_name"]

_NAMES = {
    "own": "training loss",
    "cross_entropy": "tempered cross-entropy",
    "dlr": "difference of logits ratio",
}


def loss_name(loss: str) -> str:
    """What people call a loss that is ascended.

    >>> loss_name("own"), loss_name("margin")
    ('training loss', 'margin')
    """
    return _NAMES.get(loss, loss)


def estimate(records: Sequence[Sourced[Record]]) -> Estimate | None:
    """The accuracy of one cell over its seeds."""
    if not records:
        return None
    first = records[0].content
    interval = (first.low, first.high) if len(records) == 1 else (None, None)
    return Estimate(tuple(r.content.value for r in records), *interval)


def clean_accuracy(run: Run) -> Estimate | None:
    """Without an attack, from records or else from findings."""
    if records := run.clean():
        return estimate(records)
    found = [f.content.values for f in run.found("clean")]
    if not found:
        return None
    interval = (found[0]["low"], found[0]["high"]) if len(found) == 1 else (None, None)
    return Estimate(tuple(values["accuracy"] for values in found), *interval)


class Attacked:
    """All cells under attack of several runs.

    The same name with other parameters is another attack, and called differently.

    Attributes:
      attacks: names, those that follow a loss before noise.
    """

    def __init__(self, runs: Sequence[Run]):
        records = [
            (run, record)
            for run in runs
            for record in run.records
            if record.content.attack != "none"
        ]
        names = _names([record.content for _, record in records])
        noise = {names[_key(r.content)] for _, r in records if r.content.loss == "none"}
        self.attacks = sorted(dict.fromkeys(names.values()), key=noise.__contains__)
        self._cells: dict[tuple[str, str, str, str], dict[int, Sourced[Record]]] = {}
        for run, record in records:
            content = record.content
            place = run.name, names[_key(content)], content.loss, content.epsilon
            self._cells.setdefault(place, {})[record.seed] = record

    def losses(self, run: Run, attack: str) -> list[str]:
        """The rows there are, in the order of `ROWS`."""
        there = {loss for r, a, loss, _ in self._cells if (r, a) == (run.name, attack)}
        return sorted(there, key=lambda loss: ROWS.index(loss))

    def followed(self) -> list[str]:
        """The losses whose gradients were followed; own and margin if there is none."""
        there = {loss for _, _, loss, _ in self._cells} | {"own", "margin"}
        return [loss for loss in LOSSES if loss in there]

    def epsilons(self, attack: str, run: Run | None = None) -> list[str]:
        """As they were written, in growing order; of all runs, or of one."""
        there = {
            epsilon
            for name, a, _, epsilon in self._cells
            if a == attack and (run is None or name == run.name)
        }
        return sorted(there, key=Fraction)

    def at(self, run: Run, attack: str, loss: str, epsilon: str) -> list[Sourced]:
        """The records of a cell, one a seed."""
        by_seed = self._cells.get((run.name, attack, loss, epsilon), {})
        return [by_seed[seed] for seed in sorted(by_seed)]

    def worst(self, run: Run, attack: str, epsilon: str) -> list[Sourced]:
        """The records to quote: worst of both losses, or what comes nearest to it."""
        for loss in ("worst", *reversed(ROWS)):
            if records := self.at(run, attack, loss, epsilon):
                return records
        return []

    def curve(self, run: Run, attack: str) -> dict[str, Estimate]:
        """The worst row: estimates by epsilon as written."""
        row = {e: estimate(self.worst(run, attack, e)) for e in self.epsilons(attack)}
        return {epsilon: value for epsilon, value in row.items() if value is not None}

    def strongest(self, runs: Sequence[Run]) -> str | None:
        """The attack that leaves least standing, over these runs and its epsilons."""
        means = {}
        for attack in self.attacks:
            left = [e.mean for r in runs for e in self.curve(r, attack).values()]
            if left:
                means[attack] = sum(left) / len(left)
        return min(means, key=lambda attack: means[attack]) if means else None

    def zero_gradients(self, run: Run, loss: str) -> Estimate | None:
        """The share of gradients that are exactly zero, the largest over attacks."""
        by_seed: dict[int, float] = {}
        for (name, _, which, _), records in self._cells.items():
            if (name, which) == (run.name, loss):
                for seed, record in records.items():
                    share = record.content.zero_gradients
                    if share is not None:
                        by_seed[seed] = max(share, by_seed.get(seed, 0.0))
        return Estimate.of(by_seed[seed] for seed in sorted(by_seed))


def _key(record: Record) -> str:
    return json.dumps(
        [record.attack, {**record.parameters, "n": record.n, "split": record.split}],
        sort_keys=True,
    )


def _names(records: Sequence[Record]) -> dict[str, str]:
    """What each attack is called: its name, and the parameters that tell it apart."""
    told: dict[str, dict[str, dict]] = {}
    for record in records:
        known = told.setdefault(record.attack, {})
        known[_key(record)] = {
            **record.parameters,
            "n": record.n,
            "split": record.split,
        }
    names = {}
    for attack, variants in told.items():
        fields = sorted({field for variant in variants.values() for field in variant})
        apart = [
            field
            for field in fields
            if len({json.dumps(v.get(field)) for v in variants.values()}) > 1
        ]
        for key, variant in variants.items():
            suffix = ", ".join(f"{f} {variant[f]}" for f in apart if f in variant)
            names[key] = f"{attack} ({suffix})" if suffix else attack
    return names

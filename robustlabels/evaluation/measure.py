"""Every attack on every replica, with a record a cell and a finding an attack."""

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from jax.sharding import Mesh

from robustlabels import _validate, parallel
from robustlabels._progress import Progress
from robustlabels._stopping import Stop, never
from robustlabels.data import Split
from robustlabels.evaluation import curves
from robustlabels.evaluation.ascended import (
    LOSSES,
    check_losses,
    loss_of,
    num_classes,
    random_others,
)
from robustlabels.evaluation.budgets import Attack, Ensemble
from robustlabels.evaluation.engine import Attacker, make_attacker
from robustlabels.evaluation.programs import correct, of_images, over
from robustlabels.evaluation.records import Finding, Record
from robustlabels.evaluation.replica import Book, Replica
from robustlabels.objective import Classifier

__all__ = ["budget", "check_epsilons", "measure", "parse_epsilons"]


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


def check_epsilons(
    attacks: Mapping[str, tuple[Attack | Ensemble, Mapping[str, Any]]],
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


def budget(
    attacks: Mapping[str, tuple[Attack | Ensemble, Mapping[str, Any]]],
    num_examples: int,
    *,
    epsilons: Mapping[str, float],
    losses: Sequence[str] = ("own", "margin"),
) -> int:
    """Steps of all attacks on single images, if each takes all that it may.

    Args:
      attacks: as of `measure`, and so what follows.
      num_examples: that are attacked.
      epsilons: as written to their values.
      losses: that are followed.

    >>> from robustlabels.evaluation import budgets
    >>> attacks = {"pgd": (budgets.pgd(num_steps=40), {})}
    >>> budget(attacks, 100, epsilons=parse_epsilons("0.1, 0.2"))
    16000
    """
    return sum(
        attacker.num_units(num_examples, len(epsilons))
        for by_loss in _attackers(attacks, losses, parallel.make_mesh(), 1).values()
        for attacker in by_loss.values()
    )


def measure(
    classifiers: Sequence[tuple[Mapping[str, Any], Classifier]],
    split: Split,
    attacks: Mapping[str, tuple[Attack | Ensemble, Mapping[str, Any]]],
    *,
    epsilons: Mapping[str, float],
    losses: Sequence[str] = ("own", "margin"),
    seed: int = 0,
    batch_size: int = 1000,
    mesh: Mesh | None = None,
    folder: str | os.PathLike | None = None,
    split_name: str = "test",
    stop: Stop = never,
) -> Iterator[Record | Finding]:
    """Yields, for each replica, its clean accuracy, then every attack by every loss.

    Attacks that follow a loss run by each of the losses, and the worst of them per
    example is one more row. The stages of an ensemble run one after another on what
    still stands, and each has a row of what is left after it. An example that falls at
    an epsilon has fallen at every larger one. After the records of an attack by a loss,
    one at each epsilon, comes a finding with the images by which examples fell, and of
    a search for the nearest image one with the distances.

    Args:
      classifiers: what the records say of each, and what is attacked, a pytree of
        arrays. All are alike but for their arrays, so that each attack is compiled
        once.
      split: images and class ids.
      attacks: by name, the attack and its parameters as they go into the record.
      epsilons: as written to their values, growing; see `parse_epsilons`.
      losses: names of `LOSSES`, "margin" among them: the classifier's own loss and
        what attacks its decision.
      seed: of random attacks on a classifier whose description has no "seed"; example
        i draws from a key of its own.
      batch_size: examples that are attacked at a time.
      mesh: the devices that share them; by default all there are.
      folder: of the run. What is found is written there before it is yielded; what is
        there already, of the same classifier and attack, is read and not computed
        again, and what was under way goes on.
      split_name: what the record says of the split.
      stop: asked between chunks of steps whether to stop.

    Raises:
      ValueError: for an empty split, an epsilon that an attack cannot take, or losses
        that are unknown or lack the margin; when the first record is asked for.
      Stopped: if asked to stop; with a folder the next call goes on from there.
      OSError: if the folder cannot be written; what was there before stays.
    """
    check_epsilons(attacks, epsilons)
    check_losses(losses)
    _validate.count(batch_size=batch_size)
    mesh = parallel.make_mesh() if mesh is None else mesh
    attackers = _attackers(attacks, losses, mesh, batch_size)
    others = random_others(split.labels, num_classes(classifiers[0][1], split))
    book = Book(folder)
    programs = {loss: of_images(_zero_of(loss), mesh) for loss in LOSSES}
    programs["clean"] = of_images(correct, mesh)
    size = len(split.labels)
    units = budget(attacks, size, epsilons=epsilons, losses=losses)
    total = units * len(classifiers)
    for name, (attack, _) in attacks.items():
        if isinstance(attack, Ensemble):
            _announce(name, attackers[name], size, len(epsilons))
    with Progress(total=total, what="attacking", unit="steps") as progress:
        for identity, classifier in classifiers:
            replica = Replica(
                classifier,
                dict(identity),
                identity.get("seed", seed),
                split,
                split_name,
                epsilons,
                book,
                flags=functools.cache(
                    lambda name, classifier=classifier: over(
                        programs[name],
                        classifier,
                        split,
                        mesh=mesh,
                        batch_size=batch_size,
                    )
                ),
                advance=progress.advance,
                stop=stop,
            )
            yield replica.clean()
            for name, (attack, parameters) in attacks.items():
                towards, gradients = None, None
                if isinstance(attack, Ensemble):
                    gradients = {
                        s: stage.gradient for s, stage in attack.stages.items()
                    }
                elif attack.targeted:
                    towards = others
                yield from replica.attacked(
                    name,
                    dict(parameters),
                    attackers[name],
                    towards=towards,
                    gradients=gradients,
                )


def _attackers(
    attacks: Mapping[str, tuple[Attack | Ensemble, Mapping[str, Any]]],
    losses: Sequence[str],
    mesh: Mesh,
    batch_size: int,
) -> dict[str, dict[str, Attacker]]:
    """What runs for each attack, and for each of its rows."""
    return {
        name: {
            row: make_attacker(
                of_row,
                loss_of,
                mesh=mesh,
                batch_size=batch_size,
                cell=[name, dict(parameters), row],
            )
            for row, (of_row, loss_of) in _rows(attack, losses).items()
        }
        for name, (attack, parameters) in attacks.items()
    }


def _announce(name: str, stages: Mapping[str, Attacker], n: int, epsilons: int) -> None:
    """Says what an ensemble may cost, before it begins."""
    steps = ", ".join(
        f"{stage} {attacker.num_steps:,}{' in all' if attacker.minimum else ''}"
        for stage, attacker in stages.items()
    )
    print(
        f"{name}: {n:,} examples, each at {epsilons} epsilons until it falls; steps at "
        f"an epsilon, at most: {steps}.",
        file=sys.stderr,
    )


def _rows(
    attack: Attack | Ensemble, losses: Sequence[str]
) -> dict[str, tuple[Attack, Callable]]:
    """What runs for each row of records: an attack, and the loss that it ascends."""
    if isinstance(attack, Ensemble):
        return {name: (s.attack, s.loss_of) for name, s in attack.stages.items()}
    rows = losses if attack.follows_loss else ("none",)
    return {row: (attack, loss_of(row, is_targeted=attack.targeted)) for row in rows}


def _zero_of(loss: str) -> Callable:
    def zero(classifier, x, y):
        return curves.zero_gradients(LOSSES[loss](classifier), x, y)

    return zero

"""One classifier under every attack: what is found, and what was found before."""

import dataclasses
import functools
import math
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Int

from robustlabels._stopping import Stop
from robustlabels.data import Split, as_float
from robustlabels.evaluation import calibration, ledger
from robustlabels.evaluation.curves import worst_case
from robustlabels.evaluation.engine import Attacker
from robustlabels.evaluation.outcome import (
    Outcome,
    distances_found,
    fell,
    joined,
    of_fallen,
)
from robustlabels.evaluation.records import (
    Finding,
    Record,
    interval,
    provenance,
    read_findings,
    read_records,
    write_finding,
    write_record,
)
from robustlabels.objective import Classifier

__all__ = ["Book", "Replica"]


class Book:
    """The folder of a run: what is found goes there, and is found there again.

    What belongs together is told by the digest in its provenance.

    Args:
      workdir: the folder; None keeps nothing.
    """

    def __init__(self, workdir: str | os.PathLike | None):
        self._workdir = None if workdir is None else pathlib.Path(workdir)
        self._records: dict[tuple[str, str], Record] = {}
        self._findings: dict[str, Finding] = {}
        if self._workdir is None:
            return
        for record in read_records(self._workdir):
            self._records[record.provenance.get("digest", ""), record.epsilon] = record
        for finding in read_findings(self._workdir):
            there = self._workdir / "evaluation" / (finding.images or "")
            if there.exists():
                self._findings[finding.provenance.get("digest", "")] = finding

    def record(self, digest: str, epsilon: str) -> Record | None:
        """The record with this digest at this epsilon, if there is one."""
        return self._records.get((digest, epsilon))

    def finding(self, digest: str) -> Finding | None:
        """The finding with this digest, if it is complete."""
        return self._findings.get(digest)

    def ledger(self, name: str) -> pathlib.Path | None:
        """Where an attack of this name notes how far it came."""
        if self._workdir is None:
            return None
        return self._workdir / "evaluation" / f"ledger-{name}.npz"

    def add_record(self, record: Record) -> Record:
        """Writes a record."""
        if self._workdir is not None:
            write_record(self._workdir, record)
        return record

    def add_finding(
        self, finding: Finding, images: Mapping[str, np.ndarray]
    ) -> Finding:
        """Writes a finding and its images; it then names their file."""
        if self._workdir is None:
            return finding
        return write_finding(self._workdir, finding, images)


@dataclasses.dataclass(frozen=True)
class Replica:
    """A classifier that is attacked, and what its records say.

    Attributes:
      classifier: a pytree of arrays.
      identity: what records say of it.
      seed: of random attacks.
      split: images and class ids.
      split_name: what records say of the split.
      epsilons: as written to their values, growing.
      book: keeps what is found.
      flags: (name) -> [n], with "clean" for what is decided correctly, and the name of
        a loss for what has a gradient of zero by it; computed once.
      advance: is told of steps that are done.
      stop: asked whether to stop.
    """

    classifier: Classifier
    identity: dict[str, Any]
    seed: int
    split: Split
    split_name: str
    epsilons: Mapping[str, float]
    book: Book
    flags: Callable[[str], Bool[np.ndarray, " n"]]
    advance: Callable
    stop: Stop

    def clean(self) -> Record:
        """The accuracy without any attack."""
        digest = ledger.digest("clean", self.split, self.classifier)
        found = self.book.record(digest, "0")
        if found is not None:
            return found
        began = time.monotonic()
        correct = self.flags("clean")
        return self._record(
            correct,
            digest,
            attack="none",
            parameters={},
            loss="none",
            epsilon="0",
            zero_gradients=None,
            fallen=None,
            seconds=time.monotonic() - began,
        )

    def attacked(
        self,
        name: str,
        parameters: dict[str, Any],
        attackers: Mapping[str, Attacker],
        *,
        towards: Int[np.ndarray, " n"] | None = None,
        gradients: Mapping[str, str | None] | None = None,
    ) -> Iterator[Record | Finding]:
        """Records and a finding by each loss, then the records of the worst of them.

        Args:
          name: of the attack in the config.
          parameters: of the attack, as they go into the records.
          attackers: by loss; of an ensemble by stage.
          towards: class ids that a targeted attack leads to.
          gradients: of an ensemble, whose stages attack what still stands, the loss
            whose gradient each follows, if any.
        """
        key, values = jax.random.key(self.seed), list(self.epsilons.values())
        arguments = self.classifier, self.split, values
        digests = {
            loss: attacker.digest(*arguments, key=key, towards=towards)
            for loss, attacker in attackers.items()
        }
        if gradients is not None:
            digests = _chained(digests)
        followed = "none" not in attackers
        before: Outcome | None = None
        worst = ledger.digest("worst", *digests.values())
        distances = [
            _of_distances(digests[loss])
            for loss, attacker in attackers.items()
            if attacker.minimum and gradients is None
        ]
        kept = self._kept([*digests.values()], distances, worst if followed else None)
        if kept is not None:
            for loss, attacker in attackers.items():
                units = attacker.num_units(len(self.split.labels), len(values))
                self.advance(units, attack=name, loss=loss)
            yield from kept
            return
        standing, zeros, seconds = {}, {}, 0.0
        for loss, attacker in attackers.items():
            began = time.monotonic()
            told = functools.partial(self.advance, attack=name, loss=loss)
            outcome = attacker(
                *arguments,
                key=key,
                right=self.flags("clean"),
                towards=towards,
                ceiling=None if before is None else before.fallen,
                ledger=self.book.ledger(f"{name}-{loss}-{self.split_name}-{self.seed}"),
                advance=told,
                stop=self.stop,
            )
            if gradients is not None:
                outcome = outcome if before is None else joined(before, outcome)
                before = outcome
            of_loss = gradients[loss] if gradients else loss if followed else None
            zeros[loss] = float(self.flags(of_loss).mean()) if of_loss else None
            took = time.monotonic() - began
            seconds += took
            standing[loss] = outcome.fallen > np.arange(len(values))[:, None]
            cell = {"attack": name, "parameters": parameters, "loss": loss}
            fallen = [of_fallen(outcome, level) for level in range(len(values))]
            yield from self._rows(
                standing[loss], digests[loss], zeros[loss], fallen, took, **cell
            )
            finding = self.book.finding(digests[loss])
            yield finding or self._adversarial(outcome, digests[loss], took, **cell)
            # Of an ensemble a search sees only what still stands.
            if attacker.minimum and gradients is None:
                digest = _of_distances(digests[loss])
                finding = self.book.finding(digest)
                yield finding or self._minimum(outcome, digest, took, **cell)
        if followed:
            yield from self._rows(
                np.asarray(worst_case(*standing.values())),
                worst,
                max(share for share in zeros.values() if share is not None),
                [None] * len(values),
                seconds,
                attack=name,
                parameters=parameters,
                loss="worst",
            )

    def _kept(
        self, digests: list[str], distances: list[str], worst: str | None
    ) -> list[Record | Finding] | None:
        """What was written of an attack before, if all of it was."""
        kept = []
        for digest in digests:
            kept += [self.book.record(digest, epsilon) for epsilon in self.epsilons]
            kept.append(self.book.finding(digest))
        kept += map(self.book.finding, distances)
        if worst is not None:
            kept += [self.book.record(worst, epsilon) for epsilon in self.epsilons]
        return None if None in kept else kept

    def _rows(
        self,
        standing: Bool[np.ndarray, "epsilons n"],
        digest: str,
        zero_gradients: float | None,
        fallen: Sequence[dict[str, Any] | None],
        seconds: float,
        **cell: Any,
    ) -> Iterator[Record]:
        """A record at each epsilon: the one that is kept, or a new one."""
        rows = zip(self.epsilons, standing, fallen, strict=True)
        for epsilon, correct, fallen_here in rows:
            yield self.book.record(digest, epsilon) or self._record(
                correct,
                digest,
                epsilon=epsilon,
                zero_gradients=zero_gradients,
                fallen=fallen_here,
                seconds=seconds / len(self.epsilons),
                **cell,
            )

    def _record(
        self, correct: Bool[np.ndarray, " n"], digest: str, **fields: Any
    ) -> Record:
        value, low, high = interval(correct)
        return self.book.add_record(
            Record(
                classifier=self.identity,
                split=self.split_name,
                n=len(correct),
                value=value,
                low=low,
                high=high,
                provenance={**provenance(), "digest": digest},
                **fields,
            )
        )

    def _adversarial(
        self,
        outcome: Outcome,
        digest: str,
        seconds: float,
        *,
        attack: str,
        parameters: dict[str, Any],
        loss: str,
    ) -> Finding:
        down = fell(outcome, len(self.epsilons) - 1)
        confidence = outcome.confidence[down]
        finding = Finding(
            kind="adversarial",
            classifier=self.identity,
            split=self.split_name,
            parameters={
                **parameters,
                "attack": attack,
                "loss": loss,
                "epsilons": list(self.epsilons),
            },
            n=int(down.sum()),
            values=calibration.spread(confidence),
            images=None,
            seconds=seconds,
            provenance={**provenance(), "digest": digest},
        )
        examples = outcome.shown.examples
        fallen = outcome.fallen[examples]
        written = np.array(list(self.epsilons))
        images = {
            "clean": np.asarray(as_float(self.split.images[examples])),
            "perturbed": outcome.shown.perturbed,
            "labels": self.split.labels[examples],
            "decisions": outcome.shown.decisions,
            "confidences": outcome.shown.confidences,
            "epsilons": written[np.minimum(fallen, len(written) - 1)],
            "fell": fallen < len(written),
            "fallen": outcome.fallen,  # of every example
        }
        return self.book.add_finding(finding, images)

    def _minimum(
        self,
        outcome: Outcome,
        digest: str,
        seconds: float,
        *,
        attack: str,
        parameters: dict[str, Any],
        loss: str,
    ) -> Finding:
        """How far the nearest images are that the search found."""
        finding = Finding(
            kind="minimum_distortion",
            classifier=self.identity,
            split=self.split_name,
            parameters={**parameters, "attack": attack, "loss": loss},
            n=int(np.sum(outcome.fallen >= 0)),
            values=distances_found(outcome, math.prod(self.split.images.shape[1:])),
            images=None,
            seconds=seconds,
            provenance={**provenance(), "digest": digest},
        )
        arrays = {
            "distances": outcome.distances,
            "decisions": outcome.decision,
            "labels": self.split.labels,
        }
        return self.book.add_finding(finding, arrays)


def _of_distances(digest: str) -> str:
    """A hash for the distances that an attack with this hash found."""
    return ledger.digest("distances", digest)


def _chained(digests: Mapping[str, str]) -> dict[str, str]:
    """Hashes that depend on all stages before as well."""
    chained: dict[str, str] = {}
    for stage, digest in digests.items():
        chained[stage] = ledger.digest(digest, *list(chained.values())[-1:])
    return chained

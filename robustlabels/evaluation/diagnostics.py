"""Signs that a classifier hides its gradients, so that attacks seem to fail.

After Athalye et al. (2018) and Carlini et al. (2019): a robust figure is believed only
where none of these signs is seen. That none is seen proves nothing.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Int, Key

from robustlabels import _validate, parallel
from robustlabels._progress import Progress
from robustlabels._stopping import Stop, never
from robustlabels.data import Split, as_float
from robustlabels.evaluation import budgets
from robustlabels.evaluation._batchwise import batchwise
from robustlabels.evaluation.checks import input_warnings
from robustlabels.evaluation.curves import zero_gradients
from robustlabels.evaluation.engine import Attacker, make_attacker
from robustlabels.evaluation.records import Finding, provenance
from robustlabels.evaluation.signs import signs_of
from robustlabels.objective import Classifier

__all__ = ["Diagnosis", "make_diagnosis"]

_LARGE = 0.5  # Every image can become the one that is 0.5 everywhere.
_SCALE = 1024.0  # A power of two rounds nothing, so that only what is lost shows.
_QUERIES_A_STEP = 10  # Of the black box, for each step of PGD.


class _Attack(NamedTuple):
    """An attacker, and what it is to ascend."""

    attacker: Attacker
    epsilons: tuple[float, ...]
    scale: float = 1.0
    towards: Int[np.ndarray, " n"] | None = None


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Looks for signs of hidden gradients, compiled for classifiers to come.

    From `make_diagnosis`. Replicas with other weights need no recompile.
    """

    attackers: Mapping[str, Attacker]
    look: Callable
    mesh: Mesh
    batch_size: int
    num_examples: int
    num_steps: int
    relative_step_size: float
    num_restarts: int

    def __call__(
        self,
        classifier: Classifier,
        split: Split,
        epsilon: str,
        *,
        key: Key[Array, ""],
        identity: Mapping[str, Any],
        split_name: str = "test",
        stop: Stop = never,
    ) -> Finding:
        """The signs, the share of zero gradients, and the warnings of `checks`.

        Args:
          classifier: what is looked at, a pytree of arrays.
          split: its first examples are attacked.
          epsilon: as written, in [0, 1], such as "8/255".
          key: of the random starts.
          identity: what the finding says of the classifier.
          split_name: what the finding says of the split.
          stop: asked after every few steps of an attack.

        Raises:
          ValueError: for an epsilon outside of [0, 1], and as `checks.input_warnings`.
          Stopped: when asked to stop.
        """
        began = time.monotonic()
        value = float(Fraction(epsilon))
        fix = f"Pixels live in [0, 1]: write 8/255, not {epsilon}."
        _validate.in_range(0.0, 1.0, epsilon=value, fix=fix)
        warnings = input_warnings(classifier, split, {epsilon: value})
        some = Split(*(array[: self.num_examples] for array in split))
        seen = batchwise(
            self.look,
            classifier,
            len(some.labels),
            lambda index: (as_float(some.images[index]), some.labels[index]),
            what="looking at gradients",
            mesh=self.mesh,
            batch_size=self.batch_size,
            stop=stop,
        )
        standing = self._attacked(classifier, some, value, seen, key, stop)
        return Finding(
            kind="hidden_gradient",
            classifier=dict(identity),
            split=split_name,
            parameters={
                "epsilon": epsilon,
                "num_steps": self.num_steps,
                "relative_step_size": self.relative_step_size,
                "num_restarts": self.num_restarts,
                "num_queries": _QUERIES_A_STEP * self.num_steps,
            },
            n=len(some.labels),
            values={
                "signs": signs_of(
                    standing,
                    num_steps=self.num_steps,
                    num_queries=_QUERIES_A_STEP * self.num_steps,
                    num_restarts=self.num_restarts,
                ),
                "zero_gradients": {
                    "own": float(np.mean(seen["zero_own"])),
                    "margin": float(np.mean(seen["zero_margin"])),
                },
                "warnings": warnings,
            },
            images=None,
            seconds=time.monotonic() - began,
            provenance=provenance(),
        )

    def _attacked(
        self,
        classifier: Classifier,
        split: Split,
        epsilon: float,
        seen: Mapping[str, np.ndarray],
        key: Key[Array, ""],
        stop: Stop,
    ) -> dict[str, Bool[np.ndarray, " n"]]:
        """Which examples stand against each attack, all from the same random starts."""
        own, at = self.attackers["own"], (epsilon,)
        both = tuple(sorted({epsilon, _LARGE}))
        plan = {
            "own": _Attack(own, both),
            "targeted": _Attack(own, at, scale=-1.0, towards=seen["runner_up"]),
            "times_1024": _Attack(own, at, scale=_SCALE),
            "times_1/1024": _Attack(own, at, scale=1 / _SCALE),
            "more": _Attack(self.attackers["more"], at),
            "fine": _Attack(self.attackers["fine"], at),
            "margin": _Attack(self.attackers["margin"], at),
            "square": _Attack(self.attackers["square"], at),
        }
        restarts = range(1, self.num_restarts)
        size = len(split.labels)
        total = sum(a.attacker.num_units(size, len(a.epsilons)) for a in plan.values())
        total += len(restarts) * own.num_units(size, len(at))
        with Progress(total=total, what="looking for signs", unit="steps") as progress:

            def fallen(attack: _Attack, right, key):
                return attack.attacker(
                    _scaled(classifier, attack.scale),
                    split,
                    list(attack.epsilons),
                    key=key,
                    right=right,
                    towards=attack.towards,
                    advance=progress.advance,
                    stop=stop,
                ).fallen

            right = seen["right"]
            found = {name: fallen(attack, right, key) for name, attack in plan.items()}
            standing = {name: flags > 0 for name, flags in found.items()}
            standing["own"] = found["own"] > both.index(epsilon)
            at_large = found["own"] > both.index(_LARGE)
            standing["at_large_epsilon"] = at_large[seen["grey_is_wrong"]]
            stands = standing["own"]
            for restart in restarts:
                attack = _Attack(own, at)
                stands = fallen(attack, stands, jax.random.fold_in(key, restart)) > 0
        return standing | {"restarts": stands}


def make_diagnosis(
    *,
    mesh: Mesh,
    batch_size: int = 1000,
    num_examples: int = 200,
    num_steps: int = 40,
    relative_step_size: float = 0.1,
    num_restarts: int = 5,
) -> Diagnosis:
    """Prepares to look for signs of hidden gradients by PGD in Linf, started at random.

    Attacks ascend the classifier's own loss unless it is said otherwise.

    Args:
      mesh: from `parallel.make_mesh`.
      batch_size: examples that are attacked at a time.
      num_examples: how many of the first examples are attacked.
      num_steps: of the attack that the others are compared with.
      relative_step_size: length of a step as a share of epsilon, positive.
      num_restarts: random starts, the first included; at least 2.

    Raises:
      ValueError: for a value out of range.

    >>> from robustlabels import objective
    >>> model = objective.bind(objective.softmax().at({}, 1.0), lambda x: x[:, 0, 0])
    >>> images = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32).reshape(2, 1, 1, 2)
    >>> diagnose = make_diagnosis(mesh=parallel.make_mesh(), num_steps=10)
    >>> split = Split(images, np.array([0, 1], np.int32))
    >>> finding = diagnose(model, split, "0.1", key=jax.random.key(0), identity={})
    >>> print(any(sign["yes"] for sign in finding.values["signs"]))
    False
    """
    _validate.count(num_examples=num_examples, num_steps=num_steps)
    _validate.count(num_restarts=num_restarts, minimum=2)

    def attacker(loss_of: Callable, steps: int = 1, length: float = 1.0) -> Attacker:
        attack = budgets.pgd(
            num_steps=steps * num_steps, relative_step_size=length * relative_step_size
        )
        return make_attacker(attack, loss_of, mesh=mesh, batch_size=batch_size)

    return Diagnosis(
        attackers={
            "own": attacker(_own),
            "more": attacker(_own, steps=4),
            "fine": attacker(_own, steps=4, length=0.25),
            "margin": attacker(_margin),
            "square": make_attacker(
                budgets.square(num_steps=_QUERIES_A_STEP * num_steps),
                _margin,
                mesh=mesh,
                batch_size=batch_size,
            ),
        },
        look=jax.jit(parallel.per_example(_look, mesh)),
        mesh=mesh,
        batch_size=batch_size,
        num_examples=num_examples,
        num_steps=num_steps,
        relative_step_size=relative_step_size,
        num_restarts=num_restarts,
    )


def _own(classifier: Classifier) -> Callable:
    return classifier.loss


def _margin(classifier: Classifier) -> Callable:
    return classifier.margin


def _scaled(classifier: Classifier, scale: float) -> Classifier:
    """The same classifier with a multiple of its loss; -1 makes the attack targeted.

    The factor is an array, so that all multiples share a compile.
    """
    objective = classifier.objective
    loss = Partial(_multiple, np.float32(scale), objective.loss)
    return classifier._replace(objective=objective._replace(loss=loss))


def _multiple(scale, loss, outputs, labels):
    return scale * loss(outputs, labels)


def _look(classifier: Classifier, x: Array, labels: Array) -> dict[str, Array]:
    """What is to be known of clean examples."""
    scores = classifier.scores(x)
    own = jnp.arange(scores.shape[1])[None] == labels[:, None]
    runner_up = jnp.argmax(jnp.where(own, -jnp.inf, scores), axis=1)
    of_grey = jnp.argmax(classifier.scores(jnp.full_like(x, 0.5)), axis=1)
    return {
        "right": jnp.argmax(scores, axis=1) == labels,
        "runner_up": runner_up.astype(jnp.int32),
        "grey_is_wrong": of_grey != labels,
        "zero_own": zero_gradients(classifier.loss, x, labels),
        "zero_margin": zero_gradients(classifier.margin, x, labels),
    }

"""The slots of an attack on a split: what fills them, what leaves, what is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int, Key

from robustlabels import parallel
from robustlabels.data import Split
from robustlabels.evaluation._batchwise import size_of_batch
from robustlabels.evaluation.outcome import DISTANCES, from_arrays, to_arrays
from robustlabels.evaluation.programs import (
    Examples,
    Judged,
    Programs,
    make_shared,
)
from robustlabels.objective import Classifier

__all__ = ["NARROWING", "WORTH_NARROWING", "Slots"]

# Slots are cut to an eighth once so few are enough, if that many steps may still come:
# another width is another compile. Up to eight on a device stay.
NARROWING = 8
WORTH_NARROWING = 500  # steps


@jax.jit
def _row(images: Array, slot: Any) -> Array:
    return images[slot]


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _stored(leaf: Array) -> np.ndarray:
    """A leaf of a state for a file, keys as their bits."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _restored(array: np.ndarray, like: Any) -> Array | np.ndarray:
    """What `_stored` was given."""
    return jax.random.wrap_key_data(jnp.asarray(array)) if _is_key(like) else array


class Slots:
    """A split under attack: who is in which slot, and what is known of whom.

    An idle slot costs as much as a busy one. So there are fewer of them once examples
    run out, by a rule of steps and not of seconds: what went on from a snapshot ends as
    what was never stopped.

    On the devices: clean images, the rest of `Examples`, the attack's state. Here, per
    slot: which example it holds (-1 none) and how many steps are left (-1 none). Here,
    per example: the outcome, where `fallen` is the epsilon it has come to, and whether
    it is finished.

    Args:
      programs: of the attack.
      mesh: the devices that share the slots.
      batch_size: how many slots there are at first, or a few more.
      classifier: as of `Attacker`, and so all that follow.
      split: as there.
      epsilons: as there.
      key: as there.
      towards: class ids that the loss is given.
      start: a `snapshot` to go on from, or an outcome before any attack.
      ceiling: index of the epsilon that each example is not attacked at any more.
    """

    def __init__(
        self,
        programs: Programs,
        mesh: Mesh,
        batch_size: int,
        classifier: Classifier,
        split: Split,
        epsilons: Sequence[float],
        *,
        key: Key[Array, ""],
        towards: Int[np.ndarray, " n"],
        start: Mapping[str, np.ndarray],
        ceiling: Int[np.ndarray, " n"],
    ):
        self._programs, self._mesh = programs, mesh
        self._shared = parallel.replicate(make_shared(classifier, key), mesh)
        self._split, self._epsilons = split, np.asarray(epsilons, np.float32)
        self._towards, self._ceiling = towards, ceiling
        self._x: Any = None
        self._examples: Any = None
        self._state: Any = None
        self.outcome = from_arrays(start)
        left_alone = (self.outcome.fallen < 0) | (ceiling <= 0)
        self.finished = start.get("finished", left_alone)
        self._slots = size_of_batch(len(split.labels), mesh, batch_size)
        width = self._width(int((~self.finished).sum()), self._rounds * self._unit)
        self._example, self._left = np.full((2, width), -1, np.int32)
        # With another batch size, what was under way begins its epsilon again.
        if "state_0" in start and len(start["example"]) in self._widths():
            self._go_on(start)
        self._goes_on = np.zeros(len(self._example), bool)
        self._place_in_gallery = np.full(len(split.labels), -1)
        shown = self.outcome.shown.examples
        self._place_in_gallery[shown] = np.arange(len(shown))
        self._queue = np.setdiff1d(np.flatnonzero(~self.finished), self._example)

    @property
    def _unit(self) -> int:
        return max(self._programs.num_steps, 1)

    @property
    def _rounds(self) -> int:
        return 1 if self._programs.minimum else len(self._epsilons)

    @property
    def units(self) -> int:
        """How much of the work is done, or not needed; see `Attacker.num_units`."""
        fallen = np.where(self.finished, self._rounds, self.outcome.fallen)
        active = self._example >= 0
        taken = self._programs.num_steps - self._left[active]
        return int(fallen.sum()) * self._unit + int(taken.sum())

    def fill(self) -> bool:
        """Puts examples into free slots; whether any slot has something to do."""
        if not len(self._queue):
            self._narrow()
        free = np.flatnonzero(self._example < 0)[: len(self._queue)]
        taken, self._queue = np.split(self._queue, [len(free)])
        begins = self._goes_on.copy()
        begins[free], self._goes_on[:] = True, False
        self._example[free] = taken
        self._left[begins] = self._programs.num_steps
        if begins.any():
            self._upload(images=len(free) > 0)
            state = self._programs.begin(self._shared, self._examples)
            if self._state is not None and not begins[self._example >= 0].all():
                flags = parallel.split(begins, self._mesh)
                state = self._programs.choose((), flags, state, self._state)
            self._state = state
        return bool((self._example >= 0).any())

    def _widths(self) -> list[int]:
        """How many slots there may be, falling."""
        widths = [self._slots]
        while widths[-1] > NARROWING * self._mesh.size:
            fewer = parallel.rounded_up(-(-widths[-1] // NARROWING), self._mesh)
            widths.append(fewer)
        return widths

    def _width(self, examples: int, steps: int) -> int:
        """How many slots so many examples get, of which one may take so many steps."""
        if steps < WORTH_NARROWING:
            return self._slots
        enough = [width for width in self._widths() if width >= examples]
        return min(enough, default=self._slots)

    def _narrow(self) -> None:
        """Does without most slots, once the others can hold all that is under way."""
        active = np.flatnonzero(self._example >= 0)
        if not len(active):
            return
        steps = self._left[active]
        if not self._programs.minimum:
            ids = self._example[active]
            to_come = self._ceiling[ids] - self.outcome.fallen[ids] - 1
            steps = steps + to_come * self._programs.num_steps
        width = self._width(len(active), int(steps.max()))
        if width >= len(self._example):
            return
        idle = np.flatnonzero(self._example < 0)
        kept = np.concatenate([active, idle])[:width]
        self._example, self._left = self._example[kept], self._left[kept]
        self._goes_on = self._goes_on[kept]
        state = jax.tree.map(lambda leaf: leaf[kept], self._state)
        self._state = parallel.split(state, self._mesh)
        self._upload(images=True)

    def step(self) -> int:
        """Takes a chunk of steps in every slot, judges, and says what it was worth."""
        before, held = self.units, np.maximum(self._example, 0)
        active = self._example >= 0
        ends = active & (self._left <= self._programs.chunk)
        last = self.outcome.fallen[held] == self._ceiling[held] - 1
        if self._programs.minimum:
            last[:] = True  # One search serves all epsilons.
        asked = ends & last & (self._place_in_gallery[held] >= 0)
        self._state, judged, images = self._programs.advance(
            self._shared,
            self._state,
            self._examples,
            *parallel.split((self._left, asked), self._mesh),
        )
        wrong = np.asarray(judged.wrong)
        self._left[active] -= np.minimum(self._left, self._programs.chunk)[active]
        if wrong.any() or asked.any():
            self._note(jax.device_get(judged), images, wrong, asked)
        ends |= active & np.asarray(judged.finished)
        stood = ends & ~wrong
        self._rise(wrong, stood, judged)
        leaves = wrong | (stood & last)
        self.finished[self._example[leaves]] = True
        self._example[leaves] = self._left[leaves] = -1
        self._goes_on = stood & ~leaves
        self._left[self._goes_on] = self._programs.num_steps
        return self.units - before

    def _rise(
        self,
        wrong: Bool[np.ndarray, " slots"],
        stood: Bool[np.ndarray, " slots"],
        judged: Judged,
    ) -> None:
        """Moves each example to the epsilon that it has come to."""
        fallen, norm = self.outcome.fallen, self._programs.minimum
        if norm is None:
            fallen[self._example[stood]] += 1
            return
        fallen[self._example[stood]] = len(self._epsilons)
        column = DISTANCES.index(norm)
        distances = np.asarray(judged.distances)[wrong, column]
        # A distance that is an epsilon up to rounding is within it.
        reach = self._epsilons * (1 + 1e-5)
        fallen[self._example[wrong]] = np.searchsorted(reach, distances)
        np.minimum(fallen, self._ceiling, out=fallen, where=fallen >= 0)

    def snapshot(self) -> dict[str, np.ndarray]:
        """All of this object that cannot be had again, between `fill` and `step`."""
        leaves = jax.tree.leaves(self._state) if (self._example >= 0).any() else []
        return {
            "finished": self.finished,
            "example": self._example,
            "left": self._left,
            **{f"state_{i}": _stored(leaf) for i, leaf in enumerate(leaves)},
            **to_arrays(self.outcome),
        }

    def _go_on(self, start: Mapping[str, np.ndarray]) -> None:
        """Puts back what was in the slots."""
        self._example, self._left = start["example"], start["left"]
        self._upload(images=True)
        like = jax.eval_shape(self._programs.begin, self._shared, self._examples)
        leaves = [
            _restored(start[f"state_{i}"], leaf)
            for i, leaf in enumerate(jax.tree.leaves(like))
        ]
        state = jax.tree.unflatten(jax.tree.structure(like), leaves)
        self._state = parallel.split(state, self._mesh)

    def _upload(self, *, images: bool) -> None:
        """Brings what the slots hold to the devices, images only if they are others."""
        held = np.maximum(self._example, 0)
        if images:
            raw = parallel.split(self._split.images[held], self._mesh)
            self._x = self._programs.place(self._shared, raw)
        level = np.minimum(self.outcome.fallen[held], len(self._epsilons) - 1)
        of_slots = (
            self._split.labels[held],
            self._towards[held],
            held,
            self._epsilons[level],
        )
        self._examples = Examples(self._x, *parallel.split(of_slots, self._mesh))

    def _note(
        self,
        judged: Judged,
        images: Array,
        wrong: Bool[np.ndarray, " slots"],
        asked: Bool[np.ndarray, " slots"],
    ) -> None:
        """Notes the images by which examples fell, and those that are to be shown."""
        ids, outcome = self._example[wrong], self.outcome
        outcome.decision[ids] = judged.decision[wrong]
        outcome.confidence[ids] = judged.confidence[wrong]
        outcome.distances[ids] = judged.distances[wrong]
        outcome.survives_rounding[ids] = judged.survives_rounding[wrong]
        for slot in np.flatnonzero(wrong | asked):
            place = self._place_in_gallery[self._example[slot]]
            if place >= 0:
                outcome.shown.perturbed[place] = _row(images, slot)
                outcome.shown.decisions[place] = judged.decision[slot]
                outcome.shown.confidences[place] = judged.confidence[slot]
